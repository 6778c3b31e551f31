//! Workloads that run by the clock, or so many times; runs that take too long.

use super::harness::{Fleet, Place, manifests::sleeping, native, wait_until};
use serde_json::Value;

/// Keys of a script that runs each second.
const EACH_SECOND: &str = "type = \"script\"\nschedule = \"* * * * * *\"\n";

fn runs_by_the_clock(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let cron = match engine {
        "process" => "* * * * * *",
        // An engine takes its time for a start.
        _ => "*/2 * * * * *",
    };
    let keys = format!("type = \"script\"\nschedule = \"{cron}\"\n");
    let text = place.workload("ticker", "echo tick >> ticks", &keys);
    fleet.apply_wait(&text).done();
    let mut handles: Vec<Value> = Vec::new();
    let shown = fleet.wait_instance("ticker", "waits after three runs", |i| {
        if i["state"] == "scheduled" && i["runs"].as_u64() > Some(0) {
            handles.push(i["handle"].clone());
        }
        i["state"] == "scheduled" && i["runs"].as_u64() >= Some(3)
    });
    assert!(place.lines("ticks").len() >= 3, "{shown}");
    assert_eq!(shown["exit_code"], 0, "{shown}");
    assert_eq!(shown["restarts"], 0, "a run is no restart: {shown}");
    assert_eq!(shown["reason"], "", "{shown}");
    let next = shown["next_run_ms"].as_u64().expect("its next time");
    assert_eq!(next % 1_000, 0, "whole seconds: {next}");
    if engine != "process" {
        handles.dedup();
        assert_eq!(handles.len(), 1, "the same container again: {handles:?}");
    }
    let listed = fleet.cli(["ps", "-o", "json"]).done().json();
    assert!(listed[0]["runs"].as_u64() >= Some(3), "{listed}");
    assert!(listed[0]["next_run_ms"].as_u64() >= Some(next), "{listed}");
    let wide = fleet.cli(["ps", "-o", "wide"]).done().out;
    assert!(wide.contains("RUNS"), "{wide}");
}

#[test]
fn a_process_runs_each_second() {
    runs_by_the_clock("process");
}

#[test]
fn a_docker_container_runs_by_the_clock() {
    runs_by_the_clock("docker");
}

#[test]
fn a_podman_container_runs_by_the_clock() {
    runs_by_the_clock("podman");
}

fn a_failing_run(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let _agent = fleet.agent("board").engine(engine).start();
    let script = "echo about to fail; echo run >> runs; exit 3";
    fleet
        .apply(&place.workload("broken", script, EACH_SECOND))
        .done();
    let shown = fleet.wait_instance("broken", "shows how it failed", |i| {
        i["state"] == "scheduled"
            && i["exit_code"] == 3
            && i["last_output"][0].as_str() == Some("about to fail")
    });
    let error = shown["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("exit code 3"), "{shown}");
    // The next times come all the same.
    place.wait_lines("runs", 3);
    let show = fleet.cli(["workload", "show", "broken"]).done().out;
    assert!(show.contains("about to fail"), "{show}");
}

#[test]
fn a_failing_run_of_a_process_shows_what_it_said_and_the_next_one_comes() {
    a_failing_run("process");
}

#[test]
fn a_failing_run_of_a_docker_container_shows_what_it_said_and_the_next_one_comes() {
    a_failing_run("docker");
}

#[test]
fn a_failing_run_of_a_podman_container_shows_what_it_said_and_the_next_one_comes() {
    a_failing_run("podman");
}

#[test]
fn a_time_that_comes_during_a_run_is_skipped() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let _agent = fleet.agent("board").start();
    let script = "echo begin $$ >> runs; sleep 2.5; echo end $$ >> runs";
    fleet
        .apply(&place.workload("long", script, EACH_SECOND))
        .done();
    place.wait_lines("runs", 4);
    let lines = place.lines("runs");
    for run in lines[..4].chunks(2) {
        let of = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        assert!(run[0].starts_with("begin ") && run[1].starts_with("end "));
        assert_eq!(of(&run[0]), of(&run[1]), "one after the other: {lines:?}");
    }
    assert_ne!(lines[0], lines[2], "two runs: {lines:?}");
}

#[test]
fn a_time_that_comes_during_a_run_replaces_it() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let _agent = fleet.agent("board").start();
    let script = "echo begin >> runs; sleep 86400; echo end >> runs";
    let keys = format!("{EACH_SECOND}overlap = \"replace\"\n");
    fleet.apply(&place.workload("long", script, &keys)).done();
    place.wait_lines("runs", 3);
    assert!(place.lines("runs").iter().all(|l| l == "begin"));
    let shown = fleet.wait_instance("long", "counts them", |i| i["runs"].as_u64() >= Some(3));
    assert_eq!(shown["last_error"], Value::Null, "no run has failed");
}

