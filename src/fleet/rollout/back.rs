//! The way back of a whole rollout: it failed, or a person wants it back.
//!
//! ```text
//!            at once, where it has failed, is ill, or is in the middle of its change
//!  Waiting ────────────────────────────────────────────────────────► Returning ───► Returned
//!  (has what is left)   else by turns, as on the way there                │
//!                                                                         ▼
//!  Unchanged: it has had the old version all along             Failed: not healthy in time
//! ```
//!
//! - Healthy nodes go by turns: `max_parallel`, `budget` and `sequence` hold on the way back too, as
//!   the manifest says that is left. Windows do not: a version that failed is not kept until night.
//! - What is ill has nothing to lose, and goes at once. So does what was in the middle of its change
//!   when it was heard last: its own agent most likely takes it back too.
//! - Healthy nodes that cannot be heard follow when they are, by turns: told now, they would all
//!   restart at the moment that they are back. Nobody waits for them: the rollout is over without.
//! - A budget that others use up (ill on the old version, away) holds it back for
//!   `progress_deadline`; then it is only `max_parallel` at a time.
//! - A node is back when it has said so, of an assignment that told it to.

use super::super::{Effect, Fleet, WorkloadRecord, event::emit};
use super::{
    OpenWindows, RevisionVerdict, Rollout, RolloutPhase, Step, StepState, Verdict,
    advance::{Look, are, count, healthy_by},
    batch::choose,
    begin::{Person, become_wanted, version_of},
    judge::{Sight, serves},
    nodes_text,
    say::{list, verdict_text},
};
use crate::model::{Desired, Name, Presence, UnixMs, Update};
use std::collections::{BTreeMap, BTreeSet};

impl Fleet {
    /// The rollout that is under way leads back to where it came from. `verdict`: why it failed;
    /// none where a person (`by`) wants it.
    pub(super) fn take_back(
        &mut self,
        name: &Name,
        verdict: Option<Verdict>,
        by: Person,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Some(refused) = self.workloads.get(name).and_then(|w| {
            let rollout = w.rollout.as_ref()?;
            Some(self.may_become(w, rollout.from).err())
        }) else {
            return Vec::new();
        };
        let Fleet {
            nodes, workloads, ..
        } = self;
        let Some(record) = workloads.get_mut(name) else {
            return Vec::new();
        };
        let Some(mut rollout) = record.rollout.take() else {
            return Vec::new();
        };
        let failed_version = version_of(record, rollout.to);
        let good_version = version_of(record, rollout.from);
        let mut effects = Vec::new();
        let mut tell = |event: &str, message: String| {
            effects.push(emit(at, event, message).about_workload(name).effect());
        };
        if let Some(verdict) = &verdict {
            let words = verdict_text(verdict);
            tell(
                "rollout_failed",
                format!("the rollout of {name} to {failed_version} failed: {words}"),
            );
        }
        // It may have failed before, and was held for this person.
        rollout.verdict = verdict.or(rollout.verdict.take());
        if let Some(left) = record.edition_mut(rollout.to) {
            left.verdict = match rollout.verdict {
                Some(_) => RevisionVerdict::Bad,
                None => RevisionVerdict::TakenBack,
            };
        }
        rollout.paused = false;
        rollout.progress_ms = at;
        rollout.windows = OpenWindows::default();
        // All of them, since what they may fetch ahead, or go back to, is over for all.
        touched.extend(record.placed.iter().cloned());
        if let Some(why) = refused {
            rollout.phase = RolloutPhase::Failed;
            rollout.ended_ms = Some(at);
            rollout.reason = format!("it cannot be taken back to {good_version}: {why}");
            tell(
                "rollout_failed",
                format!("{name} is left as it is: {}", rollout.reason),
            );
            record.rollout = Some(rollout);
            return effects;
        }
        let failed = record.edition(rollout.to).cloned();
        let good = record.edition(rollout.from).cloned();
        let Some(good) = good else {
            record.rollout = Some(rollout);
            return effects;
        };
        let has: BTreeMap<Name, u64> = rollout
            .steps
            .keys()
            .map(|n| (n.clone(), record.revision_on(n.as_str())))
            .collect();
        for (node, step) in &mut rollout.steps {
            let has = has.get(node).copied().unwrap_or(record.revision);
            if record.hash_at(has) == good.spec_hash {
                record.at.remove(node);
                record.on_trial.remove(node);
                *step = Step::untold(StepState::Unchanged);
                continue;
            }
            let known = nodes.get(node);
            if matches!(step.state, StepState::Changing | StepState::Failed) {
                record.at.remove(node);
                record.on_trial.remove(node);
                let online = known.is_some_and(|n| n.presence == Presence::Online);
                let generation = known.map_or(0, |n| n.generation + 1);
                *step = Step::told(StepState::Returning, at, online, generation);
            } else {
                record.at.insert(node.clone(), has);
                *step = Step::untold(StepState::Waiting);
            }
        }
        rollout.phase = RolloutPhase::RollingBack;
        record.rollout = Some(rollout);
        // Where nobody asks for it, what was asked for and failed is behind it.
        let by = match by.name {
            Some(_) => by,
            None => Person {
                trace: failed.and_then(|left| left.trace),
                ..by
            },
        };
        become_wanted(record, good.spec, good.spec_hash, by, good.verdict, at);
        record.prune_history();
        touched.extend(self.decide(BTreeSet::from([name.clone()])));
        effects
    }
}

