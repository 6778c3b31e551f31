//! The units of systemd and the script of OpenRC: as files, and on a board that boots with them.

use super::harness::{Daemon, wait_for, wait_until};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const ROLES: [&str; 3] = ["agent", "controller", "broker"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = [stdout, stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    (status.success(), text.concat())
}

/// The unit as it ships, with a program that is there.
fn unit(dir: &Path, role: &str) -> PathBuf {
    let name = format!("fleetctl-{role}.service");
    let text = fs::read_to_string(root().join("packaging").join(&name)).expect("the unit");
    let path = dir.join(name);
    let text = text.replace("/usr/local/bin/fleetctl", env!("CARGO_BIN_EXE_fleetctl"));
    fs::write(&path, text).expect("a copy of it");
    path
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    let dir = tempfile::tempdir().expect("a directory");
    for role in ROLES {
        let mut command = Command::new("systemd-analyze");
        command
            .args(["verify", "--man=no"])
            .arg(unit(dir.path(), role));
        assert_eq!(run(&mut command), (true, String::new()), "{role}");
    }
}

/// An agent starts what others wrote, with all the rights that it may have: it is exposed as any
/// supervisor is. The other two are not.
#[test]
fn the_units_give_away_no_more_than_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    for (role, most) in [("agent", 8.5), ("controller", 1.6), ("broker", 1.6)] {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]);
        let (_, said) = run(command.arg(unit(dir.path(), role)));
        let last = said.lines().last().unwrap_or_default();
        let figure = last.split_whitespace().find_map(|w| w.parse::<f64>().ok());
        eprintln!("{last}");
        assert!(
            figure.is_some_and(|figure| figure <= most),
            "{role}: {last}"
        );
    }
}

#[test]
fn the_script_of_openrc_is_sound() {
    let script = root().join("packaging/fleetctl.openrc");
    let (fine, said) = run(Command::new("shellcheck").arg(&script));
    assert!(fine, "{said}");
    // As the shell of a small board reads it.
    let (fine, said) = run(Command::new("busybox").args(["sh", "-n"]).arg(&script));
    assert!(fine, "{said}");
}

/// A board with a real init system, in a network of its own; gone when dropped.
struct Board {
    dir: tempfile::TempDir,
    program: String,
}

impl Board {
    fn boards(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new("bash");
        command.arg(root().join("tests/boards.sh")).arg(args[0]);
        command.arg(self.dir.path()).args(&args[1..]);
        command.env("BOARDS_OWNER", std::process::id().to_string());
        run(&mut command)
    }

    fn new() -> Board {
        let board = Board {
            dir: tempfile::tempdir().expect("a directory"),
            program: env!("CARGO_BIN_EXE_fleetctl").to_owned(),
        };
        let (fine, said) = board.boards(&["make", "pi"]);
        assert!(fine, "{said}");
        board
    }

    fn boot(&self, init: &str) {
        let bind = format!("--bind-ro={}:/usr/local/bin/fleetctl", self.program);
        let (fine, said) = self.boards(&["start", "pi", "10.77.3.2", init, &bind]);
        assert!(fine, "{said}");
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join("pi/root").join(inside)
    }

    fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a place")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn try_sh(&self, line: &str) -> (bool, String) {
        self.boards(&["exec", "pi", "--", "sh", "-c", line])
    }

    #[track_caller]
    fn sh(&self, line: &str) -> String {
        let (fine, said) = self.try_sh(line);
        assert!(fine, "{line}: {said}");
        said.trim().to_owned()
    }

    /// The operator's command, on the board itself.
    fn ctl(&self, line: &str) -> (bool, String) {
        self.try_sh(&format!(
            "FLEETCTL_URL=http://127.0.0.1:7070 \
             FLEETCTL_TOKEN=$(cat /var/lib/fleetctl/controller/admin.token) \
             /usr/local/bin/fleetctl {line}"
        ))
    }

    fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show -P {name} {unit}"))
    }

    fn instance_runs(&self, workload: &str) -> bool {
        let (_, said) = self.ctl("ps -o json");
        let all: Value = serde_json::from_str(&said).unwrap_or_default();
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter()
            .any(|i| i["workload"] == workload && i["state"] == "running")
    }

    fn online(&self) -> bool {
        let (_, said) = self.ctl("node ls -o json");
        said.contains(r#""state": "online""#) || said.contains(r#""state":"online""#)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.boards(&["stop"]);
    }
}

const WORKLOADS: &str = r#"
[workload.plain]
command = ["/bin/sh", "-c", "id -un >/var/lib/other/user; echo $$ >/var/lib/other/pid; exec sleep 100000"]
user = "pi"

[workload.root]
command = ["/bin/sh", "-c", "echo by-root >/etc/by-root; exec sleep 100000"]

