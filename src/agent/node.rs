//! The one task that owns the supervisor.

use super::{
    AgentEnd, AgentError,
    commands::{Reaction, Recent},
    engines::{Engines, Reply},
    enroll::{self, Member},
    facts,
    heartbeat::{Pulse, Work},
    inbox::{Heard, Inbox},
    report::Reporter,
    sender::Sender,
    store::{Memory, Store},
};
use crate::{
    config::AgentConfig,
    contract::{CommandResult, Event, Kind, State},
    model::{Assignment, CommandOutcome, InstanceState, NodeConfig, NodeFacts, RuntimeKind},
    mqtt::{self, Publisher, SessionEvent},
    runtime::RuntimeEvent,
    supervisor::{Action, Input, Now, OpOutcome, Supervisor},
    support::{Shutdown, clock},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tracing::{info, warn};

/// Everything is listed again so often, since events may be lost.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// How long the first `metadata` waits for engines to say what they are.
const ENGINES_ANSWER_MS: u64 = 2_000;

/// An agent that has joined.
pub(super) struct Node {
    pub(super) config: AgentConfig,
    store: Store,
    pub(super) sender: Arc<Sender>,
    pub(super) publisher: Publisher,
    session: mpsc::Receiver<SessionEvent>,
    inbox: Inbox,
    pub(super) engines: Engines,
    replies: mpsc::Receiver<Reply>,
    pub(super) supervisor: Supervisor,
    pub(super) memory: Memory,
    pub(super) recent: Recent,
    reporter: Reporter,
    pulse: Pulse,
    cfg: NodeConfig,
    /// Generation that is on the disk.
    stored_generation: u64,
    /// The assignment in effect; stored again when that failed.
    latest: Option<Assignment>,
    stored: mpsc::Receiver<Result<u64, String>>,
    to_store: mpsc::Sender<Assignment>,
    connected: bool,
    facts: Option<NodeFacts>,
    started_ms: u64,
    next_beat: Instant,
    pub(super) end: Option<AgentEnd>,
}

impl Node {
    /// Loads what is on the disk; runs it as soon as runtimes answer.
    pub(super) fn start(
        config: AgentConfig,
        store: Store,
        member: Member,
    ) -> Result<Node, AgentError> {
        let Member {
            sender,
            fleet_key,
            login,
        } = member;
        let (replies_in, replies) = mpsc::channel(256);
        let engines = Engines::new(
            &config,
            sender.node.clone(),
            store.instances_dir(),
            replies_in,
        )?;
        let assignment = store.assignment()?;
        let memory = store.memory(assignment.as_ref())?;
        let kinds: BTreeSet<RuntimeKind> = engines.kinds().into_iter().collect();
        let restarts = memory.restarts_done.clone();
        let supervisor = Supervisor::new(sender.node.clone(), &kinds, restarts, clock::seed());
        let (publisher, session) = mqtt::spawn(login, enroll::settings(&config));
        let (to_store, stored) = storing(&store);
        let mut node = Node {
            pulse: Pulse::new(config.common.data_dir.clone()),
            config,
            sender,
            publisher,
            session,
            inbox: Inbox::new(fleet_key),
            engines,
            replies,
            supervisor,
            memory,
            recent: Recent::default(),
            reporter: Reporter::default(),
            cfg: NodeConfig::default(),
            stored_generation: 0,
            latest: None,
            stored,
            to_store,
            connected: false,
            facts: None,
            started_ms: clock::mono_ms(),
            next_beat: Instant::now(),
            end: None,
            store,
        };
        if let Some(assignment) = assignment {
            info!(
                generation = assignment.generation,
                "starting from the assignment on disk"
            );
            node.cfg = assignment.cfg.clone();
            node.stored_generation = assignment.generation;
            node.latest = Some(assignment.clone());
            node.step(Input::Assigned(assignment));
        }
        Ok(node)
    }

    /// Until it is asked to stop. Workloads go on.
    pub(super) async fn run(mut self, shutdown: Shutdown) -> Result<AgentEnd, AgentError> {
        let mut listing = time::interval_at(Instant::now() + LIST_EVERY, LIST_EVERY);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.wait() => self.end = Some(AgentEnd::Stopped),
                event = self.session.recv() => match event {
                    Some(event) => self.session_event(event).await,
                    None => self.end = Some(AgentEnd::Restart),
                },
                Some(reply) = self.replies.recv() => self.reply(reply),
                Some(stored) = self.stored.recv() => self.assignment_stored(stored),
                _ = listing.tick() => {
                    self.store_again();
                    self.list_everything();
                }
                () = time::sleep_until(wake) => self.woken(),
            }
            self.publish_state();
            if let Some(end) = self.end.take() {
                info!("agent stops, workloads go on");
                self.publisher.close(self.sender.goodbye()).await;
                return Ok(end);
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let now_ms = clock::mono_ms();
        let at = |ms: u64| Instant::now() + Duration::from_millis(ms.saturating_sub(now_ms));
        let decide = self.supervisor.next_deadline().map(at);
        let report = self.reporter.due_ms().filter(|_| self.connected).map(at);
        let beat = self.connected.then_some(self.next_beat);
        let waits = self.connected && self.facts.is_none();
        let facts = waits.then(|| at(self.started_ms + ENGINES_ANSWER_MS));
        let all = [decide, report, beat, facts].into_iter().flatten();
        all.min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }

    fn woken(&mut self) {
        self.step(Input::Tick);
        if self.connected && self.facts.is_none() {
            self.announce_facts(false);
        }
        if self.connected && Instant::now() >= self.next_beat {
            self.beat();
        }
    }

    async fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Connected => {
                self.connected = true;
                self.announce();
            }
            SessionEvent::Disconnected { reason, refused } => {
                self.connected = false;
                warn!(reason, "not connected, workloads go on");
                if refused {
                    let dir = self.store.dir().display().to_string();
                    warn!(
                        dir,
                        "the fleet may have revoked or removed this node; to join anew delete \
                         fleet.json and node.key there and start with --join"
                    );
                }
            }
            SessionEvent::Message { topic, payload, .. } => {
                match self.inbox.take(&self.sender, &topic, &payload) {
                    Some(Heard::Assignment(assignment)) => self.assigned(assignment).await,
                    Some(Heard::Command { seq, command }) => {
                        match self.command(seq, command) {
                            Reaction::None => {}
                            Reaction::Refresh => self.refresh(),
                        };
                    }
                    Some(Heard::Dismissed { message }) => {
                        warn!(message, "the fleet has cut this node off, workloads go on");
                    }
                    None => {}
                }
            }
            SessionEvent::Ended { reason } => {
                warn!(reason, "session ended");
                self.end = Some(AgentEnd::Restart);
            }
        }
    }

    /// A session has begun: everything is said anew, first of all that the node is there.
    fn announce(&mut self) {
        info!(node = %self.sender.node, "connected");
        if let Some(online) = self.sender.online() {
            self.publisher.publish(online);
        }
        self.pulse.begin_session();
        self.reporter.forget();
        self.say(Kind::Cfg, &self.cfg.clone());
        if let Some(facts) = self.facts.clone() {
            self.say(Kind::Metadata, &facts);
        } else {
            self.announce_facts(false);
        }
        self.beat();
    }

    /// What the node is, once its engines have answered (or had the time to).
    fn announce_facts(&mut self, again: bool) {
        let waited = clock::mono_ms() >= self.started_ms + ENGINES_ANSWER_MS;
        if !waited && !self.engines.all_answered() {
            return;
        }
        let facts = facts::gather(&self.config, &self.engines.facts());
        if again || self.facts.as_ref() != Some(&facts) {
            if self.connected {
                self.say(Kind::Metadata, &facts);
            }
            self.facts = Some(facts);
        }
    }

    pub(super) fn say(&self, kind: Kind, body: &impl serde::Serialize) {
        if !self.sender.post(&self.publisher, kind, None, body) {
            warn!(
                kind = kind.as_str(),
                "outbox is full, a message was dropped"
            );
        }
    }

    fn beat(&mut self) {
        let observed = self.supervisor.observed_instances();
        let count = |states: &[InstanceState]| {
            u32::try_from(
                observed
                    .iter()
                    .filter(|o| states.contains(&o.state))
                    .count(),
            )
            .unwrap_or(0)
        };
        let work = Work {
            running: count(&[InstanceState::Running]),
            failed: count(&[InstanceState::Failed, InstanceState::Backoff]),
            generation: self.stored_generation,
            state_digest: self.reporter.digest().to_owned(),
        };
        let body = self.pulse.beat(&work);
        self.say(Kind::Heartbeat, &body);
        // A twentieth of jitter, so that a fleet that started at once does not beat at once.
        let interval = self.cfg.heartbeat_interval_ms.max(100);
        let jitter = clock::seed() % (interval / 20 + 1);
        self.next_beat = Instant::now() + Duration::from_millis(interval - jitter);
    }

    async fn assigned(&mut self, assignment: Assignment) {
        if assignment.generation < self.supervisor.generation() {
            let (generation, in_effect) = (assignment.generation, self.supervisor.generation());
            warn!(
                generation,
                in_effect, "assignment is older than the one in effect, refused"
            );
            return;
        }
        info!(
            generation = assignment.generation,
            instances = assignment.instances.len(),
            "assigned"
        );
        if self.cfg != assignment.cfg {
            self.cfg = assignment.cfg.clone();
            self.say(Kind::Cfg, &self.cfg.clone());
            self.next_beat = Instant::now();
        }
        // Storing and starting go side by side; the generation is reported once it is stored.
        if assignment.generation > self.stored_generation {
            let _ = self.to_store.send(assignment.clone()).await;
        }
        self.latest = Some(assignment.clone());
        self.step(Input::Assigned(assignment));
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

    fn assignment_stored(&mut self, stored: Result<u64, String>) {
        match stored {
            Ok(generation) => {
                self.stored_generation = self.stored_generation.max(generation);
                self.reporter.want();
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

    fn refresh(&mut self) {
        for kind in self.engines.find_new() {
            self.step(Input::RuntimeFound(kind));
        }
        self.list_everything();
        self.announce_facts(true);
        self.say(Kind::Cfg, &self.cfg.clone());
        self.reporter.forget();
    }

    fn list_everything(&mut self) {
        for kind in self.engines.find_new() {
            self.step(Input::RuntimeFound(kind));
        }
        for kind in self.engines.kinds() {
            self.engines.list(kind);
        }
    }

    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Event(kind, RuntimeEvent::Connected) => {
                self.engines.ask_version(kind);
                self.engines.list(kind);
            }
            Reply::Event(kind, RuntimeEvent::Changed { handle }) => self.engines.look(kind, handle),
            Reply::Event(kind, RuntimeEvent::Disconnected { reason }) => {
                self.engine_lost(kind, reason);
            }
            Reply::Version(kind, version) => {
                let version = version.ok();
                if self.engines.note(kind, version) || self.facts.is_none() {
                    self.announce_facts(false);
                    self.reporter.want();
                }
            }
            Reply::Listed(runtime, Ok(found)) => self.step(Input::Listed { runtime, found }),
            Reply::Listed(kind, Err(error)) => {
                self.engine_lost(kind, error.to_string());
                self.engines.list_later(kind);
            }
            Reply::Retry(kind) => self.engines.retry(kind),
            Reply::Looked(runtime, _, Ok(found)) => self.step(Input::Observed { runtime, found }),
            Reply::Looked(runtime, handle, Err(crate::runtime::RuntimeError::NotFound(_))) => {
                self.step(Input::Gone { runtime, handle });
            }
            // The engine is in trouble; its events or the next listing will tell.
            Reply::Looked(..) => {}
            Reply::Progress(operation, progress) => {
                self.step(Input::Progressed {
                    operation,
                    progress,
                });
            }
            Reply::Finished(operation, outcome) => {
                let lost = matches!(
                    &outcome,
                    OpOutcome::Failed(crate::runtime::RuntimeError::Unreachable { .. })
                );
                let unreachable = match &outcome {
                    OpOutcome::Failed(crate::runtime::RuntimeError::Unreachable {
                        runtime,
                        ..
                    }) if lost => Some(*runtime),
                    _ => None,
                };
                self.engines.ended(operation);
                self.step(Input::Finished { operation, outcome });
                // Where the engine answers after all, the listing says so at once.
                if let Some(kind) = unreachable {
                    self.engines.list(kind);
                }
            }
        }
    }

    fn engine_lost(&mut self, kind: RuntimeKind, reason: String) {
        if self.engines.note(kind, None) {
            warn!(runtime = %kind, reason, "engine cannot be reached");
            self.tell("engine_lost", None, reason.clone());
            self.announce_facts(false);
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
        for action in self.supervisor.step(now, input) {
            match action {
                Action::Report => self.reporter.want(),
                Action::Cancel { operation } => self.engines.give_up(operation),
                Action::Inspect { runtime, handle } => self.engines.look(runtime, handle),
                Action::Remember { restarts_done } => {
                    self.memory.restarts_done = restarts_done;
                    if let Err(error) = self.store.writer().memory(&self.memory) {
                        warn!(%error, "memory cannot be stored");
                    }
                }
                Action::Tell {
                    event,
                    workload,
                    message,
                } => {
                    self.tell(event, Some(workload), message);
                }
                Action::Answer { id, result } => self.answer(
                    &id,
                    match result {
                        Ok(()) => CommandOutcome::done(),
                        Err(message) => CommandOutcome::failed(message),
                    },
                ),
                operation => self.engines.carry_out(operation),
            }
        }
    }

    fn publish_state(&mut self) {
        if !self.connected {
            return;
        }
        let (supervisor, engines) = (&self.supervisor, &self.engines);
        let generation = self.stored_generation;
        let state = self.reporter.take(clock::mono_ms(), || State {
            generation,
            instances: supervisor.observed_instances(),
            engines: engines.facts(),
        });
        if let Some(state) = state {
            self.say(Kind::State, &state);
        }
    }

    pub(super) fn answer(&mut self, id: &str, outcome: CommandOutcome) {
        let result = CommandResult {
            id: id.to_owned(),
            outcome,
        };
        self.recent.keep(&result);
        self.say(Kind::Result, &result);
    }

    fn tell(&self, event: &str, workload: Option<crate::model::Name>, message: String) {
        info!(
            event,
            workload = workload.as_ref().map(|w| w.as_str()),
            message,
            "instance"
        );
        let body = Event {
            event: event.to_owned(),
            workload,
            message,
            at: clock::unix_ms(),
        };
        self.say(Kind::Event, &body);
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
fn storing(store: &Store) -> Storing {
    let writer = store.writer();
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
