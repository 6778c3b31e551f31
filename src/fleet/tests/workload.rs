//! What people do with workloads, and which assignments that touches.

use super::{
    applied, apply, events, every, generation, generations, join, labelled, name, names, placed,
    presence, refuse, removed, replicas, requires, three, touched, workload,
};
use crate::{
    fleet::{Change, Fleet, Refusal},
    model::{Desired, Name, NodeConfig, Presence, Workload},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Applies a change; the nodes that it touched.
fn touches(fleet: &mut Fleet, change: Change) -> BTreeSet<Name> {
    let before = generations(fleet);
    let effects = apply(fleet, change);
    touched(fleet, &before, &effects)
}

fn desired(workload: &str, desired: Desired) -> Change {
    Change::WorkloadDesired {
        workload: name(workload),
        desired,
    }
}

fn restart(workload: &str) -> Change {
    Change::WorkloadRestarted {
        workload: name(workload),
    }
}

#[test]
fn each_change_touches_the_nodes_that_it_is_about_and_no_other() {
    let mut fleet = three();
    let all = names(&["a", "b", "c"]);
    assert_eq!(
        touches(&mut fleet, applied(&[replicas("one", 1)])),
        names(&["a"])
    );
    assert_eq!(touches(&mut fleet, applied(&[every("all")])), all);
    let mut on_b = workload("b-only");
    on_b.placement.nodes = vec![name("b")];
    assert_eq!(touches(&mut fleet, applied(&[on_b.clone()])), names(&["b"]));
    assert_eq!(
        touches(&mut fleet, desired("one", Desired::Stopped)),
        names(&["a"])
    );
    assert_eq!(touches(&mut fleet, restart("b-only")), names(&["b"]));
    on_b.version = "2".into();
    // One apply of what is the same, what changes, and what is new.
    let some = [every("all"), on_b, replicas("two", 2)];
    let also: BTreeSet<Name> = names(&["b"])
        .into_iter()
        .chain(placed_after(&fleet, &some[2]))
        .collect();
    assert_eq!(touches(&mut fleet, applied(&some)), also);
}

fn placed_after(fleet: &Fleet, workload: &Workload) -> BTreeSet<Name> {
    let mut fleet = fleet.clone();
    apply(&mut fleet, applied(std::slice::from_ref(workload)));
    placed(&fleet, workload.name.as_str())
}

#[test]
fn what_a_node_must_run_is_what_was_placed_on_it() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("web"), replicas("one", 1)]));
    apply(&mut fleet, desired("one", Desired::Stopped));
    apply(&mut fleet, restart("web"));
    apply(&mut fleet, restart("web"));
    let on_a = fleet.assignment("a").unwrap();
    assert_eq!(on_a.generation, generation(&fleet, "a"));
    let shown: Vec<(&str, Desired, u64)> = on_a
        .instances
        .iter()
        .map(|i| (i.workload.name.as_str(), i.desired, i.restart_count))
        .collect();
    let expected = [("one", Desired::Stopped, 0), ("web", Desired::Running, 2)];
    assert_eq!(shown, expected);
    assert_eq!(fleet.assignment("b").unwrap().instances.len(), 1);
    assert_eq!(fleet.assignment("nobody"), None);
}

#[test]
fn a_removed_workload_leaves_its_nodes_and_those_only() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("all"), replicas("one", 1)]));
    assert_eq!(touches(&mut fleet, removed(&["one"])), names(&["a"]));
    assert!(fleet.workload("one").is_none());
    let refusal = refuse(&mut fleet, removed(&["all", "one"]));
    assert_eq!(refusal.to_string(), "there is no workload `one`");
    assert_eq!(
        touches(&mut fleet, removed(&["all"])),
        names(&["a", "b", "c"])
    );
    assert!(fleet.assignment("a").unwrap().instances.is_empty());
}

#[test]
fn what_changes_nothing_is_not_taken_and_what_is_unknown_is_named() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("web")]));
    let same = [
        applied(&[every("web")]),
        applied(&[]),
        desired("web", Desired::Running),
        Change::Configured {
            node_config: NodeConfig::default(),
        },
        labelled("a", "zone", None),
        presence("a", Presence::Online),
    ];
    for change in same {
        assert_eq!(
            refuse(&mut fleet, change.clone()),
            Refusal::Unchanged,
            "{change:?}"
        );
    }
    let unknown = [
        desired("nobody", Desired::Stopped),
        restart("nobody"),
        removed(&["nobody"]),
    ];
    for change in unknown {
        let refusal = refuse(&mut fleet, change);
        assert_eq!(refusal.to_string(), "there is no workload `nobody`");
    }
}

