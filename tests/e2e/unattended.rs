//! What is used where nobody types: health checks of containers, tokens that are left in files.

use super::harness::{Fleet, Ran, fleetctl};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn readiness_is_asked_without_a_token_and_said_by_the_exit_code() {
    let mut fleet = Fleet::start();
    let ask = |fleet: &Fleet| {
        let mut check = fleetctl();
        check.args(["check", "--ready"]);
        check
            .env("FLEETCTL_URL", fleet.origin())
            .env("HOME", "/nowhere");
        // One that was revoked says nothing of the controller's health.
        Ran::of(check.env("FLEETCTL_TOKEN", "revoked"))
    };
    let ran = ask(&fleet).done();
    assert_eq!((ran.out, ran.err), (String::new(), String::new()));
    fleet.controller.kill9();
    ask(&fleet).failed(1, &["cannot be reached"]);
}

#[test]
fn a_token_is_left_in_a_file_once_and_made_anew_when_it_is_not_taken_any_more() {
    let fleet = Fleet::start();
    let path = fleet.dir().join("join");
    let file = path.to_str().expect("a path");
    let create = [
        "token", "create", "--kind", "join", "--name", "kept", "--file", file,
    ];
    let read = || fs::read_to_string(&path).expect("the token");
    let kept = || {
        let all = fleet.cli(["token", "ls", "-o", "json"]).done().json();
        let all = all.as_array().expect("a list").clone();
        all.into_iter()
            .filter(|t| t["name"] == "kept")
            .collect::<Vec<_>>()
    };

    let ran = fleet.cli(create).done();
    assert_eq!(ran.out, "", "a token must not be shown beside its file");
    let first = read();
    assert!(first.starts_with("fleetjoin"), "{first}");
    let mode = fs::metadata(&path).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fleet.cli(create).done();
    assert_eq!(read(), first);
    assert_eq!(kept().len(), 1);

    let id = kept()[0]["id"].as_str().expect("an id").to_owned();
    fleet.cli(["token", "revoke", &id, "-y"]).done();
    fleet.cli(create).done();
    assert_ne!(read(), first);

    // Of another fleet, or no token at all: not taken here.
    fs::write(&path, "something else\n").expect("a file");
    fleet.cli(create).done();
    assert!(read().starts_with("fleetjoin"));

    fleet
        .cli(["token", "create", "--kind", "api", "--file", file])
        .failed(2, &["--kind join"]);
}

#[test]
fn an_api_token_can_be_read_from_a_file() {
    let fleet = Fleet::start();
    let path = fleet.data.join("admin.token");
    let with = |path: &str| {
        let mut ls = fleetctl();
        ls.args(["node", "ls", "--token-file", path])
            .env("HOME", "/nowhere");
        Ran::of(ls.env("FLEETCTL_URL", fleet.origin()))
    };
    with(path.to_str().expect("a path")).done();
    with("/nowhere/token").failed(1, &["/nowhere/token"]);
}
