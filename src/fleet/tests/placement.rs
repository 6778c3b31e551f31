//! Where workloads go, and the reason for every node.

use super::{
    applied, apply, described, every, facts, join, join_with, labelled, name, names, placed,
    presence, refuse, replicas, requires, three, workload,
};
use crate::{
    fleet::{Candidate, Closed, Fleet, Refusal, Reserved, Taken, place},
    model::{
        Name, NodeFacts, PlacementMode, Preference, Presence, Requirement, Run, RuntimeKind,
        Strategy, Workload,
    },
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn container(text: &str, with: Option<RuntimeKind>) -> Workload {
    let mut workload = workload(text);
    workload.run = Run::Container {
        image: "registry.example/x:1".into(),
        command: Vec::new(),
        pull: Default::default(),
        engine: with,
        user: None,
        working_dir: None,
        network: None,
        options: Box::default(),
    };
    workload
}

fn reason(fleet: &Fleet, workload: &str, node: &str) -> String {
    fleet.workload(workload).unwrap().reasons[node].clone()
}

#[test]
fn every_match_runs_it_also_one_that_joins_later_or_is_away() {
    let mut fleet = three();
    apply(&mut fleet, presence("c", Presence::Offline));
    apply(&mut fleet, applied(&[every("web")]));
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c"]));
    join(&mut fleet, "d");
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c", "d"]));
    assert_eq!(
        reason(&fleet, "web", "d"),
        "it matches, and every match runs it"
    );
    assert_eq!(fleet.workload("web").unwrap().missing, 0);
}

#[test]
fn explicit_nodes_take_it_and_the_others_are_told_why_not() {
    let mut fleet = three();
    let mut web = every("web");
    web.placement.nodes = vec![name("a"), name("c"), name("nobody")];
    apply(&mut fleet, applied(&[web]));
    assert_eq!(placed(&fleet, "web"), names(&["a", "c"]));
    assert_eq!(reason(&fleet, "web", "b"), "it is not among `nodes`");
}

#[test]
fn the_least_loaded_nodes_are_chosen_then_those_with_few_instances_then_by_name() {
    let mut fleet = three();
    let mut big = facts(&[("process", "1")]);
    big.memory_total = 8 << 30;
    join_with(&mut fleet, "z", big);
    apply(&mut fleet, applied(&[replicas("first", 1)]));
    assert_eq!(placed(&fleet, "first"), names(&["a"]));
    apply(&mut fleet, applied(&[replicas("second", 2)]));
    assert_eq!(placed(&fleet, "second"), names(&["b", "c"]));
    assert_eq!(
        reason(&fleet, "second", "b"),
        "least loaded: it has 0 instances"
    );
    let passed = "enough others were chosen (it has 1 instance)";
    assert_eq!(reason(&fleet, "second", "a"), passed);
    // Who says what it may use counts by that: half of `a`, a sixteenth of `z`.
    let hungry = |name: &str| {
        let mut hungry = replicas(name, 4);
        hungry.resources.memory = Some(512 << 20);
        hungry
    };
    apply(&mut fleet, applied(&[hungry("hungry")]));
    apply(&mut fleet, applied(&[replicas("third", 1)]));
    assert_eq!(placed(&fleet, "third"), names(&["z"]));
    let why = "least loaded: 6% of it is taken, it has 1 instance";
    assert_eq!(reason(&fleet, "third", "z"), why);
}

#[test]
fn replicas_grow_onto_free_nodes_and_shrink_without_moving_anything() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[replicas("web", 1)]));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    apply(&mut fleet, applied(&[replicas("web", 3)]));
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c"]));
    apply(&mut fleet, applied(&[replicas("web", 5)]));
    assert_eq!(fleet.workload("web").unwrap().missing, 2);
    join(&mut fleet, "d");
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c", "d"]));
    assert_eq!(fleet.workload("web").unwrap().missing, 1);
    apply(&mut fleet, applied(&[replicas("web", 2)]));
    assert_eq!(placed(&fleet, "web"), names(&["a", "b"]));
    assert_eq!(reason(&fleet, "web", "d"), "2 replicas are enough");
    apply(&mut fleet, applied(&[replicas("web", 0)]));
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(fleet.workload("web").unwrap().missing, 0);
}