pub(super) fn go(nodes: usize) -> String {
    match nodes {
        1 => "1 node goes".into(),
        n => format!("{n} nodes go"),
    }
}

/// Nodes that were told to go back, and can be heard.
fn going(rollout: &Rollout) -> usize {
    let going = |s: &&Step| s.state == StepState::Returning && s.counts_from_ms.is_some();
    rollout.steps.values().filter(going).count()
}

/// Until when a rollout may be held back by a budget on its way back.
pub(super) fn budget_until(rollout: &Rollout, update: &Update) -> UnixMs {
    rollout
        .progress_ms
        .saturating_add(update.progress_deadline_ms)
}

impl WorkloadRecord {
    /// The settings by which its rollout goes: on the way back those of what is left.
    pub(super) fn update_of(&self, rollout: &Rollout) -> Update {
        let left = self.edition(rollout.to).and_then(|r| r.spec.update.clone());
        let update = match rollout.phase {
            RolloutPhase::RollingBack | RolloutPhase::RolledBack => {
                left.or_else(|| self.spec.update.clone())
            }
            _ => self.spec.update.clone(),
        };
        update.unwrap_or_default()
    }
}

impl Look<'_> {
    /// On the way back: whether all are back that can be heard.
    pub(super) fn come_back(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) {
        let held_back = self.bring_back(record, rollout);
        let open = |(node, step): &(&Name, &Step)| match step.state {
            StepState::Returning => step.counts_from_ms.is_some(),
            StepState::Waiting => self.online(node),
            _ => false,
        };
        let (name, to) = (&record.spec.name, &record.spec.version);
        if rollout.steps.iter().any(|s| open(&s)) {
            let going = going(rollout);
            let waiting = count(rollout, StepState::Waiting);
            rollout.reason = match (going, waiting) {
                (0, n) => format!("{} to go back to {to}", are(n)),
                (_, 0) => format!("{} back to {to}", go(going)),
                (_, n) => format!("{} back to {to}, {} will follow", go(going), nodes_text(n)),
            };
            if let Some(why) = held_back.filter(|_| going == 0) {
                rollout.reason += &format!("; the budget holds it back: {why}");
            }
            return;
        }
        rollout.phase = RolloutPhase::RolledBack;
        rollout.ended_ms = Some(self.at);
        rollout.reason = rolled_back_text(record, rollout);
        let message = format!("{name} was rolled back to {to}: {}", rollout.reason);
        self.tell(record, "rollout_rolled_back", message);
    }

    /// After the end of the way back: those that could not be heard then.
    pub(super) fn hear_returning(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) {
        let open = |s: &Step| matches!(s.state, StepState::Returning | StepState::Waiting);
        if rollout.steps.values().any(open) {
            self.bring_back(record, rollout);
            rollout.reason = rolled_back_text(record, rollout);
        }
    }

    /// Hears who is back, and tells as many to go back as may. Why a budget holds others back.
    fn bring_back(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) -> Option<String> {
        let mut update = record.update_of(rollout);
        let stopped = record.desired == Desired::Stopped;
        let placed = &record.placed;
        rollout.steps.retain(|node, step| {
            let open = matches!(step.state, StepState::Returning | StepState::Waiting);
            !open || placed.contains(node)
        });
        let mut back = false;
        let mut at_once = Vec::new();
        for (name, step) in &mut rollout.steps {
            // As it was written before there was a word for it.
            let told = step.switched_ms.is_some() && step.healthy_since_ms.is_none();
            if step.state == StepState::Returned && told {
                step.state = StepState::Returning;
            }
            match step.state {
                StepState::Waiting if stopped || self.has_nothing_to_lose(record, name) => {
                    at_once.push(name.clone());
                }
                StepState::Returning | StepState::Failed => {
                    back |= self.hear_return(record, name, step, &update, stopped);
                }
                _ => {}
            }
        }
        if back {
            rollout.progress_ms = self.at;
        }
        for node in &at_once {
            self.send_back(record, rollout, node);
        }
        if self.at >= budget_until(rollout, &update) {
            update.budget = None;
        }
        let most = update.max_parallel.of(rollout.steps.len());
        let most = most.saturating_sub(going(rollout));
        let batch = choose(self.nodes, record, rollout, &update, most, false);
        for node in &batch.nodes {
            self.send_back(record, rollout, node);
        }
        at_once.extend(batch.nodes);
        if !at_once.is_empty() {
            let (name, to) = (&record.spec.name, &record.spec.version);
            let message = format!("{name} goes back to {to} on a batch: {}", list(&at_once));
            self.tell(record, "rollout_batch", message);
        }
        batch.held_back
    }

    /// It waits for its turn, can be heard, and does not serve anybody; or it has gone back already.
    fn has_nothing_to_lose(&self, record: &WorkloadRecord, name: &Name) -> bool {
        let Some(node) = self.nodes.get(name).filter(|_| self.online(name)) else {
            return false;
        };
        let tried = record.on_trial.contains_key(name);
        let mut step = Step::untold(StepState::Waiting);
        !serves(node, &record.spec.name)
            || (tried && matches!(self.look_at(record, name, &mut step), Sight::Failed(_)))
    }

    /// `true`: it has just said that it is back.
    fn hear_return(
        &self,
        record: &WorkloadRecord,
        name: &Name,
        step: &mut Step,
        update: &Update,
        stopped: bool,
    ) -> bool {
        if self.news_of(name) {
            let healthy = matches!(self.look_at(record, name, step), Sight::Healthy { .. });
            // What is kept stopped has nothing to show but that it was told.
            let known = self.nodes.get(name).filter(|_| stopped);
            let obeys = |n: &super::super::NodeRecord| n.observed_generation >= step.generation;
            if healthy || (self.online(name) && known.is_some_and(obeys)) {
                step.state = StepState::Returned;
                step.healthy_since_ms = Some(self.at);
                return true;
            }
        }
        let due = healthy_by(step, update, &record.spec, false);
        if step.state == StepState::Returning && due.is_some_and(|due| self.at >= due) && !stopped {
            step.state = StepState::Failed;
        }
        false
    }

    fn send_back(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout, node: &Name) {
        record.at.remove(node);
        record.on_trial.remove(node);
        let generation = self.next_generation(node);
        let online = self.online(node);
        let step = Step::told(StepState::Returning, self.at, online, generation);
        rollout.steps.insert(node.clone(), step);
        self.touched.insert(node.clone());
    }

    /// The node's own word comes after the controller has guessed: it takes the place of the guess.
    pub(super) fn hear_verdict(&mut self, record: &WorkloadRecord, rollout: &mut Rollout) {
        let super::News::Of(node) = self.news else {
            return;
        };
        let Some(guess) = rollout.verdict.as_ref().filter(|v| v.guessed) else {
            return;
        };
        if guess.node.as_ref().is_some_and(|n| n != node) || !rollout.steps.contains_key(node) {
            return;
        }
        let own = self
            .nodes
            .get_key_value(node)
            .filter(|(_, n)| n.observed_ms >= guess.at_ms)
            .and_then(|(name, n)| super::judge::own_verdict(record, rollout.to, name, n, self.at));
        let Some(own) = own else {
            return;
        };
        let (before, words) = (verdict_text(guess), verdict_text(&own));
        rollout.reason = rollout.reason.replace(&before, &words);
        let message = format!(
            "why the rollout of {} to {} failed is known now: {words}",
            record.spec.name,
            version_of(record, rollout.to)
        );
        rollout.verdict = Some(own);
        self.tell(record, "rollout_verdict", message);
    }
}

