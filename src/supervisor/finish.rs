//! How operations ended.

use super::{
    Action, Backoff, Now, OpOutcome, OperationId, Supervisor,
    instance::{Current, Instance, Operation, OperationKind, Status},
    policy,
    runs::Seen,
};
use crate::{
    model::{HealthStatus, InstanceState, RestartPolicy, RuntimeKind},
    runtime::{ImageHealth, Launched, RuntimeError},
};

impl Supervisor {
    /// An operation ended.
    pub(super) fn finished(
        &mut self,
        now: Now,
        operation: OperationId,
        outcome: OpOutcome,
        actions: &mut Vec<Action>,
    ) {
        let ended = self.begin_look();
        let mut instances = self.instances.values_mut();
        let ours = |i: &&mut Instance| i.operation.as_ref().is_some_and(|o| o.id == operation);
        let Some(instance) = instances.find(ours) else {
            self.fetched(now, operation, outcome, actions);
            return;
        };
        let Some(op) = instance.operation.take() else {
            return;
        };
        instance.known_as_of.insert(op.runtime, ended);
        instance.changed |= instance.progress.take().is_some();
        // A change that came meanwhile is not to wait for what became of the one before.
        let assigned = instance.assigned.as_ref();
        let outdated = assigned.is_none_or(|a| a.spec_hash != op.spec_hash);
        if op.asked && matches!(outcome, OpOutcome::Failed(_)) {
            instance.was_stopped = true;
        }
        let outcome = match outcome {
            OpOutcome::DoneBut(sentence) => {
                actions.push(instance.tell("hook_failed", sentence));
                OpOutcome::Done
            }
            outcome => outcome,
        };
        match (op.kind, outcome) {
            (_, OpOutcome::Failed(RuntimeError::Unreachable { message, .. })) => {
                // Whether it was done is not known; the next listing tells.
                lose_sight(instance, &op);
                self.lost(now, op.runtime, message);
                return;
            }
            (OperationKind::Launch | OperationKind::Start, OpOutcome::Launched(launched)) => {
                runs_now(instance, now, op, launched, actions);
            }
            (OperationKind::Launch | OperationKind::Prepare, OpOutcome::Failed(_)) if outdated => {}
            (OperationKind::Launch | OperationKind::Start, OpOutcome::Failed(error)) => {
                match (&error, &mut instance.trial) {
                    (RuntimeError::NotFound(_), _) => instance.vanish(),
                    (RuntimeError::Refused(why), Some(trial)) if trial.hash == op.spec_hash => {
                        trial.refuse(why.clone());
                    }
                    _ => {}
                }
                could_not_start(instance, now, &mut self.random, &error, actions);
            }
            (OperationKind::Launch | OperationKind::Start, _) => {}
            (OperationKind::Prepare, OpOutcome::Failed(error)) => {
                let tries = put_off(instance, now, &mut self.random);
                let reason = format!("the change waits, the old one goes on: {error}");
                instance.change_reason = Some(reason);
                if tries == 1 {
                    let message = format!("cannot prepare: {error}");
                    actions.push(instance.tell("failed", message));
                }
            }
            (OperationKind::Prepare, _) => {
                instance.prepared = !outdated;
                instance.change_failures = 0;
            }
            (OperationKind::Reload, OpOutcome::Failed(error)) => {
                let tries = put_off(instance, now, &mut self.random);
                instance.change_reason = Some(format!("its new files wait: {error}"));
                if tries == 1 {
                    let message = format!("cannot reload: {error}");
                    actions.push(instance.tell("failed", message));
                }
            }
            (OperationKind::Reload, _) => {
                let before = std::mem::replace(&mut instance.files_in_effect, op.files_hash);
                instance.change_failures = 0;
                instance.change_reason = None;
                // An agent that has just started only makes sure.
                if before.is_some() {
                    actions.push(instance.tell("reloaded", "took its new files".to_owned()));
                }
            }
            (OperationKind::Stop, OpOutcome::Failed(error)) => {
                let why = format!("cannot stop: {error}");
                try_later(instance, now, &mut self.random, why);
            }
            (OperationKind::Stop, _) => stopped(instance),
            (OperationKind::Remove, OpOutcome::Failed(error)) => {
                let why = format!("cannot remove: {error}");
                try_later(instance, now, &mut self.random, why);
            }
            (OperationKind::Remove, _) => {
                instance.vanish();
                instance.look_again = false;
                instance.failures = 0;
                instance.crash_told = false;
                instance.not_before_ms = 0;
                instance.change_failures = 0;
            }
            (OperationKind::RemoveLeftover, _) => {
                // Where it failed it is listed again within a minute, and tried again then.
                let gone = |l: &(RuntimeKind, String)| l.0 == op.runtime && l.1 == op.handle;
                instance.leftovers.retain(|l| !gone(l));
            }
        }
        look_again(instance, actions);
    }
}

