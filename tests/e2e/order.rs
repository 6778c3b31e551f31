//! Order: what starts after what, what stops before what, and what is done before a stop.

use super::harness::{Fleet, Place, wait_until};
use serde_json::Value;

fn waits(reason: &str) -> impl Fn(&Value) -> bool {
    move |i| i["state"] == "pending" && i["reason"] == reason
}

/// Says that it has begun, and stays until it is told to end, which it does once `go` is there.
fn stays(place: &Place, name: &str, keys: &str) -> String {
    let script = format!(
        "trap 'while ! test -e go; do sleep 0.1; done; echo {name} >> stops; exit 0' TERM; \
         echo {name} >> starts; while :; do sleep 0.1; done"
    );
    place.workload(name, &script, &format!("stop_timeout = \"20s\"\n{keys}"))
}

fn starts_in_order(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let script = "echo migrate >> starts; while ! test -e migrated; do sleep 0.1; done";
    let text = [
        stays(&place, "app", "depends_on = { migrate = \"completed\" }\n"),
        stays(
            &place,
            "db",
            "[workload.db.health]\nexec = [\"/bin/sh\", \"-c\", \"test -e ready\"]\n\
             interval = \"1s\"\nstart_period = \"1h\"\n",
        ),
        place.workload(
            "migrate",
            script,
            "type = \"script\"\nmax_runs = 1\ndepends_on = { db = \"healthy\" }\n",
        ),
        stays(&place, "proxy", "depends_on = [\"app\"]\n"),
    ];
    fleet.apply(&text.concat()).done();
    place.wait_lines("starts", 1);
    let not_healthy = waits("waits for db to be healthy");
    fleet.wait_instance("migrate", "waits for db", not_healthy);
    fleet.wait_instance("app", "waits", waits("waits for migrate to complete"));
    fleet.wait_instance("proxy", "waits", waits("waits for app to be started"));
    assert_eq!(place.lines("starts"), ["db"]);

    place.touch("ready");
    place.wait_lines("starts", 2);
    fleet.wait_instance("app", "waits on", waits("waits for migrate to complete"));
    place.touch("migrated");
    fleet.wait_running("proxy");
    place.wait_lines("starts", 4);
    let starts = place.lines("starts");
    assert_eq!(starts[..2], ["db", "migrate"]);
    // The first of the last two was started, and may still be the last to say so.
    let mut last = starts[2..].to_vec();
    last.sort();
    assert_eq!(last, ["app", "proxy"]);
    let shown = fleet.wait_running("app");
    assert_eq!(shown["reason"], "", "{shown}");
    fleet.wait_instance("migrate", "is done", |i| i["state"] == "completed");
    place.touch("go");
}

#[test]
fn processes_start_in_order() {
    starts_in_order("process");
}

#[test]
fn docker_containers_start_in_order() {
    starts_in_order("docker");
}

#[test]
fn podman_containers_start_in_order() {
    starts_in_order("podman");
}

fn stops_in_order(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let text = stays(&place, "db", "") + &stays(&place, "web", "depends_on = [\"db\"]\n");
    // `web` takes as long as it is not let go, and `db` says that it waits.
    let in_order = |how: &str, before: usize| {
        fleet.wait_instance("db", "waits for web", |i| {
            i["state"] == "stopping" && i["reason"] == "waits for web to stop first"
        });
        place.touch("go");
        place.wait_lines("stops", before + 2);
        assert_eq!(place.lines("stops")[before..], ["web", "db"], "{how}");
        place.remove("go");
    };
    fleet.apply_wait(&text).done();
    place.wait_lines("starts", 2);
    for name in ["web", "db"] {
        fleet.cli(["workload", "stop", name]).done();
    }
    in_order("stop", 0);
    fleet.wait_instance("db", "is stopped", |i| i["state"] == "stopped");

    fleet.cli(["workload", "start", "web"]).done();
    fleet.wait_instance("web", "waits", waits("waits for db to be started"));
    fleet.cli(["workload", "start", "db"]).done();
    fleet.wait_running("web");
    place.wait_lines("starts", 4);
    fleet.cli(["rm", "web", "db"]).done();
    in_order("rm", 2);
    wait_until("both are gone", || fleet.instances().is_empty());

    // Both at once: nobody but the agent can keep the order.
    fleet.apply_wait(&text).done();
    place.wait_lines("starts", 6);
    let other = place.workload("other", "exec sleep 86400", "");
    let path = fleet.manifest("other", &other);
    let path = path.to_str().expect("a plain path");
    fleet.cli(["apply", "-y", "--prune", "-f", path]).done();
    in_order("prune", 4);
    wait_until("both are gone", || fleet.instances().len() == 1);
}

