//! What an upgrade leaves alone: nodes that it is not for, and the good name of those that it changes.

use super::{
    name,
    rollout_world::World,
    upgrade::{
        agent, boards, join, phase, release, run, says, set, standing, upgrade, version, versions,
    },
};
use crate::{
    fleet::{
        Change, Entry, Refusal, RolloutOrder, RolloutPhase, StepState, Upgrade, UpgradeStanding,
    },
    model::{Artifact, Requirement},
};
use std::collections::BTreeSet;

/// A node goes, and comes back at once.
fn returns(w: &mut World, node: &str) {
    w.set_online(node, false);
    w.set_online(node, true);
}

fn penalty(w: &World, node: &str) -> u32 {
    w.fleet.node(node).unwrap().flaps.penalty
}

fn reason(w: &World, node: &str) -> String {
    let mut all = w.fleet.upgrade_nodes();
    all.find(|n| n.node.as_str() == node).unwrap().reason
}

/// For this node alone.
fn only(version: &str, node: &str) -> Upgrade {
    Upgrade {
        nodes: vec![name(node)],
        ..release(version)
    }
}

#[test]
fn what_the_fleet_has_ordered_is_no_flap() {
    let mut w = boards(6);
    for release_of in ["0.4.0", "0.4.1", "0.4.2", "0.4.3"] {
        upgrade(&mut w, &release(release_of));
        // The canary goes as the old one and comes on trial, …
        returns(&mut w, "n0");
        assert_eq!(penalty(&w, "n0"), 0, "{release_of}");
        run(&mut w);
        // … and once more when it is known to work.
        returns(&mut w, "n0");
        assert_eq!(penalty(&w, "n0"), 0, "{release_of}");
    }
    assert!(!w.fleet.node("n0").unwrap().flaps.damped);
    // By itself it is one, long after.
    w.at += 600_000;
    for _ in 0..3 {
        returns(&mut w, "n0");
    }
    assert!(w.fleet.node("n0").unwrap().flaps.damped);
    w.replays();
}

#[test]
fn a_node_that_goes_back_from_a_bad_release_does_not_flap() {
    let mut w = boards(3);
    w.bad.insert("0.4.0".into(), BTreeSet::new());
    upgrade(&mut w, &release("0.4.0"));
    for _ in 0..4 {
        returns(&mut w, "n0");
    }
    run(&mut w);
    assert_eq!(phase(&w), RolloutPhase::RolledBack);
    assert_eq!(penalty(&w, "n0"), 0);
    // Another one has no part in it.
    returns(&mut w, "n1");
    assert!(penalty(&w, "n1") > 0);
}

#[test]
fn a_return_with_another_release_is_no_flap_whoever_put_it_there() {
    let mut w = boards(2);
    for version in ["0.3.1", "0.3.2", "0.3.3", "0.3.4"] {
        returns(&mut w, "n0");
        says(&mut w, "n0", version);
    }
    assert_eq!(penalty(&w, "n0"), 0);
    returns(&mut w, "n0");
    assert!(penalty(&w, "n0") > 0, "the same release again");
}