#[test]
fn requirements_are_read_as_they_are_written() {
    let mut fleet = Fleet::new();
    join_with(&mut fleet, "a", facts(&[("process", "1"), ("zone", "lab")]));
    join_with(
        &mut fleet,
        "b",
        facts(&[("process", "1"), ("zone", "shop"), ("gpu", "yes")]),
    );
    join_with(&mut fleet, "c", facts(&[("process", "1")]));
    let table: [(&[&str], &[&str]); 8] = [
        (&["zone=lab"], &["a"]),
        (&["zone!=lab"], &["b", "c"]),
        (&["zone"], &["a", "b"]),
        (&["!zone"], &["c"]),
        (&["!gpu"], &["a", "c"]),
        (&["zone", "!gpu"], &["a"]),
        (&["zone=lab", "zone=shop"], &[]),
        (&["process"], &["a", "b", "c"]),
    ];
    for (n, (all, expected)) in table.into_iter().enumerate() {
        let web = format!("web-{n}");
        apply(&mut fleet, applied(&[requires(every(&web), all)]));
        assert_eq!(placed(&fleet, &web), names(expected), "{all:?}");
    }
    assert_eq!(
        reason(&fleet, "web-0", "b"),
        "it has zone=shop, `zone=lab` is required"
    );
    assert_eq!(reason(&fleet, "web-0", "c"), "it does not meet `zone=lab`");
    assert_eq!(reason(&fleet, "web-3", "a"), "it does not meet `!zone`");
}

#[test]
fn a_label_decides_as_a_capability_does_and_never_overrules_one() {
    let mut fleet = three();
    apply(
        &mut fleet,
        applied(&[requires(every("web"), &["zone=lab"])]),
    );
    assert_eq!(placed(&fleet, "web"), names(&[]));
    apply(&mut fleet, labelled("b", "zone", Some("lab")));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
    apply(&mut fleet, labelled("b", "zone", Some("shop")));
    assert_eq!(placed(&fleet, "web"), names(&[]));
    let own = facts(&[("process", "1"), ("zone", "lab")]);
    apply(&mut fleet, described("b", own));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
    // A fact is not to be overruled by a word; a label that was there before may still go.
    let refused = refuse(&mut fleet, labelled("b", "zone", Some("shop")));
    assert!(matches!(refused, Refusal::Invalid(m) if m.contains("`zone`")));
    apply(&mut fleet, labelled("b", "zone", None));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
}

#[test]
fn a_node_without_the_runtime_is_passed_over() {
    let mut fleet = Fleet::new();
    join_with(&mut fleet, "bare", facts(&[]));
    join_with(
        &mut fleet,
        "docker",
        facts(&[("docker", "27"), ("process", "1")]),
    );
    join_with(&mut fleet, "podman", facts(&[("podman", "5")]));
    let podman = container("pod", Some(RuntimeKind::Podman));
    for mut all in [container("any", None), podman, workload("native")] {
        all.placement.mode = crate::model::PlacementMode::Every;
        apply(&mut fleet, applied(&[all]));
    }
    assert_eq!(placed(&fleet, "any"), names(&["docker", "podman"]));
    assert_eq!(placed(&fleet, "pod"), names(&["podman"]));
    assert_eq!(placed(&fleet, "native"), names(&["docker"]));
    assert_eq!(
        reason(&fleet, "any", "bare"),
        "it has neither Docker nor Podman"
    );
    assert_eq!(reason(&fleet, "pod", "docker"), "it has no podman");
    assert_eq!(
        reason(&fleet, "native", "podman"),
        "it does not run native processes"
    );
}

