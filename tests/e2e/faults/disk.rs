//! The agent's disk is full: what runs goes on, what is ordered is carried out or says why not,
//! and everything is on the disk once there is room.

use super::Bystander;
use crate::e2e::harness::{
    Agent, Fleet, SmallDisk,
    manifests::{container, sleeping},
    wait_until,
};
use std::fs;

/// What the agent has stored of its assignment.
fn stored(agent: &Agent) -> String {
    fs::read_to_string(agent.data().join("assignment.json")).unwrap_or_default()
}

#[test]
fn a_full_disk_of_a_board_loses_nothing_and_is_made_up_for() {
    let disk = SmallDisk::mount();
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").docker();
    let mut agent = agent.data(&disk.path().join("agent")).start();
    let bystander = Bystander::with(&fleet, &agent, &["docker"]);
    fleet.apply_wait(&sleeping("victim")).done();
    let victim = agent.process("victim");

    disk.fill();
    // What needs no room of the agent's starts.
    fleet.apply(&container("web", "docker", "1")).done();
    fleet.wait_instance("web", "runs", |i| i["state"] == "running");
    let web = agent.container("web");
    // What needs some starts too, or says what is missing.
    fleet.apply(&sleeping("during")).done();
    fleet.wait_instance("during", "runs or says why not", |i| {
        let reason = i["reason"].as_str().unwrap_or_default().to_lowercase();
        i["state"] == "running" || reason.contains("space") || reason.contains("full")
    });
    wait_until("it is told that the assignment is not stored", || {
        !fleet.events("agent_assignment_not_stored").is_empty()
    });
    assert!(!stored(&agent).contains("\"during\""));
    // A stop needs no room.
    fleet.cli(["workload", "stop", "victim", "--wait"]).done();
    assert!(!victim.child.lives());
    fleet.cli(["command", "ping", &agent.name]).done();
    bystander.is_untouched(&fleet, &agent);

    disk.free();
    // The agent tries again once a minute, and when it is told to look.
    fleet.cli(["command", "refresh", &agent.name]).done();
    wait_until("the assignment is stored", || {
        stored(&agent).contains("\"during\"")
    });
    fleet.wait_running("during");
    fleet.wait_running("web");
    let during = agent.process("during");
    bystander.is_untouched(&fleet, &agent);

    // With nobody to tell it, a new agent knows all of it.
    fleet.controller.kill9();
    agent.daemon.kill9();
    let written = agent.log_len();
    agent.launch_again();
    agent.wait_log_since(written, &["starting from the assignment on disk"]);
    fleet.restart();
    fleet.wait_node(&agent.name, "online");
    assert_eq!(agent.process("during"), during);
    assert_eq!(agent.container("web"), web);
    bystander.is_untouched(&fleet, &agent);
    let stopped = fleet.wait_instance("victim", "stays stopped", |i| i["state"] == "stopped");
    assert_eq!(stopped["restarts"], 0);
}
