//! Files, templates and parameters: what is placed for a workload, filled in for each node, and
//! changed while it runs.

use super::harness::{
    Agent, Fleet,
    manifests::{shell, sleeping},
    native, wait_for, wait_until,
};
use serde_json::Value;
use std::fs;

/// Where a workload of this engine has its file: a process below its own directory.
fn path(engine: &str) -> &'static str {
    match engine {
        "process" => "app.conf",
        _ => "/etc/app/app.conf",
    }
}

/// A manifest whose script finds `content` at [`path`].
fn with_file(name: &str, engine: &str, script: &str, content: &str, keys: &str) -> String {
    let path = path(engine);
    let files = format!("[workload.{name}.files]\n\"{path}\" = {content:?}\n");
    shell(name, engine, script, &format!("{keys}{files}"))
}

/// What tells one run of it from another.
fn run_of(agent: &Agent, engine: &str, workload: &str) -> String {
    match engine {
        "process" => format!("{:?}", agent.process(workload)),
        _ => agent.container(workload),
    }
}

fn wait_said(fleet: &Fleet, workload: &str, text: &str) {
    wait_until(&format!("{workload} says {text}"), || {
        fleet.cli(["logs", workload]).out.contains(text)
    });
}

fn is_filled_in_for_its_node(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let label = |text: &str| fleet.cli(["node", "label", &agent.name, text]).done();
    label("zone=hall");
    let script = format!("cat {}; exec sleep 86400", path(engine));
    let content = "node {{ node.name }} zone {{ label.zone }} {{ \"{{\" }}\n";
    let text = with_file("app", engine, &script, content, "");
    fleet.apply_wait(&(text + &sleeping("still"))).done();
    wait_said(
        &fleet,
        "app",
        &format!("node {} zone hall {{{{", agent.name),
    );
    let (before, still) = (run_of(&agent, engine, "app"), agent.process("still"));

    label("zone=yard");
    wait_said(&fleet, "app", "zone yard");
    fleet.wait_running("app");
    assert_ne!(run_of(&agent, engine, "app"), before, "it is replaced");
    assert_eq!(agent.process("still"), still, "what has no label is not");
}

#[test]
fn a_file_beside_a_process_is_filled_in_for_its_node() {
    is_filled_in_for_its_node("process");
}

#[test]
fn a_file_in_a_docker_container_is_filled_in_for_its_node() {
    is_filled_in_for_its_node("docker");
}

#[test]
fn a_file_in_a_podman_container_is_filled_in_for_its_node() {
    is_filled_in_for_its_node("podman");
}

fn takes_new_contents_by_a_signal(engine: &str) {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").engine(engine).start();
    let path = path(engine);
    let script = format!(
        "trap 'echo told: $(cat {path})' HUP; trap 'exit 0' TERM; echo begun with $(cat {path}); \
         while :; do sleep 0.1; done"
    );
    let reloads =
        |content: &str| with_file("app", engine, &script, content, "reload = \"SIGHUP\"\n");
    fleet.apply_wait(&reloads("one\n")).done();
    wait_said(&fleet, "app", "begun with one");
    let before = run_of(&agent, engine, "app");

    fleet.apply_wait(&reloads("two\n")).done();
    wait_said(&fleet, "app", "told: two");
    fleet.wait_event("reloaded", "app", &[]);
    assert_eq!(run_of(&agent, engine, "app"), before, "by the signal alone");
    let shown = fleet.wait_running("app");
    assert_eq!(shown["restarts"], 0, "{shown}");

    // A change while its agent is away arrives too.
    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    fleet.apply(&reloads("three\n")).done();
    agent.answer_again(&fleet);
    wait_said(&fleet, "app", "told: three");
    assert_eq!(run_of(&agent, engine, "app"), before);

    // Without the signal a new content is a new instance.
    let plain = with_file("app", engine, &script, "four\n", "");
    fleet.apply_wait(&plain).done();
    wait_said(&fleet, "app", "begun with four");
    assert_ne!(run_of(&agent, engine, "app"), before);
}

#[test]
fn a_process_takes_new_contents_by_a_signal() {
    takes_new_contents_by_a_signal("process");
}

#[test]
fn a_docker_container_takes_new_contents_by_a_signal() {
    takes_new_contents_by_a_signal("docker");
}

#[test]
fn a_podman_container_takes_new_contents_by_a_signal() {
    takes_new_contents_by_a_signal("podman");
}

