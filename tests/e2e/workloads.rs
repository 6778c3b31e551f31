//! A workload's life: apply, look, read its logs, stop, start, restart, change, remove.

use super::harness::{
    Agent, Fleet,
    manifests::{container, counting, sleeping},
    native, wait_until,
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

#[test]
fn a_process_is_applied_and_shown_as_it_is() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1.2.0")).done();
    let all = fleet.cli(["ps", "-o", "json"]).done().json();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    let shown = &all[0];
    for (field, value) in [
        ("workload", "ticker"),
        ("node", agent.name.as_str()),
        ("state", "running"),
        ("runtime", "process"),
        ("version", "1.2.0"),
        ("reason", ""),
    ] {
        assert_eq!(shown[field], value, "{field} of {shown}");
    }
    assert_eq!(shown["restarts"], 0);
    assert!(agent.process("ticker").child.lives());
}

#[test]
fn the_same_manifest_again_changes_nothing() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let before = agent.process("still");
    let said = fleet.apply_wait(&sleeping("still")).done();
    assert!(said.out.contains("unchanged"), "{said:?}");
    assert_eq!(agent.process("still"), before);
}

#[test]
fn logs_have_a_tail_and_can_be_followed() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    wait_until("there are a few lines", || {
        fleet.cli(["logs", "ticker"]).done().out.lines().count() >= 5
    });
    let tail = fleet.cli(["logs", "ticker", "-n", "2"]).done().out;
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines.len(), 2, "{tail}");
    assert!(lines.iter().all(|l| l.starts_with("1 line ")), "{tail}");

    let follow = Follow::start(&fleet, "ticker");
    follow.expect_in_row(10);
}

#[test]
fn followed_logs_lose_and_double_nothing_over_restarts() {
    let mut fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let follow = Follow::start(&fleet, "ticker");
    let first = follow.expect_in_row(3);
    agent.daemon.kill9();
    agent.launch_again();
    let second = follow.expect_in_row(30);
    assert_eq!(second, first + 3);
    fleet.controller.kill9();
    fleet.launch_again();
    assert_eq!(follow.expect_in_row(30), second + 30);
}

/// `logs --follow` of a workload that counts its lines.
struct Follow {
    child: Child,
    numbers: mpsc::Receiver<u32>,
}

