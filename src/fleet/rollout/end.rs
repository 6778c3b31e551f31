//! How a rollout that goes forward ends: every node that can be heard is healthy, or time is up.

use super::super::WorkloadRecord;
use super::{
    OpenWindows, RevisionVerdict, Rollout, RolloutPhase, Step, StepState, Verdict,
    advance::{Look, are, count, progress_by},
    nodes_text,
    say::list,
};
use crate::{
    manifest::quantity::duration_text,
    model::{Name, Update},
};

impl Look<'_> {
    /// Every node that can be heard is healthy, and they are more than those that cannot: a few
    /// nodes say nothing of a version while a whole site is away.
    pub(super) fn has_succeeded(&self, rollout: &Rollout) -> bool {
        let (mut healthy, mut unheard) = (0, 0);
        for (node, step) in &rollout.steps {
            match step.state {
                StepState::Changing | StepState::Failed => return false,
                StepState::Waiting if self.online(node) => return false,
                StepState::Healthy => healthy += 1,
                StepState::Waiting => unheard += 1,
                StepState::Returning | StepState::Returned | StepState::Unchanged => {}
            }
        }
        // None of either: nobody that it was to change is there any more.
        healthy > unheard || healthy + unheard == 0
    }

    /// Nodes fell silent in the middle of their change, and all the others are well: more than
    /// those that are not heard. They decide by themselves.
    pub(super) fn enough_are_well(&self, rollout: &Rollout) -> bool {
        let open = |(node, step): (&Name, &Step)| match step.state {
            StepState::Failed => true,
            StepState::Changing | StepState::Waiting => self.online(node),
            StepState::Returning
            | StepState::Healthy
            | StepState::Returned
            | StepState::Unchanged => false,
        };
        !rollout.steps.iter().any(open)
            && count(rollout, StepState::Healthy)
                > count(rollout, StepState::Changing) + count(rollout, StepState::Waiting)
    }

    pub(super) fn progress_ended(
        &self,
        record: &WorkloadRecord,
        rollout: &Rollout,
        update: &Update,
    ) -> Option<Verdict> {
        let due = progress_by(rollout, update)?;
        if self.at < due {
            return None;
        }
        let changing = rollout
            .steps
            .iter()
            .filter(|(_, s)| s.state == StepState::Changing);
        let open: Vec<Name> = changing.map(|(n, _)| n.clone()).collect();
        Some(Verdict {
            node: (open.len() == 1).then(|| open[0].clone()),
            check: "progress deadline".into(),
            reason: format!(
                "no further node has become healthy for {}; {} did not: {}",
                duration_text(update.progress_deadline_ms),
                nodes_text(open.len()),
                list(&open)
            ),
            last_output: open
                .iter()
                .filter_map(|n| self.nodes.get(n)?.observed.get(&record.spec.name))
                .map(|o| o.last_output.clone())
                .find(|o| !o.is_empty())
                .unwrap_or_default(),
            at_ms: self.at,
            guessed: true,
        })
    }

    /// It is done. Nodes that cannot be heard follow when they can, in batches as the others did.
    pub(super) fn succeed(&mut self, record: &mut WorkloadRecord, rollout: &mut Rollout) {
        let healthy = count(rollout, StepState::Healthy);
        let unheard = count(rollout, StepState::Changing) + count(rollout, StepState::Waiting);
        rollout.phase = RolloutPhase::Succeeded;
        rollout.paused = false;
        rollout.windows = OpenWindows::default();
        rollout.ended_ms = Some(self.at);
        rollout.reason = match (healthy, unheard) {
            (0, _) if rollout.steps.is_empty() => {
                "no node runs it any more: where it is placed next, it is on trial".into()
            }
            (0, _) => "there was nothing to change".into(),
            (_, 0) => format!("{} healthy on it", are(healthy)),
            _ => format!(
                "{} healthy on it; {} cannot be heard and will follow",
                are(healthy),
                nodes_text(unheard)
            ),
        };
        // Those that had it before have not shown now that it works.
        let shown = |s: &Step| s.state == StepState::Healthy && s.switched_ms.is_some();
        if rollout.steps.values().any(shown)
            && let Some(to) = record.edition_mut(rollout.to)
        {
            to.verdict = RevisionVerdict::Good;
        }
        let (name, to) = (&record.spec.name, &record.spec.version);
        let message = format!("{name} was rolled out to {to}: {}", rollout.reason);
        self.tell(record, "rollout_succeeded", message);
    }
}
