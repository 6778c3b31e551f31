//! The thread that writes.

use super::{
    state::{AskError, Controller, Input},
    time::EntryClock,
};
use crate::{
    fleet::{Actor, Change, Effect, Entry, Fleet, Presence, PresenceSettings, Refusal},
    journal::{Journal, JournalError, Recorded},
    model::{Name, TraceContext},
    support::clock,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

/// Inputs of one commit.
const BATCH: usize = 256;
/// How often what the journal could not keep is tried again.
const RETRY_MS: u64 = 2_000;
/// Between two looks at what goes on by itself, at least.
const DEADLINE_STEP_MS: u64 = 20;
/// Between two looks at whether everybody was heard since the start.
const GRACE_STEP_MS: u64 = 500;
/// Spans of one batch's assignments: of a change of ten thousand nodes the first tell enough.
const MAX_SPANS: usize = 64;
/// Entries after which a snapshot is taken.
const SNAPSHOT_EVERY: u64 = 5_000;

/// Runs until [`Input::Stop`], or until nobody can send any more.
pub(super) fn run(
    controller: &Arc<Controller>,
    journal: Box<dyn Journal>,
    settings: PresenceSettings,
    inputs: &flume::Receiver<Input>,
) {
    let presence = Presence::new(settings);
    let time = EntryClock::after(&controller.fleet(), clock::unix_ms());
    let mut core = Core {
        controller,
        journal,
        presence,
        time,
        start_grace_ms: settings.start_grace_ms,
        started: Instant::now(),
        deadline: Some(0),
        unsaved: BTreeMap::new(),
    };
    loop {
        let first = match core.next_deadline() {
            Some(deadline) => match inputs.recv_deadline(deadline) {
                Ok(input) => Some(input),
                Err(flume::RecvTimeoutError::Timeout) => None,
                Err(flume::RecvTimeoutError::Disconnected) => return,
            },
            None => match inputs.recv() {
                Ok(input) => Some(input),
                Err(_) => return,
            },
        };
        let waiting = inputs.try_iter().take(BATCH - 1);
        let batch: Vec<Input> = first.into_iter().chain(waiting).collect();
        if core.batch(batch) {
            return;
        }
    }
}

type Answer = (oneshot::Sender<Result<(), AskError>>, Result<(), AskError>);

struct Core<'a> {
    controller: &'a Arc<Controller>,
    journal: Box<dyn Journal>,
    presence: Presence,
    /// Gives entries their time.
    time: EntryClock,
    /// Nothing goes on by itself before, in milliseconds since the start, unless everybody was heard:
    /// who has not come yet after a restart of the controller is not to be taken for lost.
    start_grace_ms: u64,
    started: Instant,
    /// Nothing is due before, in milliseconds since the start. Hearing a node only moves deadlines
    /// back, so that this is looked at anew only when it is reached or an entry was applied: a
    /// heartbeat must not cost a walk over the fleet.
    deadline: Option<u64>,
    /// What agents said while the journal could not keep it; tried again, since nobody says it
    /// twice. By subject and kind, the newest each.
    unsaved: BTreeMap<(String, u8), Change>,
}

