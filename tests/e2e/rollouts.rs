//! Changes that go through a fleet step by step, and instances that go from node to node.

use super::harness::{Agent, Fleet, Place, wait_for, wait_until};
use serde_json::Value;

/// Passes on and becomes healthy quickly, one node after the other.
const QUICK: &str = "max_parallel = 1\nmin_healthy_time = \"300ms\"\nhealthy_deadline = \"20s\"\n";
/// Runs for ever.
const GOOD: &str = "exec sleep 86400";

/// Three nodes. Nothing waits for a grace after the start.
fn three(fleet: &Fleet) -> Vec<Agent> {
    let agents = ["a", "b", "c"].map(|name| fleet.agent(name).launch());
    for agent in &agents {
        fleet.wait_node(&agent.name, "online");
    }
    agents.into()
}

/// A workload `web` on every node, with the table `update`.
fn web(place: &Place, version: &str, script: &str, update: &str) -> String {
    let keys = format!(
        "version = \"{version}\"\nmin_healthy_time = \"200ms\"\n\
         [workload.web.restart]\ndelay = \"100ms\"\nmax_delay = \"1s\"\n\
         [workload.web.placement]\non = \"every\"\n\
         [workload.web.update]\n{update}"
    );
    place.workload("web", script, &keys)
}

/// One instance, anywhere, that may move at any time.
fn single(place: &Place, name: &str, placement: &str) -> String {
    let keys = format!(
        "min_healthy_time = \"200ms\"\n[workload.{name}.restart]\ndelay = \"100ms\"\n\
         [workload.{name}.placement]\n{placement}"
    );
    place.workload(name, GOOD, &keys)
}

fn versions(fleet: &Fleet, workload: &str) -> Vec<String> {
    let all = fleet.instances().into_iter();
    let own = all.filter(|i| i["workload"] == workload && i["state"] == "running");
    let mut versions: Vec<String> = own
        .map(|i| i["version"].as_str().unwrap_or_default().to_owned())
        .collect();
    versions.sort();
    versions
}

/// The rollout of `web` as the API shows it.
fn rollout(fleet: &Fleet) -> Option<Value> {
    let answer = fleet.try_get("/api/v1/workloads/web/rollout")?;
    (answer.status == 200).then(|| answer.json())
}

#[track_caller]
fn wait_rollout(fleet: &Fleet, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = String::new();
    wait_for(&format!("the rollout of web: {what}"), || {
        let now = rollout(fleet)?;
        let short = format!("{} ({})", now["rollout"]["phase"], now["rollout"]["reason"]);
        if last != short {
            eprintln!("the rollout is {short}");
            last = short;
        }
        wanted(&now).then_some(now)
    })
}

#[track_caller]
fn wait_phase(fleet: &Fleet, phase: &str) -> Value {
    wait_rollout(fleet, phase, |r| r["rollout"]["phase"] == phase)
}

