//! What goes into the supervisor and what comes out.

use crate::{
    model::{Assignment, Desired, HealthCheck, Hook, Name, RuntimeKind, TrialState, UnixMs},
    runtime::{Found, Launch, Launched, Progress, RuntimeError},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Both clocks of a node, read once per input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic milliseconds; every decision uses these.
    pub mono_ms: u64,
    /// Wall clock: for showing, and for schedules, which cannot do without.
    pub unix_ms: UnixMs,
}

/// What must outlive the agent beside the assignment; a stored form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Restarts carried out, by workload.
    #[serde(default)]
    pub restarts_done: BTreeMap<Name, u64>,
    /// Runs of workloads that count or schedule them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<Name, RunRecord>,
    /// Orders given on the node, which hold until the workload's assignment changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Name, Held>,
    /// Guarded changes that have begun or have been decided, while they are assigned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trials: BTreeMap<Name, TrialRecord>,
}

/// The guarded change of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Of what is tried: it holds for nothing else.
    pub spec_hash: String,
    /// The version of that.
    #[serde(default)]
    pub version: String,
    /// How it stands.
    pub state: TrialState,
    /// Starts of the agent while it was running.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub starts: u32,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last lines, where it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_output: Vec<String>,
    /// When it was assigned, or decided; for showing only.
    #[serde(default)]
    pub at_ms: UnixMs,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The runs of one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Runs begun: counted before they are, so that there is never one too many.
    #[serde(default)]
    pub runs: u32,
    /// Every time of the schedule up to this one has been dealt with, node's wall clock.
    #[serde(default)]
    pub handled_ms: UnixMs,
    /// Of which run mode: another one begins anew. Its text as JSON.
    pub mode: String,
    /// The last of all its runs is over, and whether it succeeded: it does not run again, also
    /// where what it left has been cleared away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<bool>,
}

/// A person's order on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Run it or keep it stopped.
    pub desired: Desired,
    /// It holds as long as the assignment is this one: spec hash, what is desired, restarts.
    pub assignment: String,
}

/// Tells operations apart.
pub type OperationId = u64;

/// Where something lies in the order in which looks begin and operations end; see
/// [`super::Supervisor::begin_look`].
pub type Moment = u64;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An assignment, from the disk or from the controller. An older generation than that in
    /// effect is ignored.
    Assigned(Assignment),
    /// This node turned out to have another runtime.
    RuntimeFound(RuntimeKind),
    /// Everything of ours that a runtime has.
    Listed {
        /// Which runtime.
        runtime: RuntimeKind,
        /// When the look began.
        as_of: Moment,
        /// All of it.
        found: Vec<Found>,
    },
    /// One instance was looked at.
    Observed {
        /// In which runtime.
        runtime: RuntimeKind,
        /// When the look began.
        as_of: Moment,
        /// How it is.
        found: Found,
    },
    /// One instance is not there any more.
    Gone {
        /// From which runtime.
        runtime: RuntimeKind,
        /// Its handle.
        handle: String,
    },
    /// A runtime cannot be reached.
    RuntimeLost {
        /// Which.
        runtime: RuntimeKind,
        /// One sentence.
        reason: String,
    },
    /// An operation gets on.
    Progressed {
        /// Which.
        operation: OperationId,
        /// How far.
        progress: Progress,
    },
    /// An operation has ended.
    Finished {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: OpOutcome,
    },
    /// A health check has answered.
    Probed {
        /// Which.
        probe: OperationId,
        /// `Err`: one sentence.
        result: Result<(), String>,
    },
    /// The last lines that an instance wrote.
    LastOutput {
        /// In which runtime.
        runtime: RuntimeKind,
        /// Of what.
        handle: String,
        /// At most ten of 256 bytes, oldest first.
        lines: Vec<String>,
    },
    /// Somebody orders something on this node.
    Ordered {
        /// Command id, for the answer.
        id: String,
        /// About which workload.
        workload: Name,
        /// What.
        order: LocalOrder,
    },
    /// The deadline has come.
    Tick,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpOutcome {
    /// A launch or start worked.
    Launched(Launched),
    /// Anything else worked.
    Done,
    /// A stop worked, but what was to be run before it did not: one sentence.
    DoneBut(String),
    /// It did not.
    Failed(RuntimeError),
}

/// Orders to one instance that do not come through the assignment. They hold until the workload's
/// assignment changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalOrder {
    /// Run it.
    Start,
    /// Keep it stopped.
    Stop,
    /// Stop it and start it again.
    Restart,
    /// Remove what is not assigned.
    Remove,
}

/// What the shell must do. Operations end with an [`Input::Finished`].
#[derive(Debug, Clone)]
pub enum Action {
    /// Create and start.
    Launch {
        /// For the outcome.
        operation: OperationId,
        /// By which runtime.
        runtime: RuntimeKind,
        /// What.
        launch: Launch,
    },
    /// Fetch what a later launch needs.
    Prepare {
        /// For the outcome.
        operation: OperationId,
        /// By which runtime.
        runtime: RuntimeKind,
        /// What.
        launch: Launch,
    },
    /// Start what is there.
    Start {
        /// For the outcome.
        operation: OperationId,
        /// In which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
    },
    /// Stop it, gently first.
    Stop {
        /// For the outcome.
        operation: OperationId,
        /// In which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
        /// Time until it is killed.
        timeout_ms: u64,
        /// Run before, where it runs.
        before: Option<Hook>,
    },
    /// Place its files anew, and send it the signal that it takes them by.
    Reload {
        /// For the outcome.
        operation: OperationId,
        /// In which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
        /// With the files.
        launch: Launch,
    },
    /// Ask whether it works; ends with an [`Input::Probed`]. No operation: others go on beside it.
    Probe {
        /// For the answer.
        probe: OperationId,
        /// In which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
        /// The question.
        check: HealthCheck,
        /// For the answer.
        timeout_ms: u64,
    },
    /// Fetch the last lines that it wrote; ends with an [`Input::LastOutput`].
    FetchLastOutput {
        /// In which runtime.
        runtime: RuntimeKind,
        /// Of what.
        handle: String,
    },
    /// Remove it.
    Remove {
        /// For the outcome.
        operation: OperationId,
        /// From which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
    },
    /// Give a fetch up: nobody wants what it is for any more. It still ends with an
    /// [`Input::Finished`], also when it was too late.
    Cancel {
        /// Which.
        operation: OperationId,
    },
    /// Look at it again: something happened to it while an operation was under way.
    Inspect {
        /// In which runtime.
        runtime: RuntimeKind,
        /// What.
        handle: String,
    },
    /// Keep this on disk, durably, for the next [`super::Supervisor::new`]. Where that cannot be,
    /// [`super::Supervisor::not_remembered`] decides what of the step goes on.
    Remember(Memory),
    /// The observed state changed: publish it.
    Report,
    /// Tell that something happened.
    Tell {
        /// `started`, `exited`, `failed`, ….
        event: &'static str,
        /// About which workload.
        workload: Name,
        /// One sentence.
        message: String,
    },
    /// A command has ended.
    Answer {
        /// Its id.
        id: String,
        /// How.
        result: Result<(), String>,
    },
}
