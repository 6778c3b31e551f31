//! One workload on one node, as its agent sees it.

use super::{HealthStatus, Name, Trial, UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// What executes an instance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
    /// A native process.
    Process,
    /// The agent itself: it puts another release of itself in its place.
    Agent,
}

impl RuntimeKind {
    /// A container engine: a program of its own, which may be away.
    pub fn is_engine(self) -> bool {
        matches!(self, RuntimeKind::Docker | RuntimeKind::Podman)
    }

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RuntimeKind::Docker => "docker",
            RuntimeKind::Podman => "podman",
            RuntimeKind::Process => "process",
            RuntimeKind::Agent => "agent",
        }
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where an instance stands; the diagram is in [`crate::supervisor`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Assigned; the agent has not begun.
    Pending,
    /// Its image is being fetched.
    Pulling,
    /// Being created and started.
    Starting,
    /// Runs.
    Running,
    /// Waits for its time, as its schedule says.
    Scheduled,
    /// Runs, and its health check has failed too often.
    Unhealthy,
    /// Ended or could not start; is tried again at a known time.
    Backoff,
    /// As [`InstanceState::Backoff`], for the third time in a row or more: it slows only itself.
    CrashLoop,
    /// Being stopped.
    Stopping,
    /// Stopped because somebody asked for it.
    Stopped,
    /// Ended with exit code 0 and is not started again.
    Completed,
    /// Ended, or cannot start, and is not started again.
    Failed,
    /// Its engine does not answer: nobody knows. A reader takes a word that it does not know for
    /// this too.
    #[serde(other)]
    Unknown,
}

impl InstanceState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            InstanceState::Pending => "pending",
            InstanceState::Pulling => "pulling",
            InstanceState::Starting => "starting",
            InstanceState::Running => "running",
            InstanceState::Scheduled => "scheduled",
            InstanceState::Unhealthy => "unhealthy",
            InstanceState::Backoff => "backoff",
            InstanceState::CrashLoop => "crashloop",
            InstanceState::Stopping => "stopping",
            InstanceState::Stopped => "stopped",
            InstanceState::Completed => "completed",
            InstanceState::Failed => "failed",
            InstanceState::Unknown => "unknown",
        }
    }

    /// A program of it runs.
    pub fn is_up(self) -> bool {
        matches!(self, InstanceState::Running | InstanceState::Unhealthy)
    }

    /// It is as it was asked for: it runs, waits for its time, or has done what it was to do.
    pub fn is_well(self) -> bool {
        matches!(
            self,
            InstanceState::Running | InstanceState::Scheduled | InstanceState::Completed
        )
    }

    /// It is not as it was asked for, and somebody should look.
    pub fn is_bad(self) -> bool {
        matches!(
            self,
            InstanceState::Unhealthy
                | InstanceState::Backoff
                | InstanceState::CrashLoop
                | InstanceState::Failed
                | InstanceState::Unknown
        )
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the agent reports about one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObservedInstance {
    /// The workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The version that runs (or last ran), not the one that is wanted.
    pub version: String,
    /// [`super::Workload::spec_hash`] of what runs.
    pub spec_hash: String,
    /// Where it stands.
    pub state: InstanceState,
    /// What executes it.
    pub runtime: RuntimeKind,
    /// Times that it was started again, since it was created.
    pub restarts: u32,
    /// One sentence for a person: why it is in this state. `None` when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Things that work less well than asked for, such as a limit the board cannot enforce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of its last end: the exit code, 128 + n for signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Container id or process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Node's clock when the state was entered; for showing only.
    pub since_ms: UnixMs,
    /// Pull progress, 0–100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// While it runs: whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Runs begun, for `schedule` and `max_runs`; counted over restarts of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
    /// When its schedule lets it run next, on the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run_ms: Option<UnixMs>,
    /// What went wrong last, at most 4 KiB: a sentence, or for Python the traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The last lines that it wrote before it failed, at most ten of 256 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_output: Vec<String>,
    /// Of its last guarded change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Box<Trial>>,
    /// [`super::Workload::spec_hash`] of what was fetched ahead ([`super::AssignedInstance::next`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<String>,
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Unix nanoseconds on the node's clock; also the cursor to go on from. Travels as a decimal
    /// string, since JSON numbers are exact only up to 2^53.
    #[serde(rename = "cursor", with = "super::decimal")]
    #[schema(value_type = String)]
    pub time_ns: u64,
    /// Which of the two.
    pub stream: LogStream,
    /// Without its line end; bytes that are not UTF-8 are replaced; at most 16 KiB.
    pub text: String,
}
