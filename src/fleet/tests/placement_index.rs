//! What placement derives from the fleet says what the fleet says.

use super::{applied, apply, described, entry, facts, labelled, name, presence, removed, replicas};
use crate::{
    fleet::{Change, Fleet, placement::LOOKS},
    model::{
        NodeFacts, PlacementMode, Preference, Presence, Requirement, Strategy as Choice, Workload,
    },
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(u8, u32, Option<u64>)>),
    Remove(u8),
    Present(u8, bool),
    Label(u8, bool),
    Describe(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let workload = (0u8..6, 0u32..5, prop::option::of(1u64..400));
    prop_oneof![
        4 => prop::collection::vec(workload, 1..4).prop_map(Step::Apply),
        1 => (0u8..6).prop_map(Step::Remove),
        2 => (0u8..5, any::<bool>()).prop_map(|(n, on)| Step::Present(n, on)),
        1 => (0u8..5, any::<bool>()).prop_map(|(n, on)| Step::Label(n, on)),
        1 => (0u8..5, 100u64..2_000).prop_map(|(n, memory)| Step::Describe(n, memory)),
    ]
}

fn asks(which: u8, count: u32, memory: Option<u64>) -> Workload {
    let mut w = replicas(&format!("w{which}"), count);
    w.resources.memory = memory.map(|m| m << 20);
    match which {
        0 => w.placement.prefers = vec![prefers("zone=a", 30), prefers("!zone", -20)],
        1 => w.placement.apart = vec![name("w2")],
        2 => w.placement.strategy = Choice::RoundRobin,
        3 => w.placement.with = vec![name("w2")],
        4 => {
            w.placement.spread = Some("zone".into());
            w.placement.prefers = vec![prefers("memory>=500MiB", 10)];
        }
        5 => w.placement.mode = PlacementMode::Every,
        _ => {}
    }
    w
}

fn prefers(requirement: &str, weight: i32) -> Preference {
    Preference {
        requirement: Requirement::try_from(requirement.to_owned()).unwrap(),
        weight,
    }
}

fn change(step: &Step) -> Change {
    let node = |n: &u8| format!("n{n}");
    match step {
        Step::Apply(all) => {
            let all: Vec<Workload> = all.iter().map(|(w, n, m)| asks(*w, *n, *m)).collect();
            applied(&all)
        }
        Step::Remove(which) => removed(&[&format!("w{which}")]),
        Step::Present(n, on) => {
            let presences = [Presence::Offline, Presence::Online];
            presence(&node(n), presences[usize::from(*on)])
        }
        Step::Label(n, on) => labelled(&node(n), "zone", on.then_some("a")),
        Step::Describe(n, memory) => described(&node(n), sized(*memory)),
    }
}

fn sized(mebibytes: u64) -> NodeFacts {
    let mut facts = facts(&[("process", "1")]);
    facts.memory_total = mebibytes << 20;
    facts
}

fn fleet_of(order: impl Iterator<Item = usize>) -> Fleet {
    let mut fleet = Fleet::new();
    for n in order {
        super::join_with(&mut fleet, &format!("n{n}"), sized(1_000));
    }
    fleet
}