#[test]
fn processes_stop_in_order() {
    stops_in_order("process");
}

#[test]
fn docker_containers_stop_in_order() {
    stops_in_order("docker");
}

#[test]
fn podman_containers_stop_in_order() {
    stops_in_order("podman");
}

fn is_prepared_for_its_stop(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let script = |name: &str| {
        format!(
            "trap 'echo term >> {name}; exit 0' TERM; echo begun >> {name}; \
             while :; do sleep 0.1; done"
        )
    };
    let hook = "before_stop = [\"/bin/sh\", \"-c\", \"echo hook >> fine\"]\n\
                stop_timeout = \"5s\"\n";
    let failing = "before_stop = { command = [\"/bin/sh\", \"-c\", \"echo no way; exit 4\"], \
                   timeout = \"5s\" }\nstop_timeout = \"5s\"\n";
    let text = place.workload("fine", &script("fine"), hook)
        + &place.workload("failing", &script("failing"), failing);
    fleet.apply_wait(&text).done();
    place.wait_lines("fine", 1);
    place.wait_lines("failing", 1);

    fleet.cli(["workload", "stop", "fine", "--wait"]).done();
    assert_eq!(place.lines("fine"), ["begun", "hook", "term"]);
    fleet.cli(["workload", "stop", "failing", "--wait"]).done();
    assert_eq!(place.lines("failing"), ["begun", "term"], "it stops anyway");
    fleet.wait_event("hook_failed", "failing", &["exit code 4", "no way"]);

    // Not only people stop things: so do replacements.
    fleet.cli(["workload", "start", "fine", "--wait"]).done();
    place.wait_lines("fine", 4);
    let again = place.workload("fine", &script("fine"), &format!("version = \"2\"\n{hook}"));
    fleet.apply_wait(&again).done();
    place.wait_lines("fine", 7);
    let lines = place.lines("fine");
    assert_eq!(lines[3..], ["begun", "hook", "term", "begun"]);
}

#[test]
fn a_process_is_prepared_for_its_stop() {
    is_prepared_for_its_stop("process");
}

#[test]
fn a_docker_container_is_prepared_for_its_stop() {
    is_prepared_for_its_stop("docker");
}

#[test]
fn a_podman_container_is_prepared_for_its_stop() {
    is_prepared_for_its_stop("podman");
}

#[test]
fn who_waits_for_himself_or_for_nobody_is_refused() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let _agent = fleet.agent("board").start();
    let needs = |name: &str, others: &str| {
        place.workload(
            name,
            "exec sleep 86400",
            &format!("depends_on = [{others}]\n"),
        )
    };
    // Within one file.
    let circle = needs("a", "\"b\"") + &needs("b", "\"c\"") + &needs("c", "\"a\"");
    fleet.apply(&circle).failed(1, &["a → b → c → a"]);
    fleet
        .apply(&needs("a", "\"a\""))
        .failed(1, &["`a` cannot depend on itself"]);
    // With what is in the fleet already.
    fleet.apply_wait(&needs("a", "")).done();
    fleet.apply_wait(&needs("b", "\"a\"")).done();
    fleet
        .apply(&needs("a", "\"b\""))
        .failed(1, &["wait for each other", "a → b → a"]);
    fleet
        .apply(&needs("web", "\"data\""))
        .failed(1, &["web depends on data, which is not in the fleet"]);
    let shown = fleet.wait_running("a");
    assert_eq!(shown["restarts"], 0, "what was refused has no effect");
    assert_eq!(fleet.instances().len(), 2);
}
