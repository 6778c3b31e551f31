//! The controller's shell: the real [`Fleet`] and [`Presence`] around a journal, as
//! `src/controller` drives them, and its crashes.
//!
//! An entry is applied, appended, and only then its effects leave and who asked is answered. A
//! crash comes before the entry is written, or after it, with none or some of its effects out.

use super::{
    broker::{Assigned, Body, Message},
    journal::{Journal, bytes},
    world::{Event, NodeId, World},
};
use fleetctl::{
    contract::{Freshness, ReplayGuard, Seq, SessionStatus},
    fleet::{Actor, Approval, Change, Effect, Entry, Fleet, Presence, PresenceSettings, Refusal},
    identity::Role,
    model::{Name, Presence as NodePresence},
};
use std::{collections::BTreeMap, sync::Arc};

pub const SETTINGS: PresenceSettings = PresenceSettings {
    silent_after_ms: 15_000,
    offline_after_ms: 90_000,
    start_grace_ms: 30_000,
};
/// Changes that one moment may lead to.
const AT_ONCE: u32 = 1_000;

/// A controller that lives.
pub struct Running {
    pub fleet: Fleet,
    presence: Presence,
    guard: ReplayGuard,
    /// Virtual time.
    started: u64,
    /// Messages that it has signed.
    count: u64,
    /// Nothing is due before.
    deadline: Option<u64>,
    /// For which an event is on its way.
    woken_at: Option<u64>,
}

pub struct Controller {
    /// The broker is a part of it, and dies with it.
    pub embedded: bool,
    pub journal: Journal,
    pub running: Option<Running>,
    /// Position and bytes of the changes that were answered with Ok.
    pub answered: Vec<(usize, Vec<u8>)>,
    /// Digest of each assignment that was published, by node and generation.
    pub published: BTreeMap<(NodeId, u64), Vec<u8>>,
    /// It crashes at the next entry: after so many of its effects, or before it is written.
    pub fuse: Option<Option<usize>>,
    /// A snapshot is taken after so many entries.
    pub snapshot_every: usize,
}

impl Controller {
    pub fn new(embedded: bool) -> Controller {
        Controller {
            embedded,
            journal: Journal::default(),
            running: None,
            answered: Vec::new(),
            published: BTreeMap::new(),
            fuse: None,
            snapshot_every: 100,
        }
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub fn fleet(&self) -> Option<&Fleet> {
        self.running.as_ref().map(|r| &r.fleet)
    }

    /// Which start of it is connected to the broker.
    pub fn connected(&self) -> Option<u64> {
        self.running.as_ref().map(|_| self.journal.starts)
    }
}

/// A person.
pub fn person() -> Option<Actor> {
    Some(Actor {
        token: "ops".into(),
        role: Role::Operator,
        from: "192.0.2.1".into(),
        trace: None,
    })
}

impl World {
    pub fn controller_starts(&mut self) {
        if self.controller.runs() {
            return;
        }
        self.controller.journal.starts += 1;
        let fleet = match self.controller.journal.load() {
            Ok(fleet) => fleet,
            Err(error) => {
                self.violate("replay gives the same state", error);
                return;
            }
        };
        let mut guard = ReplayGuard::new();
        for (name, node) in fleet.nodes() {
            guard.require_start(name.as_str(), node.session.start);
        }
        let names: Vec<Name> = fleet.nodes().map(|(name, _)| name.clone()).collect();
        self.controller.running = Some(Running {
            fleet,
            presence: Presence::new(SETTINGS),
            guard,
            started: self.now,
            count: 0,
            deadline: Some(0),
            woken_at: None,
        });
        self.log("controller", format_args!("starts"));
        self.check_answered();
        for name in names {
            self.send_assignment(&name);
        }
        let start = self.controller.journal.starts;
        for message in self.broker.retained() {
            let after = self.random.between(1, 200);
            let event = Event::AtController {
                start,
                message,
                retained: true,
            };
            self.schedule(after, event);
        }
        self.controller_deadline();
    }

    /// It ends without a word; what it remembered otherwise than on its disk is gone.
    pub fn controller_crashes(&mut self, back_after_ms: u64) {
        let Some(running) = self.controller.running.take() else {
            return;
        };
        self.controller.fuse = None;
        self.check_replay(&running.fleet, false);
        if self.controller.embedded {
            for (node, session) in self.broker.restart() {
                let after = self.random.between(10, 2_000);
                self.schedule(after, Event::NodeGivesUp { node, session });
            }
        }
        self.log("controller", format_args!("is dead"));
        self.schedule(back_after_ms, Event::ControllerStarts);
    }

