use super::*;
use crate::{
    agent::store::Membership,
    config::{AgentOverrides, BootDir, Surroundings},
    identity::{SigningKey, join_secret},
};

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
            shred(&paths[0]).unwrap();
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
        "`my board`",
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
