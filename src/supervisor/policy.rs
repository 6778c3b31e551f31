//! What should run and does not: what its end means, and whether it is started again.
//!
//! | mode | what decides |
//! |---|---|
//! | for ever | the restart policy, whatever the exit code meant |
//! | by the clock | its time; between two times a failed run only where the policy is `on_failure` |
//! | so many times | how many have been counted |
//!
//! Each start goes through [`start`]: a delay that is over, then the order among instances, then
//! the count. A row of failures makes the delay grow, and from the third on it is a crash loop; a
//! stable run ends it.

use super::{
    Action, Backoff, Now,
    backoff::{CRASH_LOOP, stable_after_ms, step_ms},
    decide::{Around, Next},
    instance::{Current, Instance, OperationKind, Status},
    order,
    runs::{Phase, Seen},
    sentence,
};
use crate::model::{Desired, InstanceState, RestartPolicy};

/// How long it must run for its run to be stable.
pub(super) fn stable_ms(instance: &Instance) -> u64 {
    let assigned = instance.assigned.as_ref();
    assigned.map_or(1_000, |a| stable_after_ms(a.restart(), instance.delay_ms))
}

/// When the run that goes on takes too long. It counts from when this agent first saw it: no
/// decision rests on the clock that says when it was started.
pub(super) fn overdue_at(instance: &Instance) -> Option<u64> {
    let timeout_ms = instance.assigned.as_ref()?.workload.timeout_ms?;
    match instance.current.as_ref()?.status {
        Status::Running { since_ms } => Some(since_ms.saturating_add(timeout_ms)),
        _ => None,
    }
}

/// Looks at a run: one that is stable ends the row of failures, and what one that has ended means
/// is judged, once per end.
pub(super) fn judge(
    instance: &mut Instance,
    now: Now,
    random: &mut Backoff,
    actions: &mut Vec<Action>,
) {
    let is_assigned = instance.assigned.is_some();
    match instance.current.as_mut().map(|c| &mut c.status) {
        Some(Status::Running { since_ms }) => {
            let since_ms = *since_ms;
            instance.ran_since_ms = Some(since_ms);
            if settle(instance, now.mono_ms.saturating_sub(since_ms)) {
                instance.clear_error();
            }
        }
        Some(Status::Ended { exit, decided }) if !*decided => {
            let exit = exit.clone();
            *decided = is_assigned;
            judge_end(instance, exit, now, random, actions);
        }
        _ => {}
    }
}

/// The row of failures is over where it ran for long enough, and worked.
fn settle(instance: &mut Instance, ran_ms: u64) -> bool {
    let stable = ran_ms >= stable_ms(instance) && !instance.unproven;
    if stable {
        instance.failures = 0;
        instance.crash_told = false;
    }
    stable
}

fn judge_end(
    instance: &mut Instance,
    exit: crate::runtime::Exit,
    now: Now,
    random: &mut Backoff,
    actions: &mut Vec<Action>,
) {
    instance.changed |= instance.exit_code != exit.code;
    instance.exit_code = exit.code;
    let Some(assigned) = &instance.assigned else {
        return;
    };
    let restart = assigned.restart().clone();
    let failed = instance.condemned.is_some() || exit.code != Some(0);
    let text = why_ended(instance, &exit);
    let counts = instance.runs.counts();
    let retried = failed && instance.runs.is_schedule();
    let retried = retried && restart.policy == RestartPolicy::OnFailure;
    // One that ended while no agent looked (a power cut) begins a row of its own: at once.
    if let Some(since) = instance.ran_since_ms.take() {
        settle(instance, now.mono_ms.saturating_sub(since));
        actions.push(instance.tell("exited", text.clone()));
        let in_row = match (counts, instance.runs.is_schedule()) {
            // What should run for ever has not done so, whatever it says.
            (false, _) => true,
            (true, false) => failed,
            (true, true) => retried,
        };
        if in_row {
            fail(instance, &text, restart.delay_ms, actions);
        } else {
            instance.failures = 0;
            instance.crash_told = false;
        }
    }
    // The next of many runs waits for the delay as well; a schedule has its times.
    let failures = match (counts, instance.runs.is_schedule()) {
        (true, false) => instance.failures.max(1),
        _ => instance.failures,
    };
    wait(instance, failures, restart.delay_ms, &text, now, random);
    if retried {
        instance.runs.see(Seen::Ended);
        instance.runs.due = true;
    }
    if !failed {
        instance.clear_error();
    } else if instance.desired() == Some(Desired::Running) {
        instance.note_error(exit.detail.as_deref().unwrap_or(&text));
        if let Some(current) = &instance.current {
            actions.push(Action::FetchLastOutput {
                runtime: current.runtime,
                handle: current.handle.clone(),
            });
        }
    }
}

