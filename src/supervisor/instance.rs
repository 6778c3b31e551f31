//! What the supervisor knows of one instance.

use super::{
    LocalOrder, Moment, Now, OperationId, RunRecord,
    ahead::{Ahead, Fetching},
    health::Monitor,
    runs::Runs,
    trial::Trying,
};
use crate::{
    model::{
        AssignedInstance, Desired, InstanceState, Name, Restart, Run, RuntimeKind, TraceContext,
        Workload,
    },
    runtime::{Exit, ImageHealth},
};
use std::{collections::BTreeMap, sync::Arc};

/// One workload on this node.
#[derive(Debug)]
pub(super) struct Instance {
    pub name: Name,
    /// `None`: it must go.
    pub assigned: Option<Assigned>,
    /// What was assigned last, also when it is not any more: how it is stopped, and in which order.
    pub last: Option<Arc<Workload>>,
    /// What the current one was launched from, where that is another spec by now: its hash.
    pub ran: Option<(String, Arc<Workload>)>,
    /// What a runtime has of it.
    pub current: Option<Current>,
    /// Others of the same workload that must go: left by an interrupted replacement.
    pub leftovers: Vec<(RuntimeKind, String)>,
    /// What is being done.
    pub operation: Option<Operation>,
    /// The image of the wanted spec is there: a replacement may begin.
    pub prepared: bool,
    /// Its guarded change; what is assigned is the fallback where that has failed.
    pub trial: Option<Box<Trying>>,
    /// What is to be fetched ahead.
    pub ahead: Option<Ahead>,
    /// The fetch that is under way for that.
    pub fetching: Option<Fetching>,
    /// Hash of what was fetched ahead.
    pub fetched: Option<String>,
    /// Something happened to it while an operation was under way.
    pub look_again: bool,
    /// When its last operation in a runtime ended, or the look began that told of it last: an answer
    /// to an earlier look there is of the past.
    pub known_as_of: BTreeMap<RuntimeKind, Moment>,

    // Why it waits, and until when.
    /// Starts in a row that failed or did not last.
    pub failures: u32,
    /// That it is in a crash loop has been told.
    pub crash_told: bool,
    /// The delay before the run that goes on, or that comes next.
    pub delay_ms: u64,
    /// Not before.
    pub not_before_ms: u64,
    /// Why not.
    pub why_waits: Option<String>,
    /// Tries in a row to fetch for a replacement, to reload, to stop or to remove that failed.
    pub change_failures: u32,
    /// A replacement is not fetched for, and nothing is reloaded, again before.
    pub change_not_before_ms: u64,
    /// Why a replacement or a reload waits.
    pub change_reason: Option<String>,
    /// Since when it waits for another one to stop first.
    pub stop_waits_since_ms: Option<u64>,
    /// It waits for another instance: decide again when something has changed.
    pub waits_for_other: bool,
    /// When it must be decided upon again.
    pub wake_ms: Option<u64>,
    /// When its health must be looked at again.
    pub health_wake_ms: Option<u64>,

    // What it was told.
    /// A person's order on this node, until the assignment changes.
    pub held: Option<Desired>,
    /// Somebody wants it restarted, now.
    pub restart_now: bool,
    /// It is being stopped in order to be started again.
    pub stopping_for_restart: bool,
    /// It was stopped on purpose, or its start was asked for and has failed: when it is wanted, it
    /// starts whatever its policy says.
    pub was_stopped: bool,
    /// It is being stopped, or was, because it failed though it ran.
    pub condemned: Option<Condemned>,
    /// Commands that wait for it to settle.
    pub waiting: Vec<String>,

    // What is known of its run.
    /// Since when it ran, until its end was judged; monotonic.
    pub ran_since_ms: Option<u64>,
    /// This agent started what runs now; else it was found running.
    pub started_here: bool,
    /// [`Workload::files_hash`] of the files that it has taken; `None` when that is not known.
    pub files_in_effect: Option<String>,
    /// Runs by the clock, or so many times.
    pub runs: Runs,
    /// It has a health check and has not passed it, now or last: its run is not stable, however
    /// long it lasts.
    pub unproven: bool,
    /// While it runs.
    pub monitor: Option<Monitor>,
    /// Of the image's own HEALTHCHECK.
    pub image_health: Option<ImageHealth>,

