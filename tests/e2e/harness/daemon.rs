//! A process that a test started: its log, and the signals that make its life hard.

use super::wait::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

/// Killed when dropped; its log is shown when the test has failed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts `command` with both its outputs at the end of the file `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Daemon {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} cannot be started ({command:?}): {e}"));
        Daemon {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: None,
        }
    }

    fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} has ended already", self.name);
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended = Some(self.child.wait().expect("the end of our own child"));
    }

    /// SIGTERM; returns how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_end()
    }

    /// SIGSTOP: it lives and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Until it ends by itself.
    pub fn wait_end(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = wait_for(&format!("{name} ends"), || self.status());
        self.ended = Some(status);
        status
    }

    /// Its end, when it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the state of our own child");
        }
        self.ended
    }

    /// Everything that it wrote so far, earlier runs on the same log included.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- log of {} ---\n{}", self.name, last.join("\n"));
        }
    }
}
