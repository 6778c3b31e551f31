//! Inputs that say how things are: what runtimes have, and how operations ended.

use super::{
    Action, Now, OpOutcome, OperationId, Runtime, Supervisor,
    backoff::stable_after_ms,
    instance::{Current, Instance, Operation, OperationKind, Status},
};
use crate::{
    model::{InstanceState, Name, RuntimeKind},
    runtime::{Found, FoundStatus, Launched, Progress, RuntimeError},
};
use std::collections::BTreeMap;

impl Supervisor {
    /// A runtime told everything that it has.
    pub(super) fn listed(&mut self, now: Now, runtime: RuntimeKind, found: Vec<Found>) {
        let back = matches!(
            self.runtimes.insert(runtime, Runtime::Listed),
            Some(Runtime::Lost(_))
        );
        if back {
            self.changed = true;
        }
        let mut by_workload: BTreeMap<Name, Vec<Found>> = BTreeMap::new();
        for f in found {
            by_workload.entry(f.workload.clone()).or_default().push(f);
        }
        for name in by_workload.keys() {
            if !self.instances.contains_key(name) {
                self.instances
                    .insert(name.clone(), Instance::new(now, name.clone()));
            }
        }
        for (name, instance) in &mut self.instances {
            let mut found = by_workload.remove(name).unwrap_or_default();
            // An operation under way changes this very thing; look when it has ended.
            if instance
                .operation
                .as_ref()
                .is_some_and(|o| o.runtime == runtime)
            {
                instance.look_again = true;
                continue;
            }
            let wanted = instance.assigned.as_ref().map(|a| a.spec_hash.as_str());
            let rank = |f: &Found| {
                let runs = matches!(f.status, FoundStatus::Running { .. });
                (Some(f.spec_hash.as_str()) == wanted, runs)
            };
            found.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.handle.cmp(&b.handle)));
            instance.leftovers.retain(|(r, _)| *r != runtime);
            let elsewhere = instance
                .current
                .as_ref()
                .is_some_and(|c| c.runtime != runtime);
            let mut rest = found.into_iter();
            match rest.next() {
                Some(best) if !elsewhere => instance.adopt(now, runtime, best),
                Some(other) => instance.leftovers.push((runtime, other.handle)),
                None if !elsewhere => instance.current = None,
                None => {}
            }
            instance.leftovers.extend(rest.map(|f| (runtime, f.handle)));
        }
    }

    /// One instance was looked at.
    pub(super) fn observed(&mut self, now: Now, runtime: RuntimeKind, found: Found) {
        let Some(instance) = self.instances.get_mut(&found.workload) else {
            return;
        };
        if instance.operation.is_some() {
            instance.look_again = true;
            return;
        }
        let ours = |c: &Current| c.runtime == runtime && c.handle == found.handle;
        if instance.current.as_ref().is_some_and(ours) {
            instance.adopt(now, runtime, found);
        }
    }

    /// One instance is gone, though nobody here removed it.
    pub(super) fn gone(&mut self, runtime: RuntimeKind, handle: &str) {
        for instance in self.instances.values_mut() {
            instance
                .leftovers
                .retain(|(r, h)| (*r, h.as_str()) != (runtime, handle));
            let ours = |c: &Current| c.runtime == runtime && c.handle == handle;
            if instance.current.as_ref().is_some_and(ours) {
                if instance.operation.is_some() {
                    instance.look_again = true;
                } else {
                    instance.current = None;
                }
            }
        }
    }

    /// A runtime cannot be reached.
    pub(super) fn lost(&mut self, runtime: RuntimeKind, reason: String) {
        self.runtimes.insert(runtime, Runtime::Lost(reason));
        self.changed = true;
    }

    pub(super) fn progressed(&mut self, now: Now, operation: OperationId, progress: Progress) {
        let instance = self
            .instances
            .values_mut()
            .find(|i| i.operation.as_ref().is_some_and(|o| o.id == operation));
        let Some(instance) = instance else { return };
        let kind = instance.operation.as_ref().map(|o| o.kind);
        let changed = match progress {
            // The old one goes on while the new image is fetched: it still runs.
            Progress::Pulling(percent) if kind == Some(OperationKind::Prepare) => {
                let moved = instance.progress != percent;
                instance.progress = percent;
                moved
            }
            Progress::Pulling(percent) => {
                let entered = instance.enter(now, InstanceState::Pulling, None);
                let moved = instance.progress != percent;
                instance.progress = percent;
                entered || moved
            }
            Progress::Starting => instance.enter(now, InstanceState::Starting, None),
        };
        self.changed |= changed;
    }

    /// An operation ended.
    pub(super) fn finished(
        &mut self,
        now: Now,
        operation: OperationId,
        outcome: OpOutcome,
        actions: &mut Vec<Action>,
    ) {
        let instance = self
            .instances
            .values_mut()
            .find(|i| i.operation.as_ref().is_some_and(|o| o.id == operation));
        let Some(instance) = instance else { return };
        let Some(op) = instance.operation.take() else {
            return;
        };
        instance.progress = None;
        // A change that came meanwhile is not to wait for what became of the one before.
        let assigned = instance.assigned.as_ref();
        let outdated = assigned.is_none_or(|a| a.spec_hash != op.spec_hash);
        if op.asked && matches!(outcome, OpOutcome::Failed(_)) {
            instance.was_stopped = true;
        }
        match (op.kind, outcome) {
            (_, OpOutcome::Failed(RuntimeError::Unreachable { message, .. })) => {
                // Ended or not, it was told to end on purpose.
                instance.was_stopped |= op.kind == OperationKind::Stop;
                // Whether it was done is not known; the next listing tells.
                self.runtimes.insert(op.runtime, Runtime::Lost(message));
                self.changed = true;
                return;
            }
            (OperationKind::Launch | OperationKind::Start, OpOutcome::Launched(launched)) => {
                runs_now(instance, now, op.clone(), launched, actions);
            }
            (OperationKind::Launch | OperationKind::Prepare, OpOutcome::Failed(_)) if outdated => {}
            (OperationKind::Launch | OperationKind::Start, OpOutcome::Failed(error)) => {
                if matches!(error, RuntimeError::NotFound(_)) {
                    instance.current = None;
                }
                let (failures, random) = (instance.failures + 1, &mut self.random);
                instance.failures = failures;
                let (base, max) = instance.assigned.as_ref().map_or((1_000, 60_000), |a| {
                    (a.restart().delay_ms, a.restart().max_delay_ms)
                });
                // What failed to start is never tried again within the second.
                instance.not_before_ms =
                    now.mono_ms + random.delay_ms(failures, base.max(1_000), max);
                let first = instance.enter(now, InstanceState::Backoff, Some(error.to_string()));
                if first {
                    self.changed = true;
                    actions.push(tell(instance, "failed", format!("cannot start: {error}")));
                }
            }
            (OperationKind::Prepare, OpOutcome::Failed(error)) => {
                instance.change_failures += 1;
                let tries = instance.change_failures;
                let delay = self.random.delay_ms(tries, 5_000, 300_000);
                instance.change_not_before_ms = now.mono_ms + delay;
                let reason = format!("the change waits, the old one goes on: {error}");
                instance.change_reason = Some(reason);
                if tries == 1 {
                    actions.push(tell(instance, "failed", format!("cannot prepare: {error}")));
                }
            }
            (OperationKind::Prepare, _) => {
                instance.prepared = !outdated;
                instance.change_failures = 0;
            }
            (OperationKind::Stop, OpOutcome::Failed(error)) => {
                instance.change_failures += 1;
                let delay = self
                    .random
                    .delay_ms(instance.change_failures, 1_000, 60_000);
                instance.not_before_ms = now.mono_ms + delay;
                instance.enter(
                    now,
                    InstanceState::Backoff,
                    Some(format!("cannot stop: {error}")),
                );
                self.changed = true;
            }
            (OperationKind::Stop, _) => {
                instance.was_stopped = true;
                instance.change_failures = 0;
                if let Some(current) = &mut instance.current {
                    // Stopped on purpose: the policy has no say, the exit code is kept if known.
                    let exit = match &current.status {
                        Status::Ended { exit, .. } => exit.clone(),
                        _ => Default::default(),
                    };
                    current.status = Status::Ended {
                        exit,
                        decided: true,
                    };
                }
                // Its own end is part of the stop, not something to look into.
                instance.look_again = false;
            }
            (OperationKind::Remove, OpOutcome::Failed(error)) => {
                instance.change_failures += 1;
                let delay = self
                    .random
                    .delay_ms(instance.change_failures, 1_000, 60_000);
                instance.not_before_ms = now.mono_ms + delay;
                instance.enter(
                    now,
                    InstanceState::Backoff,
                    Some(format!("cannot remove: {error}")),
                );
                self.changed = true;
            }
            (OperationKind::Remove, _) => {
                instance.current = None;
                instance.look_again = false;
                instance.failures = 0;
                instance.not_before_ms = 0;
                instance.change_failures = 0;
            }
            (OperationKind::RemoveLeftover, _) => {
                // Where it failed it is listed again within a minute, and tried again then.
                let gone = |l: &(RuntimeKind, String)| l.0 == op.runtime && l.1 == op.handle;
                instance.leftovers.retain(|l| !gone(l));
            }
            (OperationKind::Launch | OperationKind::Start, OpOutcome::Done) => {}
        }
        if std::mem::take(&mut instance.look_again)
            && let Some(current) = &instance.current
        {
            actions.push(Action::Inspect {
                runtime: current.runtime,
                handle: current.handle.clone(),
            });
        }
    }
}

