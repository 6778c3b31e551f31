//! What is to be done next for one instance: the transitions of the diagram in the module's doc.

use super::{
    Action, Now, Runtime, Supervisor,
    instance::{Current, Instance, Operation, OperationKind, Status},
    observe::{settle_failures, tell},
};
use crate::{
    model::{Desired, InstanceState, Name, RestartPolicy, Run, RuntimeKind},
    runtime::{Exit, Launch},
};
use std::collections::BTreeMap;

/// What a decision came to.
enum Next {
    /// Nothing to do now; it is in this state.
    Rest(InstanceState, Option<String>),
    /// Do this.
    Do(OperationKind, InstanceState),
    /// It is gone and nobody wants it.
    Forget,
}

impl Supervisor {
    pub(super) fn decide_all(&mut self, now: Now, actions: &mut Vec<Action>) {
        let names: Vec<Name> = self.instances.keys().cloned().collect();
        for name in names {
            self.decide_one(now, &name, actions);
        }
    }

    fn decide_one(&mut self, now: Now, name: &Name, actions: &mut Vec<Action>) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if instance.operation.is_some() {
            actions.extend(give_up(instance));
            return;
        }
        judge_end(instance, now, &mut self.random, actions);
        let next = decide(
            instance,
            now,
            &self.runtimes,
            self.assigned,
            &self.restarts_done,
        );
        let times = [instance.not_before_ms, instance.change_not_before_ms];
        instance.wake_ms = times.into_iter().filter(|at| *at > now.mono_ms).min();
        match next {
            Next::Forget => {
                for id in std::mem::take(&mut instance.waiting) {
                    actions.push(Action::Answer { id, result: Ok(()) });
                }
                self.instances.remove(name);
                self.changed = true;
            }
            Next::Rest(state, reason) => {
                self.changed |= instance.enter(now, state, reason);
                answer(instance, actions);
            }
            Next::Do(kind, state) => {
                // A replacement's fetch leaves what runs, and its state, alone.
                if kind != OperationKind::Prepare && kind != OperationKind::RemoveLeftover {
                    self.changed |= instance.enter(now, state, None);
                }
                let id = self.next_operation;
                self.next_operation += 1;
                if let Some(action) = begin(instance, kind, id, &self.node, &self.runtimes) {
                    note_start(instance, kind, &mut self.restarts_done, actions);
                    actions.push(action);
                }
            }
        }
    }
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

/// The policy's word on an instance that has ended by itself, once per end.
fn judge_end(
    instance: &mut Instance,
    now: Now,
    random: &mut super::Backoff,
    actions: &mut Vec<Action>,
) {
    if let Some(Current {
        status: Status::Running { since_ms },
        ..
    }) = instance.current
    {
        instance.ran_since_ms = Some(since_ms);
        settle_failures(instance, now.mono_ms.saturating_sub(since_ms));
        return;
    }
    let Some(Current {
        status: Status::Ended { exit, decided },
        ..
    }) = &mut instance.current
    else {
        return;
    };
    if std::mem::replace(decided, true) {
        return;
    }
    let exit = exit.clone();
    instance.exit_code = exit.code;
    let Some(assigned) = &instance.assigned else {
        return;
    };
    let restart = assigned.restart().clone();
    // One that ended while no agent looked (a power cut) begins a row of its own: at once.
    if let Some(since) = instance.ran_since_ms.take() {
        settle_failures(instance, now.mono_ms.saturating_sub(since));
        instance.failures += 1;
        actions.push(tell(instance, "exited", sentence(&exit)));
    }
    let delay = random.delay_ms(instance.failures, restart.delay_ms, restart.max_delay_ms);
    instance.not_before_ms = now.mono_ms + delay;
}

