//! One board whose agent puts another release in its own place: what it survives.
//!
//! The whole fleet's side (canaries, batches, bad releases of every kind) is in [`super::upgrade`].

use super::harness::{
    Agent, Bad, Fleet, Releases, Setup, SmallDisk, manifests::sleeping, native::Native, wait_for,
    wait_until,
};
use fleetctl::{model::Digest, support::release};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Quick steps.
const QUICK: [&str; 2] = ["--min-healthy-time=300ms", "--progress-deadline=60s"];
/// Enough for one that works.
const DEADLINE: &str = "--healthy-deadline=20s";
/// Where the start of an agent is told of itself.
const MARKER: &str = "FLEETCTL_AGENT_PROGRAM=";

struct Board {
    fleet: Fleet,
    agent: Agent,
    releases: Releases,
    steady: Native,
}

impl Board {
    fn start() -> Board {
        Board::start_in(Fleet::setup())
    }

    fn start_in(setup: Setup) -> Board {
        let (fleet, releases) = (setup.start(), Releases::new());
        let agent = fleet.agent("board").binary(releases.installed()).start();
        fleet.apply_wait(&sleeping("steady")).done();
        let steady = agent.process("steady");
        Board {
            fleet,
            agent,
            releases,
            steady,
        }
    }

    fn push(&self, file: &Path) {
        self.fleet
            .cli(["upgrade", "push", file.to_str().unwrap()])
            .done();
    }

    fn upgrade(&self, version: &str) {
        self.upgrade_within(version, DEADLINE);
    }

    fn upgrade_within(&self, version: &str, deadline: &str) {
        let words = ["upgrade", version, "-y", deadline];
        self.fleet.cli(words.iter().chain(&QUICK)).done();
    }