    /// Somebody, or something, changes the fleet. `None`: there is no answer.
    pub fn change(&mut self, by: Option<Actor>, change: Change) -> Option<Result<(), Refusal>> {
        let position = self.controller.journal.len();
        if let Some((at, after)) = self.profile.crash_at.filter(|(at, _)| *at == position) {
            self.profile.crash_at = None;
            self.controller.fuse = Some(after.then_some(0));
            self.fault("controller crash", format_args!("at position {at}"));
        }
        if self.controller.fuse == Some(None) {
            self.controller_crashes(3_000);
            return None;
        }
        let at_ms = self.wall();
        let asked = by.is_some();
        let running = self.controller.running.as_mut()?;
        let kept = running.fleet.kept_as(&change);
        let mut entry = Entry { at_ms, by, change };
        let mut effects = match running.fleet.apply(&entry) {
            Ok(effects) => effects,
            Err(refusal) => return Some(Err(refusal)),
        };
        entry.change = kept.unwrap_or(entry.change);
        self.controller.journal.append(&entry);
        self.log(
            "journal",
            format_args!("{position} {}", entry.change.summary()),
        );
        self.check_fleet();
        if let Some(Some(left)) = self.controller.fuse {
            effects.truncate(left);
            self.release(effects);
            self.controller_crashes(3_000);
            return None;
        }
        self.release(effects);
        if asked {
            let written = self.controller.journal.at(position).map(<[u8]>::to_vec);
            self.controller
                .answered
                .extend(written.map(|w| (position, w)));
        }
        if self.controller.journal.entries_since_snapshot() >= self.controller.snapshot_every
            && let Some(running) = &self.controller.running
        {
            self.controller.journal.keep_snapshot(&running.fleet);
        }
        self.find_deadline();
        Some(Ok(()))
    }

    fn find_deadline(&mut self) {
        let Some(running) = &mut self.controller.running else {
            return;
        };
        let heard = running.presence.next_deadline(&running.fleet);
        let heard = heard.map(|at| running.started + at + 1);
        let wall = super::world::BEGINNING_MS;
        let due = running.fleet.next_deadline();
        let due = due.map(|at| at.saturating_sub(wall).max(self.now));
        running.deadline = heard.into_iter().chain(due).min();
        let sooner = |at: &u64| running.woken_at.is_none_or(|w| *at < w);
        if let Some(at) = running.deadline.filter(sooner) {
            running.woken_at = Some(at);
            self.schedule_at(at, Event::Deadline);
        }
    }

    /// What follows from time alone.
    pub fn controller_deadline(&mut self) {
        let now = self.now;
        let Some(running) = &mut self.controller.running else {
            return;
        };
        if running.woken_at.is_some_and(|at| at <= now) {
            running.woken_at = None;
        }
        if running.deadline.is_some_and(|at| at > now) {
            self.find_deadline();
            return;
        }
        let silent = running.presence.due(&running.fleet, now - running.started);
        for change in silent {
            let _ = self.change(None, change);
        }
        self.time_passes();
        self.find_deadline();
    }

    /// Once for each deadline that has come; one that comes again at once would never end.
    fn time_passes(&mut self) {
        for _ in 0..AT_ONCE {
            let wall = self.wall();
            let due = self.controller.fleet().and_then(Fleet::next_deadline);
            if due.is_none_or(|at| at > wall) {
                return;
            }
            match self.change(None, Change::TimePassed {}) {
                Some(Ok(())) => {}
                Some(Err(refusal)) => {
                    let message = format!("deadline {due:?} is refused at {wall}: {refusal}");
                    self.violate("time goes on", message);
                    return;
                }
                None => return,
            }
        }
        let due = self.controller.fleet().and_then(Fleet::next_deadline);
        let message = format!(
            "the deadline {due:?} comes again and again at {}",
            self.wall()
        );
        self.violate("time goes on", message);
    }

