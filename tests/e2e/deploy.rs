//! `fleetctl deploy` against boards with a real sshd and a real init system, in a network of the
//! test's own. The binary is this build, stripped.

use super::harness::{Boards, Daemon, Ran, fleetctl, wait_for, wait_until};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A control host with a controller, and boards.
struct Site {
    boards: Boards,
    controller: Daemon,
    binary: PathBuf,
}

impl Site {
    /// The controller is in the network of the boards, so one must have started.
    fn begin(boards: Boards) -> Site {
        let binary = boards.dir().join("bin").join("fleetctl");
        fs::create_dir_all(binary.parent().unwrap()).unwrap();
        let strip = Command::new("strip")
            .arg("-o")
            .arg(&binary)
            .arg(env!("CARGO_BIN_EXE_fleetctl"))
            .status();
        assert!(strip.unwrap().success());
        let mut command = boards.control_command(env!("CARGO_BIN_EXE_fleetctl"));
        command
            .args([
                "controller",
                "--embed-broker",
                "--mqtt-listen=tls://0.0.0.0:8883",
            ])
            .arg(format!("--advertise={}", boards.control()))
            .arg("--data-dir")
            .arg(boards.dir().join("controller"))
            .env("HOME", boards.dir());
        let controller = Daemon::spawn("controller", command, &boards.dir().join("controller.log"));
        let site = Site {
            boards,
            controller,
            binary,
        };
        wait_until("the controller is ready", || {
            site.token().exists() && site.cli(&["check", "--ready"]).code == 0
        });
        site
    }

    fn token(&self) -> PathBuf {
        self.boards.dir().join("controller").join("admin.token")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.boards.control_command(env!("CARGO_BIN_EXE_fleetctl"));
        command
            .args(args)
            .env("FLEETCTL_URL", "http://127.0.0.1:7070")
            .env("FLEETCTL_TOKEN_FILE", self.token())
            .env("HOME", self.boards.dir());
        command
    }

