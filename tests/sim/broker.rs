//! The network: a broker that keeps retained messages, sessions with last wills, and links that
//! delay, lose, repeat and are cut.
//!
//! Within one session messages arrive in order, as over TCP; on the broker's way to the controller
//! only those of one topic do. Only heartbeats (QoS 0) are ever lost on a link that stands.

use super::world::{Event, NodeId, World};
use fleetctl::{
    contract::{Seq, SessionStatus, State, Status},
    model::{Assignment, NodeFacts},
};
use std::{collections::BTreeMap, sync::Arc};

/// Messages that wait on a link that is cut.
const STUCK: usize = 500;
/// A broker waits so long for a sign of a session.
const KEEP_ALIVE_MS: u64 = 45_000;

/// What an agent says.
#[derive(Debug, Clone)]
pub enum Body {
    Status(Status),
    Metadata(Arc<NodeFacts>),
    State(Arc<State>),
    Heartbeat,
}

impl Body {
    pub fn topic(&self) -> &'static str {
        match self {
            Body::Status(_) => "status",
            Body::Metadata(_) => "metadata",
            Body::State(_) => "state",
            Body::Heartbeat => "heartbeat",
        }
    }

    fn is_retained(&self) -> bool {
        !matches!(self, Body::Heartbeat)
    }
}

/// A message of an agent; what is signed is known to be genuine.
#[derive(Debug, Clone)]
pub struct Message {
    pub node: NodeId,
    pub seq: Seq,
    /// In place of its bytes.
    pub id: u64,
    pub body: Body,
}

/// A message of the controller.
#[derive(Debug, Clone)]
pub struct Assigned {
    pub seq: Seq,
    pub id: u64,
    pub assignment: Arc<Assignment>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    will: Message,
    /// When what was sent last arrives.
    arrives: u64,
}

