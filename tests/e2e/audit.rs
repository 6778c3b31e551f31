//! The audit trail: what differs, whether it is whole, and what happens to it when it is not.

use super::harness::{Fleet, Ran, SmallDisk, fleetctl, manifests::sleeping};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::{fs, path::Path};

fn edit(fleet: &Fleet, statement: &str) {
    let journal = Connection::open(fleet.data.join("journal.db")).expect("the journal");
    let changed = journal.execute(statement, []).expect("the statement");
    assert_eq!(changed, 1, "{statement}");
}

/// The newest line that has this in its summary.
fn line(fleet: &Fleet, words: &str) -> Value {
    let lines = fleet.cli(["audit", "-o", "json"]).done().json();
    let lines = lines.as_array().expect("a list").clone();
    let has = |l: &&Value| l["what"].as_str().is_some_and(|w| w.contains(words));
    let found = lines.iter().find(has).cloned();
    found.unwrap_or_else(|| panic!("no line with `{words}` in {lines:?}"))
}

/// Without a controller, and without anybody to ask.
fn verify(path: &Path, more: &[&str]) -> Ran {
    let mut command = fleetctl();
    command.args(["audit", "verify"]).arg(path).args(more);
    Ran::of(&mut command)
}

fn export(fleet: &Fleet, name: &str) -> std::path::PathBuf {
    let path = fleet.dir().join(name);
    let text = path.to_str().expect("a path");
    let ran = fleet.cli(["audit", "export", "-f", text]).done();
    assert!(ran.err.contains("to be noted elsewhere"), "{}", ran.err);
    path
}

#[test]
fn what_differs_is_in_the_trail_and_the_trail_is_whole() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply(&sleeping("still")).done();
    let env = "env = { MODE = \"prod\", DB_PASSWORD = \"hunter2\" }\nstop_timeout";
    let other = sleeping("still").replace("stop_timeout", env);
    fleet.apply(&other).done();
    let label = ["node", "label", &agent.name, "zone=hall"];
    fleet.cli(label).done();

    let changes = line(&fleet, "applied")["changes"].clone();
    let changes = changes.as_str().expect("what differs");
    assert!(changes.starts_with("workload still\n"), "{changes}");
    assert!(changes.contains("+ env.MODE = \"prod\"\n"), "{changes}");
    assert!(changes.contains("+ env.DB_PASSWORD = •••"), "{changes}");
    assert!(!changes.contains("hunter2"), "{changes}");
    let labelled = line(&fleet, "labelled");
    let expected = format!("node {}\n+ labels.zone = \"hall\"\n", agent.name);
    assert_eq!(labelled["changes"], json!(expected));
    let shown = fleet
        .cli(["audit", "--diff", "--workload", "still"])
        .done()
        .out;
    assert!(shown.contains("\n    + env.MODE = \"prod\"\n"), "{shown}");
    assert!(!shown.contains("labelled"), "{shown}");
    let wide = fleet.cli(["audit", "-o", "wide"]).done().out;
    assert!(
        wide.contains(labelled["hash"].as_str().expect("a hash")),
        "{wide}"
    );
    let trace = labelled["by"]["trace"].as_str().expect("a trace");
    let id = &trace[3..35];
    assert!(wide.contains(&format!("  {id}  ")), "{wide}");
    for by in [trace, id] {
        let of_it = fleet
            .cli(["audit", "--trace", by, "-o", "json"])
            .done()
            .json();
        assert_eq!(of_it, json!([labelled]));
    }
    fleet
        .cli(["audit", "--trace", "x"])
        .failed(2, &["32 hex digits"]);
    fleet.cli(["audit", "-n", "0"]).failed(2, &["1..=1000"]);
    let none = fleet.cli(["audit", "--who", "nobody & none"]).done().out;
    assert_eq!(none, "");
    let on_node = fleet.cli([
        "audit",
        "--node",
        &agent.name,
        "--what",
        "ZONE",
        "-o",
        "json",
    ]);
    assert_eq!(on_node.done().json().as_array().map(Vec::len), Some(1));

    let answer = fleet.ask("GET", "/api/v1/audit/verify", None).json();
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["head"]["hash"], labelled["hash"]);
    fleet.cli(["audit", "verify"]).done();
    let path = export(&fleet, "trail.jsonl");
    let said = verify(&path, &[]).done().out;
    assert!(said.contains("the trail is whole"), "{said}");
    let text = fs::read_to_string(&path).expect("the export");
    assert!(!text.contains("hunter2"));
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["format"], "fleetctl-audit");
    let [.., newest, end] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(end["count"], lines.len() - 2);
    assert_eq!(end["head"]["id"], newest["id"]);
    // Written to a pipe it is the same, but for the time and the signature over it.
    let piped = fleet.cli(["audit", "export"]).done().out;
    assert_eq!(piped.lines().count(), lines.len());
}

#[test]
fn who_may_not_read_the_trail_may_not_export_it() {
    let fleet = Fleet::start();
    let create = [
        "token", "create", "--kind", "api", "--role", "operator", "--name", "alice",
    ];
    let alice = fleet.cli(create).done().out.trim().to_owned();
    for path in [
        "/api/v1/audit",
        "/api/v1/audit/export",
        "/api/v1/audit/verify",
    ] {
        assert_eq!(fleet.ask_as(Some(&alice), "GET", path, None).status, 403);
        assert_eq!(fleet.ask_as(None, "GET", path, None).status, 401);
    }
}

