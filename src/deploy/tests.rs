//! Inventories and plans.

use super::*;
use crate::{manifest::Source, model::Digest};
use std::collections::BTreeMap;

fn read(text: &str) -> Inventory {
    parse(&Source::new("inventory.toml", text)).unwrap_or_else(|e| panic!("{e}"))
}

fn limit(text: &str) -> Vec<Select> {
    text.split(',').map(|one| one.parse().unwrap()).collect()
}

#[test]
fn everything_that_is_wrong_with_an_inventory_is_said_at_its_place() {
    for (name, text, golden) in [
        (
            "mistakes.toml",
            include_str!("testdata/mistakes.toml"),
            include_str!("testdata/mistakes.toml.txt"),
        ),
        (
            "mistakes.yaml",
            include_str!("testdata/mistakes.yaml"),
            include_str!("testdata/mistakes.yaml.txt"),
        ),
    ] {
        let said = parse(&Source::new(name, text)).unwrap_err().to_string() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/deploy/testdata");
            std::fs::write(format!("{dir}/{name}.txt"), &said).unwrap();
        } else {
            assert_eq!(said, golden, "{name}");
        }
    }
}

#[test]
fn an_inventory_without_a_board_says_how_to_write_one() {
    for (name, text) in [("a.toml", ""), ("a.yaml", ""), ("a.toml", "[defaults]\n")] {
        let said = parse(&Source::new(name, text)).unwrap_err().to_string();
        assert!(said.contains("there is no board"), "{said}");
    }
    let twice = "[board.a]\nhost = 'x'\n[board.a]\nhost = 'y'\n";
    let said = parse(&Source::new("a.toml", twice))
        .unwrap_err()
        .to_string();
    assert!(said.contains("a.toml:3:"), "{said}");
}

