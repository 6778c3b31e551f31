//! What is between two nodes, as placement sees it.

use super::{applied, apply, join, labelled, name, names, placed, replicas, requires, three};
use crate::fleet::{Fleet, Move, MovePhase, MoveWhy};
use std::sync::Arc;

/// `web` on `a`, on its way to `b`.
fn moving(phase: MovePhase, count: u32) -> Fleet {
    let mut fleet = three();
    apply(&mut fleet, applied(&[replicas("web", 1)]));
    let record = fleet.workloads.get_mut(&name("web")).unwrap();
    record.moves.insert(
        name("a"),
        Move {
            to: name("b"),
            why: MoveWhy::Migrated,
            phase,
            since_ms: 1,
            healthy_since_ms: None,
            told: None,
        },
    );
    match phase {
        MovePhase::Starting => {
            record.placed.insert(name("b"));
            fleet
                .nodes
                .get_mut(&name("b"))
                .unwrap()
                .placed
                .insert(name("web"));
        }
        MovePhase::Stopping => {
            record.placed.remove(&name("a"));
            fleet
                .nodes
                .get_mut(&name("a"))
                .unwrap()
                .placed
                .remove(&name("web"));
        }
    }
    let record = fleet.workloads.get_mut(&name("web")).unwrap();
    record.spec = Arc::new(replicas("web", count));
    fleet.decide(names(&["web"]));
    fleet
}

fn moves(fleet: &Fleet) -> usize {
    fleet.workload("web").unwrap().moves.len()
}

#[test]
fn what_leaves_a_node_counts_for_nothing_and_still_has_it() {
    let fleet = moving(MovePhase::Starting, 1);
    assert_eq!(placed(&fleet, "web"), names(&["a", "b"]));
    assert_eq!(moves(&fleet), 1);
    let fleet = moving(MovePhase::Starting, 2);
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c"]));
    let fleet = moving(MovePhase::Starting, 3);
    assert_eq!(placed(&fleet, "web"), names(&["a", "b", "c"]));
    assert_eq!(fleet.workload("web").unwrap().missing, 1);
    let why = fleet.why("web").unwrap();
    let a = &why.nodes[0];
    assert!(a.placed && a.leaving);
    assert_eq!(a.reason, "it is on its way from here to b");
}

#[test]
fn a_replica_between_two_nodes_is_not_given_to_a_third() {
    let fleet = moving(MovePhase::Stopping, 1);
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(fleet.workload("web").unwrap().missing, 0);
    // Neither of the two takes another one meanwhile.
    let fleet = moving(MovePhase::Stopping, 3);
    assert_eq!(placed(&fleet, "web"), names(&["c"]));
    assert_eq!(fleet.workload("web").unwrap().missing, 1);
}

#[test]
fn none_wanted_any_more_ends_the_move_on_both_nodes() {
    let fleet = moving(MovePhase::Starting, 0);
    assert_eq!(placed(&fleet, "web"), names(&[]));
    assert_eq!(moves(&fleet), 0);
}

#[test]
fn a_target_that_cannot_have_it_any_more_ends_the_move_and_the_old_node_keeps_it() {
    let mut fleet = three();
    for node in ["a", "b"] {
        apply(&mut fleet, labelled(node, "ssd", Some("1")));
    }
    apply(
        &mut fleet,
        applied(&[requires(replicas("web", 1), &["ssd"])]),
    );
    let record = fleet.workloads.get_mut(&name("web")).unwrap();
    record.moves.insert(
        name("a"),
        Move {
            to: name("b"),
            why: MoveWhy::Drained,
            phase: MovePhase::Starting,
            since_ms: 1,
            healthy_since_ms: None,
            told: None,
        },
    );
    record.placed.insert(name("b"));
    fleet
        .nodes
        .get_mut(&name("b"))
        .unwrap()
        .placed
        .insert(name("web"));
    apply(&mut fleet, labelled("b", "ssd", None));
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
    assert_eq!(moves(&fleet), 0);
    join(&mut fleet, "d");
    assert_eq!(placed(&fleet, "web"), names(&["a"]));
}