#[derive(Debug)]
pub struct Broker {
    sessions: BTreeMap<NodeId, Session>,
    retained: BTreeMap<(NodeId, &'static str), Message>,
    assignments: BTreeMap<NodeId, Assigned>,
    /// Older assignments, which somebody may play again.
    old: BTreeMap<NodeId, Vec<Assigned>>,
    /// When the last message of a topic arrives at the controller.
    arrives: BTreeMap<(NodeId, &'static str), u64>,
    /// Links are slow.
    slow: bool,
    /// Of a thousand messages.
    pub loses: u64,
    pub repeats: u64,
}

impl Broker {
    pub fn new(slow: bool) -> Broker {
        Broker {
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            assignments: BTreeMap::new(),
            old: BTreeMap::new(),
            arrives: BTreeMap::new(),
            slow,
            loses: 30,
            repeats: 20,
        }
    }

    /// It forgets everything, and everybody's session.
    pub fn restart(&mut self) -> Vec<(NodeId, u64)> {
        self.retained.clear();
        self.assignments.clear();
        let sessions = std::mem::take(&mut self.sessions);
        sessions.into_iter().map(|(n, s)| (n, s.id)).collect()
    }

    /// Nothing of a node is kept any more.
    pub fn forget(&mut self, node: NodeId) -> Option<u64> {
        self.retained.retain(|(n, _), _| *n != node);
        self.assignments.remove(&node);
        self.old.remove(&node);
        self.sessions.remove(&node).map(|s| s.id)
    }

    pub fn session(&self, node: NodeId) -> Option<u64> {
        self.sessions.get(&node).map(|s| s.id)
    }

    /// One of the older assignments of a node.
    pub fn old_of(&self, node: NodeId, which: u64) -> Option<&Assigned> {
        let old = self.old.get(&node)?;
        old.get(which as usize % old.len().max(1))
    }

    pub fn retained(&self) -> Vec<Message> {
        self.retained.values().cloned().collect()
    }
}

impl World {
    fn delay(&mut self) -> u64 {
        let most = if self.broker.slow { 1_000 } else { 40 };
        if self.troubled && self.random.chance(10) {
            *self.faults.entry("message delayed").or_default() += 1;
            return self.random.between(1_000, 10_000);
        }
        self.random.between(1, most)
    }

    /// A node says something, if it believes to be connected.
    pub fn publish(&mut self, node: NodeId, seq: Seq, body: Body) {
        let id = self.id();
        let message = Message {
            node,
            seq,
            id,
            body,
        };
        let n = &mut self.nodes[node];
        let Some(session) = n.session else { return };
        if n.cut {
            if n.stuck.len() < STUCK {
                n.stuck.push(message);
            }
            return;
        }
        self.send(session, message);
    }

    fn send(&mut self, session: u64, message: Message) {
        let heartbeat = matches!(message.body, Body::Heartbeat);
        let delay = self.delay();
        if heartbeat && self.troubled && self.random.chance(self.broker.loses) {
            *self.faults.entry("heartbeat lost").or_default() += 1;
            return;
        }
        let at = self.now + delay;
        let known = self.broker.sessions.get_mut(&message.node);
        let at = match known.filter(|s| s.id == session) {
            Some(s) => {
                s.arrives = s.arrives.max(at);
                s.arrives
            }
            None => at,
        };
        self.schedule_at(at, Event::AtBroker { session, message });
    }

    /// A message of a node reaches the broker.
    pub fn at_broker(&mut self, session: u64, message: Message) {
        if self.broker.session(message.node) == Some(session) {
            self.distribute(message);
        }
    }

    fn distribute(&mut self, message: Message) {
        let topic = message.body.topic();
        if message.body.is_retained() {
            self.broker
                .retained
                .insert((message.node, topic), message.clone());
        }
        let Some(start) = self.controller.connected() else {
            return;
        };
        let at = self.now + self.delay();
        let last = self
            .broker
            .arrives
            .entry((message.node, topic))
            .or_insert(0);
        *last = at.max(*last);
        let at = *last;
        if self.troubled && self.random.chance(self.broker.repeats) {
            *self.faults.entry("message repeated").or_default() += 1;
            let again = at + self.random.between(0, 30_000);
            let message = message.clone();
            let event = Event::AtController {
                start,
                message,
                retained: false,
            };
            self.schedule_at(again, event);
        }
        let event = Event::AtController {
            start,
            message,
            retained: false,
        };
        self.schedule_at(at, event);
    }

    /// The controller publishes an assignment.
    pub fn publish_assignment(&mut self, node: NodeId, assigned: Assigned) {
        let broker = &mut self.broker;
        if let Some(before) = broker.assignments.insert(node, assigned) {
            let old = broker.old.entry(node).or_default();
            old.push(before);
            if old.len() > 8 {
                old.remove(0);
            }
        }
        self.deliver_assignment(node);
    }

    /// The retained assignment goes to a node that is connected.
    fn deliver_assignment(&mut self, node: NodeId) {
        let session = self.broker.session(node);
        let assigned = self.broker.assignments.get(&node).cloned();
        if let Some((session, assigned)) = session.zip(assigned) {
            let at = self.now + self.delay();
            self.deliver(node, session, assigned, at);
        }
    }

    pub fn deliver(&mut self, node: NodeId, session: u64, assigned: Assigned, at: u64) {
        let event = Event::AtNode {
            node,
            session,
            assigned,
        };
        self.schedule_at(at, event);
    }

    /// An assignment reaches a node, if that session still stands.
    pub fn at_node(&mut self, node: NodeId, session: u64, assigned: Assigned) {
        let n = &mut self.nodes[node];
        if n.session != Some(session) {
            return;
        }
        if n.cut {
            if n.stuck_in.len() < STUCK {
                n.stuck_in.push(assigned);
            }
            return;
        }
        self.messages += 1;
        self.assigned(node, assigned);
    }

    /// A node tries to connect.
    pub fn connect(&mut self, node: NodeId, agent: u64) {
        let n = &self.nodes[node];
        if !n.lives_as(agent) || n.session.is_some() || n.gone {
            return;
        }
        let broker_is_there = !self.controller.embedded || self.controller.runs();
        if n.cut || !broker_is_there {
            let backoff = self.random.between(1_000, 8_000);
            self.schedule(backoff, Event::Connect { node, agent });
            return;
        }
        let id = self.id();
        let n = &mut self.nodes[node];
        let session = n.begin_session(id);
        let will = Message {
            node,
            seq: Seq {
                count: session.count + 1,
                ..session
            },
            id: id + 1_000_000_000,
            body: status(SessionStatus::Offline, session),
        };
        let begun = Session {
            id,
            will,
            arrives: self.now,
        };
        // Another session under the same name ends as if its connection had been lost.
        if let Some(taken_over) = self.broker.sessions.remove(&node) {
            self.distribute(taken_over.will);
        }
        self.broker.sessions.insert(node, begun);
        self.log_node(node, format_args!("connected, session {session:?}"));
        self.publish(node, session, status(SessionStatus::Online, session));
        self.announce(node);
        if self.troubled && self.random.chance(200) {
            self.replay_assignment(node);
        }
        self.deliver_assignment(node);
    }

    /// The broker has lost a session: its last will is published.
    pub fn broker_gives_up(&mut self, node: NodeId, session: u64) {
        if self.broker.session(node) != Some(session) {
            return;
        }
        let n = &self.nodes[node];
        if n.session == Some(session) && !n.cut {
            // It was cut for a moment only.
            return;
        }
        if let Some(lost) = self.broker.sessions.remove(&node) {
            self.log_node(node, format_args!("the broker has lost it"));
            self.distribute(lost.will);
        }
    }

    /// A node has lost the broker.
    pub fn node_gives_up(&mut self, node: NodeId, session: u64) {
        let stands = self.broker.session(node) == Some(session);
        let n = &mut self.nodes[node];
        if n.session != Some(session) || (stands && !n.cut) {
            return;
        }
        n.lose_session();
        let agent = n.agent;
        let backoff = self.random.between(500, 5_000);
        self.schedule(backoff, Event::Connect { node, agent });
    }

    /// The link of a node is cut. Both sides find out in their time.
    pub fn cut(&mut self, node: NodeId) {
        let n = &mut self.nodes[node];
        n.cut = true;
        let session = n.session;
        let gives_up = self.random.between(5_000, 60_000);
        if let Some(session) = session {
            self.schedule(gives_up, Event::NodeGivesUp { node, session });
        }
        if let Some(session) = self.broker.session(node) {
            let quiet = self.random.between(KEEP_ALIVE_MS / 2, KEEP_ALIVE_MS);
            self.schedule(quiet, Event::BrokerGivesUp { node, session });
        }
    }

    /// It stands again. What was under way arrives, where nobody has given up.
    pub fn mend(&mut self, node: NodeId) {
        let n = &mut self.nodes[node];
        n.cut = false;
        let (out, inwards) = (
            std::mem::take(&mut n.stuck),
            std::mem::take(&mut n.stuck_in),
        );
        let Some(session) = n.session else { return };
        if self.broker.session(node) != Some(session) {
            self.schedule(1_000, Event::NodeGivesUp { node, session });
            return;
        }
        for message in out {
            self.send(session, message);
        }
        for assigned in inwards {
            let at = self.now + 1;
            self.deliver(node, session, assigned, at);
        }
    }

    /// The agent has ended without a word: at once where the machine still closes its sockets.
    pub fn session_dies(&mut self, node: NodeId, closed: bool) {
        let n = &mut self.nodes[node];
        let cut = n.cut;
        n.lose_session();
        if let Some(session) = self.broker.session(node) {
            let quiet = match closed && !cut {
                true => 1,
                false => self.random.between(KEEP_ALIVE_MS / 2, KEEP_ALIVE_MS),
            };
            self.schedule(quiet, Event::BrokerGivesUp { node, session });
        }
    }
}

fn status(status: SessionStatus, session: Seq) -> Body {
    Body::Status(Status {
        status,
        session,
        graceful: false,
    })
}
