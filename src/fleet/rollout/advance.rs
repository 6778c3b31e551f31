//! What follows for a rollout from what was reported, and from time. In this order: nodes that came
//! and went; what they say; what time says; which phase that makes; who changes next.

use super::super::{Effect, Fleet, NodeRecord, WorkloadRecord, event::emit};
use super::{
    OpenWindows, Person, Rollout, RolloutPhase, Step, StepState, Verdict,
    batch::{Batch, choose},
    judge::{Sight, Since, sight},
    say::{list, reason_of, verdict_text, ways_out},
    tell::goes_forward,
    windows::opening,
};
use crate::{
    manifest::quantity::duration_text,
    model::{Desired, Name, Presence, UnixMs, Update, Workload},
    planted::{self, Bug},
};
use std::collections::{BTreeMap, BTreeSet};

/// An agent counts the time to become healthy from the begin of the change on its node, and knows
/// the last lines: it is let speak first.
const AGENT_FIRST_MS: u64 = 10_000;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum News<'a> {
    /// Every node.
    All,
    /// One node said something, came or went.
    Of(&'a Name),
    /// Nobody said anything; time has passed.
    Time,
}

impl News<'_> {
    fn concerns(self, node: &Name) -> bool {
        match self {
            News::All => true,
            News::Of(one) => one == node,
            News::Time => false,
        }
    }
}

/// One look at one rollout.
pub(super) struct Look<'a> {
    pub nodes: &'a BTreeMap<Name, NodeRecord>,
    pub news: News<'a>,
    pub at: UnixMs,
    pub touched: &'a mut BTreeSet<Name>,
    pub effects: Vec<Effect>,
}

impl Fleet {
    /// What follows for the rollout of one workload from how its nodes are now. `touched`: nodes
    /// whose assignment changes for it.
    pub(in crate::fleet) fn advance_rollout(
        &mut self,
        name: &Name,
        news: News<'_>,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Fleet {
            nodes, workloads, ..
        } = self;
        let Some(record) = workloads.get_mut(name) else {
            return Vec::new();
        };
        let mut look = Look {
            nodes,
            news,
            at,
            touched,
            effects: Vec::new(),
        };
        look.keep_up(record);
        let Some(mut rollout) = record.rollout.take() else {
            look.hear_trials(record, None);
            return look.effects;
        };
        look.hear_verdict(record, &mut rollout);
        let failed = match rollout.phase {
            phase if goes_forward(phase) => look.go_forward(record, &mut rollout),
            RolloutPhase::RollingBack => {
                look.come_back(record, &mut rollout);
                None
            }
            _ => {
                look.hear_stragglers(record, &mut rollout);
                None
            }
        };
        record.rollout = Some(rollout);
        let mut effects = look.effects;
        self.leave_guards_out(name, at);
        if let Some(verdict) = failed {
            effects.extend(self.take_back(name, Some(verdict), Person::default(), at, touched));
            let goes_back = |w: &WorkloadRecord| {
                let rollout = w.rollout.as_ref();
                rollout.is_some_and(|r| r.phase == RolloutPhase::RollingBack)
            };
            // Its first batch.
            if self.workloads.get(name).is_some_and(goes_back) {
                effects.extend(self.advance_rollout(name, News::All, at, touched));
            }
        }
        effects
    }
}

