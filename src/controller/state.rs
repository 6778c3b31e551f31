//! What the controller's parts share.

use super::{CommandEnd, EventLog, Meter, Pending, live::Live, outbox::Outbox};
use crate::{
    contract::Kind,
    fleet::{Actor, Change, Fleet, Refusal},
    identity::FleetIdentity,
    journal::{AuditPage, Journal, JournalError, Trail},
    model::{CommandKind, CommandOutcome, CommandSpec, IMAGE_FEATURES, Name, TraceContext},
    support::clock,
    trace::{self, OpenSpan, SpanKind, Tracer},
};
use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What is done with the journal on the thread that owns it.
pub(super) type Reading = Box<dyn FnOnce(&mut dyn Journal) + Send>;

/// An order that says how far it is counts as lost when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(120);
/// And after so long in any case.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// Characters of how far one is.
const MAX_STEP: usize = 200;
/// Words of how far one is that wait to be read.
const STEPS: usize = 8;

/// Something for the core thread.
pub enum Input {
    /// A person's change.
    Change {
        /// Who.
        by: Option<Actor>,
        /// What.
        change: Change,
        /// Answered once it is durable.
        answer: oneshot::Sender<Result<(), AskError>>,
    },
    /// An agent's (or a clock's) change; nobody waits.
    Told(Change),
    /// A node gave a sign of life.
    Heard(Name),
    /// Somebody reads something of the journal: no more than a page.
    Read(Reading),
    /// A connection to the broker stands: everything must be published again.
    Connected,
    /// Write a snapshot and end.
    Stop,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The fleet says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal could not keep it.
    #[error("{0}")]
    NotDurable(String),
    /// The controller is stopping, or has more to do than it can.
    #[error("the controller is busy or stopping; try again")]
    Busy,
}

/// The controller, for its HTTP side and its tasks.
pub struct Controller {
    pub(super) fleet: RwLock<Fleet>,
    /// To the core thread; bounded.
    pub(super) inputs: flume::Sender<Input>,
    /// Keys and CA.
    pub identity: FleetIdentity,
    /// What it keeps for nodes, by hash.
    pub blobs: Arc<crate::blobs::Blobs>,
    /// Where nodes fetch that.
    pub door: Arc<crate::blobs::Door>,
    /// What nodes said last of how they are.
    pub live: Live,
    /// What happened lately.
    pub events: EventLog,
    /// What is wrong, and who is told.
    pub alerts: super::AlertBoard,
    /// Commands under way.
    pub pending: Pending,
    /// Signs and sends.
    pub outbox: Outbox,
    /// What a join token carries beside its secret.
    pub join: JoinBase,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// A node that is not heard for so long is called silent, milliseconds.
    pub silent_after_ms: u64,
    /// Held while a node's configuration is read and changed.
    pub configuring: tokio::sync::Mutex<()>,
    /// Machines with a token need no further consent.
    pub auto_approve: bool,
    /// Connected to the broker.
    pub connected: AtomicBool,
    /// Message refusals by kind, for `/metrics`.
    pub refused: std::sync::Mutex<crate::support::Counted>,
    /// What it counts of its own work.
    pub meter: Meter,
    /// Where spans go.
    pub tracer: Tracer,
    /// Requests to its API.
    pub requests: crate::http::Requests,
    /// Counters of the embedded broker.
    pub broker: RwLock<Option<Arc<crate::broker::Broker>>>,
    /// When it started, wall clock.
    pub started_ms: u64,
    /// Where the admin token is.
    pub data_dir: PathBuf,
    /// Streams (events, log lines) that may be open at once.
    pub streams: Arc<tokio::sync::Semaphore>,
    /// Who is signed in to the dashboard.
    pub sessions: crate::http::Sessions,
    /// Served in place of the embedded dashboard.
    pub dashboard_dir: Option<PathBuf>,
    /// Wakes who waits for the fleet to change.
    pub changed: tokio::sync::watch::Sender<u64>,
}

/// Until the result comes, or nothing for [`SILENCE`].
async fn follow(
    mut receiver: oneshot::Receiver<CommandOutcome>,
    mut steps: mpsc::Receiver<String>,
    told: mpsc::Sender<String>,
) -> Option<CommandOutcome> {
    let over = tokio::time::Instant::now() + LONGEST;
    loop {
        let silent = (tokio::time::Instant::now() + SILENCE).min(over);
        tokio::select! {
            outcome = &mut receiver => return outcome.ok(),
            Some(step) = steps.recv() => {
                // Who reads slowly misses one, and gets the next.
                let _ = told.try_send(super::plain::text(&step, MAX_STEP));
            }
            () = tokio::time::sleep_until(silent) => return None,
        }
    }
}

