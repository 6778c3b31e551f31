//! What is to be done next for one instance: the transitions of the diagram in the module's doc.
//!
//! The questions are asked in this order: can its runtime be seen; is it wanted at all; is there
//! something of it that must go; which runtime; is what is there the wanted spec; does it run. What
//! follows when it should run and does not is in [`super::policy`].

use super::{
    Action, Now, Runtime, Supervisor,
    instance::{Condemned, Instance, OperationKind, Status},
    order, policy, replace, sentence,
};
use crate::model::{Desired, HealthStatus, InstanceState, Name, Run, RuntimeKind};
use std::collections::BTreeMap;

/// What a decision came to.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing to do now; it is in this state.
    Rest(InstanceState, Option<String>),
    /// Do this.
    Do(OperationKind, InstanceState),
    /// It is gone and nobody wants it.
    Forget,
}

/// What a decision looks at beside the instance itself.
pub(super) struct Around<'a> {
    pub now: Now,
    pub runtimes: &'a BTreeMap<RuntimeKind, Runtime>,
    /// An assignment is known.
    pub assigned: bool,
    /// Restarts that were carried out.
    pub restarts_done: u64,
    /// All other instances of the node.
    pub others: &'a BTreeMap<Name, Instance>,
}

impl Around<'_> {
    /// A delay is not over.
    pub(super) fn waits(&self, instance: &Instance) -> bool {
        self.now.mono_ms < instance.not_before_ms
    }

    /// A person wants it restarted, by the controller or here.
    pub(super) fn is_restart_asked(&self, instance: &Instance) -> bool {
        let count = instance.assigned.as_ref().map_or(0, |a| a.restart_count);
        instance.restart_now || count > self.restarts_done
    }
}

impl Supervisor {
    pub(super) fn decide_all(&mut self, now: Now, actions: &mut Vec<Action>) {
        let names: Vec<Name> = self.instances.keys().cloned().collect();
        for name in &names {
            self.decide_one(now, name, actions);
        }
        // Those that wait for others once more: what they wait for may have come just now. What
        // they do takes time, so nobody can wait for that within this step.
        for name in &names {
            let waits = self.instances.get(name).is_some_and(|i| i.waits_for_other);
            if waits {
                self.decide_one(now, name, actions);
            }
        }
    }

    fn decide_one(&mut self, now: Now, name: &Name, actions: &mut Vec<Action>) {
        // It is taken out meanwhile, so that the others can be looked at.
        let Some(mut instance) = self.instances.remove(name) else {
            return;
        };
        if self.decide_for(now, &mut instance, actions) {
            self.changed |= std::mem::take(&mut instance.changed);
            self.instances.insert(name.clone(), instance);
        } else {
            self.changed = true;
        }
    }

    /// `false`: it is to be forgotten.
    fn decide_for(&mut self, now: Now, instance: &mut Instance, actions: &mut Vec<Action>) -> bool {
        if instance.operation.is_some() {
            actions.extend(give_up(instance));
            return true;
        }
        policy::judge(instance, now, &mut self.random, actions);
        let around = Around {
            now,
            runtimes: &self.runtimes,
            assigned: self.assigned,
            restarts_done: self
                .memory
                .restarts_done
                .get(&instance.name)
                .copied()
                .unwrap_or(0),
            others: &self.instances,
        };
        instance.waits_for_other = false;
        instance.wake_ms = None;
        let next = decide(instance, &around);
        wake(instance, now);
        match next {
            Next::Forget => {
                for id in std::mem::take(&mut instance.waiting) {
                    actions.push(Action::Answer { id, result: Ok(()) });
                }
                return false;
            }
            Next::Rest(state, reason) => {
                instance.enter(now, state, reason);
                answer(instance, actions);
                self.fetch_ahead(now, instance, actions);
            }
            Next::Do(kind, state) => {
                if !kind.is_beside() {
                    let condemned = instance.condemned.as_ref();
                    let why = condemned.filter(|_| kind == OperationKind::Stop);
                    let why = why.map(|c| c.why.clone());
                    instance.enter(now, state, why);
                }
                actions.extend(self.begin(instance, kind));
            }
        }
        // A run is counted on the disk before it begins; the shell carries actions out in order,
        // and what must be remembered is put before all others.
        if std::mem::take(&mut instance.runs.keep) {
            let record = instance.runs.record.clone();
            self.remember_runs(&instance.name, record);
        }
        true
    }
}

