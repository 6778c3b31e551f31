//! The agent as a workload: what an upgrade does to a fleet.

use super::{applied, described, enrolled, facts, name, rollout_world::World, workload};
use crate::{
    fleet::{
        AS_INSTALLED, Change, Refusal, RevisionVerdict, RolloutOrder, RolloutPhase, StepState,
        Upgrade, UpgradeStanding,
    },
    model::{
        AGENT_WORKLOAD, Artifact, AssignedInstance, Binary, CAN_UPGRADE, CommandKind, CommandSpec,
        Desired, Digest, Name, Run, Share, Update,
    },
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn agent() -> Name {
    name(AGENT_WORKLOAD)
}

fn binary(text: &str) -> Binary {
    Binary {
        sha256: Digest::of(text.as_bytes()),
        size: 1,
    }
}

/// A release with binaries for two architectures.
pub(super) fn release(version: &str) -> Upgrade {
    let of = |arch: &str| (arch.to_owned(), binary(&format!("{version} {arch}")));
    Upgrade {
        version: version.into(),
        binaries: BTreeMap::from([of("aarch64"), of("arm")]),
        requires: Vec::new(),
        nodes: Vec::new(),
        update: Update {
            canary: 1,
            max_parallel: Share::Percent(20),
            healthy_deadline_ms: 180_000,
            ..Update::default()
        },
    }
}

/// A node whose agent can upgrade itself.
pub(super) fn join(w: &mut World, n: usize, arch: &str) {
    join_as(w, &format!("n{n}"), arch, &[(CAN_UPGRADE, arch)]);
}

fn join_as(w: &mut World, node: &str, arch: &str, more: &[(&str, &str)]) {
    w.take(enrolled(node, &format!("key-{node}"), true));
    let mut facts = facts(&[("process", "1")]);
    facts.features = crate::model::FEATURES;
    facts.arch = arch.into();
    facts.agent_version = "0.3.0".into();
    let more = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    facts.capabilities.extend(more);
    w.take(described(node, facts));
    w.set_online(node, true);
}

/// So many boards, all of them able to upgrade.
pub(super) fn boards(count: usize) -> World {
    let mut w = World::new(0);
    for n in 0..count {
        join(&mut w, n, "aarch64");
    }
    w
}

pub(super) fn upgrade(w: &mut World, to: &Upgrade) {
    for change in w.fleet.upgrade_changes(to).unwrap() {
        w.take(change);
    }
}

fn told(w: &World, node: &str) -> Option<AssignedInstance> {
    let mut all = w.fleet.assignment(node)?.instances.into_iter();
    all.find(|i| i.workload.name == agent())
}

pub(super) fn version(w: &World, node: &str) -> String {
    told(w, node).map_or("-".into(), |i| i.workload.version.clone())
}

pub(super) fn versions(w: &World, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| version(w, &format!("n{n}"))).collect()
}

pub(super) fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

pub(super) fn phase(w: &World) -> RolloutPhase {
    let record = w.fleet.workload(AGENT_WORKLOAD).unwrap();
    record.rollout.as_ref().unwrap().phase
}

pub(super) fn standing(w: &World, node: &str) -> UpgradeStanding {
    let mut all = w.fleet.upgrade_nodes();
    all.find(|n| n.node.as_str() == node).unwrap().standing
}

/// Until its rollout is over.
pub(super) fn run(w: &mut World) {
    for _ in 0..60 {
        w.obey_all();
        if !phase(w).is_active() || !w.tick() {
            break;
        }
    }
    w.obey_all();
    all_say_what_they_are(w);
}

