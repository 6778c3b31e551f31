//! What needs no controller: checking configuration, completion, wrong usage.

use super::harness::{Ran, fleetctl};
use std::{fs, path::Path};

fn run(args: &[&str]) -> Ran {
    Ran::of(fleetctl().args(args))
}

#[test]
fn the_configuration_files_that_are_shipped_are_fine() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for role in ["agent", "broker", "controller"] {
        let path = dir.join(format!("{role}.toml"));
        let path = path.to_str().expect("a plain path");
        let said = run(&["config", "check", path]).done();
        assert!(said.out.contains(&format!("fine ({role})")), "{said:?}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_shown_with_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("wrong.toml");
    let text = "[agent]\nnmae = \"x\"\nparallel_pulls = 99\n[bogus]\n";
    fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a plain path");
    let said = run(&["config", "check", path]).failed(1, &[]);
    for (place, what) in [
        ("wrong.toml:2:1", "unknown key `nmae`"),
        ("wrong.toml:3:18", "`parallel_pulls` must be from 1 to 16"),
        ("wrong.toml:4:2", "unknown key `bogus`"),
    ] {
        assert!(said.err.contains(place), "{place} in {}", said.err);
        assert!(said.err.contains(what), "{what} in {}", said.err);
    }
    // A role does not start from it either.
    run(&["agent", "--config", path]).failed(1, &["unknown key `nmae`"]);
}

#[test]
fn completion_scripts_name_the_program() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]).done().out;
        assert!(script.contains("fleetctl"), "{shell}: {script}");
    }
    assert_ne!(run(&["completion", "no-such-shell"]).code, 0);
}

#[test]
fn wrong_usage_exits_with_2_and_an_absent_controller_with_1() {
    assert_eq!(run(&["no-such-verb"]).code, 2);
    assert_eq!(run(&["apply"]).code, 2);
    let port = super::harness::Port::take();
    let url = format!("http://{}", port.local());
    let said = run(&["--url", &url, "--token", "x", "ps"]).failed(1, &["cannot be reached"]);
    assert!(said.err.contains(&url), "{said:?}");
}