/// When it must be decided upon again.
fn wake(instance: &mut Instance, now: Now) {
    let since = instance.ran_since_ms.filter(|_| instance.is_running());
    let overdue = policy::overdue_at(instance);
    // What went wrong before is over once it has run for long enough.
    let troubled = instance.failures > 0 || instance.last_error.is_some();
    let stable = since
        .filter(|_| troubled)
        .map(|since| since.saturating_add(policy::stable_ms(instance)));
    let times = [
        instance.wake_ms,
        Some(instance.not_before_ms),
        Some(instance.change_not_before_ms),
        overdue,
        stable,
        instance.fetches_at(),
    ];
    let ahead = times.into_iter().flatten().filter(|at| *at > now.mono_ms);
    instance.wake_ms = ahead.min();
}

/// A fetch may take long, and nothing else is done to its instance meanwhile: when what it is for
/// is not wanted any more it is given up, once.
fn give_up(instance: &mut Instance) -> Option<Action> {
    let (state, desired) = (instance.state, instance.desired());
    let wanted = instance.assigned.as_ref().map(|a| a.spec_hash.clone());
    let op = instance.operation.as_mut()?;
    let fetching = match op.kind {
        OperationKind::Prepare => true,
        OperationKind::Launch => state == InstanceState::Pulling,
        _ => false,
    };
    let unwanted = desired != Some(Desired::Running) || wanted.as_ref() != Some(&op.spec_hash);
    if !fetching || !unwanted || op.cancelled {
        return None;
    }
    op.cancelled = true;
    Some(Action::Cancel { operation: op.id })
}

fn decide(instance: &mut Instance, around: &Around<'_>) -> Next {
    let runtimes = around.runtimes;
    // What is under a runtime that cannot be seen is not touched.
    let seen_in = instance.current.as_ref().map(|c| c.runtime);
    if let Some(Runtime::Lost { why: reason, .. }) = seen_in.and_then(|r| runtimes.get(&r)) {
        return Next::Rest(InstanceState::Unknown, Some(reason.clone()));
    }
    if !around.assigned {
        return rest_as_found(instance);
    }
    let waits = around.waits(instance);
    let Some(desired) = instance.desired() else {
        return leave(instance, around, waits);
    };
    let warnings = order::warnings(instance, around.others);
    instance.changed |= instance.order_warnings != warnings;
    instance.order_warnings = warnings;
    if leftover(instance, runtimes).is_some() && !waits {
        return Next::Do(OperationKind::RemoveLeftover, instance.state);
    }
    let target = instance.runtime(|r| runtimes.contains_key(&r));
    let Some(target) = target else {
        let reason = "this node has neither Docker nor Podman".to_owned();
        return Next::Rest(InstanceState::Failed, Some(reason));
    };
    let blind = match runtimes.get(&target) {
        None => Some((InstanceState::Failed, format!("this node has no {target}"))),
        Some(Runtime::Lost { why: reason, .. }) => Some((InstanceState::Unknown, reason.clone())),
        Some(Runtime::Unlisted) => Some((InstanceState::Pending, format!("waits for {target}"))),
        Some(Runtime::Listed) => None,
    };
    let Some(current) = instance.current.clone() else {
        instance.reported_runtime = target;
        if desired == Desired::Stopped {
            instance.stop_waits_since_ms = None;
            return Next::Rest(InstanceState::Stopped, held(instance));
        }
        if let Some((state, reason)) = blind {
            return Next::Rest(state, Some(reason));
        }
        if let Some(other) = unlisted_alternative(instance, runtimes) {
            return Next::Rest(InstanceState::Pending, Some(format!("waits for {other}")));
        }
        return policy::absent(instance, around);
    };
    let seen = instance.seen();
    instance.runs.see(seen);
    let wanted = instance.assigned.as_ref().map(|a| a.spec_hash.as_str());
    let differs = Some(current.spec_hash.as_str()) != wanted || current.runtime != target;
    match (desired, instance.is_running()) {
        (Desired::Stopped, true) => stop(instance, around, waits),
        (Desired::Stopped, false) => {
            instance.stop_waits_since_ms = None;
            Next::Rest(InstanceState::Stopped, held(instance))
        }
        (Desired::Running, runs) => {
            instance.stop_waits_since_ms = None;
            if runs && let Some(next) = end_early(instance, around, waits) {
                return next;
            }
            if differs {
                let blind = blind.map(|(_, reason)| reason);
                replace::replace(instance, around, &current, blind)
            } else if runs {
                running(instance, around, waits)
            } else {
                policy::ended(instance, around, &current, true)
            }
        }
    }
}

