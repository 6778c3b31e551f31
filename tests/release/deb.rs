//! The Debian packages: installed, upgraded, removed and purged as a person does it.
//!
//! The one for this kind of processor on a board with a real systemd, those for ARM in roots of their
//! architecture without one. What a purge leaves behind is found by comparing lists of files.

use super::{dist, done};
use crate::e2e::harness::{Fleet, PATIENCE, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};
use tempfile::TempDir;

/// A service that was restarted, on a machine that does other things too.
const UNITS: [&str; 2] = ["fleetctl-agent", "fleetctl-controller"];

/// The package of an architecture; the test fails with what to do when there is none.
#[track_caller]
fn package(arch: &str) -> PathBuf {
    let version = super::VERSION.replacen('-', "~", 1);
    let deb = dist().join(format!("fleetctl_{version}_{arch}.deb"));
    assert!(
        deb.exists(),
        "{} is missing: run `make release`",
        deb.display()
    );
    deb
}

/// The same package with a higher version, as the next release would be.
fn next(deb: &Path, to: &Path) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let tree = place.path().join("tree");
    done(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("its control file");
    let lines = text
        .lines()
        .map(|line| match line.strip_prefix("Version: ") {
            Some(version) => format!("Version: {version}+next\n"),
            None => format!("{line}\n"),
        });
    fs::write(&control, lines.collect::<String>()).expect("its control file");
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "-z1", "-b"]);
    done(build.arg(&tree).arg(to));
}

/// A Debian of a test's own; gone when dropped.
struct Debian {
    dir: TempDir,
    /// Its files, from here.
    root: PathBuf,
    /// With systemd, or only its files.
    boots: bool,
}

fn boards() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards.sh"))
}

impl Debian {
    /// With systemd as its first process.
    fn booted(address: &str) -> Debian {
        let dir = tempfile::tempdir().expect("a temporary directory");
        done(
            boards()
                .arg("start")
                .arg(dir.path())
                .args(["board", address]),
        );
        let root = dir.path().join("board/root");
        Debian {
            dir,
            root,
            boots: true,
        }
    }

    /// Only its files, of this architecture.
    fn files(arch: &str) -> Debian {
        // Made before the first use, which can take minutes: not within anybody's patience.
        done(boards().args(["root", arch]));
        let dir = tempfile::tempdir().expect("a temporary directory");
        done(boards().arg("make").arg(dir.path()).args(["board", arch]));
        let root = dir.path().join("board/root");
        let at = |name: &str| root.join(name);
        done(
            Command::new("mount")
                .args(["-t", "proc", "proc"])
                .arg(at("proc")),
        );
        done(
            Command::new("mount")
                .args(["--bind", "/dev"])
                .arg(at("dev")),
        );
        Debian {
            dir,
            root,
            boots: false,
        }
    }

    /// A command in it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = if self.boots {
            let mut command = boards();
            command
                .arg("exec")
                .arg(self.dir.path())
                .args(["board", "--"]);
            command
        } else {
            let mut command = Command::new("chroot");
            command.arg(&self.root);
            command
        };
        command.args(words);
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.env("HOME", "/root").env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLEETCTL_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs it, whether it works or not.
    fn run(&self, words: &[&str]) -> Output {
        let output = self.command(words).output();
        output.unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// Runs a shell's commands that must work; what they printed.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        done(&mut self.command(&["sh", "-ec", &format!("{script} 2>&1")]))
    }

    /// Puts a file there.
    fn put(&self, from: &Path, to: &str) {
        let to = self.root.join(to.trim_start_matches('/'));
        fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    }

    fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path.trim_start_matches('/'))).is_ok()
    }

    /// Every path in it that is there to stay, beside what any installation of any package leaves.
    fn paths(&self) -> BTreeSet<String> {
        let mut find = Command::new("find");
        find.arg(&self.root)
            .args(["-ignore_readdir_race", "-xdev", "-printf", "/%P\n"]);
        let all = done(&mut find);
        let passing = [
            "/dev/",
            "/proc/",
            "/sys/",
            "/run/",
            "/tmp/",
            "/root/",
            "/var/cache/",
            "/var/log/",
            "/var/tmp/",
            "/var/lib/dpkg/",
            "/var/lib/apt/",
            "/var/lib/systemd/",
        ];
        let stays = |path: &&str| !passing.iter().any(|p| path.starts_with(p));
        all.lines().filter(stays).map(str::to_owned).collect()
    }

    fn is_active(&self, unit: &str) -> bool {
        self.run(&["systemctl", "--quiet", "is-active", unit])
            .status
            .success()
    }

    /// The process of a service.
    #[track_caller]
    fn main_pid(&self, unit: &str) -> String {
        self.sh(&format!("systemctl show --value -p MainPID {unit}"))
            .trim()
            .to_owned()
    }

    #[track_caller]
    fn wait(&self, what: &str, script: &str) {
        let began = Instant::now();
        wait_until(what, || {
            let output = self.run(&["sh", "-c", script]);
            if began.elapsed() > PATIENCE / 2 {
                eprintln!("{what}: {}", String::from_utf8_lossy(&output.stdout));
            }
            output.status.success()
        });
    }

    /// Until its node is online and its workload runs.
    #[track_caller]
    fn wait_works(&self) {
        self.wait(
            "the node is online",
            "fleetctl node ls -o json | grep '\"state\": \"online\"'",
        );
        self.wait(
            "the workload runs",
            "fleetctl ps -o json | grep '\"state\": \"running\"'",
        );
    }

    /// The process of the native workload; none when it does not run.
    fn workload(&self) -> Option<String> {
        let output = self.run(&["pgrep", "-f", "^/bin/sleep 86399"]);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        if !self.boots {
            for name in ["dev", "proc"] {
                let _ = Command::new("umount")
                    .arg("-l")
                    .arg(self.root.join(name))
                    .status();
            }
        }
        let _ = boards().arg("stop").arg(self.dir.path()).status();
    }
}

