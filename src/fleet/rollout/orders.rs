//! What people order of a rollout.

use super::super::{Effect, Fleet, Refusal, WorkloadRecord, event::emit};
use super::{
    Doer, OpenWindows, Person, Revision, RevisionVerdict, RolloutOrder, RolloutPhase, Step,
    StepState,
    begin::{take_spec, version_of},
    say::take_back_text,
    tell::goes_forward,
};
use crate::model::{Name, UnixMs};
use std::collections::BTreeSet;

impl Fleet {
    /// A person's order to a rollout.
    pub(in crate::fleet) fn order_rollout(
        &mut self,
        name: &Name,
        order: &RolloutOrder,
        by: Person,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .workloads
            .get_mut(name)
            .ok_or_else(|| Refusal::no_workload(name))?;
        let mut touched = BTreeSet::new();
        let mut effects = match order {
            RolloutOrder::Pause => pause(record, at)?,
            RolloutOrder::Resume => resume(record, at)?,
            RolloutOrder::Promote => promote(record)?,
            RolloutOrder::Abort => abort(record, at, &mut touched)?,
            RolloutOrder::Rollback { to } => self.roll_back(name, *to, by, at, &mut touched)?,
        };
        let names = BTreeSet::from([name.clone()]);
        effects.extend(self.advance_all(&names, super::News::All, at, &mut touched));
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    /// Whether a revision could be wanted again.
    pub(super) fn may_become(&self, record: &WorkloadRecord, revision: u64) -> Result<(), Refusal> {
        let spec = record.spec_at(revision);
        self.check_order(std::slice::from_ref(&**spec), &[])?;
        self.check_sizes(&[spec])
    }

    fn roll_back(
        &mut self,
        name: &Name,
        to: Option<u64>,
        by: Person,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Result<Vec<Effect>, Refusal> {
        let Some(record) = self.workloads.get(name) else {
            return Err(Refusal::no_workload(name));
        };
        let rollout = record.rollout.as_ref().filter(|r| r.phase.is_active());
        if rollout.is_some_and(|r| r.phase == RolloutPhase::RollingBack) {
            let message = format!("{name} is being rolled back already");
            return Err(Refusal::Conflict(message));
        }
        let target = match (to, rollout) {
            (Some(to), _) => known(record, name, to)?.revision,
            (None, Some(rollout)) if rollout.from != rollout.to => rollout.from,
            (None, _) => earlier(record, name)?,
        };
        if target == record.revision {
            let message = format!("revision {target} of {name} is the one that is wanted");
            return Err(Refusal::Conflict(message));
        }
        self.may_become(record, target)?;
        let back = rollout
            .is_some_and(|r| r.from != r.to && record.hash_at(r.from) == record.hash_at(target));
        if back {
            let Some(record) = self.workloads.get_mut(name) else {
                return Err(Refusal::no_workload(name));
            };
            if let Some(rollout) = record.rollout.as_mut() {
                rollout.from = target;
            }
            return Ok(self.take_back(name, None, by, at, touched));
        }
        let Fleet {
            nodes, workloads, ..
        } = self;
        let Some(record) = workloads.get_mut(name) else {
            return Err(Refusal::no_workload(name));
        };
        let spec = record.spec_at(target).clone();
        let verdict = record.edition(target).map(|r| r.verdict);
        // Wanted again, it is as if it had never been taken back.
        let verdict = verdict.filter(|v| *v != RevisionVerdict::TakenBack);
        let verdict = verdict.unwrap_or_default();
        take_from_the_good(record);
        let doer = Doer { by, guarded: false };
        let mut effects = vec![
            emit(
                at,
                "workload_applied",
                format!("{name} was changed back to {}", spec.version),
            )
            .about_workload(name)
            .effect(),
        ];
        effects.extend(take_spec(nodes, record, spec, doer, at, touched));
        let wanted = record.revision;
        if let Some(wanted) = record.edition_mut(wanted) {
            wanted.verdict = verdict;
        }
        // What is known to work needs no canaries, and nobody who promotes it.
        if verdict == RevisionVerdict::Good
            && let Some(rollout) = record.rollout.as_mut()
            && rollout.phase == RolloutPhase::Canary
        {
            rollout.phase = RolloutPhase::Rolling;
        }
        touched.extend(self.decide(BTreeSet::from([name.clone()])));
        Ok(effects)
    }
}

fn known<'a>(record: &'a WorkloadRecord, name: &Name, to: u64) -> Result<&'a Revision, Refusal> {
    record.edition(to).ok_or_else(|| {
        let known = record.history.iter().map(|r| r.revision.to_string());
        let known: Vec<String> = known.collect();
        // `NotFound` closes the quotes.
        Refusal::NotFound {
            what: "revision",
            name: match known.is_empty() {
                true => format!("{to}` of `{name}"),
                false => format!("{to}` of {name}; there are `{}", known.join("`, `")),
            },
        }
    })
}

/// What a person takes back is nothing to go back to by itself, under whatever revision it was
/// applied.
fn take_from_the_good(record: &mut WorkloadRecord) {
    let left = record.spec_hash.clone();
    let left = record.history.iter_mut().filter(|r| r.spec_hash == left);
    for revision in left.filter(|r| r.verdict != RevisionVerdict::Bad) {
        revision.verdict = RevisionVerdict::TakenBack;
    }
}