/// It was stopped because it failed, or else how it ended by itself.
fn why_ended(instance: &Instance, exit: &crate::runtime::Exit) -> String {
    let condemned = instance.condemned.as_ref();
    condemned.map_or_else(|| sentence::ended(exit), |c| c.why.clone())
}

/// One more failure in the row.
pub(super) fn fail(instance: &mut Instance, why: &str, base_ms: u64, actions: &mut Vec<Action>) {
    instance.failures = instance.failures.saturating_add(1);
    if instance.failures >= CRASH_LOOP && !instance.crash_told {
        instance.crash_told = true;
        let delay_ms = told_delay_ms(instance, base_ms);
        let text = sentence::crash_loop(instance.failures, delay_ms, why);
        actions.push(instance.tell("crash_loop", text));
    }
}

/// It waits for the delay that follows so many failures.
pub(super) fn wait(
    instance: &mut Instance,
    failures: u32,
    base_ms: u64,
    why: &str,
    now: Now,
    random: &mut Backoff,
) {
    let max_ms = instance
        .assigned
        .as_ref()
        .map_or(60_000, |a| a.restart().max_delay_ms);
    instance.delay_ms = random.delay_ms(failures, base_ms, max_ms);
    instance.not_before_ms = now.mono_ms.saturating_add(instance.delay_ms);
    instance.why_waits = Some(why.to_owned());
}

fn told_delay_ms(instance: &Instance, base_ms: u64) -> u64 {
    let max_ms = instance
        .assigned
        .as_ref()
        .map_or(60_000, |a| a.restart().max_delay_ms);
    step_ms(instance.failures, base_ms, max_ms)
}

/// It waits to be started (again) after a failure.
pub(super) fn backs_off(instance: &Instance) -> Next {
    let why = instance.why_waits.clone();
    if instance.failures < CRASH_LOOP {
        return Next::Rest(InstanceState::Backoff, why);
    }
    let base_ms = instance
        .assigned
        .as_ref()
        .map_or(1_000, |a| a.restart().delay_ms);
    let delay_ms = told_delay_ms(instance, base_ms);
    let why = why.unwrap_or_default();
    let text = sentence::crash_loop(instance.failures, delay_ms, &why);
    Next::Rest(InstanceState::CrashLoop, Some(text))
}

/// Nothing of it is there.
pub(super) fn absent(instance: &mut Instance, around: &Around<'_>) -> Next {
    let went_on = instance.runs.phase == Phase::Going;
    instance.runs.see(Seen::Nothing);
    if went_on {
        instance.note_error("it is gone, and nobody here removed it");
    }
    match rests(instance, around) {
        Some(next) => next,
        None => start(
            instance,
            around,
            Next::Do(OperationKind::Launch, InstanceState::Starting),
        ),
    }
}

/// A person wants it restarted, and it has been stopped for that where it ran.
pub(super) fn is_asked(instance: &Instance, around: &Around<'_>) -> bool {
    instance.stopping_for_restart || around.is_restart_asked(instance)
}