/// A controller, an agent and a native workload on one board, as its person would set them up.
fn set_up(board: &Debian) -> String {
    board.sh("systemctl enable --now fleetctl-controller");
    board.wait("the controller answers", "fleetctl token ls");
    board.sh("umask 077; fleetctl token create --kind join >/root/join");
    board.sh("printf 'join_file = \"/root/join\"\\nname = \"pi-1\"\\n' >>/etc/fleetctl/agent.toml");
    board.sh("systemctl enable --now fleetctl-agent");
    let manifest = "[workload.patience]\ncommand = [\"/bin/sleep\", \"86399\"]\n";
    fs::write(board.root.join("root/patience.toml"), manifest).expect("a manifest");
    board.sh("fleetctl apply -y --wait --timeout 30s -f /root/patience.toml");
    board.wait_works();
    board.workload().expect("the workload's process")
}

#[test]
fn a_board_is_set_up_upgraded_removed_and_purged_by_packages() {
    let deb = package("amd64");
    let board = Debian::booted("10.86.1.2");
    board.put(&deb, "/root/fleetctl.deb");
    next(&deb, &board.root.join("root/next.deb"));
    let before = board.paths();

    // Nothing that it would need is missing in the smallest Debian, and nothing starts by itself.
    let said = board.sh("apt-get install -y --no-install-recommends /root/fleetctl.deb");
    assert!(said.contains("0 upgraded, 1 newly installed"), "{said}");
    assert!(
        said.contains("systemctl enable --now fleetctl-agent"),
        "{said}"
    );
    for unit in UNITS {
        assert!(!board.is_active(unit), "{unit} runs");
    }
    let version = board.sh("fleetctl --version");
    assert!(version.contains(super::VERSION), "{version}");

    let pid = set_up(&board);
    let agent = board.main_pid("fleetctl-agent");

    // An upgrade: other processes of the services, the same one of the workload; what a person wrote
    // into /etc stays without a question.
    let said = board.sh("apt-get install -y /root/next.deb");
    assert!(said.contains("1 upgraded"), "{said}");
    let upgraded = board.main_pid("fleetctl-agent");
    assert!(
        upgraded != agent && upgraded != "0",
        "{agent} became {upgraded}"
    );
    board.wait_works();
    assert_eq!(board.workload().as_ref(), Some(&pid));
    board.sh("grep -q pi-1 /etc/fleetctl/agent.toml");

    // A service that a person has stopped is not started by an upgrade.
    board.sh("systemctl stop fleetctl-controller; apt-get install -y --reinstall /root/next.deb");
    assert!(!board.is_active("fleetctl-controller"));
    assert!(board.is_active("fleetctl-agent"));
    board.sh("systemctl start fleetctl-controller");

    // Removed: no program and no unit, but the data and the workload.
    let said = board.sh("apt-get remove -y fleetctl");
    assert!(
        said.contains("native workloads go on running here (1)"),
        "{said}"
    );
    for unit in UNITS {
        assert!(!board.is_active(unit), "{unit} runs");
        assert!(
            !board.run(&["systemctl", "cat", unit]).status.success(),
            "{unit} is there"
        );
    }
    assert!(!board.has("/usr/bin/fleetctl"));
    assert!(board.has("/var/lib/fleetctl/agent/fleet.json"));
    assert!(board.has("/etc/fleetctl/agent.toml"));
    assert_eq!(board.workload().as_ref(), Some(&pid));

    // Installed again it goes on as if nothing had been.
    board.sh("apt-get install -y --no-install-recommends /root/fleetctl.deb");
    for unit in UNITS {
        board.wait(
            &format!("{unit} runs again"),
            &format!("systemctl is-active {unit}"),
        );
    }
    board.wait_works();
    assert_eq!(board.workload(), Some(pid));

    // Purged: the workload is ended and named, and nothing is left that was not there before.
    let said = board.sh("apt-get purge -y fleetctl");
    assert!(
        said.contains("ending the native workload patience"),
        "{said}"
    );
    assert_eq!(board.workload(), None);
    let left: Vec<String> = board.paths().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let failed = board.sh("systemctl --failed --no-legend --plain");
    assert!(!failed.contains("fleetctl"), "{failed}");

    // And once more from the beginning.
    board.sh("apt-get install -y --no-install-recommends /root/fleetctl.deb && fleetctl --version");
    board.sh("apt-get purge -y fleetctl");
    assert!(!board.has("/var/lib/fleetctl"));
}