    // What is reported.
    /// Something of it that is reported has changed.
    pub changed: bool,
    pub state: InstanceState,
    pub since_unix_ms: u64,
    /// When what was found running had been started, by its runtime.
    pub started_unix_ms: Option<u64>,
    pub reason: Option<String>,
    pub warnings: Vec<String>,
    pub order_warnings: Vec<String>,
    pub progress: Option<u8>,
    pub restarts: u32,
    pub exit_code: Option<i32>,
    pub last_error: Option<String>,
    pub last_output: Vec<String>,
    pub reported_runtime: RuntimeKind,
}

#[derive(Debug)]
pub(super) struct Assigned {
    pub workload: Arc<Workload>,
    pub spec_hash: String,
    pub files_hash: Option<String>,
    pub desired: Desired,
    pub restart_count: u64,
    /// The request that it comes from; nothing is decided by it.
    pub trace: Option<TraceContext>,
}

impl Assigned {
    pub(super) fn restart(&self) -> &Restart {
        &self.workload.restart
    }
}

/// It runs, and has failed all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condemned {
    /// One sentence.
    pub why: String,
    /// It did not work; else it took too long.
    pub unhealthy: bool,
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
    /// What is stopped, started, reloaded or removed; empty for a launch.
    pub handle: String,
    /// Of the files that a launch or a reload puts in effect.
    pub files_hash: Option<String>,
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
    Reload,
    Remove,
    RemoveLeftover,
}

impl OperationKind {
    /// It leaves what runs as it is.
    pub(super) fn is_beside(self) -> bool {
        matches!(
            self,
            OperationKind::Prepare | OperationKind::Reload | OperationKind::RemoveLeftover
        )
    }
}

impl Instance {
    pub(super) fn new(now: Now, name: Name) -> Instance {
        Instance {
            name,
            assigned: None,
            last: None,
            ran: None,
            current: None,
            leftovers: Vec::new(),
            operation: None,
            prepared: false,
            trial: None,
            ahead: None,
            fetching: None,
            fetched: None,
            look_again: false,
            known_as_of: BTreeMap::new(),
            failures: 0,
            crash_told: false,
            delay_ms: 0,
            not_before_ms: 0,
            why_waits: None,
            change_failures: 0,
            change_not_before_ms: 0,
            change_reason: None,
            stop_waits_since_ms: None,
            waits_for_other: false,
            wake_ms: None,
            health_wake_ms: None,
            held: None,
            restart_now: false,
            stopping_for_restart: false,
            was_stopped: false,
            condemned: None,
            waiting: Vec::new(),
            ran_since_ms: None,
            started_here: false,
            files_in_effect: None,
            runs: Runs::default(),
            unproven: false,
            monitor: None,
            image_health: None,
            changed: false,
            state: InstanceState::Pending,
            since_unix_ms: now.unix_ms,
            started_unix_ms: None,
            reason: None,
            warnings: Vec::new(),
            order_warnings: Vec::new(),
            progress: None,
            restarts: 0,
            exit_code: None,
            last_error: None,
            last_output: Vec::new(),
            reported_runtime: RuntimeKind::Process,
        }
    }

    /// Takes an assignment; `held` is a person's order that still holds for it, `stored` what is
    /// known of its runs.
    pub(super) fn assign(
        &mut self,
        next: AssignedInstance,
        held: Option<Desired>,
        stored: Option<&RunRecord>,
    ) {
        let spec_hash = next.workload.spec_hash();
        let same = self.assigned.as_ref().is_some_and(|a| {
            a.spec_hash == spec_hash
                && a.desired == next.desired
                && a.restart_count == next.restart_count
        });
        if !same {
            // What went wrong was about the old one.
            self.forgive();
            self.prepared = self.fetched.as_ref() == Some(&spec_hash);
        }
        if self.fetched.as_ref() == Some(&spec_hash) {
            self.fetched = None;
            self.changed = true;
        }
        self.held = held;
        // Started by a person after a stop, perhaps one that an earlier agent carried out: the
        // policy, which only knows that it ended, has no say.
        let stopped = |a: &Assigned| a.desired == Desired::Stopped;
        if next.desired == Desired::Running && self.assigned.as_ref().is_some_and(stopped) {
            self.was_stopped = true;
        }
        self.keep_what_ran();
        self.runs.set(&next.workload.mode, stored);
        self.changed |= self.last.as_ref() != Some(&next.workload);
        self.last = Some(next.workload.clone());
        self.assigned = Some(Assigned {
            files_hash: next.workload.files_hash(),
            workload: next.workload,
            spec_hash,
            desired: next.desired,
            restart_count: next.restart_count,
            trace: next.trace,
        });
    }

