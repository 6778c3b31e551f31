//! An agent that is a node of a fleet: [`Core`] and a session with the fleet's broker.

use super::{
    AgentEnd, AgentError,
    blobs::NodeBlobs,
    commands::{Reaction, Recent},
    core::{Core, LIST_EVERY, Said},
    enroll::{self, Member},
    facts,
    finder::Servers,
    hangup::Hangup,
    heartbeat::{Pulse, Work},
    inbox::{Heard, Inbox},
    local::{AgentKind, Context, Local, LocalRequest, Server},
    manager::Manager,
    report::Reporter,
    sender::Sender,
    shipping::{Place, Shipping},
    simulated::{Cable, Fate, Note, Simulated, next_fate, thawed},
    status_line::status_line,
    store::{Membership, Store},
    telemetry::Telemetry,
    upgrade::{self, Upgrade, next_wish},
};
use crate::{
    config::AgentConfig,
    contract::{CommandResult, Event, Kind, State},
    model::{Assignment, CAN_UPGRADE, CommandOutcome, InstanceState, NodeConfig, NodeFacts},
    mqtt::{self, Publisher, Receipt, SessionEvent},
    supervisor::Input,
    support::{Shutdown, clock, release},
    upgrade::Standing,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tracing::{info, warn};

/// How long the first `metadata` waits for engines to say what they are.
const ENGINES_ANSWER_MS: u64 = 2_000;

/// An agent that has joined.
pub(super) struct Node {
    pub(super) config: AgentConfig,
    pub(super) core: Core,
    pub(super) sender: Arc<Sender>,
    pub(super) publisher: Publisher,
    session: mpsc::Receiver<SessionEvent>,
    servers: Servers,
    inbox: Inbox,
    pub(super) blobs: NodeBlobs,
    pub(super) recent: Recent,
    reporter: Reporter,
    pulse: Pulse,
    telemetry: Telemetry,
    shipping: Shipping,
    local: Local,
    server: Server,
    cfg: NodeConfig,
    connected: bool,
    facts: Option<NodeFacts>,
    started_ms: u64,
    next_beat: Instant,
    simulated: Option<Simulated>,
    /// Puts another agent in its place; `None`: it cannot.
    pub(super) upgrade: Option<Upgrade>,
    pub(super) end: Option<AgentEnd>,
}

impl Node {
    /// Loads what is on the disk; runs it as soon as runtimes answer.
    pub(super) fn start(
        config: AgentConfig,
        store: Store,
        member: Member,
        own: Option<Standing>,
        simulated: Option<Simulated>,
    ) -> Result<Node, AgentError> {
        let Member {
            sender,
            fleet_key,
            login,
            blobs,
        } = member;
        let servers = login.servers.clone();
        let (upgrade, own) = upgrade::of(own, &blobs).unzip();
        let core = Core::of(
            &config,
            store,
            sender.node.clone(),
            Some(blobs.clone()),
            own,
            simulated.as_ref(),
        )?;
        let settings = enroll::settings(&config);
        let (publisher, session) = match &simulated {
            None => mqtt::spawn(login, settings),
            Some(node) => mqtt::spawn(Cable::new(login, node), settings),
        };
        let body = simulated.as_ref().map(|s| s.body.clone());
        let cfg = core.latest.as_ref().map(|a| a.cfg.clone());
        blobs.configure(cfg.as_ref().and_then(|cfg| cfg.blobs.as_ref()));
        Ok(Node {
            pulse: match body.clone() {
                None => Pulse::new(config.common.data_dir.clone()),
                Some(body) => Pulse::simulated(body),
            },
            telemetry: Telemetry::new(
                config.common.data_dir.clone(),
                body,
                sender.clone(),
                publisher.clone(),
            ),
            shipping: Shipping::new(sender.clone(), publisher.clone()),
            local: Local::default(),
            server: Server::start(config.local_socket.as_deref()),
            config,
            core,
            sender,
            publisher,
            session,
            servers,
            inbox: Inbox::new(fleet_key),
            blobs,
            recent: Recent::default(),
            reporter: Reporter::default(),
            cfg: cfg.unwrap_or_default(),
            connected: false,
            facts: None,
            started_ms: clock::mono_ms(),
            next_beat: Instant::now(),
            simulated,
            upgrade,
            end: None,
        })
    }

    /// Until it is asked to stop. Workloads go on.
    pub(super) async fn run(mut self, shutdown: Shutdown) -> Result<AgentEnd, AgentError> {
        let mut hangup = Hangup::listen();
        let mut listing = time::interval_at(Instant::now() + LIST_EVERY, LIST_EVERY);
        let mut manager = Manager::of(self.config.own_process);
        // What is assigned is being run; that needs no network.
        manager.ready();
        loop {
            let wake = self.next_wake();
            manager.say(|| self.in_a_line());
            tokio::select! {
                () = shutdown.wait() => self.end = Some(AgentEnd::Stopped),
                () = manager.due() => {}
                event = self.session.recv() => match event {
                    Some(event) => self.session_event(event),
                    None => self.end = Some(AgentEnd::Restart),
                },
                Some(reply) = self.core.replies.recv() => self.core.reply(reply),
                Some(stored) = self.core.stored.recv() => self.core.assignment_stored(stored),
                Some(request) = self.server.requests.recv() => self.local_request(request),
                wish = next_wish(&mut self.upgrade) => self.wished(wish),
                () = hangup.next() => manager.reload(|| self.refresh()),
                fate = next_fate(&mut self.simulated) => self.meet(fate).await,
                _ = listing.tick() => self.core.list_everything(),
                () = time::sleep_until(wake) => self.woken(),
            }
            self.pass_on();
            self.count_own();
            self.publish_state();
            self.look_at_trial();
            if let Some(end) = self.end.take() {
                info!("agent stops, workloads go on");
                manager.stopping(&end);
                self.publisher.close(self.sender.goodbye()).await;
                self.server.finish().await;
                return Ok(end);
            }
        }
    }

    /// How it is, for who asks the service manager.
    fn in_a_line(&self) -> String {
        status_line(&self.sender.node, self.connected, &self.core.observed())
    }

    /// What its own telemetry tells of it; cheap, and read only where that is on.
    fn count_own(&self) {
        let refused = self.inbox.refused.iter().map(|(_, count)| count).sum();
        let operations = self.core.engines.operations();
        self.telemetry.own.note(refused, operations);
    }

    /// What the simulation wants to know.
    fn note(&self, note: Note<'_>) {
        if let Some(simulated) = &self.simulated {
            simulated.body.noted(note);
        }
    }

    /// What happens to a simulated node.
    async fn meet(&mut self, fate: Fate) {
        let fate = match fate {
            Fate::Frozen => thawed(&mut self.simulated).await,
            other => other,
        };
        if fate == Fate::CutOff {
            self.session_event(SessionEvent::Disconnected {
                reason: "the simulation broke the connection".into(),
                refused: false,
            });
        }
        // Broken now, or dialled anew at once, since its link is up again.
        if fate == Fate::CutOff || !self.connected {
            self.publisher.reconnect();
        }
    }

    fn next_wake(&self) -> Instant {
        let now_ms = clock::mono_ms();
        let at = |ms: u64| Instant::now() + Duration::from_millis(ms.saturating_sub(now_ms));
        let decide = self.core.deadline();
        let report = self.reporter.due_ms().filter(|_| self.connected).map(at);
        let beat = self.connected.then_some(self.next_beat);
        let waits = self.connected && self.facts.is_none();
        let facts = waits.then(|| at(self.started_ms + ENGINES_ANSWER_MS));
        let all = [decide, report, beat, facts].into_iter().flatten();
        all.min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }

    fn woken(&mut self) {
        self.core.step(Input::Tick);
        if self.connected && self.facts.is_none() {
            self.announce_facts(false);
        }
        if self.connected && Instant::now() >= self.next_beat {
            self.beat();
        }
    }

    fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Connected => {
                self.connected = true;
                self.upgrade.iter().for_each(Upgrade::connected);
                self.remember_address();
                self.note(Note::Connected);
                self.announce();
                self.telemetry.connected(true);
                self.shipping.connected(true);
            }
            SessionEvent::Disconnected { reason, refused } => {
                self.connected = false;
                self.upgrade.iter().for_each(Upgrade::disconnected);
                self.note(Note::Disconnected);
                self.telemetry.connected(false);
                self.shipping.connected(false);
                warn!(reason, "not connected, workloads go on");
                if refused {
                    let dir = self.core.store.dir().display().to_string();
                    warn!(
                        dir,
                        "the fleet may have revoked or removed this node; to join anew delete \
                         fleet.json and node.key there and start with --join"
                    );
                }
            }
            SessionEvent::Message { topic, payload, .. } => {
                self.note(Note::Received);
                match self.inbox.take(&self.sender, &topic, &payload) {
                    Some(Heard::Assignment(assignment)) => self.assigned(assignment),
                    Some(Heard::Command { seq, command }) => {
                        match self.command(seq, *command) {
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

    /// Where the session stands is where the next start looks first.
    fn remember_address(&self) {
        let Some(brokers) = self.servers.connected() else {
            return;
        };
        let store = &self.core.store;
        let kept = store.membership().and_then(|known| match known {
            Some(known) => store.keep_membership(&Membership { brokers, ..known }),
            None => Ok(()),
        });
        if let Err(error) = kept {
            let error = crate::support::chain(&error);
            warn!(error, "the new address of the fleet cannot be kept");
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
        if !waited && !self.core.engines.all_answered() {
            return;
        }
        let engines = self.core.engines.facts();
        let mut facts = match &self.simulated {
            None => facts::gather(&self.config, &engines),
            Some(simulated) => simulated.body.facts(&engines),
        };
        if self.upgrade.is_some() {
            let arch = release::arch().to_owned();
            facts.capabilities.insert(CAN_UPGRADE.to_owned(), arch);
        }
        if again || self.facts.as_ref() != Some(&facts) {
            if self.connected {
                self.say(Kind::Metadata, &facts);
            }
            self.facts = Some(facts);
        }
    }

    pub(super) fn say(&self, kind: Kind, body: &impl serde::Serialize) {
        self.say_with(kind, body, None);
    }

    /// The same, and somebody waits until the broker has it.
    fn say_with(&self, kind: Kind, body: &impl serde::Serialize, receipt: Option<Receipt>) {
        self.note(Note::Sent);
        let publisher = &self.publisher;
        if !self.sender.post_with(publisher, kind, None, body, receipt) {
            self.telemetry.own.dropped();
            warn!(
                kind = kind.as_str(),
                "outbox is full, a message was dropped"
            );
        }
    }

    fn beat(&mut self) {
        let observed = self.core.observed();
        let count = |which: fn(InstanceState) -> bool| {
            u32::try_from(observed.iter().filter(|o| which(o.state)).count()).unwrap_or(0)
        };
        let work = Work {
            running: count(InstanceState::is_up),
            failed: count(InstanceState::is_bad),
            generation: self.core.stored_generation,
            state_digest: self.reporter.digest().to_owned(),
        };
        let body = self.pulse.beat(&work);
        self.say(Kind::Heartbeat, &body);
        // A twentieth of jitter, so that a fleet that started at once does not beat at once.
        let interval = self.cfg.heartbeat_interval_ms.max(100);
        let jitter = clock::seed() % (interval / 20 + 1);
        self.next_beat = Instant::now() + Duration::from_millis(interval - jitter);
    }

    fn assigned(&mut self, assignment: Assignment) {
        self.note(Note::Assigned(&assignment));
        let cfg = assignment.cfg.clone();
        let taken = self.core.assign(assignment);
        if taken {
            self.telemetry.own.assigned();
        }
        if taken && self.cfg != cfg {
            self.cfg = cfg;
            self.blobs.configure(self.cfg.blobs.as_ref());
            self.say(Kind::Cfg, &self.cfg.clone());
            self.next_beat = Instant::now();
            self.follow();
        }
    }

    /// Tells telemetry and shipping what to look at; cheap while both are off.
    fn follow(&mut self) {
        self.telemetry.configure(&self.cfg.telemetry);
        let mut running = Vec::new();
        let observed = self.core.observed();
        self.telemetry.own.observed(&observed);
        for o in observed {
            // While it stops it still writes; once it has left this list its last lines are read.
            if !o.state.is_up() && o.state != InstanceState::Stopping {
                continue;
            }
            let place = self.core.supervisor.locate(o.workload.as_str());
            let Some((kind, handle)) = place else {
                continue;
            };
            let Some(runtime) = self.core.engines.get(kind) else {
                continue;
            };
            running.push(Place {
                instance: o.workload,
                runtime,
                handle,
            });
        }
        self.telemetry.instances(&running);
        self.shipping.update(&self.cfg.logs, &running);
    }

    fn refresh(&mut self) {
        self.core.list_everything();
        self.announce_facts(true);
        if self.connected {
            self.say(Kind::Cfg, &self.cfg.clone());
        }
        self.reporter.forget();
    }

    /// What the core has to say goes to the fleet.
    fn pass_on(&mut self) {
        let mut changed = false;
        for said in std::mem::take(&mut self.core.said) {
            changed |= matches!(said, Said::StateChanged);
            if self.local.said(&said) {
                continue;
            }
            match said {
                Said::Event {
                    event,
                    workload,
                    message,
                } => {
                    let at = clock::unix_ms();
                    let body = Event {
                        event,
                        workload,
                        message,
                        at,
                    };
                    self.say(Kind::Event, &body);
                }
                Said::Answer { id, outcome } => self.answer(&id, outcome),
                Said::StateChanged | Said::Stored => self.reporter.want(),
                Said::EnginesChanged => self.announce_facts(false),
            }
        }
        if changed {
            self.follow();
            if self.simulated.is_some() {
                self.note(Note::Observed(&self.core.observed()));
            }
        }
    }

    /// Somebody on this machine wants something.
    fn local_request(&mut self, request: LocalRequest) {
        let context = Context {
            kind: AgentKind::Joined,
            connected: Some(self.connected),
            dir: None,
            problems: &[],
            left_out: &BTreeMap::new(),
            kept: &BTreeSet::new(),
        };
        // Nothing is left to do here: what only a standalone agent can do is refused.
        let _ = self.local.handle(request, &mut self.core, &context);
    }

    /// Gives the supervisor an input and carries out what it decides.
    pub(super) fn step(&mut self, input: Input) {
        self.core.step(input);
    }

    fn publish_state(&mut self) {
        if !self.connected {
            return;
        }
        let core = &self.core;
        let state = self.reporter.take(clock::mono_ms(), || State {
            generation: core.stored_generation,
            instances: core.observed(),
            engines: core.engines.facts(),
            discovered: core.discovered(),
        });
        if let Some(state) = state {
            let receipt = self.upgrade.as_ref().and_then(Upgrade::receipt);
            self.say_with(Kind::State, &state, receipt);
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
}
