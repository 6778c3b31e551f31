//! `fleetctl check`: what is wrong with a machine, and what to do.

use super::harness::{Fleet, Ran, fleetctl};
use serde_json::Value;
use std::{
    os::unix::net::UnixListener,
    path::Path,
    time::{Duration, Instant},
};

/// `check -o json` with a data directory and a socket for Docker, and what it found.
fn check(data: &Path, docker: &str) -> (Ran, Vec<Value>) {
    let ran = Ran::of(fleetctl().args([
        "check",
        "-o",
        "json",
        &format!("--data-dir={}", data.display()),
        &format!("--docker-socket={docker}"),
        "--podman-socket=off",
    ]));
    let found = ran.json();
    let found = found.as_array().cloned().expect("a list");
    (ran, found)
}

fn find<'a>(found: &'a [Value], check: &str) -> &'a Value {
    let mut named = found.iter().filter(|f| f["check"] == check);
    named
        .next()
        .unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

/// The exit code says how bad the worst is.
fn expected_code(found: &[Value]) -> i32 {
    let has = |level: &str| found.iter().any(|f| f["level"] == level);
    match (has("error"), has("warning")) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    }
}

#[test]
fn this_machine_is_looked_at_and_the_exit_code_tells_the_worst() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (ran, found) = check(dir.path(), "off");
    for name in [
        "kernel",
        "page-size",
        "cgroups",
        "memory",
        "clock",
        "disk-space",
        "fleet",
    ] {
        find(&found, name);
    }
    for finding in &found {
        let level = finding["level"].as_str().unwrap_or_default();
        assert!(["ok", "warning", "error"].contains(&level), "{finding}");
        assert!(
            finding["found"].as_str().is_some_and(|f| !f.is_empty()),
            "{finding}"
        );
        // Whatever is not well comes with what to do.
        assert_eq!(level == "ok", finding.get("advice").is_none(), "{finding}");
    }
    assert_eq!(find(&found, "engine")["level"], "warning", "no engine here");
    let fleet = find(&found, "fleet")["found"].to_string();
    assert!(fleet.contains("has not joined"), "{fleet}");
    assert_eq!(ran.code, expected_code(&found), "{ran:?}");
    assert_ne!(ran.code, 0, "there is a warning at least");

    let data = format!("--data-dir={}", dir.path().display());
    let table = Ran::of(fleetctl().args(["check", &data, "--docker-socket=off"]));
    for word in ["CHECK", "LEVEL", "kernel", "disk-space"] {
        assert!(table.out.contains(word), "{word} in {table:?}");
    }
    assert!(
        std::fs::read_dir(dir.path()).expect("it").next().is_none(),
        "it writes nothing"
    );
}

#[test]
fn an_engine_that_takes_connections_and_never_answers_is_told_in_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("silent.sock");
    // Accepted by the kernel, answered by nobody.
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let began = Instant::now();
    let (ran, found) = check(
        &dir.path().join("data"),
        socket.to_str().expect("a plain path"),
    );
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let docker = find(&found, "docker");
    assert_eq!(docker["level"], "error", "{docker}");
    assert!(
        docker["found"].to_string().contains("does not answer"),
        "{docker}"
    );
    assert!(
        docker["advice"]
            .to_string()
            .contains("systemctl restart docker"),
        "{docker}"
    );
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn an_engine_that_is_not_running_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("dead.sock");
    drop(UnixListener::bind(&socket).expect("a socket"));
    let (ran, found) = check(
        &dir.path().join("data"),
        socket.to_str().expect("a plain path"),
    );
    let docker = find(&found, "docker");
    assert_eq!(docker["level"], "error", "{docker}");
    assert!(
        docker["advice"].to_string().contains("start it"),
        "{docker}"
    );
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn an_engine_that_answers_is_well() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = std::env::var("FLEETCTL_TEST_DOCKER_SOCKET");
    let socket = socket.expect("run `make test`: it starts the engines");
    let (_, found) = check(dir.path(), &socket);
    let docker = find(&found, "docker");
    assert_eq!(docker["level"], "ok", "{docker}");
    assert!(docker["found"].to_string().contains("version"), "{docker}");
}

fn the_way_to_the_fleet(fleet: &mut Fleet) {
    let mut agent = fleet.agent("board").start();
    // Beside an agent that runs.
    let (_, found) = check(agent.data(), "off");
    assert_eq!(find(&found, "broker")["level"], "ok", "{found:?}");
    agent.daemon.stop();
    fleet.controller.kill9();
    let (ran, found) = check(agent.data(), "off");
    let broker = find(&found, "broker");
    assert_eq!(broker["level"], "error", "{broker}");
    let port = fleet.mqtt.number().to_string();
    assert!(broker["found"].to_string().contains(&port), "{broker}");
    assert!(
        broker["advice"].to_string().contains("controller"),
        "{broker}"
    );
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn a_broker_that_is_down_is_told() {
    the_way_to_the_fleet(&mut Fleet::start());
}

#[test]
fn a_broker_with_tls_that_is_down_is_told() {
    the_way_to_the_fleet(&mut Fleet::setup().tls().start());
}

#[test]
fn another_fleet_on_the_brokers_port_is_not_trusted() {
    let mut fleet = Fleet::setup().tls().start();
    let mut agent = fleet.agent("board").start();
    agent.daemon.stop();
    fleet.controller.kill9();
    let url = format!("tls://{}", fleet.mqtt.local());
    let _stranger = Fleet::setup().mqtt_listen(&url).start();
    let (ran, found) = check(agent.data(), "off");
    let finding = find(&found, "broker-tls");
    assert_eq!(finding["level"], "error", "{finding}");
    assert!(
        finding["found"].to_string().contains("not trusted"),
        "{finding}"
    );
    assert_eq!(ran.code, 1, "{ran:?}");
}
