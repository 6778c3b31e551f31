//! # The contract: what travels between agents and the controller
//!
//! MQTT 3.1.1, JSON, Ed25519. This page is all that an implementation in another language needs;
//! the files in `src/contract/golden/` are one example of each message, byte for byte, with the
//! keys that signed them.
//!
//! ## Topics
//!
//! `{p}` is the prefix, `fleet` unless configured; with an empty prefix the topics begin with the
//! kind. `{node}`, `{instance}` and `{metric}` are DNS labels (1–63 of `a-z 0-9 -`, no dash at
//! either end).
//!
//! | topic | from | QoS | retained | body |
//! |---|---|---|---|---|
//! | `{p}/metadata/{node}` | agent | 1 | yes | [`Metadata`] |
//! | `{p}/status/{node}` | agent, last will | 1 | yes | [`Status`] |
//! | `{p}/state/{node}` | agent | 1 | yes | [`State`] |
//! | `{p}/cfg/{node}` | agent | 1 | yes | [`Cfg`] |
//! | `{p}/heartbeat/{node}` | agent | 0 | no | [`HeartbeatBody`] |
//! | `{p}/telemetry/{node}/{metric}` | agent | 0 | no | [`Telemetry`] |
//! | `{p}/logs/{node}/{instance}` | agent | 1 | no | [`Logs`] |
//! | `{p}/stream/{node}/{instance}` | agent | 1 | no | [`Stream`] |
//! | `{p}/result/{node}` | agent | 1 | no | [`CommandResult`] |
//! | `{p}/event/{node}` | agent | 1 | no | [`Event`] |
//! | `{p}/assignment/{node}` | controller | 1 | yes | [`AssignmentBody`] |
//! | `{p}/command/{node}` | controller | 1 | no | [`CommandBody`] |
//! | `{p}/enroll/{node}` | agent | 1 | no | [`Enroll`] |
//! | `{p}/welcome/{node}` | controller | 1 | no | [`Welcome`] |
//! | `{p}/access` | controller | 1 | yes | [`Access`] |
//!
//! ## Envelope
//!
//! A message is one JSON object, at most [`MAX_PAYLOAD`] bytes. Beside the fields of its body it
//! has
//!
//! - `v`: the number 1;
//! - `from`: the node's name, or `controller`;
//! - `seq`: `[start, count]`, two whole numbers. `start` is how often the sender has started,
//!   kept on its disk; `count` grows by at least one with each message since;
//! - `sig`: the signature, base64url without padding.
//!
//! To sign: take the object without `sig`, write it as canonical JSON (RFC 8785), put the topic
//! and a line feed (`0x0a`) before it, sign those bytes with Ed25519 (RFC 8032). To verify: read
//! the object, take out `sig`, do the same, with the topic that the message arrived on.
//!
//! ```text
//! signed bytes = topic "\n" canonical-json(object without "sig")
//! ```
//!
//! A reader refuses, counts, and otherwise ignores: a payload that is too large
//! ([`Kind::max_payload`]: 8 KiB of `heartbeat`, `status`, `enroll`, `welcome`; 16 KiB of `cfg`,
//! `event`, `telemetry`; 64 KiB of `metadata`, `stream`; 256 KiB of `result`; else 1 MiB) or not an object;
//! another `v`; a missing field (it names it); a `from` that is not the topic's node (agents) or
//! `controller`; a signature that does not verify; a `seq` that is not newer (compared as a pair)
//! than the last one from that sender on that topic. The same message again, as a broker sends a
//! retained one, is no error and has no effect. Unknown fields are ignored.
//!
//! ## Values
//!
//! Times are Unix milliseconds, sizes bytes, percentages 0–100; whole numbers that may exceed 2^53
//! (log cursors, in nanoseconds) are decimal strings. No decision rests on a node's clock.
//!
//! ## A node's life
//!
//! 1. **Join.** Connect with client id = the node's name, user name `join`, password = the token's
//!    secret part (see [`crate::identity`]). Subscribe to `welcome/{node}`, publish `enroll/{node}`
//!    signed with the node's own new key. `approved` brings a credential; `pending` means ask again
//!    (every 5 s or slower); `refused` is final and says why.
//! 2. **Connect.** Client id = the node's name, user name `node`, password = the credential and a
//!    statement signed by the node's key ([`crate::identity::credential`]). Take two numbers: the
//!    session's `[start, n]`, and `[start, n+1]` for the last will, which is a [`Status`] `offline`
//!    of that session. Clean session, keep-alive 60 s.
//! 3. **Announce.** Subscribe to `assignment/{node}` and `command/{node}` at QoS 1. Publish
//!    [`Status`] `online` under `[start, n]`, then `metadata`, `cfg`, `state`. From then on a
//!    heartbeat every `heartbeat_interval_ms` (jittered by 5 %), `state` when it changes.
//! 4. **Obey.** An assignment whose generation is lower than the one on disk is refused. It is
//!    complete: what it does not name is stopped and removed. Store it before reporting its
//!    generation in `state`. A command is run at most once, also over a restart of the agent:
//!    remember its id, or refuse every `seq` not above the highest that was run. Behave as the
//!    assignment's `cfg` says, and publish what is in effect as `cfg/{node}`.
//! 5. **Leave.** Publish [`Status`] `offline` with `graceful: true` under `[start, n+1]`, then
//!    DISCONNECT.
//!
//! ## Features
//!
//! [`Metadata`] has `features`, a whole number: what the agent knows of workloads
//! ([`crate::model::FEATURES`]; 1 where it is missing). The controller gives an agent no workload
//! that needs more, since unknown fields are ignored and it would be run wrongly. A field of a
//! workload that is not used is not sent, so an agent that knows less still sees the same document
//! and the same hash. A word for a state that a reader does not know is `unknown` to it.
//!
//! ## Commands
//!
//! Each has an id and ends with one [`CommandResult`] of that id. Those that change something
//! (`restart`, `start`, `stop`, `remove`, `exec`) are never run twice; the others may be.
//!
//! **`logs`**: lines of one instance, by [`crate::model::LogQuery`]. They come as [`Logs`] on
//! `logs/{node}/{instance}` with the command's id, in batches whose `n` counts from 0 without a gap;
//! the last batch is empty, and then the result comes. With `follow_ms` (at most 120,000) new lines
//! follow for that long: a lease. A reader that misses a number, or hears that the agent began a new
//! session, asks again with `since` = the last cursor that it has. A cursor is a time, and several
//! lines may have the same one. `input` with `kill` ends a lease early.
//!
//! Lines are published without a command, too, where `cfg` says so (`logs.enabled`): `command` is
//! empty then, `n` is 0 and says nothing, and no batch is empty.
//!
//! **`exec`**: one more program beside an instance, by [`crate::model::ExecSpec`]. What it writes
//! comes as [`Stream`] on `stream/{node}/{instance}`: `n` counts from 0 over both outputs together,
//! `data` is base64 of at most 16 KiB, and a message without data is the last one. Its exit code is in
//! the result. Who asked sends `input` commands with [`crate::model::ExecInput`], whose `session` is
//! the id of the `exec`:
//!
//! - `data`, `end`, `resize`: in the order of their own `n` from 0, each under the id
//!   `{session}.{n}` and answered by a result when the program has been given it. An answer that
//!   does not come: the same again; the agent takes each `n` once. A part that stays missing for
//!   30 s kills the program.
//! - `taken`: up to and without this `n` of the `stream` messages everything has arrived. The agent
//!   writes at most 64 messages beyond it, and stops reading the program until then. Sent at least
//!   every 30 s, it also says that somebody is there: after 90 s of silence the program is killed.
//! - `kill`: ends it. `taken` and `kill` are outside of the order and are not answered.
//!
//! An agent knows nothing of it after its restart; the program has ended with it.
//!
//! **`discover`**: the result has `unmanaged`, the containers on the node that are not of the fleet
//! ([`crate::model::Unmanaged`]), each with the workload that would take it over. Those with the label
//! `fleetctl.discover=true` are also in `state` as `discovered`, without the workload.
//!
//! ## Nodes that speak HTTP
//!
//! A machine that cannot speak MQTT takes part by the API of the controller alone, below
//! `/api/v1/cluster/containers` (its OpenAPI is at `/api/v1/openapi.json`): an operator registers it
//! once and gets a token for it; the node sends a heartbeat with everything that it has every
//! `heartbeat_interval_ms`, and leaves. None of the topics above is used. A heartbeat that tells an
//! older generation is answered with the assignment, signed as the envelope says, under the topic
//! `assignment/{node}` that the answer names: it verifies as a retained message would. Who judges a
//! guarded change for himself says so as `trial` of the instance, in the same form as in [`State`];
//! who does not is judged by the health that he tells. Commands, logs, programs beside instances and
//! telemetry are not to be had of such a node.
//!
//! ## Telemetry
//!
//! `cfg` names the metrics ([`crate::model::Metric`]) that are on, each with its interval and the
//! change below which it is left out; every tenth is sent anyway. One message is one measurement:
//! `at`, and `values` by name, as in `total` and `core.0` of `cpu`, `eth0.received` of `network`,
//! `web.memory` of `instances`, `rss_bytes` of `agent`. QoS 0: one that is lost is not repeated. A
//! metric that a machine does not have is not sent; a reader passes over one that it does not know,
//! and `cfg` names `agent` only to agents whose `features` are 4 or more.