/// Something happened to it while the operation was under way.
fn look_again(instance: &mut Instance, actions: &mut Vec<Action>) {
    if std::mem::take(&mut instance.look_again)
        && let Some(current) = &instance.current
    {
        actions.push(Action::Inspect {
            runtime: current.runtime,
            handle: current.handle.clone(),
        });
    }
}

/// The answer was lost.
fn lose_sight(instance: &mut Instance, op: &Operation) {
    match op.kind {
        // Ended or not, it was told to end on purpose.
        OperationKind::Stop => instance.was_stopped |= instance.condemned.is_none(),
        OperationKind::Launch => instance.runs.lose_sight(false),
        OperationKind::Start => instance.runs.lose_sight(true),
        _ => {}
    }
}

/// It could not be started.
fn could_not_start(
    instance: &mut Instance,
    now: Now,
    random: &mut Backoff,
    error: &RuntimeError,
    actions: &mut Vec<Action>,
) {
    let (policy, base_ms) = instance
        .assigned
        .as_ref()
        .map_or((RestartPolicy::Always, 1_000), |a| {
            (a.restart().policy, a.restart().delay_ms)
        });
    let text = error.to_string();
    let news = instance.last_error.as_deref() != Some(text.as_str());
    instance.note_error(&text);
    if news {
        actions.push(instance.tell("failed", format!("cannot start: {text}")));
    }
    if instance.runs.is_schedule() && policy != RestartPolicy::OnFailure {
        // It has had its time.
        instance.runs.give_up();
        instance.failures = 0;
        return;
    }
    // What failed to start is never tried again within the second.
    let base_ms = base_ms.max(1_000);
    policy::fail(instance, &text, base_ms, actions);
    let failures = instance.failures;
    policy::wait(instance, failures, base_ms, &text, now, random);
}

/// A fetch or a reload is tried again later; how often it has failed by now.
fn put_off(instance: &mut Instance, now: Now, random: &mut Backoff) -> u32 {
    instance.change_failures = instance.change_failures.saturating_add(1);
    let delay = random.delay_ms(instance.change_failures, 5_000, 300_000);
    instance.change_not_before_ms = now.mono_ms.saturating_add(delay);
    instance.change_failures
}

/// A stop or a removal is tried again later.
fn try_later(instance: &mut Instance, now: Now, random: &mut Backoff, why: String) {
    instance.change_failures = instance.change_failures.saturating_add(1);
    let delay = random.delay_ms(instance.change_failures, 1_000, 60_000);
    instance.not_before_ms = now.mono_ms.saturating_add(delay);
    instance.why_waits = Some(why.clone());
    instance.enter(now, InstanceState::Backoff, Some(why));
}

fn stopped(instance: &mut Instance) {
    let condemned = instance.condemned.is_some();
    // Stopped on purpose: the policy has no say, the exit code is kept if known. Where it was
    // stopped because it failed, that is judged as any other failure.
    instance.was_stopped |= !condemned;
    instance.change_failures = 0;
    if let Some(current) = &mut instance.current {
        let exit = match &current.status {
            Status::Ended { exit, .. } => exit.clone(),
            _ => Default::default(),
        };
        current.status = Status::Ended {
            exit,
            decided: !condemned,
        };
    }
    // Its own end is part of the stop, not something to look into, but for its exit code.
    instance.look_again = condemned;
    instance.monitor = None;
    instance.stop_waits_since_ms = None;
}

fn runs_now(
    instance: &mut Instance,
    now: Now,
    op: Operation,
    launched: Launched,
    actions: &mut Vec<Action>,
) {
    let counts = instance.runs.counts();
    let again = op.kind == OperationKind::Start && instance.exit_code.is_some() && !counts;
    if op.kind == OperationKind::Launch {
        instance.files_in_effect = op.files_hash;
    }
    if op.kind == OperationKind::Launch || !launched.warnings.is_empty() {
        instance.warnings = launched.warnings;
    }
    instance.reported_runtime = op.runtime;
    instance.condemned = None;
    instance.monitor = None;
    instance.started_here = true;
    // What the engine has said of its health was about an earlier run.
    instance.image_health = instance.image_health.map(|health| match health {
        ImageHealth::Told(_) => ImageHealth::Told(HealthStatus::Starting),
        other => other,
    });
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
    // At once: its end may be the next that is heard of it.
    instance.runs.see(Seen::Running);
    let (event, word) = if again {
        ("restarted", "runs again")
    } else {
        ("started", "runs")
    };
    actions.push(instance.tell(event, word.to_owned()));
}
