//! The runtime of kind `agent`: it has one instance, the process that it is in.

use super::{NotNow, Own, Shown, Wish, check};
use crate::{
    agent::blobs::NodeBlobs,
    model::{
        AGENT_WORKLOAD, Binary, Digest, ExecSpec, LogLine, LogQuery, Name, Run, RuntimeKind,
        Unmanaged,
    },
    runtime::{
        ExecFeed, ExecOutput, Exit, Found, FoundStatus, ImageHealth, Launch, Launched, Progress,
        Runtime, RuntimeError, RuntimeEvent, Usage,
    },
    support::release,
    upgrade::{
        place::{self, free_bytes},
        record::{Edition, Program},
    },
};
use futures_util::future::BoxFuture;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

/// Bytes that stay free beside a program that is fetched: the agent must be able to write down what
/// becomes of it.
const ROOM: u64 = 8 << 20;
/// How often the loop is asked to end, and between two times: what is assigned is on the disk soon.
const ASKED: u32 = 50;
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// See the module.
pub(in crate::agent) struct OwnRuntime {
    own: Arc<Own>,
    blobs: NodeBlobs,
    wishes: mpsc::Sender<Wish>,
}

impl OwnRuntime {
    pub(super) fn new(own: Arc<Own>, blobs: NodeBlobs, wishes: mpsc::Sender<Wish>) -> OwnRuntime {
        OwnRuntime { own, blobs, wishes }
    }

    fn handle() -> String {
        std::process::id().to_string()
    }

    fn found(&self) -> Option<Found> {
        let shown = self.own.shown();
        let edition = self.own.edition().filter(|_| shown != Shown::Gone)?;
        let status = match shown {
            Shown::Running => FoundStatus::Running {
                started_ms: self.own.started_ms,
                pid: Some(std::process::id()),
            },
            _ => FoundStatus::Exited(Exit {
                message: Some("the agent goes on, and the fleet does not decide about it".into()),
                ..Exit::default()
            }),
        };
        Some(Found {
            handle: OwnRuntime::handle(),
            workload: AGENT_WORKLOAD.parse().ok()?,
            version: edition.version,
            spec_hash: edition.spec_hash,
            status,
            health: Some(ImageHealth::Session(self.own.word.borrow().0)),
        })
    }

    fn launched() -> Launched {
        Launched {
            handle: OwnRuntime::handle(),
            pid: Some(std::process::id()),
            warnings: Vec::new(),
        }
    }

    /// SHA-256 of what the service manager starts.
    async fn installed(&self) -> Result<Digest, RuntimeError> {
        let path = self.own.standing.installed.clone();
        let name = path.display().to_string();
        let hashed = spawn_blocking(move || place::hash_of(&path)).await;
        let why = match hashed {
            Ok(Ok(digest)) => return Ok(digest),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the task that reads it ended".into(),
        };
        Err(RuntimeError::Failed(format!(
            "{name}, which starts first after a boot, cannot be read: {why}"
        )))
    }

    /// The program that a spec wants here, and the file of one that is not installed.
    fn wanted(
        launch: &Launch,
        installed: Digest,
    ) -> Result<(Program, Option<Binary>), RuntimeError> {
        let Run::Agent { binaries } = &launch.workload.run else {
            return Err(RuntimeError::Refused("it is no release of fleetctl".into()));
        };
        if binaries.is_empty() {
            return Ok((Program::Installed, None));
        }
        let arch = release::arch();
        let Some(binary) = binaries.get(arch) else {
            return Err(RuntimeError::Refused(format!(
                "version {} is not there for {arch}; push it with `fleetctl upgrade push`",
                launch.workload.version
            )));
        };
        if binary.sha256 == installed {
            return Ok((Program::Installed, None));
        }
        Ok((Program::Stored(binary.sha256), Some(binary.clone())))
    }

