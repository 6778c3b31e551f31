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
//! | `spawn`, `stop`, `watch`, `logs` | what the agent does with them |
//! | `shim` | the other process |
//! | `line` | the form of a log record, which both sides know |
//!
//! There is nothing to adopt after the agent's restart: nothing is kept in memory. What runs is
//! what the directories say and the kernel confirms.
//!
//! Needs Linux 5.3 (pidfd). Where the agent is a service of systemd its unit needs
//! `KillMode=process`, or the shims end with the agent.

mod directory;
mod line;
mod logs;
mod process_id;
mod readable;
mod record;
mod shim;
mod spawn;
mod standing;
mod stop;
mod watch;

pub use shim::shim_main;

use super::{Found, Launch, Launched, Progress, Runtime, RuntimeError, RuntimeEvent};
use crate::model::{LogLine, LogQuery, Name, RuntimeKind};
use directory::InstanceDir;
use futures_util::future::BoxFuture;
use process_id::ProcessId;
use record::{End, Plan};
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

/// The runtime of native processes ([`crate::model::Run::Process`]).
///
/// Handles are names of directories below the one given to [`Processes::new`]. Two agents must
/// not share that directory.
#[derive(Debug)]
pub struct Processes {
    root: PathBuf,
    shim: PathBuf,
    /// One start or removal at a time for one instance; instances share them by hash.
    turns: [Mutex<()>; 8],
    /// Handles of new runs, for the watcher.
    started: broadcast::Sender<String>,
}

impl Processes {
    /// `dir` holds one directory per instance and is made when it is first needed; `shim` is
    /// the fleetctl binary that is run as `<shim> shim <directory>`: normally
    /// [`std::env::current_exe`], asked once at the start, before an upgrade replaces the file.
    pub fn new(dir: PathBuf, shim: PathBuf) -> Processes {
        Processes {
            // The shim has another working directory than the agent.
            root: std::path::absolute(&dir).unwrap_or(dir),
            shim,
            turns: Default::default(),
            started: broadcast::channel(STARTED_MAX).0,
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

    async fn launch_plan(&self, launch: &Launch) -> Result<Launched, RuntimeError> {
        let plan = Plan::new(launch)?;
        let name = launch.container_name();
        let dir = self.dir(name.strip_prefix("fleetctl-").unwrap_or(&name))?;
        let _turn = self.turn(&dir.handle()).await;
        if let Some(there) = dir.plan() {
            if there.spec_hash == plan.spec_hash && there.node == plan.node {
                if let Some(launched) = running(&dir) {
                    return Ok(launched);
                }
            } else {
                // Eight hex digits may collide.
                stop::stop(&dir, Duration::ZERO).await?;
            }
        }
        if dir.plan().as_ref() != Some(&plan) {
            let place = dir.clone();
            // Waits for the disk.
            tokio::task::spawn_blocking(move || {
                place.create()?;
                place.write_plan(&plan)
            })
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| {
                RuntimeError::Failed(format!(
                    "the directory of `{}` cannot be written below `{}`: {error}",
                    dir.handle(),
                    self.root.display()
                ))
            })?;
        }
        self.bring_up(&dir).await
    }

    async fn start_again(&self, handle: &str) -> Result<Launched, RuntimeError> {
        let dir = self.dir(handle)?;
        let _turn = self.turn(handle).await;
        if dir.plan().is_none() {
            return Err(RuntimeError::NotFound(handle.to_owned()));
        }
        if let Some(launched) = running(&dir) {
            return Ok(launched);
        }
        self.bring_up(&dir).await
    }

    /// Starts the shim and tells what came of it. Needs the turn, and that nothing runs there.
    async fn bring_up(&self, dir: &InstanceDir) -> Result<Launched, RuntimeError> {
        // Kills what a killed shim left behind, so that it never runs twice.
        let _ = Standing::of(dir);
        spawn::start(&self.shim, dir).await?;
        // Without a watcher there is nobody to tell.
        let _ = self.started.send(dir.handle());
        match Standing::of(dir) {
            Standing::Running(state) => Ok(launched(dir, state)),
            Standing::Ended(ending) => match ending.end {
                End::NotStarted { may_pass } => {
                    let why = ending
                        .message
                        .unwrap_or_else(|| "it cannot be started".to_owned());
                    Err(if may_pass {
                        RuntimeError::Failed(why)
                    } else {
                        RuntimeError::Refused(why)
                    })
                }
                // It ran, and was quick.
                _ => Ok(Launched {
                    handle: dir.handle(),
                    pid: None,
                    warnings: dir.state().map(|state| state.warnings).unwrap_or_default(),
                }),
            },
            Standing::Created => Err(RuntimeError::Failed(format!(
                "`{}` was removed while it was being started",
                dir.handle()
            ))),
        }
    }

    async fn remove_dir(&self, handle: &str) -> Result<(), RuntimeError> {
        let Ok(dir) = self.dir(handle) else {
            return Ok(());
        };
        let _turn = self.turn(handle).await;
        stop::stop(&dir, Duration::ZERO).await?;
        let gone = self.root.join(format!("{GONE}{handle}"));
        let place = dir.clone();
        // The name first: a deletion that is cut off must not leave half an instance.
        let removed = tokio::task::spawn_blocking(move || {
            delete(&gone)?;
            match std::fs::rename(place.path(), &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => delete(&gone),
            }
        });
        removed
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| RuntimeError::Failed(format!("`{handle}` cannot be removed: {error}")))
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
    };
    Some((plan.node, found))
}

fn running(dir: &InstanceDir) -> Option<Launched> {
    match Standing::of(dir) {
        Standing::Running(state) => Some(launched(dir, state)),
        _ => None,
    }
}

fn launched(dir: &InstanceDir, state: record::State) -> Launched {
    Launched {
        handle: dir.handle(),
        pid: u32::try_from(state.child.pid).ok(),
        warnings: state.warnings,
    }
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