fn so_many_times(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let mut agent = fleet.agent("board").engine(engine).start();
    let script = "echo run >> runs; sleep 0.7; echo end >> ends";
    let keys = "type = \"script\"\nmax_runs = 3\n[workload.set-up.restart]\ndelay = \"300ms\"\n";
    fleet.apply(&place.workload("set-up", script, keys)).done();
    place.wait_lines("runs", 1);
    agent.come_back(&fleet);
    place.wait_lines("runs", 2);
    agent.daemon.kill9();
    // It goes on to its end without anybody.
    place.wait_lines("ends", 2);
    agent.answer_again(&fleet);
    let ended = |i: &Value| i["state"] == "completed" && i["runs"] == 3;
    fleet.wait_instance("set-up", "has run three times", ended);
    assert_eq!(place.lines("runs").len(), 3);

    // Neither a new agent nor a new look makes it four.
    agent.come_back(&fleet);
    fleet.cli(["command", "refresh", &agent.name]).done();
    fleet.wait_instance("set-up", "stays as it is", ended);
    // A person may have them all again.
    fleet.cli(["workload", "restart", "set-up"]).done();
    place.wait_lines("ends", 6);
    fleet.wait_instance("set-up", "has run three times more", ended);
    assert_eq!(place.lines("runs").len(), 6, "three and three");
}

#[test]
fn a_process_runs_exactly_so_many_times_over_kills_of_the_agent() {
    so_many_times("process");
}

#[test]
fn a_docker_container_runs_exactly_so_many_times_over_kills_of_the_agent() {
    so_many_times("docker");
}

#[test]
fn a_podman_container_runs_exactly_so_many_times_over_kills_of_the_agent() {
    so_many_times("podman");
}

fn takes_too_long(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let agent = fleet.agent("board").engine(engine).start();
    let script = "trap '' TERM; echo begun >> begun; while :; do sleep 0.1; done";
    let keys = "type = \"script\"\nmax_runs = 1\ntimeout = \"1s\"\n";
    let text = place.workload("stuck", script, keys);
    fleet.apply(&(text + &sleeping("still"))).done();
    fleet.wait_running("still");
    let still = agent.process("still");
    let shown = fleet.wait_instance("stuck", "was ended", |i| i["state"] == "failed");
    let sentence = "it ran longer than its timeout of 1s and was stopped";
    for field in ["reason", "last_error"] {
        let said = shown[field].as_str().unwrap_or_default();
        assert!(said.contains(sentence), "{field} of {shown}");
    }
    assert_eq!(place.lines("begun").len(), 1);
    wait_until("nothing of it runs", || {
        native::running(agent.data(), "stuck").is_none() && agent.containers().is_empty()
    });
    assert_eq!(agent.process("still"), still, "another one is not touched");
}

#[test]
fn a_process_that_takes_too_long_and_ignores_sigterm_is_killed() {
    takes_too_long("process");
}

#[test]
fn a_docker_container_that_takes_too_long_and_ignores_sigterm_is_killed() {
    takes_too_long("docker");
}

#[test]
fn a_podman_container_that_takes_too_long_and_ignores_sigterm_is_killed() {
    takes_too_long("podman");
}

#[test]
fn a_time_zone_is_the_one_of_the_workload() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let _agent = fleet.agent("board").start();
    // Noon in a zone that knows no summer time, nine hours before UTC.
    let keys = "type = \"script\"\nschedule = \"0 12 * * *\"\ntime_zone = \"Asia/Tokyo\"\n";
    let text = place.workload("noon", "echo noon >> noons", keys);
    fleet.apply_wait(&text).done();
    let shown = fleet.wait_instance("noon", "waits", |i| i["next_run_ms"].is_u64());
    assert_eq!(shown["state"], "scheduled");
    let next = shown["next_run_ms"].as_u64().expect("its next time");
    let hour = 3_600_000;
    assert_eq!(next % (24 * hour), 3 * hour, "03:00 UTC");
    // Now, once, where a person says so.
    fleet.cli(["workload", "restart", "noon"]).done();
    place.wait_lines("noons", 1);
    fleet.wait_instance("noon", "waits again", |i| {
        i["state"] == "scheduled" && i["runs"] == 1
    });
}

#[test]
fn a_time_that_never_comes_and_a_zone_that_is_none_are_refused_with_their_place() {
    let fleet = Fleet::start();
    let text = "[workload.never]\ntype = \"script\"\ncommand = [\"/bin/true\"]\n\
                schedule = \"0 0 30 2 *\"\n\
                [workload.nowhere]\ntype = \"script\"\ncommand = [\"/bin/true\"]\n\
                schedule = \"@daily\"\ntime_zone = \"Mars/Olympus\"\n\
                [workload.nonsense]\ntype = \"script\"\ncommand = [\"/bin/true\"]\n\
                schedule = \"61 * * * *\"\n";
    let path = fleet.manifest("applied", text);
    let path = path.to_str().expect("a plain path");
    for said in [fleet.apply(text), fleet.cli(["validate", path])] {
        let said = said.failed(1, &[]);
        for (place, what) in [
            ("applied.toml:4:12", "`0 0 30 2 *` never comes"),
            ("applied.toml:9:13", "`Mars/Olympus` is not a time zone"),
            ("applied.toml:13:12", "`61 * * * *` is not a cron"),
        ] {
            assert!(said.err.contains(place), "{place} in {}", said.err);
            assert!(said.err.contains(what), "{what} in {}", said.err);
        }
    }
    let all = fleet.cli(["workload", "ls", "-o", "json"]).done().json();
    assert_eq!(all, serde_json::json!([]), "nothing is applied");
}