/// The nodes on which `workload` runs.
fn nodes(fleet: &Fleet, workload: &str) -> Vec<String> {
    let all = fleet.instances().into_iter();
    let own = all.filter(|i| i["workload"] == workload && i["state"] == "running");
    own.map(|i| i["node"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_good_version_goes_from_the_canary_to_every_node() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    let update = format!("canary = 1\n{QUICK}");
    fleet.apply_wait(&web(&place, "1.0", GOOD, &update)).done();
    assert!(rollout(&fleet).is_none(), "a new workload is no change");

    let said = fleet.apply_wait(&web(&place, "2.0", GOOD, &update)).done();
    for words in ["web 2.0: canaries", "web 2.0: rolled out: "] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    assert_eq!(versions(&fleet, "web"), ["2.0", "2.0", "2.0"]);
    let shown = fleet
        .cli(["rollout", "show", "web", "-o", "json"])
        .done()
        .json();
    assert_eq!(shown["rollout"]["phase"], "succeeded", "{shown}");
    assert_eq!(shown["healthy"], 3, "{shown}");
    let listed = fleet.cli(["rollout", "ls"]).done().out;
    assert!(listed.contains("succeeded"), "{listed}");
    let active = fleet
        .cli(["rollout", "ls", "--active", "-o", "json"])
        .done()
        .json();
    assert_eq!(active.as_array().map(Vec::len), Some(0), "{active}");
}

#[test]
fn a_poisoned_version_comes_back_by_itself_and_the_verdict_is_told() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    let update = format!("canary = 1\n{QUICK}");
    fleet.apply_wait(&web(&place, "1.0", GOOD, &update)).done();

    let poisoned = web(&place, "2.0", "echo no luck; exit 1", &update);
    let said = fleet
        .apply_wait(&poisoned)
        .failed(1, &["web 2.0: rolled back to 1.0", "no luck"]);
    let ended = wait_phase(&fleet, "rolled_back");
    let verdict = &ended["rollout"]["verdict"];
    let node = verdict["node"].as_str().unwrap_or_default();
    assert!(!node.is_empty(), "{ended}");
    assert!(said.err.contains(&format!("web on {node}")), "{said:?}");
    wait_until("every node runs the good version", || {
        versions(&fleet, "web") == ["1.0", "1.0", "1.0"]
    });
    let tried = fleet.events("agent_rolled_back");
    assert!(
        tried.iter().all(|e| e["node"] == node),
        "only the canary tried it: {tried:?}"
    );
    let history = fleet.cli(["workload", "history", "web"]).done().out;
    assert!(history.contains("bad"), "{history}");
    let listed = fleet.cli(["rollout", "show", "web"]).done().out;
    assert!(listed.contains("no luck"), "{listed}");
}

#[test]
fn canaries_wait_for_a_person_who_promotes_or_aborts() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    let update = format!("canary = 1\nauto_promote = false\n{QUICK}");
    fleet.apply_wait(&web(&place, "1.0", GOOD, QUICK)).done();

    fleet.apply(&web(&place, "2.0", GOOD, &update)).done();
    let waits = wait_phase(&fleet, "awaiting_promotion");
    assert_eq!(waits["healthy"], 1, "{waits}");
    assert_eq!(versions(&fleet, "web"), ["1.0", "1.0", "2.0"]);
    let said = fleet.cli(["rollout", "promote", "web"]).done().out;
    assert!(said.contains("web 2.0"), "{said}");
    wait_phase(&fleet, "succeeded");
    assert_eq!(versions(&fleet, "web"), ["2.0", "2.0", "2.0"]);
    fleet.cli(["rollout", "promote", "web"]).failed(1, &["web"]);

    fleet.apply(&web(&place, "3.0", GOOD, &update)).done();
    wait_phase(&fleet, "awaiting_promotion");
    fleet.cli(["rollout", "abort", "web"]).done();
    let aborted = wait_phase(&fleet, "aborted");
    assert_eq!(aborted["active"], false, "{aborted}");
    assert_eq!(versions(&fleet, "web"), ["2.0", "2.0", "3.0"]);
    let table = fleet.cli(["versions"]).done().out;
    for version in ["2.0", "3.0"] {
        assert!(table.contains(version), "{version} in {table}");
    }

    fleet
        .cli([
            "workload",
            "rollback",
            "web",
            "--to",
            "1.0",
            "--wait",
            "--timeout",
            "25s",
        ])
        .done();
    assert_eq!(versions(&fleet, "web"), ["1.0", "1.0", "1.0"]);
    fleet
        .cli(["workload", "rollback", "web", "--to", "9.9"])
        .failed(1, &["9.9", "1.0", "2.0"]);
    let history = fleet
        .cli(["workload", "history", "web", "-o", "json"])
        .done()
        .json();
    let count = history.as_array().map(Vec::len);
    assert_eq!(count, Some(4), "{history}");
}

#[test]
fn a_rollout_that_is_paused_goes_no_further_until_it_is_resumed() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    fleet.apply_wait(&web(&place, "1.0", GOOD, QUICK)).done();
    // Long enough to be stopped while the first node is on trial.
    let slow = "max_parallel = 1\nmin_healthy_time = \"3s\"\nhealthy_deadline = \"20s\"\n";
    fleet.apply(&web(&place, "2.0", GOOD, slow)).done();
    wait_rollout(&fleet, "one node changes", |r| r["changing"] == 1);
    let said = fleet.cli(["rollout", "pause", "web"]).done().out;
    assert!(said.contains("paused"), "{said}");
    wait_rollout(&fleet, "nothing changes any more", |r| r["changing"] == 0);
    let held = rollout(&fleet).expect("it is held");
    assert_eq!(held["waiting"], 2, "{held}");
    assert_eq!(held["rollout"]["paused"], true, "{held}");
    fleet.cli(["rollout", "resume", "web"]).done();
    wait_phase(&fleet, "succeeded");
    assert_eq!(versions(&fleet, "web"), ["2.0", "2.0", "2.0"]);
}

#[test]
fn a_controller_that_is_killed_in_the_middle_finishes_the_rollout() {
    let mut fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    fleet.apply_wait(&web(&place, "1.0", GOOD, QUICK)).done();
    let slow = "max_parallel = 1\nmin_healthy_time = \"1s\"\nhealthy_deadline = \"20s\"\n";
    fleet.apply(&web(&place, "2.0", GOOD, slow)).done();
    for done in 0..2 {
        wait_rollout(&fleet, "one more is healthy", |r| {
            r["healthy"].as_u64() >= Some(done) && r["changing"].as_u64() >= Some(1)
        });
        fleet.controller.kill9();
        fleet.restart();
    }
    let ended = wait_phase(&fleet, "succeeded");
    assert_eq!(ended["healthy"], 3, "{ended}");
    wait_until("every node runs it", || {
        versions(&fleet, "web") == ["2.0", "2.0", "2.0"]
    });
}