#[test]
fn a_board_whose_card_was_prepared_starts_its_agent_when_the_package_is_installed() {
    let deb = package("amd64");
    let board = Debian::booted("10.86.2.2");
    board.put(&deb, "/root/fleetctl.deb");
    // As an image maker leaves it: told to work without a controller.
    fs::create_dir_all(board.root.join("etc/fleetctl")).expect("a directory");
    fs::create_dir_all(board.root.join("root/manifests")).expect("a directory");
    let config = "[agent]\nstandalone = true\ndir = \"/root/manifests\"\n";
    fs::write(board.root.join("etc/fleetctl/agent.toml"), config).expect("a file");
    board.sh("dpkg -i --force-confold /root/fleetctl.deb");
    board.wait("the agent answers", "fleetctl --local status");
    assert!(board.is_active("fleetctl-agent"));
    board.sh("systemctl is-enabled fleetctl-agent");
    board.sh("apt-get purge -y fleetctl");
    assert!(!board.has("/etc/systemd/system/multi-user.target.wants/fleetctl-agent.service"));
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs the package of another architecture, joins with it, removes and purges it.
fn foreign(arch: &str, machine: &str) {
    let deb = package(arch);
    let debian = Debian::files(arch);
    debian.put(&deb, "/root/fleetctl.deb");
    let before = debian.paths();
    debian.sh("dpkg -i /root/fleetctl.deb");
    let version = debian.sh("fleetctl --version");
    assert!(version.contains(super::VERSION), "{version}");

    let fleet = Fleet::setup().tls().start();
    let node = fleet.name("foreign");
    let (token, name) = (fleet.join_token(), format!("--name={node}"));
    let words = [
        "fleetctl",
        "agent",
        "--join",
        &token,
        &name,
        "--processes=false",
    ];
    let mut agent = debian.command(&words);
    agent.stdout(Stdio::null()).stderr(Stdio::null());
    let agent = Ended(agent.spawn().expect("an agent"));
    fleet.wait_node(&node, "online");
    wait_until("it says which processor it has", || {
        let shown = fleet.ask("GET", &format!("/api/v1/nodes/{node}"), None);
        shown.json()["facts"].to_string().contains(machine)
    });
    drop(agent);

    debian.sh("dpkg -r fleetctl");
    assert!(!debian.has("/usr/bin/fleetctl") && debian.has("/var/lib/fleetctl/agent/fleet.json"));
    debian.sh("dpkg -P fleetctl");
    let left: Vec<String> = debian.paths().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn the_package_for_arm64_installs_joins_and_leaves_nothing() {
    foreign("arm64", "aarch64");
}

#[test]
fn the_package_for_armhf_installs_joins_and_leaves_nothing() {
    foreign("armhf", "arm");
}

#[test]
fn no_package_has_anything_that_lintian_would_complain_of() {
    for arch in ["amd64", "arm64", "armhf"] {
        let mut lintian = Command::new("lintian");
        lintian
            .args(["--fail-on", "error,warning", "--allow-root"])
            .arg(package(arch));
        let said = done(&mut lintian);
        // Hints that are not meant to be silent either.
        assert_eq!(said.trim(), "", "{arch}");
    }
}

#[test]
fn two_packings_of_one_tarball_are_the_same_bytes() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let tree = super::unpack("x86_64-unknown-linux-musl", place.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/release/deb.sh");
    // Something small in place of the binary: what packs it is looked at, not the packing of much.
    fs::write(tree.join("fleetctl"), "#!/bin/true\n").expect("a file");
    let made = ["a.deb", "b.deb"].map(|name| {
        let out = place.path().join(name);
        let mut pack = Command::new(&script);
        pack.arg(&tree).args(["amd64", "1.0"]).arg(&out);
        done(pack.env("SOURCE_DATE_EPOCH", "1700000000"));
        fs::read(out).expect("the package")
    });
    assert!(made[0] == made[1], "two packings differ");
}
