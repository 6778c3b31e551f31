//! Python callables: parameters, output, exceptions.

use super::harness::{Agent, Fleet, wait_until};
use serde_json::Value;
use std::fs;

const JOBS: &str = r#"
import time


def report(plant, limits, dry_run=False):
    print(f"report of {plant} up to {limits['temperature']} dry {dry_run}")


async def later(number):
    import asyncio
    await asyncio.sleep(0.01)
    print(f"later {number}")


def broken(what):
    print("before it breaks")
    raise ValueError(what)


class Line:
    @staticmethod
    def watch():
        print("watching")
        time.sleep(86400)
"#;

/// A fleet with one node, and the directory of a package `plant.jobs`.
fn start() -> (Fleet, Agent, String) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let package = fleet.dir().join("python/plant");
    fs::create_dir_all(&package).expect("a package");
    fs::write(package.join("__init__.py"), "").expect("a package");
    fs::write(package.join("jobs.py"), JOBS).expect("a module");
    let path = fleet.dir().join("python").display().to_string();
    (fleet, agent, path)
}

fn callable(name: &str, callable: &str, path: &str, keys: &str) -> String {
    format!(
        "[workload.{name}]\npython = \"{callable}\"\npython_path = [\"{path}\"]\n\
         stop_timeout = \"1s\"\n{keys}"
    )
}

/// Keys of what runs once.
const ONCE: &str = "type = \"script\"\nmax_runs = 1\n";

fn ended(fleet: &Fleet, workload: &str, state: &str) -> Value {
    fleet.wait_instance(workload, state, |i| i["state"] == state)
}

fn wait_said(fleet: &Fleet, workload: &str, text: &str) {
    wait_until(&format!("{workload} says {text}"), || {
        fleet.cli(["logs", workload]).out.contains(text)
    });
}

#[test]
fn a_callable_gets_its_params_as_keyword_arguments() {
    let (fleet, agent, path) = start();
    let params = "params = { plant = \"{{ node.name }}\", limits = { temperature = 70.5 } }\n";
    let text = [
        callable(
            "report",
            "plant.jobs:report",
            &path,
            &format!("{ONCE}{params}"),
        ),
        callable(
            "later",
            "plant.jobs:later",
            &path,
            &format!("{ONCE}params = {{ number = 7 }}\n"),
        ),
        callable("watch", "plant.jobs:Line.watch", &path, ""),
    ];
    fleet.apply(&text.concat()).done();
    for name in ["report", "later"] {
        let shown = ended(&fleet, name, "completed");
        assert_eq!(shown["exit_code"], 0, "{shown}");
        assert_eq!(shown["runtime"], "process", "{shown}");
    }
    let said = format!("report of {} up to 70.5 dry False", agent.name);
    wait_said(&fleet, "report", &said);
    wait_said(&fleet, "later", "later 7");
    fleet.wait_running("watch");
    wait_said(&fleet, "watch", "watching");
    let process = agent.process("watch");
    fleet.cli(["workload", "stop", "watch", "--wait"]).done();
    assert!(!process.child.lives());
}

#[test]
fn an_exception_is_shown_with_its_traceback() {
    let (fleet, _agent, path) = start();
    let params = "params = { what = \"boom\" }\n";
    let delays = "[workload.again.restart]\ndelay = \"100ms\"\n";
    let text = [
        callable(
            "once",
            "plant.jobs:broken",
            &path,
            &format!("{ONCE}{params}"),
        ),
        callable(
            "again",
            "plant.jobs:broken",
            &path,
            &format!("{params}{delays}"),
        ),
    ];
    fleet.apply(&text.concat()).done();
    for (name, state) in [("once", "failed"), ("again", "crashloop")] {
        let shown = ended(&fleet, name, state);
        assert_eq!(shown["exit_code"], 1, "{shown}");
        let reason = shown["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("ValueError: boom"), "{shown}");
        let error = shown["last_error"].as_str().unwrap_or_default();
        for word in ["Traceback", "jobs.py", "in broken", "ValueError: boom"] {
            assert!(error.contains(word), "{word} in {shown}");
        }
    }
    wait_said(&fleet, "once", "before it breaks");
    let show = fleet.cli(["workload", "show", "once"]).done().out;
    assert!(show.contains("in broken"), "{show}");
}

#[test]
fn what_cannot_be_called_is_said_in_words() {
    let (fleet, _agent, path) = start();
    let cases = [
        ("module", "plant.no_such:run", "no module `plant.no_such`"),
        (
            "function",
            "plant.jobs:no_such",
            "`plant.jobs` has no `no_such`",
        ),
        ("params", "plant.jobs:broken", "does not take these params"),
    ];
    let workload = |(name, what, _): &(&str, &str, &str)| callable(name, what, &path, ONCE);
    let text: String = cases.iter().map(workload).collect();
    fleet.apply(&text).done();
    for (name, _, said) in cases {
        let shown = ended(&fleet, name, "failed");
        let reason = shown["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(said), "{said} in {shown}");
    }
}