#[test]
fn what_runs_stays_where_it_is_when_its_node_or_its_engine_goes_away() {
    let mut fleet = Fleet::new();
    let docker = || facts(&[("docker", "27")]);
    join_with(&mut fleet, "a", docker());
    let web = requires(container("web", None), &["docker"]);
    apply(&mut fleet, applied(&[web]));
    join_with(&mut fleet, "b", docker());
    apply(&mut fleet, presence("a", Presence::Silent));
    apply(&mut fleet, presence("a", Presence::Offline));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    apply(&mut fleet, presence("a", Presence::Online));
    apply(&mut fleet, described("a", facts(&[])));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    assert_eq!(reason(&fleet, "web", "a"), "it runs there already");
    // A fact that is no engine does decide.
    let elsewhere = requires(container("web", None), &["docker", "zone=lab"]);
    apply(&mut fleet, labelled("b", "zone", Some("lab")));
    apply(&mut fleet, applied(&[elsewhere]));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
}

#[test]
fn a_replica_is_not_given_to_a_node_that_cannot_be_heard_and_waits_for_it() {
    let mut fleet = Fleet::new();
    join(&mut fleet, "a");
    apply(&mut fleet, presence("a", Presence::Silent));
    apply(&mut fleet, applied(&[replicas("web", 1)]));
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(reason(&fleet, "web", "a"), "it is silent");
    assert_eq!(fleet.workload("web").unwrap().missing, 1);
    apply(&mut fleet, presence("a", Presence::Online));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
}

#[test]
fn a_node_that_has_not_said_what_it_is_gets_nothing_yet() {
    let mut fleet = Fleet::new();
    apply(&mut fleet, super::enrolled("a", "key-a", true));
    apply(&mut fleet, presence("a", Presence::Online));
    apply(&mut fleet, applied(&[every("web")]));
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(reason(&fleet, "web", "a"), "it has not said yet what it is");
    apply(&mut fleet, described("a", facts(&[("process", "1")])));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
}

/// A candidate without its name.
#[derive(Debug, Clone)]
struct Found {
    presence: Presence,
    facts: Option<NodeFacts>,
    taken: Taken,
    closed: Option<Closed>,
}

impl Found {
    fn named<'a>(&'a self, name: &'a Name) -> Candidate<'a> {
        Candidate {
            name,
            presence: self.presence,
            facts: self.facts.as_ref(),
            labels: None,
            taken: self.taken,
            reserved: Reserved::default(),
            closed: self.closed,
            others: None,
        }
    }
}

prop_compose! {
    fn candidate()(
        presence in prop::sample::select(vec![Presence::Online, Presence::Silent, Presence::Offline]),
        process in prop::bool::weighted(0.9),
        zone in prop::option::of(0u8..3),
        described in prop::bool::weighted(0.9),
        instances in 0usize..3,
        memory in 0u64..4,
        memory_total in 0u64..4,
        gpu in any::<bool>(),
        closed in prop::option::weighted(0.1, Just(Closed::Cordoned)),
        current in any::<bool>(),
    ) -> (Found, bool) {
        let mut all = facts(&[]);
        all.capabilities.extend(process.then(|| ("process".to_owned(), "1".to_owned())));
        all.labels.extend(zone.map(|z| ("zone".to_owned(), z.to_string())));
        all.labels.extend(gpu.then(|| ("gpu".to_owned(), "1".to_owned())));
        all.memory_total = memory_total << 20;
        all.features = crate::model::FEATURES;
        let taken = Taken { instances, memory: memory << 20, ..Taken::default() };
        let found = Found { presence, facts: described.then_some(all), taken, closed };
        (found, current)
    }
}

