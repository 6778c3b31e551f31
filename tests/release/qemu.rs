//! Each binary does its work: natively, or as on a board with another processor, by qemu.
//!
//! The whole agent runs under `qemu-user`, and so does each shim that it starts, since a shim is the
//! agent's own program: the kernel is told (binfmt_misc) to start such programs by qemu. What the
//! shim starts are programs of this machine.

use super::{done, unpack};
use crate::e2e::harness::{Agent, Daemon, Fleet, wait_for, wait_until};
use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";
/// Addresses that a program under qemu gets are all in one piece of this size.
const GUEST: u64 = 1 << 32;

/// So that the kernel starts programs for `processor` by qemu: also from within another root, since
/// the emulator is opened now (flag F).
#[track_caller]
fn emulate(processor: &str) {
    if !Path::new(REGISTERED).join("register").exists() {
        let mut mount = Command::new("mount");
        done(mount.args(["-t", "binfmt_misc", "binfmt_misc", REGISTERED]));
    }
    let entry = Path::new(REGISTERED).join(format!("qemu-{processor}"));
    if entry.exists() {
        return;
    }
    let rule = format!("/usr/lib/binfmt.d/qemu-{processor}.conf");
    let rule = fs::read_to_string(&rule)
        .unwrap_or_else(|e| panic!("{rule}: {e} (apt-get install qemu-user-static)"));
    let written = fs::write(Path::new(REGISTERED).join("register"), rule.trim_end());
    // Another test may have been faster.
    assert!(written.is_ok() || entry.exists(), "{written:?}");
}

/// One line of what is shown of this run.
fn tell(target: &str, text: &str) {
    for line in text.trim_end().lines() {
        println!("{target}: {line}");
    }
}

/// What an operator types, and what is answered.
#[track_caller]
fn operate(target: &str, fleet: &Fleet, args: &[&str]) -> String {
    tell(target, &format!("$ fleetctl {}", args.join(" ")));
    let said = fleet.cli(args).done();
    tell(target, &said.out);
    said.out
}

/// Mappings of a process with the KiB of each that are in memory: (from, to, offset, file, KiB).
fn mappings(pid: u32) -> Vec<(u64, u64, u64, String, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the agent's mappings");
    let mut all = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let range = words.first().and_then(|w| w.split_once('-'));
        if let Some((Some(from), Some(to))) = range.map(|(f, t)| (hex(f), hex(t))) {
            let file = words.get(5).copied().unwrap_or_default().to_owned();
            all.push((from, to, hex(words[2]).unwrap_or(0), file, 0));
        } else if let (Some(&"Rss:"), Some(last)) = (words.first(), all.last_mut()) {
            last.4 = words[1].parse().expect("KiB");
        }
    }
    all
}

/// KiB that the program itself has in memory.
///
/// Under qemu the process is the emulator with the program in it: counted is what lies in the one
/// piece of address space that the program has, which begins where its file is mapped. Code counts
/// as far as qemu has read it to translate it.
fn resident(pid: u32, binary: &Path, emulated: bool) -> u64 {
    let all = mappings(pid);
    if !emulated {
        return all.iter().map(|m| m.4).sum();
    }
    let mut readelf = Command::new("readelf");
    let headers = done(readelf.arg("-lW").arg(binary));
    let load = headers.lines().find(|l| l.trim_start().starts_with("LOAD"));
    let address = load.and_then(|l| l.split_whitespace().nth(2));
    let address = address.and_then(|a| u64::from_str_radix(a.trim_start_matches("0x"), 16).ok());
    let address = address.expect("the address of the first segment");
    let name = binary.to_string_lossy();
    let first = all.iter().find(|m| m.3 == name && m.2 == 0);
    let begin = first.expect("the program's file").0 - address;
    let within = |m: &&(u64, u64, u64, String, u64)| m.0 >= begin && m.1 <= begin + GUEST;
    all.iter().filter(within).map(|m| m.4).sum()
}

/// Its memory once it rests: when it is the same twice in a row, five seconds apart, after the time
/// at which an agent gives back what only its start needed.
fn resting(agent: &Agent, binary: &Path, emulated: bool) -> u64 {
    let began = Instant::now();
    let mut before = 0;
    loop {
        let now = resident(agent.daemon.pid(), binary, emulated);
        let settled = began.elapsed() > Duration::from_secs(12) && now.abs_diff(before) < 64;
        if settled || began.elapsed() > Duration::from_secs(60) {
            return now;
        }
        before = now;
        thread::sleep(Duration::from_secs(5));
    }
}

