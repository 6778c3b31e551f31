//! A machine: the real [`Supervisor`] between a disk, a container engine and a session, as
//! `src/agent` drives it.
//!
//! The disk outlives everything; the engine and what runs in it outlive the agent; a power cut ends
//! everything but what is on the disk and what the engine has made. Power can fail between any two
//! actions of the supervisor ([`Node::fuse`]).

use super::{
    broker::{Assigned, Body},
    engine::{Ending, Engine},
    random::Random,
    world::{BEGINNING_MS, Event, How, NodeId, World},
};
use fleetctl::{
    contract::{CONTROLLER, Freshness, ReplayGuard, Seq, State},
    model::{Assignment, EngineFact, Name, NodeFacts, RuntimeKind},
    runtime::{Found, RuntimeError},
    supervisor::{Action, Input, Memory, Now, OpOutcome, Supervisor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

const LIST_EVERY_MS: u64 = 60_000;
/// Inputs at one instant after which it can only be a loop that never rests.
const BUSY: u32 = 2_000;

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
    facts: Arc<NodeFacts>,
    /// It was taken away for good.
    pub gone: bool,
    /// `None` while its agent or the machine is off.
    pub supervisor: Option<Supervisor>,
    /// Tells starts of its agent apart.
    pub agent: u64,
    /// Tells starts of the machine apart.
    pub boot: u64,
    booted: u64,
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
    guard: ReplayGuard,
    count: u64,
    // What it says.
    published: Option<Arc<State>>,
    wants_report: bool,
    reported_at: u64,
    pub stored_generation: u64,
    engine_heard: bool,
    next_beat: u64,
    next_list: u64,
    asks_again: bool,
    wakes_at: Option<u64>,
    busy: (u64, u32),
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
    /// Agents that were killed before their assignment was on the disk.
    forgetful: BTreeSet<u64>,
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
            forgetful: BTreeSet::new(),
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
            agent_version: fleetctl::VERSION.into(),
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

    fn clocks(&self, now: u64) -> Now {
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
        let Some(supervisor) = n.supervisor.take() else {
            return;
        };
        if supervisor.generation() > n.stored_generation {
            n.forgetful.insert(n.agent);
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

    /// Asks the engine for everything that it has.
    pub fn list(&mut self, node: NodeId) {
        let look = self.nodes[node].look_takes_ms;
        let takes = self.random.below(look + 1);
        let n = &mut self.nodes[node];
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let as_of = supervisor.begin_look();
        let runtime = RuntimeKind::Docker;
        let agent = n.agent;
        let heard = !n.engine.down;
        if n.engine_heard != heard {
            n.engine_heard = heard;
            n.wants_report = true;
        }
        let input = if heard {
            let found = n.engine.instances().to_vec();
            Input::Listed {
                runtime,
                as_of,
                found,
            }
        } else {
            let reason = "connection refused".into();
            Input::RuntimeLost { runtime, reason }
        };
        if !heard && !std::mem::replace(&mut n.asks_again, true) {
            self.schedule(3_000, Event::AskAgain { node, agent });
        }
        self.answer(node, agent, input, takes);
    }

    fn answer(&mut self, node: NodeId, agent: u64, input: Input, after_ms: u64) {
        if after_ms == 0 {
            self.step(node, input);
        } else {
            self.schedule(after_ms, Event::Answer { node, agent, input });
        }
    }

    /// An engine that did not answer is asked again.
    pub fn ask_again(&mut self, node: NodeId, agent: u64) {
        self.nodes[node].asks_again = false;
        if self.nodes[node].lives_as(agent) {
            self.list(node);
        }
    }

    /// Looks at one instance.
    pub fn look(&mut self, node: NodeId, agent: u64, handle: String) {
        let look = self.nodes[node].look_takes_ms;
        let takes = self.random.below(look + 1);
        let n = &mut self.nodes[node];
        if !n.lives_as(agent) || n.engine.down {
            return;
        }
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let as_of = supervisor.begin_look();
        let runtime = RuntimeKind::Docker;
        let input = match n.engine.get(&handle).cloned() {
            Some(found) => Input::Observed {
                runtime,
                as_of,
                found,
            },
            None => Input::Gone { runtime, handle },
        };
        self.answer(node, agent, input, takes);
    }

    /// Gives the supervisor an input and carries out what it decides.
    pub fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        let n = &mut self.nodes[node];
        n.busy = match n.busy {
            (at, times) if at == now => (at, times + 1),
            _ => (now, 0),
        };
        if n.busy.1 > BUSY {
            let message = format!("{} never rests: {input:?}", n.name);
            return self.violate("everything rests", message);
        }
        if let Input::Assigned(assignment) = &input
            && n.supervisor
                .as_ref()
                .is_some_and(|s| s.generation() <= assignment.generation)
        {
            n.forget_runs(assignment);
        }
        let clocks = n.clocks(now);
        let Some(supervisor) = &mut n.supervisor else {
            return;
        };
        let actions = supervisor.step(clocks, input);
        let agent = n.agent;
        for action in actions {
            if let Some((left, ends)) = self.nodes[node].fuse {
                if left == 0 {
                    let back = self.random.between(1_000, 120_000);
                    return self.dies(node, ends, back);
                }
                self.nodes[node].fuse = Some((left - 1, ends));
            }
            let begins = matches!(action, Action::Launch { .. } | Action::Start { .. });
            self.carry_out(node, action);
            if begins && std::mem::take(&mut self.nodes[node].dies_after_launch) {
                let back = self.random.between(1_000, 20_000);
                return self.dies(node, Ends::Killed, back);
            }
        }
        self.arrange(node);
    }

    fn carry_out(&mut self, node: NodeId, action: Action) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let agent = n.agent;
        match action {
            Action::Report => n.wants_report = true,
            Action::Remember(memory) => n.disk.memory = memory,
            Action::Probe { probe, handle, .. } => {
                let result = n.engine.probe(&handle, now);
                let input = Input::Probed { probe, result };
                self.schedule(5, Event::Answer { node, agent, input });
            }
            Action::FetchLastOutput { runtime, handle } => {
                let lines = vec![format!("last words of {handle}")];
                let input = Input::LastOutput {
                    runtime,
                    handle,
                    lines,
                };
                self.schedule(5, Event::Answer { node, agent, input });
            }
            Action::Inspect { handle, .. } => {
                let event = Event::Changed {
                    node,
                    agent,
                    handle,
                };
                self.schedule(1, event);
            }
            // Told too late, as it may be: the operation ends as it does.
            Action::Cancel { .. } | Action::Answer { .. } => {}
            Action::Tell {
                event,
                workload,
                message,
            } => self.log_node(node, format_args!("{workload} {event}: {message}")),
            operation => self.begin_operation(node, operation),
        }
    }

    fn begin_operation(&mut self, node: NodeId, action: Action) {
        let n = &mut self.nodes[node];
        let how = match n.goes_wrong {
            (left @ 1.., Some(how)) => {
                n.goes_wrong.0 = left - 1;
                how
            }
            _ => How::Well,
        };
        let (boot, agent, most) = (n.boot, n.agent, n.takes_ms);
        let takes = self.random.between(5, most.max(5));
        let event = Event::Effect {
            node,
            boot,
            agent,
            action,
            how,
        };
        self.schedule(takes, event);
    }

    /// An operation takes effect; it is answered if the agent that asked still lives.
    pub fn effect(&mut self, node: NodeId, (boot, agent): (u64, u64), action: Action, how: How) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let Some((verb, operation)) = parts(&action) else {
            return;
        };
        if n.boot != boot || n.gone {
            return;
        }
        let wall = n.clocks(now).unix_ms;
        let begun = n.engine.begun_of.clone();
        let outcome = if n.engine.down {
            OpOutcome::Failed(Engine::unreachable())
        } else if how == How::Refused {
            OpOutcome::Failed(RuntimeError::Failed(format!("no room to {verb}")))
        } else {
            let done = n.engine.perform(&action, now, wall);
            match how {
                How::AnswerLost => OpOutcome::Failed(Engine::unreachable()),
                _ => done,
            }
        };
        let (target, what) = match &action {
            Action::Launch { launch, .. } | Action::Prepare { launch, .. } => {
                let name = launch.workload.name.to_string();
                let what = format!("{name} {}", launch.workload.version);
                (name, what)
            }
            Action::Start { handle, .. }
            | Action::Stop { handle, .. }
            | Action::Remove { handle, .. } => (handle.clone(), handle.clone()),
            _ => Default::default(),
        };
        if n.forgetful.contains(&agent) {
            n.engine.begun_of = begun;
        }
        let endings = n.engine.endings(now);
        let of = |f: &&Found| f.handle == target || f.workload.as_str() == target;
        let touched = n.engine.instances().iter().filter(of);
        let touched: Vec<String> = touched.map(|f| f.handle.clone()).collect();
        let lives = n.lives_as(agent);
        let word = match &outcome {
            OpOutcome::Failed(error) => error.to_string(),
            _ => "done".to_owned(),
        };
        self.log_node(node, format_args!("{verb} {what}: {word}"));
        for ending in endings {
            self.schedule(ending.after_ms, Event::Ends { node, boot, ending });
        }
        self.check_engine(node);
        let current = self.nodes[node].agent;
        for handle in touched {
            let event = Event::Changed {
                node,
                agent: current,
                handle,
            };
            self.schedule(1, event);
        }
        if lives {
            let lost = matches!(
                &outcome,
                OpOutcome::Failed(RuntimeError::Unreachable { .. })
            );
            self.step(node, Input::Finished { operation, outcome });
            // Where the engine answers after all, the listing says so at once.
            if lost && self.nodes[node].lives_as(agent) {
                self.list(node);
            }
        }
    }

    /// A program ends by itself.
    pub fn ends(&mut self, node: NodeId, boot: u64, ending: &Ending) {
        let n = &mut self.nodes[node];
        if n.boot != boot
            || !n
                .engine
                .end(&ending.handle, Some(ending.number), ending.code)
        {
            return;
        }
        let agent = n.agent;
        let (handle, code) = (ending.handle.clone(), ending.code);
        self.log_node(node, format_args!("{handle} ends with {code}"));
        self.schedule(
            1,
            Event::Changed {
                node,
                agent,
                handle,
            },
        );
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
    fn arrange(&mut self, node: NodeId) {
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

impl Node {
    /// What is not assigned any more begins to count anew when it is assigned again. So does what
    /// was begun by an agent that was killed before its assignment was on the disk (`forgetful`):
    /// the older assignment that the next one starts with does not name the workload, and its count
    /// is dropped.
    fn forget_runs(&mut self, assignment: &Assignment) {
        let names = |w: &Name| assignment.instances.iter().any(|i| i.workload.name == *w);
        self.engine.begun_of.retain(|w, _| names(w));
    }
}

fn parts(action: &Action) -> Option<(&'static str, u64)> {
    Some(match action {
        Action::Launch { operation, .. } => ("launch", *operation),
        Action::Prepare { operation, .. } => ("prepare", *operation),
        Action::Start { operation, .. } => ("start", *operation),
        Action::Stop { operation, .. } => ("stop", *operation),
        Action::Reload { operation, .. } => ("reload", *operation),
        Action::Remove { operation, .. } => ("remove", *operation),
        _ => return None,
    })
}
