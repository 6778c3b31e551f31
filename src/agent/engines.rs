//! The runtimes of this node, and carrying out what the supervisor decides.

use super::{
    blobs::NodeBlobs,
    images::Kept,
    probe,
    store::Store,
    traced::{Noted, Pull},
};
use crate::{
    config::AgentConfig,
    model::{
        EngineFact, HealthCheck, Hook, LogLine, LogQuery, Name, RuntimeKind, Unmanaged,
        template::of_environment,
    },
    runtime::{
        CredentialsError, Found, KeptImages, Launch, Progress, RegistryCredentials, Runtime,
        RuntimeError, RuntimeEvent, docker::Docker, podman::Podman, process::Processes,
    },
    supervisor::{Action, Moment, OpOutcome, OperationId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tracing::Instrument;

/// How long until an engine that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(3);

/// Lines, and bytes of each, that are kept of what a failed instance wrote last.
const LAST_LINES: usize = 10;
const LAST_LINE_BYTES: usize = 256;

/// Something that came back from a runtime.
#[derive(Debug)]
pub(super) enum Reply {
    /// A runtime's own word.
    Event(RuntimeKind, RuntimeEvent),
    /// Everything that it has.
    Listed(RuntimeKind, Moment, Result<Vec<Found>, RuntimeError>),
    /// It is time to ask an engine again that did not answer.
    Retry(RuntimeKind),
    /// One that was looked at.
    Looked(RuntimeKind, Moment, String, Result<Found, RuntimeError>),
    /// Containers of others that want to be announced.
    Discovered(RuntimeKind, Vec<Unmanaged>),
    /// A health check has answered.
    Probed(OperationId, Result<(), String>),
    /// What an instance wrote last.
    LastOutput(RuntimeKind, String, Vec<String>),
    /// Its version.
    Version(RuntimeKind, Result<String, RuntimeError>),
    /// An operation gets on.
    Progress(OperationId, Progress),
    /// An operation has ended.
    Finished(OperationId, OpOutcome),
}

/// All runtimes.
pub(super) struct Engines {
    node: Name,
    runtimes: BTreeMap<RuntimeKind, Arc<dyn Runtime>>,
    /// Sockets that did not exist when they were looked for.
    absent: Vec<(RuntimeKind, PathBuf)>,
    facts: BTreeMap<RuntimeKind, EngineFact>,
    credentials: Arc<RegistryCredentials>,
    pulls: Arc<Semaphore>,
    /// Where container runtimes place files.
    place: PathBuf,
    replies: mpsc::Sender<Reply>,
    /// Where what the controller keeps is fetched; `None` without a fleet.
    blobs: Option<NodeBlobs>,
    /// Engines that did not answer and will be asked again.
    retrying: BTreeSet<RuntimeKind>,
    /// Operations under way that may be given up: at most one per instance.
    under_way: BTreeMap<OperationId, Arc<Notify>>,
    /// Of a simulated node: nothing listens where its instances say that they do.
    simulated: bool,
}

impl Engines {
    /// Those whose sockets exist; starts watching them.
    pub(super) fn new(
        config: &AgentConfig,
        node: Name,
        store: &Store,
        blobs: Option<NodeBlobs>,
        replies: mpsc::Sender<Reply>,
    ) -> Result<Engines, CredentialsError> {
        let credentials = RegistryCredentials::load(config.registry_config.as_deref())?;
        let sockets = [
            (RuntimeKind::Docker, config.docker_socket.clone()),
            (RuntimeKind::Podman, config.podman_socket.clone()),
        ];
        let mut engines = Engines {
            node,
            runtimes: BTreeMap::new(),
            absent: sockets
                .into_iter()
                .filter_map(|(k, s)| Some((k, s?)))
                .collect(),
            facts: BTreeMap::new(),
            credentials: Arc::new(credentials),
            pulls: Arc::new(Semaphore::new(config.parallel_pulls as usize)),
            place: store.engine_dir(),
            replies,
            blobs,
            retrying: BTreeSet::new(),
            under_way: BTreeMap::new(),
            simulated: false,
        };
        if config.processes {
            let shim = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
            engines.add(Arc::new(Processes::new(store.instances_dir(), shim)));
        }
        engines.find_new();
        Ok(engines)
    }

    /// The runtimes of a simulated node.
    pub(super) fn simulate(&mut self, runtimes: &[Arc<dyn Runtime>]) {
        self.simulated = true;
        for runtime in runtimes {
            self.add(runtime.clone());
        }
    }

    /// Looks for sockets that have appeared; which runtimes are new.
    pub(super) fn find_new(&mut self) -> Vec<RuntimeKind> {
        let absent = std::mem::take(&mut self.absent);
        let (there, absent) = absent.into_iter().partition(|(_, socket)| socket.exists());
        self.absent = absent;
        let there: Vec<(RuntimeKind, PathBuf)> = there;
        there
            .into_iter()
            .map(|(kind, socket)| {
                self.add(self.container_runtime(kind, &socket));
                kind
            })
            .collect()
    }

    fn container_runtime(&self, kind: RuntimeKind, socket: &Path) -> Arc<dyn Runtime> {
        let (credentials, pulls) = (self.credentials.clone(), self.pulls.clone());
        let (socket, place) = (socket.to_owned(), self.place.join(kind.as_str()));
        let kept = self
            .blobs
            .clone()
            .map(|b| Arc::new(Kept(b)) as Arc<dyn KeptImages>);
        match kind {
            RuntimeKind::Podman => {
                Arc::new(Podman::new(socket, credentials, pulls, place).with_kept(kept))
            }
            _ => Arc::new(Docker::new(socket, credentials, pulls, place).with_kept(kept)),
        }
    }

    /// One more, from now on.
    pub(super) fn add(&mut self, runtime: Arc<dyn Runtime>) {
        let kind = runtime.kind();
        self.runtimes.insert(kind, runtime.clone());
        self.ask_version(kind);
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let (events, mut queue) = mpsc::channel(64);
            let watching = runtime.watch(events);
            let forwarding = async {
                while let Some(event) = queue.recv().await {
                    if replies.send(Reply::Event(kind, event)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(watching, forwarding);
        });
    }

    pub(super) fn kinds(&self) -> Vec<RuntimeKind> {
        self.runtimes.keys().copied().collect()
    }

    pub(super) fn get(&self, kind: RuntimeKind) -> Option<Arc<dyn Runtime>> {
        self.runtimes.get(&kind).cloned()
    }

    /// The container engines, as far as they have answered.
    pub(super) fn facts(&self) -> Vec<EngineFact> {
        self.facts.values().cloned().collect()
    }

    /// Every container engine has answered, or failed to.
    pub(super) fn all_answered(&self) -> bool {
        let engines = self.runtimes.keys().filter(|k| k.is_engine());
        engines.clone().count() == self.facts.len()
    }

    /// What became of an engine; `true` when that is news.
    pub(super) fn note(&mut self, runtime: RuntimeKind, version: Option<String>) -> bool {
        if !runtime.is_engine() {
            return false;
        }
        let before = self.facts.get(&runtime).cloned();
        let fact = EngineFact {
            runtime,
            healthy: version.is_some(),
            version: version
                .or_else(|| before.as_ref().map(|b| b.version.clone()))
                .unwrap_or_default(),
        };
        let news = before.as_ref() != Some(&fact);
        self.facts.insert(runtime, fact);
        news
    }

    /// Asks a runtime for everything that it has.
    pub(super) fn list(&self, kind: RuntimeKind, as_of: Moment) {
        self.ask(kind, move |runtime, node| async move {
            Reply::Listed(kind, as_of, runtime.list(&node).await)
        });
    }

    /// Asks a runtime for containers of others that want to be announced.
    pub(super) fn discover(&self, kind: RuntimeKind) {
        if kind.is_engine() {
            self.ask(kind, |runtime, _| async move {
                // An engine that is in trouble is told about by its listing.
                let found = runtime.unmanaged(false).await.unwrap_or_default();
                Reply::Discovered(kind, found)
            });
        }
    }

    /// Asks an instance whether it works.
    pub(super) fn probe(
        &self,
        id: OperationId,
        kind: RuntimeKind,
        handle: String,
        check: HealthCheck,
        timeout_ms: u64,
    ) {
        let (runtime, replies) = (self.get(kind), self.replies.clone());
        let check = match check {
            HealthCheck::None => check,
            _ if self.simulated => HealthCheck::Image,
            _ => check,
        };
        tokio::spawn(async move {
            let answer = probe::ask(runtime, &handle, &check, timeout_ms).await;
            let _ = replies.send(Reply::Probed(id, answer)).await;
        });
    }

    /// Fetches what an instance wrote last.
    pub(super) fn fetch_last_output(&self, kind: RuntimeKind, handle: String) {
        // It may be started again at once, and then writes on.
        let until_ns = crate::support::clock::unix_ms()
            .saturating_add(1)
            .saturating_mul(1_000_000);
        self.ask(kind, move |runtime, _| async move {
            let lines = last_output(&*runtime, &handle, until_ns).await;
            Reply::LastOutput(kind, handle, lines)
        });
    }

    /// Asks it again in a while, once: an engine that hangs keeps its stream of events open, so
    /// that nothing else would tell when it answers again.
    pub(super) fn list_later(&mut self, kind: RuntimeKind) {
        if !self.retrying.insert(kind) {
            return;
        }
        let replies = self.replies.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RETRY).await;
            let _ = replies.send(Reply::Retry(kind)).await;
        });
    }

    /// The while is over; it is to be listed now.
    pub(super) fn retry(&mut self, kind: RuntimeKind) {
        self.retrying.remove(&kind);
        self.ask_version(kind);
    }

    /// Asks a runtime for its version.
    pub(super) fn ask_version(&self, kind: RuntimeKind) {
        self.ask(kind, |runtime, _| async move {
            Reply::Version(kind, runtime.version().await)
        });
    }

    /// Looks at one instance.
    pub(super) fn look(&self, kind: RuntimeKind, as_of: Moment, handle: String) {
        self.ask(kind, move |runtime, _| async move {
            let found = runtime.inspect(&handle).await;
            Reply::Looked(kind, as_of, handle, found)
        });
    }

    fn ask<F>(&self, kind: RuntimeKind, question: impl FnOnce(Arc<dyn Runtime>, Name) -> F)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let Some(runtime) = self.get(kind) else {
            return;
        };
        let answer = question(runtime, self.node.clone());
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let _ = replies.send(answer.await).await;
        });
    }

    /// Carries out an operation; its outcome comes as [`Reply::Finished`].
    pub(super) fn carry_out(&mut self, action: Action, mut noted: Noted) {
        let (kind, id) = match &action {
            Action::Launch {
                runtime, operation, ..
            }
            | Action::Prepare {
                runtime, operation, ..
            }
            | Action::Start {
                runtime, operation, ..
            }
            | Action::Stop {
                runtime, operation, ..
            }
            | Action::Remove {
                runtime, operation, ..
            }
            | Action::Reload {
                runtime, operation, ..
            } => (*runtime, *operation),
            _ => return,
        };
        let (runtime, replies) = (self.get(kind), self.replies.clone());
        let cancel = Arc::new(Notify::new());
        self.under_way.insert(id, cancel.clone());
        let log = noted.log();
        let doing = async move {
            let pull = noted.pull();
            let outcome = match runtime {
                Some(runtime) => tokio::select! {
                    outcome = operate(&*runtime, action, id, &replies, pull) => outcome,
                    () = cancel.notified() => given_up(),
                },
                None => {
                    OpOutcome::Failed(RuntimeError::Refused(format!("this node has no {kind}")))
                }
            };
            noted.end(&outcome);
            let _ = replies.send(Reply::Finished(id, outcome)).await;
        };
        tokio::spawn(doing.instrument(log));
    }

    /// Does not carry an operation out, and says why as its outcome.
    pub(super) fn refuse(&self, operation: OperationId, why: String) {
        let outcome = OpOutcome::Failed(RuntimeError::Failed(why));
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let _ = replies.send(Reply::Finished(operation, outcome)).await;
        });
    }

    /// Operations under way.
    pub(super) fn operations(&self) -> usize {
        self.under_way.len()
    }

    /// An operation has ended.
    pub(super) fn ended(&mut self, operation: OperationId) {
        self.under_way.remove(&operation);
    }

    /// Gives an operation up; its outcome still comes.
    pub(super) fn give_up(&mut self, operation: OperationId) {
        if let Some(cancel) = self.under_way.remove(&operation) {
            cancel.notify_one();
        }
    }
}