fn decide(
    instance: &mut Instance,
    now: Now,
    runtimes: &BTreeMap<RuntimeKind, Runtime>,
    assigned_at_all: bool,
    restarts_done: &BTreeMap<Name, u64>,
) -> Next {
    // What is under a runtime that cannot be seen is not touched.
    let seen_in = instance.current.as_ref().map(|c| c.runtime);
    if let Some(Runtime::Lost(reason)) = seen_in.and_then(|r| runtimes.get(&r)) {
        return Next::Rest(InstanceState::Unknown, Some(reason.clone()));
    }
    if !assigned_at_all {
        return rest_as_found(instance);
    }
    let waits = now.mono_ms < instance.not_before_ms;
    let Some(desired) = instance.desired() else {
        return leave(instance, runtimes, waits);
    };
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
        Some(Runtime::Lost(reason)) => Some((InstanceState::Unknown, reason.clone())),
        Some(Runtime::Unlisted) => Some((InstanceState::Pending, format!("waits for {target}"))),
        Some(Runtime::Listed) => None,
    };
    let Some(current) = instance.current.clone() else {
        instance.reported_runtime = target;
        if desired == Desired::Stopped {
            return Next::Rest(InstanceState::Stopped, None);
        }
        if let Some((state, reason)) = blind {
            return Next::Rest(state, Some(reason));
        }
        if let Some(other) = unlisted_alternative(instance, runtimes) {
            return Next::Rest(InstanceState::Pending, Some(format!("waits for {other}")));
        }
        return when(
            waits,
            instance,
            Next::Do(OperationKind::Launch, InstanceState::Starting),
        );
    };
    let wanted_hash = instance
        .assigned
        .as_ref()
        .map(|a| a.spec_hash.clone())
        .unwrap_or_default();
    let differs = current.spec_hash != wanted_hash || current.runtime != target;
    let runs = matches!(current.status, Status::Running { .. });
    match (desired, runs) {
        (Desired::Stopped, true) => when(
            waits,
            instance,
            Next::Do(OperationKind::Stop, InstanceState::Stopping),
        ),
        (Desired::Stopped, false) => Next::Rest(InstanceState::Stopped, None),
        (Desired::Running, _) if differs => {
            let blind = blind.map(|(_, reason)| reason);
            replace(instance, now, &current, restarts_done, blind)
        }
        (Desired::Running, true) => {
            let done = restarts_done.get(&instance.name).copied().unwrap_or(0);
            let asked = instance
                .assigned
                .as_ref()
                .is_some_and(|a| a.restart_count > done);
            if (asked || instance.restart_now) && waits {
                return Next::Rest(InstanceState::Running, instance.reason.clone());
            }
            if asked || instance.restart_now {
                instance.stopping_for_restart = true;
                return Next::Do(OperationKind::Stop, InstanceState::Stopping);
            }
            // It runs as it should: nothing is owed to it any more.
            instance.was_stopped = false;
            instance.stopping_for_restart = false;
            Next::Rest(InstanceState::Running, None)
        }
        (Desired::Running, false) => ended(instance, &current, restarts_done, waits, true),
    }
}

/// Nobody wants it: stop it, remove it, forget it.
fn leave(instance: &mut Instance, runtimes: &BTreeMap<RuntimeKind, Runtime>, waits: bool) -> Next {
    let stay = instance.state;
    if waits {
        return Next::Rest(stay, instance.reason.clone());
    }
    if leftover(instance, runtimes).is_some() {
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
        Some(c) if matches!(c.status, Status::Running { .. }) => {
            Next::Do(OperationKind::Stop, InstanceState::Stopping)
        }
        Some(_) => Next::Do(OperationKind::Remove, InstanceState::Stopping),
    }
}

/// Something that must go, in a runtime that can be seen.
fn leftover(instance: &Instance, runtimes: &BTreeMap<RuntimeKind, Runtime>) -> Option<usize> {
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
    let unlisted = |(kind, state): &(&RuntimeKind, &Runtime)| {
        **kind != RuntimeKind::Process && **state == Runtime::Unlisted
    };
    let first = runtimes.iter().find(unlisted).map(|(kind, _)| *kind);
    first.filter(|_| free)
}

