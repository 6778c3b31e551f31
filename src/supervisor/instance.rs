//! What the supervisor knows of one instance.

use super::{LocalOrder, Now, OperationId};
use crate::{
    model::{
        AssignedInstance, Desired, InstanceState, Name, ObservedInstance, Restart, Run,
        RuntimeKind, Workload,
    },
    runtime::{Exit, Found, FoundStatus},
};
use std::sync::Arc;

/// One workload on this node.
#[derive(Debug)]
pub(super) struct Instance {
    pub name: Name,
    /// `None`: it must go.
    pub assigned: Option<Assigned>,
    /// What a runtime has of it.
    pub current: Option<Current>,
    /// Others of the same workload that must go: left by an interrupted replacement.
    pub leftovers: Vec<(RuntimeKind, String)>,
    /// What is being done.
    pub operation: Option<Operation>,
    /// The image of the wanted spec is there: a replacement may begin.
    pub prepared: bool,
    /// Something happened to it while an operation was under way.
    pub look_again: bool,
    /// Starts in a row that failed or did not last.
    pub failures: u32,
    /// Not before.
    pub not_before_ms: u64,
    /// Tries in a row to fetch for a replacement, to stop or to remove that failed.
    pub change_failures: u32,
    /// A replacement is not fetched for again before.
    pub change_not_before_ms: u64,
    /// Why a replacement waits.
    pub change_reason: Option<String>,
    /// When it must be decided upon again.
    pub wake_ms: Option<u64>,
    /// A person's order on this node, until the assignment changes.
    pub held: Option<Desired>,
    /// Somebody wants it restarted, now.
    pub restart_now: bool,
    /// It is being stopped in order to be started again.
    pub stopping_for_restart: bool,
    /// It was stopped on purpose, or its start was asked for and has failed: when it is wanted, it
    /// starts whatever its policy says.
    pub was_stopped: bool,
    /// Since when it ran, until its end was judged; monotonic.
    pub ran_since_ms: Option<u64>,
    /// Of the spec that was assigned last.
    pub stop_timeout_ms: u64,
    /// Commands that wait for it to settle.
    pub waiting: Vec<String>,
    // What is reported.
    pub state: InstanceState,
    pub since_unix_ms: u64,
    /// When what was found running had been started, by its runtime.
    pub started_unix_ms: Option<u64>,
    pub reason: Option<String>,
    pub warnings: Vec<String>,
    pub progress: Option<u8>,
    pub restarts: u32,
    pub exit_code: Option<i32>,
    pub reported_runtime: RuntimeKind,
}

#[derive(Debug)]
pub(super) struct Assigned {
    pub workload: Arc<Workload>,
    pub spec_hash: String,
    pub desired: Desired,
    pub restart_count: u64,
}

impl Assigned {
    pub(super) fn restart(&self) -> &Restart {
        &self.workload.restart
    }
}