/// What a node's agent says of its own release.
pub(super) fn says(w: &mut World, node: &str, version: &str) {
    let known = w.fleet.node(node).and_then(|n| n.facts.clone());
    let mut facts = known.unwrap();
    facts.agent_version = version.into();
    match w.give(described(node, facts)) {
        Ok(_) | Err(Refusal::Unchanged) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Every agent is what it was told to be.
fn all_say_what_they_are(w: &mut World) {
    for node in w.online.clone() {
        let version = version(w, node.as_str());
        if version != "-" && version != AS_INSTALLED {
            says(w, node.as_str(), &version);
        }
    }
}

#[test]
fn the_first_upgrade_has_a_canary_and_what_is_installed_to_go_back_to() {
    let mut w = boards(5);
    upgrade(&mut w, &release("0.4.0"));
    let canary = told(&w, "n0").unwrap();
    assert_eq!(canary.workload.version, "0.4.0");
    let guard = canary.guard.expect("the canary goes back by itself");
    assert_eq!(guard.fallback.version, AS_INSTALLED);
    assert_eq!(
        guard.fallback.run,
        Run::Agent {
            binaries: BTreeMap::new()
        }
    );
    assert_eq!(guard.healthy_deadline_ms, 180_000);
    for n in 1..5 {
        assert_eq!(version(&w, &format!("n{n}")), AS_INSTALLED, "n{n} waits");
    }
    let record = w.fleet.workload(AGENT_WORKLOAD).unwrap();
    assert_eq!(record.revision, 2);
    assert_eq!(record.history[0].verdict, RevisionVerdict::Good);
    assert_eq!(standing(&w, "n0"), UpgradeStanding::Changing);
    assert_eq!(standing(&w, "n1"), UpgradeStanding::Waiting);
    run(&mut w);
    assert_eq!(phase(&w), RolloutPhase::Succeeded);
    assert_eq!(versions(&w, 5), set(&["0.4.0"]));
    assert_eq!(standing(&w, "n3"), UpgradeStanding::Current);
    w.replays();
}

#[test]
fn a_canary_that_fails_goes_back_and_no_further_node_is_touched() {
    let mut w = boards(10);
    w.bad.insert("0.4.0".into(), BTreeSet::new());
    upgrade(&mut w, &release("0.4.0"));
    let mut touched = BTreeSet::new();
    for _ in 0..40 {
        touched.extend((0..10).filter(|n| version(&w, &format!("n{n}")) == "0.4.0"));
        w.obey_all();
        if !phase(&w).is_active() || !w.tick() {
            break;
        }
    }
    w.obey_all();
    assert_eq!(phase(&w), RolloutPhase::RolledBack);
    assert_eq!(touched.len(), 1, "{touched:?}");
    assert_eq!(versions(&w, 10), set(&[AS_INSTALLED]));
    let record = w.fleet.workload(AGENT_WORKLOAD).unwrap();
    let rollout = record.rollout.as_ref().unwrap();
    assert_eq!(rollout.verdict.as_ref().unwrap().node, Some(name("n0")));
    let unchanged = rollout
        .steps
        .values()
        .filter(|s| s.state == StepState::Unchanged);
    assert_eq!(unchanged.count(), 9);
    // The next one goes back to the same.
    upgrade(&mut w, &release("0.4.1"));
    let guard = told(&w, "n0").unwrap().guard.unwrap();
    assert_eq!(guard.fallback.version, AS_INSTALLED);
    run(&mut w);
    assert_eq!(versions(&w, 10), set(&["0.4.1"]));
    w.replays();
}

#[test]
fn a_board_that_there_is_no_binary_for_is_left_out_and_named() {
    let mut w = boards(2);
    join(&mut w, 2, "riscv64");
    join_as(&mut w, "n3", "aarch64", &[]);
    // A 32-bit agent under a 64-bit kernel.
    join_as(&mut w, "n4", "aarch64", &[(CAN_UPGRADE, "arm")]);
    let plan = w.fleet.plan_upgrade(&release("0.4.0")).unwrap();
    let reason = |node: &str| {
        let planned = plan.changed[0].nodes.iter();
        let mut here = planned.filter(|n| n.node.as_str() == node);
        here.next().map(|n| (n.placed, n.reason.clone())).unwrap()
    };
    let (placed, why) = reason("n2");
    assert!(!placed && why.contains("no binary for riscv64"), "{why}");
    let (placed, why) = reason("n3");
    assert!(
        !placed && why.contains("cannot put another release"),
        "{why}"
    );
    assert!(reason("n0").0 && reason("n4").0);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    assert_eq!(version(&w, "n2"), "-");
    assert_eq!(version(&w, "n3"), "-");
    assert_eq!(version(&w, "n4"), "0.4.0");
    assert_eq!(standing(&w, "n2"), UpgradeStanding::LeftOut);
    // The next release has none for n4: it keeps what it has.
    let mut next = release("0.5.0");
    next.binaries.remove("arm");
    upgrade(&mut w, &next);
    run(&mut w);
    assert_eq!(version(&w, "n4"), "-");
    assert_eq!(version(&w, "n0"), "0.5.0");
}

#[test]
fn a_board_that_joins_in_the_middle_waits_and_one_that_joins_later_is_guarded() {
    let mut w = boards(4);
    upgrade(&mut w, &release("0.4.0"));
    join(&mut w, 4, "arm");
    assert_eq!(version(&w, "n4"), AS_INSTALLED, "not before the canary");
    run(&mut w);
    assert_eq!(versions(&w, 5), set(&["0.4.0"]));
    join(&mut w, 5, "arm");
    let late = told(&w, "n5").unwrap();
    assert_eq!(late.workload.version, "0.4.0");
    let guard = late
        .guard
        .expect("what works on one board may not on another");
    assert_eq!(guard.fallback.version, AS_INSTALLED);
    w.obey_all();
    while told(&w, "n5").unwrap().guard.is_some() && w.tick() {}
    says(&mut w, "n5", "0.4.0");
    assert_eq!(standing(&w, "n5"), UpgradeStanding::Current);
    assert_eq!(told(&w, "n5").unwrap().guard, None);
    // And where it does not work.
    w.bad.insert("0.4.0".into(), [name("n6")].into());
    join(&mut w, 6, "arm");
    w.obey_all();
    assert_eq!(version(&w, "n6"), AS_INSTALLED);
    assert_eq!(versions(&w, 6), set(&["0.4.0"]), "nobody else goes back");
    w.replays();
}

#[test]
fn only_the_nodes_that_are_meant_are_upgraded() {
    let mut w = boards(3);
    let mut some = release("0.4.0");
    some.nodes = vec![name("n1")];
    upgrade(&mut w, &some);
    run(&mut w);
    assert_eq!(version(&w, "n1"), "0.4.0");
    assert_eq!(version(&w, "n0"), "-");
    // All of them, with the same release: those that have it are not changed again.
    upgrade(&mut w, &release("0.4.0"));
    for _ in 0..40 {
        w.obey_all();
        if !w.tick() {
            break;
        }
    }
    assert_eq!(versions(&w, 3), set(&["0.4.0"]));
    all_say_what_they_are(&mut w);
    assert!(
        w.fleet
            .upgrade_nodes()
            .all(|n| n.standing == UpgradeStanding::Current)
    );
}

#[test]
fn removed_it_leaves_every_board_what_it_has() {
    let mut w = boards(3);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    w.take(Change::WorkloadsRemoved {
        workloads: vec![agent()],
    });
    assert_eq!(versions(&w, 3), set(&["-"]));
    assert!(
        w.fleet
            .upgrade_nodes()
            .all(|n| n.standing == UpgradeStanding::LeftOut)
    );
    // Another upgrade begins anew.
    upgrade(&mut w, &release("0.5.0"));
    let guard = told(&w, "n0").unwrap().guard.unwrap();
    assert_eq!(guard.fallback.version, AS_INSTALLED);
}

#[test]
fn a_person_takes_an_upgrade_back_to_what_was_installed() {
    let mut w = boards(3);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    w.take(Change::RolloutOrdered {
        workload: agent(),
        order: RolloutOrder::Rollback { to: None },
    });
    for _ in 0..40 {
        w.obey_all();
        if !w.tick() {
            break;
        }
    }
    assert_eq!(versions(&w, 3), set(&[AS_INSTALLED]));
}

#[test]
fn a_cordoned_or_drained_board_is_upgraded_and_its_drain_does_not_wait_for_it() {
    let mut w = boards(2);
    w.take(Change::NodeCordoned {
        node: name("n0"),
        cordoned: true,
    });
    w.take(Change::NodeDrained {
        node: name("n1"),
        drain: Some(false),
    });
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    assert_eq!(versions(&w, 2), set(&["0.4.0"]));
    let view = w.fleet.node_view(&name("n1"), None).unwrap();
    let drain = view.drain.unwrap();
    assert!(
        drain.done_ms.is_some() && drain.staying.is_empty(),
        "{drain:?}"
    );
    assert_eq!((view.instances, view.running), (0, 0));
}

#[test]
fn what_nobody_can_do_with_the_agent_is_refused_with_the_reason() {
    let mut w = boards(2);
    upgrade(&mut w, &release("0.4.0"));
    let command = |kind| Change::CommandIssued {
        id: "c1".into(),
        node: name("n0"),
        order: CommandSpec::new(kind, Some(agent())),
        deadline_ms: 9_000_000,
    };
    for refused in [
        Change::WorkloadDesired {
            workload: agent(),
            desired: Desired::Stopped,
        },
        Change::WorkloadRestarted { workload: agent() },
        Change::InstanceMigrated {
            workload: agent(),
            from: name("n0"),
            to: None,
            force: true,
        },
        command(CommandKind::Stop),
        command(CommandKind::Exec),
    ] {
        let shown = format!("{refused:?}");
        match w.give(refused) {
            Err(Refusal::Conflict(why)) => {
                assert!(why.contains("the agent itself"), "{shown}: {why}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
    w.take(command(CommandKind::Logs));
    let mut other = workload("other");
    other.run = Run::Agent {
        binaries: BTreeMap::new(),
    };
    let refused = w.give(applied(&[other])).unwrap_err().to_string();
    assert!(
        refused.contains("other cannot be the agent itself"),
        "{refused}"
    );
}

#[test]
fn what_is_pruned_by_manifests_is_never_the_agent() {
    let mut w = boards(1);
    w.take(applied(&[workload("web")]));
    upgrade(&mut w, &release("0.4.0"));
    let plan = w.fleet.plan(&[], true);
    assert_eq!(plan.removed, [name("web")]);
}

#[test]
fn somebody_elses_workload_of_that_name_is_not_taken_over() {
    let mut w = boards(1);
    w.take(applied(&[workload(AGENT_WORKLOAD)]));
    let refused = w.fleet.upgrade_changes(&release("0.4.0")).unwrap_err();
    assert!(refused.to_string().contains("the agent's own name"));
}

#[test]
fn a_release_is_what_was_pushed_of_it() {
    let mut w = boards(1);
    let push = |version: &str, arch: &str| Change::ArtifactAdded {
        artifact: Artifact::Binary {
            version: version.into(),
            arch: arch.into(),
            binary: binary(&format!("{version} {arch}")),
        },
    };
    let none = w.fleet.release("0.4.0").unwrap_err().to_string();
    assert!(none.contains("nor of any other release"), "{none}");
    w.take(push("0.4.0", "aarch64"));
    w.take(push("0.4.0", "arm"));
    let found = w.fleet.release("0.4.0").unwrap();
    assert_eq!(found, release("0.4.0").binaries);
    let other = w.fleet.release("0.5.0").unwrap_err().to_string();
    assert!(other.contains("0.4.0 (aarch64, arm)"), "{other}");
}
