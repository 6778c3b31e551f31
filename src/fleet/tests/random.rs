//! Whatever the entries are: what was accepted gives the same fleet again, refusals change
//! nothing, and what must always hold does.

use super::{every, facts, name, replicas, requires};
use crate::{
    contract::Seq,
    fleet::{Approval, Change, Entry, Fleet, TokenGrant},
    identity::Role,
    model::{
        CommandKind, CommandOutcome, CommandSpec, Desired, InstanceState, Name, NodeConfig,
        ObservedInstance, PlacementMode, Presence, RuntimeKind, Workload,
    },
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn node() -> impl Strategy<Value = Name> {
    (0u8..4).prop_map(|n| name(&format!("n{n}")))
}

fn workload_name() -> impl Strategy<Value = Name> {
    (0u8..4).prop_map(|n| name(&format!("w{n}")))
}

fn workload() -> impl Strategy<Value = Workload> {
    let parts = (
        workload_name(),
        0u8..3,
        prop::option::of(0u32..5),
        0u8..4,
        any::<bool>(),
    );
    parts.prop_map(|(name, version, wanted, needs, memory)| {
        let text = name.as_str();
        let mut workload = wanted.map_or_else(|| every(text), |n| replicas(text, n));
        workload.version = version.to_string();
        workload.resources.memory = memory.then_some(1 << 28);
        workload.resources.cpus = memory.then_some(0.1);
        match needs {
            0 => requires(workload, &["zone=lab"]),
            1 => requires(workload, &["!zone"]),
            2 => {
                workload.placement.nodes = vec![super::name("n1"), super::name("n2")];
                workload
            }
            _ => workload,
        }
    })
}

fn observed() -> impl Strategy<Value = ObservedInstance> {
    let states = vec![
        InstanceState::Running,
        InstanceState::Backoff,
        InstanceState::Failed,
    ];
    let parts = (
        workload_name(),
        prop::sample::select(states),
        any::<Option<i32>>(),
    );
    parts.prop_map(|(workload, state, exit_code)| ObservedInstance {
        workload,
        version: "1".into(),
        spec_hash: "hash".into(),
        state,
        runtime: RuntimeKind::Process,
        restarts: 1,
        reason: exit_code.map(|c| format!("it ended with exit code {c}")),
        warnings: Vec::new(),
        exit_code,
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
    })
}

fn outcome() -> impl Strategy<Value = CommandOutcome> {
    any::<bool>().prop_map(|ok| match ok {
        true => CommandOutcome::done(),
        false => CommandOutcome::failed("no"),
    })
}

fn membership() -> impl Strategy<Value = Change> {
    let presences = vec![Presence::Online, Presence::Silent, Presence::Offline];
    prop_oneof![
        4 => (node(), 0u8..6, any::<bool>()).prop_map(|(node, key, approve)| Change::NodeEnrolled {
            node,
            key: format!("key-{key}"),
            token: "token".into(),
            http: false,
            hostname: "host".into(),
            approve,
        }),
        2 => node().prop_map(|node| Change::NodeApproved { node }),
        1 => node().prop_map(|node| Change::NodeRevoked { node }),
        1 => node().prop_map(|node| Change::NodeRemoved { node }),
        2 => (node(), prop::option::of(any::<bool>())).prop_map(|(node, lab)| {
            let value = lab.map(|lab| if lab { "lab" } else { "shop" }.to_owned());
            let labels = BTreeMap::from([("zone".to_owned(), value)]);
            Change::NodeLabelled { node, labels }
        }),
        4 => (node(), any::<bool>(), any::<bool>()).prop_map(|(node, process, docker)| {
            let mut all = Vec::new();
            all.extend(process.then_some(("process", "1")));
            all.extend(docker.then_some(("docker", "27")));
            let facts = facts(&all);
            Change::NodeDescribed { node, facts }
        }),
        4 => (node(), prop::sample::select(presences), 0u64..3).prop_map(|(node, presence, count)| {
            let session = Seq { start: 1, count };
            let reason = "because".to_owned();
            Change::NodePresenceChanged { node, presence, session, reason }
        }),
        2 => (node(), 0u64..9, prop::collection::vec(observed(), 0..3)).prop_map(
            |(node, generation, instances)| {
                let engines = Vec::new();
                Change::StateReported { node, generation, instances, engines }
            }
        ),
    ]
}

fn work() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => prop::collection::vec(workload(), 0..4)
            .prop_map(|workloads| Change::WorkloadsApplied {
                workloads,
                removed: Vec::new(),
            }),
        1 => prop::collection::vec(workload_name(), 0..3)
            .prop_map(|workloads| Change::WorkloadsRemoved { workloads }),
        1 => (workload_name(), any::<bool>()).prop_map(|(workload, run)| {
            let desired = if run { Desired::Running } else { Desired::Stopped };
            Change::WorkloadDesired { workload, desired }
        }),
        1 => workload_name().prop_map(|workload| Change::WorkloadRestarted { workload }),
        1 => (node(), prop::option::of(5_000u64..5_003)).prop_map(|(node, ms)| {
            let config = ms.map(|heartbeat_interval_ms| NodeConfig {
                heartbeat_interval_ms,
                ..NodeConfig::default()
            });
            Change::NodeConfigured { node, config }
        }),
        1 => (5_000u64..5_003).prop_map(|heartbeat_interval_ms| Change::Configured {
            node_config: NodeConfig {
                heartbeat_interval_ms,
                ..NodeConfig::default()
            },
        }),
    ]
}

