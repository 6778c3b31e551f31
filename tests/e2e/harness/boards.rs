//! Boards with a real init system and a real sshd (`tests/boards.sh`), in a network of a test's own.

use super::fleet::Ran;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Boards and their network; all of it goes with this, and with the test's process however it ends.
#[derive(Debug)]
pub struct Boards {
    dir: TempDir,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards.sh")
}

impl Boards {
    pub fn new() -> Boards {
        assert!(
            rustix::process::geteuid().is_root(),
            "boards need root: run the tests as root"
        );
        let dir = tempfile::Builder::new().prefix("boards").tempdir().unwrap();
        Boards { dir }
    }

    /// Where all of it is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Of the control host, in the network 10.77.0.0/24.
    pub fn control(&self) -> String {
        "10.77.0.1".to_owned()
    }

    /// Of the board with this number.
    pub fn address(&self, number: u8) -> String {
        format!("10.77.0.{number}")
    }

    /// The private key of `root`, `pi` and `guest` on all boards.
    pub fn key(&self) -> PathBuf {
        self.dir().join("key")
    }

    fn run<S: AsRef<OsStr>>(&self, action: &str, args: &[S]) -> Ran {
        let mut command = Command::new(script());
        command.arg(action).arg(self.dir()).args(args);
        command.env("BOARDS_OWNER", std::process::id().to_string());
        Ran::of(&mut command)
    }

    /// Boots a board; `init` and options as for the script.
    pub fn start(&self, name: &str, number: u8, init: &[&str]) {
        let address = self.address(number);
        let mut args = vec![name, &address];
        args.extend(init);
        self.run("start", &args).done();
    }

    /// Boots several, four at a time.
    pub fn start_all(&self, boards: &[(&str, u8, &[&str])]) {
        for four in boards.chunks(4) {
            std::thread::scope(|scope| {
                for (name, number, init) in four {
                    scope.spawn(|| self.start(name, *number, init));
                }
            });
        }
    }

    /// The disk of a board; made, where it has none yet.
    pub fn disk(&self, name: &str) -> PathBuf {
        let root = self.dir().join(name).join("root");
        if !root.join("etc").exists() {
            self.run("make", &[name]).done();
        }
        root
    }

    /// Cuts its power; the disk stays.
    pub fn halt(&self, name: &str) {
        self.run("halt", &[name]).done();
    }

    /// Runs something inside a board.
    pub fn on(&self, name: &str, command: &[&str]) -> Ran {
        let mut args = vec![name, "--"];
        args.extend(command);
        self.run("exec", &args)
    }

    /// The namespace of the control host, for `ip netns exec`; there once a board has started.
    pub fn namespace(&self) -> String {
        let env = fs::read_to_string(self.dir().join("env")).unwrap();
        let line = env.lines().find_map(|l| l.strip_prefix("CONTROL="));
        line.unwrap().to_owned()
    }

    /// The command as the control host runs it.
    pub fn control_command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(), program]);
        command
    }
}

impl Drop for Boards {
    fn drop(&mut self) {
        let ran = self.run::<&str>("stop", &[]);
        if ran.code != 0 {
            eprintln!("boards were not stopped: {ran:?}");
        }
    }
}
