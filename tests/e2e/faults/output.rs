//! Programs that write more than anybody can keep: a gigabyte, without line ends, binary, faster
//! than it is read. The agent stays small, what is kept stays within its limit, and it can be read.

use super::Bystander;
use crate::e2e::harness::{
    Agent, Engine, Fleet,
    manifests::{shell, sleeping},
    native, wait_until,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Of each file of the log, and how many there may be.
const MAX_SIZE: u64 = 64 << 10;
const MAX_FILES: u64 = 2;
/// Docker looks at the size before it writes a piece, which has 16 KiB, of which each byte may
/// take six in its JSON.
const PIECE: u64 = 6 * (16 << 10);
/// The agent may grow by so much, in KiB: caches, and parts of the program itself that are read
/// when they are first needed.
const GROWTH_KIB: u64 = 32 << 10;

/// The most memory that a process has had so far, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let number = line.and_then(|l| l.split_whitespace().next());
    number
        .and_then(|n| n.parse().ok())
        .expect("a number of KiB")
}

/// Bytes of the files that begin with `prefix`.
fn size_of(dir: &Path, prefix: &str) -> u64 {
    let entries = fs::read_dir(dir).expect("a listing").flatten();
    let ours = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    // One may be renamed at this moment.
    ours.filter_map(|e| Some(e.metadata().ok()?.len())).sum()
}

/// Bytes that are kept of what the workload wrote.
fn kept(agent: &Agent, engine: &str, workload: &str) -> u64 {
    if engine == "process" {
        let dirs = native::of_workload(agent.data(), workload);
        return dirs.iter().map(|dir| size_of(dir, "log")).sum();
    }
    let told = Engine::named(engine).inspect(&agent.container(workload));
    let path = told["LogPath"].as_str().expect("a path").to_owned();
    let path = Path::new(&path);
    let name = path.file_name().expect("a name").to_string_lossy();
    size_of(path.parent().expect("a directory"), &name)
}

/// Runs `script`, which writes `last` in a line of its own in the end and stays; `meanwhile` runs
/// beside it.
fn flood(engine: &'static str, script: &str, meanwhile: impl FnOnce(&Fleet)) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    let before = peak_kib(agent.daemon.pid());
    let keys = format!("logs = {{ max_size = {MAX_SIZE}, max_files = {MAX_FILES} }}\n");
    let script = format!("{script}; echo; echo last; exec sleep 86400");
    fleet.apply(&shell("flood", engine, &script, &keys)).done();
    fleet.wait_running("flood");
    fleet.cli(["command", "ping", &agent.name]).done();
    meanwhile(&fleet);
    wait_until("all of it is written", || {
        let tail = fleet.cli(["logs", "flood", "-n", "1"]);
        tail.code == 0 && tail.out.trim_end() == "last"
    });

    let kept = kept(&agent, engine, "flood");
    let most = MAX_FILES * (MAX_SIZE + PIECE);
    assert!(kept > 0 && kept <= most, "{kept} bytes are kept");
    let tail = fleet.command().args(["logs", "flood", "-n", "5"]).output();
    let tail = tail.expect("fleetctl logs");
    assert!(tail.status.success(), "{tail:?}");
    let text = String::from_utf8(tail.stdout).expect("what it prints is text");
    let lines = text.lines().count();
    assert!((1..=5).contains(&lines), "{lines} lines");
    assert_eq!(text.lines().last(), Some("last"));

    let after = peak_kib(agent.daemon.pid());
    assert!(
        after <= before + GROWTH_KIB,
        "from {before} to {after} KiB at most"
    );
    let shown = fleet.wait_running("flood");
    assert_eq!(shown["restarts"], 0, "{shown}");
    bystander.is_untouched(&fleet, &agent);
}

fn nothing(_: &Fleet) {}

#[test]
fn a_gigabyte_without_line_ends_of_a_process_is_capped() {
    flood("process", &endless_line(1024), nothing);
}

/// Of `count` megabytes.
fn endless_line(count: u32) -> String {
    format!("dd if=/dev/zero bs=1M count={count} 2>/dev/null | tr '\\0' x")
}

#[test]
fn a_gigabyte_without_line_ends_of_a_docker_container_is_capped() {
    flood("docker", &endless_line(1024), nothing);
}

/// Podman's monitor takes several times as long for a line that does not end.
#[test]
fn a_hundred_megabytes_without_line_ends_of_a_podman_container_are_capped() {
    flood("podman", &endless_line(100), nothing);
}

const BINARY: &str = "head -c 16777216 /dev/urandom";

#[test]
fn binary_output_of_a_process_is_capped_and_shown_as_text() {
    flood("process", BINARY, nothing);
}

#[test]
fn binary_output_of_a_docker_container_is_capped_and_shown_as_text() {
    flood("docker", BINARY, nothing);
}

#[test]
fn binary_output_of_a_podman_container_is_capped_and_shown_as_text() {
    flood("podman", BINARY, nothing);
}

/// Ten times a second a megabyte in lines of a hundred bytes, for some seconds.
const FAST: &str = "line=$(printf '%099d' 0); i=0; while [ $i -lt 40 ]; do \
                    yes $line | head -n 10000; i=$((i+1)); sleep 0.1; done";

/// Follows the lines, and does other things on the node meanwhile.
fn followed(fleet: &Fleet) {
    let mut follower: Command = fleet.command();
    follower
        .args(["logs", "flood", "--follow"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut follower = follower.spawn().expect("fleetctl logs");
    for n in 0..3 {
        let name = format!("beside-{n}");
        let text = sleeping(&name);
        fleet.apply_wait(&text).done();
        fleet.cli(["rm", &name, "--wait"]).done();
    }
    let ended = follower.try_wait().expect("our own child");
    assert_eq!(ended, None, "it follows as long as it is wanted");
    let _ = follower.kill();
    let _ = follower.wait();
    let all = fleet.instances();
    assert!(all.iter().all(|i| i["state"] == "running"), "{all:?}");
}

#[test]
fn ten_megabytes_a_second_of_a_process_slow_nobody_down() {
    flood("process", FAST, followed);
}

#[test]
fn ten_megabytes_a_second_of_a_docker_container_slow_nobody_down() {
    flood("docker", FAST, followed);
}