fn small() -> impl Strategy<Value = Change> {
    let id = || (0u8..4).prop_map(|n| n.to_string());
    prop_oneof![
        (id(), any::<bool>(), 0u64..3).prop_map(|(id, join, expires)| Change::TokenCreated {
            name: "somebody".into(),
            grant: match join {
                true => TokenGrant::Join,
                false => TokenGrant::Api {
                    role: Role::Viewer,
                    digest: id.clone()
                },
            },
            // Now and then one that has been over for months.
            uses: join.then_some(expires as u32),
            expires_ms: expires * 5_000_000_000,
            id,
        }),
        id().prop_map(|id| Change::TokenRevoked { id }),
        (id(), node()).prop_map(|(id, node)| Change::CommandIssued {
            id,
            node,
            order: CommandSpec::new(CommandKind::Restart, None),
            deadline_ms: 9_000,
        }),
        (id(), outcome()).prop_map(|(id, outcome)| Change::CommandFinished { id, outcome }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![5 => membership(), 4 => work(), 2 => small()]
}

/// What holds after every entry.
fn check(fleet: &Fleet) -> Result<(), TestCaseError> {
    for (name, node) in fleet.nodes() {
        let here = fleet.workloads().filter(|(_, w)| w.placed.contains(name));
        let here: BTreeSet<Name> = here.map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(&node.placed, &here, "on {}", name);
        let member = node.approval == Approval::Approved;
        prop_assert!(member || node.placed.is_empty(), "{} is no member", name);
        prop_assert_eq!(fleet.assignment(name.as_str()).is_some(), member);
        if node.approval == Approval::Revoked {
            prop_assert!(fleet.key_is_revoked(&node.key));
        }
        if let Some(assignment) = fleet.assignment(name.as_str()) {
            let all = assignment.instances.iter().map(|i| i.workload.name.clone());
            prop_assert_eq!(all.collect::<BTreeSet<Name>>(), node.placed.clone());
        }
    }
    for (name, workload) in fleet.workloads() {
        let known = workload
            .placed
            .iter()
            .all(|n| fleet.node(n.as_str()).is_some());
        prop_assert!(known, "{} is on a node that is gone", name);
        prop_assert_eq!(&workload.spec_hash, &workload.spec.spec_hash());
        if let PlacementMode::Any { replicas } = workload.spec.placement.mode {
            let all = workload.placed.len() + workload.missing as usize;
            prop_assert_eq!(all, replicas as usize, "{}", name);
        }
    }
    Ok(())
}

/// Of nodes that are the same machine before and after, by key.
fn generations(fleet: &Fleet) -> BTreeMap<(Name, String), u64> {
    fleet
        .nodes()
        .map(|(name, n)| ((name.clone(), n.key.clone()), n.generation))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_accepted_gives_the_same_fleet_again(
        changes in prop::collection::vec((change(), 0u64..4_000_000_000), 1..80),
    ) {
        let mut fleet = Fleet::new();
        let mut accepted = Vec::new();
        let mut at_ms = 0;
        for (change, later) in changes {
            at_ms += later;
            let kept = fleet.kept_as(&change);
            let mut entry = Entry { at_ms, by: None, change };
            let before = fleet.clone();
            match fleet.apply(&entry) {
                Ok(effects) => {
                    // In the form in which the journal keeps it, it does the same.
                    if let Some(kept) = kept {
                        entry.change = kept;
                        let mut other = before.clone();
                        prop_assert_eq!(other.apply(&entry), Ok(effects));
                        prop_assert_eq!(&other, &fleet);
                    }
                    prop_assert_eq!(fleet.version(), before.version() + 1);
                    accepted.push(entry);
                }
                Err(refusal) => {
                    prop_assert_eq!(&fleet, &before, "{} {:?}", refusal, entry);
                }
            }
            check(&fleet)?;
            let after = generations(&fleet);
            for (node, generation) in generations(&before) {
                let now = after.get(&node).copied().unwrap_or(generation);
                prop_assert!(now >= generation, "{:?} shrank", node);
            }
            prop_assert!(fleet.access().generation >= before.access().generation);
        }

        // Through the text that the journal keeps.
        let mut replayed = Fleet::new();
        for entry in &accepted {
            let text = serde_json::to_string(entry).unwrap();
            let stored: Entry = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&stored, entry);
            prop_assert!(replayed.apply(&stored).is_ok());
        }
        prop_assert_eq!(&replayed, &fleet);
        let text = serde_json::to_string(&fleet).unwrap();
        prop_assert_eq!(&serde_json::to_string(&replayed).unwrap(), &text);
        let snapshot: Fleet = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&snapshot, &fleet);
        prop_assert_eq!(serde_json::to_string(&snapshot).unwrap(), text);
    }
}