/// Another spec is wanted than what is there.
fn replace(
    instance: &mut Instance,
    now: Now,
    current: &Current,
    restarts_done: &BTreeMap<Name, u64>,
    blind: Option<String>,
) -> Next {
    let runs = matches!(current.status, Status::Running { .. });
    let waits = now.mono_ms < instance.not_before_ms;
    let too_early = !instance.prepared && now.mono_ms < instance.change_not_before_ms;
    if too_early || blind.is_some() {
        // The old one goes on: where it has ended, by its policy.
        if !runs {
            return ended(instance, current, restarts_done, waits, false);
        }
        let reason = blind.or_else(|| instance.change_reason.clone());
        return Next::Rest(InstanceState::Running, reason);
    }
    if !instance.prepared {
        return Next::Do(OperationKind::Prepare, instance.state);
    }
    match (waits, runs) {
        (true, true) => Next::Rest(InstanceState::Running, instance.reason.clone()),
        (true, false) => Next::Rest(InstanceState::Backoff, instance.reason.clone()),
        (false, true) => Next::Do(OperationKind::Stop, InstanceState::Stopping),
        (false, false) => Next::Do(OperationKind::Remove, InstanceState::Starting),
    }
}

/// It should run and does not. `current_spec`: it is what is wanted, and may be made anew.
fn ended(
    instance: &mut Instance,
    current: &Current,
    restarts_done: &BTreeMap<Name, u64>,
    waits: bool,
    current_spec: bool,
) -> Next {
    let Status::Ended { exit, .. } = &current.status else {
        return when(
            waits,
            instance,
            Next::Do(OperationKind::Start, InstanceState::Starting),
        );
    };
    let Some(assigned) = &instance.assigned else {
        return Next::Forget;
    };
    let done = restarts_done.get(&instance.name).copied().unwrap_or(0);
    let asked = instance.stopping_for_restart
        || instance.restart_now
        || instance.was_stopped
        || assigned.restart_count > done;
    let policy = assigned.restart().policy;
    if asked && !waits {
        // The restart must be noted as carried out before it is, and the agent may be killed in
        // between. What its policy starts again comes back by itself then; anything else is made
        // anew, since what is not there is always launched.
        let noted = assigned.restart_count > done && policy != RestartPolicy::Always;
        let kind = if noted && current_spec {
            OperationKind::Remove
        } else {
            OperationKind::Start
        };
        return Next::Do(kind, InstanceState::Starting);
    }
    let failed = exit.code != Some(0);
    let again = asked
        || match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failed,
            RestartPolicy::Never => false,
        };
    if again {
        if waits {
            // Why the last try failed says more than how it ended before.
            let known = instance.reason.clone();
            let known = known.filter(|_| instance.state == InstanceState::Backoff);
            let reason = known.unwrap_or_else(|| sentence(exit));
            return Next::Rest(InstanceState::Backoff, Some(reason));
        }
        return Next::Do(OperationKind::Start, InstanceState::Starting);
    }
    if failed {
        Next::Rest(InstanceState::Failed, Some(sentence(exit)))
    } else {
        Next::Rest(InstanceState::Completed, None)
    }
}

