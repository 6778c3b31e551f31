//! Which request an instance comes from, and that nothing is decided by it.

use super::{applied, apply, generations, join, name, presence, replicas, three, touched};
use crate::{
    fleet::{Actor, Change, Effect, Entry, Fleet, Refusal, RolloutOrder},
    identity::Role,
    model::{CommandKind, CommandSpec, Desired, Presence, TraceContext, Update, Workload},
};

fn trace(n: u8) -> TraceContext {
    TraceContext::new([n; 16], [n; 8]).unwrap()
}

fn by(n: u8, at_ms: u64, change: Change) -> Entry {
    Entry {
        at_ms,
        by: Some(Actor {
            token: "ann".into(),
            role: Role::Operator,
            from: "192.0.2.1".into(),
            trace: Some(trace(n)),
        }),
        change,
    }
}

/// A person's request of this number; it must be taken.
fn ask(fleet: &mut Fleet, n: u8, change: Change) -> Vec<Effect> {
    fleet.apply(&by(n, 1_000, change)).unwrap()
}

fn desired_of(workload: &str, desired: Desired) -> Change {
    Change::WorkloadDesired {
        workload: name(workload),
        desired,
    }
}

fn version(workload: Workload, version: &str) -> Workload {
    Workload {
        version: version.into(),
        ..workload
    }
}

/// Version and request of `web` as a node is told them.
fn told(fleet: &Fleet, node: &str) -> Option<(String, Option<TraceContext>)> {
    let assignment = fleet.assignment(node)?;
    let web = assignment
        .instances
        .into_iter()
        .find(|i| i.workload.name == name("web"))?;
    Some((web.workload.version.clone(), web.trace))
}

fn is(version: &str, n: u8) -> Option<(String, Option<TraceContext>)> {
    Some((version.to_owned(), Some(trace(n))))
}

#[test]
fn the_same_applied_again_by_another_request_changes_nothing() {
    let mut fleet = three();
    ask(&mut fleet, 1, applied(&[replicas("web", 1)]));
    assert_eq!(told(&fleet, "a"), is("1", 1));
    let before = fleet.clone();
    let again = fleet.apply(&by(2, 2_000, applied(&[replicas("web", 1)])));
    assert_eq!(again, Err(Refusal::Unchanged));
    assert_eq!(fleet, before);
    // Beside something that does change, it keeps its own.
    let both = applied(&[replicas("web", 1), replicas("other", 1)]);
    ask(&mut fleet, 3, both);
    assert_eq!(told(&fleet, "a"), is("1", 1));
}

#[test]
fn what_people_change_is_told_with_their_request() {
    let mut fleet = three();
    ask(&mut fleet, 1, applied(&[replicas("web", 1)]));
    ask(&mut fleet, 2, applied(&[version(replicas("web", 1), "2")]));
    assert_eq!(told(&fleet, "a"), is("2", 2));
    ask(&mut fleet, 3, desired_of("web", Desired::Stopped));
    assert_eq!(told(&fleet, "a"), is("2", 3));
    let restart = Change::WorkloadRestarted {
        workload: name("web"),
    };
    ask(&mut fleet, 4, restart);
    assert_eq!(told(&fleet, "a"), is("2", 4));
    let order = RolloutOrder::Rollback { to: None };
    let back = Change::RolloutOrdered {
        workload: name("web"),
        order,
    };
    ask(&mut fleet, 5, back);
    assert_eq!(told(&fleet, "a"), is("1", 5));
    let history = &fleet.workload("web").unwrap().history;
    let requests: Vec<_> = history.iter().map(|r| r.trace).collect();
    assert_eq!(requests, [Some(trace(1)), Some(trace(2)), Some(trace(5))]);
    // Scaled: the new instance comes by the request that wants it.
    ask(&mut fleet, 6, applied(&[replicas("web", 2)]));
    let traces: Vec<_> = ["a", "b", "c"]
        .iter()
        .filter_map(|n| told(&fleet, n)?.1)
        .collect();
    assert_eq!(traces, [trace(6), trace(6)]);
}

