//! The way back: of a whole rollout that failed, and of single nodes that got the new version after
//! it had succeeded.

use super::super::{Effect, Fleet, WorkloadRecord, event::emit};
use super::{
    OpenWindows, RevisionVerdict, Rollout, RolloutPhase, Step, StepState, Verdict,
    advance::Look,
    begin::{become_wanted, version_of},
    judge::Sight,
    nodes_text,
    say::{list, verdict_text},
};
use crate::model::{Desired, Name, Presence, UnixMs};
use std::collections::BTreeSet;

impl Fleet {
    /// The rollout that is under way leads back to where it came from, at once on every node that
    /// has changed. `verdict`: why it failed; none where a person (`by`) wants it.
    pub(super) fn take_back(
        &mut self,
        name: &Name,
        verdict: Option<Verdict>,
        by: Option<String>,
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
            if let Some(bad) = record.edition_mut(rollout.to) {
                bad.verdict = RevisionVerdict::Bad;
            }
        }
        rollout.verdict = verdict;
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
        let good = record.edition(rollout.from).cloned();
        let Some(good) = good else {
            record.rollout = Some(rollout);
            return effects;
        };
        for (node, step) in &mut rollout.steps {
            let has = record.revision_on(node.as_str());
            let changed = record.hash_at(has) != good.spec_hash;
            let known = nodes.get(node);
            *step = if changed {
                let online = known.is_some_and(|n| n.presence == Presence::Online);
                let generation = known.map_or(0, |n| n.generation + 1);
                Step::told(StepState::Returned, at, online, generation)
            } else {
                Step::untold(StepState::Returned)
            };
        }
        let going = rollout
            .steps
            .values()
            .filter(|s| s.switched_ms.is_some())
            .count();
        rollout.phase = RolloutPhase::RollingBack;
        rollout.reason = format!("{} back to {good_version}", go(going));
        record.at.clear();
        record.on_trial.clear();
        record.rollout = Some(rollout);
        become_wanted(record, good.spec, good.spec_hash, by, good.verdict, at);
        record.prune_history();
        touched.extend(self.decide(BTreeSet::from([name.clone()])));
        effects
    }
}

fn go(nodes: usize) -> String {
    match nodes {
        1 => "1 node goes".into(),
        n => format!("{n} nodes go"),
    }
}

impl Look<'_> {
    /// Nodes that changed are told to go back, and are waited for: those that can be heard, and not
    /// for ever.
    pub(super) fn come_back(&mut self, record: &WorkloadRecord, rollout: &mut Rollout) {
        let update = record.spec.update.clone().unwrap_or_default();
        let stopped = record.desired == Desired::Stopped;
        let mut open = 0;
        for (name, step) in &mut rollout.steps {
            if step.state != StepState::Returned
                || step.switched_ms.is_none()
                || step.healthy_since_ms.is_some()
                || stopped
            {
                continue;
            }
            if self.news_of(name)
                && let Sight::Healthy { .. } = self.look_at(record, name, step)
            {
                step.healthy_since_ms = Some(self.at);
                continue;
            }
            match step.counts_from_ms {
                // It cannot be heard: it goes back when it can.
                None => {}
                Some(from) if self.at >= from.saturating_add(update.healthy_deadline_ms) => {
                    step.state = StepState::Failed;
                }
                Some(_) => open += 1,
            }
        }
        let (name, to) = (&record.spec.name, &record.spec.version);
        if open > 0 {
            rollout.reason = format!("{} back to {to}", go(open));
            return;
        }
        let ill = rollout
            .steps
            .iter()
            .filter(|(_, s)| s.state == StepState::Failed);
        let ill: Vec<Name> = ill.map(|(n, _)| n.clone()).collect();
        rollout.phase = RolloutPhase::RolledBack;
        rollout.ended_ms = Some(self.at);
        let why = match &rollout.verdict {
            Some(verdict) => format!("it failed {}", verdict_text(verdict)),
            None => "a person took it back".into(),
        };
        rollout.reason = match ill.len() {
            0 => format!("{why}; all are back on {to}"),
            n => format!(
                "{why}; {} not healthy on {to} either: {}",
                match n {
                    1 => "1 node is".to_owned(),
                    n => format!("{n} nodes are"),
                },
                list(&ill)
            ),
        };
        let message = format!("{name} was rolled back to {to}: {}", rollout.reason);
        self.tell(record, "rollout_rolled_back", message);
    }

    /// After the end: nodes that were told to change late, or were left on trial.
    pub(super) fn hear_stragglers(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) {
        let asked: Vec<(Name, u64)> = record
            .on_trial
            .iter()
            .filter(|(n, _)| self.news_of(n))
            .map(|(n, back)| (n.clone(), *back))
            .collect();
        for (node, back) in asked {
            let mut step = rollout
                .steps
                .get(&node)
                .cloned()
                .unwrap_or_else(|| Step::untold(StepState::Changing));
            let seen = self.look_at(record, &node, &mut step);
            match seen {
                Sight::NotYet => {}
                // Its agent watches it, and will say.
                Sight::Healthy {
                    passed: false,
                    tried: true,
                } => {}
                Sight::Healthy { .. } => {
                    step.state = StepState::Healthy;
                    record.on_trial.remove(&node);
                    self.touched.insert(node.clone());
                }
                Sight::Failed(verdict) => {
                    step.state = StepState::Failed;
                    let tried = version_of(record, record.revision_on(node.as_str()));
                    record.on_trial.remove(&node);
                    if back == record.revision {
                        record.at.remove(&node);
                    } else {
                        record.at.insert(node.clone(), back);
                    }
                    self.touched.insert(node.clone());
                    let name = record.spec.name.clone();
                    let message = format!(
                        "{name} on {node} stays on {}, {tried} failed there: {}",
                        version_of(record, back),
                        verdict_text(&verdict)
                    );
                    let event = emit(self.at, "rollout_straggler_failed", message);
                    let event = event.about_workload(&name).about_node(&node);
                    self.effects.push(event.effect());
                }
            }
            if rollout.steps.contains_key(&node) {
                rollout.steps.insert(node, step);
            }
        }
        let waits = |r: &Rollout| r.steps.values().any(|s| s.state == StepState::Waiting);
        let succeeded = rollout.phase == RolloutPhase::Succeeded;
        if succeeded && waits(rollout) && record.desired == Desired::Running {
            let update = record.spec.update.clone().unwrap_or_default();
            self.open_windows(record, rollout, Some(&update));
            self.change_some(record, rollout, &update);
        }
        let unheard = rollout
            .steps
            .values()
            .filter(|s| matches!(s.state, StepState::Changing | StepState::Waiting))
            .count();
        if rollout.phase == RolloutPhase::Succeeded && unheard == 0 && !rollout.steps.is_empty() {
            let failed = rollout
                .steps
                .iter()
                .filter(|(_, s)| s.state == StepState::Failed);
            let failed: Vec<Name> = failed.map(|(n, _)| n.clone()).collect();
            let healthy = rollout.steps.len() - failed.len();
            rollout.reason = match failed.is_empty() {
                true => format!("{} healthy on it", super::advance::are(healthy)),
                false => format!(
                    "{} on it; {} back by themselves: {}",
                    nodes_text(healthy),
                    go(failed.len()),
                    list(&failed)
                ),
            };
        }
    }
}