#[test]
fn a_drain_moves_what_may_move_and_names_what_holds_it_up() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let a = fleet.agent("a").start();
    let stuck = single(&place, "stuck", &format!("nodes = [\"{}\"]\n", a.name));
    fleet
        .apply_wait(&(single(&place, "free", "replicas = 1\n") + &stuck))
        .done();
    let b = fleet.agent("b").start();

    let said = fleet
        .cli(["node", "drain", &a.name, "--timeout", "6s"])
        .failed(1, &["stuck", "is not empty yet, 1 left"]);
    assert!(!said.err.contains("\n  free:"), "{said:?}");
    wait_until("free runs on the other node alone", || {
        nodes(&fleet, "free") == [b.name.clone()]
    });
    assert_eq!(nodes(&fleet, "stuck"), std::slice::from_ref(&a.name));
    let listed = fleet.cli(["node", "ls"]).done().out;
    assert!(listed.contains("draining"), "{listed}");

    fleet.cli(["rm", "stuck", "--wait"]).done();
    let said = fleet.cli(["node", "drain", &a.name]).done();
    assert!(said.err.contains("is empty"), "{said:?}");
    fleet.cli(["node", "uncordon", &a.name]).done();
    wait_until("it takes instances again", || {
        fleet.node(&a.name).is_some_and(|n| n["drain"].is_null())
    });
}

#[test]
fn an_instance_is_moved_and_a_cordoned_node_takes_nothing() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let a = fleet.agent("a").start();
    fleet
        .apply_wait(&single(&place, "web", "replicas = 1\n"))
        .done();
    let process = a.process("web");
    let b = fleet.agent("b").start();
    fleet
        .cli(["instance", "migrate", "web", "--from", &b.name])
        .failed(1, &["web", &b.name]);
    fleet
        .cli([
            "instance",
            "migrate",
            "web",
            "--from",
            &a.name,
            "--to",
            &b.name,
            "--wait",
            "--timeout",
            "25s",
        ])
        .done();
    assert_eq!(nodes(&fleet, "web"), std::slice::from_ref(&b.name));
    assert!(!process.child.lives(), "the old one is gone");
    b.process("web");

    fleet.cli(["node", "cordon", &a.name]).done();
    fleet
        .apply_wait(&single(&place, "more", "replicas = 1\n"))
        .done();
    assert_eq!(nodes(&fleet, "more"), std::slice::from_ref(&b.name));
    let why = fleet.cli(["workload", "why", "more"]).done().out;
    let line = why.lines().find(|l| l.contains(&a.name));
    assert!(line.is_some_and(|l| l.contains("cordon")), "{why}");
    fleet
        .cli([
            "instance", "migrate", "web", "--from", &b.name, "--to", &a.name,
        ])
        .failed(1, &[&a.name]);

    fleet
        .cli(["node", "reserve", &b.name, "--memory", "16MiB"])
        .done();
    let shown = fleet.node(&b.name).expect("it is known");
    assert_eq!(shown["reserved"]["memory"], 16 * 1024 * 1024, "{shown}");
    let plan = fleet
        .cli(["rebalance", "--plan", "-o", "json"])
        .done()
        .json();
    assert_eq!(
        plan["moves"].as_array().map(Vec::len),
        Some(0),
        "a cordoned node takes nothing: {plan}"
    );
}

#[test]
fn what_a_lost_node_ran_is_placed_elsewhere_and_yields_when_it_returns() {
    let fleet = Fleet::setup().impatient().flag("--lost-after=1s").start();
    let place = Place::new("process");
    let mut a = fleet.agent("a").start();
    fleet
        .apply_wait(&single(&place, "web", "replicas = 1\n"))
        .done();
    let old = a.process("web");
    let b = fleet.agent("b").start();
    a.daemon.kill9();
    b.process("web");
    wait_until("it runs on the other node", || {
        nodes(&fleet, "web") == [b.name.clone()]
    });
    assert!(old.child.lives(), "nobody could tell it to end");
    assert!(fleet.node(&a.name).is_some_and(|n| n["lost"] == true));

    a.launch_again();
    fleet.wait_node(&a.name, "online");
    wait_until("the old one yields", || !old.child.lives());
    wait_until("it is on one node", || {
        let all = fleet.instances();
        all.iter().filter(|i| i["workload"] == "web").count() == 1
    });
    assert_eq!(nodes(&fleet, "web"), std::slice::from_ref(&b.name));
}

#[test]
fn two_versions_run_side_by_side_under_a_suffix() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let place = Place::new("process");
    let _agents = three(&fleet);
    fleet.apply_wait(&web(&place, "1.0", GOOD, QUICK)).done();
    let next = fleet.manifest("next", &web(&place, "2.0", GOOD, QUICK));
    let file = next.display().to_string();
    fleet
        .cli([
            "apply",
            "-y",
            "--wait",
            "--timeout",
            "25s",
            "--as-suffix=-next",
            "-f",
            &file,
        ])
        .done();
    assert_eq!(versions(&fleet, "web"), ["1.0", "1.0", "1.0"]);
    assert_eq!(versions(&fleet, "web-next"), ["2.0", "2.0", "2.0"]);
    fleet
        .cli(["apply", "-y", "--as-suffix=-Next", "-f", &file])
        .failed(1, &["web-Next"]);
}