/// What every join token of this fleet carries.
#[derive(Debug, Clone)]
pub struct JoinBase {
    /// Broker URLs.
    pub brokers: Vec<String>,
    /// SHA-256 of the CA's certificate; `None` with an external broker.
    pub ca_sha256: Option<String>,
    /// CA of an external broker.
    pub external_ca: Option<String>,
    /// Topic prefix.
    pub prefix: String,
}

impl Controller {
    /// The fleet, for reading. Held only for as long as it takes to copy something out.
    pub fn fleet(&self) -> RwLockReadGuard<'_, Fleet> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inputs that wait for the core thread.
    pub fn waiting_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// How many may wait.
    pub fn input_capacity(&self) -> Option<usize> {
        self.inputs.capacity()
    }

    /// Streams that are open now.
    pub fn open_streams(&self) -> usize {
        super::run::MAX_STREAMS.saturating_sub(self.streams.available_permits())
    }

    /// Makes a change; returns once it is durable and its effects are on their way.
    ///
    /// # Errors
    /// [`AskError`]; then nothing was changed.
    pub async fn change(&self, by: Option<Actor>, change: Change) -> Result<(), AskError> {
        let request = by.as_ref().and_then(|actor| actor.trace);
        let span = self
            .tracer
            .begin(request, SpanKind::Internal, "fleet.apply");
        let span = span.map(|mut span| {
            span.set("fleetctl.entry.kind", trace::variant(&change));
            span
        });
        let changed = self.make(by, change).await;
        if let (Some(mut span), Err(error)) = (span, &changed)
            && *error != AskError::Refused(Refusal::Unchanged)
        {
            span.fail(&error.to_string());
        }
        changed
    }

    async fn make(&self, by: Option<Actor>, change: Change) -> Result<(), AskError> {
        let (answer, receiver) = oneshot::channel();
        let input = Input::Change { by, change, answer };
        self.inputs
            .send_async(input)
            .await
            .map_err(|_| AskError::Busy)?;
        receiver.await.map_err(|_| AskError::Busy)?
    }

    /// A page of the audit trail, newest first; as [`Journal::audit`].
    ///
    /// # Errors
    /// A sentence.
    pub async fn audit(&self, before: u64, limit: u32) -> Result<AuditPage, String> {
        self.read(move |journal| journal.audit(before, limit)).await
    }

    /// A page of the audit trail as it is kept, oldest first; as [`Journal::trail`].
    ///
    /// # Errors
    /// A sentence.
    pub async fn trail(&self, after: u64, limit: u32) -> Result<Trail, String> {
        self.read(move |journal| journal.trail(after, limit)).await
    }

    /// Who reads waits for what is being written, and the other way round.
    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut dyn Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, String> {
        let (answer, receiver) = oneshot::channel();
        let busy = || AskError::Busy.to_string();
        let input = Input::Read(Box::new(move |journal| {
            let _ = answer.send(what(journal).map_err(|e| e.to_string()));
        }));
        self.inputs.send_async(input).await.map_err(|_| busy())?;
        receiver.await.map_err(|_| busy())?
    }

    /// Sends a command and waits for its result.
    ///
    /// # Errors
    /// The fleet refuses it; a node that does not answer is an outcome, not an error.
    pub async fn command(
        &self,
        by: Option<Actor>,
        node: &Name,
        order: CommandSpec,
    ) -> Result<CommandOutcome, AskError> {
        self.traced_command(by, node, order, None).await
    }

    /// The same for one that may take hours, as long as its node says how far it is; that goes to
    /// `told`.
    ///
    /// # Errors
    /// As [`Controller::command`].
    pub async fn long_command(
        &self,
        by: Option<Actor>,
        node: &Name,
        order: CommandSpec,
        told: mpsc::Sender<String>,
    ) -> Result<CommandOutcome, AskError> {
        self.traced_command(by, node, order, Some(told)).await
    }

