//! The runtime of native processes, with the real binary as its shim.
//!
//! Each test has a directory of its own and ends what it started, also when it fails.

mod adoption;
mod exec;
mod faults;
mod files;
mod life;
mod limits;
mod output;
mod python;

use fleetctl::model::{LogLine, LogQuery, Name, Resources, Run, Workload};
use fleetctl::runtime::process::Processes;
use fleetctl::runtime::{
    Exit, Found, FoundStatus, Launch, Launched, Runtime, RuntimeError, RuntimeEvent,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longest that a test waits for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A runtime in a directory of its own.
struct Node {
    processes: Processes,
    root: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test may have written its own pid where a program's is expected.
        let me = std::process::id();
        for pid in self.pids().into_iter().filter(|pid| *pid != u64::from(me)) {
            let _ = kill_process_group(raw(pid), Signal::KILL);
        }
        // A shim removes its cgroup; one that was killed cannot.
        for cgroup in self.cgroups() {
            let begun = Instant::now();
            while cgroup.exists() && begun.elapsed() < Duration::from_secs(2) {
                let _ = std::fs::write(cgroup.join("cgroup.kill"), "1");
                let _ = std::fs::remove_dir(&cgroup);
            }
            let _ = cgroup.parent().map(std::fs::remove_dir);
        }
    }
}

impl Node {
    fn new() -> Node {
        let root = tempfile::tempdir().expect("a temporary directory");
        Node {
            processes: processes(root.path()),
            root,
        }
    }

    /// The same on a machine without cgroups.
    fn without_cgroups() -> Node {
        Node::at(tempfile::tempdir().expect("a temporary directory"), |p| {
            p.with_cgroups(None)
        })
    }

    fn at(root: tempfile::TempDir, change: impl FnOnce(Processes) -> Processes) -> Node {
        Node {
            processes: change(processes(root.path())),
            root,
        }
    }

    /// Another agent's view of the same directory.
    fn other(&self) -> Processes {
        processes(self.root.path())
    }

    fn dir(&self, handle: &str) -> PathBuf {
        self.root.path().join("instances").join(handle)
    }

    /// A field of a state file, as in `shim` `pid`.
    fn pid(&self, handle: &str, who: &str) -> u64 {
        let text = std::fs::read(self.dir(handle).join("state.json")).expect("a state file");
        let state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        state[who]["pid"].as_u64().expect("a pid")
    }

    /// The cgroup of an instance.
    fn cgroup(&self, handle: &str) -> Option<PathBuf> {
        let text = std::fs::read(self.dir(handle).join("state.json")).ok()?;
        let state: serde_json::Value = serde_json::from_slice(&text).ok()?;
        state["cgroup"].as_str().map(PathBuf::from)
    }

    /// Those of all instances.
    fn cgroups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.path().join("instances"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| self.cgroup(&name)).collect()
    }

    /// Program groups that were started here.
    fn pids(&self) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.root.path().join("instances")) else {
            return Vec::new();
        };
        let states = entries
            .flatten()
            .map(|entry| entry.path().join("state.json"));
        states
            .filter_map(|path| std::fs::read(path).ok())
            .filter_map(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
            .filter_map(|state| state["child"]["pid"].as_u64())
            .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
            .collect()
    }

    async fn launch(&self, launch: &Launch) -> Result<Launched, RuntimeError> {
        self.processes
            .launch(launch, mpsc::unbounded_channel().0)
            .await
    }

    async fn sh(&self, script: &str) -> Launched {
        self.launch(&sh(script)).await.expect("a launch")
    }

    async fn status(&self, handle: &str) -> FoundStatus {
        self.processes
            .inspect(handle)
            .await
            .expect("an instance")
            .status
    }

    /// Waits for its end.
    async fn exit(&self, handle: &str) -> Exit {
        let begun = Instant::now();
        loop {
            match self.status(handle).await {
                FoundStatus::Exited(exit) => return exit,
                status => assert!(begun.elapsed() < DEADLINE, "still {status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn logs(&self, handle: &str, query: LogQuery) -> Vec<LogLine> {
        let (sender, mut receiver) = mpsc::channel(16);
        let sent = self.processes.logs(handle, &query, sender);
        let collect = async {
            let mut lines = Vec::new();
            while let Some(line) = receiver.recv().await {
                lines.push(line);
            }
            lines
        };
        let (sent, lines) = tokio::join!(sent, collect);
        sent.expect("logs");
        lines
    }

    async fn texts(&self, handle: &str) -> Vec<String> {
        let lines = self.logs(handle, LogQuery::default()).await;
        lines.into_iter().map(|line| line.text).collect()
    }

    /// Waits until the program has written this line.
    async fn wait_for_line(&self, handle: &str, text: &str) {
        until(|| async { self.texts(handle).await.iter().any(|t| t == text) }).await;
    }
}

fn processes(root: &Path) -> Processes {
    Processes::new(
        root.join("instances"),
        PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
    )
}

fn node_name() -> Name {
    "pi-1".parse().expect("a name")
}

/// A workload `web` that runs `command`; `change` makes it differ.
fn launch_of(command: &[&str], change: impl FnOnce(&mut Workload)) -> Launch {
    let run = Run::Process {
        command: command.iter().map(ToString::to_string).collect(),
        user: None,
        working_dir: None,
    };
    let mut workload = Workload::new("web".parse().expect("a name"), run);
    workload.version = "1.2.0".to_owned();
    change(&mut workload);
    Launch {
        node: node_name(),
        spec_hash: workload.spec_hash(),
        workload: Arc::new(workload),
        trace: None,
    }
}

fn sh(script: &str) -> Launch {
    launch_of(&["/bin/sh", "-c", script], |_| {})
}

/// Waits for a condition.
async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(
            begun.elapsed() < DEADLINE,
            "the condition did not come true"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// It runs: it is there and has not ended.
fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn raw(pid: u64) -> Pid {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid")
}