#[test]
fn a_node_that_waits_for_its_turn_has_the_request_of_what_it_runs() {
    let mut fleet = three();
    let web = Workload {
        update: Some(Update::default()),
        ..replicas("web", 2)
    };
    ask(&mut fleet, 1, applied(std::slice::from_ref(&web)));
    ask(&mut fleet, 2, applied(&[version(web, "2")]));
    let all: Vec<_> = ["a", "b", "c"]
        .iter()
        .filter_map(|n| told(&fleet, n))
        .collect();
    assert_eq!(all.len(), 2);
    for (version, request) in &all {
        assert_eq!(request.unwrap(), trace(version.parse().unwrap()));
    }
    assert!(all.iter().any(|(version, _)| version == "1"), "{all:?}");
}

#[test]
fn only_the_instance_that_a_person_moves_has_the_request_of_the_move() {
    let mut fleet = three();
    ask(&mut fleet, 1, applied(&[replicas("web", 2)]));
    let on: Vec<String> = fleet
        .workload("web")
        .unwrap()
        .placed
        .iter()
        .map(|n| n.to_string())
        .collect();
    let free = ["a", "b", "c"]
        .into_iter()
        .find(|n| !on.contains(&(*n).to_owned()))
        .unwrap();
    let before = generations(&fleet);
    let change = Change::InstanceMigrated {
        workload: name("web"),
        from: name(&on[0]),
        to: Some(name(free)),
        force: false,
    };
    let effects = ask(&mut fleet, 2, change);
    assert!(touched(&fleet, &before, &effects).contains(&name(free)));
    assert_eq!(told(&fleet, free), is("1", 2));
    assert_eq!(told(&fleet, &on[0]), is("1", 1));
    assert_eq!(told(&fleet, &on[1]), is("1", 1));
    // Changed as a whole, that is what all have.
    ask(&mut fleet, 3, desired_of("web", Desired::Stopped));
    assert_eq!(told(&fleet, free), is("1", 3));
}

#[test]
fn what_takes_over_from_a_lost_node_has_the_request_that_wants_it() {
    let mut fleet = three();
    ask(&mut fleet, 1, applied(&[replicas("web", 1)]));
    apply(&mut fleet, presence("a", Presence::Offline));
    let due = fleet.next_deadline().unwrap();
    let passed = Entry {
        at_ms: due,
        by: None,
        change: Change::TimePassed {},
    };
    fleet.apply(&passed).unwrap();
    let now = ["b", "c"].iter().find_map(|n| told(&fleet, n));
    assert_eq!(now, is("1", 1));
}

#[test]
fn a_snapshot_and_an_older_one_are_read() {
    let mut fleet = three();
    ask(&mut fleet, 1, applied(&[replicas("web", 1)]));
    let text = serde_json::to_string(&fleet).unwrap();
    let read: Fleet = serde_json::from_str(&text).unwrap();
    assert_eq!(told(&read, "a"), is("1", 1));
    // Before there were requests.
    let mut older = Fleet::new();
    join(&mut older, "a");
    apply(&mut older, applied(&[replicas("web", 1)]));
    let text = serde_json::to_string(&older).unwrap();
    assert!(!text.contains("trace"), "nothing is written of what is not");
}

#[test]
fn a_command_is_sent_with_the_request_that_orders_it() {
    let mut fleet = three();
    let change = Change::CommandIssued {
        id: "1".into(),
        node: name("a"),
        order: CommandSpec::new(CommandKind::Restart, None),
        deadline_ms: 9_000,
    };
    let effects = ask(&mut fleet, 7, change);
    let sent = effects.iter().find_map(|e| match e {
        Effect::SendCommand { trace, .. } => *trace,
        _ => None,
    });
    assert_eq!(sent, Some(trace(7)));
}
