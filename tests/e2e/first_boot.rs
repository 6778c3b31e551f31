//! A board that only has what a person wrote on its card.

use super::harness::{Daemon, Fleet, Ran, fleetctl, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

struct Board {
    dir: PathBuf,
}

impl Board {
    fn new(fleet: &Fleet, files: &[(&str, &str)]) -> Board {
        let dir = fleet.dir().join("board");
        fs::create_dir_all(dir.join("fleetctl-boot")).expect("a directory");
        let board = Board { dir };
        for (name, text) in files {
            fs::write(board.boot().join(name), text).expect("a file");
        }
        board
    }

    fn boot(&self) -> PathBuf {
        self.dir.join("fleetctl-boot")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self) -> Command {
        let mut command = fleetctl();
        command
            .arg("agent")
            .arg(format!("--boot-dir={}", self.boot().display()))
            .arg(format!("--data-dir={}", self.data().display()))
            .args([
                "--docker-socket=off",
                "--podman-socket=off",
                "--reconnect-max=1s",
            ]);
        command
    }

    fn start(&self) -> Daemon {
        Daemon::spawn("board", self.command(), &self.dir.join("log"))
    }

    fn files(&self) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(self.boot())
            .expect("the directory")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        all.sort();
        all
    }
}

fn error(board: &Board) -> String {
    fs::read_to_string(board.boot().join("error.txt")).unwrap_or_default()
}

fn labels(fleet: &Fleet, name: &str) -> String {
    let node = fleet
        .cli(["node", "show", name, "-o", "json"])
        .done()
        .json();
    node["facts"]["labels"].to_string()
}

#[test]
fn a_card_written_with_windows_makes_a_node_and_is_clean_afterwards() {
    let fleet = Fleet::start();
    let name = fleet.name("kiosk");
    let line = format!(
        "\u{feff}fleetctl agent --join {}  \r\n\r\n",
        fleet.join_token()
    );
    let board = Board::new(
        &fleet,
        &[
            ("JOIN.TXT", &line),
            ("name.txt", &format!("{name}\r\n")),
            ("labels.txt", "zone=lab\r\nline = 2 \r\n"),
        ],
    );
    let mut agent = board.start();
    fleet.wait_node(&name, "online");
    wait_until("the card is clean", || board.files().is_empty());
    let shown = labels(&fleet, &name);
    assert!(
        shown.contains(r#""zone":"lab""#) && shown.contains(r#""line":"2""#),
        "{shown}"
    );
    assert_eq!(agent.stop().code(), Some(0));
    fleet.wait_node(&name, "offline");
    let _again = board.start();
    fleet.wait_node(&name, "online");
    assert!(labels(&fleet, &name).contains("lab"), "labels stay");
}

#[test]
fn what_is_wrong_is_written_on_the_card_in_words() {
    let fleet = Fleet::start();
    let board = Board::new(&fleet, &[("lables.txt", "zone=lab")]);
    Ran::of(&mut board.command()).failed(1, &["has not joined"]);
    assert!(error(&board).contains("`lables.txt`"), "{}", error(&board));
    fs::remove_file(board.boot().join("lables.txt")).expect("removed");

    let create = ["token", "create", "--kind", "join", "--ttl", "1ms"];
    let expired = fleet.cli(create).done().out;
    fs::write(board.boot().join("join.txt"), expired).expect("a file");
    let mut agent = board.start();
    assert_eq!(agent.wait_end().code(), Some(1));
    assert!(error(&board).contains("expired"), "{}", error(&board));

    fs::write(board.boot().join("join.txt"), fleet.join_token()).expect("a file");
    let name = fleet.name("board");
    fs::write(board.boot().join("name"), &name).expect("a file");
    let _agent = board.start();
    fleet.wait_node(&name, "online");
    wait_until("the card is clean", || board.files().is_empty());
}

#[test]
fn a_board_that_loses_power_again_and_again_joins_once_and_for_all() {
    let fleet = Fleet::start();
    let name = fleet.name("shaky");
    let board = Board::new(&fleet, &[("join", &fleet.join_token()), ("name", &name)]);
    // Not waited for: wherever it is at this time, the power goes.
    for ms in [5, 20, 40, 80, 120, 160, 220, 300, 400] {
        let mut agent = board.start();
        thread::sleep(Duration::from_millis(ms));
        agent.kill9();
        let whole = |path: &Path| fs::read_to_string(path).map_or(0, |t| t.trim().len());
        assert!(
            whole(&board.boot().join("join")) > 0 || board.data().join("fleet.json").exists(),
            "after {ms} ms the token is gone and it has not joined"
        );
    }
    let _agent = board.start();
    fleet.wait_node(&name, "online");
    wait_until("the card is clean", || board.files().is_empty());
    let nodes = fleet.cli(["node", "ls", "-o", "json"]).done().json();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "{nodes}");
}
