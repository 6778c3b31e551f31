//! Crash loops: a state of their own, told everywhere, and in nobody's way. And agents that are
//! killed in the middle of a change.

use super::harness::{
    Fleet, Place,
    manifests::{container, counting, sleeping},
    native, wait_until,
};
use std::time::{Duration, Instant};

fn slows_only_itself(engine: &str) {
    let fleet = Fleet::setup().flag("--heartbeat-interval=1s").start();
    let place = Place::new(engine);
    let agent = fleet.agent("board").engine(engine).start();
    let keys = "[workload.broken.restart]\ndelay = \"100ms\"\nmax_delay = \"5s\"\n";
    let text = place.workload("broken", "echo no luck; exit 1", keys);
    fleet.apply(&text).done();
    let shown = fleet.wait_instance("broken", "is in a crash loop", |i| {
        i["state"] == "crashloop" && i["last_output"][0].as_str() == Some("no luck")
    });
    let reason = shown["reason"].as_str().unwrap_or_default();
    for word in ["times in a row", "exit code 1"] {
        assert!(reason.contains(word), "{word} in {shown}");
    }
    assert_eq!(shown["exit_code"], 1, "{shown}");
    // Told once for the whole row, with whatever went wrong at its third failure.
    fleet.wait_event("crash_loop", "broken", &["times in a row"]);
    let table = fleet.cli(["ps"]).done().out;
    assert!(table.contains("broken"), "{table}");
    wait_until("its node counts it as failed", || {
        let node = fleet.node(&agent.name);
        node.is_some_and(|n| n["heartbeat"]["failed"] == 1)
    });

    // Far below any delay that it has by now, were others to wait for it.
    let began = Instant::now();
    fleet.apply_wait(&sleeping("still")).done();
    let still = agent.process("still");
    fleet.cli(["workload", "stop", "still", "--wait"]).done();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!still.child.lives());
    // A container that is slow to end may pass for stable in between.
    if engine == "process" {
        let told = fleet.events("agent_crash_loop").len();
        assert_eq!(told, 1, "once, however long it goes on");
    }
    fleet.cli(["rm", "broken", "--wait"]).done();
}

#[test]
fn a_crash_loop_of_a_process_slows_only_itself() {
    slows_only_itself("process");
}

#[test]
fn a_crash_loop_of_a_docker_container_slows_only_itself() {
    slows_only_itself("docker");
}

#[test]
fn a_crash_loop_of_a_podman_container_slows_only_itself() {
    slows_only_itself("podman");
}

#[test]
fn a_stable_run_ends_a_crash_loop() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let agent = fleet.agent("board").start();
    let keys = "[workload.moody.restart]\ndelay = \"100ms\"\nmax_delay = \"1s\"\n";
    let script = "test -e well || exit 1; exec sleep 86400";
    fleet.apply(&place.workload("moody", script, keys)).done();
    fleet.wait_instance("moody", "is in a crash loop", |i| i["state"] == "crashloop");
    place.touch("well");
    fleet.wait_instance("moody", "runs, and what was wrong is over", |i| {
        i["state"] == "running" && i["last_error"].is_null() && i["reason"] == ""
    });
    let loops = || fleet.events("agent_crash_loop").len();
    assert_eq!(loops(), 1);
    // One failure more is the first of another row.
    let before = agent.process("moody");
    before.child.kill9();
    wait_until("it runs again", || agent.process("moody") != before);
    fleet.wait_instance("moody", "is well again", |i| {
        i["state"] == "running" && i["last_error"].is_null()
    });
    assert_eq!(loops(), 1, "not a crash loop");
    place.remove("well");
    agent.process("moody").child.kill9();
    wait_until("another row has begun", || loops() == 2);
}

/// Each round applies another version and kills the agent before anybody knows how far it came.
fn upgrades_over_kills(engine: &str) {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").engine(engine).start();
    let version = |n: usize| match engine {
        "process" => counting("web", &n.to_string()),
        _ => container("web", engine, &n.to_string()),
    };
    fleet.apply_wait(&(version(0) + &sleeping("still"))).done();
    let still = agent.process("still");
    for round in 1..=5 {
        fleet.apply(&version(round)).done();
        let wanted = round.to_string();
        // The first rounds kill it at once, the later ones when it has begun.
        if round > 2 {
            fleet.wait_instance("web", "is being changed", |i| {
                i["state"] != "running" || i["version"] == wanted.as_str()
            });
        }
        agent.come_back(&fleet);
        let shown = fleet.wait_instance("web", "runs the new version", |i| {
            i["state"] == "running" && i["version"] == wanted.as_str() && i["up_to_date"] == true
        });
        if engine == "process" {
            agent.process("web");
            wait_until("nothing of the old one is left", || {
                native::of_workload(agent.data(), "web").len() == 1
            });
        } else {
            assert_eq!(shown["handle"], agent.container("web").as_str());
        }
        assert_eq!(agent.process("still"), still, "round {round}");
    }
}

#[test]
fn an_agent_that_is_killed_during_upgrades_of_a_process_finishes_them() {
    upgrades_over_kills("process");
}

#[test]
fn an_agent_that_is_killed_during_upgrades_of_a_docker_container_finishes_them() {
    upgrades_over_kills("docker");
}

#[test]
fn an_agent_that_is_killed_during_upgrades_of_a_podman_container_finishes_them() {
    upgrades_over_kills("podman");
}
