//! Nodes: how they join and leave, and what they report.

use super::{
    applied, apply, described, enrolled, events, every, facts, generation, join, labelled, name,
    names, placed, presence, refuse, replicas, three,
};
use crate::{
    fleet::{Approval, Change, Effect, Fleet, Refusal},
    model::{EngineFact, InstanceState, Name, ObservedInstance, Presence, RuntimeKind},
};

fn approve(node: &str) -> Change {
    Change::NodeApproved { node: name(node) }
}

fn revoke(node: &str) -> Change {
    Change::NodeRevoked { node: name(node) }
}

fn remove(node: &str) -> Change {
    Change::NodeRemoved { node: name(node) }
}

fn observed(workload: &str, state: InstanceState) -> ObservedInstance {
    ObservedInstance {
        workload: name(workload),
        version: "1".into(),
        spec_hash: "hash".into(),
        state,
        runtime: RuntimeKind::Process,
        restarts: 0,
        reason: None,
        warnings: Vec::new(),
        exit_code: None,
        handle: None,
        since_ms: 0,
        progress: None,
        health: None,
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        trial: None,
        fetched: None,
    }
}

fn reported(node: &str, generation: u64, instances: Vec<ObservedInstance>) -> Change {
    Change::StateReported {
        node: name(node),
        generation,
        instances,
        engines: Vec::new(),
    }
}

#[test]
fn a_machine_waits_for_approval_where_somebody_must_give_it() {
    let mut fleet = Fleet::new();
    let effects = apply(&mut fleet, enrolled("a", "key", false));
    assert_eq!(events(&effects), ["node_waiting"]);
    assert!(effects.contains(&Effect::PublishWelcome(name("a"))));
    assert_eq!(fleet.node("a").unwrap().approval, Approval::Pending);
    assert_eq!(fleet.assignment("a"), None);
    // It is no member yet: nothing that it says counts.
    for change in [
        described("a", facts(&[])),
        presence("a", Presence::Online),
        reported("a", 0, Vec::new()),
    ] {
        let refusal = refuse(&mut fleet, change);
        assert_eq!(refusal.to_string(), "there is no node `a`");
    }
    apply(&mut fleet, applied(&[every("web")]));
    assert_eq!(placed(&fleet, "web"), names(&[]));

    let effects = apply(&mut fleet, approve("a"));
    assert_eq!(events(&effects), ["node_joined"]);
    assert!(effects.contains(&Effect::PublishAssignment(name("a"))));
    assert_eq!(generation(&fleet, "a"), 1);
    assert_eq!(refuse(&mut fleet, approve("a")), Refusal::Unchanged);
}

#[test]
fn a_machine_joins_at_once_where_nobody_must_approve_it() {
    let mut fleet = Fleet::new();
    let effects = apply(&mut fleet, enrolled("a", "key", true));
    assert_eq!(events(&effects), ["node_joined"]);
    assert_eq!(fleet.node("a").unwrap().approval, Approval::Approved);
    assert_eq!(fleet.assignment("a").unwrap().generation, 1);
}

#[test]
fn a_name_belongs_to_the_machine_that_took_it_first() {
    let mut fleet = Fleet::new();
    apply(&mut fleet, enrolled("a", "key", true));
    let again = refuse(&mut fleet, enrolled("a", "key", true));
    assert_eq!(again, Refusal::Unchanged);
    let other = refuse(&mut fleet, enrolled("a", "other", true));
    assert!(
        other
            .to_string()
            .starts_with("the name a is taken by another machine")
    );
    assert!(other.to_string().contains("`fleetctl node rm a`"));
}

