//! Native processes of an agent, as its data directory and the kernel know them.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A process: its number and the time at which it began, which together nobody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    start: u64,
}

impl Process {
    fn read(value: &Value) -> Option<Process> {
        Some(Process {
            pid: i32::try_from(value["pid"].as_i64()?).ok()?,
            start: value["start"].as_u64()?,
        })
    }

    /// It runs, and is no zombie.
    pub fn lives(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // Behind the program's name, which may hold anything: state is field 3, start field 22.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return false;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let start = fields.get(19).and_then(|f| f.parse::<u64>().ok());
        start == Some(self.start) && fields.first().is_some_and(|state| *state != "Z")
    }

    /// SIGKILL, when it still is the one that was meant.
    pub fn kill9(self) {
        if let (true, Some(pid)) = (self.lives(), Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// An instance of a native process that an agent has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// Looks after the program.
    pub shim: Process,
    /// The program.
    pub child: Process,
}

impl Native {
    /// Of the instance in `dir`, when it runs.
    fn read(dir: &Path) -> Option<Native> {
        let text = fs::read_to_string(dir.join("state.json")).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        Some(Native {
            shim: Process::read(&state["shim"])?,
            child: Process::read(&state["child"])?,
        })
    }

    /// As a power cut ends it: nobody is left to write anything down.
    pub fn kill9(self) {
        self.shim.kill9();
        self.child.kill9();
    }
}

/// The directories of instances below an agent's data directory.
fn directories(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("instances")).into_iter().flatten();
    entries.filter_map(|e| Some(e.ok()?.path())).collect()
}

/// All that an agent has running.
pub fn all(data: &Path) -> Vec<Native> {
    let dirs = directories(data);
    dirs.iter().filter_map(|d| Native::read(d)).collect()
}

/// Directories of one workload's instances: `<workload>-<8 hex digits>`.
pub fn of_workload(data: &Path, workload: &str) -> Vec<PathBuf> {
    let belongs = |dir: &PathBuf| {
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        name.rsplit_once('-').is_some_and(|(w, _)| w == workload)
    };
    directories(data).into_iter().filter(belongs).collect()
}

/// The one running instance of a workload.
pub fn running(data: &Path, workload: &str) -> Option<Native> {
    let dirs = of_workload(data, workload);
    let found = dirs.iter().filter_map(|d| Native::read(d));
    found.into_iter().find(|n| n.child.lives())
}