impl Look<'_> {
    pub(super) fn tell(&mut self, record: &WorkloadRecord, event: &str, message: String) {
        let event = emit(self.at, event, message).about_workload(&record.spec.name);
        self.effects.push(event.effect());
    }

    pub(super) fn online(&self, node: &Name) -> bool {
        let known = self.nodes.get(node);
        known.is_some_and(|n| n.presence == Presence::Online)
    }

    pub(super) fn news_of(&self, node: &Name) -> bool {
        self.news.concerns(node)
    }

    pub(super) fn next_generation(&self, node: &Name) -> u64 {
        self.nodes.get(node).map_or(0, |n| n.generation + 1)
    }

    /// Nodes that are gone are forgotten; new ones begin with what all had before.
    fn keep_up(&mut self, record: &mut WorkloadRecord) {
        let known = record.rollout.as_ref().map_or(0, |r| r.steps.len());
        // What changes placement calls this for every node.
        if self.news != News::All && known == record.placed.len() {
            return;
        }
        let placed = &record.placed;
        record.at.retain(|node, _| placed.contains(node));
        record.on_trial.retain(|node, _| placed.contains(node));
        let Some(rollout) = record.rollout.as_mut() else {
            return;
        };
        if !rollout.phase.is_active() || rollout.steps.keys().eq(placed.iter()) {
            return;
        }
        rollout.steps.retain(|node, _| placed.contains(node));
        for node in placed {
            if rollout.steps.contains_key(node) {
                continue;
            }
            let gets_wanted =
                rollout.phase == RolloutPhase::RollingBack || rollout.from == rollout.to;
            let state = if gets_wanted {
                StepState::Unchanged
            } else {
                record.at.insert(node.clone(), rollout.from);
                StepState::Waiting
            };
            rollout.steps.insert(node.clone(), Step::untold(state));
            self.touched.insert(node.clone());
        }
    }

    /// Canary, waiting for a person, or rolling. A verdict: it has failed, and is to be taken back.
    fn go_forward(
        &mut self,
        record: &mut WorkloadRecord,
        rollout: &mut Rollout,
    ) -> Option<Verdict> {
        if record.desired == Desired::Stopped {
            self.open_windows(record, rollout, None);
            rollout.reason = format!(
                "{} is stopped: the rollout goes on when it is started",
                record.spec.name
            );
            return None;
        }
        // An apply without one has ended the rollout.
        let update = record.spec.update.clone().unwrap_or_default();
        self.hear_superseded(record, rollout);
        let before = self.changing_now(rollout);
        let failed = self.hear(record, rollout, &update);
        let failed_nothing = failed.is_none();
        if let Some(verdict) = failed
            && let Some(verdict) = self.fail(record, rollout, &update, verdict)
        {
            return Some(verdict);
        }
        // A word of one node that is under way, which settles nothing: nobody else's turn comes by
        // it, and times have entries of their own.
        if before && failed_nothing && self.changing_now(rollout) {
            return None;
        }
        self.open_windows(record, rollout, Some(&update));
        let batch = self.change_some(record, rollout, &update);
        if self.has_succeeded(rollout) {
            self.succeed(record, rollout);
            return None;
        }
        if let Some(verdict) = self.progress_ended(record, rollout, &update) {
            if self.enough_are_well(rollout) {
                self.succeed(record, rollout);
                return None;
            }
            return self.fail(record, rollout, &update, verdict);
        }
        rollout.reason = reason_of(
            self.nodes,
            record,
            rollout,
            &update,
            batch.held_back,
            self.at,
        );
        None
    }

    /// The one node that there is news of can be heard, and is changing.
    fn changing_now(&self, rollout: &Rollout) -> bool {
        let News::Of(node) = self.news else {
            return false;
        };
        let step = rollout.steps.get(node);
        self.online(node) && step.is_some_and(|s| s.state == StepState::Changing)
    }

    /// What nodes say, and what time says of them; the first failure.
    fn hear(
        &mut self,
        record: &mut WorkloadRecord,
        rollout: &mut Rollout,
        update: &Update,
    ) -> Option<Verdict> {
        let mut failed = None;
        let mut healthy = Vec::new();
        // Of the others nothing was said, and their times have entries of their own.
        let heard: &mut dyn Iterator<Item = (&Name, &mut Step)> = match self.news {
            News::Of(node) => &mut rollout.steps.range_mut(node.clone()..=node.clone()),
            _ => &mut rollout.steps.iter_mut(),
        };
        for (name, step) in heard {
            if step.state != StepState::Changing {
                continue;
            }
            let mut passed = false;
            let mut verdict = None;
            if self.news.concerns(name) {
                match self.look_at(record, name, step) {
                    Sight::Healthy { passed: p, tried } => {
                        passed = p;
                        step.watched = tried;
                        step.healthy_since_ms.get_or_insert(self.at);
                    }
                    Sight::NotYet => step.healthy_since_ms = None,
                    Sight::Failed(_) if planted::is(Bug::TakesFailuresForHealth) => passed = true,
                    Sight::Failed(words) => verdict = Some(words),
                }
            }
            let held = well_until(step, update).is_some_and(|until| self.at >= until);
            if verdict.is_none() && (passed || held) {
                step.state = StepState::Healthy;
                healthy.push(name.clone());
                continue;
            }
            let late = !rollout.paused
                && step.healthy_since_ms.is_none()
                && healthy_by(
                    step,
                    update,
                    &record.spec,
                    record.on_trial.contains_key(name),
                )
                .is_some_and(|due| self.at >= due);
            if verdict.is_none() && late {
                verdict = Some(self.too_late(record, name, update));
            }
            if let Some(verdict) = verdict {
                step.state = StepState::Failed;
                step.healthy_since_ms = None;
                failed.get_or_insert(verdict);
            }
        }
        for name in healthy {
            rollout.progress_ms = self.at;
            // From now on it is not to go back by itself.
            if record.on_trial.remove(&name).is_some() {
                self.touched.insert(name);
            }
        }
        failed
    }

    /// How one node does that was told to change.
    pub(super) fn look_at(&self, record: &WorkloadRecord, name: &Name, step: &mut Step) -> Sight {
        let heard = self
            .nodes
            .get(name)
            .filter(|n| n.presence == Presence::Online);
        let Some(node) = heard else {
            step.counts_from_ms = None;
            return Sight::NotYet;
        };
        step.counts_from_ms.get_or_insert(self.at);
        let since = Since {
            generation: step.generation,
            at_ms: step.switched_ms.unwrap_or(0),
        };
        let revision = record.revision_on(name.as_str());
        sight(record, revision, name, node, since, self.at)
    }

    fn too_late(&self, record: &WorkloadRecord, name: &Name, update: &Update) -> Verdict {
        let observed = self
            .nodes
            .get(name)
            .and_then(|n| n.observed.get(&record.spec.name));
        let within = duration_text(update.limit_ms(&record.spec));
        let state = observed.map_or_else(
            || "nothing was reported of it".to_owned(),
            super::judge::words_of,
        );
        Verdict {
            node: Some(name.clone()),
            check: super::judge::check_on(record, name, self.nodes.get(name)),
            reason: format!("it did not become healthy within {within}: {state}"),
            last_output: observed.map(|o| o.last_output.clone()).unwrap_or_default(),
            at_ms: self.at,
            guessed: true,
        }
    }

    /// A failure: back (the verdict is returned), or held for a person.
    fn fail(
        &mut self,
        record: &WorkloadRecord,
        rollout: &mut Rollout,
        update: &Update,
        verdict: Verdict,
    ) -> Option<Verdict> {
        if update.auto_rollback && rollout.from != rollout.to {
            return Some(verdict);
        }
        // Held for an earlier failure already: one verdict is enough.
        if rollout.verdict.is_none() {
            let name = &record.spec.name;
            let to = &record.spec.version;
            let words = verdict_text(&verdict);
            self.tell(
                record,
                "rollout_failed",
                format!("the rollout of {name} to {to} failed: {words}"),
            );
            self.tell(
                record,
                "rollout_paused",
                format!(
                    "the rollout of {name} to {to} is held: {}",
                    ways_out(record, rollout)
                ),
            );
            rollout.verdict = Some(verdict);
        }
        rollout.paused = true;
        None
    }

    /// Looks which windows are open; `None`: no one is waited for.
    pub(super) fn open_windows(
        &mut self,
        record: &WorkloadRecord,
        rollout: &mut Rollout,
        update: Option<&Update>,
    ) {
        let waits = rollout
            .steps
            .values()
            .any(|s| s.state == StepState::Waiting);
        let now = match update.filter(|_| waits) {
            None => OpenWindows::default(),
            Some(update) => {
                let changes = opening(&update.windows, self.at);
                let downloads = opening(&update.download_windows, self.at);
                let next = [changes.next_ms, downloads.next_ms];
                OpenWindows {
                    changes: changes.open,
                    downloads: downloads.open,
                    next_ms: next.into_iter().flatten().min(),
                }
            }
        };
        if now.downloads != rollout.windows.downloads {
            // The record is without its rollout just now.
            let waiting = rollout
                .steps
                .iter()
                .filter(|(_, s)| s.state == StepState::Waiting);
            let told = waiting
                .filter(|(n, _)| record.would_fetch(n))
                .map(|(n, _)| n.clone());
            self.touched.extend(told);
        }
        rollout.windows = now;
    }

    /// Tells as many nodes to change as may now.
    pub(super) fn change_some(
        &mut self,
        record: &mut WorkloadRecord,
        rollout: &mut Rollout,
        update: &Update,
    ) -> Batch {
        if rollout.phase == RolloutPhase::Canary {
            self.judge_canaries(record, rollout, update);
        }
        let most = match rollout.phase {
            _ if rollout.paused || !rollout.windows.changes => 0,
            RolloutPhase::Canary => {
                let (begun, wanted) = self.canaries(rollout, update);
                wanted.saturating_sub(begun)
            }
            // Of one that has succeeded: those that could not be heard before.
            RolloutPhase::Rolling | RolloutPhase::Succeeded => usize::MAX,
            _ => 0,
        };
        let changing = count(rollout, StepState::Changing);
        let at_once = update.max_parallel.of(rollout.steps.len());
        let most = match planted::is(Bug::IgnoresMaxParallel) {
            true => most,
            false => most.min(at_once.saturating_sub(changing)),
        };
        let canary = rollout.phase == RolloutPhase::Canary;
        let batch = choose(self.nodes, record, rollout, update, most, canary);
        if batch.nodes.is_empty() {
            return batch;
        }
        if changing == 0 {
            rollout.progress_ms = self.at;
        }
        for node in &batch.nodes {
            self.switch(record, rollout, node, update);
        }
        let (name, to) = (record.spec.name.clone(), record.spec.version.clone());
        let what = if canary { "canaries" } else { "a batch" };
        let message = format!("{name} changes to {to} on {what}: {}", list(&batch.nodes));
        self.tell(record, "rollout_batch", message);
        batch
    }

    /// One node is told to change.
    pub(super) fn switch(
        &mut self,
        record: &mut WorkloadRecord,
        rollout: &mut Rollout,
        node: &Name,
        update: &Update,
    ) {
        record.at.remove(node);
        if update.auto_rollback && rollout.from != rollout.to {
            record.on_trial.insert(node.clone(), rollout.from);
        } else {
            record.on_trial.remove(node);
        }
        let generation = self.next_generation(node);
        let step = Step::told(StepState::Changing, self.at, self.online(node), generation);
        rollout.steps.insert(node.clone(), step);
        self.touched.insert(node.clone());
    }

    /// Canaries that were told to change, and how many there are to be: no more than can be heard.
    fn canaries(&self, rollout: &Rollout, update: &Update) -> (usize, usize) {
        let begun = rollout.steps.values().filter(|s| s.switched_ms.is_some());
        let begun = begun.count();
        let could = rollout
            .steps
            .iter()
            .filter(|(n, s)| s.state == StepState::Waiting && self.online(n));
        (begun, (begun + could.count()).min(update.canary as usize))
    }

    fn judge_canaries(&mut self, record: &WorkloadRecord, rollout: &mut Rollout, update: &Update) {
        let (begun, wanted) = self.canaries(rollout, update);
        let open = count(rollout, StepState::Changing) + count(rollout, StepState::Failed);
        let none_wanted = update.canary == 0;
        if open > 0 || begun < wanted || (begun == 0 && !none_wanted) {
            return;
        }
        let others = count(rollout, StepState::Waiting) > 0;
        rollout.phase = match update.auto_promote || !others || none_wanted {
            true => RolloutPhase::Rolling,
            false => RolloutPhase::AwaitingPromotion,
        };
        if begun > 0 {
            let (name, to) = (&record.spec.name, &record.spec.version);
            let next = match rollout.phase {
                RolloutPhase::AwaitingPromotion => {
                    format!("; `fleetctl rollout promote {name}` goes on")
                }
                _ => String::new(),
            };
            let message = format!("the canaries of {name} {to} are healthy{next}");
            self.tell(record, "rollout_canaries_healthy", message);
        }
    }
}