fn given_up() -> OpOutcome {
    OpOutcome::Failed(RuntimeError::Failed("it was given up".into()))
}

/// With what only this node's environment knows.
fn filled(launch: Launch) -> Result<Launch, RuntimeError> {
    if !launch.workload.has_templates() {
        return Ok(launch);
    }
    let environment = |key: &str| std::env::var(key).ok();
    match launch.workload.fill(&of_environment(&environment)) {
        Ok(workload) => Ok(Launch {
            workload: Arc::new(workload),
            ..launch
        }),
        Err(unknown) => {
            let names: Vec<String> = unknown.iter().map(|n| format!("`{{{{ {n} }}}}`")).collect();
            Err(RuntimeError::Refused(format!(
                "{} cannot be filled in: set it in the environment of this node's agent",
                names.join(", ")
            )))
        }
    }
}

/// Runs what is to be run before a stop; whatever comes of it, the stop follows.
async fn run_hook(runtime: &dyn Runtime, handle: &str, hook: &Hook) -> Result<(), String> {
    let limit = Duration::from_millis(hook.timeout_ms);
    let running = probe::run(runtime, handle, &hook.command, hook.timeout_ms);
    match tokio::time::timeout(limit, running).await {
        Ok(Ok((0, _))) => Ok(()),
        Ok(Ok((code, last))) => Err(format!("`before_stop` ended with exit code {code}: {last}")),
        Ok(Err(error)) => Err(format!("`before_stop` could not be run: {error}")),
        Err(_) => Err(format!(
            "`before_stop` took longer than {} ms and was ended",
            hook.timeout_ms
        )),
    }
}

