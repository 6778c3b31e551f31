//! Changes that a person makes in the browser, and that the fleet then has.

use super::page::Page;
use crate::e2e::harness::{
    Agent, Fleet,
    manifests::{counting, image},
    wait_for,
};
use serde_json::{Value, json};

#[test]
fn a_compose_file_is_pasted_planned_agreed_to_and_runs() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    let project = fleet.name("shop");
    let compose = format!(
        "name: {project}\nx-fleet:\n  engine: docker\nservices:\n  web:\n    image: {}\n    \
         command: sleep 86400\n    init: true\n    stop_grace_period: 1s\n",
        image("docker")
    );
    let page = Page::signed_in(&fleet);
    page.click("Apply");
    page.fill("Manifest", &compose);
    page.click("Plan");
    page.sees(&["1 added", &agent.name]);
    assert!(
        fleet.instances().is_empty(),
        "nothing before it is agreed to"
    );
    page.click("Apply this plan");
    page.sees(&["Everything runs as wanted.", "running"]);

    let all = fleet.instances();
    let [instance] = all.as_slice() else {
        panic!("one instance: {all:?}")
    };
    let workload = instance["workload"].as_str().expect("its workload");
    page.click(workload);
    page.sees(&["Placement", "1 of 1 instance running"]);
    page.row_sees(&agent.name, &["running"]);
    assert_eq!(agent.containers().len(), 1);
    page.done();
}

/// A process on every node; the canary first.
fn web(version: &str, script: &str) -> String {
    format!(
        "[workload.web]\nversion = \"{version}\"\nstop_timeout = \"1s\"\n\
         command = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
         min_healthy_time = \"200ms\"\n[workload.web.restart]\ndelay = \"100ms\"\nmax_delay = \"1s\"\n\
         [workload.web.placement]\non = \"every\"\n\
         [workload.web.update]\ncanary = 1\nmax_parallel = 1\nmin_healthy_time = \"4s\"\n\
         healthy_deadline = \"20s\"\n"
    )
}

#[test]
fn a_rollout_is_watched_as_it_fails_and_goes_back() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let _agents: Vec<Agent> = ["a", "b", "c"].map(|n| fleet.agent(n).start()).into();
    fleet.apply_wait(&web("1.0", "exec sleep 86400")).done();
    let page = Page::signed_in(&fleet);
    page.click("Rollouts");
    let path = fleet.manifest("poisoned", &web("2.0", "sleep 2; echo no luck; exit 1"));
    let path = path.to_str().expect("a plain path");
    fleet.cli(["apply", "-y", "-f", path]).done();

    page.click("web");
    page.sees(&[
        "Rollout of web",
        "canary",
        "1.0 → 2.0",
        "Batch 1",
        "changing",
    ]);
    page.sees(&[
        "Why it failed",
        "no luck",
        "rolled back",
        "Were not changed",
    ]);
    page.wait(
        "no order is offered for what is over",
        "return !document.querySelector('main .actions button')",
        &[],
    );
    let versions = wait_for("every node has the good version", || {
        let all = fleet.instances();
        let good = |i: &Value| i["version"] == "1.0" && i["state"] == "running";
        (all.len() == 3 && all.iter().all(good)).then_some(all)
    });
    assert_eq!(versions.len(), 3);
    page.done();
}

fn state_in_ps(fleet: &Fleet, workload: &str) -> String {
    let all = fleet.cli(["ps", "-o", "json"]).done().json();
    let all = all.as_array().cloned().unwrap_or_default();
    let own = all.iter().find(|i| i["workload"] == workload);
    own.and_then(|i| i["state"].as_str())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn an_instance_and_a_workload_are_stopped_from_their_pages() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("one", "1.0")).done();
    fleet.apply_wait(&counting("two", "1.0")).done();
    let page = Page::signed_in(&fleet);
    page.click(&agent.name);
    page.row_sees("one", &["running"]);
    page.click(&format!("Stop: one on {}", agent.name));
    page.sees(&[&format!("Stop one on {}?", agent.name)]);
    assert_eq!(
        state_in_ps(&fleet, "one"),
        "running",
        "not before it is agreed to"
    );
    page.click("Stop");
    page.row_sees("one", &["stopped"]);
    assert_eq!(state_in_ps(&fleet, "one"), "stopped");
    assert_eq!(state_in_ps(&fleet, "two"), "running");

    page.go("#/workloads/two");
    page.click("Stop");
    page.sees(&["Stop two?"]);
    page.press("Escape");
    page.wait(
        "the dialog goes",
        "return !document.querySelector('dialog')",
        &[],
    );
    page.click("Stop");
    page.sees(&["Stop two?"]);
    page.click("Stop");
    page.row_sees(&agent.name, &["stopped"]);
    wait_for("it is stopped for everybody", || {
        (state_in_ps(&fleet, "two") == "stopped").then_some(())
    });
    page.click("Start");
    page.row_sees(&agent.name, &["running"]);
    page.done();
}

#[test]
fn a_manifest_of_5_mb_is_answered_with_a_sentence() {
    let fleet = Fleet::start();
    let page = Page::signed_in(&fleet);
    page.go("#/apply");
    page.wait(
        "the field",
        "return !!document.querySelector('textarea')",
        &[],
    );
    page.run(
        "const t = document.querySelector('textarea'); t.value = '# '.repeat(5 << 19); \
         t.dispatchEvent(new Event('input', {bubbles: true}))",
        &[],
    );
    page.click("Plan");
    page.sees(&["a manifest has at most"]);
    page.run(
        "const all = new DataTransfer(), input = document.querySelector('input[type=file]'); \
         all.items.add(new File(['# '.repeat(5 << 19)], 'huge.toml')); \
         input.files = all.files; input.dispatchEvent(new Event('change'))",
        &[],
    );
    page.sees(&["huge.toml has", "at most"]);

    // What is no manifest is said with its place, and the place can be jumped to.
    let text = page.run(
        "return document.querySelector('textarea').value.length",
        &[],
    );
    assert_eq!(text, json!(5 << 20), "what was pasted is still there");
    page.done();
}

#[test]
fn a_mistake_in_a_manifest_is_shown_with_its_place() {
    let fleet = Fleet::start();
    let mut page = Page::signed_in(&fleet);
    // The controller answers 400 or 422, which the console tells.
    page.expect_refusals();
    page.go("#/apply");
    page.fill(
        "Manifest",
        "[workload.web]\ncommand = [\"/bin/true\"]\ncolour = \"red\"\n",
    );
    page.click("Plan");
    page.sees(&["error:", "colour"]);
    page.wait(
        "a place to jump to",
        "const b = document.querySelector('.mistake button'); return b && /:3:\\d+$/.test(b.textContent) && (b.click(), true)",
        &[],
    );
    let chosen = page.run(
        "const t = document.activeElement; return t.value.slice(t.selectionStart, t.selectionEnd)",
        &[],
    );
    let chosen = chosen.as_str().unwrap_or_default().to_owned();
    assert!(chosen.starts_with("colour"), "{chosen:?}");
    page.done();
}