fn runs_now(
    instance: &mut Instance,
    now: Now,
    op: Operation,
    launched: Launched,
    actions: &mut Vec<Action>,
) {
    let again = op.kind == OperationKind::Start && instance.exit_code.is_some();
    if op.kind == OperationKind::Launch || !launched.warnings.is_empty() {
        instance.warnings = launched.warnings;
    }
    instance.reported_runtime = op.runtime;
    // What was launched, not what is assigned by now: a change in between is seen by its hash.
    instance.current = Some(Current {
        runtime: op.runtime,
        handle: launched.handle,
        spec_hash: op.spec_hash,
        version: op.version,
        status: Status::Running {
            since_ms: now.mono_ms,
        },
    });
    let (event, word) = if again {
        ("restarted", "runs again")
    } else {
        ("started", "runs")
    };
    actions.push(tell(instance, event, word.to_owned()));
}

pub(super) fn tell(instance: &Instance, event: &'static str, message: String) -> Action {
    Action::Tell {
        event,
        workload: instance.name.clone(),
        message,
    }
}

/// The row of failures is over once it has run for long enough.
pub(super) fn settle_failures(instance: &mut Instance, ran_ms: u64) {
    let stable = instance
        .assigned
        .as_ref()
        .map_or(1_000, |a| stable_after_ms(a.restart()));
    if ran_ms >= stable {
        instance.failures = 0;
    }
}
