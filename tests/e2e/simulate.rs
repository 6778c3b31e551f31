//! A simulated fleet: many nodes of one process against a real controller.

use super::harness::{Fleet, Ran, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

/// A simulation that goes on until it is told to end.
struct Simulation {
    child: Child,
    out: PathBuf,
    progress: PathBuf,
}

impl Simulation {
    fn start(fleet: &Fleet, flags: &[&str]) -> Simulation {
        let file = |name| fleet.dir().join(format!("{name}-{}", flags.len()));
        let (out, progress) = (file("report"), file("progress"));
        let open = |path| File::create(path).expect("a file for what it says");
        let child = fleet
            .command()
            .args([
                "simulate",
                "--ramp=1s",
                "--seed=7",
                "--settle=20s",
                "-o",
                "json",
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(open(&out))
            .stderr(open(&progress))
            .spawn()
            .expect("a simulation");
        Simulation {
            child,
            out,
            progress,
        }
    }

    /// Ctrl-C; how it ended.
    fn end(mut self) -> Ran {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("a signal to our own child");
        let status = wait_for("the simulation ends", || {
            self.child.try_wait().expect("the state of our own child")
        });
        Ran {
            code: status.code().unwrap_or(-1),
            out: std::fs::read_to_string(&self.out).unwrap_or_default(),
            err: self.said(),
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.progress).unwrap_or_default()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the simulation said ---\n{}", self.said());
        }
    }
}

fn nodes(fleet: &Fleet) -> Vec<Value> {
    let page = fleet.ask("GET", "/api/v1/nodes", None).json();
    page["items"].as_array().cloned().unwrap_or_default()
}

fn online(fleet: &Fleet) -> usize {
    let all = nodes(fleet);
    all.iter().filter(|n| n["state"] == "online").count()
}

/// Instances of the workload that are as they are wanted.
fn well(fleet: &Fleet, workload: &str) -> usize {
    let all = fleet.instances();
    let well = |i: &&Value| {
        i["workload"] == workload && i["state"] == "running" && i["up_to_date"] == true
    };
    all.iter().filter(well).count()
}

/// A container on every node; each end is made good at once.
fn everywhere(name: &str, version: &str) -> String {
    format!(
        "[workload.{name}]\nversion = \"{version}\"\nimage = \"simulated.invalid/app:{version}\"\n\
         [workload.{name}.health]\nhttp = \"http://127.0.0.1:9/\"\ninterval = \"1s\"\n\
         [workload.{name}.restart]\ndelay = \"1s\"\n\
         [workload.{name}.placement]\non = \"every\"\n"
    )
}

fn number(report: &Value, path: &str) -> u64 {
    let value = report.pointer(path);
    value
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {path} in {report}"))
}

#[test]
fn fifty_nodes_join_run_what_is_applied_bear_churn_and_leave() {
    let fleet = Fleet::start();
    let flags = [
        "--nodes=50",
        "--label=zone=a,b",
        "--profile=pi4,pc",
        "--start-time=20ms..200ms",
        "--churn=60%/min",
        "--crash=20%/min",
        "--fail=2%",
        "--away=1s..3s",
    ];
    let simulation = Simulation::start(&fleet, &flags);
    wait_until("all nodes have joined", || nodes(&fleet).len() == 50);
    wait_until("half of them are in zone a, by what they say", || {
        let path = "/api/v1/nodes?label=zone%3Da,arch%3Daarch64";
        let in_a = fleet.ask("GET", path, None).json();
        in_a["items"].as_array().map(Vec::len) == Some(25)
    });

    fleet.apply(&everywhere("app", "1")).done();
    wait_until("every node was told to run it", || {
        let all = fleet.instances();
        all.iter().filter(|i| i["workload"] == "app").count() == 50
    });
    wait_until("most of it runs, while some nodes are away", || {
        well(&fleet, "app") >= 40
    });
    wait_until("somebody lost its connection", || {
        fleet.controller.log().contains("node_offline") || online(&fleet) < 50
    });

    let ended = simulation.end().done();
    assert!(ended.err.contains("nodes 50 of 50 connected"), "{ended:?}");
    let report = ended.json();
    assert_eq!(report["converged"], true, "{report}");
    assert_eq!(
        report["controller"],
        json!({ "reachable": true, "converged": true, "problems": [] })
    );
    for (path, expected) in [
        ("/nodes", 50),
        ("/joined", 50),
        ("/connected", 50),
        ("/instances_wanted", 50),
        ("/instances_running", 50),
        ("/joined_in/count", 50),
        ("/seed", 7),
    ] {
        assert_eq!(number(&report, path), expected, "{path} in {report}");
    }
    assert!(number(&report, "/running_in/count") >= 50, "{report}");
    let (half, most) = (
        number(&report, "/running_in/p50_ms"),
        number(&report, "/running_in/max_ms"),
    );
    assert!(half >= 20 && half <= most, "{report}");
    let cut_off = number(&report, "/faults/cut_off");
    assert!(cut_off > 0, "{report}");
    assert!(number(&report, "/reconnects") >= cut_off, "{report}");
    assert!(number(&report, "/heartbeats") >= 50, "{report}");
    assert!(number(&report, "/process/rss") > 0, "{report}");
    assert_eq!(nodes(&fleet), Vec::<Value>::new(), "all have left");
}

#[test]
fn a_poisoned_version_is_not_called_converged_and_says_what_is_wrong() {
    let fleet = Fleet::start();
    let flags = ["--nodes=3", "--poison=2"];
    let simulation = Simulation::start(&fleet, &flags);
    wait_until("all nodes have joined", || online(&fleet) == 3);
    fleet.apply(&everywhere("app", "1")).done();
    wait_until("the good version runs", || well(&fleet, "app") == 3);
    fleet.apply(&everywhere("app", "2")).done();
    wait_until("the bad one fails", || {
        let all = fleet.instances();
        let failed = |i: &&Value| {
            let said = i["last_output"].to_string();
            said.contains("simulated poison")
        };
        all.iter().filter(failed).count() == 3
    });
    let ended = simulation.end();
    assert_eq!(ended.code, 1, "{ended:?}");
    let report = ended.json();
    assert_eq!(report["converged"], false, "{report}");
    assert!(number(&report, "/faults/poisoned") >= 3, "{report}");
    let problems = report["controller"]["problems"].to_string();
    assert!(problems.contains("app on sim-000"), "{report}");
}

#[test]
fn nodes_that_are_kept_go_on_where_they_were() {
    let fleet = Fleet::start();
    let state = fleet.dir().join("state");
    let token = fleet.join_token();
    let flags = |nodes: &'static str| {
        let state = format!("--state={}", state.display());
        ["--keep".to_owned(), nodes.to_owned(), state]
    };
    let run = || {
        let flags = flags("--nodes=2");
        let with = ["--ramp=0s", "--duration=3s", "--join", token.as_str()];
        let words = ["simulate", "-o", "json"].into_iter().chain(with);
        let words = words.chain(flags.iter().map(String::as_str));
        fleet.cli(words).done().json()
    };
    let first = run();
    assert_eq!(number(&first, "/joined"), 2, "{first}");
    let before: Vec<Value> = nodes(&fleet).iter().map(|n| n["key"].clone()).collect();
    assert_eq!(before.len(), 2);
    let second = run();
    assert_eq!(second["converged"], true, "{second}");
    let after: Vec<Value> = nodes(&fleet).iter().map(|n| n["key"].clone()).collect();
    assert_eq!(before, after, "the same nodes");
}

#[test]
fn without_a_controller_it_says_so() {
    let fleet = Fleet::start();
    fleet
        .cli(["simulate", "--nodes=1", "--url=http://127.0.0.1:9"])
        .failed(1, &["cannot be reached"]);
    fleet
        .cli(["simulate", "--nodes=1", "--churn=often"])
        .failed(2, &["is not a rate"]);
}