#[test]
fn both_forms_say_the_same() {
    let toml = read(
        "[defaults]\nssh_user = 'pi'\nssh_port = 2222\nssh_key = '~/.ssh/fleet'\n\
         install_dir = '/opt/bin/'\n\
         [board.pi-1]\nhost = '192.0.2.1'\nworkloads = ['web', 'db']\nenv = { MODE = 'prod' }\n\
         [board.pi-2]\nhost = 'pi-2.local'\n",
    );
    let yaml = "defaults:\n  ssh_user: pi\n  ssh_port: 2222\n  ssh_key: ~/.ssh/fleet\n  \
                install_dir: /opt/bin\nclients:\n  - host: 192.0.2.1\n    name: pi-1\n    \
                workloads: [web, db]\n    env: {MODE: prod}\n  - {host: pi-2.local, name: pi-2}\n";
    let yaml = parse(&Source::new("clients.yaml", yaml)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(toml, yaml);
    let first = &toml.boards[0];
    assert_eq!(first.labels["runs.web"], "yes");
    assert_eq!(first.labels["runs.db"], "yes");
    assert_eq!(
        (first.ssh_port, first.install_dir.as_str()),
        (Some(2222), "/opt/bin")
    );
}

#[test]
fn one_host_in_two_spellings_is_one_board() {
    for (one, other) in [
        ("pi-1.local", "Pi-1.LOCAL"),
        ("pi-1.local", "pi-1.local."),
        ("2001:db8::1", "2001:DB8:0::1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ] {
        let text = format!("[board.a]\nhost = '{one}'\n[board.b]\nhost = '{other}'\n");
        let said = parse(&Source::new("a.toml", &text))
            .unwrap_err()
            .to_string();
        assert!(said.contains("(it is that of `a`)"), "{said}");
        // Two behind one address, as port forwards have them.
        let ports = text.replace("[board.b]\n", "[board.b]\nssh_port = 2222\n");
        let boards = read(&ports).boards;
        assert_eq!((boards.len(), boards[1].host.as_str()), (2, other));
    }
}

#[test]
fn no_program_is_put_where_nothing_lasts() {
    let board = |dir: &str| {
        let text = format!("[board.a]\nhost = 'a'\ninstall_dir = '{dir}'\n");
        parse(&Source::new("a.toml", &text)).map(|i| i.boards[0].install_dir.clone())
    };
    for dir in [
        "/tmp",
        "/tmp/",
        "/tmp/bin",
        "/run/x",
        "/var/run/x",
        "/dev/shm",
        "/proc/1",
        "/sys/fs",
        "//tmp/x",
        "/./run",
    ] {
        let said = board(dir).unwrap_err().to_string();
        assert!(
            said.contains("is gone when the board restarts"),
            "{dir}: {said}"
        );
    }
    for dir in [
        "bin",
        "./bin",
        "/opt/../tmp",
        "/..",
        "/",
        "/.",
        "//",
        "~/bin",
        "/opt/$HOME",
    ] {
        assert!(board(dir).is_err(), "{dir}");
    }
    for (dir, is) in [
        ("/opt//fleet/./bin/", "/opt/fleet/bin"),
        ("/runtime/bin", "/runtime/bin"),
        ("/var/tmpfiles", "/var/tmpfiles"),
        ("/home/pi/..bin", "/home/pi/..bin"),
    ] {
        assert_eq!(board(dir).unwrap(), is);
    }
}

#[test]
fn boards_are_chosen_by_name_pattern_and_label() {
    let all = read(
        "[board.pi-1]\nhost = 'a'\nlabels = { zone = 'hall' }\n[board.pi-12]\nhost = 'b'\n\
         [board.kiosk]\nhost = 'c'\nlabels = { zone = 'hall' }\n",
    );
    let names = |text: &str| -> Vec<String> {
        let boards = all.limited(&limit(text)).unwrap();
        boards.iter().map(|b| b.name.to_string()).collect()
    };
    assert_eq!(names("pi-*"), ["pi-1", "pi-12"]);
    assert_eq!(names("pi-?"), ["pi-1"]);
    assert_eq!(names("zone=hall"), ["pi-1", "kiosk"]);
    assert_eq!(names("kiosk,pi-12"), ["pi-12", "kiosk"]);
    assert_eq!(names("*k*"), ["kiosk"]);
    assert!(
        all.limited(&limit("pi-1,nobody"))
            .unwrap_err()
            .contains("`nobody`")
    );
    assert!("=x".parse::<Select>().is_err() && "".parse::<Select>().is_err());
}

/// What a healthy board without anything of ours says, with more lines.
fn said(more: &str) -> String {
    format!(
        "Welcome!\nfleetctl-probe 1\nmachine aarch64\nelf  7f 45 4c 46 02 01 01 00 00 00 00 00 00 \
         00 00 00 03 00 b7 00\ntime 1800000000\ninstall.free_kib 900000\ninstall.mounted /\n\
         install.options rw,relatime\netc.free_kib 900000\netc.mounted /\netc.options rw\n\
         data.free_kib 900000\ndata.mounted /\ndata.options rw\ninit systemd\n{more}end\n"
    )
}

struct Case {
    board: Board,
    binaries: BTreeMap<String, Available>,
    known: Known,
    sync_only: bool,
}

impl Case {
    fn new() -> Case {
        let binary = Available {
            version: "0.3.0".into(),
            digest: Digest::of(b"binary"),
            size: 10 << 20,
        };
        Case {
            board: read("[board.pi-1]\nhost = '192.0.2.1'\n").boards.remove(0),
            binaries: BTreeMap::from([("aarch64".to_owned(), binary)]),
            known: Known::No,
            sync_only: false,
        }
    }

    fn plan(&self, said: &str) -> Result<Plan, Trouble> {
        let wanted = Wanted {
            board: &self.board,
            binaries: &self.binaries,
            fleet_key: "KEY",
            known: self.known,
            sync_only: self.sync_only,
        };
        plan(&wanted, &Probe::parse(said).unwrap())
    }

    fn steps(&self, said: &str) -> Vec<String> {
        let plan = self.plan(said).unwrap();
        plan.steps.iter().map(Step::to_string).collect()
    }

    /// The lines of a board that is as wanted.
    fn done(&self) -> String {
        let files = files(&self.board, Init::Systemd);
        let sum = |what: &str, text: &str| {
            format!("sha256.{what} {}\n", Digest::of(text.as_bytes()).hex())
        };
        sum("binary", "binary")
            + &sum("config", &files.config)
            + &sum("unit", files.unit.as_deref().unwrap())
            + &sum("settings", files.settings.as_deref().unwrap())
            + "fleet_key KEY\nnode pi-1\nactive yes\nenabled yes\n"
    }

    fn trouble(&self, said: &str) -> String {
        self.plan(said).unwrap_err().to_string()
    }
}

#[test]
fn an_empty_board_gets_everything_and_a_finished_one_nothing() {
    let mut case = Case::new();
    assert_eq!(
        case.steps(&said("")),
        [
            "copy binary (0.3.0, aarch64, 10.0 MiB)",
            "write configuration",
            "install unit",
            "join",
            "enable",
            "start"
        ]
    );
    case.known = Known::Yes;
    let done = case.done();
    assert_eq!(case.steps(&said(&done)), Vec::<String>::new());
    // An earlier run ended between copying and starting.
    assert_eq!(
        case.steps(&said(&(done.clone() + "stale yes\n"))),
        ["restart"]
    );
    let stopped = done.replace("active yes\n", "");
    assert_eq!(case.steps(&said(&stopped)), ["start"]);
    case.board.labels.insert("zone".into(), "hall".into());
    assert_eq!(case.steps(&said(&done)), ["write configuration", "restart"]);
    case.sync_only = true;
    assert_eq!(case.steps(&said(&done)), ["write configuration"]);
    case.board.env.insert("TOKEN".into(), "a\"b$c".into());
    let env = files(&case.board, Init::Systemd).env.unwrap();
    assert!(env.ends_with("TOKEN=\"a\\\"b\\$c\"\n"), "{env}");
    // What the inventory does not say any more goes.
    let case = Case {
        known: Known::Yes,
        ..Case::new()
    };
    let had =
        done + "sha256.env 0000000000000000000000000000000000000000000000000000000000000000\n";
    assert_eq!(case.steps(&said(&had)), ["remove environment", "restart"]);
}

#[test]
fn a_node_that_the_fleet_forgot_joins_anew_and_others_are_left_alone() {
    let mut case = Case::new();
    let done = case.done();
    assert_eq!(case.steps(&said(&done)), ["join anew", "restart"]);
    let other = done.replace("KEY", "ANOTHER");
    assert!(
        case.trouble(&said(&other))
            .contains("another fleet already, as node `pi-1`")
    );
    let renamed = done.replace("node pi-1", "node pi-9");
    assert!(
        case.trouble(&said(&renamed))
            .contains("node `pi-9` of this fleet")
    );
    case.known = Known::Yes;
    assert!(case.trouble(&said("")).contains("taken by another machine"));
    case.known = Known::Revoked;
    assert!(case.trouble(&said(&done)).contains("revoked"));
}

#[test]
fn what_stands_in_the_way_is_a_sentence_with_what_to_do() {
    let case = Case::new();
    let with = |from: &str, to: &str| {
        let text = said("");
        assert!(text.contains(from), "{from}");
        case.trouble(&text.replace(from, to))
    };
    for (from, to, words) in [
        (
            "install.free_kib 900000",
            "install.free_kib 3072",
            "12.0 MiB are needed and 3.0 MiB are free; free 9.0 MiB",
        ),
        (
            "install.options rw,relatime",
            "install.options ro,relatime",
            "/usr/local/bin cannot be written",
        ),
        (
            "install.options rw,relatime",
            "install.options rw,noexec",
            "mounted noexec",
        ),
        (
            "data.options rw",
            "data.options ro",
            "/var/lib cannot be written",
        ),
        ("init systemd\n", "", "neither systemd nor OpenRC"),
        (
            "03 00 b7 00",
            "03 00 f3 00",
            "aarch64 (programs for ELF machine 243); there is one for aarch64",
        ),
        (
            "02 01 01 00 00 00 00 00 00 00 00 00 03 00 b7",
            "01 01 01 00 00 00 00 00 00 00 00 00 03 00 28",
            "its architecture, arm; there is one for aarch64",
        ),
    ] {
        let said = with(from, to);
        assert!(said.contains(words), "{said}");
    }
    // A 32-bit userland on a 64-bit kernel gets the 32-bit binary; a Pi 1 none.
    let arm = said("").replace("03 00 b7", "03 00 28");
    assert_eq!(Probe::parse(&arm).unwrap().arch(), Ok("arm"));
    let old = arm.replace("machine aarch64", "machine armv6l");
    assert!(
        Probe::parse(&old)
            .unwrap()
            .arch()
            .unwrap_err()
            .contains("before version 7")
    );
    let late = said("").replace("time 1800000000", "time 12");
    let plan = case.plan(&late).unwrap();
    assert!(plan.notes[0].contains("clock"), "{:?}", plan.notes);
}

#[test]
fn a_board_that_answers_something_else_is_told_apart() {
    for text in [
        "",
        "This account is not available.\n",
        "fleetctl-probe 1\nmachine x\n",
    ] {
        assert!(Probe::parse(text).is_err(), "{text}");
    }
    assert!(
        Probe::parse("hi\nThis account is not available.\n")
            .unwrap_err()
            .contains("not available")
    );
}

#[test]
fn what_ssh_complains_of_becomes_what_to_do() {
    for (text, words) in [
        (
            "ssh: connect to host pi port 22: No route to host",
            "cannot be reached: ssh: connect",
        ),
        (
            "ssh: Could not resolve hostname pi: Name or service not known",
            "cannot be reached",
        ),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "ssh-keygen -R pi",
        ),
        ("Host key verification failed.", "--accept-new-host-keys"),
        (
            "pi@192.0.2.1: Permission denied (publickey).",
            "refuses the login",
        ),
        (
            "client_loop: send disconnect: Broken pipe",
            "the connection broke",
        ),
        ("", "ssh said nothing"),
    ] {
        let said = of_ssh(text, "pi").to_string();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn who_is_to_look_at_a_host_key_is_given_the_very_command() {
    let text = "[defaults]\nssh_user = 'pi'\nssh_port = 2222\nssh_key = '~/.ssh/fleet'\n\
                ssh_options = ['UserKnownHostsFile=/my hosts', 'Compression=yes']\n\
                [board.one]\nhost = '192.0.2.7'\n\
                [board.two]\nhost = 'two'\nssh_port = 22\nssh_options = ['Compression=yes']\n";
    let boards = parse(&Source::new("i.toml", text)).unwrap().boards;
    let said = |stderr: &str, index: usize| {
        let board: &Board = &boards[index];
        of_ssh(stderr, &board.host).of_board(board).to_string()
    };
    let unknown = "Host key verification failed.";
    let changed = "REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.";
    for (stderr, index, command) in [
        (
            unknown,
            0,
            "`ssh -o 'UserKnownHostsFile=/my hosts' -o Compression=yes -p 2222 -i ~/.ssh/fleet \
             pi@192.0.2.7`",
        ),
        (
            changed,
            0,
            "`ssh-keygen -R '[192.0.2.7]:2222' -f '/my hosts'`",
        ),
        (unknown, 1, " -p 22 -i ~/.ssh/fleet pi@two`"),
        (changed, 1, "`ssh-keygen -R two"),
    ] {
        let said = said(stderr, index);
        assert!(said.contains(command), "{said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_of_a_board_is_too_odd_to_be_read(text in "(\\PC|\n|fleetctl-probe 1\n|end\n|elf 7f 45|sha256.binary ){0,60}") {
        if let Ok(probe) = Probe::parse(&text) {
            let _ = probe.arch();
        }
    }
}

#[test]
fn the_examples_say_the_same_in_both_forms() {
    let toml = include_str!("../../examples/inventory.toml");
    let yaml = include_str!("../../examples/inventory.yaml");
    let toml = parse(&Source::new("inventory.toml", toml)).unwrap_or_else(|e| panic!("{e}"));
    let yaml = parse(&Source::new("inventory.yaml", yaml)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(toml, yaml);
}
