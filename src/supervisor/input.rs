//! What goes into the supervisor and what comes out.

use crate::{
    model::{Assignment, Name, RuntimeKind, UnixMs},
    runtime::{Found, Launch, Launched, Progress, RuntimeError},
};
use std::collections::BTreeMap;

/// Both clocks of a node, read once per input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic milliseconds; every decision uses these.
    pub mono_ms: u64,
    /// Wall clock; only for showing.
    pub unix_ms: UnixMs,
}

/// Tells operations apart.
pub type OperationId = u64;

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
        /// All of it.
        found: Vec<Found>,
    },
    /// One instance was looked at.
    Observed {
        /// In which runtime.
        runtime: RuntimeKind,
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
    /// Keep this on disk, durably, for the next [`super::Supervisor::new`].
    Remember {
        /// Restarts carried out, by workload.
        restarts_done: BTreeMap<Name, u64>,
    },
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