/// By its runs it is not to be started now; `None`: it is.
pub(super) fn rests(instance: &mut Instance, around: &Around<'_>) -> Option<Next> {
    if let Some(reason) = &instance.runs.broken {
        return Some(Next::Rest(InstanceState::Failed, Some(reason.clone())));
    }
    if !instance.runs.counts() {
        return None;
    }
    if is_asked(instance, around) {
        instance.runs.begin_anew();
    }
    if instance.runs.phase == Phase::Owed {
        return None;
    }
    if instance.runs.is_schedule() {
        let reason = instance.runs.clock_unset.clone();
        let rest = Next::Rest(InstanceState::Scheduled, reason);
        return (!instance.runs.due).then_some(rest);
    }
    if instance.runs.is_spent() {
        return Some(finished(instance));
    }
    let waits = around.waits(instance) && instance.failures == 0;
    waits.then(|| {
        let number = instance.runs.record.runs.saturating_add(1);
        let all = instance.runs.max_runs().unwrap_or(number);
        let reason = format!("waits to begin run {number} of {all}");
        Next::Rest(InstanceState::Pending, Some(reason))
    })
}

/// The last of so many runs is over.
fn finished(instance: &mut Instance) -> Next {
    let exit = match instance.current.as_ref().map(|c| &c.status) {
        Some(Status::Ended { exit, .. }) => Some(exit.clone()),
        _ => None,
    };
    let well = exit
        .as_ref()
        .is_some_and(|exit| exit.code == Some(0) && instance.condemned.is_none());
    instance.runs.finish(well);
    if instance.runs.record.finished == Some(true) {
        return Next::Rest(InstanceState::Completed, None);
    }
    let why = match &exit {
        Some(exit) => why_ended(instance, exit),
        None => "the last of its runs failed, and what it left is gone".to_owned(),
    };
    Next::Rest(InstanceState::Failed, Some(why))
}

/// It should run and does not. `current_spec`: it is what is wanted, and may be made anew.
pub(super) fn ended(
    instance: &mut Instance,
    around: &Around<'_>,
    current: &Current,
    current_spec: bool,
) -> Next {
    let again = Next::Do(OperationKind::Start, InstanceState::Starting);
    if instance.runs.counts() {
        let asked = is_asked(instance, around);
        if let Some(next) = rests(instance, around) {
            return next;
        }
        // As below: a restart that counts its runs anew must neither be lost nor be one too many.
        let made_anew = asked && current_spec && !instance.runs.is_schedule();
        if made_anew && instance.seen() == Seen::Ended && !around.waits(instance) {
            return Next::Do(OperationKind::Remove, InstanceState::Starting);
        }
        return start(instance, around, again);
    }
    let Status::Ended { exit, .. } = &current.status else {
        return start(instance, around, again);
    };
    let Some(assigned) = &instance.assigned else {
        return Next::Forget;
    };
    let owed = assigned.restart_count > around.restarts_done;
    let condemned = instance.condemned.as_ref();
    let asked = is_asked(instance, around)
        || instance.was_stopped
        || condemned.is_some_and(|c| c.unhealthy);
    let policy = assigned.restart().policy;
    if asked && !around.waits(instance) {
        // The restart must be noted as carried out before it is, and the agent may be killed in
        // between. What its policy starts again comes back by itself then; anything else is made
        // anew, since what is not there is always launched.
        if owed && policy != RestartPolicy::Always && current_spec {
            return Next::Do(OperationKind::Remove, InstanceState::Starting);
        }
        return start(instance, around, again);
    }
    let failed = condemned.is_some() || exit.code != Some(0);
    let wanted = asked
        || match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failed,
            RestartPolicy::Never => false,
        };
    if wanted {
        return start(instance, around, again);
    }
    if failed {
        Next::Rest(InstanceState::Failed, Some(why_ended(instance, exit)))
    } else {
        Next::Rest(InstanceState::Completed, None)
    }
}

/// It is to be started: after its delay, when those that it depends on have come so far, and
/// counted where runs are.
pub(super) fn start(instance: &mut Instance, around: &Around<'_>, how: Next) -> Next {
    if around.waits(instance) {
        return backs_off(instance);
    }
    if let Some(reason) = order::waits_for(instance, around.others) {
        instance.waits_for_other = true;
        return Next::Rest(InstanceState::Pending, Some(reason));
    }
    instance.runs.count();
    how
}
