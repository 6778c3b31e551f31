//! Containers that run on a node without fleetctl: listed, announced, taken over.

use super::harness::{Fleet, Foreign, wait_for};
use serde_json::{Value, json};

/// A container of somebody, as `adopt` lists it.
fn listed(fleet: &Fleet, node: &str, name: &str) -> Option<Value> {
    let all = fleet.cli(["adopt", node, "-o", "json"]).done().json();
    let all = all.as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["name"] == name)
}

fn is_taken_over(engine: &str) {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").engine(engine).start();
    let labels = json!({"com.docker.compose.project": "shop"});
    let foreign = Foreign::run(engine, &fleet.name("shop-web"), &labels);
    let (id, name, started) = (foreign.id.clone(), foreign.name.as_str(), foreign.started());
    let told = listed(&fleet, &agent.name, name).expect("it is listed");
    for (field, value) in [
        ("runtime", json!(engine)),
        ("running", json!(true)),
        ("project", json!("shop")),
    ] {
        assert_eq!(told[field], value, "{field} of {told}");
    }
    let table = fleet.cli(["adopt", &agent.name]).done();
    assert!(table.out.contains(name), "{table:?}");

    let manifest = fleet.cli(["adopt", &agent.name, name]).done().out;
    for word in ["adopt", name, "COLOUR", "green", &agent.name] {
        assert!(manifest.contains(word), "{word} in {manifest}");
    }
    assert!(!manifest.contains("# lost"), "{manifest}");
    fleet.apply_wait(&manifest).done();
    let shown = fleet.wait_running(name);
    assert_eq!(shown["handle"], id.as_str(), "the same container: {shown}");
    // Some versions of Podman keep the restart policy that a container was made with.
    let warnings = shown["warnings"].as_array().cloned().unwrap_or_default();
    let known = |w: &Value| engine == "podman" && w.to_string().contains("by itself");
    assert!(warnings.iter().all(known), "{shown}");
    assert_eq!(foreign.started(), started, "not even restarted");
    assert!(
        listed(&fleet, &agent.name, name).is_none(),
        "it is ours now"
    );
    let logs = fleet.cli(["logs", name]).done().out;
    assert!(logs.contains("begun"), "{logs}");

    // Also for the next agent.
    agent.come_back(&fleet);
    let shown = fleet.wait_running(name);
    assert_eq!(shown["handle"], id.as_str(), "{shown}");
    assert_eq!(foreign.started(), started);
    assert!(listed(&fleet, &agent.name, name).is_none());

    fleet.cli(["rm", name, "--wait"]).done();
    assert!(foreign.inspect().is_none(), "it goes like any other");
}

#[test]
fn a_docker_container_is_taken_over_as_it_runs() {
    is_taken_over("docker");
}

#[test]
fn a_podman_container_is_taken_over_as_it_runs() {
    is_taken_over("podman");
}

fn is_made_anew_where_it_differs(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let foreign = Foreign::run(engine, &fleet.name("painter"), &json!({}));
    let name = foreign.name.as_str();
    let manifest = fleet.cli(["adopt", &agent.name, name]).done().out;
    fleet.apply_wait(&manifest.replace("green", "red")).done();
    let shown = fleet.wait_running(name);
    assert_ne!(shown["handle"], foreign.id.as_str(), "{shown}");
    let warnings = shown["warnings"].to_string();
    assert!(
        warnings.contains("made anew") && warnings.contains("env"),
        "{shown}"
    );
    assert!(foreign.inspect().is_none(), "the old one is gone");
    let colour = fleet.cli(["exec", name, "--", "/bin/sh", "-c", "echo $COLOUR"]);
    assert_eq!(colour.done().out, "red\n");
}

#[test]
fn a_docker_container_is_made_anew_where_its_manifest_differs() {
    is_made_anew_where_it_differs("docker");
}

#[test]
fn a_podman_container_is_made_anew_where_its_manifest_differs() {
    is_made_anew_where_it_differs("podman");
}

fn is_announced(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let labels = json!({"fleetctl.discover": "true"});
    let asks = Foreign::run(engine, &fleet.name("asks"), &labels);
    let silent = Foreign::run(engine, &fleet.name("silent"), &json!({}));
    // Once a minute by itself, and whenever it is told to look.
    fleet.cli(["command", "refresh", &agent.name]).done();
    let discovered = wait_for("it is announced", || {
        let shown = fleet.cli(["node", "show", &agent.name, "-o", "json"]);
        let all = shown.done().json()["discovered"].as_array().cloned()?;
        let is_there = all.iter().any(|one| one["name"] == asks.name.as_str());
        is_there.then_some(all)
    });
    let one = discovered
        .iter()
        .find(|one| one["name"] == asks.name.as_str());
    let one = one.expect("it was there");
    assert_eq!(one["announced"], true, "{one}");
    assert_eq!(one["runtime"], engine, "{one}");
    assert!(one.get("workload").is_none(), "nothing secret in it: {one}");
    let silent_too = discovered
        .iter()
        .any(|one| one["name"] == silent.name.as_str());
    assert!(!silent_too, "{discovered:?}");
}

#[test]
fn a_docker_container_that_asks_for_it_is_announced() {
    is_announced("docker");
}

#[test]
fn a_podman_container_that_asks_for_it_is_announced() {
    is_announced("podman");
}

#[test]
fn what_is_not_there_cannot_be_adopted_and_looking_takes_an_operator() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    fleet
        .cli(["adopt", &agent.name, "no-such-container"])
        .failed(1, &["no-such-container", &agent.name]);
    let viewer = fleet.cli(["token", "create", "--kind", "api", "--role", "viewer"]);
    let viewer = viewer.done().out;
    let path = format!("/api/v1/nodes/{}/unmanaged", agent.name);
    let answer = fleet.ask_as(Some(viewer.trim()), "GET", &path, None);
    assert_eq!(answer.status, 403, "{}", answer.text());
}
