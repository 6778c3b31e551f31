//! Virtual time: one heap of events, one thread, one source of chance.
//!
//! ```text
//!   operator ──► controller.rs ──► broker.rs ──► node.rs ──► engine.rs ──► program.rs
//!   faults.rs ──────┴──────────────────┴────────────┴───────────┘
//!                 Fleet, Presence               Supervisor
//!                    (real)                       (real)
//! ```
//!
//! An event happens, everything that it leads to at once happens, and then [`super::check`] looks
//! whether all that must always hold still does.

use super::{
    broker::{Assigned, Broker, Message},
    controller::Controller,
    engine::Ending,
    faults::Fault,
    node::Node,
    random::Random,
};
use fleetctl::supervisor::{Action, Input};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
    fmt::Write as _,
};

/// What the controller's clock shows at the virtual time 0: a full hour, in 2027.
pub const BEGINNING_MS: u64 = 500_000 * 3_600_000;
/// Lines of the log that are kept for who looks into a failure.
const LINES: usize = 200;

/// A place in the list of nodes; never used again.
pub type NodeId = usize;

/// Something that comes.
#[derive(Debug)]
pub enum Event {
    /// The controller looks at its deadlines.
    Deadline,
    /// It starts again.
    ControllerStarts,
    /// A message of a node reaches the broker.
    AtBroker { session: u64, message: Message },
    /// A message reaches the controller, unless it has restarted since.
    AtController {
        start: u64,
        message: Message,
        retained: bool,
    },
    /// An assignment reaches a node.
    AtNode {
        node: NodeId,
        session: u64,
        assigned: Assigned,
    },
    /// A node tries to reach the broker.
    Connect { node: NodeId, agent: u64 },
    /// The broker has heard nothing of a session for too long.
    BrokerGivesUp { node: NodeId, session: u64 },
    /// A node has heard nothing of the broker for too long.
    NodeGivesUp { node: NodeId, session: u64 },
    /// The earliest deadline of a node.
    Wake { node: NodeId, at: u64 },
    /// A machine is switched on, or its agent started again.
    Starts { node: NodeId, machine: bool },
    /// An operation of an engine takes effect.
    Effect {
        node: NodeId,
        boot: u64,
        agent: u64,
        action: Action,
        how: How,
    },
    /// An answer, for the agent that asked.
    Answer {
        node: NodeId,
        agent: u64,
        input: Input,
    },
    /// An engine tells that something happened to an instance.
    Changed {
        node: NodeId,
        agent: u64,
        handle: String,
    },
    /// An engine that did not answer is asked again.
    AskAgain { node: NodeId, agent: u64 },
    /// A program ends by itself.
    Ends {
        node: NodeId,
        boot: u64,
        ending: Ending,
    },
    /// An assignment is on the disk now.
    Stored {
        node: NodeId,
        agent: u64,
        assignment: std::sync::Arc<fleetctl::model::Assignment>,
    },
    /// The operator does something.
    Operator,
    /// Something breaks.
    Breaks,
    /// Something is whole again.
    Heals(Fault),
}

/// How an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Well,
    /// It is not done, and says so.
    Refused,
    /// It is done, and the answer is lost.
    AnswerLost,
}

struct Later {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Later {
    fn eq(&self, other: &Later) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Later {}
impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Later) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Later {
    fn cmp(&self, other: &Later) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What must always hold, and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which rule.
    pub rule: &'static str,
    pub message: String,
}

/// How hard a simulation is.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Nodes at the beginning: from, to.
    pub nodes: (u64, u64),
    /// Workloads at most.
    pub workloads: u64,
    /// So long people change things and things break.
    pub faults_for_ms: u64,
    /// Mean time between two changes by people.
    pub operator_every_ms: u64,
    /// Mean time between two faults.
    pub fault_every_ms: u64,
    /// The controller crashes at this position of its journal: before the entry is written, or
    /// (`true`) after.
    pub crash_at: Option<(usize, bool)>,
}

pub struct World {
    pub now: u64,
    pub random: Random,
    pub profile: Profile,
    pub controller: Controller,
    pub broker: Broker,
    pub nodes: Vec<Node>,
    /// Versions that were used.
    pub versions: u64,
    /// Things break and people change things.
    pub troubled: bool,
    pub steps: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub orders: BTreeMap<&'static str, u64>,
    pub violation: Option<Violation>,
    pub seen: super::check::Seen,
    /// Messages that reached anybody, heartbeats left out.
    pub messages: u64,
    heap: BinaryHeap<Reverse<Later>>,
    order: u64,
    ids: u64,
    lines: VecDeque<String>,
    log_hash: u64,
    log_lines: u64,
    aloud: bool,
    line: String,
}