fn when(waits: bool, instance: &Instance, next: Next) -> Next {
    if waits {
        Next::Rest(InstanceState::Backoff, instance.reason.clone())
    } else {
        next
    }
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

/// Makes the operation, and notes it as under way.
fn begin(
    instance: &mut Instance,
    kind: OperationKind,
    id: u64,
    node: &Name,
    runtimes: &BTreeMap<RuntimeKind, Runtime>,
) -> Option<Action> {
    let target = instance.runtime(|r| runtimes.contains_key(&r));
    let launch = instance.assigned.as_ref().map(|a| Launch {
        node: node.clone(),
        workload: a.workload.clone(),
        spec_hash: a.spec_hash.clone(),
    });
    let current = instance.current.clone();
    let (runtime, action) = match kind {
        OperationKind::Launch => {
            let (runtime, launch) = (target?, launch?);
            (
                runtime,
                Action::Launch {
                    operation: id,
                    runtime,
                    launch,
                },
            )
        }
        OperationKind::Prepare => {
            let (runtime, launch) = (target?, launch?);
            (
                runtime,
                Action::Prepare {
                    operation: id,
                    runtime,
                    launch,
                },
            )
        }
        OperationKind::Start => {
            let Current {
                runtime, handle, ..
            } = current.clone()?;
            instance.restarts += u32::from(instance.exit_code.is_some());
            (
                runtime,
                Action::Start {
                    operation: id,
                    runtime,
                    handle,
                },
            )
        }
        OperationKind::Stop => {
            let Current {
                runtime, handle, ..
            } = current.clone()?;
            // What is not assigned any more has taken its time limit along; ten seconds then.
            let timeout_ms = instance.stop_timeout_ms;
            (
                runtime,
                Action::Stop {
                    operation: id,
                    runtime,
                    handle,
                    timeout_ms,
                },
            )
        }
        OperationKind::Remove => {
            let Current {
                runtime, handle, ..
            } = current.clone()?;
            (
                runtime,
                Action::Remove {
                    operation: id,
                    runtime,
                    handle,
                },
            )
        }
        OperationKind::RemoveLeftover => {
            let (runtime, handle) = instance.leftovers[leftover(instance, runtimes)?].clone();
            (
                runtime,
                Action::Remove {
                    operation: id,
                    runtime,
                    handle,
                },
            )
        }
    };
    let (spec_hash, version) = match (&action, current) {
        (Action::Launch { launch, .. } | Action::Prepare { launch, .. }, _) => {
            (launch.spec_hash.clone(), launch.workload.version.clone())
        }
        (_, Some(c)) => (c.spec_hash, c.version),
        _ => Default::default(),
    };
    let handle = match &action {
        Action::Start { handle, .. }
        | Action::Stop { handle, .. }
        | Action::Remove { handle, .. } => handle.clone(),
        _ => String::new(),
    };
    instance.operation = Some(Operation {
        id,
        kind,
        runtime,
        spec_hash,
        version,
        handle,
        cancelled: false,
        asked: false,
    });
    Some(action)
}

/// A restart that was asked for counts as carried out once the start, or the launch, begins: from
/// then on it would come back by itself.
fn note_start(
    instance: &mut Instance,
    kind: OperationKind,
    restarts_done: &mut BTreeMap<Name, u64>,
    actions: &mut Vec<Action>,
) {
    if !matches!(kind, OperationKind::Start | OperationKind::Launch) {
        return;
    }
    let ordered = [
        std::mem::take(&mut instance.stopping_for_restart),
        std::mem::take(&mut instance.restart_now),
        std::mem::take(&mut instance.was_stopped),
    ];
    let Some(assigned) = &instance.assigned else {
        return;
    };
    let done = restarts_done.get(&instance.name).copied().unwrap_or(0);
    if let Some(operation) = &mut instance.operation {
        operation.asked = ordered.contains(&true) || assigned.restart_count > done;
    }
    if assigned.restart_count > restarts_done.get(&instance.name).copied().unwrap_or(0) {
        restarts_done.insert(instance.name.clone(), assigned.restart_count);
        actions.push(Action::Remember {
            restarts_done: restarts_done.clone(),
        });
    }
}

/// Commands that waited for it to settle.
fn answer(instance: &mut Instance, actions: &mut Vec<Action>) {
    if instance.waiting.is_empty() || (instance.state == InstanceState::Pending) {
        return;
    }
    let desired = instance.desired();
    let bad = match (desired, instance.state) {
        (Some(Desired::Running), InstanceState::Running | InstanceState::Completed)
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

/// How it ended, for people.
pub(super) fn sentence(exit: &Exit) -> String {
    let mut text = match (&exit.message, exit.code) {
        (Some(message), _) => message.clone(),
        (None, Some(code)) if code > 128 && code < 128 + 65 => {
            format!(
                "it was ended by signal {}{}",
                code - 128,
                signal_name(code - 128)
            )
        }
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it ended; nobody saw with which exit code".into(),
    };
    if exit.out_of_memory && !text.contains("memory") {
        text.push_str(" (out of memory)");
    }
    text
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