#[test]
fn an_upgrade_of_some_does_not_take_others_back_with_it() {
    let mut w = boards(6);
    let mut held = release("0.4.0");
    held.update.auto_promote = false;
    upgrade(&mut w, &held);
    for _ in 0..40 {
        w.obey_all();
        if phase(&w) == RolloutPhase::AwaitingPromotion || !w.tick() {
            break;
        }
    }
    assert_eq!(phase(&w), RolloutPhase::AwaitingPromotion);
    assert_eq!(version(&w, "n0"), "0.4.0");
    let refused = |w: &World| match w.fleet.plan_upgrade(&only("0.5.0", "n5")) {
        Err(Refusal::Conflict(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = refused(&w);
    assert!(
        why.contains("0.4.0 is not finished") && why.contains("(n0, n1, n2, n3, n4)"),
        "{why}"
    );
    // One for all of them is what it has always been: another one in its place.
    assert!(w.fleet.plan_upgrade(&release("0.5.0")).is_ok());
    let order = |order| Change::RolloutOrdered {
        workload: agent(),
        order,
    };
    let mut aborted = w.clone();
    aborted.take(order(RolloutOrder::Abort));
    assert!(refused(&aborted).contains("0.4.0 ended halfway"));
    // Finished, there is nothing to be taken back.
    w.take(order(RolloutOrder::Promote));
    run(&mut w);
    assert_eq!(versions(&w, 6), set(&["0.4.0"]));
    assert!(w.fleet.plan_upgrade(&only("0.5.0", "n5")).is_ok());
}

#[test]
fn an_upgrade_for_nobody_is_refused() {
    let w = boards(2);
    let mut nobody = release("0.4.0");
    nobody.requires = vec![Requirement::try_from("zone=zz".to_owned()).unwrap()];
    let why = w.fleet.plan_upgrade(&nobody).unwrap_err().to_string();
    assert!(why.contains("no node matches zone=zz"), "{why}");
    let mut w = boards(1);
    join(&mut w, 1, "riscv64");
    let why = w.fleet.plan_upgrade(&only("0.4.0", "n1")).unwrap_err();
    assert!(why.to_string().contains("no binary for riscv64"), "{why}");
}

#[test]
fn a_plan_counts_the_nodes_that_are_meant() {
    let mut w = boards(10);
    let how = |w: &World, of: &Upgrade| {
        let plan = w.fleet.plan_upgrade(of).unwrap();
        plan.changed[0].rollout.clone().unwrap()
    };
    let mut some = release("0.4.0");
    some.nodes = (0..8).map(|n| name(&format!("n{n}"))).collect();
    assert!(how(&w, &some).contains("20% of 8 at a time"));
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    some.version = "0.5.0".into();
    some.binaries = release("0.5.0").binaries;
    assert!(how(&w, &some).contains("20% of 8 at a time"));
}

#[test]
fn a_plan_says_where_it_leads_back() {
    let mut w = boards(2);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    let plan = w.fleet.plan_upgrade(&release("0.3.9")).unwrap();
    let planned = &plan.changed[0];
    let how = planned.rollout.clone().unwrap();
    assert!(
        how.starts_with("a step back: 0.3.9 is older than what runs on 2 nodes; 1 canary"),
        "{how}"
    );
    assert!(planned.nodes[0].reason.contains("older than 0.4.0"));
    let on = w.fleet.plan_upgrade(&release("0.4.1")).unwrap();
    assert!(!on.changed[0].rollout.clone().unwrap().contains("older"));
}

#[test]
fn who_went_back_is_well_and_says_why() {
    let mut w = boards(3);
    w.bad.insert("0.4.0".into(), BTreeSet::new());
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    let why = reason(&w, "n0");
    assert!(why.starts_with("0.4.0 failed: "), "{why}");
    // Also when it has the old one again, and is well.
    let record = w.fleet.workloads.get_mut(&agent()).unwrap();
    let steps = &mut record.rollout.as_mut().unwrap().steps;
    steps.get_mut(&name("n0")).unwrap().state = StepState::Returned;
    assert_eq!(standing(&w, "n0"), UpgradeStanding::Current);
    assert_eq!(reason(&w, "n0"), why);
    assert_eq!(reason(&w, "n1"), "");
}

#[test]
fn a_failed_board_that_is_well_again_is_current_and_says_what_was() {
    let mut w = boards(3);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    upgrade(&mut w, &release("0.4.1"));
    w.bad.insert("0.4.1".into(), BTreeSet::new());
    run(&mut w);
    assert_eq!(version(&w, "n0"), "0.4.0");
    let record = w.fleet.workloads.get_mut(&agent()).unwrap();
    let steps = &mut record.rollout.as_mut().unwrap().steps;
    steps.get_mut(&name("n0")).unwrap().state = StepState::Failed;
    assert_eq!(standing(&w, "n0"), UpgradeStanding::Current);
    let why = reason(&w, "n0");
    assert!(why.starts_with("0.4.1 failed: "), "{why}");
    // Its agent has the last word.
    says(&mut w, "n0", "0.4.1");
    assert_eq!(standing(&w, "n0"), UpgradeStanding::Failed);
}

#[test]
fn nobody_is_current_whose_agent_says_otherwise() {
    let mut w = boards(3);
    upgrade(&mut w, &release("0.4.0"));
    run(&mut w);
    assert_eq!(standing(&w, "n1"), UpgradeStanding::Current);
    says(&mut w, "n1", "0.3.0");
    assert_eq!(standing(&w, "n1"), UpgradeStanding::Changing);
    assert_eq!(reason(&w, "n1"), "its agent says that it is 0.3.0");
}

#[test]
fn the_release_that_is_wanted_cannot_be_taken_away() {
    let mut w = boards(2);
    let wanted = release("0.4.0");
    for version in ["0.3.9", "0.4.0"] {
        let binary = release(version).binaries["arm"].clone();
        w.take(Change::ArtifactAdded {
            artifact: Artifact::Binary {
                version: version.into(),
                arch: "arm".into(),
                binary,
            },
        });
    }
    upgrade(&mut w, &wanted);
    let remove = |w: &mut World, version: &str| {
        let id = format!("fleetctl/{version}/arm");
        let change = Change::ArtifactRemoved { id };
        let entry = Entry {
            at_ms: w.at,
            by: None,
            change,
        };
        w.fleet.apply(&entry)
    };
    let refused = remove(&mut w, "0.4.0").unwrap_err().to_string();
    assert!(refused.contains("told to run fleetctl 0.4.0"), "{refused}");
    assert!(remove(&mut w, "0.3.9").is_ok());
}
