//! Agents, engines and whole machines end without a word; what is assigned runs on, or again.

use super::harness::{
    Agent, Fleet,
    manifests::{container, on_node, sleeping},
    native::{self, Native},
    wait_until,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A process and a container in each engine.
fn everything() -> String {
    let parts = [
        sleeping("proc"),
        container("dock", "docker", "1"),
        container("pod", "podman", "1"),
    ];
    parts.concat()
}

#[derive(Debug, PartialEq, Eq)]
struct Standing {
    process: Native,
    containers: BTreeMap<String, String>,
}

fn standing(agent: &Agent) -> Standing {
    Standing {
        process: agent.process("proc"),
        containers: agent.containers(),
    }
}

fn restarts(fleet: &Fleet) -> Vec<(String, Value)> {
    let all = fleet.instances();
    let pair = |i: &Value| (i["workload"].to_string(), i["restarts"].clone());
    all.iter().map(pair).collect()
}

#[test]
fn a_container_or_process_that_is_killed_from_outside_runs_again() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().podman().start();
    fleet.apply_wait(&everything()).done();
    for workload in ["dock", "pod"] {
        agent.kill_container(workload);
        fleet.wait_instance(workload, "runs again", |i| {
            i["state"] == "running" && i["restarts"] == 1
        });
        agent.container(workload);
    }
    let before = agent.process("proc");
    before.child.kill9();
    fleet.wait_instance("proc", "runs again", |i| {
        i["state"] == "running" && i["restarts"] == 1
    });
    assert_ne!(agent.process("proc").child, before.child);
}

#[test]
fn an_agent_that_is_killed_ten_times_finds_everything_as_it_was() {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").docker().podman().start();
    fleet.apply_wait(&everything()).done();
    let before = standing(&agent);
    assert_eq!(before.containers.len(), 2);
    let counted = restarts(&fleet);
    for round in 0..10 {
        agent.daemon.kill9();
        // Every other time before the controller has noticed anything.
        if round % 2 == 0 {
            fleet.wait_node(&agent.name, "offline");
        }
        let written = agent.log_len();
        agent.launch_again();
        agent.wait_log_since(written, &["connected", &agent.name]);
        wait_until("the new agent answers", || {
            fleet.cli(["command", "ping", &agent.name]).code == 0
        });
        for workload in ["proc", "dock", "pod"] {
            fleet.wait_running(workload);
        }
        assert_eq!(standing(&agent), before, "round {round}");
        assert_eq!(restarts(&fleet), counted, "round {round}");
    }
}

#[test]
fn with_the_controller_gone_a_machine_that_lost_power_runs_everything_again() {
    let mut fleet = Fleet::start();
    let mut agent = fleet.agent("board").docker().podman().start();
    fleet.apply_wait(&everything()).done();
    let before = standing(&agent);
    fleet.controller.kill9();
    agent.daemon.kill9();
    for process in native::all(agent.data()) {
        process.kill9();
    }
    for workload in ["dock", "pod"] {
        agent.kill_container(workload);
    }
    wait_until("nothing runs any more", || {
        agent.containers().is_empty() && !before.process.child.lives()
    });

    agent.launch_again();
    for workload in ["dock", "pod"] {
        agent.container(workload);
    }
    assert_ne!(agent.process("proc").child, before.process.child);
    let log = agent.daemon.log();
    assert!(
        log.contains("starting from the assignment on disk"),
        "{log}"
    );

    // And it reports once there is somebody to report to.
    fleet.restart();
    fleet.wait_node(&agent.name, "online");
    for workload in ["proc", "dock", "pod"] {
        fleet.wait_running(workload);
    }
}

#[test]
fn what_is_removed_while_its_node_is_away_goes_when_it_is_back() {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    let text = sleeping("kept") + &sleeping("dropped");
    fleet.apply_wait(&text).done();
    let (kept, dropped) = (agent.process("kept"), agent.process("dropped"));
    assert_eq!(agent.daemon.stop().code(), Some(0));
    fleet.wait_node(&agent.name, "offline");
    fleet.cli(["rm", "dropped"]).done();
    assert!(dropped.child.lives(), "nobody could tell it yet");
    agent.launch_again();
    wait_until("it is gone", || !dropped.child.lives());
    fleet.wait_running("kept");
    assert_eq!(agent.process("kept"), kept);
}

#[test]
fn an_instance_stays_on_its_node_and_the_other_node_gets_none() {
    let fleet = Fleet::start();
    let (one, two) = (fleet.agent("one").start(), fleet.agent("two").start());
    let text = sleeping("here") + &on_node("here", &two.name);
    fleet.apply_wait(&text).done();
    let shown = fleet.wait_running("here");
    assert_eq!(shown["node"], two.name.as_str());
    two.process("here");
    assert!(native::of_workload(one.data(), "here").is_empty());
}
