use super::*;
use crate::{
    agent::store::Membership,
    config::{AgentOverrides, BootDir, Surroundings},
    identity::{SigningKey, join_secret},
};
use std::fs;

struct Board {
    place: tempfile::TempDir,
    store: Store,
}

impl Board {
    fn new(files: &[(&str, &str)]) -> Board {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("data")).unwrap();
        fs::create_dir(place.path().join("boot")).unwrap();
        let store = Store::open(&place.path().join("data")).unwrap();
        let board = Board { place, store };
        board.write(files);
        board
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(self.boot().join(name), text).unwrap();
        }
    }

    fn boot(&self) -> PathBuf {
        self.place.path().join("boot")
    }

    fn files(&self) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(self.boot())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    fn error(&self) -> String {
        fs::read_to_string(self.boot().join(ERROR_FILE)).unwrap_or_default()
    }

    /// As each start does it.
    fn start(&self) -> (AgentConfig, FirstBoot) {
        let around = Surroundings {
            root: true,
            host_name: "raspberrypi".into(),
            ..Surroundings::default()
        };
        let given = AgentOverrides {
            boot_dir: Some(BootDir::At(self.boot())),
            ..AgentOverrides::default()
        };
        let mut config = AgentConfig::resolve(None, &given, &around).unwrap();
        let boot = FirstBoot::take_in(&mut config, &self.store);
        (config, boot)
    }

    fn join(&self, fleet: u8) {
        let member = Membership {
            node: "kiosk-1".parse().unwrap(),
            brokers: Vec::new(),
            ca_sha256: None,
            external_ca: None,
            fleet_key: SigningKey::from_seed(&[fleet; 32]).public().to_string(),
            prefix: "fleet".into(),
            credential: "c".into(),
        };
        self.store.keep_membership(&member).unwrap();
    }
}

fn token(fleet: u8) -> String {
    let key = SigningKey::from_seed(&[fleet; 32]);
    let token = JoinToken {
        id: "a1".into(),
        brokers: vec!["mqtts://192.0.2.1:8883".into()],
        ca_sha256: None,
        external_ca: None,
        fleet_key: key.public().to_string(),
        prefix: "fleet".into(),
        expires_ms: 0,
        secret: join_secret(&key, "a1", 0),
    };
    token.encode()
}

#[test]
fn files_are_taken_in_and_gone_once_the_board_has_joined() {
    let join = format!("\u{feff}{}\r\n", token(1));
    let board = Board::new(&[
        ("join.txt", &join),
        ("name.txt", "kiosk-1\r\n"),
        ("labels.txt", "zone=lab\r\n"),
        ("error.txt", "of yesterday"),
    ]);
    let (config, mut boot) = board.start();
    assert!(config.join.is_some());
    assert_eq!(config.name.as_str(), "kiosk-1");
    assert_eq!(config.labels["zone"], "lab");
    assert!(board.files().contains(&"join.txt".into()), "not joined yet");
    board.join(1);
    boot.joined(&board.store);
    assert_eq!(board.files(), Vec::<String>::new());
    let (config, _) = board.start();
    assert!(config.join.is_none());
    assert_eq!(config.labels["zone"], "lab", "labels stay");
    // What is put there later is taken in, too.
    board.write(&[("labels", "line=2\n")]);
    let (config, mut boot) = board.start();
    boot.joined(&board.store);
    assert_eq!(config.labels.into_keys().collect::<Vec<_>>(), ["line"]);
    assert_eq!(board.files(), Vec::<String>::new());
}

#[test]
fn a_power_cut_at_any_step_ends_in_a_board_that_has_taken_everything_in_once() {
    let files = [("join", token(1)), ("labels", "zone=lab".to_owned())];
    let files = files.each_ref().map(|(n, t)| (*n, t.as_str()));
    for cut in 0..4 {
        let board = Board::new(&files);
        let (_, mut boot) = board.start();
        let (record, paths) = boot.pending.clone().expect("something to take in");
        if cut >= 1 {
            board.join(1);
        }
        if cut >= 2 {
            board.store.keep_first_boot(&record).unwrap();
        }
        if cut >= 3 {
            let card = Card::open(&board.boot()).unwrap();
            card.shred(&paths[0]).unwrap();
        }
        // The power is back.
        boot.pending = None;
        let (config, mut boot) = board.start();
        assert_eq!(config.labels["zone"], "lab", "cut {cut}");
        board.join(1);
        boot.joined(&board.store);
        let (config, _) = board.start();
        assert_eq!(config.labels["zone"], "lab", "cut {cut}");
        assert!(config.join.is_none(), "cut {cut}");
        assert_eq!(board.files(), Vec::<String>::new(), "cut {cut}");
    }
}