#[derive(Debug, Clone)]
pub(super) struct Current {
    pub runtime: RuntimeKind,
    pub handle: String,
    pub spec_hash: String,
    pub version: String,
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    /// Since when this supervisor knows that it runs; monotonic.
    Running {
        since_ms: u64,
    },
    /// Ended; `decided` once its policy was applied.
    Ended {
        exit: Exit,
        decided: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub runtime: RuntimeKind,
    /// Of what is launched, prepared or started.
    pub spec_hash: String,
    /// Of what is launched, prepared or started.
    pub version: String,
    /// What is stopped, started or removed; empty for a launch.
    pub handle: String,
    /// It was told to give up.
    pub cancelled: bool,
    /// A person asked for this start; when it fails it is still owed.
    pub asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationKind {
    Launch,
    Prepare,
    Start,
    Stop,
    Remove,
    RemoveLeftover,
}

impl Instance {
    pub(super) fn new(now: Now, name: Name) -> Instance {
        Instance {
            name,
            assigned: None,
            current: None,
            leftovers: Vec::new(),
            operation: None,
            prepared: false,
            look_again: false,
            failures: 0,
            not_before_ms: 0,
            change_failures: 0,
            change_not_before_ms: 0,
            change_reason: None,
            wake_ms: None,
            held: None,
            restart_now: false,
            stopping_for_restart: false,
            was_stopped: false,
            ran_since_ms: None,
            stop_timeout_ms: 10_000,
            waiting: Vec::new(),
            state: InstanceState::Pending,
            since_unix_ms: now.unix_ms,
            started_unix_ms: None,
            reason: None,
            warnings: Vec::new(),
            progress: None,
            restarts: 0,
            exit_code: None,
            reported_runtime: RuntimeKind::Process,
        }
    }

    pub(super) fn assign(&mut self, next: AssignedInstance) {
        let spec_hash = next.workload.spec_hash();
        let same = self.assigned.as_ref().is_some_and(|a| {
            a.spec_hash == spec_hash
                && a.desired == next.desired
                && a.restart_count == next.restart_count
        });
        if !same {
            // What a person ordered here, and what went wrong, was about the old one.
            self.held = None;
            self.forgive();
            self.prepared = false;
        }
        // Started by a person after a stop, perhaps one that an earlier agent carried out: the
        // policy, which only knows that it ended, has no say.
        let stopped = |a: &Assigned| a.desired == Desired::Stopped;
        if next.desired == Desired::Running && self.assigned.as_ref().is_some_and(stopped) {
            self.was_stopped = true;
        }
        self.stop_timeout_ms = next.workload.stop_timeout_ms;
        self.assigned = Some(Assigned {
            workload: next.workload,
            spec_hash,
            desired: next.desired,
            restart_count: next.restart_count,
        });
    }

    pub(super) fn unassign(&mut self) {
        if self.assigned.take().is_some() {
            self.forgive();
            self.restart_now = false;
        }
    }

    /// What went wrong so far delays nothing any more.
    fn forgive(&mut self) {
        self.failures = 0;
        self.not_before_ms = 0;
        self.change_failures = 0;
        self.change_not_before_ms = 0;
        self.change_reason = None;
    }

    pub(super) fn order(&mut self, id: String, order: LocalOrder) {
        match order {
            LocalOrder::Start => self.held = Some(Desired::Running),
            LocalOrder::Stop => self.held = Some(Desired::Stopped),
            LocalOrder::Restart => {
                self.held = None;
                self.restart_now = true;
            }
            LocalOrder::Remove => {}
        }
        self.forgive();
        self.waiting.push(id);
        // Bounded: who asks so often only wants to know of the last ones.
        if self.waiting.len() > 32 {
            self.waiting.remove(0);
        }
    }

    /// What it should do, by assignment or by a person's order.
    pub(super) fn desired(&self) -> Option<Desired> {
        self.assigned
            .as_ref()
            .map(|a| self.held.unwrap_or(a.desired))
    }

    /// It takes what a runtime found to be its current one.
    pub(super) fn adopt(&mut self, now: Now, runtime: RuntimeKind, found: Found) {
        let since_ms = match &self.current {
            Some(Current {
                status: Status::Running { since_ms },
                handle,
                ..
            }) if *handle == found.handle => *since_ms,
            _ => now.mono_ms,
        };
        let decided = matches!(
            &self.current,
            Some(Current { status: Status::Ended { decided: true, .. }, handle, .. })
                if *handle == found.handle
        );
        self.started_unix_ms = match found.status {
            FoundStatus::Running { started_ms, .. } => Some(started_ms),
            _ => None,
        };
        let status = match found.status {
            FoundStatus::Created => Status::Created,
            FoundStatus::Running { .. } => Status::Running { since_ms },
            FoundStatus::Exited(exit) => Status::Ended { exit, decided },
        };
        self.reported_runtime = runtime;
        self.current = Some(Current {
            runtime,
            handle: found.handle,
            spec_hash: found.spec_hash,
            version: found.version,
            status,
        });
    }

    /// Which runtime a launch must use: what the workload says, else what has it already, else
    /// the first that the node has.
    pub(super) fn runtime(&self, available: impl Fn(RuntimeKind) -> bool) -> Option<RuntimeKind> {
        let assigned = self.assigned.as_ref()?;
        match &assigned.workload.run {
            Run::Process { .. } => Some(RuntimeKind::Process),
            Run::Container {
                engine: Some(kind), ..
            } => Some(*kind),
            Run::Container { engine: None, .. } => {
                let containers = [RuntimeKind::Docker, RuntimeKind::Podman];
                let has = self.current.as_ref().map(|c| c.runtime);
                has.filter(|r| containers.contains(r))
                    .or_else(|| containers.into_iter().find(|r| available(*r)))
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.wake_ms.filter(|_| self.operation.is_none())
    }

    /// Enters a state; `true` when that changes what is reported.
    pub(super) fn enter(&mut self, now: Now, state: InstanceState, reason: Option<String>) -> bool {
        if state != InstanceState::Pulling {
            self.progress = None;
        }
        if self.state == state && self.reason == reason {
            return false;
        }
        if self.state != state {
            // What ran before this agent did is shown with its own time.
            let started = self.started_unix_ms.take();
            let own = started.filter(|_| state == InstanceState::Running);
            self.since_unix_ms = own.unwrap_or(now.unix_ms);
        }
        self.state = state;
        self.reason = reason;
        true
    }

    pub(super) fn report(&self) -> ObservedInstance {
        let (spec_hash, version) = match (&self.current, &self.assigned) {
            (Some(c), _) => (c.spec_hash.clone(), c.version.clone()),
            (None, Some(a)) => (a.spec_hash.clone(), a.workload.version.clone()),
            (None, None) => Default::default(),
        };
        ObservedInstance {
            workload: self.name.clone(),
            version,
            spec_hash,
            state: self.state,
            runtime: self.reported_runtime,
            restarts: self.restarts,
            reason: self.reason.clone(),
            warnings: self.warnings.clone(),
            exit_code: self.exit_code,
            handle: self.current.as_ref().map(|c| c.handle.clone()),
            since_ms: self.since_unix_ms,
            progress: self.progress,
        }
    }
}
