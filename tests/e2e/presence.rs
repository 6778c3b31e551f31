//! Online, silent, offline: how a node goes, and how it comes back.

use super::harness::{Fleet, manifests::sleeping, wait_for};
use std::time::{Duration, Instant};

#[test]
fn an_agent_that_is_stopped_says_good_bye_and_its_workloads_go_on() {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let process = agent.process("still");
    assert_eq!(agent.daemon.stop().code(), Some(0));
    let node = fleet.wait_node(&agent.name, "offline");
    assert_eq!(node["reason"], "its agent was stopped");
    assert!(process.child.lives());
    let shown = fleet.instance("still").expect("it stays in the list");
    assert_eq!(shown["state"], "unknown", "never a stale green: {shown}");

    agent.launch_again();
    fleet.wait_running("still");
    assert_eq!(agent.process("still"), process);
}

#[test]
fn an_agent_that_is_killed_is_offline_by_its_last_will() {
    // With the default settings nobody would be missed for a long time.
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    let began = Instant::now();
    agent.daemon.kill9();
    let node = fleet.wait_node(&agent.name, "offline");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(node["reason"], "its connection was lost");
}

#[test]
fn after_a_restart_of_the_controller_nobody_is_online_who_was_not_heard() {
    let mut fleet = Fleet::setup().impatient().start();
    let mut agent = fleet.agent("board").start();
    fleet.controller.kill9();
    agent.daemon.kill9();
    fleet.restart();
    let mut first = None;
    // Polled as fast as it answers, until the controller itself gives it up.
    wait_for("it is offline", || {
        let node = fleet.node(&agent.name)?;
        assert_ne!(node["state"], "online", "{node}");
        let listed = fleet.cli(["node", "ls", "-o", "json"]).done().json();
        assert_ne!(listed[0]["state"], "online", "{listed}");
        first.get_or_insert(node.clone());
        (node["state"] == "offline").then_some(())
    });
    let first = first.expect("it was listed");
    assert_eq!(first["state"], "silent", "{first}");
    assert_eq!(
        first["reason"],
        "not heard since the controller has started"
    );
    agent.launch_again();
    fleet.wait_node(&agent.name, "online");
}

#[test]
fn an_agent_that_hangs_is_silent_then_offline_and_then_back() {
    let fleet = Fleet::setup().impatient().start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let process = agent.process("still");
    agent.daemon.freeze();
    let node = fleet.wait_node(&agent.name, "silent");
    assert!(
        node["reason"]
            .as_str()
            .is_some_and(|r| r.contains("nothing was heard")),
        "{node}"
    );
    fleet.wait_node(&agent.name, "offline");
    assert_eq!(fleet.instance("still").expect("listed")["state"], "unknown");
    agent.daemon.thaw();
    fleet.wait_node(&agent.name, "online");
    let shown = fleet.wait_running("still");
    assert_eq!(shown["restarts"], 0);
    assert_eq!(agent.process("still"), process);
}

#[test]
fn nobody_is_lost_by_a_restart_of_the_controller() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let process = agent.process("still");
    assert_eq!(fleet.controller.stop().code(), Some(0));
    fleet.restart();
    fleet.wait_node(&agent.name, "online");
    fleet.wait_running("still");
    let events = fleet.controller.log();
    let silent = events.lines().filter(|l| l.contains("node_silent")).count();
    assert_eq!(silent, 0, "{events}");
    assert_eq!(agent.process("still"), process);
}