    fn release(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PublishAssignment(name) => self.send_assignment(&name),
                Effect::ClearRetained(name) => {
                    if let Some(running) = &mut self.controller.running {
                        running.presence.forget(&name);
                    }
                    self.cleared(&name);
                }
                Effect::Emit(event) => {
                    self.log("fleet", format_args!("{}: {}", event.event, event.message));
                }
                Effect::PublishAccess | Effect::PublishWelcome(_) | Effect::SendCommand { .. } => {}
            }
        }
    }

    /// Publishes what the fleet assigns to a node now.
    fn send_assignment(&mut self, name: &Name) {
        let Some(node) = self.node_called(name) else {
            return;
        };
        let starts = self.controller.journal.starts;
        let id = self.id();
        let Some(running) = &mut self.controller.running else {
            return;
        };
        let Some(assignment) = running.fleet.assignment(name.as_str()) else {
            return;
        };
        running.count += 1;
        let seq = Seq {
            start: starts,
            count: running.count,
        };
        // What is only to be fetched ahead changes nothing that runs, and comes and goes without
        // a generation of its own.
        let mut runs = assignment.clone();
        for instance in &mut runs.instances {
            instance.next = None;
        }
        let text = bytes(&runs);
        let generation = assignment.generation;
        let known = self
            .controller
            .published
            .entry((node, generation))
            .or_insert_with(|| text.clone());
        if *known != text {
            let both = (
                String::from_utf8_lossy(known).into_owned(),
                String::from_utf8_lossy(&text).into_owned(),
            );
            let message = format!(
                "two assignments of {name} have generation {generation}: {} and {}",
                both.0, both.1
            );
            self.violate("generations only grow", message);
            return;
        }
        let assigned = Assigned {
            seq,
            id,
            assignment: Arc::new(assignment),
        };
        self.publish_assignment(node, assigned);
    }

    /// What an agent says: taken only when it is newer.
    pub fn at_controller(&mut self, start: u64, message: &Message, retained: bool) {
        let now = self.now;
        if self.controller.connected() != Some(start) {
            return;
        }
        let (name, key) = {
            let node = &self.nodes[message.node];
            (node.name.clone(), node.key.clone())
        };
        let Some(running) = &mut self.controller.running else {
            return;
        };
        let Some(record) = running.fleet.node(name.as_str()) else {
            return;
        };
        if record.approval != Approval::Approved || record.key != key {
            return;
        }
        let (session, presence) = (record.session, record.presence);
        let topic = message.body.topic();
        let payload = message.id.to_le_bytes();
        let fresh = running
            .guard
            .judge(name.as_str(), topic, message.seq, &payload);
        if fresh != Freshness::Fresh {
            return;
        }
        if topic != "heartbeat" {
            self.messages += 1;
        }
        let change = match &message.body {
            Body::Status(status) => match status.status {
                SessionStatus::Online if status.session >= session => {
                    running.presence.began(&name, now - running.started);
                    Some((NodePresence::Online, status.session, ""))
                }
                SessionStatus::Offline
                    if status.session >= session && presence != NodePresence::Offline =>
                {
                    Some((
                        NodePresence::Offline,
                        status.session,
                        "its connection was lost",
                    ))
                }
                _ => None,
            }
            .map(|(presence, session, reason)| Change::NodePresenceChanged {
                node: name.clone(),
                presence,
                session,
                reason: reason.to_owned(),
            }),
            Body::Metadata(facts) => Some(Change::NodeDescribed {
                node: name.clone(),
                facts: (**facts).clone(),
            }),
            Body::State(state) => Some(Change::StateReported {
                node: name.clone(),
                generation: state.generation,
                instances: state.instances.clone(),
                engines: state.engines.clone(),
            }),
            Body::Heartbeat => None,
        };
        let is_status = matches!(message.body, Body::Status(_));
        if let Some(change) = change
            && let Some(Err(refusal)) = self.change(None, change)
            && refusal != Refusal::Unchanged
        {
            self.log("controller", format_args!("{topic} of {name}: {refusal}"));
        }
        if !retained && !is_status {
            self.heard(&name);
        }
    }

    fn heard(&mut self, name: &Name) {
        let now = self.now;
        let Some(running) = &mut self.controller.running else {
            return;
        };
        let elapsed = now - running.started;
        if let Some(change) = running.presence.heard(&running.fleet, name, elapsed) {
            let _ = self.change(None, change);
        }
    }
}