impl World {
    pub fn new(seed: u64, profile: Profile, aloud: bool) -> World {
        let mut random = Random::new(seed);
        let (embedded, slow) = (random.chance(700), random.chance(200));
        World {
            now: 0,
            random,
            controller: Controller::new(embedded),
            broker: Broker::new(slow),
            profile,
            nodes: Vec::new(),
            versions: 0,
            troubled: true,
            steps: 0,
            faults: BTreeMap::new(),
            orders: BTreeMap::new(),
            violation: None,
            seen: Default::default(),
            messages: 0,
            heap: BinaryHeap::new(),
            order: 0,
            ids: 0,
            lines: VecDeque::new(),
            log_hash: 0xcbf2_9ce4_8422_2325,
            log_lines: 0,
            aloud,
            line: String::new(),
        }
    }

    /// What the controller's clock shows.
    pub fn wall(&self) -> u64 {
        BEGINNING_MS + self.now
    }

    /// A number that nothing else has.
    pub fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn schedule(&mut self, after_ms: u64, event: Event) {
        self.schedule_at(self.now + after_ms, event);
    }

    pub fn schedule_at(&mut self, at: u64, event: Event) {
        self.order += 1;
        let (at, order) = (at.max(self.now), self.order);
        self.heap.push(Reverse(Later { at, order, event }));
    }

    /// Lets everything happen until then; `false` when a rule was broken.
    pub fn run_until(&mut self, until: u64) -> bool {
        while let Some(Reverse(next)) = self.heap.peek() {
            if next.at > until || self.violation.is_some() {
                break;
            }
            let Some(Reverse(later)) = self.heap.pop() else {
                break;
            };
            self.now = later.at;
            self.steps += 1;
            self.happens(later.event);
        }
        self.now = self.now.max(until);
        self.violation.is_none()
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Deadline => self.controller_deadline(),
            Event::ControllerStarts => self.controller_starts(),
            Event::AtBroker { session, message } => self.at_broker(session, message),
            Event::AtController {
                start,
                message,
                retained,
            } => self.at_controller(start, &message, retained),
            Event::AtNode {
                node,
                session,
                assigned,
            } => self.at_node(node, session, assigned),
            Event::Connect { node, agent } => self.connect(node, agent),
            Event::BrokerGivesUp { node, session } => self.broker_gives_up(node, session),
            Event::NodeGivesUp { node, session } => self.node_gives_up(node, session),
            Event::Wake { node, at } => self.wake(node, at),
            Event::Starts { node, machine } => self.starts(node, machine),
            Event::Effect {
                node,
                boot,
                agent,
                action,
                how,
            } => self.effect(node, (boot, agent), action, how),
            Event::Answer { node, agent, input } => {
                if self.nodes[node].lives_as(agent) {
                    self.step(node, input);
                }
            }
            Event::Changed {
                node,
                agent,
                handle,
            } => self.look(node, agent, handle),
            Event::AskAgain { node, agent } => self.ask_again(node, agent),
            Event::Ends { node, boot, ending } => self.ends(node, boot, &ending),
            Event::Stored {
                node,
                agent,
                assignment,
            } => self.stored(node, agent, assignment),
            Event::Operator => self.operate(),
            Event::Breaks => self.break_something(),
            Event::Heals(fault) => self.heal(fault),
        }
    }

    /// A rule is broken; the first one counts.
    pub fn violate(&mut self, rule: &'static str, message: String) {
        if self.violation.is_none() {
            self.log("!", format_args!("{rule}: {message}"));
            self.violation = Some(Violation { rule, message });
        }
    }

    /// Counts a fault and logs it.
    pub fn fault(&mut self, kind: &'static str, about: fmt::Arguments<'_>) {
        *self.faults.entry(kind).or_default() += 1;
        self.log("fault", format_args!("{kind} {about}"));
    }

    pub fn log(&mut self, who: &str, what: fmt::Arguments<'_>) {
        self.line.clear();
        let (seconds, ms) = (self.now / 1_000, self.now % 1_000);
        let _ = write!(self.line, "{seconds:>6}.{ms:03} {who:<10} {what}");
        for byte in self.line.bytes() {
            self.log_hash = (self.log_hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.log_lines += 1;
        if self.aloud {
            println!("{}", self.line);
        }
        if self.lines.len() >= LINES {
            let mut oldest = self.lines.pop_front().unwrap_or_default();
            oldest.clone_from(&self.line);
            self.lines.push_back(oldest);
        } else {
            self.lines.push_back(self.line.clone());
        }
    }

    /// Tells two logs apart: how many lines, and a hash of them all.
    pub fn log_digest(&self) -> (u64, u64) {
        (self.log_lines, self.log_hash)
    }

    /// The last lines of the log.
    pub fn last_lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
