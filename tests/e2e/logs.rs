//! `fleetctl logs`: which lines, of which instances, and that none is lost or shown twice.

use super::harness::{Fleet, PATIENCE, manifests::counting, wait_until};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

/// A native process that writes one line to each of its outputs, then stays.
fn talking(name: &str) -> String {
    let script = "echo to-out; echo to-err >&2; exec sleep 86400";
    format!(
        "[workload.{name}]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nstop_timeout = \"1s\"\n"
    )
}

/// A command that goes on, and its lines as they come.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<String>,
    notices: mpsc::Receiver<String>,
}

fn lines_of(from: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Watch {
    fn start(fleet: &Fleet, args: &[&str]) -> Watch {
        let mut command = fleet.command();
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("fleetctl");
        let lines = lines_of(child.stdout.take().expect("its output"));
        let notices = lines_of(child.stderr.take().expect("what it says"));
        Watch {
            child,
            lines,
            notices,
        }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    /// The number at the end of the next line.
    fn number(&self) -> u64 {
        let line = self.next();
        let word = line.rsplit(' ').next().unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("no number: {line}"))
    }

    /// Reads on up to a number that is at least `least`; each one after `last` comes once.
    fn in_row(&self, mut last: u64, least: u64) -> u64 {
        while last < least {
            let next = self.number();
            assert_eq!(next, last + 1, "each line once, in order");
            last = next;
        }
        last
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_chosen_by_time_and_by_stream() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&talking("talker")).done();
    wait_until("both lines are there", || {
        fleet.cli(["logs", "talker"]).done().out.lines().count() == 2
    });
    let out = |args: &[&str]| {
        let words = ["logs", "talker"];
        fleet.cli(words.iter().chain(args)).done().out
    };
    assert_eq!(out(&["--stream", "stdout"]), "to-out\n");
    assert_eq!(out(&["--stream", "stderr"]), "to-err\n");
    assert_eq!(out(&["--stream", "stdout", "-n", "1"]), "to-out\n");
    assert_eq!(out(&["--since", "1h"]).lines().count(), 2);
    assert_eq!(out(&["--until", "1h"]), "");
    assert_eq!(out(&["--since", "2100-01-01T00:00:00Z"]), "");
    assert_eq!(out(&["--until", "2100-01-01"]).lines().count(), 2);
    assert_eq!(out(&["-n", "0"]), "");
    fleet
        .cli(["logs", "talker", "--since", "soon"])
        .failed(2, &["soon", "10m"]);
    fleet
        .cli(["logs", "talker", "-f", "--until", "1h"])
        .failed(2, &["--until"]);
    fleet.cli(["logs", "nothing"]).failed(1, &["nothing"]);
}

#[test]
fn since_and_until_cut_where_they_say() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let path = "/api/v1/workloads/ticker/logs";
    let cursors = |query: &str| -> Vec<u64> {
        let text = fleet.ask("GET", &format!("{path}?{query}"), None).text();
        let lines = text.lines().map(|l| serde_json::from_str(l).expect("JSON"));
        lines
            .map(|l: serde_json::Value| l["line"]["cursor"].as_str().map(str::to_owned))
            .map(|c| c.and_then(|c| c.parse().ok()).expect("a cursor"))
            .collect()
    };
    wait_until("there are a few lines", || cursors("tail=10").len() == 10);
    let all = cursors("tail=10");
    let (third, last) = (all[2], all[9]);
    let query = format!("since={third}&until={last}");
    assert_eq!(
        cursors(&query),
        all[3..9],
        "after the third, before the last"
    );
}

#[test]
fn several_instances_are_told_apart_and_in_order() {
    let fleet = Fleet::start();
    let (one, two) = (fleet.agent("one").start(), fleet.agent("two").start());
    let manifest = format!(
        "{}[workload.ticker.placement]\non = \"every\"\n{}",
        counting("ticker", "1"),
        talking("talker")
    );
    fleet.apply_wait(&manifest).done();
    let prefix = |agent: &super::harness::Agent| format!("[{}/ticker] 1 line ", agent.name);
    let both = || fleet.cli(["logs", "ticker", "talker", "-t"]).done().out;
    wait_until("all of them have written", || {
        let out = both();
        let ticks =
            |agent: &super::harness::Agent| out.contains(&format!("[{}/ticker]", agent.name));
        ticks(&one) && ticks(&two) && out.contains("/talker] ")
    });
    let out = fleet.cli(["logs", "ticker", "talker"]).done().out;
    assert!(out.contains(&prefix(&one)) && out.contains(&prefix(&two)));
    let timed = both();
    let times: Vec<&str> = timed
        .lines()
        .map(|l| l.split_once("] ").expect("a prefix").1)
        .map(|l| l.get(..19).expect("a time"))
        .collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    assert_eq!(times, sorted, "merged by time");

    let only = fleet
        .cli(["logs", "ticker", "--node", &two.name])
        .done()
        .out;
    assert!(!only.is_empty());
    assert!(only.lines().all(|l| l.starts_with("1 line ")), "{only}");

    let follow = Watch::start(&fleet, &["logs", "-f", "-n", "1", "ticker"]);
    let (mut of_one, mut of_two) = (0, 0);
    while of_one < 5 || of_two < 5 {
        let line = follow.next();
        of_one += u32::from(line.starts_with(&prefix(&one)));
        of_two += u32::from(line.starts_with(&prefix(&two)));
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_agents_and_nodes_come_and_go() {
    let fleet = Fleet::setup().impatient().start();
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let follow = Watch::start(&fleet, &["logs", "ticker", "-n", "1", "--follow"]);
    let mut last = follow.number();
    for _ in 0..3 {
        last = follow.in_row(last, last + 10);
        agent.daemon.kill9();
        agent.launch_again();
    }
    last = follow.in_row(last, last + 30);

    // Away for long enough that it is noticed.
    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    wait_until("it says what it waits for", || {
        let said: Vec<String> = follow.notices.try_iter().collect();
        said.iter()
            .any(|n| n.contains(&agent.name) && n.contains("waiting"))
    });
    agent.launch_again();
    follow.in_row(last, last + 100);
}

#[test]
fn a_follower_goes_on_with_the_instance_that_replaces_another() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let follow = Watch::start(&fleet, &["logs", "ticker", "-n", "0", "-f"]);
    let first = follow.number();
    follow.in_row(first, first + 5);
    fleet.apply_wait(&counting("ticker", "2")).done();
    let mut line = follow.next();
    while line.starts_with("1 line ") {
        line = follow.next();
    }
    assert_eq!(line, "2 line 1", "from its first line on");
    follow.in_row(1, 20);
}