/// The last lines that an instance wrote, cut.
async fn last_output(runtime: &dyn Runtime, handle: &str, until_ns: u64) -> Vec<String> {
    let query = LogQuery {
        tail: Some(LAST_LINES as u32),
        until_ns: Some(until_ns),
        ..LogQuery::default()
    };
    let (lines, mut written) = mpsc::channel::<LogLine>(LAST_LINES);
    let reading = async {
        let mut last = Vec::new();
        while let Some(line) = written.recv().await {
            let mut text = line.text;
            let end = text.floor_char_boundary(LAST_LINE_BYTES);
            text.truncate(end);
            last.push(text);
            if last.len() > LAST_LINES {
                last.remove(0);
            }
        }
        last
    };
    let (_, last) = tokio::join!(runtime.logs(handle, &query, lines), reading);
    last
}

async fn operate(
    runtime: &dyn Runtime,
    action: Action,
    id: OperationId,
    replies: &mpsc::Sender<Reply>,
    mut pull: Pull,
) -> OpOutcome {
    let (progress, mut steps) = mpsc::unbounded_channel();
    let told = replies.clone();
    let telling = async move {
        while let Some(step) = steps.recv().await {
            pull.step(step);
            // Progress is for showing: where the queue is full it is left out.
            let _ = told.try_send(Reply::Progress(id, step));
        }
    };
    let done = |r: Result<(), RuntimeError>| match r {
        Ok(()) => OpOutcome::Done,
        Err(e) => OpOutcome::Failed(e),
    };
    let doing = async {
        match action {
            Action::Launch { launch, .. } => match filled(launch) {
                Ok(launch) => match runtime.launch(&launch, progress).await {
                    Ok(launched) => OpOutcome::Launched(launched),
                    Err(e) => OpOutcome::Failed(e),
                },
                Err(e) => {
                    drop(progress);
                    OpOutcome::Failed(e)
                }
            },
            Action::Prepare { launch, .. } => match filled(launch) {
                Ok(launch) => done(runtime.prepare(&launch, progress).await),
                Err(e) => {
                    drop(progress);
                    OpOutcome::Failed(e)
                }
            },
            Action::Reload { launch, handle, .. } => {
                drop(progress);
                match filled(launch) {
                    Ok(launch) => done(runtime.reload(&handle, &launch).await.map(drop)),
                    Err(e) => OpOutcome::Failed(e),
                }
            }
            Action::Start { handle, .. } => {
                drop(progress);
                match runtime.start(&handle).await {
                    Ok(launched) => OpOutcome::Launched(launched),
                    Err(e) => OpOutcome::Failed(e),
                }
            }
            Action::Stop {
                handle,
                timeout_ms,
                before,
                ..
            } => {
                drop(progress);
                let hook = match &before {
                    Some(hook) => run_hook(runtime, &handle, hook).await,
                    None => Ok(()),
                };
                match (runtime.stop(&handle, timeout_ms).await, hook) {
                    (Err(error), _) => OpOutcome::Failed(error),
                    (Ok(()), Err(why)) => OpOutcome::DoneBut(why),
                    (Ok(()), Ok(())) => OpOutcome::Done,
                }
            }
            Action::Remove { handle, .. } => {
                drop(progress);
                done(runtime.remove(&handle).await)
            }
            _ => OpOutcome::Done,
        }
    };
    tokio::join!(doing, telling).0
}
