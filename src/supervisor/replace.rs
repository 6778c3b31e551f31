//! Another spec is wanted than what is there: fetch first, then stop, remove, launch.

use super::{
    decide::{Around, Next, up},
    instance::{Current, Instance, OperationKind},
    policy,
};
use crate::model::InstanceState;

/// The next step of a replacement. `blind`: why the runtime that is to have it cannot be used now.
pub(super) fn replace(
    instance: &mut Instance,
    around: &Around<'_>,
    current: &Current,
    blind: Option<String>,
) -> Next {
    let runs = instance.is_running();
    let now_ms = around.now.mono_ms;
    let too_early = !instance.prepared && now_ms < instance.change_not_before_ms;
    if too_early || blind.is_some() {
        // The old one goes on: where it has ended, by its policy.
        if !runs {
            return policy::ended(instance, around, current, false);
        }
        let reason = blind.or_else(|| instance.change_reason.clone());
        return up(instance, reason);
    }
    // All of its runs are over: the new spec is for those that a person orders.
    let counts = instance.runs.counts();
    if counts && !runs && instance.runs.is_spent() && !policy::is_asked(instance, around) {
        return policy::ended(instance, around, current, false);
    }
    if !instance.prepared {
        return Next::Do(OperationKind::Prepare, instance.state);
    }
    let waits = around.waits(instance);
    if runs {
        // A run that has an end is not cut short for it, unless a person wants that.
        let asked = around.is_restart_asked(instance);
        if counts && !asked && !instance.runs.makes_room() {
            let reason = "the change waits for the end of this run".to_owned();
            return up(instance, Some(reason));
        }
        if waits {
            return Next::Rest(InstanceState::Running, instance.why_waits.clone());
        }
        instance.stopping_for_restart |= counts && asked;
        return Next::Do(OperationKind::Stop, InstanceState::Stopping);
    }
    if let Some(next) = policy::rests(instance, around) {
        return next;
    }
    if waits {
        return policy::backs_off(instance);
    }
    if let Some(until) = instance.last_words_until(now_ms) {
        instance.wake_ms = Some(until);
        let reason = "waits for the last lines of the version that failed".to_owned();
        return Next::Rest(InstanceState::Starting, Some(reason));
    }
    // Counted before it is removed: nothing that is there would say that it was not.
    instance.runs.count();
    Next::Do(OperationKind::Remove, InstanceState::Starting)
}