#[test]
fn an_apply_keeps_what_is_not_of_the_manifest() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("web")]));
    apply(&mut fleet, desired("web", Desired::Stopped));
    apply(&mut fleet, restart("web"));
    let mut next = every("web");
    next.version = "2".into();
    let effects = apply(&mut fleet, applied(&[next]));
    assert_eq!(events(&effects), ["workload_applied"]);
    let record = fleet.workload("web").unwrap();
    assert_eq!(
        (record.desired, record.restart_count),
        (Desired::Stopped, 1)
    );
    assert_eq!((record.revision, record.spec.version.as_str()), (2, "2"));
}

#[test]
fn a_configuration_reaches_every_node_of_the_fleet() {
    let mut fleet = three();
    apply(&mut fleet, super::enrolled("pending", "key", false));
    let node_config = NodeConfig {
        heartbeat_interval_ms: 5_000,
        ..NodeConfig::default()
    };
    let change = Change::Configured {
        node_config: node_config.clone(),
    };
    assert_eq!(touches(&mut fleet, change), names(&["a", "b", "c"]));
    assert_eq!(fleet.assignment("c").unwrap().cfg, node_config);
}

#[test]
fn a_plan_tells_field_by_field_what_changes() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("web"), every("same")]));
    let mut next = every("web");
    next.version = "2".into();
    next.restart.delay_ms = 1;
    let plan = fleet.plan(&[next, every("same"), workload("new")], false);
    assert_eq!(plan.version, fleet.version());
    assert_eq!(plan.unchanged, [name("same")]);
    assert_eq!(plan.added.len(), 1);
    let web = &plan.changed[0];
    let fields: Vec<&str> = web.fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["restart.delay_ms", "version"]);
    assert!(web.replaces);
    let mut in_place = every("web");
    in_place.restart.delay_ms = 1;
    assert!(!fleet.plan(&[in_place], false).changed[0].replaces);
    assert!(fleet.plan(&[every("web")], false).is_empty());
}

#[test]
fn a_plan_counts_the_memory_that_changed_limits_take() {
    let mut fleet = three();
    let mut web = every("a-web");
    web.placement.nodes = vec![name("a"), name("b")];
    let mut filler = replicas("filler", 1);
    filler.placement.nodes = vec![name("c")];
    apply(&mut fleet, applied(&[web.clone(), filler]));
    // From now on `a` and `b` have less memory left than `c`, at as many instances.
    web.resources.memory = Some(512 << 20);
    let both = [replicas("b-new", 1), web];
    let plan = fleet.plan(&both, false);
    apply(&mut fleet, applied(&both));
    assert_eq!(placed(&fleet, "b-new"), names(&["c"]));
    let planned = plan.added[0].nodes.iter().filter(|n| n.placed);
    let planned: Vec<&str> = planned.map(|n| n.node.as_str()).collect();
    assert_eq!(planned, ["c"]);
}

prop_compose! {
    fn spec()(
        who in 0usize..5,
        version in 0u8..3,
        wanted in prop::option::of(0u32..5),
        memory in prop::option::of(0u64..3),
        zone in prop::bool::weighted(0.2),
    ) -> Workload {
        let text = format!("w{who}");
        let mut workload = wanted.map_or_else(|| every(&text), |n| replicas(&text, n));
        workload.version = version.to_string();
        workload.resources.memory = memory.map(|m| m << 28);
        if zone { requires(workload, &["zone=lab"]) } else { workload }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_apply_does_what_its_plan_says(
        rounds in prop::collection::vec(prop::collection::vec(spec(), 1..5), 1..5),
        away in any::<bool>(),
    ) {
        let mut fleet = three();
        join(&mut fleet, "d");
        apply(&mut fleet, labelled("b", "zone", Some("lab")));
        if away {
            apply(&mut fleet, presence("d", Presence::Offline));
        }
        for mut round in rounds {
            round.sort_by(|a, b| a.name.cmp(&b.name));
            round.dedup_by(|a, b| a.name == b.name);
            let plan = fleet.plan(&round, false);
            let result = fleet.apply(&super::entry(applied(&round)));
            prop_assert_eq!(plan.is_empty(), result == Err(Refusal::Unchanged));
            for planned in plan.added.iter().chain(&plan.changed) {
                let record = fleet.workload(planned.workload.as_str()).unwrap();
                let placed = planned.nodes.iter().filter(|n| n.placed);
                let placed: BTreeSet<Name> = placed.map(|n| n.node.clone()).collect();
                prop_assert_eq!(&placed, &record.placed, "{}", &planned.workload);
                prop_assert_eq!(planned.missing, record.missing);
                let reasons = planned.nodes.iter().map(|n| (n.node.clone(), n.reason.clone()));
                prop_assert_eq!(reasons.collect::<std::collections::BTreeMap<_, _>>(), record.reasons.clone());
            }
        }
    }
}
