//! Tests of the controller's state machine.
//!
//! | module | about |
//! |---|---|
//! | [`placement`] | where workloads go, and the reason for every node |
//! | [`placement_choice`], [`placement_moves`], [`placement_index`] | which node is the better one; what is between two; what is derived, and how quick it is |
//! | [`workload`] | apply, remove, start, stop, restart, plan; whose generation grows |
//! | [`node`] | enrolment, approval, revocation, labels, what nodes report |
//! | [`presence`] | online, silent, offline |
//! | [`config`] | settings of all nodes and of one |
//! | [`moves`] | failover, migration, drain, rebalance, with a clock |
//! | [`command`], [`token`], [`silence`] | orders, tokens, and what nobody wants to be told |
//! | [`trace`] | which request an instance comes from |
//! | [`upgrade`] | the agent as a workload |
//! | [`neighbours`], [`guards`] | what could never be together; what has room in one message |
//! | [`rollout`], [`rollout_back`], [`rollout_trial`], [`rollout_random`] | rollouts there and back, who decides what works, in a fleet of nodes that obey ([`rollout_world`]) |
//! | [`random`] | whatever the entries are: replay, storage, invariants |

mod command;
mod config;
mod guards;
mod moves;
mod neighbours;
mod node;
mod placement;
mod placement_choice;
mod placement_index;
mod placement_moves;
mod presence;
mod random;
mod rollout;
mod rollout_back;
mod rollout_random;
mod rollout_trial;
mod rollout_world;
mod silence;
mod size;
mod token;
mod trace;
mod upgrade;
mod upgrade_plan;
mod workload;

use super::{Change, Effect, Entry, Fleet, Refusal};
use crate::{
    contract::Seq,
    model::{Name, NodeFacts, PlacementMode, Presence, Requirement, Run, Workload},
};
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> BTreeSet<Name> {
    texts.iter().map(|t| name(t)).collect()
}

/// A native process, one replica.
fn workload(text: &str) -> Workload {
    let run = Run::Process {
        command: vec!["/bin/true".into()],
        user: None,
        working_dir: None,
    };
    Workload::new(name(text), run)
}

fn replicas(text: &str, replicas: u32) -> Workload {
    let mut workload = workload(text);
    workload.placement.mode = PlacementMode::Any { replicas };
    workload
}

fn every(text: &str) -> Workload {
    let mut workload = workload(text);
    workload.placement.mode = PlacementMode::Every;
    workload
}

fn requires(mut workload: Workload, all: &[&str]) -> Workload {
    let read = |t: &&str| Requirement::try_from((*t).to_owned()).unwrap();
    workload.placement.requires = all.iter().map(read).collect();
    workload
}

fn facts(capabilities: &[(&str, &str)]) -> NodeFacts {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    NodeFacts {
        arch: "aarch64".into(),
        memory_total: 1 << 30,
        capabilities: capabilities.iter().map(own).collect(),
        ..NodeFacts::default()
    }
}

/// The change must be taken.
fn apply(fleet: &mut Fleet, change: Change) -> Vec<Effect> {
    let effects = fleet.apply(&entry(change.clone()));
    effects.unwrap_or_else(|e| panic!("{e}: {change:?}"))
}

/// The change must be refused, and must have changed nothing at all.
fn refuse(fleet: &mut Fleet, change: Change) -> Refusal {
    let before = fleet.clone();
    let refusal = fleet
        .apply(&entry(change.clone()))
        .expect_err("it was taken");
    assert_eq!(*fleet, before, "refused, and yet changed: {change:?}");
    refusal
}

fn entry(change: Change) -> Entry {
    Entry {
        at_ms: 1_000,
        by: None,
        change,
    }
}

fn enrolled(node: &str, key: &str, approve: bool) -> Change {
    Change::NodeEnrolled {
        node: name(node),
        key: key.to_owned(),
        token: "token".into(),
        hostname: format!("{node}.local"),
        approve,
        http: false,
    }
}

fn described(node: &str, facts: NodeFacts) -> Change {
    Change::NodeDescribed {
        node: name(node),
        facts,
    }
}

fn presence(node: &str, presence: Presence) -> Change {
    Change::NodePresenceChanged {
        node: name(node),
        presence,
        session: Seq { start: 1, count: 1 },
        reason: match presence {
            Presence::Online => String::new(),
            _ => "its connection was lost".into(),
        },
    }
}

fn applied(workloads: &[Workload]) -> Change {
    Change::WorkloadsApplied {
        workloads: workloads.to_vec(),
        removed: Vec::new(),
    }
}

fn removed(workloads: &[&str]) -> Change {
    Change::WorkloadsRemoved {
        workloads: workloads.iter().map(|t| name(t)).collect(),
    }
}

fn labelled(node: &str, key: &str, value: Option<&str>) -> Change {
    Change::NodeLabelled {
        node: name(node),
        labels: BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]),
    }
}

/// Adds a node that is online and runs native processes.
fn join(fleet: &mut Fleet, node: &str) {
    join_with(fleet, node, facts(&[("process", "1")]));
}

fn join_with(fleet: &mut Fleet, node: &str, facts: NodeFacts) {
    apply(fleet, enrolled(node, &format!("key-{node}"), true));
    apply(fleet, described(node, facts));
    apply(fleet, presence(node, Presence::Online));
}

/// Three nodes: `a`, `b`, `c`.
fn three() -> Fleet {
    let mut fleet = Fleet::new();
    for node in ["a", "b", "c"] {
        join(&mut fleet, node);
    }
    fleet
}

fn placed(fleet: &Fleet, workload: &str) -> BTreeSet<Name> {
    fleet.workload(workload).unwrap().placed.clone()
}

fn generation(fleet: &Fleet, node: &str) -> u64 {
    fleet.node(node).unwrap().generation
}

fn generations(fleet: &Fleet) -> BTreeMap<Name, u64> {
    let of = |(name, node): (&Name, &super::NodeRecord)| (name.clone(), node.generation);
    fleet.nodes().map(of).collect()
}

/// Nodes whose generation has grown since `before`, and those that are told so: must be the same.
fn touched(fleet: &Fleet, before: &BTreeMap<Name, u64>, effects: &[Effect]) -> BTreeSet<Name> {
    let after = generations(fleet);
    let grown = after
        .iter()
        .filter(|(node, generation)| before.get(*node) != Some(*generation))
        .map(|(node, _)| node.clone());
    let grown: BTreeSet<Name> = grown.collect();
    let told = effects.iter().filter_map(|e| match e {
        Effect::PublishAssignment(node) => Some(node.clone()),
        _ => None,
    });
    assert_eq!(told.collect::<BTreeSet<Name>>(), grown);
    grown
}

/// The events among effects, by kind.
fn events(effects: &[Effect]) -> Vec<&str> {
    let all = effects.iter().filter_map(|e| match e {
        Effect::Emit(event) => Some(event.event.as_str()),
        _ => None,
    });
    all.collect()
}