/// How the way back ended, and who is still to follow.
fn rolled_back_text(record: &WorkloadRecord, rollout: &Rollout) -> String {
    let to = &record.spec.version;
    let why = match &rollout.verdict {
        Some(verdict) => format!("it failed {}", verdict_text(verdict)),
        None => "a person took it back".into(),
    };
    let of = |state: StepState| -> Vec<Name> {
        let steps = rollout.steps.iter().filter(|(_, s)| s.state == state);
        steps.map(|(n, _)| n.clone()).collect()
    };
    let (back, ill) = (of(StepState::Returned), of(StepState::Failed));
    let mut unheard = of(StepState::Returning);
    unheard.extend(of(StepState::Waiting));
    unheard.sort();
    let mut parts = vec![why];
    match (ill.len() + unheard.len(), back.len()) {
        (0, 0) => parts.push("no node had changed".into()),
        (0, _) => parts.push(format!("all are back on {to}")),
        (_, 0) => {}
        (_, n) => parts.push(format!("{} back on {to}", are(n))),
    }
    if !ill.is_empty() {
        let names = list(&ill);
        parts.push(format!(
            "{} not healthy on {to} either: {names}",
            are(ill.len())
        ));
    }
    if !unheard.is_empty() {
        let follow = match unheard.len() {
            1 => "follows",
            _ => "follow",
        };
        parts.push(format!(
            "{} not been heard since, and {follow}: {}",
            match unheard.len() {
                1 => "1 node has".to_owned(),
                n => format!("{n} nodes have"),
            },
            list(&unheard)
        ));
    }
    parts.join("; ")
}