prop_compose! {
    fn wishes()(
        wanted in prop::option::of(0u32..6),
        zone in any::<bool>(),
        memory in prop::option::of(0u64..3),
        strategy in prop::sample::select(vec![
            Strategy::LeastLoaded,
            Strategy::RoundRobin,
            Strategy::CapabilityMatch,
            Strategy::ResourceOptimal,
        ]),
        spread in any::<bool>(),
        weight in prop::option::of(-100i32..100),
    ) -> Workload {
        let web = wanted.map_or_else(|| every("web"), |n| replicas("web", n));
        let mut web = requires(web, if zone { &["zone!=1"] } else { &[] });
        web.resources.memory = memory.map(|m| m << 20);
        web.placement.strategy = strategy;
        web.placement.spread = spread.then(|| "zone".to_owned());
        let requirement = Requirement::try_from("gpu".to_owned()).unwrap();
        web.placement.prefers.extend(weight.map(|weight| Preference { requirement, weight }));
        web
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_does_not_depend_on_the_order_of_the_candidates(
        nodes in prop::collection::vec(candidate(), 0..12),
        web in wishes(),
        turn in 0usize..12,
    ) {
        let all: Vec<Name> = (0..nodes.len()).map(|n| name(&format!("n{n}"))).collect();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut current = BTreeSet::new();
        for (node, (found, is_current)) in all.iter().zip(&nodes) {
            candidates.push(found.named(node));
            current.extend(is_current.then(|| node.clone()));
        }
        let decision = place(&web, &current, &candidates);

        let given = candidates.clone();
        candidates.reverse();
        prop_assert_eq!(&place(&web, &current, &candidates), &decision);
        let turn = turn.min(candidates.len());
        candidates.rotate_left(turn);
        prop_assert_eq!(&place(&web, &current, &candidates), &decision);

        // Every candidate gets a reason, and what was decided may be decided again.
        prop_assert_eq!(decision.reasons.len(), given.len());
        prop_assert!(decision.nodes.iter().all(|n| all.contains(n)));
        if let PlacementMode::Any { replicas } = web.placement.mode {
            prop_assert_eq!(decision.nodes.len() + decision.missing as usize, replicas as usize);
        }
        let again = place(&web, &decision.nodes, &given);
        prop_assert_eq!(again.nodes, decision.nodes);
    }
}

#[test]
fn why_says_that_none_is_asked_for_and_names_all_that_is_in_the_way() {
    let mut fleet = three();
    let mut web = requires(replicas("web", 0), &["gpu", "camera", "arch=mips"]);
    web.resources.memory = Some(4 << 30);
    apply(&mut fleet, applied(&[web.clone()]));
    let why = fleet.why("web").unwrap();
    let said = "no replica is asked for (replicas = 0)";
    assert!(why.nodes.iter().all(|n| n.reason == said), "{why:?}");
    assert_eq!(
        why.counts,
        BTreeMap::from([("none is asked for".into(), 3)])
    );
    assert_eq!(reason(&fleet, "web", "a"), said);

    web.placement.mode = PlacementMode::Any { replicas: 1 };
    apply(&mut fleet, applied(&[web.clone()]));
    let why = fleet.why("web").unwrap();
    assert_eq!(
        why.nodes[0].reason,
        "it does not meet `gpu`; it does not meet `camera`; it has arch=aarch64, `arch=mips` is \
         required; it has 1 GiB left of 1 GiB, 4 GiB are asked for"
    );
    assert_eq!(
        why.counts,
        BTreeMap::from([("does not meet `gpu`".into(), 3)]),
        "counted by the first one"
    );
    // However many there are, a sentence stays one.
    let many: Vec<String> = (0..20).map(|n| format!("x{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    apply(&mut fleet, applied(&[requires(replicas("web", 1), &many)]));
    let why = fleet.why("web").unwrap();
    let end = "it does not meet `x5`; and 14 more";
    assert!(why.nodes[0].reason.ends_with(end), "{why:?}");
}

#[test]
fn replicas_that_wait_are_listed_as_one_that_says_how_many() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[replicas("web", 10_000)]));
    let all = fleet.instances();
    assert_eq!(all.len(), 4);
    let waits = all.iter().find(|i| i.node.is_none()).unwrap();
    assert_eq!(waits.count, 9_997);
    assert!(
        waits.reason.starts_with("9,997 instances wait: "),
        "{waits:?}"
    );
    let there: u32 = all.iter().map(|i| i.count).sum();
    assert_eq!(there, 10_000);
    // What an earlier controller sends says nothing of it.
    let mut json = serde_json::to_value(&all[0]).unwrap();
    json.as_object_mut().unwrap().remove("count");
    let view: crate::fleet::InstanceView = serde_json::from_value(json).unwrap();
    assert_eq!(view.count, 1);
}