/// The last good revision before the wanted one; where none is known to be good, the last other one
/// that nothing is known of.
fn earlier(record: &WorkloadRecord, name: &Name) -> Result<u64, Refusal> {
    record.earlier().ok_or_else(|| {
        Refusal::Conflict(format!(
            "{name} has no earlier revision to go back to{}",
            match record
                .history
                .iter()
                .any(|r| r.spec_hash != record.spec_hash)
            {
                true => format!(
                    " that has not failed and was not taken back: name one of `fleetctl workload \
                     history {name}` with `fleetctl workload rollback {name} --to REVISION`"
                ),
                false => ": apply another version".to_owned(),
            }
        ))
    })
}

/// The rollout that nodes change by, or would.
fn forward(record: &mut WorkloadRecord) -> Result<(Name, String, &mut super::Rollout), Refusal> {
    let name = record.spec.name.clone();
    let to = match &record.rollout {
        Some(rollout) => version_of(record, rollout.to),
        None => String::new(),
    };
    match record.rollout.as_mut() {
        Some(rollout) if goes_forward(rollout.phase) => Ok((name, to, rollout)),
        Some(rollout) if rollout.phase == RolloutPhase::RollingBack => Err(Refusal::Conflict(
            format!("{name} is being rolled back: wait until it is, or apply something else"),
        )),
        _ => Err(Refusal::Conflict(format!(
            "{name} has no rollout under way"
        ))),
    }
}

fn event(name: &Name, at: UnixMs, event: &str, message: String) -> Vec<Effect> {
    vec![emit(at, event, message).about_workload(name).effect()]
}

fn pause(record: &mut WorkloadRecord, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
    let (name, to, rollout) = forward(record)?;
    if rollout.paused {
        return Err(Refusal::Conflict(format!(
            "the rollout of {name} is paused already"
        )));
    }
    rollout.paused = true;
    let message = format!("the rollout of {name} to {to} was paused");
    Ok(event(&name, at, "rollout_paused", message))
}

fn resume(record: &mut WorkloadRecord, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
    let aborted = record
        .rollout
        .as_ref()
        .is_some_and(|r| r.phase == RolloutPhase::Aborted && !record.at.is_empty());
    if let Some(rollout) = record.rollout.as_mut().filter(|_| aborted) {
        // Taken up again where it was left; healthy canaries are found to be so at once.
        rollout.phase = RolloutPhase::Canary;
        rollout.paused = true;
        rollout.ended_ms = None;
        for (node, step) in &mut rollout.steps {
            // One that has the old version (again) waits for its turn, whatever became of it.
            if record.at.contains_key(node) {
                *step = Step::untold(StepState::Waiting);
            }
        }
        rollout.steps.retain(|n, _| record.placed.contains(n));
        for node in &record.placed {
            let state = match record.at.contains_key(node) {
                true => StepState::Waiting,
                // It was placed there since.
                false => StepState::Unchanged,
            };
            let step = rollout.steps.entry(node.clone());
            step.or_insert_with(|| Step::untold(state));
        }
    }
    let (name, to, rollout) = forward(record)?;
    if !rollout.paused {
        return Err(Refusal::Conflict(format!(
            "the rollout of {name} is not paused"
        )));
    }
    rollout.paused = false;
    rollout.verdict = None;
    restart_times(rollout, at);
    let message = format!("the rollout of {name} to {to} goes on");
    Ok(event(&name, at, "rollout_resumed", message))
}

/// Every time that is counted begins anew, and what failed is tried again.
pub(super) fn restart_times(rollout: &mut super::Rollout, at: UnixMs) {
    rollout.progress_ms = at;
    for step in rollout.steps.values_mut() {
        if step.state == StepState::Failed {
            step.state = StepState::Changing;
        }
        if step.state == StepState::Changing {
            step.again(at);
        }
    }
}

fn promote(record: &mut WorkloadRecord) -> Result<Vec<Effect>, Refusal> {
    let (name, _, rollout) = forward(record)?;
    match rollout.phase {
        RolloutPhase::AwaitingPromotion => {
            rollout.phase = RolloutPhase::Rolling;
            Ok(Vec::new())
        }
        RolloutPhase::Canary => Err(Refusal::Conflict(format!(
            "the canaries of {name} are not known to be healthy yet"
        ))),
        _ => Err(Refusal::Conflict(format!(
            "the rollout of {name} does not wait for promotion"
        ))),
    }
}

fn abort(
    record: &mut WorkloadRecord,
    at: UnixMs,
    touched: &mut BTreeSet<Name>,
) -> Result<Vec<Effect>, Refusal> {
    let fetching: Vec<Name> = record
        .at
        .keys()
        .filter(|n| record.would_fetch(n))
        .cloned()
        .collect();
    let waits = !record.at.is_empty();
    let rollback = match &record.rollout {
        Some(rollout) => take_back_text(record, rollout),
        None => String::new(),
    };
    let (name, to, rollout) = forward(record)?;
    if rollout.windows.downloads {
        touched.extend(fetching);
    }
    let changed = rollout
        .steps
        .values()
        .filter(|s| !matches!(s.state, StepState::Waiting))
        .count();
    let resume = match waits {
        true => format!("; `fleetctl rollout resume {name}` takes it up again"),
        false => String::new(),
    };
    rollout.phase = RolloutPhase::Aborted;
    rollout.paused = false;
    rollout.windows = OpenWindows::default();
    rollout.ended_ms = Some(at);
    rollout.reason = format!(
        "a person ended it: {changed} of {} on {to}, the others as before{resume}; {rollback}",
        super::nodes_text(rollout.steps.len())
    );
    let message = format!("the rollout of {name} to {to} was aborted");
    Ok(event(&name, at, "rollout_aborted", message))
}
