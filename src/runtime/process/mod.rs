//! Native processes: each has a directory and a shim, and both outlive the agent.
//!
//! ```text
//! Processes ──spawn──► shim (fleetctl shim <dir>) ──spawn──► program
//!     │ reads                  │ writes
//!     └────► <data-dir>/instances/<workload>-<hash8>/ ◄────┘
//! ```
//!
//! | module | its one idea |
//! |---|---|
//! | `record` | what is written down: plan, state, ending |
//! | `directory` | where, and how so that nobody reads half of it |
//! | `process_id` | a process named so that a recycled pid is never taken for it |
//! | `standing` | how an instance stands, and the end of those whose shim was killed |
//! | `operate`, `spawn`, `stop`, `watch`, `usage`, `exec` | what the agent does with them |
//! | `logs`, `tail` | reads what they wrote |
//! | `shim` | the other process |
//! | `program`, `account` | what a program is started with, by the shim or beside it |
//! | `cgroup`, `cgroup_base` | limits, and an end that nothing escapes |
//! | `placed` | its files on the node |
//! | `mounts` | what a workload sees of the machine, where the agent sees less |
//! | `bootstrap.py` | what calls a Python callable |
//! | `line` | the form of a log record, which both sides know |
//!
//! There is nothing to adopt after the agent's restart: nothing is kept in memory. What runs is
//! what the directories say and the kernel confirms.
//!
//! Needs Linux 5.3 (pidfd). Where the agent is a service of systemd its unit needs
//! `KillMode=process`, or the shims end with the agent.

mod account;
mod cgroup;
mod cgroup_base;
mod directory;
mod exec;
mod line;
mod logs;
mod mounts;
mod operate;
mod placed;
mod process_id;
mod program;
pub(super) mod readable;
mod record;
mod shim;
mod spawn;
mod standing;
mod stop;
mod tail;
mod usage;
mod watch;

pub(crate) use shim::Signals;
pub use shim::shim_main;

use super::{ExecFeed, ExecOutput, Found, Launch, Launched, Progress, Usage};
use super::{Runtime, RuntimeError, RuntimeEvent};
use crate::model::{ExecSpec, LogLine, LogQuery, Name, RuntimeKind, Unmanaged};
use cgroup_base::CgroupBase;
use directory::InstanceDir;
use futures_util::future::BoxFuture;
use process_id::ProcessId;
use standing::Standing;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, broadcast, mpsc};

/// Starts that a watcher may lag behind before it looks at everything anew.
const STARTED_MAX: usize = 64;
/// What a directory is called while it is being deleted; no handle begins with a dot.
const GONE: &str = ".gone-";

/// The runtime of native processes ([`crate::model::Run::Process`] and
/// [`crate::model::Run::Python`]).
///
/// Handles are names of directories below the one given to [`Processes::new`]. Two agents must
/// not share that directory.
#[derive(Debug)]
pub struct Processes {
    root: PathBuf,
    shim: PathBuf,
    /// One start or removal at a time for one instance; instances share them by hash.
    turns: [Mutex<()>; 8],
    /// Below which instances have their cgroups, where this process may make any.
    cgroups: Option<CgroupBase>,
    /// Handles of new runs, for the watcher.
    started: broadcast::Sender<String>,
}

impl Processes {
    /// `dir` holds one directory per instance and is made when it is first needed; `shim` is
    /// the fleetctl binary that is run as `<shim> shim <directory>`: normally
    /// [`std::env::current_exe`], asked once at the start, before an upgrade replaces the file.
    pub fn new(dir: PathBuf, shim: PathBuf) -> Processes {
        // The shim has another working directory than the agent.
        let root = std::path::absolute(&dir).unwrap_or(dir);
        Processes {
            cgroups: CgroupBase::find(&root),
            root,
            shim,
            turns: Default::default(),
            started: broadcast::channel(STARTED_MAX).0,
        }
    }

    /// The same with the cgroups of instances below `base`, a directory of a hierarchy of version
    /// 2, in place of where they would be; `None`: without cgroups.
    #[must_use]
    pub fn with_cgroups(self, base: Option<PathBuf>) -> Processes {
        Processes {
            cgroups: base.map(CgroupBase::at),
            ..self
        }
    }

    async fn turn(&self, handle: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        handle.hash(&mut hasher);
        let slot = hasher.finish() % self.turns.len() as u64;
        self.turns[slot as usize].lock().await
    }