    pub(super) fn unassign(&mut self) {
        self.keep_what_ran();
        if self.assigned.take().is_some() {
            self.forgive();
            self.restart_now = false;
            self.held = None;
            self.condemned = None;
            self.runs = Runs::default();
            self.trial = None;
            self.fetched = None;
            self.changed = true;
        }
    }

    fn keep_what_ran(&mut self) {
        if let (Some(assigned), Some(current)) = (&self.assigned, &self.current)
            && assigned.spec_hash == current.spec_hash
        {
            self.ran = Some((assigned.spec_hash.clone(), assigned.workload.clone()));
        }
    }

    /// The spec of what is there, as far as it is known: it says how it wants to be stopped.
    pub(super) fn spec_of_current(&self) -> Option<&Arc<Workload>> {
        let hash = self.current.as_ref().map(|c| c.spec_hash.as_str());
        let assigned = self.assigned.as_ref();
        let same = assigned.filter(|a| Some(a.spec_hash.as_str()) == hash);
        let ran = self.ran.as_ref();
        let ran = ran.filter(|(of, _)| Some(of.as_str()) == hash);
        same.map(|a| &a.workload)
            .or(ran.map(|(_, workload)| workload))
            .or(self.last.as_ref())
    }

    /// What went wrong so far delays nothing any more.
    fn forgive(&mut self) {
        self.failures = 0;
        self.crash_told = false;
        self.delay_ms = 0;
        self.not_before_ms = 0;
        self.why_waits = None;
        self.change_failures = 0;
        self.change_not_before_ms = 0;
        self.change_reason = None;
    }

    pub(super) fn order(&mut self, id: String, order: LocalOrder) {
        match order {
            LocalOrder::Start => {
                // One that an earlier agent stopped, too: its policy only knows that it ended.
                self.was_stopped |= self.desired() == Some(Desired::Stopped);
                self.hold(Desired::Running);
                if self.runs.is_schedule() && !self.is_running() {
                    self.runs.begin_anew();
                }
            }
            LocalOrder::Stop => self.hold(Desired::Stopped),
            LocalOrder::Restart => {
                self.held = None;
                self.restart_now = true;
            }
            LocalOrder::Remove => {}
        }
        if let Some(trial) = &mut self.trial {
            trial.again();
        }
        self.forgive();
        self.waiting.push(id);
        // Bounded: who asks so often only wants to know of the last ones.
        if self.waiting.len() > 32 {
            self.waiting.remove(0);
        }
    }

    fn hold(&mut self, desired: Desired) {
        let assigned = self.assigned.as_ref().map(|a| a.desired);
        self.held = Some(desired).filter(|d| assigned != Some(*d));
    }

    /// What it should do, by assignment or by a person's order.
    pub(super) fn desired(&self) -> Option<Desired> {
        self.assigned
            .as_ref()
            .map(|a| self.held.unwrap_or(a.desired))
    }

    pub(super) fn is_running(&self) -> bool {
        let status = self.current.as_ref().map(|c| &c.status);
        matches!(status, Some(Status::Running { .. }))
    }

    /// Which runtime a launch must use.
    pub(super) fn runtime(&self, available: impl Fn(RuntimeKind) -> bool) -> Option<RuntimeKind> {
        let assigned = self.assigned.as_ref()?;
        let has = self.current.as_ref().map(|c| c.runtime);
        runtime_for(&assigned.workload, has, available)
    }

    /// When the clock must wake it: nothing is decided while an operation is under way, but its
    /// health and its timetable are looked at.
    pub(super) fn deadline(&self) -> Option<u64> {
        let decides = self.wake_ms.filter(|_| self.operation.is_none());
        let trial = self.trial.as_ref().and_then(|t| t.deadline());
        let times = [decides, self.health_wake_ms, self.runs.wake_ms, trial];
        times.into_iter().flatten().min()
    }
}

/// Which runtime a launch of `workload` must use: what it says, else what has it already, else the
/// first that the node has.
pub(super) fn runtime_for(
    workload: &Workload,
    has: Option<RuntimeKind>,
    available: impl Fn(RuntimeKind) -> bool,
) -> Option<RuntimeKind> {
    match &workload.run {
        Run::Process { .. } | Run::Python { .. } => Some(RuntimeKind::Process),
        Run::Agent { .. } => Some(RuntimeKind::Agent),
        Run::Container {
            engine: Some(kind), ..
        } => Some(*kind),
        Run::Container { engine: None, .. } => {
            let containers = [RuntimeKind::Docker, RuntimeKind::Podman];
            has.filter(|r| containers.contains(r))
                .or_else(|| containers.into_iter().find(|r| available(*r)))
        }
    }
}