[workload.root.files]
"/etc/placed.conf" = "placed"
"#;

#[test]
fn a_board_with_systemd_joins_from_its_card_and_keeps_its_workloads() {
    let board = Board::new();
    for role in ROLES {
        let name = format!("fleetctl-{role}.service");
        let text = fs::read_to_string(root().join("packaging").join(&name)).expect("the unit");
        board.write(&format!("etc/systemd/system/{name}"), &text);
    }
    board.write(
        "etc/systemd/system/fleetctl-agent.service.d/quick.conf",
        "[Service]\nWatchdogSec=3s\nTimeoutAbortSec=2s\nEnvironment=FLEETCTL_RECONNECT_MAX=1s\n",
    );
    // The files of the machine, which the units name nowhere.
    board.write(
        "etc/fleetctl/agent.toml",
        "[agent]\nlabels = { from = \"its-file\" }\n",
    );
    board.write(
        "etc/fleetctl/controller.toml",
        "[controller]\nmqtt_listen = [\"tls://0.0.0.0:8884\", \"tcp://127.0.0.1:1883\"]\n",
    );
    board.write("boot/fleetctl-boot/name.txt", "pi-1\r\n");
    board.boot("systemd");

    // Its start returns when it is ready, so it answers at once, as a user of its own.
    board.sh("systemctl start fleetctl-controller");
    let (fine, token) = board.ctl("token create --kind join");
    assert!(fine, "{token}");
    let owner = board.sh("stat -Lc %u /var/lib/fleetctl/controller/journal.db");
    assert_ne!(owner, "0", "it runs as root");
    assert_eq!(
        board.property("fleetctl-controller", "StatusText"),
        "listening"
    );

    // First boot.
    board.write(
        "boot/fleetctl-boot/join.txt",
        &format!("{}\r\n", token.trim()),
    );
    board.sh("systemctl enable --now fleetctl-agent 2>&1");
    wait_until("the node is online", || board.online());
    let (_, said) = board.ctl("node ls -l from=its-file -o json");
    assert!(said.contains("pi-1"), "the labels of its file: {said}");
    let listening = board.sh("ss -ltn");
    assert!(listening.contains(":8884"), "{listening}");
    wait_until("the card is clean", || {
        board.sh("ls /boot/fleetctl-boot").is_empty()
    });
    wait_until("the status says so", || {
        board
            .property("fleetctl-agent", "StatusText")
            .contains("node pi-1, connected")
    });

    // Workloads write where their users may; the agent itself does not.
    board.sh("mkdir -p /var/lib/other && chown pi /var/lib/other");
    board.write("root/w.toml", WORKLOADS);
    let (fine, said) = board.ctl("apply -y --wait --timeout 30s -f /root/w.toml");
    assert!(fine, "{said}");
    assert_eq!(board.sh("cat /var/lib/other/user"), "pi");
    assert_eq!(
        board.sh("cat /etc/by-root /etc/placed.conf"),
        "by-root\nplaced"
    );
    let agent = board.property("fleetctl-agent", "MainPID");
    let mounts = board.sh(&format!("cat /proc/{agent}/mountinfo"));
    let slash = mounts.lines().find(|l| l.split(' ').nth(4) == Some("/"));
    assert!(slash.is_some_and(|l| l.contains(" / ro")), "{mounts}");
    let environ = board.sh("tr '\\0' '\\n' </proc/$(cat /var/lib/other/pid)/environ");
    assert!(
        !environ.contains("NOTIFY") && !environ.contains("WATCHDOG"),
        "{environ}"
    );

    // An agent that does not move is started anew, and no workload notices.
    let pid = board.sh("cat /var/lib/other/pid");
    board.sh(&format!("kill -STOP {agent}"));
    wait_until("there is another agent", || {
        let now = board.property("fleetctl-agent", "MainPID");
        now != agent && now != "0" && board.property("fleetctl-agent", "ActiveState") == "active"
    });
    assert_eq!(board.sh("cat /var/lib/other/pid"), pid);
    board.sh(&format!("kill -0 {pid}"));
    wait_until("it is online again", || board.online());
    board.sh("systemctl reload fleetctl-agent");

    // Power cut, and no controller: it is not enabled.
    let (fine, said) = board.boards(&["halt", "pi"]);
    assert!(fine, "{said}");
    board.boot("systemd");
    let again = wait_for("the workload runs again", || {
        let now = board.try_sh("pgrep -u pi sleep");
        now.0.then_some(now.1)
    });
    assert!(!again.trim().is_empty());
    assert_eq!(board.property("fleetctl-agent", "ActiveState"), "active");
    assert_eq!(
        board.property("fleetctl-controller", "ActiveState"),
        "inactive"
    );
    wait_until("the status says so", || {
        let status = board.property("fleetctl-agent", "StatusText");
        status.contains("not connected, 2 running")
    });
}