    /// Fetches the program where it is not there yet.
    async fn fetch(
        &self,
        binary: &Binary,
        progress: &mpsc::UnboundedSender<Progress>,
    ) -> Result<(), RuntimeError> {
        let place = &self.own.standing.place;
        let (path, programs) = (place.program(&binary.sha256), place.programs());
        let failed = |error: std::io::Error| {
            RuntimeError::Failed(format!("{} cannot be written: {error}", path.display()))
        };
        let (looking, digest) = (place.clone(), binary.sha256);
        let whole = spawn_blocking(move || looking.is_whole(&digest)).await;
        if whole.is_ok_and(|whole| whole) {
            return Ok(());
        }
        std::fs::create_dir_all(&programs).map_err(failed)?;
        // One that was damaged is not kept for being there.
        let _ = std::fs::remove_file(&path);
        let _fetching = self.own.fetching(binary.sha256);
        let record = self.own.record().clone();
        place.prune(&record, self.own.at_hand());
        let needed = still_needed(&path, binary.size);
        if let Some(free) = free_bytes(&programs).filter(|free| *free < needed) {
            return Err(RuntimeError::Refused(format!(
                "{} has {} MiB free, and {} MiB are needed for the new version",
                programs.display(),
                free >> 20,
                needed.div_ceil(1 << 20),
            )));
        }
        let size = binary.size.max(1);
        let mut told = None;
        let mut tell = |bytes: u64| {
            let percent = u8::try_from(bytes.saturating_mul(100) / size).unwrap_or(100);
            if told.replace(percent) != Some(percent) {
                let _ = progress.send(Progress::Pulling(Some(percent.min(100))));
            }
        };
        let fetched = self
            .blobs
            .fetch(binary.sha256, binary.size, &path, &mut tell);
        let fetched = fetched.await;
        fetched.map_err(|error| RuntimeError::Image(error.to_string()))?;
        place::executable(&path).map_err(failed)
    }

    async fn launch_now(
        &self,
        launch: &Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> Result<Launched, RuntimeError> {
        let (hash, version) = (&launch.spec_hash, &launch.workload.version);
        let standing = &self.own.standing;
        if standing.on_trial {
            if self.own.edition().is_some_and(|e| e.spec_hash == *hash) {
                self.own.show(Shown::Running);
                return Ok(OwnRuntime::launched());
            }
            return self.wish(|refused| Wish::Back { refused }).await;
        }
        let installed = self.installed().await?;
        let (program, binary) = OwnRuntime::wanted(launch, installed)?;
        let record = self.own.record().clone();
        if program == standing.program && program == record.current.program {
            let noted = record.noted(hash, version);
            self.own.store(noted).map_err(RuntimeError::Failed)?;
            self.own.show(Shown::Running);
            return Ok(OwnRuntime::launched());
        }
        if let Some(failed) = record.refuses(hash) {
            return Err(RuntimeError::Refused(failed.reason.clone()));
        }
        if let Some(binary) = &binary {
            self.fetch(binary, &progress).await?;
        }
        let _ = progress.send(Progress::Starting);
        let (path, digest) = (standing.path_of(program), program.digest());
        let expected = digest.map(|_| version.clone());
        let checked = spawn_blocking(move || check::program(&path, digest, expected.as_deref()));
        match checked.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(RuntimeError::Refused(why)),
            Err(_) => return Err(RuntimeError::Failed("the check of it broke off".into())),
        }
        let edition = Edition {
            program,
            version: version.clone(),
            spec_hash: hash.clone(),
        };
        let to_try = |refused| Wish::Try {
            edition: edition.clone(),
            installed,
            refused,
        };
        self.wish(to_try).await
    }

    /// The loop ends for it, or says why not.
    async fn wish(
        &self,
        wish: impl Fn(oneshot::Sender<NotNow>) -> Wish,
    ) -> Result<Launched, RuntimeError> {
        for _ in 0..ASKED {
            let (refused, answer) = oneshot::channel();
            if self.wishes.send(wish(refused)).await.is_err() {
                return Err(RuntimeError::Failed("the agent is ending".into()));
            }
            match answer.await {
                Ok(NotNow::Unstored) => tokio::time::sleep(ASK_AGAIN).await,
                Ok(NotNow::Failed(why)) => return Err(RuntimeError::Failed(why)),
                // Nobody answers an operation of an agent that is on its way out.
                Err(_) => std::future::pending().await,
            }
        }
        Err(RuntimeError::Failed(
            "what is assigned cannot be written to the disk, and the next start must know it"
                .into(),
        ))
    }