mod envelope;
#[cfg(test)]
mod golden;
mod message;
mod replay;
mod topic;

pub use envelope::{Seq, Unverified, Verified, seal};
pub use message::{
    Access, AssignmentBody, Cfg, CommandBody, CommandResult, Enroll, Event, HeartbeatBody, Logs,
    Metadata, SessionStatus, State, Status, Stream, Telemetry, Welcome, WelcomeDecision,
};
pub use replay::{Freshness, MAX_TOPICS_PER_SENDER, ReplayGuard};
pub use topic::{Kind, Topic, Topics};

/// `v` of every message.
pub const VERSION: u64 = 1;
/// The `from` of the controller.
pub const CONTROLLER: &str = "controller";
/// Bytes of a message.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// Instances in one assignment or state.
pub const MAX_INSTANCES: usize = 1_000;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// More than [`MAX_PAYLOAD`].
    #[error("the message has {len} bytes; at most {MAX_PAYLOAD} are taken")]
    TooLarge {
        /// Bytes.
        len: usize,
    },
    /// Not JSON, or not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// `v` is not 1.
    #[error("the message is not of contract version {VERSION}")]
    Version,
    /// An envelope field is missing or of the wrong type.
    #[error("the message's `{field}` is missing or malformed")]
    Envelope {
        /// Which.
        field: &'static str,
    },
    /// The body does not fit.
    #[error("the message's body does not fit: {message}")]
    Body {
        /// Names the field.
        message: String,
    },
    /// The signature does not verify.
    #[error("the message's signature does not verify")]
    Signature,
}

impl ContractError {
    /// One word for counters and for logging once per kind.
    pub fn kind(&self) -> &'static str {
        match self {
            ContractError::TooLarge { .. } => "too_large",
            ContractError::NotAnObject => "not_json",
            ContractError::Version => "version",
            ContractError::Envelope { .. } => "envelope",
            ContractError::Body { .. } => "body",
            ContractError::Signature => "signature",
        }
    }
}
