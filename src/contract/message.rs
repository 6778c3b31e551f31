//! The bodies. Each is one JSON object; [`super::seal`] adds the envelope's fields.

use super::Seq;
use crate::model::{
    Assignment, CommandOutcome, CommandSpec, EngineFact, LogLine, LogStream, Name, NodeConfig,
    NodeFacts, ObservedInstance, TraceContext, UnixMs, Unmanaged,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `metadata/{node}`: what the node is.
pub type Metadata = NodeFacts;

/// `cfg/{node}`: the agent configuration in effect.
pub type Cfg = NodeConfig;

/// `assignment/{node}`: what the node must run.
pub type AssignmentBody = Assignment;

/// `status/{node}`: the session began or ended. Its last will is the `offline` one, signed at
/// connect under the number after the `online` one, so that it outranks that, and loses against
/// every later session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `online` or `offline`.
    pub status: SessionStatus,
    /// The session: the number under which its `online` message was signed.
    pub session: Seq,
    /// `offline` only: the agent said good-bye (else its connection was lost).
    #[serde(default)]
    pub graceful: bool,
}

/// A session's two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum SessionStatus {
    Online,
    Offline,
}

/// `state/{node}`: the observed state, complete; sent only when it changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Generation of the assignment in effect, which is also on the node's disk.
    pub generation: u64,
    /// Every instance that is assigned, or is ours and still there; ordered by name.
    pub instances: Vec<ObservedInstance>,
    /// The runtimes and whether they answer.
    #[serde(default)]
    pub engines: Vec<EngineFact>,
    /// Containers that are not of the fleet and have the label `fleetctl.discover=true`; at most
    /// 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<Unmanaged>,
}

/// `heartbeat/{node}`. A field that has not changed noticeably since the session's previous
/// heartbeat is left out, and the reader keeps the value it has; the first heartbeat of a session
/// and every tenth have them all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatBody {
    /// Percent, all cores together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f32>,
    /// Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f32>,
    /// Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<f32>,
    /// Of the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f32>,
    /// Degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Seconds since the machine started; always present.
    pub uptime: u64,
    /// Instances that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Instances that failed or back off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
    /// Generation in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// First 8 hex digits of SHA-256 over the canonical JSON of the last `state` body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// `telemetry/{node}/{metric}`: one measurement, as `cfg` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// Node's clock.
    pub at: UnixMs,
    /// By name, as in `total` or `eth0.received`; at most 200. Percent 0–100, bytes, seconds,
    /// degrees Celsius; of `throttling` 0 or 1.
    pub values: BTreeMap<String, f64>,
}

/// `stream/{node}/{instance}`: what a program wrote that an `exec` command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Id of the `exec` command.
    pub command: String,
    /// Counts from 0, without a gap; at most 64 ahead of the last `taken` that came
    /// ([`crate::model::ExecInput`]).
    pub n: u64,
    /// Which of its two.
    pub stream: LogStream,
    /// Bytes, base64; at most 16 KiB of them. Empty: there will be no more.
    pub data: String,
}

/// `logs/{node}/{instance}`: a batch of lines for a follow lease, or shipped because `cfg` says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Id of the `logs` command that asked; empty when nobody did.
    pub command: String,
    /// Batches of one command count from 0, without a gap: a reader that misses one asks again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: u64,
    /// At most 500 lines and 256 KiB. Empty: there will be no more for this command.
    pub lines: Vec<LogLine>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// `command/{node}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandBody {
    /// Unique; a command whose id was seen is not run again.
    pub id: String,
    /// What to do.
    pub order: CommandSpec,
    /// The request by which a person ordered it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::model::trace::lenient"
    )]
    pub trace: Option<TraceContext>,
}

/// `result/{node}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// As in the command.
    pub id: String,
    /// How it ended.
    pub outcome: CommandOutcome,
}

/// `event/{node}`: something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `started`, `exited`, `restarted`, `failed`, `pulled`, `stopped`, `engine_lost`, …
    pub event: String,
    /// About which workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Name>,
    /// One sentence.
    pub message: String,
    /// Node's clock.
    pub at: UnixMs,
}

/// `enroll/{node}`: a machine asks to join. Signed with `key`, which it brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    /// The node's Ed25519 public key, base64url without padding.
    pub key: String,
    /// Id of the join token.
    pub token: String,
    /// Proof that it holds the token's secret: base64url HMAC-SHA-256, keyed with the secret,
    /// over `node name "\n" key`.
    pub proof: String,
    /// The machine's own name, for the person who approves.
    pub hostname: String,
    /// Version of fleetctl.
    pub agent_version: String,
}

/// `welcome/{node}`: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What was decided.
    pub decision: WelcomeDecision,
    /// The key that it is about: a node that brought another one is not meant.
    pub key: String,
    /// One sentence, when refused or pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When approved: the credential that the broker takes from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// An answer to [`Enroll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WelcomeDecision {
    /// It is a node of the fleet.
    Approved,
    /// Somebody must approve it; ask again later.
    Pending,
    /// No.
    Refused,
}

/// `access`: whom the broker must not, or may, let in beside what signatures prove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Only grows.
    pub generation: u64,
    /// Node keys that are cut off (base64url).
    pub revoked: Vec<String>,
    /// Join tokens that are not taken any more, by id.
    pub revoked_tokens: Vec<String>,
    /// API tokens that may subscribe: SHA-256 digests, hex.
    pub readers: Vec<String>,
}