fn does_its_work(target: &str, processor: Option<&str>) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let binary = unpack(target, place.path()).join("fleetctl");
    if let Some(processor) = processor {
        emulate(processor);
        let interpreter =
            fs::read_to_string(Path::new(REGISTERED).join(format!("qemu-{processor}")));
        tell(target, &interpreter.expect("the entry of binfmt_misc"));
    }
    let version = done(Command::new(&binary).arg("--version"));
    tell(target, &version);
    assert!(version.contains(super::VERSION), "{version}");

    let fleet = Fleet::setup().tls().start();
    let mut setup = fleet.agent("board").binary(&binary);
    if target.starts_with("aarch64") {
        // A 32-bit program has no more than that anyway.
        setup = setup.variable("QEMU_RESERVED_VA", &format!("{GUEST:#x}"));
    }
    let mut agent = setup.launch();
    // An emulator translates a whole TLS handshake first: longer than the usual patience.
    let deadline = Instant::now() + Duration::from_secs(90);
    while fleet.node_state(&agent.name) != "online" {
        assert!(Instant::now() < deadline, "it does not come online");
        thread::sleep(Duration::from_millis(100));
    }
    let log = agent.daemon.log();
    tell(target, &log);
    let exe = fs::read_link(format!("/proc/{}/exe", agent.daemon.pid())).expect("its program");
    assert_eq!(
        exe.to_string_lossy().contains("qemu"),
        processor.is_some(),
        "it runs as {}",
        exe.display()
    );

    let manifest = "[workload.beat]\ncommand = [\"/bin/busybox\", \"sh\", \"-c\", \
        \"i=0; while :; do i=$((i+1)); echo beat $i; sleep 1; done\"]\nstop_timeout = \"1s\"\n\
        [workload.beat.restart]\ndelay = \"0s\"\n";
    let file = fleet.manifest("beat", manifest);
    let file = file.to_string_lossy();
    operate(
        target,
        &fleet,
        &["apply", "-y", "--wait", "--timeout", "60s", "-f", &file],
    );
    fleet.wait_running("beat");
    operate(target, &fleet, &["ps"]);
    wait_until("its output is there", || {
        fleet.cli(["logs", "beat"]).out.contains("beat 2")
    });
    operate(target, &fleet, &["logs", "beat", "--tail", "2"]);

    // Ended from outside, it runs again.
    let first = agent.process("beat");
    first.child.kill9();
    fleet.wait_instance("beat", "runs again", |i| {
        i["state"] == "running" && i["restarts"] == 1
    });
    let second = agent.process("beat");
    assert_ne!(second.child, first.child);
    operate(target, &fleet, &["workload", "restart", "beat"]);
    let third = wait_for("it was restarted", || {
        let now = crate::e2e::harness::native::running(agent.data(), "beat")?;
        (now.child != second.child).then_some(now)
    });
    fleet.wait_running("beat");
    operate(target, &fleet, &["ps"]);

    // The agent is killed; the process does not notice, and the next agent finds it.
    tell(target, "the agent gets SIGKILL and is started again");
    agent.come_back(&fleet);
    assert_eq!(agent.process("beat"), third);
    fleet.wait_running("beat");
    operate(target, &fleet, &["node", "ls"]);

    let kib = resting(&agent, &binary, processor.is_some());
    let what = match processor {
        None => "RSS of the agent at rest, with TLS and one process".to_owned(),
        Some(_) => {
            "of the agent at rest in memory, within its emulator (all its data; code as far as \
             qemu read it)"
                .to_owned()
        }
    };
    tell(
        target,
        &format!("{kib} KiB ({:.2} MiB): {what}", kib as f64 / 1024.0),
    );
    let status = fs::read_to_string(format!("/proc/{}/status", agent.daemon.pid()));
    let status = status.expect("its status");
    for line in status
        .lines()
        .filter(|l| l.starts_with("VmRSS") || l.starts_with("Rss"))
    {
        let of = if processor.is_some() {
            " (the emulator and all: says nothing of a board)"
        } else {
            ""
        };
        tell(target, &format!("{line}{of}"));
    }

    operate(target, &fleet, &["rm", "beat", "-y"]);
    wait_until("its process is gone", || !third.child.lives());
    ends_well(target, &mut agent.daemon);
}

/// SIGTERM, as `systemctl stop` sends it.
fn ends_well(target: &str, daemon: &mut Daemon) {
    let status = daemon.stop();
    tell(target, &format!("after SIGTERM: {status}"));
    assert!(status.success(), "{status}");
}

#[test]
fn the_x86_64_binary_joins_runs_a_process_and_survives_a_kill() {
    does_its_work("x86_64-unknown-linux-musl", None);
}

#[test]
fn the_aarch64_binary_joins_runs_a_process_and_survives_a_kill() {
    does_its_work("aarch64-unknown-linux-musl", Some("aarch64"));
}

#[test]
fn the_32_bit_arm_binary_joins_runs_a_process_and_survives_a_kill() {
    does_its_work("armv7-unknown-linux-gnueabihf", Some("arm"));
}