#[test]
fn a_revoked_node_is_cut_off_and_what_ran_there_goes_elsewhere() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[replicas("web", 1)]));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    let (before, generation_a) = (fleet.access().generation, generation(&fleet, "a"));
    let effects = apply(&mut fleet, revoke("a"));
    assert_eq!(events(&effects), ["node_revoked"]);
    assert!(effects.contains(&Effect::PublishAccess));
    assert!(effects.contains(&Effect::PublishAssignment(name("b"))));
    assert!(!effects.contains(&Effect::PublishAssignment(name("a"))));
    assert_eq!(placed(&fleet, "web"), names(&["b"]));
    assert!(fleet.node("a").unwrap().placed.is_empty());
    assert_eq!(fleet.assignment("a"), None);
    assert_eq!(generation(&fleet, "a"), generation_a);
    assert!(fleet.key_is_revoked("key-a"));
    assert_eq!(fleet.access().revoked, ["key-a"]);
    assert_eq!(fleet.access().generation, before + 1);

    assert_eq!(refuse(&mut fleet, revoke("a")), Refusal::Unchanged);
    let refusal = refuse(&mut fleet, approve("a"));
    assert!(
        refusal.to_string().starts_with("a was revoked"),
        "{refusal}"
    );
    let refusal = refuse(&mut fleet, enrolled("new", "key-a", true));
    assert_eq!(refusal.to_string(), "the key of new was revoked");
}

#[test]
fn a_removed_node_is_forgotten_but_its_key_is_not() {
    let mut fleet = three();
    apply(&mut fleet, applied(&[every("web")]));
    let effects = apply(&mut fleet, remove("b"));
    assert_eq!(events(&effects), ["node_removed"]);
    assert!(effects.contains(&Effect::ClearRetained(name("b"))));
    assert_eq!(placed(&fleet, "web"), names(&["a", "c"]));
    assert!(fleet.node("b").is_none());
    assert!(fleet.key_is_revoked("key-b"));
    refuse(&mut fleet, remove("b"));
    // The name is free again for a machine with another key.
    apply(&mut fleet, enrolled("b", "another", true));
    apply(&mut fleet, described("b", facts(&[("process", "1")])));
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c"]));
}

#[test]
fn labels_are_set_changed_and_taken_away_and_are_bounded() {
    let mut fleet = three();
    apply(&mut fleet, labelled("a", "zone", Some("lab")));
    apply(&mut fleet, labelled("a", "zone", Some("shop")));
    assert_eq!(fleet.node("a").unwrap().all_labels()["zone"], "shop");
    let again = labelled("a", "zone", Some("shop"));
    assert_eq!(refuse(&mut fleet, again), Refusal::Unchanged);
    apply(&mut fleet, labelled("a", "zone", None));
    assert!(fleet.node("a").unwrap().all_labels().is_empty());
    for n in 0..64 {
        apply(&mut fleet, labelled("a", &format!("key-{n}"), Some("x")));
    }
    let refusal = refuse(&mut fleet, labelled("a", "one-more", Some("x")));
    assert_eq!(refusal.to_string(), "a node has at most 64 labels");
    refuse(&mut fleet, labelled("nobody", "zone", Some("lab")));
}

#[test]
fn a_persons_label_wins_over_that_of_the_agents_configuration() {
    let mut fleet = three();
    let mut own = facts(&[("process", "1")]);
    own.labels.insert("zone".into(), "agent".into());
    apply(&mut fleet, described("a", own));
    assert_eq!(fleet.node("a").unwrap().all_labels()["zone"], "agent");
    apply(&mut fleet, labelled("a", "zone", Some("person")));
    assert_eq!(fleet.node("a").unwrap().properties()["zone"], "person");
}

#[test]
fn a_report_is_kept_and_its_news_are_told_once() {
    let mut fleet = three();
    let running = || reported("a", 1, vec![observed("web", InstanceState::Running)]);
    let effects = apply(&mut fleet, running());
    assert_eq!(events(&effects), ["instance_running"]);
    assert_eq!(refuse(&mut fleet, running()), Refusal::Unchanged);
    let mut failed = observed("web", InstanceState::Failed);
    failed.reason = Some("it ended with exit code 1".into());
    let effects = apply(&mut fleet, reported("a", 1, vec![failed]));
    let told = effects.iter().find_map(|e| match e {
        Effect::Emit(event) => Some((event.message.as_str(), event.workload.clone())),
        _ => None,
    });
    let message = "web on a is failed: it ended with exit code 1";
    assert_eq!(told, Some((message, Some(name("web")))));
    // Another generation alone is worth keeping, and no event.
    let mut same = observed("web", InstanceState::Failed);
    same.reason = Some("it ended with exit code 1".into());
    assert!(apply(&mut fleet, reported("a", 0, vec![same])).is_empty());
    assert_eq!(fleet.node("a").unwrap().observed_generation, 0);
    let effects = apply(&mut fleet, reported("a", 1, Vec::new()));
    assert_eq!(events(&effects), ["instance_removed"]);
}