#[test]
fn somebody_elses_file_is_left_alone_and_its_own_goes_with_it() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    let file = fleet.dir().join("of-the-node.conf");
    fs::write(&file, "somebody's\n").expect("a file");
    let shown = file.display();
    let text = format!(
        "[workload.app.restart]\ndelay = \"100ms\"\n[workload.app.files.\"{shown}\"]\n\
         content = \"ours\\n\"\nmode = \"0600\"\n"
    );
    let text = shell("app", "process", "exec sleep 86400", &text);
    fleet.apply(&(text + &sleeping("still"))).done();
    fleet.wait_instance("app", "names the file", |i| {
        let said = i["reason"].as_str().unwrap_or_default();
        said.contains(&shown.to_string()) && said.contains("was not placed by fleetctl")
    });
    fleet.wait_running("still");
    let content = || fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(content(), "somebody's\n");

    // Once it is out of the way the workload starts by itself.
    fs::remove_file(&file).expect("the file");
    fleet.wait_running("app");
    assert_eq!(content(), "ours\n");
    let mode =
        fs::metadata(&file).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()));
    assert_eq!(mode.expect("the file") & 0o777, 0o600);
    fleet.cli(["rm", "app", "--wait"]).done();
    wait_until("it goes with its workload", || !file.exists());
}

#[test]
fn variables_of_the_agents_environment_are_filled_in_or_missed_by_name() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").variable("E2E_TOKEN", "s3cret").start();
    let script = "echo token $TOKEN; exec sleep 86400";
    let with = |name: &str, variable: &str| {
        let keys = format!(
            "env = {{ TOKEN = \"{{{{ env.{variable} }}}}\" }}\n\
             [workload.{name}.restart]\ndelay = \"100ms\"\n"
        );
        shell(name, "process", script, &keys)
    };
    let text = with("knows", "E2E_TOKEN") + &with("misses", "E2E_ABSENT");
    fleet.apply(&text).done();
    fleet.wait_running("knows");
    wait_said(&fleet, "knows", "token s3cret");
    fleet.wait_instance("misses", "says which it misses", |i| {
        let said = i["reason"].as_str().unwrap_or_default();
        said.contains("`{{ env.E2E_ABSENT }}`") && said.contains("environment")
    });
    // Nobody but the node knows it.
    let seen = fleet.ask("GET", "/api/v1/workloads/knows", None).text();
    assert!(!seen.contains("s3cret"), "{seen}");
}

#[test]
fn without_its_label_a_workload_goes_nowhere_and_says_why() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let keys = "env = { ZONE = \"{{ label.zone }}\" }\n";
    let text = shell("app", "process", "echo in $ZONE; exec sleep 86400", keys);
    fleet.apply(&text).done();
    let shown = fleet.wait_instance("app", "waits for a node", |i| i["node"].is_null());
    assert_eq!(shown["state"], "pending", "{shown}");
    let show = fleet.cli(["workload", "show", "app"]).done().out;
    assert!(show.contains("it has no label `zone`"), "{show}");
    assert!(native::of_workload(agent.data(), "app").is_empty());

    fleet
        .cli(["node", "label", &agent.name, "zone=hall"])
        .done();
    wait_said(&fleet, "app", "in hall");
    // A name that nobody can know is refused at once.
    let keys = "env = { ZONE = \"{{ nod.zone }}\" }\n";
    fleet
        .apply(&shell("typo", "process", "exit 0", keys))
        .failed(1, &["applied.toml:4:", "nod.zone"]);
}

fn params_are_in_the_environment(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let script = "echo \"$FLEETCTL_NODE $FLEETCTL_WORKLOAD $FLEETCTL_PARAMS\"; exec sleep 86400";
    let keys =
        "params = { zone = \"{{ node.name }}\", list = [1, 2.5, true], deep = { a = \"b\" } }\n";
    fleet.apply_wait(&shell("app", engine, script, keys)).done();
    let begin = format!("{} app ", agent.name);
    let params = wait_for("it tells its params", || {
        let said = fleet.cli(["logs", "app"]).out;
        let line = said.lines().find_map(|l| l.strip_prefix(&begin))?;
        serde_json::from_str::<Value>(line).ok()
    });
    let expected = serde_json::json!({
        "zone": agent.name, "list": [1, 2.5, true], "deep": {"a": "b"}
    });
    assert_eq!(params, expected);
}

#[test]
fn a_process_finds_its_params_in_its_environment() {
    params_are_in_the_environment("process");
}

#[test]
fn a_docker_container_finds_its_params_in_its_environment() {
    params_are_in_the_environment("docker");
}

#[test]
fn a_podman_container_finds_its_params_in_its_environment() {
    params_are_in_the_environment("podman");
}
