//! Looks at clocks and at health: what time brings by itself, whether or not an operation is under
//! way.

use super::{
    Action, Now, OperationId, Runtime, Supervisor,
    health::{Change, Monitor, Source, Task, Up},
    instance::{Condemned, Instance},
};
use crate::model::{Desired, HealthStatus, OnUnhealthy};

/// A look at one instance's health has at most so many outcomes; a bound, never reached.
const TASKS: u32 = 4;

impl Supervisor {
    pub(super) fn attend(&mut self, now: Now, actions: &mut Vec<Action>) {
        for instance in self.instances.values_mut() {
            look_at_clock(instance, now, self.assigned);
            let seen = instance
                .current
                .as_ref()
                .is_some_and(|c| self.runtimes.get(&c.runtime) == Some(&Runtime::Listed));
            look_at_health(instance, now, seen, &mut self.next_operation, actions);
        }
    }

    /// A health check has answered.
    pub(super) fn probed(
        &mut self,
        now: Now,
        probe: OperationId,
        result: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let mut instances = self.instances.values_mut();
        let owns = |i: &&mut Instance| i.monitor.as_ref().is_some_and(|m| m.owns(probe));
        let Some(instance) = instances.find(owns) else {
            return;
        };
        let monitor = instance.monitor.as_mut();
        if let Some(change) = monitor.and_then(|m| m.answered(probe, result, now.mono_ms)) {
            health_changed(instance, change, actions);
        }
    }
}

fn look_at_clock(instance: &mut Instance, now: Now, assigned: bool) {
    let next_before = instance.runs.next_ms();
    let wanted = assigned && instance.desired() == Some(Desired::Running);
    let comes = instance.runs.look(now, wanted);
    instance.changed |= next_before != instance.runs.next_ms();
    if comes && !instance.is_running() {
        // A new time begins without the delays of the one before.
        instance.failures = 0;
        instance.crash_told = false;
        instance.not_before_ms = 0;
    }
}

fn look_at_health(
    instance: &mut Instance,
    now: Now,
    seen: bool,
    next_operation: &mut OperationId,
    actions: &mut Vec<Action>,
) {
    instance.health_wake_ms = None;
    let runs = instance.is_running();
    let Some(assigned) = instance.assigned.as_ref().filter(|_| runs) else {
        instance.monitor = None;
        return;
    };
    let operation = instance.operation.as_ref();
    let left_alone = operation.is_none_or(|o| o.kind.is_beside());
    if !seen || !left_alone || instance.condemned.is_some() {
        return;
    }
    let Some(current) = &instance.current else {
        return;
    };
    let workload = &assigned.workload;
    let min_ms = workload.min_healthy_time_ms();
    let source = Source::new(workload.health.as_ref(), instance.image_health, min_ms);
    let up = if instance.started_here {
        Up::Started
    } else {
        Up::Found {
            for_ms: instance.found_up_ms(now),
        }
    };
    let (runtime, handle) = (current.runtime, current.handle.clone());
    let mut monitor = match instance.monitor.take() {
        Some(mut monitor) => {
            monitor.set(source, now.mono_ms);
            monitor
        }
        None => Monitor::new(source, up, now.mono_ms),
    };
    for _ in 0..TASKS {
        match monitor.task(now.mono_ms, instance.image_health) {
            None => break,
            Some(Task::Changed(change)) => {
                instance.monitor = Some(monitor);
                health_changed(instance, change, actions);
                let Some(again) = instance.monitor.take() else {
                    return;
                };
                monitor = again;
            }
            Some(Task::Ask(check, timeout_ms)) => {
                let probe = *next_operation;
                *next_operation += 1;
                monitor.asked(probe, now.mono_ms);
                actions.push(Action::Probe {
                    probe,
                    runtime,
                    handle: handle.clone(),
                    check,
                    timeout_ms,
                });
            }
        }
    }
    let (status, why) = monitor.status();
    instance.unproven = monitor.is_checked() && status != HealthStatus::Healthy;
    let restarts = monitor.on_unhealthy() == OnUnhealthy::Restart;
    if status == HealthStatus::Unhealthy && restarts && instance.desired() == Some(Desired::Running)
    {
        let why = why.unwrap_or_default();
        instance.condemned = Some(Condemned {
            why: format!("it was unhealthy and was stopped: {why}"),
            unhealthy: true,
        });
    }
    let ahead = monitor.deadline().filter(|at| *at > now.mono_ms);
    instance.health_wake_ms = ahead;
    instance.monitor = Some(monitor);
}

fn health_changed(instance: &mut Instance, change: Change, actions: &mut Vec<Action>) {
    instance.changed = true;
    let checked = instance.monitor.as_ref().is_some_and(Monitor::is_checked);
    match change {
        // That it has been up for a while is nothing that happened.
        Change::Healthy if !checked => {}
        Change::Healthy => actions.push(instance.tell("healthy", "is healthy".to_owned())),
        Change::Unhealthy(why) => {
            actions.push(instance.tell("unhealthy", format!("is unhealthy: {why}")));
        }
    }
}