#[test]
fn a_node_that_is_ahead_of_a_restored_fleet_gets_a_higher_generation() {
    let mut fleet = three();
    let effects = apply(&mut fleet, reported("a", 40, Vec::new()));
    assert_eq!(effects, [Effect::PublishAssignment(name("a"))]);
    assert_eq!(fleet.assignment("a").unwrap().generation, 41);
    // What JSON cannot hold exactly is not believed.
    assert!(apply(&mut fleet, reported("a", u64::MAX, Vec::new())).is_empty());
    assert_eq!(fleet.assignment("a").unwrap().generation, 41);
}

#[test]
fn engines_of_a_report_are_kept() {
    let mut fleet = three();
    let engines = vec![EngineFact {
        runtime: RuntimeKind::Docker,
        version: "27".into(),
        healthy: false,
    }];
    let change = Change::StateReported {
        node: name("a"),
        generation: 0,
        instances: Vec::new(),
        engines: engines.clone(),
    };
    apply(&mut fleet, change);
    assert_eq!(fleet.node("a").unwrap().engines, engines);
}

#[test]
fn a_report_of_more_instances_than_anybody_needs_is_refused() {
    let mut fleet = three();
    let many = (0..=crate::contract::MAX_INSTANCES)
        .map(|n| observed(&format!("w{n}"), InstanceState::Running))
        .collect();
    let refusal = refuse(&mut fleet, reported("a", 1, many));
    assert_eq!(refusal.to_string(), "a reports too many instances");
}

#[test]
fn instances_of_a_node_that_cannot_be_heard_are_never_shown_as_running() {
    let mut fleet = Fleet::new();
    join(&mut fleet, "a");
    apply(&mut fleet, applied(&[every("web")]));
    let hash = fleet.workload("web").unwrap().spec_hash.clone();
    let mut web = observed("web", InstanceState::Running);
    web.spec_hash = hash;
    apply(&mut fleet, reported("a", 2, vec![web]));
    let shown = |fleet: &Fleet| {
        let all: Vec<(Option<Name>, InstanceState, bool)> = fleet
            .instances()
            .into_iter()
            .map(|i| (i.node, i.state, i.up_to_date))
            .collect();
        all
    };
    let a = Some(name("a"));
    assert_eq!(shown(&fleet), [(a.clone(), InstanceState::Running, true)]);
    assert_eq!(fleet.workload_view(&name("web")).unwrap().running, 1);
    apply(&mut fleet, presence("a", Presence::Silent));
    assert_eq!(shown(&fleet), [(a, InstanceState::Unknown, true)]);
    assert_eq!(fleet.workload_view(&name("web")).unwrap().running, 0);
}

#[test]
fn the_journal_keeps_of_a_report_what_differs_from_before() {
    let mut fleet = three();
    let both = |state| {
        let web = observed("web", InstanceState::Running);
        reported("a", 1, vec![observed("db", state), web])
    };
    apply(&mut fleet, both(InstanceState::Running));
    let kept = fleet.kept_as(&both(InstanceState::Failed));
    let Some(Change::StateChanged {
        changed,
        gone,
        engines,
        ..
    }) = kept
    else {
        panic!("{kept:?}");
    };
    assert_eq!(changed, [observed("db", InstanceState::Failed)]);
    assert_eq!((gone, engines), (Vec::new(), None));

    let kept = fleet.kept_as(&reported(
        "a",
        1,
        vec![observed("web", InstanceState::Running)],
    ));
    let Some(Change::StateChanged { changed, gone, .. }) = kept else {
        panic!("{kept:?}");
    };
    assert_eq!((changed, gone), (Vec::new(), vec![name("db")]));
}
