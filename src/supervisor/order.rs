//! The order among the instances of a node: who waits for whom.
//!
//! Starting: an instance is started once what it depends on has come as far as it asks for. What
//! runs already is left alone, whatever becomes of what it depends on. What is not on this node is
//! not waited for, which is said.
//!
//! Stopping: what is to stop or to go waits for those that depend on it and are to stop too, for as
//! long as their own stop may take and no longer. What is only replaced does not wait.

use super::instance::{Instance, OperationKind, Status};
use crate::model::{DependsOn, Desired, HealthStatus, InstanceState, Name};
use std::collections::BTreeMap;

/// Beside the time limits of what is waited for.
const STOP_GRACE_MS: u64 = 10_000;

/// Why `instance` may not be started yet, with all `others` of the node.
pub(super) fn waits_for(instance: &Instance, others: &BTreeMap<Name, Instance>) -> Option<String> {
    let assigned = instance.assigned.as_ref()?;
    let mut depends_on = assigned.workload.depends_on.iter();
    depends_on.find_map(|(name, condition)| {
        let other = on_this_node(name, others)?;
        let far = match condition {
            DependsOn::Started => "be started",
            DependsOn::Healthy => "be healthy",
            DependsOn::Completed => "complete",
        };
        let failed = match other.state {
            InstanceState::Failed => ", which has failed",
            _ => "",
        };
        (!has_come(other, *condition)).then(|| format!("waits for {name}{failed} to {far}"))
    })
}

/// What `instance` depends on and cannot be waited for.
pub(super) fn warnings(instance: &Instance, others: &BTreeMap<Name, Instance>) -> Vec<String> {
    let Some(assigned) = &instance.assigned else {
        return Vec::new();
    };
    let names = assigned.workload.depends_on.keys();
    names
        .filter(|name| on_this_node(name, others).is_none())
        .map(|name| format!("{name} is not on this node: its order is not kept"))
        .collect()
}

fn on_this_node<'a>(name: &Name, others: &'a BTreeMap<Name, Instance>) -> Option<&'a Instance> {
    others.get(name).filter(|other| other.assigned.is_some())
}

fn has_come(other: &Instance, condition: DependsOn) -> bool {
    let known = other.state != InstanceState::Unknown;
    let health = other.monitor.as_ref().map(|m| m.status().0);
    let has_run = match other.state {
        InstanceState::Completed => true,
        // It ended; where it could not even be started nothing has.
        InstanceState::Failed => ended(other),
        InstanceState::Scheduled => ended(other) || other.runs.record.runs > 0,
        _ => false,
    };
    match condition {
        DependsOn::Started => known && (other.is_running() || has_run),
        DependsOn::Healthy => known && other.is_running() && health == Some(HealthStatus::Healthy),
        DependsOn::Completed => {
            // A schedule's last run counts.
            let ran = other.state == InstanceState::Scheduled && has_run;
            other.state == InstanceState::Completed || (ran && other.exit_code == Some(0))
        }
    }
}

fn ended(instance: &Instance) -> bool {
    let status = instance.current.as_ref().map(|c| &c.status);
    matches!(status, Some(Status::Ended { .. }))
}

/// Somebody who must stop first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First {
    pub name: Name,
    /// How long that may take at most.
    pub limit_ms: u64,
}

/// Who must stop before `name`, which is to stop or to go.
pub(super) fn stops_first(name: &Name, others: &BTreeMap<Name, Instance>) -> Option<First> {
    let first = others.values().find(|other| {
        let depends = other
            .last
            .as_ref()
            .is_some_and(|w| w.depends_on.contains_key(name));
        depends && other.desired() != Some(Desired::Running) && is_up(other)
    })?;
    let (stop_ms, hook_ms) = first.last.as_ref().map_or((10_000, 0), |w| {
        let hook_ms = w.before_stop.as_ref().map_or(0, |hook| hook.timeout_ms);
        (w.stop_timeout_ms, hook_ms)
    });
    Some(First {
        name: first.name.clone(),
        limit_ms: stop_ms
            .saturating_add(hook_ms)
            .saturating_add(STOP_GRACE_MS),
    })
}

/// It runs, or is on its way there or back.
fn is_up(instance: &Instance) -> bool {
    let on_its_way = instance.operation.as_ref().is_some_and(|operation| {
        matches!(
            operation.kind,
            OperationKind::Launch | OperationKind::Start | OperationKind::Stop
        )
    });
    on_its_way || instance.is_running()
}