/// Nobody wants it to run: it stops, after those that depend on it.
fn stop(instance: &mut Instance, around: &Around<'_>, waits: bool) -> Next {
    if waits {
        return Next::Rest(InstanceState::Backoff, instance.why_waits.clone());
    }
    if let Some(first) = order::stops_first(&instance.name, around.others) {
        let now = around.now.mono_ms;
        let since = *instance.stop_waits_since_ms.get_or_insert(now);
        let until = since.saturating_add(first.limit_ms);
        if now < until {
            instance.waits_for_other = true;
            instance.wake_ms = Some(until);
            let reason = format!("waits for {} to stop first", first.name);
            return Next::Rest(InstanceState::Stopping, Some(reason));
        }
    }
    Next::Do(OperationKind::Stop, InstanceState::Stopping)
}

/// It runs and has failed all the same: it takes too long, or it is unhealthy.
fn end_early(instance: &mut Instance, around: &Around<'_>, waits: bool) -> Option<Next> {
    let overdue = policy::overdue_at(instance).is_some_and(|at| at <= around.now.mono_ms);
    if overdue && instance.condemned.is_none() {
        let timeout_ms = instance.assigned.as_ref()?.workload.timeout_ms?;
        instance.condemned = Some(Condemned {
            why: sentence::overdue(timeout_ms),
            unhealthy: false,
        });
    }
    instance.condemned.as_ref()?;
    Some(if waits {
        Next::Rest(InstanceState::Running, instance.why_waits.clone())
    } else {
        Next::Do(OperationKind::Stop, InstanceState::Stopping)
    })
}

/// It runs as it should.
fn running(instance: &mut Instance, around: &Around<'_>, waits: bool) -> Next {
    let asked = around.is_restart_asked(instance);
    if asked || instance.runs.makes_room() {
        if waits {
            return Next::Rest(InstanceState::Running, instance.why_waits.clone());
        }
        instance.stopping_for_restart |= asked;
        return Next::Do(OperationKind::Stop, InstanceState::Stopping);
    }
    // Nothing is owed to it any more.
    instance.was_stopped = false;
    instance.stopping_for_restart = false;
    let files = instance
        .assigned
        .as_ref()
        .and_then(|a| a.files_hash.as_ref());
    let mut reason = None;
    if files.is_some() && files != instance.files_in_effect.as_ref() {
        if around.now.mono_ms >= instance.change_not_before_ms {
            if let Next::Rest(state, why) = up(instance, None) {
                instance.enter(around.now, state, why);
            }
            return Next::Do(OperationKind::Reload, instance.state);
        }
        reason = instance.change_reason.clone();
    }
    up(instance, reason)
}

