//! Programs that want more than they may have: processes without end, memory, and time after they
//! were told to end.

use super::Bystander;
use crate::e2e::harness::{
    Fleet,
    manifests::{container, image as image_of, shell, sleeping},
    wait_until,
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

/// A stop with a grace of a second takes no longer, on a machine that does other things too.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// Processes of a user; those that have ended and were not asked after count too, as the limit
/// counts them.
fn of_user(uid: u32) -> usize {
    let entries = fs::read_dir("/proc").expect("a listing").flatten();
    let pids = entries.filter(|e| e.file_name().to_string_lossy().parse::<u64>().is_ok());
    pids.filter(|e| e.metadata().is_ok_and(|found| found.uid() == uid))
        .count()
}

const PIDS: usize = 20;

/// Forks until it may not any more, and again when it may. Its first process stays and, as the
/// first of a container, ignores SIGTERM.
const BOMB: &str = "b() { while :; do (b) & done; }; b & exec sleep 86400";

/// The same with everything that a process has for hiding: no SIGTERM, sessions of their own.
const HIDING_BOMB: &str = "import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
";

/// `uid` belongs to this test alone, on the whole machine.
fn bomb(engine: &'static str, uid: u32) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    let keys = format!(
        "user = \"{uid}\"\nstop_timeout = \"1s\"\n[workload.bomb.resources]\npids = {PIDS}\n"
    );
    let text = match engine {
        "process" => {
            let python = format!("command = [\"/usr/bin/python3\", \"-c\", {HIDING_BOMB:?}]");
            format!("[workload.bomb]\n{python}\nworking_dir = \"/\"\n{keys}")
        }
        _ => shell("bomb", engine, BOMB, &keys),
    };
    fleet.apply(&text).done();
    let mut most = 0;
    wait_until("it has all the processes that it may have", || {
        most = most.max(of_user(uid));
        most >= PIDS
    });
    assert_eq!(most, PIDS, "and not one more");

    // Others come and go.
    let mut others = sleeping("other");
    if engine != "process" {
        others += &container("another", engine, "1");
    }
    fleet.apply_wait(&others).done();
    bystander.is_untouched(&fleet, &agent);
    assert!(of_user(uid) <= PIDS);

    let began = Instant::now();
    fleet.cli(["workload", "stop", "bomb", "--wait"]).done();
    let took = began.elapsed();
    assert!(took < STOPPED_WITHIN, "{took:?}");
    wait_until("nothing of it is left", || of_user(uid) == 0);
    fleet.cli(["rm", "bomb", "--wait"]).done();
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_fork_bomb_in_a_process_stays_within_its_limit_and_can_be_stopped() {
    bomb("process", 54_361);
}

#[test]
fn a_fork_bomb_in_a_docker_container_stays_within_its_limit_and_can_be_stopped() {
    bomb("docker", 54_362);
}

#[test]
fn a_fork_bomb_in_a_podman_container_stays_within_its_limit_and_can_be_stopped() {
    bomb("podman", 54_363);
}

/// Wants far more than it may have.
fn hog(engine: &'static str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    let (limit, command) = match engine {
        // Python alone takes some.
        "process" => (
            "128MiB",
            "[\"/usr/bin/python3\", \"-c\", \"bytearray(1 << 30)\"]",
        ),
        _ => (
            "16MiB",
            "[\"/bin/dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=256M\"]",
        ),
    };
    let image = match engine {
        "process" => String::new(),
        _ => format!("image = \"{}\"\nengine = \"{engine}\"\n", image_of(engine)),
    };
    let text = format!(
        "[workload.hog]\n{image}command = {command}\n[workload.hog.resources]\nmemory = \
         \"{limit}\"\n[workload.hog.restart]\npolicy = \"never\"\n"
    );
    fleet.apply(&text).done();
    // Where there is no memory cgroup for processes, it is told so by its own allocator and says
    // it with its last words.
    let shown = fleet.wait_instance("hog", "ends, and says for want of what", |i| {
        let said = ["reason", "last_error", "last_output"].map(|key| i[key].to_string());
        let memory = said.iter().any(|s| s.to_lowercase().contains("memory"));
        i["state"] == "failed" && memory
    });
    assert_ne!(shown["exit_code"], 0, "{shown}");
    if engine != "process" {
        let reason = shown["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("16 MiB of memory"), "{shown}");
    }
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_process_that_wants_too_much_memory_ends_alone_and_says_so() {
    hog("process");
}

#[test]
fn a_docker_container_that_wants_too_much_memory_ends_alone_and_says_so() {
    hog("docker");
}

#[test]
fn a_podman_container_that_wants_too_much_memory_ends_alone_and_says_so() {
    hog("podman");
}

/// SIGTERM, a grace of a second, SIGKILL.
fn stubborn(engine: &'static str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    fleet
        .apply_wait(&shell("stubborn", engine, script, ""))
        .done();
    wait_until("it does not listen any more", || {
        fleet.cli(["logs", "stubborn"]).out.contains("up")
    });
    let began = Instant::now();
    fleet.cli(["workload", "stop", "stubborn", "--wait"]).done();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1),
        "its grace is its own: {took:?}"
    );
    assert!(took < STOPPED_WITHIN, "{took:?}");
    let shown = fleet.instance("stubborn").expect("it is listed");
    assert_eq!(shown["state"], "stopped", "{shown}");
    fleet
        .cli(["workload", "start", "stubborn", "--wait"])
        .done();
    let began = Instant::now();
    fleet.cli(["rm", "stubborn", "--wait"]).done();
    assert!(began.elapsed() < STOPPED_WITHIN);
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_its_grace() {
    stubborn("process");
}

#[test]
fn a_docker_container_that_ignores_sigterm_is_killed_after_its_grace() {
    stubborn("docker");
}

#[test]
fn a_podman_container_that_ignores_sigterm_is_killed_after_its_grace() {
    stubborn("podman");
}