impl Core<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn next_deadline(&self) -> Option<Instant> {
        // A little late rather than a little early, and then again.
        self.deadline
            .map(|at| self.started + Duration::from_millis(at + 1))
    }

    fn time_may_pass(&self, fleet: &Fleet, now: u64) -> bool {
        now >= self.start_grace_ms || self.presence.all_heard(fleet)
    }

    fn keep_unsaved(&mut self, said: impl Iterator<Item = Change>) {
        for change in said {
            let key = match &change {
                Change::NodePresenceChanged { node, .. } => (node.to_string(), 0),
                Change::NodeDescribed { node, .. } => (node.to_string(), 1),
                Change::StateReported { node, .. } => (node.to_string(), 2),
                Change::CommandFinished { id, .. } => (id.clone(), 3),
                _ => continue,
            };
            self.unsaved.insert(key, change);
        }
    }

    fn find_deadline(&self, fleet: &Fleet) -> Option<u64> {
        if !self.unsaved.is_empty() {
            return Some(self.now() + RETRY_MS);
        }
        let open = fleet.commands().filter(|(_, c)| c.outcome.is_none());
        let wall = clock::unix_ms();
        let command = open
            .map(|(_, c)| self.now() + c.deadline_ms.saturating_sub(wall))
            .min();
        let due = fleet.next_deadline().map(|due| {
            let left = due.saturating_sub(self.time.now(self.now(), wall));
            // What was due a moment ago, and is due still, is tried again, yet not at once.
            let at = self.now() + left.max(DEADLINE_STEP_MS);
            match self.time_may_pass(fleet, at) {
                true => at,
                false => self.start_grace_ms.min(at + GRACE_STEP_MS),
            }
        });
        self.presence
            .next_deadline(fleet)
            .into_iter()
            .chain(command)
            .chain(due)
            .min()
    }

    /// Applies and commits a batch; `true` when the controller is to end.
    fn batch(&mut self, batch: Vec<Input>) -> bool {
        let mut fleet = self
            .controller
            .fleet
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut entries: Vec<Recorded> = Vec::new();
        // As they were said, what the journal keeps in another form.
        let mut told: Vec<Change> = Vec::new();
        // With the request of the person behind each.
        let mut effects: Vec<(Option<TraceContext>, Effect)> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut readers = Vec::new();
        let (mut stop, mut connected) = (false, false);
        let (now, wall) = (self.now(), clock::unix_ms());
        let at_ms = self.time.tick(now, wall);
        let mut apply = |fleet: &mut Fleet, by: Option<Actor>, change| -> Result<(), Refusal> {
            let kept = fleet.kept_as(&change);
            // For the audit trail, which is of people.
            let changes = by.as_ref().and_then(|_| fleet.what_changes(&change));
            let mut entry = Entry { at_ms, by, change };
            let request = entry.by.as_ref().and_then(|actor| actor.trace);
            effects.extend(fleet.apply(&entry)?.into_iter().map(|e| (request, e)));
            if let Some(kept) = kept {
                told.push(std::mem::replace(&mut entry.change, kept));
            }
            entries.push(Recorded { entry, changes });
            Ok(())
        };
        for change in std::mem::take(&mut self.unsaved).into_values() {
            let _ = apply(&mut fleet, None, change);
        }
        for input in batch {
            match input {
                Input::Change { by, change, answer } => {
                    note_session(&mut self.presence, &change, now);
                    let result = apply(&mut fleet, by, change).map_err(AskError::from);
                    answers.push((answer, result));
                }
                Input::Told(change) => {
                    note_session(&mut self.presence, &change, now);
                    if let Err(error) = apply(&mut fleet, None, change)
                        && error != Refusal::Unchanged
                    {
                        warn!(%error, "message of a node has no effect");
                    }
                }
                Input::Heard(node) => {
                    if let Some(change) = self.presence.heard(&fleet, &node, now) {
                        let _ = apply(&mut fleet, None, change);
                    }
                }
                Input::Read(reader) => readers.push(reader),
                Input::Connected => connected = true,
                Input::Stop => stop = true,
            }
        }
        let reached = self.deadline.is_some_and(|at| now >= at);
        if reached {
            let silent = self.presence.due(&fleet, now);
            for change in silent.into_iter().chain(fleet.expired_commands(wall)) {
                let _ = apply(&mut fleet, None, change);
            }
            let due = fleet.next_deadline().is_some_and(|due| due <= at_ms);
            if due && self.time_may_pass(&fleet, now) {
                let _ = apply(&mut fleet, None, Change::TimePassed {});
            }
        }
        if !entries.is_empty()
            && let Err(failure) = self.commit(&entries)
        {
            let message = failure.to_string();
            error!(
                error = message,
                "change refused, the journal cannot keep it"
            );
            match self.journal.load() {
                Ok(durable) => *fleet = durable,
                // Memory is ahead of the disk, and the disk cannot be read: nothing that was
                // decided now may leave, and a restart will tell.
                Err(error) => error!(%error, "journal cannot be read either"),
            }
            effects.clear();
            let entries = entries.drain(..).map(|r| r.entry);
            let entries = entries.filter(|e| e.by.is_none());
            self.keep_unsaved(entries.map(|e| e.change).chain(told));
            for (_, result) in answers.iter_mut().filter(|(_, result)| result.is_ok()) {
                *result = Err(AskError::NotDurable(message.clone()));
            }
        }
        self.note_journal();
        let wants_snapshot = stop || self.journal.entries_since_snapshot() >= SNAPSHOT_EVERY;
        if wants_snapshot
            && self.journal.entries_since_snapshot() > 0
            && let Err(error) = self.snapshot(&fleet)
        {
            warn!(%error, "no snapshot could be taken, the entries stay");
        }
        if reached || !entries.is_empty() || !self.unsaved.is_empty() {
            self.deadline = self.find_deadline(&fleet);
        }
        let version = fleet.version();
        drop(fleet);
        self.release(effects);
        if connected {
            self.publish_everything();
        }
        self.controller
            .changed
            .send_if_modified(|v| std::mem::replace(v, version) != version);
        for (answer, result) in answers {
            let _ = answer.send(result);
        }
        for read in readers {
            read(&mut *self.journal);
        }
        if stop {
            info!("journal closed");
        }
        stop
    }

    /// Makes entries durable, and counts how long that took.
    fn commit(&mut self, entries: &[Recorded]) -> Result<(), JournalError> {
        let begun = Instant::now();
        let kept = self.journal.append(entries);
        let meter = &self.controller.meter;
        meter.commit(entries.len(), kept.is_ok(), begun.elapsed());
        let trouble = kept.as_ref().err().map(ToString::to_string);
        self.controller.alerts.note_journal(trouble);
        kept
    }

    fn snapshot(&mut self, fleet: &Fleet) -> Result<(), JournalError> {
        self.journal.snapshot(fleet)?;
        self.controller.meter.snapshot(clock::unix_ms());
        self.note_journal();
        Ok(())
    }

    fn note_journal(&self) {
        let entries = self.journal.entries_since_snapshot();
        self.controller.meter.set_since_snapshot(entries);
    }

    /// What is durable may leave.
    fn release(&mut self, effects: Vec<(Option<TraceContext>, Effect)>) {
        let c = self.controller;
        let fleet = c.fleet();
        // Who speaks HTTP fetches what is for it.
        let mqtt = |node: &Name| fleet.node(node.as_str()).is_none_or(|n| !n.http);
        // Several changes of one batch need one assignment only.
        let mut assigned = std::collections::BTreeSet::new();
        for (request, effect) in effects {
            match effect {
                Effect::PublishAssignment(node) => {
                    if mqtt(&node) && assigned.insert(node.clone()) {
                        let shown = assigned.len() <= MAX_SPANS;
                        let _span = c.sending(request.filter(|_| shown), &fleet, &node);
                        c.outbox.assignment(&fleet, &node);
                    }
                }
                Effect::PublishWelcome(node) => {
                    if mqtt(&node) {
                        c.outbox.welcome(&fleet, &node);
                    }
                }
                Effect::PublishAccess => c.outbox.access(&fleet.access()),
                Effect::ClearRetained(node) => {
                    c.outbox.clear(&node);
                    c.live.forget(node.as_str());
                    self.presence.forget(&node);
                }
                Effect::SendCommand {
                    id,
                    node,
                    order,
                    trace,
                } => c.outbox.command(&id, &node, *order, trace),
                Effect::Emit(event) => {
                    info!(event = event.event, message = event.message, "fleet");
                    c.events.publish(event);
                }
            }
        }
    }

    /// A broker may have forgotten everything.
    fn publish_everything(&self) {
        let c = self.controller;
        let fleet = c.fleet();
        c.outbox.access(&fleet.access());
        for (name, _) in fleet.nodes().filter(|(_, n)| !n.http) {
            c.outbox.assignment(&fleet, name);
        }
    }
}

/// A node whose session begins must be heard from now on.
fn note_session(presence: &mut Presence, change: &Change, now: u64) {
    if let Change::NodePresenceChanged {
        node, presence: is, ..
    } = change
        && *is == crate::model::Presence::Online
    {
        presence.began(node, now);
    }
}
