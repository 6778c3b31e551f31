//! What every agent has, with or without a fleet: the supervisor, its runtimes and its disk.
//!
//! ```text
//!            node.rs (MQTT) or standalone.rs (a directory)
//!   inputs ────────┐                       ▲ said: events, answers, "the state changed"
//!                  ▼                       │
//!                Core ── Supervisor::step ─┘
//!                  │ actions         ▲ replies
//!                  ▼                 │
//!                Engines (operations, probes, listings run beside)
//! ```
//!
//! One task owns it. Nothing here knows who is told what it says.

use super::{
    AgentError,
    blobs::NodeBlobs,
    engines::{Engines, Reply},
    simulated::Simulated,
    store::{Memory, Store, Writer},
    traced::Traces,
};
use crate::{
    config::AgentConfig,
    model::{Assignment, CommandOutcome, Name, ObservedInstance, RuntimeKind, Unmanaged},
    runtime::{Runtime, RuntimeError, RuntimeEvent},
    supervisor::{Action, Input, Now, OpOutcome, Supervisor},
    support::clock,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

/// Everything is listed again so often, since events may be lost.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(60);

/// Something that the shell may want to tell somebody.
#[derive(Debug)]
pub(super) enum Said {
    /// Something happened.
    Event {
        event: String,
        workload: Option<Name>,
        message: String,
    },
    /// An order has ended.
    Answer { id: String, outcome: CommandOutcome },
    /// What is observed is not what it was.
    StateChanged,
    /// What is known of the engines is not what it was.
    EnginesChanged,
    /// An assignment is on the disk now.
    Stored,
}

/// The part of an agent that runs workloads.
pub(super) struct Core {
    pub(super) node: Name,
    pub(super) store: Store,
    pub(super) engines: Engines,
    pub(super) replies: mpsc::Receiver<Reply>,
    pub(super) supervisor: Supervisor,
    pub(super) memory: Memory,
    /// Which requests its instances come from.
    pub(super) traces: Traces,
    /// To be taken after each call.
    pub(super) said: Vec<Said>,
    /// Containers of others that want to be announced, by engine.
    discovered: BTreeMap<RuntimeKind, Vec<Unmanaged>>,
    /// Generation that is on the disk.
    pub(super) stored_generation: u64,
    /// The assignment in effect; stored again when that failed.
    pub(super) latest: Option<Assignment>,
    pub(super) stored: mpsc::Receiver<Result<u64, String>>,
    to_store: mpsc::Sender<Assignment>,
}

impl Core {
    /// Loads what is on the disk, and begins to run it as soon as runtimes answer.
    pub(super) fn new(config: &AgentConfig, store: Store, node: Name) -> Result<Core, AgentError> {
        Core::of(config, store, node, None, None, None)
    }

    /// The same, of a node that may be simulated.
    pub(super) fn of(
        config: &AgentConfig,
        store: Store,
        node: Name,
        blobs: Option<NodeBlobs>,
        own: Option<Arc<dyn Runtime>>,
        simulated: Option<&Simulated>,
    ) -> Result<Core, AgentError> {
        let (replies_in, replies) = mpsc::channel(256);
        let mut engines = Engines::new(config, node.clone(), &store, blobs, replies_in)?;
        if let Some(simulated) = simulated {
            engines.simulate(&simulated.runtimes);
        }
        if let Some(own) = own {
            engines.add(own);
        }
        let assignment = store.assignment()?;
        let memory = store.memory(assignment.as_ref())?;
        let kinds: BTreeSet<RuntimeKind> = engines.kinds().into_iter().collect();
        let supervisor = Supervisor::new(
            node.clone(),
            &kinds,
            memory.supervisor.clone(),
            clock::seed(),
        );
        let (to_store, stored) = storing(store.writer());
        let mut core = Core {
            node,
            engines,
            replies,
            supervisor,
            memory,
            traces: Traces::default(),
            said: Vec::new(),
            discovered: BTreeMap::new(),
            stored_generation: 0,
            latest: None,
            stored,
            to_store,
            store,
        };
        if let Some(assignment) = assignment {
            info!(
                generation = assignment.generation,
                "starting from the assignment on disk"
            );
            core.stored_generation = assignment.generation;
            core.latest = Some(assignment.clone());
            core.step(Input::Assigned(assignment));
        }
        // At once: the streams of events take their time to stand, and boards start after power
        // cuts.
        for kind in core.engines.kinds() {
            core.list(kind);
        }
        Ok(core)
    }

    /// Runs another assignment; `false` when it is older than the one in effect.
    pub(super) fn assign(&mut self, assignment: Assignment) -> bool {
        if assignment.generation < self.supervisor.generation() {
            let (generation, in_effect) = (assignment.generation, self.supervisor.generation());
            warn!(
                generation,
                in_effect, "assignment is older than the one in effect, refused"
            );
            return false;
        }
        info!(
            generation = assignment.generation,
            instances = assignment.instances.len(),
            "assigned"
        );
        // Storing and starting go side by side; the generation is reported once it is stored.
        if assignment.generation > self.stored_generation {
            // Full: sixteen wait already. The next listing stores the latest then.
            let _ = self.to_store.try_send(assignment.clone());
        }
        self.traces.assigned(self.latest.as_ref(), &assignment);
        self.latest = Some(assignment.clone());
        self.step(Input::Assigned(assignment));
        true
    }

    /// The disk was full; perhaps it is not any more.
    fn store_again(&mut self) {
        let unstored = self
            .latest
            .iter()
            .find(|a| a.generation > self.stored_generation);
        if let Some(assignment) = unstored {
            let _ = self.to_store.try_send(assignment.clone());
        }
    }

    /// What came of storing an assignment.
    pub(super) fn assignment_stored(&mut self, stored: Result<u64, String>) {
        match stored {
            Ok(generation) => {
                self.stored_generation = self.stored_generation.max(generation);
                self.said.push(Said::Stored);
            }
            Err(message) => {
                warn!(
                    message,
                    "assignment cannot be stored, it would not survive a restart"
                );
                self.tell("assignment_not_stored", None, message);
            }
        }
    }

    /// Asks every runtime for everything, and looks for new ones.
    pub(super) fn list_everything(&mut self) {
        self.store_again();
        for kind in self.engines.find_new() {
            self.step(Input::RuntimeFound(kind));
        }
        for kind in self.engines.kinds() {
            self.list(kind);
            self.engines.discover(kind);
        }
    }

    fn list(&mut self, kind: RuntimeKind) {
        let as_of = self.supervisor.begin_look();
        self.engines.list(kind, as_of);
    }

    fn look(&mut self, kind: RuntimeKind, handle: String) {
        let as_of = self.supervisor.begin_look();
        self.engines.look(kind, as_of, handle);
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let now_ms = clock::mono_ms();
        let at = |ms: u64| Instant::now() + Duration::from_millis(ms.saturating_sub(now_ms));
        self.supervisor.next_deadline().map(at)
    }

    /// How every instance is.
    pub(super) fn observed(&self) -> Vec<ObservedInstance> {
        self.supervisor.observed_instances()
    }

    /// Containers of others that want to be announced, by engine and name.
    pub(super) fn discovered(&self) -> Vec<Unmanaged> {
        self.discovered
            .values()
            .flatten()
            .take(100)
            .cloned()
            .collect()
    }

    /// Something came back from a runtime.
    pub(super) fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Event(kind, RuntimeEvent::Connected) => {
                self.engines.ask_version(kind);
                self.list(kind);
                self.engines.discover(kind);
            }
            Reply::Event(kind, RuntimeEvent::Changed { handle }) => self.look(kind, handle),
            Reply::Event(kind, RuntimeEvent::Disconnected { reason }) => {
                self.engine_lost(kind, reason);
            }
            Reply::Version(kind, version) => {
                if self.engines.note(kind, version.ok()) {
                    self.said.push(Said::StateChanged);
                }
                self.said.push(Said::EnginesChanged);
            }
            Reply::Listed(runtime, as_of, Ok(found)) => self.step(Input::Listed {
                runtime,
                as_of,
                found,
            }),
            Reply::Listed(kind, _, Err(error)) => {
                self.engine_lost(kind, error.to_string());
                self.engines.list_later(kind);
            }
            Reply::Retry(kind) => {
                self.engines.retry(kind);
                self.list(kind);
            }
            Reply::Looked(runtime, as_of, _, Ok(found)) => self.step(Input::Observed {
                runtime,
                as_of,
                found,
            }),
            Reply::Looked(runtime, _, handle, Err(RuntimeError::NotFound(_))) => {
                self.step(Input::Gone { runtime, handle });
            }
            // The engine is in trouble; its events or the next listing will tell.
            Reply::Looked(..) => {}
            Reply::Discovered(kind, found) => {
                if self.discovered.get(&kind) != Some(&found) {
                    self.discovered.insert(kind, found);
                    self.said.push(Said::StateChanged);
                }
            }
            Reply::Progress(operation, progress) => {
                self.step(Input::Progressed {
                    operation,
                    progress,
                });
            }
            Reply::Probed(probe, result) => self.step(Input::Probed { probe, result }),
            Reply::LastOutput(runtime, handle, lines) => self.step(Input::LastOutput {
                runtime,
                handle,
                lines,
            }),
            Reply::Finished(operation, outcome) => {
                let unreachable = match &outcome {
                    OpOutcome::Failed(RuntimeError::Unreachable { runtime, .. }) => Some(*runtime),
                    _ => None,
                };
                self.engines.ended(operation);
                self.step(Input::Finished { operation, outcome });
                // Where the engine answers after all, the listing says so at once.
                if let Some(kind) = unreachable {
                    self.list(kind);
                }
            }
        }
    }

    fn engine_lost(&mut self, kind: RuntimeKind, reason: String) {
        if self.engines.note(kind, None) {
            warn!(runtime = %kind, reason, "engine cannot be reached");
            self.tell("engine_lost", None, reason.clone());
            self.said.push(Said::EnginesChanged);
        }
        self.step(Input::RuntimeLost {
            runtime: kind,
            reason,
        });
    }

    /// Gives the supervisor an input and carries out what it decides.
    pub(super) fn step(&mut self, input: Input) {
        let now = Now {
            mono_ms: clock::mono_ms(),
            unix_ms: clock::unix_ms(),
        };
        let mut actions = VecDeque::from(self.supervisor.step(now, input));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Report => self.said.push(Said::StateChanged),
                Action::Cancel { operation } => self.engines.give_up(operation),
                Action::Inspect { runtime, handle } => self.look(runtime, handle),
                Action::Remember(memory) => {
                    self.memory.supervisor = memory;
                    if let Err(error) = self.keep_memory() {
                        let error = crate::support::chain(&error);
                        warn!(error, "memory cannot be stored");
                        let unstored = self.supervisor.not_remembered(actions.into(), &error);
                        actions = unstored.go_on.into();
                        for (operation, why) in unstored.held_back {
                            self.engines.refuse(operation, why);
                        }
                    }
                }
                Action::Tell {
                    event,
                    workload,
                    message,
                } => self.tell(event, Some(workload), message),
                Action::Answer { id, result } => self.said.push(Said::Answer {
                    id,
                    outcome: match result {
                        Ok(()) => CommandOutcome::done(),
                        Err(message) => CommandOutcome::failed(message),
                    },
                }),
                Action::Probe {
                    probe,
                    runtime,
                    handle,
                    check,
                    timeout_ms,
                } => self
                    .engines
                    .probe(probe, runtime, handle, check, timeout_ms),
                Action::FetchLastOutput { runtime, handle } => {
                    self.engines.fetch_last_output(runtime, handle);
                }
                operation => {
                    let noted = self.traces.note(&self.supervisor, &operation);
                    self.engines.carry_out(operation, noted);
                }
            }
        }
        self.traces.look(&self.supervisor);
    }

    /// Says that something happened.
    pub(super) fn tell(&mut self, event: &str, workload: Option<Name>, message: String) {
        if let ("started" | "restarted", Some(workload)) = (event, &workload) {
            self.traces.started(&self.supervisor, workload);
        }
        let trace = workload.as_ref().and_then(|w| {
            let trace = self.supervisor.trace_of(w.as_str())?;
            Some(trace.trace_id())
        });
        info!(
            event,
            workload = workload.as_ref().map(|w| w.as_str()),
            message,
            trace,
            "instance"
        );
        self.said.push(Said::Event {
            event: event.to_owned(),
            workload,
            message,
        });
    }

    pub(super) fn keep_memory(&self) -> Result<(), super::StoreError> {
        self.store.writer().memory(&self.memory)
    }
}

type Storing = (
    mpsc::Sender<Assignment>,
    mpsc::Receiver<Result<u64, String>>,
);

/// A task that writes assignments, the newest of those that wait.
fn storing(writer: Writer) -> Storing {
    let (to_store, mut queue) = mpsc::channel::<Assignment>(16);
    let (done, stored) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(mut assignment) = queue.recv().await {
            while let Ok(newer) = queue.try_recv() {
                assignment = newer;
            }
            let (writer, generation) = (writer.clone(), assignment.generation);
            let written = tokio::task::spawn_blocking(move || writer.assignment(&assignment)).await;
            let result = match written {
                Ok(Ok(())) => Ok(generation),
                Ok(Err(error)) => Err(crate::support::chain(&error)),
                Err(_) => Err("the task that writes it ended".to_owned()),
            };
            if done.send(result).await.is_err() {
                return;
            }
        }
    });
    (to_store, stored)
}