    /// What its node says that it runs.
    fn version(&self) -> String {
        let node = self.fleet.node(&self.agent.name).unwrap_or_default();
        let said = node["facts"]["agent_version"].as_str();
        said.or(node["agent_version"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    fn phase(&self) -> Option<Value> {
        phase_in(&self.fleet)
    }

    #[track_caller]
    fn wait_phase(&self, phase: &str) -> Value {
        wait_for(&format!("the upgrade is {phase}"), || {
            self.phase().filter(|p| p["phase"] == phase)
        })
    }

    #[track_caller]
    fn wait_version(&self, version: &str) {
        wait_until(&format!("it runs {version} and is online"), || {
            self.version() == version && self.fleet.node_state(&self.agent.name) == "online"
        });
    }

    fn record(&self) -> Value {
        let text = fs::read_to_string(self.agent.data.join("upgrade/record.json"));
        serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
    }

    /// The child on trial, where there is one.
    fn child(&self) -> Option<Pid> {
        child_of(self.agent.daemon.pid())
    }

    #[track_caller]
    fn assert_undisturbed(&self) {
        assert!(self.steady.child.lives(), "its workload was disturbed");
        assert_eq!(self.agent.process("steady"), self.steady);
    }
}

fn phase_in(fleet: &Fleet) -> Option<Value> {
    let answer = fleet.try_get("/api/v1/workloads/fleetctl-agent/rollout")?;
    (answer.status == 200).then(|| answer.json()["rollout"].clone())
}

fn child_of(parent: u32) -> Option<Pid> {
    let task = format!("/proc/{parent}/task/{parent}/children");
    let pids = fs::read_to_string(task).unwrap_or_default();
    pids.split_ascii_whitespace().find_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let marked = environment
            .split(|b| *b == 0)
            .any(|entry| entry.starts_with(format!("{MARKER}trial").as_bytes()));
        marked.then(|| Pid::from_raw(pid.parse().ok()?)).flatten()
    })
}

/// Uploads bytes and calls them a release, whatever they are.
fn push_raw(fleet: &Fleet, version: &str, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let address = fleet.origin().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let last = bytes.len() - 1;
    let head = format!(
        "PUT /api/v1/blobs/{digest}/upload HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\
         Content-Range: bytes 0-{last}/{}\r\n\r\n",
        fleet.token,
        bytes.len(),
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    let artifact = json!({"binary": {
        "version": version, "arch": release::arch(),
        "binary": {"sha256": digest.to_string(), "size": bytes.len()},
    }});
    let added = fleet.ask("PUT", "/api/v1/artifacts", Some(&artifact.to_string()));
    assert_eq!(added.status, 204, "{}", added.text());
}

#[test]
fn another_release_takes_the_agents_place_and_comes_back_after_a_reboot() {
    let mut board = Board::start();
    let pid = board.agent.daemon.pid();
    board.push(&board.releases.good("9.0.0"));
    board.upgrade("9.0.0");
    board.wait_phase("succeeded");
    board.wait_version("9.0.0");
    board.assert_undisturbed();
    assert!(
        board.agent.daemon.status().is_none(),
        "its process is the same"
    );
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(
        program.starts_with(board.agent.data.join("upgrade/bin")),
        "{program:?}"
    );
    assert!(board.record()["trial"].is_null(), "{}", board.record());

    // A workload that is started now has its shim from the new one.
    board.fleet.apply_wait(&sleeping("later")).done();

    // Signals reach what took the place of its guard.
    assert!(board.agent.daemon.stop().success());
    board.agent.answer_again(&board.fleet);
    board.wait_version("9.0.0");
    board.assert_undisturbed();

    // To another one, and from there back to the one before.
    board.push(&board.releases.good("9.1.0"));
    board.upgrade("9.1.0");
    board.wait_version("9.1.0");
    board.wait_phase("succeeded");
    board.fleet.cli(["upgrade", "rollback", "-y"]).done();
    wait_until("it has proved itself once more", || {
        let record = board.record();
        record["current"]["version"] == "9.0.0" && record["trial"].is_null()
    });
    board.wait_version("9.0.0");
    board.assert_undisturbed();

    // The fleet decides no more: the board keeps what it has.
    board.fleet.cli(["rm", "fleetctl-agent", "-y"]).done();
    wait_until("it is no workload any more", || {
        board.fleet.instance("fleetctl-agent").is_none()
    });
    board.agent.come_back(&board.fleet);
    board.wait_version("9.0.0");
    board.assert_undisturbed();
}

#[test]
fn whoever_is_killed_in_the_middle_an_agent_comes_up() {
    let mut board = Board::start();
    let mut random = fleetctl::support::clock::seed();
    eprintln!("seed {random}");
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..6 {
        let version = format!("9.0.{round}");
        board.push(&board.releases.good(&version));
        board.upgrade(&version);
        // Once it has begun, at any moment.
        if round % 2 == 0 {
            wait_until("it is on trial, or over", || {
                !board.record()["trial"].is_null() || board.version() == version
            });
        }
        thread::sleep(Duration::from_millis(next(900)));
        let kind = ["guard", "child", "both"][next(3) as usize];
        let child = board.child();
        eprintln!("{version}: kills {kind}, the child is {child:?}");
        if let (Some(child), "child" | "both") = (child, kind) {
            let _ = kill_process(child, Signal::KILL);
        }
        if kind != "child" {
            board.agent.daemon.kill9();
        }
        // What a service manager does.
        if board.agent.daemon.status().is_some() {
            board.agent.launch_again();
        }
        let over = ["succeeded", "rolled_back", "failed"];
        let end = wait_for("the upgrade is over", || {
            let phase = board.phase()?["phase"].as_str()?.to_owned();
            over.contains(&phase.as_str()).then_some(phase)
        });
        wait_until("its node is online, with nothing undecided", || {
            board.fleet.node_state(&board.agent.name) == "online"
                && board.record()["trial"].is_null()
        });
        eprintln!("{version}: {end}, runs {}", board.version());
        if end == "succeeded" {
            board.wait_version(&version);
        }
        board.assert_undisturbed();
    }
}

#[test]
fn a_board_that_loses_its_network_goes_back_and_its_workloads_run() {
    let mut board = Board::start();
    let old = board.version();
    board.push(&board.releases.good("9.0.0"));
    board.upgrade_within("9.0.0", "--healthy-deadline=3s");
    wait_until("it is on trial", || !board.record()["trial"].is_null());
    board.fleet.controller.kill9();
    let failed = wait_for("it has gone back", || {
        let record = board.record();
        (!record["failed"].is_null() || record["current"]["version"] == "9.0.0").then_some(record)
    });
    if failed["failed"].is_null() {
        // It was quick enough: then it is confirmed, and stays.
        board.fleet.restart();
        board.wait_version("9.0.0");
        return;
    }
    let reason = failed["failed"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("session with the fleet"), "{reason}");
    wait_until("the old one runs without a guard", || {
        board.child().is_none()
    });
    board.assert_undisturbed();
    board.fleet.restart();
    board.wait_version(&old);
    board.wait_phase("rolled_back");
    board.assert_undisturbed();
}

#[test]
fn what_is_no_program_is_never_started() {
    let board = Board::start();
    let good = fs::read(board.releases.good("9.0.0")).unwrap();
    push_raw(&board.fleet, "9.0.0", &good[..4 << 20]);
    board.upgrade("9.0.0");
    let over = board.wait_phase("rolled_back");
    let reason = over["verdict"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("cut off"), "{over}");
    assert_eq!(board.record()["trial"], Value::Null);

    // Its marker says another version than the fleet asks for.
    let other = fs::read(board.releases.bad("7.0.0", Bad::Exits)).unwrap();
    push_raw(&board.fleet, "9.1.0", &other);
    board.upgrade("9.1.0");
    let over = wait_for("that one is rolled back too", || {
        let over = board.phase()?;
        let said = over["verdict"]["reason"].as_str()?.contains("7.0.0");
        (said && over["phase"] == "rolled_back").then_some(over)
    });
    let reason = over["verdict"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("and not version 9.1.0"), "{over}");
    board.wait_version(release::version());
    board.assert_undisturbed();
}

#[test]
fn a_disk_without_room_is_told_and_the_old_one_goes_on() {
    let disk = SmallDisk::mount();
    let (fleet, releases) = (Fleet::start(), Releases::new());
    let data = disk.path().join("agent");
    let agent = fleet
        .agent("board")
        .binary(releases.installed())
        .data(&data)
        .start();
    let good = releases.good("9.0.0");
    fleet
        .cli(["upgrade", "push", good.to_str().unwrap()])
        .done();
    // At once, and not after the three minutes that a board has to become healthy.
    fleet
        .cli(["upgrade", "9.0.0", "-y", "--min-healthy-time=300ms"])
        .done();
    let over = wait_for("the upgrade is taken back", || {
        let over = phase_in(&fleet)?;
        (over["phase"] == "rolled_back").then_some(over)
    });
    let reason = over["verdict"]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("MiB free") && reason.contains("are needed"),
        "{over}"
    );
    let shown = fleet.wait_instance("fleetctl-agent", "runs", |i| i["state"] == "running");
    assert_eq!(shown["version"], "installed", "{shown}");
    assert_eq!(fleet.node_state(&agent.name), "online");
}

#[test]
fn a_healthy_release_whose_trial_another_order_cut_short_is_gone_back_to() {
    let board = Board::start();
    board.push(&board.releases.good("9.0.0"));
    let watched = "--min-healthy-time=6s";
    let words = ["upgrade", "9.0.0", "-y", DEADLINE, watched];
    board.fleet.cli(words).done();
    board.wait_phase("succeeded");
    let cut = fs::read(board.releases.good("9.1.0")).unwrap();
    push_raw(&board.fleet, "9.1.0", &cut[..4 << 20]);

    let late = board.fleet.agent("late");
    let late = late.binary(board.releases.installed()).start();
    let says = |version: &str| {
        let node = board.fleet.node(&late.name).unwrap_or_default();
        node.to_string().contains(&format!("\"{version}\""))
    };
    wait_until("9.0.0 is on trial on it, and connected", || says("9.0.0"));
    let words = ["upgrade", "9.1.0", "-y", DEADLINE, "--node", &late.name];
    board.fleet.cli(words.iter().chain(&QUICK)).done();
    late.wait_log(&["hands over", "something else is wanted in its place"]);
    board.wait_phase("rolled_back");
    let record = wait_for("9.0.0 is what it runs", || {
        let text = fs::read_to_string(late.data.join("upgrade/record.json")).ok()?;
        let record: Value = serde_json::from_str(&text).ok()?;
        (record["current"]["version"] == "9.0.0" && record["trial"].is_null()).then_some(record)
    });
    assert_eq!(record["failed"], Value::Null, "{record}");
    wait_until("it says so", || {
        says("9.0.0") && board.fleet.node_state(&late.name) == "online"
    });
}

#[test]
fn what_is_taken_back_during_its_trial_is_neither_confirmed_nor_called_bad() {
    let board = Board::start();
    let old = board.version();
    board.push(&board.releases.good("9.0.0"));
    for taken_back in [
        ["upgrade", "rollback", "-y"],
        ["rm", "fleetctl-agent", "-y"],
    ] {
        let words = ["upgrade", "9.0.0", "-y", DEADLINE, "--min-healthy-time=15s"];
        board.fleet.cli(words).done();
        wait_until("it is on trial, and healthy", || {
            let shown = board.fleet.instance("fleetctl-agent").unwrap_or_default();
            shown["version"] == "9.0.0" && shown["health"] == "healthy" && board.child().is_some()
        });
        let written = board.agent.log_len();
        board.fleet.cli(taken_back).done();
        board.agent.wait_log_since(written, &["hands over"]);
        board.wait_version(&old);
        let record = board.record();
        assert_eq!(record["current"]["program"], "installed", "{record}");
        assert!(
            record["trial"].is_null() && record["failed"].is_null(),
            "{record}"
        );
        board.assert_undisturbed();
    }
    board.upgrade("9.0.0");
    board.wait_version("9.0.0");
    board.wait_phase("succeeded");
}

#[test]
fn what_a_person_installs_wins_and_the_fleets_wish_is_carried_out_on_top_of_it() {
    let (fleet, releases) = (Fleet::start(), Releases::new());
    let installed: PathBuf = fleet.dir().join("usr-bin-fleetctl");
    fs::copy(releases.installed(), &installed).unwrap();
    let mut agent = fleet.agent("board").binary(&installed).start();
    for version in ["9.0.0", "9.5.0"] {
        let good = releases.good(version);
        let push = ["upgrade", "push", good.to_str().unwrap()];
        fleet.cli(push).done();
    }
    let words = ["upgrade", "9.0.0", "-y", DEADLINE];
    fleet.cli(words.iter().chain(&QUICK)).done();
    let runs = |version: &str| {
        wait_until(&format!("it runs {version}"), || {
            let node = fleet.node(&agent_name(&fleet)).unwrap_or_default();
            node.to_string().contains(&format!("\"{version}\""))
        });
    };
    runs("9.0.0");
    wait_until("nothing is undecided", || {
        let text = fs::read_to_string(agent.data.join("upgrade/record.json"));
        !text.unwrap_or_default().contains("trial")
    });
    agent.daemon.kill9();
    // As a package manager does it.
    let beside = fleet.dir().join("usr-bin-fleetctl.new");
    fs::copy(releases.good("9.5.0"), &beside).unwrap();
    fs::rename(&beside, &installed).unwrap();
    let written = agent.log_len();
    agent.launch_again();
    agent.wait_log_since(written, &["another fleetctl was installed"]);
    // The fleet still wants what it wants.
    agent.wait_log_since(written, &["takes the place of its guard"]);
    runs("9.0.0");
}

fn agent_name(fleet: &Fleet) -> String {
    fleet.name("board")
}

#[test]
fn the_guard_hides_nothing_and_ends_when_it_is_asked_to() {
    let mut board = Board::start();
    board.push(&board.releases.bad("9.0.0", Bad::Hangs));
    board.upgrade("9.0.0");
    wait_until("the child hangs", || board.child().is_some());
    let begun = Instant::now();
    assert!(board.agent.daemon.stop().success(), "{:?}", begun.elapsed());
    board.assert_undisturbed();
    // The next start tries it once more, and then no more.
    board.agent.launch_again();
    wait_until("it is tried again", || board.child().is_some());
    assert_eq!(board.record()["trial"]["tries"], 2);
    board.agent.daemon.kill9();
    wait_until("its child dies with it", || board.child().is_none());
    board.agent.launch_again();
    board.wait_phase("rolled_back");
    let failed = board.record()["failed"].to_string();
    let given_up = failed.contains("started 2 times") || failed == "null";
    assert!(given_up, "{failed}");
    board.wait_version(release::version());
    board.assert_undisturbed();
}
