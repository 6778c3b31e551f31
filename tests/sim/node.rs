//! A machine: the real [`Supervisor`] between a disk, a container engine and a session, as
//! `src/agent` drives it.
//!
//! The disk outlives everything; the engine and what runs in it outlive the agent; a power cut ends
//! everything but what is on the disk and what the engine has made. Power can fail between any two
//! actions of the supervisor ([`Node::fuse`]).

use super::{
    broker::{Assigned, Body},
    engine::Engine,
    random::Random,
    world::{BEGINNING_MS, Event, How, NodeId, World},
};
use fleetctl::{
    contract::{CONTROLLER, Freshness, ReplayGuard, Seq, State},
    model::{Assignment, EngineFact, Name, NodeFacts, RuntimeKind},
    supervisor::{Input, Memory, Now, Supervisor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

const LIST_EVERY_MS: u64 = 60_000;

/// What is on the disk of a node.
#[derive(Debug, Default)]
pub struct Disk {
    pub assignment: Option<Assignment>,
    pub memory: Memory,
    starts: u64,
}

/// How the agent or the machine ends between two actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The agent is killed: what it asked of the engine is done all the same.
    Killed,
    /// The power fails.
    PowerCut,
}

pub struct Node {
    pub name: Name,
    pub key: String,
    pub facts: Arc<NodeFacts>,
    /// It was taken away for good.
    pub gone: bool,
    /// `None` while its agent or the machine is off.
    pub supervisor: Option<Supervisor>,
    /// Tells starts of its agent apart.
    pub agent: u64,
    /// Tells starts of the machine apart.
    pub boot: u64,
    pub booted: u64,
    /// Its clock beside the real time, milliseconds.
    pub clock: i64,
    pub disk: Disk,
    pub engine: Engine,
    pub fuse: Option<(u32, Ends)>,
    /// The agent is killed as soon as it has asked its engine to begin a program.
    pub dies_after_launch: bool,
    // Its session.
    pub session: Option<u64>,
    pub cut: bool,
    pub stuck: Vec<super::broker::Message>,
    pub stuck_in: Vec<Assigned>,
    pub guard: ReplayGuard,
    pub count: u64,
    // What it says.
    pub published: Option<Arc<State>>,
    pub wants_report: bool,
    pub reported_at: u64,
    pub stored_generation: u64,
    pub engine_heard: bool,
    pub next_beat: u64,
    pub next_list: u64,
    pub asks_again: bool,
    pub wakes_at: Option<u64>,
    pub busy: (u64, u32),
    // How its engine goes wrong.
    /// Of the next so many operations.
    pub goes_wrong: (u32, Option<How>),
    /// What an operation takes: up to.
    pub takes_ms: u64,
    /// What a look takes: up to.
    pub look_takes_ms: u64,
    // For who checks.
    /// Until then an operation of an agent that is dead may still take effect.
    pub haunted_until: u64,
}

impl Node {
    pub fn new(id: NodeId, name: Name, facts: NodeFacts) -> Node {
        Node {
            key: format!("key-{id}"),
            name,
            facts: Arc::new(facts),
            gone: false,
            supervisor: None,
            agent: 0,
            boot: 0,
            booted: 0,
            clock: 0,
            disk: Disk::default(),
            engine: Engine::default(),
            fuse: None,
            dies_after_launch: false,
            session: None,
            cut: false,
            stuck: Vec::new(),
            stuck_in: Vec::new(),
            guard: ReplayGuard::new(),
            count: 0,
            published: None,
            wants_report: false,
            reported_at: 0,
            stored_generation: 0,
            engine_heard: true,
            next_beat: 0,
            next_list: 0,
            asks_again: false,
            wakes_at: None,
            busy: (0, 0),
            goes_wrong: (0, None),
            takes_ms: 300,
            look_takes_ms: 20,
            haunted_until: 0,
        }
    }

    /// A machine of some size.
    pub fn facts(name: &Name, random: &mut Random) -> NodeFacts {
        let arch = ["aarch64", "x86_64"][random.below(2) as usize];
        let mut capabilities: BTreeMap<String, String> = BTreeMap::new();
        capabilities.insert("docker".into(), "27".into());
        capabilities.insert("arch".into(), arch.into());
        if random.chance(300) {
            capabilities.insert("gpu".into(), "1".into());
        }
        NodeFacts {
            agent_version: fleetctl::support::release::version().into(),
            features: fleetctl::model::FEATURES,
            arch: arch.into(),
            os: "Debian GNU/Linux 12".into(),
            kernel: "6.6.51".into(),
            hostname: name.to_string(),
            cpus: 4,
            memory_total: 1 << random.between(30, 33),
            disk_total: 1 << 35,
            capabilities,
            ..NodeFacts::default()
        }
    }

    pub fn lives_as(&self, agent: u64) -> bool {
        self.supervisor.is_some() && self.agent == agent
    }

    pub fn clocks(&self, now: u64) -> Now {
        Now {
            mono_ms: now - self.booted + 1_000,
            unix_ms: (BEGINNING_MS + now).saturating_add_signed(self.clock),
        }
    }

    fn next_seq(&mut self, numbers: u64) -> Seq {
        let count = self.count + 1;
        self.count += numbers;
        Seq {
            start: self.disk.starts,
            count,
        }
    }

    /// As `online` and the last will are signed: two numbers.
    pub fn begin_session(&mut self, id: u64) -> Seq {
        self.session = Some(id);
        self.next_seq(2)
    }

    pub fn lose_session(&mut self) {
        self.session = None;
        self.stuck.clear();
        self.stuck_in.clear();
    }

    fn state(&self) -> State {
        State {
            generation: self.stored_generation,
            instances: self
                .supervisor
                .as_ref()
                .map(Supervisor::observed_instances)
                .unwrap_or_default(),
            engines: vec![EngineFact {
                runtime: RuntimeKind::Docker,
                version: "27".into(),
                healthy: self.engine_heard,
            }],
            discovered: Vec::new(),
        }
    }

    fn report_due(&self) -> Option<u64> {
        let speaks = self.wants_report && self.session.is_some();
        speaks.then_some(self.reported_at + 100)
    }
}

impl World {
    pub fn node_called(&self, name: &Name) -> Option<NodeId> {
        self.nodes.iter().rposition(|n| n.name == *name && !n.gone)
    }

    pub fn log_node(&mut self, node: NodeId, what: fmt::Arguments<'_>) {
        let name = self.nodes[node].name.clone();
        self.log(name.as_str(), what);
    }

    /// The agent starts, after a power cut with the machine.
    pub fn starts(&mut self, node: NodeId, machine: bool) {
        let seed = self.random.next();
        let now = self.now;
        let n = &mut self.nodes[node];
        if n.gone || n.supervisor.is_some() {
            return;
        }
        if machine {
            n.boot += 1;
            n.booted = now;
        }
        n.agent += 1;
        n.disk.starts += 1;
        n.count = 0;
        n.guard = ReplayGuard::new();
        n.published = None;
        n.wakes_at = None;
        n.asks_again = false;
        n.next_list = now + LIST_EVERY_MS;
        let kinds = BTreeSet::from([RuntimeKind::Docker]);
        let memory = n.disk.memory.clone();
        n.supervisor = Some(Supervisor::new(n.name.clone(), &kinds, memory, seed));
        n.stored_generation = n.disk.assignment.as_ref().map_or(0, |a| a.generation);
        let (agent, assignment) = (n.agent, n.disk.assignment.clone());
        self.log_node(node, format_args!("starts, agent {agent}"));
        if let Some(assignment) = assignment {
            self.step(node, Input::Assigned(assignment));
        }
        self.list(node);
        let after = self.random.between(500, 3_000);
        self.schedule(after, Event::Connect { node, agent });
    }

    /// It is off, or its agent is dead.
    pub fn dies(&mut self, node: NodeId, ends: Ends, back_after_ms: u64) {
        let now = self.now;
        let n = &mut self.nodes[node];
        n.fuse = None;
        if n.supervisor.take().is_none() {
            return;
        }
        n.haunted_until = now + 120_000;
        if ends == Ends::PowerCut {
            n.boot += 1;
            n.engine.power_cut();
            n.haunted_until = 0;
        }
        self.session_dies(node, ends == Ends::Killed);
        self.log_node(node, format_args!("ends: {ends:?}"));
        let machine = ends == Ends::PowerCut;
        self.schedule(back_after_ms, Event::Starts { node, machine });
    }

    /// A session has begun: everything is said anew.
    pub fn announce(&mut self, node: NodeId) {
        let n = &mut self.nodes[node];
        n.published = None;
        n.wants_report = true;
        let (facts, seq) = (n.facts.clone(), n.next_seq(1));
        self.publish(node, seq, Body::Metadata(facts));
        self.beat(node);
        self.report(node);
    }

    fn beat(&mut self, node: NodeId) {
        let jitter = self.random.below(600);
        let now = self.now;
        let n = &mut self.nodes[node];
        let interval = n
            .disk
            .assignment
            .as_ref()
            .map_or(12_000, |a| a.cfg.heartbeat_interval_ms);
        n.next_beat = now + interval - jitter;
        let seq = n.next_seq(1);
        self.publish(node, seq, Body::Heartbeat);
    }

    fn report(&mut self, node: NodeId) {
        let now = self.now;
        let n = &mut self.nodes[node];
        if n.report_due().is_none_or(|at| at > now) {
            return;
        }
        n.wants_report = false;
        let state = n.state();
        if n.published.as_deref() == Some(&state) {
            return;
        }
        let state = Arc::new(state);
        n.published = Some(state.clone());
        n.reported_at = now;
        let seq = n.next_seq(1);
        self.publish(node, seq, Body::State(state));
    }

    /// An assignment has come: taken when it is signed later than what came before. Whether its
    /// generation is to be obeyed the supervisor decides.
    pub fn assigned(&mut self, node: NodeId, assigned: Assigned) {
        let n = &mut self.nodes[node];
        let Some(supervisor) = &n.supervisor else {
            return;
        };
        let payload = assigned.id.to_le_bytes();
        let fresh = n
            .guard
            .judge(CONTROLLER, "assignment", assigned.seq, &payload);
        if fresh != Freshness::Fresh {
            return;
        }
        let before = supervisor.generation();
        let (generation, agent) = (assigned.assignment.generation, n.agent);
        self.log_node(node, format_args!("is told generation {generation}"));
        self.step(node, Input::Assigned((*assigned.assignment).clone()));
        if !self.nodes[node].lives_as(agent) {
            return;
        }
        self.check_obedience(node, before);
        if generation > self.nodes[node].stored_generation {
            let after = self.random.between(1, 60);
            let assignment = assigned.assignment;
            let event = Event::Stored {
                node,
                agent,
                assignment,
            };
            self.schedule(after, event);
        }
        self.arrange(node);
    }

    pub fn stored(&mut self, node: NodeId, agent: u64, assignment: Arc<Assignment>) {
        let n = &mut self.nodes[node];
        if n.lives_as(agent) && assignment.generation > n.stored_generation {
            n.stored_generation = assignment.generation;
            n.disk.assignment = Some((*assignment).clone());
            n.wants_report = true;
            self.arrange(node);
        }
    }

    /// The earliest deadline of a node has come.
    pub fn wake(&mut self, node: NodeId, at: u64) {
        let now = self.now;
        let n = &mut self.nodes[node];
        if n.wakes_at != Some(at) {
            return;
        }
        n.wakes_at = None;
        let Some(supervisor) = &n.supervisor else {
            return;
        };
        let due = supervisor.next_deadline();
        let agent = n.agent;
        if due.is_some_and(|ms| ms <= n.clocks(now).mono_ms) {
            self.step(node, Input::Tick);
        }
        let n = &mut self.nodes[node];
        if !n.lives_as(agent) {
            return;
        }
        if n.next_list <= now {
            n.next_list = now + LIST_EVERY_MS;
            self.list(node);
        }
        if self.nodes[node].session.is_some() && self.nodes[node].next_beat <= now {
            self.beat(node);
        }
        self.arrange(node);
    }

    /// Says what is to be said, and sees to it that the node is woken in time.
    pub fn arrange(&mut self, node: NodeId) {
        self.report(node);
        let now = self.now;
        let n = &mut self.nodes[node];
        let Some(supervisor) = &n.supervisor else {
            return;
        };
        let due = supervisor.next_deadline();
        let due = due.map(|ms| (ms + n.booted).saturating_sub(1_000));
        let beat = n.session.map(|_| n.next_beat);
        let all = [due, n.report_due(), beat, Some(n.next_list)];
        let Some(next) = all.into_iter().flatten().min() else {
            return;
        };
        let next = next.max(now + 1);
        if n.wakes_at.is_none_or(|at| next < at) {
            n.wakes_at = Some(next);
            self.schedule_at(next, Event::Wake { node, at: next });
        }
    }
}