    /// The directory of that name, whether it exists or not. A handle may come from afar: it
    /// must not lead out of the root.
    fn dir(&self, handle: &str) -> Result<InstanceDir, RuntimeError> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if handle.is_empty() || handle.len() > 128 || !handle.bytes().all(fine) {
            return Err(RuntimeError::NotFound(handle.chars().take(128).collect()));
        }
        Ok(InstanceDir::new(self.root.join(handle)))
    }
}

impl Runtime for Processes {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let me = i32::try_from(std::process::id())
                .ok()
                .and_then(ProcessId::of);
            if let Some(Err(error)) = me.map(ProcessId::open) {
                return Err(RuntimeError::Unreachable {
                    runtime: RuntimeKind::Process,
                    message: format!("processes cannot be watched ({error}); it needs Linux 5.3"),
                });
            }
            let release = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            Ok(if release.is_empty() {
                "native".to_owned()
            } else {
                release
            })
        })
    }

    fn list<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>> {
        Box::pin(async move {
            let dirs = instances(&self.root);
            Ok(dirs
                .iter()
                .filter_map(found)
                .filter(|(of, _)| of == node)
                .map(|f| f.1)
                .collect())
        })
    }

    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>> {
        Box::pin(async move {
            let found = found(&self.dir(handle)?).map(|(_, found)| found);
            found.ok_or_else(|| RuntimeError::NotFound(handle.to_owned()))
        })
    }

    fn prepare<'a>(
        &'a self,
        _launch: &'a Launch,
        _progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        // The program is on the node or it is not.
        Box::pin(async { Ok(()) })
    }

    fn launch<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(async move {
            let _ = progress.send(Progress::Starting);
            self.launch_plan(launch).await
        })
    }

    fn start<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(self.start_again(handle))
    }

    fn stop<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let Ok(dir) = self.dir(handle) else {
                return Ok(());
            };
            stop::stop(&dir, Duration::from_millis(timeout_ms)).await
        })
    }

    fn remove<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.remove_dir(handle))
    }

    fn logs<'a>(
        &'a self,
        handle: &'a str,
        query: &'a LogQuery,
        lines: mpsc::Sender<LogLine>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let dir = self.dir(handle)?;
            if dir.plan().is_none() {
                return Err(RuntimeError::NotFound(handle.to_owned()));
            }
            logs::send(&dir, query, lines).await.map_err(|error| {
                RuntimeError::Failed(format!("the logs of `{handle}` cannot be read: {error}"))
            })
        })
    }

    fn exec<'a>(
        &'a self,
        handle: &'a str,
        exec: &'a ExecSpec,
        output: mpsc::Sender<ExecOutput>,
        feed: Option<mpsc::Receiver<ExecFeed>>,
    ) -> BoxFuture<'a, Result<i32, RuntimeError>> {
        Box::pin(async move {
            let dir = self.dir(handle)?;
            exec::exec(&dir, exec, output, feed).await
        })
    }

    fn probe_image<'a>(
        &'a self,
        _handle: &'a str,
        _timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("a process has no image".to_owned()) })
    }

    fn reload<'a>(
        &'a self,
        handle: &'a str,
        launch: &'a Launch,
    ) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        Box::pin(self.place_and_signal(handle, launch))
    }

    fn usage<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Option<Usage>> {
        Box::pin(async move { usage::usage(&self.dir(handle).ok()?) })
    }

    fn unmanaged<'a>(
        &'a self,
        _whole: bool,
    ) -> BoxFuture<'a, Result<Vec<Unmanaged>, RuntimeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What an earlier agent was killed over.
            let root = self.root.clone();
            let _ = tokio::task::spawn_blocking(move || delete_gone(&root)).await;
            watch::watch(&self.root, self.started.subscribe(), events).await;
        })
    }
}

/// The directories of all instances; none where the root does not exist yet.
fn instances(root: &Path) -> Vec<InstanceDir> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let visible = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    let entries = entries
        .flatten()
        .filter(|entry| visible(&entry.file_name()));
    entries
        .map(|entry| InstanceDir::new(entry.path()))
        .collect()
}

/// What a directory holds, and for which node; `None` when no plan can be read: a launch was cut
/// off there, and the next one begins anew.
fn found(dir: &InstanceDir) -> Option<(Name, Found)> {
    let plan = dir.plan()?;
    let found = Found {
        handle: dir.handle(),
        workload: plan.workload,
        version: plan.version,
        spec_hash: plan.spec_hash,
        status: Standing::of(dir).status(),
        health: None,
    };
    Some((plan.node, found))
}

/// Deletes a directory; absent is no error.
fn delete(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn delete_gone(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(GONE.as_bytes())
        {
            let _ = delete(&entry.path());
        }
    }
}