impl Follow {
    fn start(fleet: &Fleet, workload: &str) -> Follow {
        let mut command = fleet.command();
        command
            .args(["logs", workload, "-n", "1", "--follow"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("fleetctl logs");
        let (send, numbers) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("its output"));
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let number = line.rsplit(' ').next().and_then(|n| n.parse::<u32>().ok());
                if number.is_none_or(|n| send.send(n).is_err()) {
                    return;
                }
            }
        });
        Follow { child, numbers }
    }

    /// So many lines, every one once and in order; the number of the first.
    fn expect_in_row(&self, count: u32) -> u32 {
        let next = || self.numbers.recv_timeout(super::harness::PATIENCE);
        let got: Vec<u32> = (0..count).map(|_| next().expect("a new line")).collect();
        let expected: Vec<u32> = (got[0]..got[0] + count).collect();
        assert_eq!(got, expected, "every line once, in order");
        got[0]
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lives_through_its_verbs(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board");
    let agent = match engine {
        "docker" => agent.docker(),
        _ => agent.podman(),
    };
    let agent: Agent = agent.start();
    fleet.apply_wait(&container("web", engine, "1")).done();
    let shown = fleet.wait_running("web");
    assert_eq!(shown["runtime"], engine);
    let first = agent.container("web");
    assert_eq!(shown["handle"], first.as_str());
    wait_until("it said hello", || {
        fleet.cli(["logs", "web"]).done().out.contains("hello 1")
    });

    fleet.cli(["workload", "stop", "web", "--wait"]).done();
    let stopped = fleet.instance("web").expect("it stays in the list");
    assert_eq!(stopped["state"], "stopped");
    assert!(agent.containers().is_empty(), "nothing runs");

    fleet.cli(["workload", "start", "web", "--wait"]).done();
    fleet.wait_running("web");
    let second = agent.container("web");
    let hellos = || fleet.cli(["logs", "web"]).out.matches("hello 1").count();
    wait_until("it said hello again", || hellos() >= 1);

    let said = hellos();
    fleet.cli(["workload", "restart", "web"]).done();
    wait_until("it says hello once more, or another one does", || {
        let now = agent.containers().remove("web");
        hellos() > said || now.is_some_and(|id| id != second)
    });
    fleet.wait_running("web");

    let before = agent.container("web");
    fleet.apply_wait(&container("web", engine, "2")).done();
    let shown = fleet.wait_running("web");
    assert_eq!(shown["version"], "2");
    let after = agent.container("web");
    assert_ne!(after, before, "version 2 replaces version 1");
    assert_eq!(agent.containers().len(), 1, "and nothing of it stays");

    fleet.cli(["rm", "web", "--wait"]).done();
    assert!(agent.containers().is_empty());
    assert_eq!(fleet.instances(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_docker_container_lives_through_all_its_verbs() {
    lives_through_its_verbs("docker");
}

#[test]
fn a_podman_container_lives_through_all_its_verbs() {
    lives_through_its_verbs("podman");
}

#[test]
fn a_process_is_stopped_started_restarted_replaced_and_removed() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let first = agent.process("ticker");

    fleet.cli(["workload", "stop", "ticker", "--wait"]).done();
    assert!(!first.child.lives(), "the program has ended");
    assert_eq!(
        fleet.instance("ticker").expect("listed")["state"],
        "stopped"
    );

    fleet.cli(["workload", "start", "ticker", "--wait"]).done();
    let second = agent.process("ticker");
    assert_ne!(second, first);

    fleet.cli(["workload", "restart", "ticker"]).done();
    wait_until("another process runs", || agent.process("ticker") != second);

    fleet.apply_wait(&counting("ticker", "2")).done();
    assert_eq!(fleet.wait_running("ticker")["version"], "2");
    wait_until("it is version 2 that writes", || {
        let tail = fleet.cli(["logs", "ticker", "-n", "1"]);
        tail.done().out.starts_with("2 line ")
    });

    let last = agent.process("ticker");
    fleet.cli(["rm", "ticker", "--wait"]).done();
    wait_until("its process has ended", || !last.child.lives());
    wait_until("nothing of it is on the disk", || {
        native::of_workload(agent.data(), "ticker").is_empty()
    });
}

#[test]
fn plan_tells_by_its_exit_code_whether_there_is_something_to_do() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    let path = fleet.manifest("app", &sleeping("still"));
    let path = path.to_str().expect("a plain path");
    let plan = ["plan", "-f", path];
    let changes = fleet.cli(plan);
    assert_eq!(changes.code, 1, "{changes:?}");
    assert!(changes.out.contains("+ still"), "{changes:?}");
    assert_eq!(fleet.instances().len(), 0, "a plan changes nothing");
    fleet.apply_wait(&sleeping("still")).done();
    assert_eq!(fleet.cli(plan).code, 0);
    fleet.manifest("app", "[workload.still]\ncomand = [\"x\"]\n");
    fleet.cli(plan).failed(2, &["unknown key `comand`"]);
    fleet
        .cli(["plan", "-f", "/no/such/file.toml"])
        .failed(2, &["/no/such/file.toml"]);
}

#[test]
fn every_mistake_of_a_manifest_is_shown_with_its_place_and_nothing_is_applied() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    let text = "[workload.good]\ncommand = [\"/bin/sleep\", \"60\"]\n\
                [workload.Bad_Name]\ncommand = \"x\"\n\
                [workload.typo]\ncomand = [\"x\"]\n\
                [workload.port]\nimage = \"a:1\"\nports = [\"8080:99999\"]\n";
    let said = fleet.apply(text).failed(1, &[]);
    for (place, what) in [
        ("applied.toml:3:11", "`Bad_Name` is not a name"),
        ("applied.toml:4:11", "`command` must be an array"),
        ("applied.toml:5:1", "nothing to run"),
        ("applied.toml:6:1", "unknown key `comand`"),
        ("applied.toml:9:10", "`99999` is not a port"),
    ] {
        assert!(said.err.contains(place), "{place} in {}", said.err);
        assert!(said.err.contains(what), "{what} in {}", said.err);
    }
    let all = fleet.cli(["workload", "ls", "-o", "json"]).done().json();
    assert_eq!(all, serde_json::json!([]), "not even the good one");
}

#[test]
fn without_yes_and_without_a_person_apply_refuses() {
    let fleet = Fleet::start();
    let path = fleet.manifest("app", &sleeping("still"));
    let path = path.to_str().expect("a plain path");
    fleet.cli(["apply", "-f", path]).failed(2, &["-y"]);
}