    fn cli(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// An inventory with these tables, whose defaults reach our boards.
    fn inventory(&self, boards: &str) -> PathBuf {
        let path = self.boards.dir().join("inventory.toml");
        let known = self.boards.dir().join("known_hosts");
        let text = format!(
            "[defaults]\nssh_key = \"{}\"\nssh_user = \"root\"\nssh_options = \
             [\"UserKnownHostsFile={}\", \"GlobalKnownHostsFile=/dev/null\"]\n{boards}",
            self.boards.key().display(),
            known.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn deploy_command(&self, inventory: &Path, more: &[&str]) -> Command {
        let (inventory, binary) = (inventory.to_string_lossy(), self.binary.to_string_lossy());
        let mut args = vec!["deploy", "-i", &inventory, "--binaries", &binary];
        args.extend(["--accept-new-host-keys", "-o", "json"]);
        args.extend(more);
        self.command(&args)
    }

    fn deploy(&self, inventory: &Path, more: &[&str]) -> Ran {
        Ran::of(&mut self.deploy_command(inventory, more))
    }

    fn node_state(&self, name: &str) -> String {
        let all = self.cli(&["node", "ls", "-o", "json"]).json();
        let all = all.as_array().unwrap().clone();
        let node = all.into_iter().find(|n| n["name"] == name);
        node.map_or_else(String::new, |n| n["state"].as_str().unwrap().to_owned())
    }
}

/// What a run says of a board: result and detail.
#[track_caller]
fn of(ran: &Ran, board: &str) -> (String, String) {
    let all = ran.json();
    let row = all.as_array().unwrap().iter().find(|r| r["board"] == board);
    let row = row.unwrap_or_else(|| panic!("no {board}: {ran:?}"));
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    (text("result"), text("detail"))
}

#[track_caller]
fn failed(ran: &Ran, board: &str, words: &[&str]) {
    let (result, detail) = of(ran, board);
    assert_eq!(result, "failed", "{detail}");
    for word in words {
        assert!(detail.contains(word), "{board}: no `{word}` in: {detail}");
    }
}

#[test]
fn boards_join_once_and_a_second_run_changes_nothing() {
    let boards = Boards::new();
    // Directories that a board has are its owner's, with modes of the owner's own.
    let modes = [
        ("usr/local/bin", 0o2775),
        ("etc/systemd/system", 0o1755),
        ("etc/fleetctl", 0o750),
    ];
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let disk = boards.disk("sys-1");
    for (path, mode) in modes {
        fs::create_dir_all(disk.join(path)).unwrap();
        fs::set_permissions(disk.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    boards.start_all(&[
        ("sys-1", 11, &["systemd"]),
        ("sys-2", 12, &["systemd"]),
        ("rc-1", 13, &["openrc"]),
    ]);
    let site = Site::begin(boards);
    let tables = format!(
        "[board.sys-1]\nhost = '{}'\nlabels = {{ zone = 'hall' }}\nworkloads = ['web']\n\
         env = {{ SECRET = 'a b\"c$d' }}\n\
         [board.sys-2]\nhost = '{}'\nssh_user = 'pi'\ninstall_dir = '/opt/fleet/bin'\n\
         [board.rc-1]\nhost = '{}'\n",
        site.boards.address(11),
        site.boards.address(12),
        site.boards.address(13)
    );
    let inventory = site.inventory(&tables);

    let planned = site.deploy(&inventory, &["--dry-run"]).done();
    let (result, steps) = of(&planned, "sys-1");
    assert_eq!(result, "planned");
    assert!(
        steps.contains("copy binary") && steps.contains("join"),
        "{steps}"
    );
    assert_eq!(site.node_state("sys-1"), "", "a dry run changes nothing");
    assert!(
        !site
            .boards
            .disk("sys-1")
            .join("usr/local/bin/fleetctl")
            .exists()
    );

    let first = site.deploy(&inventory, &[]).done();
    for board in ["sys-1", "sys-2", "rc-1"] {
        let (result, detail) = of(&first, board);
        assert_eq!(result, "deployed", "{detail}");
        assert_eq!(site.node_state(board), "online");
        let disk = site.boards.disk(board);
        assert!(
            !disk.join("etc/fleetctl/join.token").exists(),
            "the token is gone"
        );
    }
    assert!(
        site.boards
            .disk("sys-2")
            .join("opt/fleet/bin/fleetctl")
            .exists()
    );
    for (path, before) in modes {
        assert_eq!(mode(&disk.join(path)), before, "{path} is as it was");
    }
    // And those that it made are for all to look into.
    for path in ["opt/fleet", "opt/fleet/bin", "etc/fleetctl"] {
        let path = site.boards.disk("sys-2").join(path);
        assert_eq!(mode(&path), 0o755, "{}", path.display());
    }
    let env = site.boards.disk("sys-1").join("etc/fleetctl/agent.env");
    assert_eq!(
        fs::metadata(env).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Each token was for one board.
    let tokens = site.cli(&["token", "ls", "-o", "json"]).json();
    let tokens = tokens.as_array().unwrap().clone();
    let once: Vec<&Value> = tokens.iter().filter(|t| t["uses"] == 0).collect();
    assert_eq!(once.len(), 3, "{tokens:?}");
    assert!(once.iter().all(|t| t["valid"] == false));

    let manifest = site.boards.dir().join("web.toml");
    fs::write(
        &manifest,
        "[workload.web]\ntype = 'service'\ncommand = ['/bin/sleep', '100000']\n\
         [workload.web.placement]\non = 'every'\nrequires = ['runs.web=yes']\n",
    )
    .unwrap();
    let manifest = manifest.to_string_lossy().into_owned();
    site.cli(&["apply", "-f", &manifest, "-y", "--wait", "--timeout", "30s"])
        .done();
    let sleeper = || {
        let ran = site.boards.on("sys-1", &["pgrep", "-x", "sleep"]);
        ran.out.trim().to_owned()
    };
    let pid = wait_for("the workload runs where it is named", || {
        Some(sleeper()).filter(|p| !p.is_empty())
    });

    let second = site.deploy(&inventory, &[]).done();
    for board in ["sys-1", "sys-2", "rc-1"] {
        assert_eq!(of(&second, board), ("unchanged".to_owned(), String::new()));
    }

    // A change of the configuration restarts the agent and no workload.
    let inventory = site.inventory(&tables.replace("zone = 'hall'", "zone = 'yard'"));
    let third = site.deploy(&inventory, &["--limit", "sys-*"]).done();
    assert_eq!(of(&third, "sys-1").1, "write configuration, restart");
    assert_eq!(of(&third, "sys-2").0, "unchanged");
    assert_eq!(sleeper(), pid, "the workload did not notice");
    wait_until("the label is in effect", || {
        let all = site.cli(&["node", "show", "sys-1", "-o", "json"]);
        all.json()["labels"]["zone"] == "yard"
    });

    let inventory = inventory.to_string_lossy().into_owned();
    let base = ["deploy", "uninstall", "-i", &inventory, "-y", "-o", "json"];
    let kept = site.cli(&[&base[..], &["--limit", "rc-1"]].concat()).done();
    assert!(of(&kept, "rc-1").1.contains("stay"), "{kept:?}");
    assert!(
        !site
            .boards
            .disk("rc-1")
            .join("usr/local/bin/fleetctl")
            .exists()
    );
    // Also where its agent is not there to end what it has started.
    site.boards
        .on("sys-1", &["systemctl", "stop", "fleetctl-agent"])
        .done();
    assert_eq!(sleeper(), pid);
    let gone = site
        .cli(&[&base[..], &["--limit", "sys-1", "--purge"]].concat())
        .done();
    assert_eq!(of(&gone, "sys-1").0, "removed");
    assert_eq!(sleeper(), "", "its workload went with it");
    let disk = site.boards.disk("sys-1");
    for path in [
        "etc/fleetctl",
        "var/lib/fleetctl/agent",
        "usr/local/bin/fleetctl",
    ] {
        assert!(!disk.join(path).exists(), "{path}");
    }
    let unit = disk.join("etc/systemd/system/fleetctl-agent.service");
    assert!(!unit.exists());
    assert_eq!(site.node_state("sys-1"), "");
    assert_eq!(site.node_state("sys-2"), "online");

    // A board of another fleet keeps everything, and another service of a board its program.
    let fleet_json = "/var/lib/fleetctl/agent/fleet.json";
    let change = |change: &str| {
        site.boards
            .on("sys-2", &["sed", "-i", change, fleet_json])
            .done();
    };
    change("s/\"fleet_key\": *\"/&other/");
    let other = site.cli(&[&base[..], &["--limit", "sys-2", "--purge"]].concat());
    failed(
        &other,
        "sys-2",
        &["belongs to another fleet, as node sys-2"],
    );
    change("s/\"fleet_key\": *\"other/\"fleet_key\":\"/");
    let unit =
        "echo ExecStart=/opt/fleet/bin/fleetctl >/etc/systemd/system/fleetctl-controller.service";
    site.boards.on("sys-2", &["sh", "-c", unit]).done();
    let shared = site
        .cli(&[&base[..], &["--limit", "sys-2", "--purge"]].concat())
        .done();
    assert!(
        of(&shared, "sys-2").1.contains("fleetctl stays, since"),
        "{shared:?}"
    );
    let disk = site.boards.disk("sys-2");
    assert!(disk.join("opt/fleet/bin/fleetctl").exists());
    assert!(!disk.join("var/lib/fleetctl/agent").exists());
}

#[test]
fn a_board_that_cannot_be_deployed_to_says_why_and_holds_up_no_other() {
    let boards = Boards::new();
    let path = |from: &str| format!("small:{from}:3M");
    let small = path("/usr/local/bin");
    boards.start_all(&[
        ("good", 11, &["systemd"]),
        ("full", 12, &["systemd", &small]),
        ("read-only", 13, &["none", "read-only"]),
        ("plain", 14, &["none"]),
        (
            "no-exec",
            15,
            &["systemd", "noexec-tmp", "--tmpfs=/opt:noexec,mode=755"],
        ),
    ]);
    // One whose programs are for another processor, as far as anybody can see from outside.
    let odd = boards.disk("odd");
    fs::write(odd.join("usr/local/bin/uname"), "#!/bin/sh\necho riscv64\n").unwrap();
    fs::write(
        odd.join("usr/local/bin/od"),
        "#!/bin/sh\necho 7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 03 00 f3 00\n",
    )
    .unwrap();
    for tool in ["uname", "od"] {
        let path = odd.join("usr/local/bin").join(tool);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    boards.start("odd", 16, &["systemd"]);
    let site = Site::begin(boards);
    let other_key = site.boards.dir().join("other");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&other_key)
        .status();
    assert!(made.unwrap().success());
    let known = site.boards.dir().join("known_hosts");
    let line = format!(
        "{} {}",
        site.boards.address(17),
        fs::read_to_string(site.boards.dir().join("other.pub")).unwrap()
    );
    fs::write(&known, line).unwrap();
    site.boards.start("imposter", 17, &["none"]);

    let a = |n| site.boards.address(n);
    let inventory = site.inventory(&format!(
        "[board.good]\nhost = '{}'\n[board.full]\nhost = '{}'\n[board.read-only]\nhost = '{}'\n\
         [board.plain]\nhost = '{}'\n[board.no-exec]\nhost = '{}'\ninstall_dir = '/opt'\n\
         [board.odd]\nhost = '{}'\n[board.imposter]\nhost = '{}'\n[board.down]\nhost = '{}'\n\
         [board.locked]\nhost = '{}'\nssh_port = 22\nssh_key = '{}'\n\
         [board.powerless]\nhost = 'powerless'\nssh_user = 'guest'\n\
         ssh_options = ['HostName={}', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null']\n",
        a(11), a(12), a(13), a(14), a(15), a(16), a(17), a(99), a(14), other_key.display(), a(14)
    ));
    let ran = site.deploy(&inventory, &["--parallel", "10"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(of(&ran, "good").0, "deployed", "{ran:?}");
    failed(
        &ran,
        "full",
        &["/usr/local/bin", "is full", "are needed", "free"],
    );
    failed(&ran, "read-only", &["read-only"]);
    failed(&ran, "plain", &["neither systemd nor OpenRC"]);
    failed(&ran, "no-exec", &["/opt is mounted noexec"]);
    failed(&ran, "odd", &["architecture, riscv64", "there is one for"]);
    failed(
        &ran,
        "imposter",
        &["host key is not the one that is known", "ssh-keygen -R"],
    );
    failed(&ran, "down", &["cannot be reached"]);
    failed(&ran, "locked", &["refuses the login", "ssh-copy-id"]);
    failed(
        &ran,
        "powerless",
        &["guest is not root and may not use sudo"],
    );
    // Nothing was left on those that failed.
    for board in ["full", "plain", "odd"] {
        assert!(
            !site.boards.disk(board).join("etc/fleetctl").exists(),
            "{board}"
        );
    }
    // Without an init system it is copied all the same, when that is all that is asked for.
    let copied = site
        .deploy(&inventory, &["--limit", "plain", "--sync-only"])
        .done();
    assert_eq!(of(&copied, "plain").0, "copied");
    assert!(
        site.boards
            .disk("plain")
            .join("usr/local/bin/fleetctl")
            .exists()
    );

    // A machine of another fleet is not taken over, and a flag of ours is no shell of theirs.
    let store = site
        .boards
        .disk("good")
        .join("var/lib/fleetctl/agent/fleet.json");
    let text = fs::read_to_string(&store).unwrap();
    let mut fleet: Value = serde_json::from_str(&text).unwrap();
    fleet["fleet_key"] = "another".into();
    fs::write(&store, fleet.to_string()).unwrap();
    let ran = site.deploy(&inventory, &["--limit", "good"]);
    failed(
        &ran,
        "good",
        &["belongs to another fleet already, as node `good`"],
    );
}

#[test]
fn a_run_that_was_killed_in_the_middle_is_taken_up_again() {
    let boards = Boards::new();
    boards.start_all(&[("a", 11, &["systemd"]), ("b", 12, &["systemd"])]);
    let site = Site::begin(boards);
    let inventory = site.inventory(&format!(
        "[board.a]\nhost = '{}'\n[board.b]\nhost = '{}'\n",
        site.boards.address(11),
        site.boards.address(12)
    ));
    let dir = site.boards.disk("a").join("usr/local/bin");
    let partial = || {
        let names = fs::read_dir(&dir).unwrap().flatten();
        names
            .filter(|e| e.file_name().to_string_lossy().starts_with(".fleetctl-new"))
            .count()
    };
    let mut command = site.deploy_command(&inventory, &["--limit", "a"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    wait_until("the binary is on its way", || {
        partial() > 0 || dir.join("fleetctl").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = site.deploy(&inventory, &[]).done();
    for board in ["a", "b"] {
        assert_eq!(of(&ran, board).0, "deployed", "{ran:?}");
        assert_eq!(site.node_state(board), "online");
    }
    assert_eq!(partial(), 0, "no half of a binary stays");
    let again = site.deploy(&inventory, &[]).done();
    assert_eq!(of(&again, "a").0, "unchanged");
    // The controller does not hear a node whose agent is off; deploying starts it.
    site.boards
        .on("b", &["systemctl", "stop", "fleetctl-agent"])
        .done();
    let ran = site.deploy(&inventory, &["--limit", "b"]).done();
    assert_eq!(of(&ran, "b").1, "start");
    // And the board comes back by itself after a power cut.
    site.boards.halt("b");
    wait_until("the fleet misses it", || site.node_state("b") != "online");
    site.boards.start("b", 12, &["systemd"]);
    wait_until("it is back", || site.node_state("b") == "online");
    assert!(
        site.controller.log().len() < 1 << 20,
        "and it says little of it"
    );
}

#[test]
fn a_wrong_inventory_is_told_before_anything_is_asked_of_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i.yaml");
    fs::write(
        &path,
        "clients:\n  - {host: 192.0.2.1, name: a}\n  - {host: 192.0.2.2, name: a, key: x}\n",
    )
    .unwrap();
    let ran = Ran::of(
        fleetctl()
            .args(["deploy", "-i"])
            .arg(&path)
            .env("FLEETCTL_URL", "http://127.0.0.1:9")
            .env("FLEETCTL_TOKEN", "x"),
    );
    ran.failed(
        1,
        &["two boards called `a`", "i.yaml:3:", "unknown key `key`"],
    );
}