pub(super) fn are(nodes: usize) -> String {
    match nodes {
        1 => "1 node is".into(),
        n => format!("{n} nodes are"),
    }
}

pub(super) fn count(rollout: &Rollout, state: StepState) -> usize {
    rollout.steps.values().filter(|s| s.state == state).count()
}

/// Until when a node that was told to change (or to go back) to `spec` must be healthy.
pub(super) fn healthy_by(
    step: &Step,
    update: &Update,
    spec: &Workload,
    guarded: bool,
) -> Option<UnixMs> {
    let first = if guarded { AGENT_FIRST_MS } else { 0 };
    let within = update.limit_ms(spec).saturating_add(first);
    step.counts_from_ms.map(|from| from.saturating_add(within))
}

/// Until when a node that says that it is healthy must not say anything else, to count as such.
/// Where its agent watches a guarded change there is no such time: it says itself that it has been
/// healthy for long enough, and a node that has died since has not said so. Where nobody watches
/// (`auto_rollback = false`, nodes without MQTT, older agents) silence counts as health: a
/// `min_healthy_time` that is shorter than `silent_after` does not find there that a version takes
/// its whole node down.
pub(super) fn well_until(step: &Step, update: &Update) -> Option<UnixMs> {
    let since = step.healthy_since_ms.filter(|_| !step.watched)?;
    Some(since.saturating_add(update.min_healthy_time_ms))
}

/// Until when another node must have become healthy: counted while one of them is to.
pub(super) fn progress_by(rollout: &Rollout, update: &Update) -> Option<UnixMs> {
    let runs = !rollout.paused && count(rollout, StepState::Changing) > 0;
    runs.then(|| {
        rollout
            .progress_ms
            .saturating_add(update.progress_deadline_ms)
    })
}
