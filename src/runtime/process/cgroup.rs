//! The cgroup of one instance: what it may use, how much it uses, and the end of all of it.
//!
//! A cgroup (version 2) holds a program and everything that it ever starts; nothing gets out by
//! a session of its own. It is of use even where the kernel has no controller for it: it can be
//! killed as a whole. The shim makes it, puts the program in and removes it; the agent reads it
//! and kills it when the shim is gone. Where it lies is told in [`super::cgroup_base`]. See
//! cgroups(7) and the kernel's `cgroup-v2.rst`.
//!
//! All of it is best effort: what cannot be had is left to rlimits, or becomes a warning.

use crate::model::Resources;
use crate::runtime::Usage;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What every instance's cgroup is called: this and the handle.
pub(super) const PREFIX: &str = "w-";
/// How long the processes of a killed cgroup are waited for where that holds nobody up.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(2);
/// Length of a period for `cpu.max`, microseconds; the kernel's own default.
const PERIOD_US: u64 = 100_000;
/// Largest file of a cgroup that is read.
const READ_MAX: u64 = 64 << 10;

/// Limits that the cgroup enforces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Enforced {
    /// `memory`.
    pub memory: bool,
    /// `cpus`.
    pub cpus: bool,
    /// `pids`.
    pub pids: bool,
}