#[test]
fn what_cannot_be_removed_is_not_taken_in_twice() {
    let board = Board::new(&[("join", &token(1))]);
    let (_, mut boot) = board.start();
    board.join(1);
    boot.joined(&board.store);
    // As on a read-only partition: it is there again.
    board.write(&[("join", &token(1))]);
    fs::remove_file(board.place.path().join("data/fleet.json")).unwrap();
    let (config, _) = board.start();
    assert!(config.join.is_none());
}

#[test]
fn everything_that_is_wrong_is_written_beside_the_files() {
    let board = Board::new(&[
        ("join.txt", "fleetjoin1_abc"),
        ("name", "my board"),
        ("lables.txt", "zone=lab"),
    ]);
    let (config, _) = board.start();
    assert!(config.join.is_none());
    let error = board.error();
    for words in [
        "damaged",
        "line 1 of the file `name`",
        "`lables.txt`",
        "start the board again",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(
        error.lines().count() > 3 && error.contains("\r\n"),
        "{error}"
    );
    let board = Board::new(&[]);
    board.start();
    assert!(
        board.error().contains("no file `join`"),
        "{}",
        board.error()
    );
    board.write(&[("join", &token(1)), ("JOIN.TXT", &token(1))]);
    board.start();
    assert!(board.error().contains("mean the same"), "{}", board.error());
}

#[test]
fn a_board_of_another_fleet_stays_there_and_says_so() {
    let board = Board::new(&[("join", &token(2))]);
    board.join(1);
    let (config, mut boot) = board.start();
    assert!(config.join.is_none());
    assert!(board.error().contains("another fleet"), "{}", board.error());
    boot.joined(&board.store);
    assert_eq!(board.files(), ["error.txt", "join"], "nothing was taken in");
}

#[test]
fn links_are_not_followed_and_what_they_point_to_is_neither_shown_nor_changed() {
    for name in ["join", "name", "labels"] {
        let board = Board::new(&[]);
        let secret = board.place.path().join("secret");
        fs::write(&secret, "kiosk-secret\n").unwrap();
        std::os::unix::fs::symlink(&secret, board.boot().join(name)).unwrap();
        let (config, mut boot) = board.start();
        assert_eq!(config.name.as_str(), "raspberrypi");
        let error = board.error();
        assert!(error.contains(&format!("`{name}`")), "{error}");
        assert!(error.contains("no plain file"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        board.join(1);
        boot.joined(&board.store);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "kiosk-secret\n");
    }
}

#[test]
fn a_file_that_became_a_link_meanwhile_is_not_overwritten() {
    let board = Board::new(&[("join", &token(1)), ("name", "kiosk-1")]);
    let other = board.place.path().join("other");
    fs::write(&other, "of somebody else").unwrap();
    let (_, mut boot) = board.start();
    fs::remove_file(board.boot().join("name")).unwrap();
    std::os::unix::fs::symlink(&other, board.boot().join("name")).unwrap();
    board.join(1);
    boot.joined(&board.store);
    assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");
}

#[test]
fn a_file_with_another_name_elsewhere_is_removed_and_not_overwritten() {
    let board = Board::new(&[("join", &token(1)), ("name", "kiosk-1")]);
    let other = board.place.path().join("hostname");
    fs::hard_link(board.boot().join("name"), &other).unwrap();
    let (_, mut boot) = board.start();
    board.join(1);
    boot.joined(&board.store);
    assert_eq!(board.files(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(&other).unwrap(), "kiosk-1");
}

#[test]
fn an_error_is_not_written_through_a_link() {
    for link in ["error.new", "error.txt"] {
        let board = Board::new(&[("labels", "no label")]);
        let other = board.place.path().join("other");
        fs::write(&other, "of somebody else").unwrap();
        std::os::unix::fs::symlink(&other, board.boot().join(link)).unwrap();
        board.start();
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");
        assert!(board.error().contains("line 1"), "{}", board.error());
        let written = fs::symlink_metadata(board.boot().join(ERROR_FILE)).unwrap();
        assert!(written.is_file(), "{link}");
    }
}

#[test]
fn a_pipe_or_a_directory_holds_nobody_up_and_is_said() {
    let board = Board::new(&[]);
    let pipe = board.boot().join("join");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(board.boot().join("labels")).unwrap();
    board.start();
    let error = board.error();
    assert!(
        error.contains("`join` cannot be read: it is no plain file"),
        "{error}"
    );
    assert!(
        error.contains("`labels` cannot be read: it is no plain file"),
        "{error}"
    );
}

#[test]
fn a_directory_that_is_a_link_is_left_alone() {
    let board = Board::new(&[]);
    let elsewhere = board.place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("join"), token(1)).unwrap();
    fs::remove_dir(board.boot()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, board.boot()).unwrap();
    assert!(
        Card::open(&board.boot().join("")).is_err(),
        "nor with a slash"
    );
    let (config, mut boot) = board.start();
    assert!(config.join.is_none());
    board.join(1);
    boot.joined(&board.store);
    assert!(elsewhere.join("join").exists(), "nothing was taken in");
    assert!(!elsewhere.join(ERROR_FILE).exists());
}
