//! Restart policies: what happens when a program ends, by its exit code.

use super::harness::{Fleet, Place};

fn policies(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let workload = |name: &str, policy: &str, script: &str| {
        let script = format!("echo run >> {name}; {script}");
        let keys = format!(
            "[workload.{name}.restart]\npolicy = \"{policy}\"\ndelay = \"100ms\"\n\
             max_delay = \"200ms\"\n"
        );
        place.workload(name, &script, &keys)
    };
    let text = [
        workload("never-fine", "never", "exit 0"),
        workload("never-bad", "never", "echo so it ends; exit 3"),
        workload("failure-fine", "on_failure", "exit 0"),
        // Well the third time.
        workload(
            "failure-bad",
            "on_failure",
            "test $(wc -l < failure-bad) -ge 3",
        ),
        workload("always-fine", "always", "exit 0"),
    ];
    fleet.apply(&text.concat()).done();

    let state = |name: &str, state: &str| fleet.wait_instance(name, state, |i| i["state"] == state);
    for name in ["never-fine", "failure-fine"] {
        let shown = state(name, "completed");
        assert_eq!(shown["exit_code"], 0, "{shown}");
        assert_eq!(shown["restarts"], 0, "{shown}");
        assert_eq!(shown["last_error"], serde_json::Value::Null, "{shown}");
    }
    let shown = fleet.wait_instance("never-bad", "has failed for good", |i| {
        i["state"] == "failed" && i["last_output"][0].as_str() == Some("so it ends")
    });
    assert_eq!(shown["exit_code"], 3, "{shown}");
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("exit code 3"), "{shown}");

    let shown = state("failure-bad", "completed");
    assert_eq!(shown["restarts"], 2, "{shown}");
    assert_eq!(place.lines("failure-bad").len(), 3);
    assert_eq!(shown["last_error"], serde_json::Value::Null, "it is over");

    place.wait_lines("always-fine", 4);
    fleet.wait_instance("always-fine", "counts", |i| {
        i["restarts"].as_u64() >= Some(3)
    });
    for name in ["never-fine", "never-bad", "failure-fine"] {
        assert_eq!(place.lines(name).len(), 1, "{name} ran once");
    }
}

#[test]
fn a_process_is_started_again_as_its_policy_says() {
    policies("process");
}

#[test]
fn a_docker_container_is_started_again_as_its_policy_says() {
    policies("docker");
}

#[test]
fn a_podman_container_is_started_again_as_its_policy_says() {
    policies("podman");
}

#[test]
fn what_ended_for_good_stays_so_over_a_kill_of_the_agent_and_runs_again_when_asked() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let mut agent = fleet.agent("board").start();
    let keys = "[workload.once.restart]\npolicy = \"never\"\n";
    let text = place.workload("once", "echo run >> runs; exit 3", keys);
    fleet.apply(&text).done();
    let failed = |i: &serde_json::Value| i["state"] == "failed" && i["exit_code"] == 3;
    fleet.wait_instance("once", "has failed", failed);
    agent.come_back(&fleet);
    fleet.wait_instance("once", "stays so", failed);
    fleet.cli(["workload", "restart", "once"]).done();
    place.wait_lines("runs", 2);
    fleet.wait_instance("once", "has failed again", failed);
    assert_eq!(
        place.lines("runs").len(),
        2,
        "once at first, once for the order"
    );
}