/// Without anything that was derived.
fn restored(fleet: &Fleet) -> Fleet {
    serde_json::from_str(&serde_json::to_string(fleet).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_fleet_that_was_stored_before_each_entry_decides_the_same(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut fleet = fleet_of(0..5);
        for step in &steps {
            let mut other = restored(&fleet);
            let change = entry(change(step));
            prop_assert_eq!(fleet.apply(&change), other.apply(&change), "{:?}", step);
            prop_assert_eq!(&fleet, &other, "{:?}", step);
            let bare = restored(&fleet);
            for (name, node) in fleet.nodes() {
                prop_assert_eq!(fleet.taken(name, node), other.taken(name, node));
                prop_assert_eq!(fleet.taken(name, node), bare.taken(name, node));
            }
        }
    }

    #[test]
    fn what_is_looked_up_is_what_looking_at_every_node_would_find(
        steps in prop::collection::vec(step(), 1..25),
        more in 1u32..6,
    ) {
        let mut fleet = fleet_of(0..5);
        for step in &steps {
            let _ = fleet.apply(&entry(change(step)));
            fleet.freshen();
            // It has no index yet.
            let plain = restored(&fleet);
            for (workload, record) in fleet.workloads() {
                let found = fleet.decision(workload).map(|(decision, _)| decision);
                let looked = plain.decision(workload).map(|(decision, _)| decision);
                prop_assert_eq!(found, looked, "{} after {:?}", workload, step);
                let none = BTreeSet::new();
                let target = fleet.best_target(workload, &none);
                prop_assert_eq!(target, plain.best_target(workload, &none));
                // And if there were more of them.
                let PlacementMode::Any { replicas } = record.spec.placement.mode else {
                    continue;
                };
                let mut grown = (*record.spec).clone();
                grown.placement.mode = PlacementMode::Any { replicas: replicas + more };
                let (mut one, mut other) = (fleet.clone(), plain.clone());
                let change = entry(applied(&[grown]));
                prop_assert_eq!(one.apply(&change), other.apply(&change));
                prop_assert_eq!(one, other);
            }
        }
    }

    #[test]
    fn where_things_go_does_not_depend_on_who_joined_first(
        order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let (mut one, mut other) = (fleet_of(0..5), fleet_of(order.into_iter()));
        for step in &steps {
            let change = entry(change(step));
            prop_assert_eq!(one.apply(&change).is_ok(), other.apply(&change).is_ok());
        }
        for (name, w) in one.workloads() {
            let twin = other.workload(name.as_str()).unwrap();
            prop_assert_eq!(&w.placed, &twin.placed);
            prop_assert_eq!(&w.reasons, &twin.reasons);
        }
    }

    #[test]
    fn nothing_is_given_away_twice_and_nothing_that_fits_waits(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut fleet = fleet_of(0..5);
        for step in &steps {
            let before = fleet.clone();
            if fleet.apply(&entry(change(step))).is_err() {
                prop_assert_eq!(&fleet, &before);
                continue;
            }
            for (name, node) in fleet.nodes() {
                for other in node.placed.iter().filter(|w| w.as_str() == "w3") {
                    prop_assert!(node.placed.contains("w2"), "{} on {}", other, name);
                }
                let apart = node.placed.contains("w1") && node.placed.contains("w2");
                prop_assert!(!apart, "{}", name);
            }
            for (workload, _) in fleet.workloads().filter(|(_, w)| w.missing > 0) {
                let best = fleet.best_target(workload, &BTreeSet::new());
                prop_assert!(best.is_err(), "{} could go to {:?}", workload, best);
            }
        }
    }
}

fn large(nodes: usize) -> Fleet {
    let mut fleet = Fleet::new();
    for n in 0..nodes {
        let node = format!("node-{n:05}");
        let mut facts = facts(&[("process", "1"), ("docker", "27"), ("arch", "aarch64")]);
        facts.memory_total = 4 << 30;
        facts.cpus = 4;
        facts.labels.insert("zone".into(), format!("z{}", n % 7));
        super::join_with(&mut fleet, &node, facts);
    }
    fleet
}

fn small(n: usize, count: u32) -> Workload {
    let mut w = replicas(&format!("w-{n:05}"), count);
    w.resources.memory = Some(16 << 20);
    w.resources.cpus = Some(0.05);
    w
}

/// How long such decisions take is measured by `tests/bench/decisions.rs`.
#[test]
fn many_instances_are_placed_evenly_on_many_nodes() {
    let fleet = large(200);
    for (count, workloads) in [(1, 2_000), (10, 200), (200, 10)] {
        let mut fleet = fleet.clone();
        let all: Vec<Workload> = (0..workloads).map(|n| small(n, count)).collect();
        apply(&mut fleet, applied(&all));
        let on_each: BTreeSet<usize> = fleet.nodes().map(|(_, n)| n.placed.len()).collect();
        assert_eq!(on_each, BTreeSet::from([10]));
    }
}

/// What one change costs, in looks at nodes.
fn looks(fleet: &mut Fleet, change: Change) -> usize {
    fleet.freshen();
    let before = LOOKS.get();
    apply(fleet, change);
    LOOKS.get() - before
}

#[test]
fn a_decision_looks_at_as_many_nodes_as_it_needs_and_not_at_the_fleet() {
    let shapes: [fn(&mut Workload); 4] = [
        |_| {},
        |w| w.placement.spread = Some("zone".into()),
        |w| {
            w.placement.spread = Some("zone".into());
            w.placement.prefers = vec![prefers("zone=z1", 50), prefers("gpu", 10)];
        },
        |w| w.placement.strategy = Choice::RoundRobin,
    ];
    for (n, shape) in shapes.into_iter().enumerate() {
        let count = |nodes: usize| {
            let mut fleet = large(nodes);
            let mut w = small(0, 4);
            shape(&mut w);
            // Who says it first pays for the order.
            apply(&mut fleet, applied(&[w.clone()]));
            let mut next = w.clone();
            next.name = name("next");
            let added = looks(&mut fleet, applied(&[next.clone()]));
            assert_eq!(fleet.workload("next").unwrap().placed.len(), 4);
            next.placement.mode = PlacementMode::Any { replicas: 6 };
            let grown = looks(&mut fleet, applied(&[next]));
            // One of its nodes goes: another one takes over.
            let gone = fleet.workload("next").unwrap().placed.first().cloned();
            let left = looks(
                &mut fleet,
                Change::NodeRemoved {
                    node: gone.unwrap(),
                },
            );
            assert_eq!(fleet.workload("next").unwrap().placed.len(), 6);
            (added, grown, left)
        };
        let (few, many) = (count(60), count(240));
        assert_eq!(few, many, "shape {n}");
        assert!(many.0 < 60, "shape {n}: {many:?}");
    }
}