    async fn traced_command(
        &self,
        by: Option<Actor>,
        node: &Name,
        order: CommandSpec,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<CommandOutcome, AskError> {
        let request = by.as_ref().and_then(|actor| actor.trace);
        let span = self.tracer.begin(request, SpanKind::Client, "command");
        let span = span.map(|mut span| {
            span.set("fleetctl.command", order.command.as_str());
            span.set("fleetctl.node", node.as_str());
            span
        });
        let ended = self.send_and_wait(by, node, order, told).await;
        if let Some(mut span) = span {
            match &ended {
                Ok(outcome) if outcome.ok => {}
                Ok(outcome) => span.fail(outcome.message.as_deref().unwrap_or("it failed")),
                Err(error) => span.fail(&error.to_string()),
            }
        }
        ended
    }

    async fn send_and_wait(
        &self,
        by: Option<Actor>,
        node: &Name,
        order: CommandSpec,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<CommandOutcome, AskError> {
        let request = by.as_ref().and_then(|actor| actor.trace);
        let known = self.fleet().node(node.as_str()).map(|n| {
            // One that has only just joined has not said it yet, and is no old one.
            let features = n.facts.as_ref().map_or(IMAGE_FEATURES, |f| f.features);
            (n.presence, n.presence_reason.clone(), n.http, features)
        });
        let Some((presence, reason, http, features)) = known else {
            return Err(Refusal::NotFound {
                what: "node",
                name: node.to_string(),
            }
            .into());
        };
        if http {
            self.meter.command(CommandEnd::Unsent);
            return Ok(CommandOutcome::failed(format!(
                "{node} speaks HTTP and takes no commands; it does what its assignment says"
            )));
        }
        if presence == crate::model::Presence::Offline {
            self.meter.command(CommandEnd::Unsent);
            let why = if reason.is_empty() {
                "offline".to_owned()
            } else {
                reason
            };
            return Ok(CommandOutcome::failed(format!("{node} is offline ({why})")));
        }
        let about_images = matches!(order.command, CommandKind::Image | CommandKind::Images);
        if about_images && features < IMAGE_FEATURES {
            self.meter.command(CommandEnd::Unsent);
            return Ok(CommandOutcome::failed(format!(
                "the agent of {node} is of an older release and knows nothing of images; upgrade \
                 it first (`fleetctl upgrade`)"
            )));
        }
        if !self.connected.load(Ordering::Relaxed) {
            self.meter.command(CommandEnd::Unsent);
            let text = "the controller has no connection to its broker; nothing was sent";
            return Ok(CommandOutcome::failed(text));
        }
        let patience = match told {
            Some(_) => LONGEST,
            None => self.patience(&order),
        };
        let id = crate::identity::random_id().map_err(|e| AskError::NotDurable(e.to_string()))?;
        let (progress, steps) = mpsc::channel(STEPS);
        let receiver = match told {
            Some(_) => self.pending.expect_long(&id, node, progress),
            None => self.pending.expect(&id, node, None),
        };
        let receiver = receiver.map_err(|e| AskError::Refused(Refusal::Conflict(e.to_string())))?;
        if order.command.changes_something() {
            let timeout = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            let deadline_ms = clock::unix_ms().saturating_add(timeout);
            let change = Change::CommandIssued {
                id: id.clone(),
                node: node.clone(),
                order,
                deadline_ms,
            };
            if let Err(error) = self.change(by, change).await {
                self.pending.forget(&id);
                self.meter.command(CommandEnd::Refused);
                return Err(error);
            }
        } else {
            self.outbox.command(&id, node, order, request);
        }
        let waited = match told {
            Some(told) => {
                let waited = follow(receiver, steps, told).await;
                self.pending.forget(&id);
                waited.ok_or(SILENCE)
            }
            None => match tokio::time::timeout(patience, receiver).await {
                Ok(Ok(outcome)) => Ok(outcome),
                _ => Err(patience),
            },
        };
        match waited {
            Ok(outcome) => {
                let end = match outcome.ok {
                    true => CommandEnd::Done,
                    false => CommandEnd::Failed,
                };
                self.meter.command(end);
                Ok(outcome)
            }
            Err(silent) => {
                self.pending.forget(&id);
                self.meter.command(CommandEnd::Unanswered);
                let seconds = silent.as_secs_f32();
                Ok(CommandOutcome::failed(format!(
                    "{node} did not answer within {seconds} s"
                )))
            }
        }
    }

    /// The span of an assignment that is being sent.
    pub(super) fn sending(
        &self,
        request: Option<TraceContext>,
        fleet: &Fleet,
        node: &Name,
    ) -> Option<OpenSpan> {
        let mut span = self
            .tracer
            .begin(request, SpanKind::Producer, "send assignment")?;
        span.set("messaging.system", "mqtt");
        span.set("messaging.operation.type", "send");
        let topic = self.outbox.topics.of(Kind::Assignment, node);
        span.set("messaging.destination.name", topic);
        span.set("fleetctl.node", node.as_str());
        if let Some(record) = fleet.node(node.as_str()) {
            span.set("fleetctl.generation", record.generation);
        }
        Some(span)
    }

    /// How long a command may take: one that stops something, also the time that it has to end.
    fn patience(&self, order: &CommandSpec) -> Duration {
        let stops = matches!(
            order.command,
            CommandKind::Stop | CommandKind::Restart | CommandKind::Remove
        );
        let workload = order.workload.as_ref().filter(|_| stops);
        let grace = workload.map(|w| {
            let fleet = self.fleet();
            fleet
                .workload(w.as_str())
                .map_or(10_000, |r| r.spec.stop_timeout_ms)
        });
        self.command_timeout + Duration::from_millis(grace.unwrap_or(0))
    }
}
