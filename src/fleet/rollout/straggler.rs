//! Single nodes: those that get the new version after the rollout is over, those that have a version
//! on trial whose rollout another one has replaced, and those that join when a version has not been
//! shown to work yet.

use super::super::{
    WorkloadRecord,
    event::emit,
    upgrade::{is_agent, is_as_installed},
};
use super::{
    RevisionVerdict, Rollout, RolloutPhase, Step, StepState, Verdict,
    advance::{Look, are},
    back::go,
    begin::version_of,
    judge::Sight,
    nodes_text,
    say::{list, verdict_text},
};
use crate::model::{Desired, Name};

impl WorkloadRecord {
    /// It was placed on `node`. What has not been shown to work is on trial there: scaling a workload
    /// to nothing in the middle of its rollout makes no good version of it. While a rollout goes on,
    /// the node begins with what all had before, and waits for its turn.
    pub(in crate::fleet) fn take_in(&mut self, node: &Name) {
        self.traces.remove(node);
        if self.rollout.as_ref().is_some_and(|r| r.phase.is_active()) {
            return;
        }
        if let Some(back) = self.unproven() {
            self.on_trial.insert(node.clone(), back);
        }
    }

    /// What is wanted is not known to work: the revision that is.
    fn unproven(&self) -> Option<u64> {
        let update = self.spec.update.as_ref()?;
        let wanted = self.edition(self.revision)?;
        // Another release of the agent is tried on every board anew.
        let proven = match is_agent(&self.spec) {
            true => is_as_installed(&self.spec),
            false => wanted.verdict == RevisionVerdict::Good,
        };
        if !update.auto_rollback || proven {
            return None;
        }
        self.newest_good(&self.spec_hash)
    }
}

impl Look<'_> {
    /// Nodes that wait for their turn with a version on trial whose rollout was replaced: what
    /// became of it is noted when they say it, not when their turn comes.
    pub(super) fn hear_superseded(&mut self, record: &mut WorkloadRecord, rollout: &Rollout) {
        let waits = |node: &Name| {
            let step = rollout.steps.get(node);
            step.is_some_and(|s| s.state == StepState::Waiting)
        };
        for (node, back) in self.on_trial(record, waits) {
            let mut step = Step::untold(StepState::Waiting);
            match self.look_at(record, &node, &mut step) {
                Sight::Failed(verdict) => {
                    let tried = record.revision_on(node.as_str());
                    if let Some(tried) = record.edition_mut(tried)
                        && tried.verdict == RevisionVerdict::Untried
                    {
                        tried.verdict = RevisionVerdict::Bad;
                    }
                    self.note_failure(record, &node, tried, back, &verdict);
                    record.at.insert(node, back);
                }
                Sight::Healthy { passed: true, .. } => {
                    record.on_trial.remove(&node);
                    self.touched.insert(node);
                }
                Sight::Healthy { .. } | Sight::NotYet => {}
            }
        }
    }

    /// Nodes on trial that there is news of.
    fn on_trial(&self, record: &WorkloadRecord, which: impl Fn(&Name) -> bool) -> Vec<(Name, u64)> {
        let asked = record.on_trial.iter();
        let asked = asked.filter(|(n, _)| self.news_of(n) && which(n));
        asked.map(|(n, back)| (n.clone(), *back)).collect()
    }

    fn note_failure(
        &mut self,
        record: &mut WorkloadRecord,
        node: &Name,
        tried: u64,
        back: u64,
        verdict: &Verdict,
    ) {
        record.on_trial.remove(node);
        self.touched.insert(node.clone());
        let name = &record.spec.name;
        let message = format!(
            "{name} on {node} stays on {}, {} failed there: {}",
            version_of(record, back),
            version_of(record, tried),
            verdict_text(verdict)
        );
        let event = emit(self.at, "rollout_straggler_failed", message);
        let event = event.about_workload(name).about_node(node);
        self.effects.push(event.effect());
    }

    /// Whom no rollout waits for: nodes that were told to change late, were left on trial, or were
    /// placed there with what is not known to work.
    pub(super) fn hear_trials(
        &mut self,
        record: &mut WorkloadRecord,
        mut rollout: Option<&mut Rollout>,
    ) {
        let waits = |node: &Name| {
            let step = rollout.as_ref().and_then(|r| r.steps.get(node));
            step.is_some_and(|s| s.state == StepState::Waiting)
        };
        for (node, back) in self.on_trial(record, |n| !waits(n)) {
            let known = rollout.as_ref().and_then(|r| r.steps.get(&node));
            let mut step = known
                .cloned()
                .unwrap_or_else(|| Step::untold(StepState::Changing));
            let seen = self.look_at(record, &node, &mut step);
            let has = record.revision_on(node.as_str());
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
                    if has == record.revision
                        && let Some(shown) = record.edition_mut(has)
                        && shown.verdict == RevisionVerdict::Untried
                    {
                        shown.verdict = RevisionVerdict::Good;
                    }
                }
                Sight::Failed(verdict) => {
                    step.state = StepState::Failed;
                    self.note_failure(record, &node, has, back, &verdict);
                    if back == record.revision {
                        record.at.remove(&node);
                    } else {
                        record.at.insert(node.clone(), back);
                    }
                }
            }
            if let Some(known) = rollout.as_mut().and_then(|r| r.steps.get_mut(&node)) {
                *known = step;
            }
        }
    }

    /// After the end: who could not be heard before, and who is still on trial.
    pub(super) fn hear_stragglers(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) {
        self.hear_trials(record, Some(rollout));
        if rollout.phase == RolloutPhase::RolledBack {
            return self.hear_returning(record, rollout);
        }
        self.hear_superseded(record, rollout);
        if rollout.phase != RolloutPhase::Succeeded {
            return;
        }
        let waits = |r: &Rollout| r.steps.values().any(|s| s.state == StepState::Waiting);
        if waits(rollout) && record.desired == Desired::Running {
            let update = record.spec.update.clone().unwrap_or_default();
            self.open_windows(record, rollout, Some(&update));
            self.change_some(record, rollout, &update);
        }
        let unheard = rollout
            .steps
            .values()
            .filter(|s| matches!(s.state, StepState::Changing | StepState::Waiting))
            .count();
        if unheard > 0 || rollout.steps.is_empty() {
            return;
        }
        let failed = rollout
            .steps
            .iter()
            .filter(|(_, s)| s.state == StepState::Failed);
        let failed: Vec<Name> = failed.map(|(n, _)| n.clone()).collect();
        let healthy = rollout.steps.len() - failed.len();
        rollout.reason = match failed.is_empty() {
            true => format!("{} healthy on it", are(healthy)),
            false => format!(
                "{} on it; {} back by themselves: {}",
                nodes_text(healthy),
                go(failed.len()),
                list(&failed)
            ),
        };
    }
}
