//! The controller's disk is full, or its journal is damaged.

use super::harness::{Agent, Fleet, SmallDisk, manifests::sleeping, wait_until};
use serde_json::json;
use std::fs;

#[test]
fn a_full_disk_refuses_changes_in_words_and_touches_nothing_that_runs() {
    let disk = SmallDisk::mount();
    let fleet = Fleet::setup().data(&disk.path().join("controller")).start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("before")).done();
    let process = agent.process("before");

    disk.fill();
    let manifest = |n: u32| {
        let text = sleeping(&format!("full-{n}"));
        json!({"sources": [{"name": "a.toml", "text": text}]}).to_string()
    };
    // The journal may have some room left in its file.
    let mut taken = 0;
    let answer = (0..200).find_map(|n| {
        let answer = fleet.ask("POST", "/api/v1/apply", Some(&manifest(n)));
        if answer.status == 200 {
            taken += 1;
        }
        (answer.status != 200).then_some(answer)
    });
    let answer = answer.expect("a disk that is full in the end");
    assert_eq!(answer.status, 507, "{}", answer.text());
    let said = answer.json()["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        said.contains("is full") && said.contains("free some space"),
        "{said}"
    );
    fleet
        .apply(&sleeping("during"))
        .failed(1, &["is full", "free some space"]);

    let all = fleet.ask("GET", "/api/v1/workloads", None).json();
    let names = all["items"].as_array().expect("a list").iter();
    let names: Vec<&str> = names.filter_map(|w| w["name"].as_str()).collect();
    assert_eq!(
        names.len(),
        taken + 1,
        "what was refused is not there: {names:?}"
    );
    assert!(process.child.lives());
    fleet.cli(["command", "ping", &agent.name]).done();

    disk.free();
    fleet.apply_wait(&sleeping("after")).done();
    fleet.wait_running("before");
    assert_eq!(agent.process("before"), process);
}

#[test]
fn a_damaged_journal_is_said_at_the_start_and_workloads_go_on() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let process = agent.process("still");
    assert_eq!(fleet.controller.stop().code(), Some(0));
    let path = fleet.data.join("journal.db");
    let whole = fs::read(&path).expect("the journal");
    assert!(whole.len() > 8_192, "{} bytes", whole.len());

    let mut head = whole.clone();
    head[..100].fill(0xa5);
    let mut middle = whole.clone();
    middle[4_096..].fill(0xa5);
    for damaged in [head, middle] {
        fs::write(&path, damaged).expect("the damage");
        let _ = fs::remove_file(fleet.data.join("journal.db-wal"));
        let written = fleet.controller.log().len();
        fleet.launch_again();
        assert_eq!(fleet.controller.wait_end().code(), Some(1));
        let log = fleet.controller.log();
        let said = &log[written..];
        for word in ["is damaged", "restore it from a backup", "workloads go on"] {
            assert!(said.contains(word), "no `{word}` in {said}");
        }
        assert!(process.child.lives());
    }

    // The backup.
    fs::write(&path, whole).expect("the journal");
    let _ = fs::remove_file(fleet.data.join("journal.db-wal"));
    fleet.restart();
    fleet.wait_node(&agent.name, "online");
    fleet.wait_running("still");
    assert_eq!(agent.process("still"), process);
}

#[test]
fn two_controllers_on_one_journal_are_one_too_many() {
    let fleet = Fleet::start();
    let mut command = super::harness::fleetctl();
    let port = super::harness::Port::take();
    command
        .args(["controller", "--embed-broker", "--mqtt-listen=127.0.0.1:0"])
        .arg(format!("--api-listen={}", port.local()))
        .arg("--data-dir")
        .arg(&fleet.data);
    super::harness::Ran::of(&mut command).failed(1, &["in use by another controller"]);
}

/// A board that keeps its data there, and runs something.
fn with_a_board_on(disk: &SmallDisk) -> (Fleet, Agent) {
    let fleet = Fleet::start();
    let data = disk.path().join("agent");
    let agent = fleet.agent("board").data(&data).start();
    fleet.apply_wait(&sleeping("still")).done();
    (fleet, agent)
}

#[test]
fn a_board_whose_disk_is_full_runs_what_it_is_assigned_all_the_same() {
    let disk = SmallDisk::mount();
    let (fleet, mut agent) = with_a_board_on(&disk);
    let before = agent.process("still");
    disk.fill();
    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    agent.launch_again();
    fleet.wait_node(&agent.name, "online");
    fleet.wait_running("still");
    assert_eq!(agent.process("still").child, before.child);
    disk.free();
}

#[test]
fn a_board_whose_disk_has_become_read_only_runs_what_it_is_assigned_all_the_same() {
    let disk = SmallDisk::mount();
    let (fleet, mut agent) = with_a_board_on(&disk);
    let before = agent.process("still");
    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    let name = agent.name.clone();
    let can_upgrade = |yes: bool| {
        wait_until("what it can do is known", || {
            let node = fleet.ask("GET", &format!("/api/v1/nodes/{name}"), None);
            let facts = &node.json()["facts"];
            facts.is_object() && facts["capabilities"]["self-upgrade"].is_string() == yes
        });
    };
    can_upgrade(true);
    // As the system leaves a card that has failed.
    disk.read_only();
    for _ in 0..2 {
        agent.launch_again();
        fleet.wait_node(&agent.name, "online");
        fleet.wait_running("still");
        assert_eq!(agent.process("still").child, before.child);
        can_upgrade(false);
        agent.daemon.kill9();
        fleet.wait_node(&agent.name, "offline");
    }
    disk.writable();
    agent.launch_again();
    fleet.wait_node(&agent.name, "online");
    can_upgrade(true);
    fleet.apply_wait(&sleeping("after")).done();
    assert_eq!(agent.process("still").child, before.child);
}