/// One instance's cgroup, which may be gone at any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// That of an instance; `None` for a path that can be none of ours: what is killed as a whole
    /// must not be half the machine.
    pub fn of(path: PathBuf) -> Option<Cgroup> {
        let name = path.file_name()?.to_str()?;
        (path.is_absolute() && name.starts_with(PREFIX)).then_some(Cgroup { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it anew. What an earlier run left there is killed first; its counters go with it.
    pub fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(KILL_LIMIT);
                match fs::create_dir(&self.path) {
                    // Something hangs in there. The limits are set anew all the same.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Sets what it can of the limits, and says which.
    pub fn limit(&self, resources: &Resources) -> Enforced {
        let memory = resources.memory.is_some_and(|bytes| {
            let set = self.write("memory.max", &bytes.to_string());
            if set {
                // Without these a limit would be reached later, and half of the program killed.
                self.write("memory.swap.max", "0");
                self.write("memory.oom.group", "1");
            }
            set
        });
        let cpus = resources.cpus.is_some_and(|cpus| {
            // The kernel takes no quota below a millisecond.
            let quota = (cpus * PERIOD_US as f64).clamp(1_000.0, 1e12) as u64;
            self.write("cpu.max", &format!("{quota} {PERIOD_US}"))
        });
        let pids = resources
            .pids
            .is_some_and(|pids| self.write("pids.max", &pids.to_string()));
        Enforced { memory, cpus, pids }
    }

    /// What a process writes `0` to in order to come in.
    pub fn door(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// The process is in it.
    pub fn holds(&self, pid: Pid) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_pid()));
        let Ok(text) = text else { return false };
        let own = text.lines().find_map(|line| line.strip_prefix("0::"));
        own.is_some_and(|own| Path::new(own).file_name() == self.path.file_name())
    }

    /// Kills all that is in it. `false` when there is nothing to kill it with.
    pub fn kill(&self) -> bool {
        if self.write("cgroup.kill", "1") {
            return true;
        }
        // Linux before 5.14. Frozen, it cannot get away by making more of itself.
        self.write("cgroup.freeze", "1");
        let killed = self.pids().map(|pids| {
            for pid in pids {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        self.write("cgroup.freeze", "0");
        killed.is_some()
    }

    /// Kills what is in it, waits that long at most, and removes it. Gone is fine; what hangs in
    /// the kernel stays.
    pub fn remove(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            match fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                // Gone, never there, or not a cgroup.
                _ => return,
            }
            if begun.elapsed() > limit || !self.kill() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Somebody is in it.
    pub fn is_populated(&self) -> bool {
        self.field("cgroup.events", "populated") == Some(1)
    }

    /// Processes in it that were killed for want of memory; `None` where nobody counts.
    pub fn out_of_memory_kills(&self) -> Option<u64> {
        self.field("memory.events", "oom_kill")
    }

    /// `None` where the memory is not counted.
    pub fn usage(&self) -> Option<Usage> {
        let current: u64 = self.read("memory.current")?.trim().parse().ok()?;
        // Pages of files that nobody has used for a while go as soon as anybody needs room.
        let idle = self.field("memory.stat", "inactive_file").unwrap_or(0);
        Some(Usage {
            cpu_us: self.field("cpu.stat", "usage_usec")?,
            memory: current.saturating_sub(idle),
        })
    }

    fn pids(&self) -> Option<Vec<Pid>> {
        let text = self.read("cgroup.procs")?;
        let numbers = text.lines().filter_map(|line| line.parse().ok());
        Some(numbers.filter_map(Pid::from_raw).collect())
    }

    /// The number behind a key, as in `oom_kill 3`.
    fn field(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file)?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.path.join(file)).ok()?;
        file.take(READ_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn write(&self, file: &str, value: &str) -> bool {
        write(&self.path.join(file), value).is_ok()
    }
}

/// Writes to a file of a cgroup, which is there or cannot be written; none is ever made.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a cgroup with these files.
    fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("w-web-1");
        fs::create_dir(&path).expect("a directory");
        for (name, text) in files {
            fs::write(path.join(name), text).expect("a file");
        }
        let cgroup = Cgroup::of(path).expect("one of ours");
        (root, cgroup)
    }

    fn limits() -> Resources {
        Resources {
            memory: Some(64 << 20),
            cpus: Some(0.5),
            pids: Some(10),
            ..Resources::default()
        }
    }

    #[test]
    fn limits_are_written_where_there_are_controllers() {
        let (_root, cgroup) = fake(&[
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("memory.oom.group", "0"),
            ("cpu.max", "max 100000"),
            ("pids.max", "max"),
        ]);
        let all = Enforced {
            memory: true,
            cpus: true,
            pids: true,
        };
        assert_eq!(cgroup.limit(&limits()), all);
        let read = |name| cgroup.read(name).expect("a file");
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!(read("pids.max"), "10");
        assert_eq!(cgroup.limit(&Resources::default()), Enforced::default());
    }

    #[test]
    fn a_missing_controller_is_no_enforcement() {
        let (_root, cgroup) = fake(&[("pids.max", "max")]);
        let only_pids = Enforced {
            pids: true,
            ..Enforced::default()
        };
        assert_eq!(cgroup.limit(&limits()), only_pids);
        // And no file was made, which in a real one could not be.
        assert!(!cgroup.path().join("memory.max").exists());
    }

    #[test]
    fn counters_are_read() {
        let (_root, cgroup) = fake(&[
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 5\ninactive_file 300\n"),
            ("cpu.stat", "usage_usec 42\nuser_usec 40\n"),
            ("memory.events", "oom 9\noom_kill 2\noom_group_kill 1\n"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
        ]);
        let usage = Usage {
            cpu_us: 42,
            memory: 700,
        };
        assert_eq!(cgroup.usage(), Some(usage));
        assert_eq!(cgroup.out_of_memory_kills(), Some(2));
        assert!(cgroup.is_populated());
        let (_root, bare) = fake(&[("cpu.stat", "usage_usec 42\n")]);
        assert_eq!((bare.usage(), bare.out_of_memory_kills()), (None, None));
    }

    #[test]
    fn only_ours_are_touched() {
        for bad in [
            "/",
            "/sys/fs/cgroup",
            "w-web",
            "/sys/fs/cgroup/system.slice",
            "/w-a/..",
        ] {
            assert_eq!(Cgroup::of(bad.into()), None, "{bad}");
        }
        assert!(Cgroup::of("/sys/fs/cgroup/fleetctl-1/w-web-1".into()).is_some());
    }
}