/// The state of what runs, with its health.
pub(super) fn up(instance: &Instance, reason: Option<String>) -> Next {
    match instance.monitor.as_ref().map(|m| m.status()) {
        Some((HealthStatus::Unhealthy, why)) => {
            let why = why.map(str::to_owned);
            Next::Rest(InstanceState::Unhealthy, why.or(reason))
        }
        _ => Next::Rest(InstanceState::Running, reason),
    }
}

/// Nobody wants it: stop it, remove it, forget it.
fn leave(instance: &mut Instance, around: &Around<'_>, waits: bool) -> Next {
    let stay = instance.state;
    if waits {
        return Next::Rest(stay, instance.reason.clone());
    }
    if leftover(instance, around.runtimes).is_some() {
        return Next::Do(OperationKind::RemoveLeftover, InstanceState::Stopping);
    }
    match &instance.current {
        None => match instance.leftovers.first() {
            None => Next::Forget,
            Some((runtime, _)) => {
                let reason = format!("what is left of it waits for {runtime}");
                Next::Rest(InstanceState::Unknown, Some(reason))
            }
        },
        Some(_) if instance.is_running() => stop(instance, around, false),
        Some(_) => Next::Do(OperationKind::Remove, InstanceState::Stopping),
    }
}

/// Something that must go, in a runtime that can be seen.
pub(super) fn leftover(
    instance: &Instance,
    runtimes: &BTreeMap<RuntimeKind, Runtime>,
) -> Option<usize> {
    let seen = |r: &RuntimeKind| matches!(runtimes.get(r), Some(Runtime::Listed));
    instance.leftovers.iter().rposition(|(r, _)| seen(r))
}

/// Another engine that has not told yet what it has, where the workload leaves the choice: it may
/// run there already.
fn unlisted_alternative(
    instance: &Instance,
    runtimes: &BTreeMap<RuntimeKind, Runtime>,
) -> Option<RuntimeKind> {
    let free = matches!(
        instance.assigned.as_ref().map(|a| &a.workload.run),
        Some(Run::Container { engine: None, .. })
    );
    let unlisted =
        |(kind, state): &(&RuntimeKind, &Runtime)| kind.is_engine() && **state == Runtime::Unlisted;
    let first = runtimes.iter().find(unlisted).map(|(kind, _)| *kind);
    first.filter(|_| free)
}

/// Before the first assignment is known, what is found is only shown.
fn rest_as_found(instance: &Instance) -> Next {
    let state = match instance.current.as_ref().map(|c| &c.status) {
        Some(Status::Running { .. }) => InstanceState::Running,
        Some(Status::Ended { .. }) => InstanceState::Stopped,
        _ => InstanceState::Pending,
    };
    Next::Rest(state, None)
}

/// Commands that waited for it to settle.
fn answer(instance: &mut Instance, actions: &mut Vec<Action>) {
    let unsettled = [InstanceState::Pending, InstanceState::Stopping];
    if instance.waiting.is_empty() || unsettled.contains(&instance.state) {
        return;
    }
    let desired = instance.desired();
    let bad = match (desired, instance.state) {
        (
            Some(Desired::Running),
            InstanceState::Running | InstanceState::Completed | InstanceState::Scheduled,
        )
        | (Some(Desired::Stopped), InstanceState::Stopped) => None,
        (_, state) => Some(format!(
            "{} is {state}{}",
            instance.name,
            instance
                .reason
                .as_ref()
                .map(|r| format!(": {r}"))
                .unwrap_or_default()
        )),
    };
    for id in std::mem::take(&mut instance.waiting) {
        actions.push(Action::Answer {
            id,
            result: bad.clone().map_or(Ok(()), Err),
        });
    }
}

/// Why it is stopped though its assignment says otherwise.
fn held(instance: &Instance) -> Option<String> {
    let assigned = instance.assigned.as_ref()?;
    let by_order = assigned.desired == Desired::Running && instance.held == Some(Desired::Stopped);
    by_order.then(|| {
        "stopped by an order to this node; `fleetctl command start`, or `--local start` on the \
         node, runs it again"
            .to_owned()
    })
}