#[test]
fn a_line_that_was_altered_in_the_journal_is_named() {
    let mut fleet = Fleet::start();
    fleet.apply(&sleeping("one")).done();
    fleet.apply(&sleeping("two")).done();
    fleet.apply(&sleeping("three")).done();
    let second = line(&fleet, "two")["id"].clone();
    let earlier = export(&fleet, "earlier.jsonl");
    let noted = line(&fleet, "three");
    let noted = format!(
        "{}:{}",
        noted["id"],
        noted["hash"].as_str().expect("a hash")
    );
    assert_eq!(fleet.controller.stop().code(), Some(0));
    edit(
        &fleet,
        &format!("UPDATE audit SET what = 'applied nothing' WHERE id = {second}"),
    );
    fleet.restart();
    let said = format!("line {second} was altered");
    fleet.cli(["audit", "verify"]).failed(1, &[&said]);
    let listed = fleet.cli(["audit"]).done();
    let warned = format!("warning: the audit trail is not whole: {said}");
    assert!(listed.err.contains(&warned), "{}", listed.err);
    let log = fleet.controller.log();
    assert!(log.contains("the audit trail is not whole"), "{log}");
    let answer = fleet.ask("GET", "/api/v1/audit/verify", None).json();
    assert_eq!(
        (&answer["ok"], &answer["first_bad"]),
        (&json!(false), &second)
    );
    let path = fleet.dir().join("altered.jsonl");
    let text = path.to_str().expect("a path").to_owned();
    let export = ["audit", "export", "-f", &text];
    fleet
        .cli(export)
        .failed(1, &[&said, "that should have line 1 to line"]);
    let piped = fleet.cli(["audit", "export"]);
    piped.failed(1, &[&said]);
    let text = fs::read_to_string(&path).expect("the export");
    let end: Value = serde_json::from_str(text.lines().last().expect("an end")).expect("JSON");
    let known = end["fault"].as_str().expect("what is wrong");
    assert!(known.contains(&said), "{known}");
    verify(&path, &[]).failed(1, &[&said]);
    verify(&earlier, &[]).done();
    verify(&earlier, &["--head", &noted]).done();
    // What is changed from now on is in the trail all the same.
    fleet.apply(&sleeping("four")).done();
    fleet.cli(["audit", "verify"]).failed(1, &[&said]);

    assert_eq!(fleet.controller.stop().code(), Some(0));
    edit(&fleet, &format!("DELETE FROM audit WHERE id = {second}"));
    fleet.restart();
    let said = format!("line {second} is missing");
    fleet.cli(["audit", "verify"]).failed(1, &[&said]);
}

#[test]
fn another_trail_is_told_from_the_one_that_was_noted() {
    let fleet = Fleet::start();
    fleet.apply(&sleeping("one")).done();
    let first = export(&fleet, "first.jsonl");
    fleet.apply(&sleeping("two")).done();
    let second = export(&fleet, "second.jsonl");
    let first_text = first.to_str().expect("a path");
    verify(&second, &["--earlier", first_text]).done();
    fleet
        .cli(["audit", "verify", "--earlier", first_text])
        .done();
    let other = Fleet::start();
    other.apply(&sleeping("one")).done();
    let foreign = export(&other, "foreign.jsonl");
    verify(&foreign, &[]).done();
    let ran = verify(&foreign, &["--earlier", first_text]);
    ran.failed(1, &["another fleet", "another one now"]);
    let unknown = "ab".repeat(32);
    verify(&second, &["--head", &unknown]).failed(1, &["another trail"]);
    verify(&second, &["--head", "abc"]).failed(2, &["64 hex digits"]);
    let text = fs::read_to_string(&second).expect("the export");
    let lines: Vec<&str> = text.lines().collect();
    let cut = fleet.dir().join("cut.jsonl");
    fs::write(&cut, lines[..lines.len() - 2].join("\n")).expect("a file");
    verify(&cut, &[]).failed(1, &["cut off after line"]);
    fs::write(&cut, "not a trail\n").expect("a file");
    verify(&cut, &[]).failed(1, &["no audit trail", "cut.jsonl"]);
}

#[test]
fn a_full_disk_leaves_the_chain_whole() {
    let disk = SmallDisk::mount();
    let fleet = Fleet::setup().data(&disk.path().join("controller")).start();
    fleet.apply(&sleeping("before")).done();
    disk.fill();
    let manifest = |n: u32| {
        let text = sleeping(&format!("full-{n}"));
        json!({"sources": [{"name": "a.toml", "text": text}]}).to_string()
    };
    let mut taken = 0;
    let refused = (0..200).any(|n| {
        let answer = fleet.ask("POST", "/api/v1/apply", Some(&manifest(n)));
        taken += u64::from(answer.status == 200);
        answer.status == 507
    });
    assert!(refused, "a disk that is full in the end");
    let verdict = fleet.ask("GET", "/api/v1/audit/verify", None).json();
    assert_eq!(verdict["ok"], true, "{verdict}");
    let before = verdict["lines"].as_u64().expect("a number");
    disk.free();
    fleet.apply(&sleeping("after")).done();
    let verdict = fleet.ask("GET", "/api/v1/audit/verify", None).json();
    assert_eq!(verdict["ok"], true, "{verdict}");
    assert_eq!(verdict["lines"], before + 1);
    assert_eq!(verdict["head"]["id"], before + 1);
    assert!(before > taken, "{before} lines, {taken} applies");
}
