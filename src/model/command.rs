//! One-off orders to a node.

use super::{LogLine, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a node is told to do, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandSpec {
    /// What.
    pub command: CommandKind,
    /// The workload it is about, for `restart`, `start`, `stop`, `remove` and `logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// For `logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogQuery>,
}

/// The verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandKind {
    /// Answer.
    Ping,
    /// Look at the machine and its engines again, and publish everything anew.
    Refresh,
    /// Restart one workload; without a workload, the agent itself.
    Restart,
    /// Start a stopped instance, until the next assignment says otherwise.
    Start,
    /// Stop an instance, until the next assignment says otherwise.
    Stop,
    /// Remove a container or process of ours that is not assigned.
    Remove,
    /// Send log lines.
    Logs,
}

impl CommandKind {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandKind::Ping => "ping",
            CommandKind::Refresh => "refresh",
            CommandKind::Restart => "restart",
            CommandKind::Start => "start",
            CommandKind::Stop => "stop",
            CommandKind::Remove => "remove",
            CommandKind::Logs => "logs",
        }
    }

    /// It changes something on the node: it is journaled, audited, and never run twice.
    pub fn changes_something(self) -> bool {
        !matches!(
            self,
            CommandKind::Ping | CommandKind::Refresh | CommandKind::Logs
        )
    }
}

/// Which log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogQuery {
    /// The last so many lines; all that are kept when `None`. At most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Only lines after this time, Unix nanoseconds on the node's clock; travels as a decimal
    /// string.
    #[serde(
        rename = "since",
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::decimal::option"
    )]
    #[schema(value_type = Option<String>)]
    pub since_ns: Option<u64>,
    /// Keep sending, for at most so many milliseconds; the reader asks again in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_ms: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandOutcome {
    /// It worked.
    pub ok: bool,
    /// One sentence for a person, where it did not (or where there is something to say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For `logs` without `follow_ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LogLine>,
}

impl CommandOutcome {
    /// It worked.
    pub fn done() -> Self {
        CommandOutcome {
            ok: true,
            message: None,
            lines: Vec::new(),
        }
    }

    /// It did not, and why.
    pub fn failed(message: impl Into<String>) -> Self {
        CommandOutcome {
            ok: false,
            message: Some(message.into()),
            lines: Vec::new(),
        }
    }
}
