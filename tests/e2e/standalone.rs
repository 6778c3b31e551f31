//! Without a controller: a directory of manifests, control on the machine itself, single runs.

use super::harness::{
    Fleet, Ran, Standalone, fleetctl,
    manifests::{counting, image, sleeping},
    native, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::Stdio,
};

const YAML: &str = "name: timer\ntype: service\ncommand: [/bin/sleep, '86400']\n";

fn compose() -> String {
    let script = "trap 'exit 0' TERM; echo hello compose; while :; do sleep 0.1; done";
    format!(
        "services:\n  web:\n    image: {}\n    command: [/bin/sh, -c, \"{script}\"]\n    \
         stop_grace_period: 1s\n    depends_on: [cache]\n  cache:\n    image: {}\n    \
         command: [/bin/sh, -c, \"{script}\"]\n    stop_grace_period: 1s\n",
        image("docker"),
        image("docker")
    )
}

#[test]
fn toml_yaml_and_compose_run_side_by_side() {
    let files = [
        ("a.toml", sleeping("proc")),
        ("b.yaml", YAML.to_owned()),
        ("compose.yaml", compose()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let alone = Standalone::start_with_docker(&files);
    for name in ["proc", "timer", "web", "cache"] {
        alone.wait_state(name, "running");
    }
    alone.container("web");
    wait_until("what the container wrote is shown", || {
        alone.local(&["logs", "web"]).out.contains("hello compose")
    });
    let shown = alone.local(&["ps"]).done().out;
    for word in ["WORKLOAD", "timer", "process", "web", "docker", "running"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
}

#[test]
fn an_edit_touches_what_it_is_about_and_nothing_else() {
    let alone = Standalone::start(&[
        ("a.toml", &counting("changes", "1")),
        ("b.toml", &sleeping("stays")),
    ]);
    let (before, stays) = (alone.process("changes"), alone.process("stays"));
    alone.write("a.toml", &counting("changes", "2"));
    alone.wait_instance("changes", "has version 2", |i| {
        i["version"] == "2" && i["state"] == "running"
    });
    assert_ne!(alone.process("changes"), before);
    assert_eq!(alone.process("stays"), stays);

    alone.write("c.yml", YAML);
    alone.wait_state("timer", "running");
    alone.remove("a.toml");
    alone.wait_gone("changes");
    wait_until("its process has ended", || {
        native::running(&alone.data, "changes").is_none()
    });
    assert_eq!(alone.process("stays"), stays);
}

#[test]
fn a_broken_file_keeps_what_it_ran_and_says_what_is_wrong() {
    let alone = Standalone::start(&[
        ("a.toml", &sleeping("kept")),
        ("b.toml", &sleeping("other")),
    ]);
    let kept = alone.process("kept");
    alone.process("other");
    alone.write("a.toml", "[workload.kept]\ncommnad = [\"/bin/sleep\"]\n");
    let said = alone
        .local(&["reload"])
        .failed(1, &["a.toml:2:1", "commnad", "goes on"]);
    assert!(!said.err.contains("b.toml"), "{said:?}");
    // The others take effect.
    alone.write("b.toml", &sleeping("another"));
    alone.wait_state("another", "running");
    alone.wait_gone("other");
    assert_eq!(alone.process("kept"), kept);
    let status = alone.local(&["status", "-o", "json"]).done().json();
    assert_eq!(status["kept"][0], "kept", "{status}");
    let problems = status["problems"].as_array().expect("problems");
    assert!(problems.iter().any(|p| p["line"] == 2), "{status}");
    assert!(alone.log().contains("a.toml:2:1"), "{}", alone.log());

    alone.write("a.toml", &sleeping("kept"));
    alone.local(&["reload"]).done();
    let status = alone.local(&["status", "-o", "json"]).done().json();
    assert!(status.get("problems").is_none(), "{status}");
    assert_eq!(alone.process("kept"), kept);
}

#[test]
fn a_killed_agent_finds_everything_again_also_with_a_broken_file() {
    let mut alone =
        Standalone::start(&[("a.toml", &sleeping("one")), ("b.toml", &sleeping("two"))]);
    let (one, two) = (alone.process("one"), alone.process("two"));
    wait_until("the assignment is on the disk", || {
        fs::read_to_string(alone.data.join("assignment.json")).is_ok_and(|t| t.contains("two"))
    });
    alone.daemon.kill9();
    // As if the power had gone in the middle of an edit.
    fs::write(alone.dir.join("b.toml"), "[workload.two]\ncomm").expect("half a file");
    alone.launch_again();
    for (name, before) in [("one", one), ("two", two)] {
        let shown = alone.wait_state(name, "running");
        assert_eq!(shown["restarts"], 0, "{shown}");
        assert_eq!(alone.process(name), before);
    }
}

#[test]
fn a_machine_that_lost_power_runs_everything_again() {
    let mut alone = Standalone::start(&[("a.toml", &sleeping("one"))]);
    let before = alone.process("one");
    alone.daemon.kill9();
    before.kill9();
    wait_until("nothing runs", || !before.child.lives());
    alone.launch_again();
    alone.wait_state("one", "running");
    assert_ne!(alone.process("one"), before);
}

#[test]
fn workloads_are_stopped_started_and_restarted_on_the_node_itself() {
    let alone = Standalone::start(&[
        ("a.toml", &counting("ticker", "1")),
        ("b.toml", &sleeping("stays")),
    ]);
    let (first, stays) = (alone.process("ticker"), alone.process("stays"));
    let mode = fs::metadata(alone.socket())
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    alone.local(&["stop", "ticker"]).done();
    assert!(!first.child.lives(), "it is answered when it has stopped");
    alone.wait_state("ticker", "stopped");
    // A reading of the directory is no order to start it.
    alone.local(&["reload"]).done();
    alone.wait_state("ticker", "stopped");
    alone.local(&["start", "ticker"]).done();
    let second = alone.process("ticker");
    alone.local(&["restart", "ticker"]).done();
    wait_until("it is another process", || {
        native::running(&alone.data, "ticker").is_some_and(|now| now != second)
    });
    assert_eq!(alone.process("stays"), stays);

    alone
        .local(&["stop", "nobody"])
        .failed(1, &["nobody is not on"]);
    let said = alone.local(&["stop", "nobody", "ticker"]);
    assert_eq!(said.code, 1, "{said:?}");
    alone.wait_state("ticker", "stopped");
}

#[test]
fn logs_are_read_and_followed_over_a_replacement() {
    let alone = Standalone::start(&[("a.toml", &counting("ticker", "1"))]);
    wait_until("there are a few lines", || {
        let read = alone.local(&["logs", "ticker"]);
        read.code == 0 && read.out.lines().count() >= 5
    });
    let tail = alone.local(&["logs", "ticker", "-n", "2"]).done().out;
    assert_eq!(tail.lines().count(), 2, "{tail}");

    let socket = format!("--socket={}", alone.socket().display());
    let mut following = fleetctl()
        .args(["--local", &socket, "logs", "-f", "ticker"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a follower");
    let mut lines = BufReader::new(following.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().expect("more lines").expect("text");
    assert!(next().starts_with("1 line "));
    alone.write("a.toml", &counting("ticker", "2"));
    // Ends by the test's own time limit should the second one never come.
    while !next().starts_with("2 line 1") {}
    following.kill().expect("our own child");
    following.wait().expect("our own child");
    alone
        .local(&["logs", "nobody"])
        .failed(1, &["nobody is not on"]);
}

#[test]
fn down_stops_everything_and_ends_the_agent_and_a_start_brings_it_back() {
    let order = "[workload.web]\ncommand = [\"/bin/sleep\", \"86400\"]\nstop_timeout = \"1s\"\n\
                 depends_on = [\"db\"]\n";
    let mut alone = Standalone::start(&[("db.toml", &sleeping("db")), ("web.toml", order)]);
    let all = [alone.process("db"), alone.process("web")];
    alone.local(&["down"]).done();
    assert!(all.iter().all(|n| !n.child.lives()), "something still runs");
    assert!(alone.daemon.wait_end().success());
    assert!(!alone.socket().exists());
    alone
        .local(&["ps"])
        .failed(1, &["no agent answers", "agent.sock"]);

    alone.launch_again();
    alone.wait_state("web", "running");
    alone.process("db");
}

#[test]
fn sigterm_ends_the_agent_and_its_workloads_go_on() {
    let mut alone = Standalone::start(&[("a.toml", &sleeping("one"))]);
    let one = alone.process("one");
    assert!(alone.daemon.stop().success());
    assert!(one.child.lives());
}

#[test]
fn an_agent_of_a_fleet_answers_at_its_socket_too() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("one")).done();
    let one = agent.process("one");
    let socket = format!("--socket={}", agent.data().join("agent.sock").display());
    let local = |args: &[&str]| Ran::of(fleetctl().args(["--local", &socket]).args(args));
    let status = local(&["status", "-o", "json"]).done().json();
    assert_eq!(status["kind"], "joined", "{status}");
    assert_eq!(status["connected"], true, "{status}");
    local(&["reload"]).failed(1, &["fleetctl apply"]);
    local(&["down"]).done();
    assert!(!one.child.lives());
    fleet.wait_instance("one", "is stopped", |i| i["state"] == "stopped");
    local(&["start", "one"]).done();
    fleet.wait_running("one");
    // A data directory that belongs to a fleet is not taken from it.
    let data = agent.data().to_owned();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = agent;
    agent.daemon.stop();
    let args = [
        "agent".to_owned(),
        "--standalone".to_owned(),
        format!("--dir={}", dir.path().display()),
        format!("--data-dir={}", data.display()),
    ];
    Ran::of(fleetctl().args(&args)).failed(1, &["belongs to a fleet", "--data-dir"]);
}

#[test]
fn wrong_usage_is_said_in_a_sentence() {
    let run = |args: &[&str]| Ran::of(fleetctl().args(args));
    run(&["agent", "--dir=/tmp"]).failed(1, &["`dir` means nothing without `standalone`"]);
    run(&["agent", "--standalone"]).failed(1, &["needs a directory"]);
    run(&["agent", "--standalone", "--dir=/tmp", "--join=x"]).failed(1, &["exclude each other"]);
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let data = format!("--data-dir={}", tmp.path().join("agent").display());
    run(&["agent", "--standalone", "--dir=/does/not/exist", &data])
        .failed(1, &["/does/not/exist", "--dir"]);
    run(&["stop", "web"]).failed(2, &["--local", "`fleetctl workload stop web`"]);
    run(&["--local", "apply", "-f", "x.toml"]).failed(2, &["without --local"]);
    run(&["run", "web"]).failed(2, &["-f FILE or --dir DIR"]);
}

/// A manifest of one workload in a directory of its own, and where runs keep their things.
struct Once {
    tmp: tempfile::TempDir,
}

impl Once {
    fn of(text: &str) -> Once {
        let tmp = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(tmp.path().join("data")).expect("a data directory");
        fs::write(tmp.path().join("w.toml"), text).expect("a manifest");
        Once { tmp }
    }

    fn command(&self, workload: &str) -> std::process::Command {
        let mut command = fleetctl();
        command
            .args([
                "run",
                workload,
                "--docker-socket=off",
                "--podman-socket=off",
            ])
            .arg(format!(
                "--file={}",
                self.tmp.path().join("w.toml").display()
            ))
            .arg(format!("--data-dir={}", self.data().display()));
        command
    }

    fn data(&self) -> std::path::PathBuf {
        self.tmp.path().join("data")
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.data())
            .expect("the data directory")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn shell(script: &str, more: &str) -> String {
    format!(
        "[workload.job]\ntype = \"script\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}\n"
    )
}

#[test]
fn a_single_run_gives_its_output_and_its_exit_code() {
    let script = "echo out $FLEETCTL_NODE $KIND; echo err >&2; i=0; \
                  while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 7";
    let once = Once::of(&shell(
        script,
        "env = { KIND = \"{{ env.KIND_OF_RUN }}\" }\nschedule = \"0 3 * * *\"",
    ));
    let said = Ran::of(once.command("job").env("KIND_OF_RUN", "single"));
    assert_eq!(said.code, 7, "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 2_001, "not every line came");
    assert!(
        lines[0].starts_with("out ") && lines[0].ends_with(" single"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[2_000], "line 1999");
    assert!(said.err.lines().any(|l| l == "err"), "{}", said.err);
    assert!(
        said.err.contains("does not apply: schedule"),
        "{}",
        said.err
    );
    once.nothing_is_left();

    Ran::of(&mut once.command("jbo")).failed(1, &["there is no workload `jbo`", "job"]);
    Ran::of(once.command("job").env_remove("KIND_OF_RUN")).failed(1, &["env.KIND_OF_RUN"]);
}

#[test]
fn a_single_run_that_cannot_start_says_why() {
    let once = Once::of("[workload.job]\ncommand = [\"/does/not/exist\"]\n");
    Ran::of(&mut once.command("job")).failed(1, &["job cannot start", "/does/not/exist"]);
    once.nothing_is_left();
}

#[test]
fn ctrl_c_stops_a_single_run_gently_and_takes_everything_away() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let once = Once::of(&shell(script, "stop_timeout = \"20s\""));
    let log = once.tmp.path().join("log");
    let output = fs::File::create(&log).expect("a log file");
    let written = || fs::read_to_string(&log).unwrap_or_default();
    let mut command = once.command("job");
    let mut run = command.stdout(output).spawn().expect("a run");
    wait_until("it runs", || written().contains("ready"));
    kill_process(Pid::from_child(&run), Signal::INT).expect("a signal to our own child");
    let ended = run.wait().expect("our own child");
    assert_eq!(ended.code(), Some(130), "{ended:?} {}", written());
    assert!(written().contains("bye"), "{}", written());
    once.nothing_is_left();
}

#[test]
fn a_single_run_ends_at_its_timeout_also_when_it_ignores_sigterm() {
    let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let once = Once::of(&shell(script, "timeout = \"1s\"\nstop_timeout = \"0s\""));
    let said = Ran::of(&mut once.command("job"));
    assert_eq!(said.code, 124, "{said:?}");
    assert!(said.err.contains("timeout of 1s"), "{}", said.err);
    let pid = said.out.lines().next().expect("its pid");
    assert!(!Path::new("/proc").join(pid).exists(), "it still runs");
    once.nothing_is_left();
}

#[test]
fn a_single_run_whose_reader_goes_away_ends() {
    let once = Once::of(&shell("while :; do echo y; done", "stop_timeout = \"1s\""));
    let mut command = once.command("job");
    let mut run = command.stdout(Stdio::piped()).spawn().expect("a run");
    let mut lines = BufReader::new(run.stdout.take().expect("its output"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    drop(lines);
    let ended = run.wait().expect("our own child");
    assert_eq!(ended.code(), Some(141), "{ended:?} {:?}", ended.signal());
    once.nothing_is_left();
}
