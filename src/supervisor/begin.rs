//! Begins an operation: makes the action, and notes it as under way.

use super::{
    Action, OperationId, Supervisor,
    decide::leftover,
    instance::{Assigned, Current, Instance, Operation, OperationKind},
};
use crate::{
    model::{Hook, Name, RuntimeKind},
    runtime::Launch,
};

impl Supervisor {
    /// `None` where there is nothing that it could be done to, or it is under way already.
    pub(super) fn begin(&mut self, instance: &mut Instance, kind: OperationKind) -> Option<Action> {
        let (runtime, handle) = self.place(instance, kind)?;
        let fetching = self.take_over(instance, kind, runtime);
        let id = fetching.unwrap_or_else(|| self.next_operation());
        let launch = instance.assigned.as_ref().map(|a| launch(&self.node, a));
        let action = action(instance, kind, id, (runtime, handle.clone()), launch)?;
        let (spec_hash, version) = match (&action, &instance.current) {
            (Action::Launch { launch, .. } | Action::Prepare { launch, .. }, _) => {
                (launch.spec_hash.clone(), launch.workload.version.clone())
            }
            (_, Some(c)) => (c.spec_hash.clone(), c.version.clone()),
            _ => Default::default(),
        };
        let files_hash = instance
            .assigned
            .as_ref()
            .and_then(|a| a.files_hash.clone());
        if kind == OperationKind::Start && !instance.runs.counts() {
            instance.restarts += u32::from(instance.exit_code.is_some());
        }
        instance.operation = Some(Operation {
            id,
            kind,
            runtime,
            spec_hash,
            version,
            handle,
            files_hash,
            cancelled: false,
            asked: false,
        });
        self.note_start(instance, kind);
        Some(action).filter(|_| fetching.is_none())
    }

    /// The fetch that is under way already for what is to be prepared.
    fn take_over(
        &self,
        instance: &mut Instance,
        kind: OperationKind,
        runtime: RuntimeKind,
    ) -> Option<OperationId> {
        let prepares = kind == OperationKind::Prepare;
        let assigned = instance.assigned.as_ref().filter(|_| prepares)?;
        let hash = assigned.spec_hash.clone();
        instance.take_over_fetch(&hash, runtime)
    }

    pub(super) fn next_operation(&mut self) -> OperationId {
        let id = self.next_operation;
        self.next_operation += 1;
        id
    }

    /// By which runtime, and to what; a launch has no handle yet.
    fn place(&self, instance: &Instance, kind: OperationKind) -> Option<(RuntimeKind, String)> {
        match kind {
            OperationKind::Launch | OperationKind::Prepare => {
                let target = instance.runtime(|r| self.runtimes.contains_key(&r))?;
                Some((target, String::new()))
            }
            OperationKind::RemoveLeftover => {
                let index = leftover(instance, &self.runtimes)?;
                instance.leftovers.get(index).cloned()
            }
            _ => {
                let Current {
                    runtime, handle, ..
                } = instance.current.as_ref()?;
                Some((*runtime, handle.clone()))
            }
        }
    }

    /// A restart that was asked for counts as carried out once the start, or the launch, begins:
    /// from then on it would come back by itself.
    fn note_start(&mut self, instance: &mut Instance, kind: OperationKind) {
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
        let done = self.memory.restarts_done.get(&instance.name);
        let owed = assigned.restart_count > done.copied().unwrap_or(0);
        if let Some(operation) = &mut instance.operation {
            operation.asked = ordered.contains(&true) || owed;
        }
        if owed {
            let name = instance.name.clone();
            self.memory
                .restarts_done
                .insert(name, assigned.restart_count);
            self.remember = true;
        }
    }
}

fn launch(node: &Name, assigned: &Assigned) -> Launch {
    Launch {
        node: node.clone(),
        workload: assigned.workload.clone(),
        spec_hash: assigned.spec_hash.clone(),
        trace: assigned.trace,
    }
}

fn action(
    instance: &Instance,
    kind: OperationKind,
    operation: OperationId,
    place: (RuntimeKind, String),
    launch: Option<Launch>,
) -> Option<Action> {
    let (runtime, handle) = place;
    Some(match kind {
        OperationKind::Launch => Action::Launch {
            operation,
            runtime,
            launch: launch?,
        },
        OperationKind::Prepare => Action::Prepare {
            operation,
            runtime,
            launch: launch?,
        },
        OperationKind::Reload => Action::Reload {
            operation,
            runtime,
            handle,
            launch: launch?,
        },
        OperationKind::Start => Action::Start {
            operation,
            runtime,
            handle,
        },
        OperationKind::Stop => Action::Stop {
            operation,
            runtime,
            handle,
            // What is not assigned any more has left its time limit here; else ten seconds.
            timeout_ms: instance.last.as_ref().map_or(10_000, |w| w.stop_timeout_ms),
            before: before_stop(instance),
        },
        OperationKind::Remove | OperationKind::RemoveLeftover => Action::Remove {
            operation,
            runtime,
            handle,
        },
    })
}

/// Of the spec that runs. What does not work is not asked to prepare for its end.
fn before_stop(instance: &Instance) -> Option<Hook> {
    let unhealthy = instance.condemned.as_ref().is_some_and(|c| c.unhealthy);
    let spec = instance.spec_of_current().filter(|_| !unhealthy)?;
    spec.before_stop.clone()
}