    fn only_mine(&self, handle: &str) -> Result<Found, RuntimeError> {
        let gone = || RuntimeError::NotFound(handle.to_owned());
        self.found().filter(|f| f.handle == handle).ok_or_else(gone)
    }
}

/// Bytes that must be free for a program of that size to come to `path`; what has been fetched of
/// it before takes none any more.
fn still_needed(path: &Path, size: u64) -> u64 {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let fetched = std::fs::metadata(Path::new(&part)).map_or(0, |meta| meta.len());
    size.saturating_sub(fetched).saturating_add(ROOM)
}

impl Runtime for OwnRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Agent
    }

    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async { Ok(release::version().to_owned()) })
    }

    fn list<'a>(&'a self, _: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>> {
        Box::pin(async { Ok(self.found().into_iter().collect()) })
    }

    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>> {
        Box::pin(async move { self.only_mine(handle) })
    }

    fn prepare<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            // The old one does it; and what failed is not fetched again: its launch says why.
            let failed = self.own.record().refuses(&launch.spec_hash).is_some();
            if self.own.standing.on_trial || failed {
                return Ok(());
            }
            let installed = self.installed().await?;
            let fetched = match OwnRuntime::wanted(launch, installed) {
                Ok((_, Some(binary))) => self.fetch(&binary, &progress).await,
                Ok((_, None)) => Ok(()),
                Err(error) => Err(error),
            };
            match fetched {
                // No later fetch would help: its launch says so, which ends the trial at once
                // instead of after its deadline. The process is not touched by what comes between.
                Err(RuntimeError::Refused(_)) => Ok(()),
                other => other,
            }
        })
    }

    fn launch<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(self.launch_now(launch, progress))
    }

    fn start<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(async {
            self.own.show(Shown::Running);
            Ok(OwnRuntime::launched())
        })
    }

    fn stop<'a>(&'a self, _: &'a str, _: u64) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async {
            self.own.show(Shown::Stopped);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async {
            self.own.show(Shown::Gone);
            Ok(())
        })
    }

    fn logs<'a>(
        &'a self,
        _: &'a str,
        _: &'a LogQuery,
        _: mpsc::Sender<LogLine>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        // It writes to whoever started it: the journal of the machine has that.
        Box::pin(async { Ok(()) })
    }

    fn exec<'a>(
        &'a self,
        _: &'a str,
        _: &'a ExecSpec,
        _: mpsc::Sender<ExecOutput>,
        _: Option<mpsc::Receiver<ExecFeed>>,
    ) -> BoxFuture<'a, Result<i32, RuntimeError>> {
        Box::pin(async {
            Err(RuntimeError::Refused(
                "nothing can be run inside the agent; log in on the node, or use a workload".into(),
            ))
        })
    }

    fn probe_image<'a>(&'a self, _: &'a str, _: u64) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("the agent has no health check of an image".into()) })
    }

    fn reload<'a>(
        &'a self,
        _: &'a str,
        _: &'a Launch,
    ) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        Box::pin(async { Ok(false) })
    }

    fn usage<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Usage>> {
        // Its own telemetry tells that.
        Box::pin(async { None })
    }

    fn unmanaged<'a>(&'a self, _: bool) -> BoxFuture<'a, Result<Vec<Unmanaged>, RuntimeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()> {
        let mut word = self.own.word.subscribe();
        Box::pin(async move {
            if events.send(RuntimeEvent::Connected).await.is_err() {
                return;
            }
            while word.changed().await.is_ok() {
                let handle = OwnRuntime::handle();
                if events.send(RuntimeEvent::Changed { handle }).await.is_err() {
                    return;
                }
            }
        })
    }
}