#[test]
fn a_board_with_openrc_starts_its_agent_and_again_when_it_is_killed() {
    let board = Board::new();
    let packaged = |name: &str| {
        let path = root().join("packaging").join(name);
        fs::read_to_string(path).expect("what is packaged")
    };
    let script = packaged("fleetctl.openrc");
    board.write("etc/init.d/fleetctl-controller", &script);
    // As they lie in a tarball.
    board.write("root/openrc/fleetctl.openrc", &script);
    let settings = "fleetctl_args=\"--name pi-1\"\nfleetctl_log=/var/log/agent.log\n";
    let settings = packaged("fleetctl.confd") + settings;
    board.write("root/openrc/fleetctl.confd", &settings);
    board.boot("openrc");
    board.sh("chmod 755 /etc/init.d/fleetctl-controller");
    board.sh("rc-service fleetctl-controller start");
    // What INSTALL says about such a board, up to the start.
    let said = packaged("INSTALL");
    let said = said.split_once("OpenRC").expect("a part about it").1;
    let lines = said.lines().filter_map(|line| line.strip_prefix("    "));
    let lines: Vec<&str> = lines.take(3).collect();
    assert!(lines[2].starts_with("rc-update add"), "{lines:?}");
    let install = lines.join("\n");
    let (install, start) = install.rsplit_once(" && ").expect("its last word");
    assert_eq!(start, "rc-service fleetctl-agent start");
    board.sh(&format!("cd /root\n{install}"));
    let token = wait_for("the controller answers", || {
        let (fine, token) = board.ctl("token create --kind join");
        fine.then_some(token)
    });
    board.write("boot/fleetctl-boot/join", &token);
    board.sh(start);
    wait_until("the node is online", || board.online());
    board.write(
        "root/w.toml",
        "[workload.plain]\ncommand = [\"/bin/sleep\", \"100000\"]\n",
    );
    let (fine, said) = board.ctl("apply -y --wait --timeout 30s -f /root/w.toml");
    assert!(fine, "{said}");
    assert!(board.instance_runs("plain"));
    let program = board.sh("pgrep -x sleep");
    let agent = board.sh("pgrep -f '^/usr/local/bin/fleetctl agent'");
    board.sh(&format!("kill -9 {agent}"));
    let again = wait_for("there is another agent", || {
        let (fine, now) = board.try_sh("pgrep -f '^/usr/local/bin/fleetctl agent'");
        (fine && now.trim() != agent).then_some(now)
    });
    assert!(!again.is_empty());
    assert_eq!(board.sh("pgrep -x sleep"), program, "the workload goes on");
    board.sh("rc-service fleetctl-agent reload");
    board.sh("rc-service fleetctl-agent stop");
    assert_eq!(board.sh("pgrep -x sleep"), program, "the workload goes on");
}

/// What a manager is told, by the program itself, without one.
#[test]
fn an_agent_without_a_network_says_that_it_is_ready_and_lives() {
    use std::os::unix::net::UnixDatagram;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    fs::create_dir(dir.path().join("workloads")).expect("a directory");
    let mut command = super::harness::fleetctl();
    command
        .args([
            "agent",
            "--standalone",
            "--name=alone",
            "--docker-socket=off",
        ])
        .arg("--podman-socket=off")
        .arg(format!("--dir={}", dir.path().join("workloads").display()))
        .arg(format!("--data-dir={}", dir.path().join("data").display()))
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("WATCHDOG_USEC", "400000");
    let mut agent = Daemon::spawn("alone", command, &dir.path().join("log"));
    let limit = std::time::Duration::from_secs(20);
    socket.set_read_timeout(Some(limit)).expect("a limit");
    let next = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("it says something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(next(), "READY=1");
    assert_eq!(next(), "STATUS=standalone, 0 running");
    assert_eq!(
        [next(), next(), next()],
        ["WATCHDOG=1"; 3].map(str::to_owned)
    );
    // Stopped, it says nothing any more.
    agent.freeze();
    let short = std::time::Duration::from_millis(900);
    socket.set_read_timeout(Some(short)).expect("a limit");
    let mut buffer = [0; 512];
    let mut left = 0;
    while socket.recv(&mut buffer).is_ok() {
        left += 1;
        assert!(left < 3, "it goes on saying that it lives");
    }
    agent.thaw();
    socket.set_read_timeout(Some(limit)).expect("a limit");
    assert_eq!(agent.stop().code(), Some(0));
    let mut said = next();
    while said == "WATCHDOG=1" {
        said = next();
    }
    assert_eq!(said, "STOPPING=1");
}
