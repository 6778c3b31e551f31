//! kill -9 of the controller, its broker included, while people change things.

use super::harness::{Fleet, manifests::sleeping, native, wait_until};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Enough for ten kills in a row, and not so many that the machine is busy with them.
const MOST: usize = 40;

#[test]
fn no_accepted_change_is_lost_and_nothing_restarts_over_ten_kills() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("steady")).done();
    let steady = agent.process("steady");

    let accepted = Arc::new(Mutex::new(Vec::new()));
    let enough = Arc::new(AtomicBool::new(false));
    let begin = fleet.manifest("load", "");
    let mut commands: Vec<_> = (0..MOST)
        .map(|n| {
            let name = format!("load-{n}");
            let path = begin.with_file_name(format!("{name}.toml"));
            std::fs::write(&path, sleeping(&name)).expect("a manifest");
            let mut command = fleet.command();
            command.args(["apply", "-y", "-f"]).arg(path);
            (name, command)
        })
        .collect();
    let load = {
        let (accepted, enough) = (accepted.clone(), enough.clone());
        thread::spawn(move || {
            for (name, command) in &mut commands {
                // Until it is accepted: who is refused tries again.
                while !enough.load(Ordering::Relaxed) {
                    if super::harness::Ran::of(command).code == 0 {
                        accepted.lock().expect("no panic").push(name.clone());
                        break;
                    }
                }
            }
        })
    };
    for round in 0..10 {
        let before = accepted.lock().expect("no panic").len();
        wait_until("one more change is accepted", || {
            let now = accepted.lock().expect("no panic").len();
            now > before || now == MOST
        });
        fleet.controller.kill9();
        assert!(steady.child.lives(), "round {round}");
        fleet.restart();
    }
    enough.store(true, Ordering::Relaxed);
    load.join().expect("the load");

    fleet.wait_node(&agent.name, "online");
    let accepted = accepted.lock().expect("no panic").clone();
    assert!(accepted.len() >= 10, "{accepted:?}");
    for name in accepted.iter().map(String::as_str).chain(["steady"]) {
        let shown = fleet.wait_running(name);
        assert_eq!(shown["restarts"], 0, "{shown}");
        let directories = native::of_workload(agent.data(), name);
        assert_eq!(directories.len(), 1, "one instance only: {directories:?}");
    }
    assert_eq!(agent.process("steady"), steady);
}

#[test]
fn a_change_that_was_accepted_right_before_the_kill_is_there_after_it() {
    let mut fleet = Fleet::start();
    for n in 0..3 {
        let name = format!("last-{n}");
        fleet.apply(&sleeping(&name)).done();
        fleet.controller.kill9();
        fleet.restart();
        let all = fleet.cli(["workload", "ls", "-o", "json"]).done().json();
        let all = all.as_array().cloned().unwrap_or_default();
        assert!(
            all.iter().any(|w| w["name"] == name.as_str()),
            "{name} in {all:?}"
        );
        assert_eq!(all.len(), n + 1);
    }
}
