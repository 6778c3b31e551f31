//! One-off orders to a node.

use super::{ExecInput, ExecSpec, ImageOrder, LogLine, LogStream, Name, NodeImage, Unmanaged};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a node is told to do, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandSpec {
    /// What.
    pub command: CommandKind,
    /// The workload it is about, for `restart`, `start`, `stop`, `remove`, `logs` and `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// For `logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogQuery>,
    /// For `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecSpec>,
    /// For `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<ExecInput>,
    /// For `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<ImageOrder>>,
}

impl CommandSpec {
    /// An order without anything more to say.
    pub fn new(command: CommandKind, workload: Option<Name>) -> CommandSpec {
        CommandSpec {
            command,
            workload,
            logs: None,
            exec: None,
            input: None,
            image: None,
        }
    }
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
    /// Run one more command beside an instance; its output comes on `stream`, its exit code in
    /// the result.
    Exec,
    /// Something for an `exec` that runs.
    Input,
    /// Tell the containers that run here without fleetctl.
    Discover,
    /// Fetch an image from the controller, or take images away. It may take long: results with
    /// [`CommandOutcome::progress`] come before the one that ends it.
    Image,
    /// Tell the images that the engines here have.
    Images,
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
            CommandKind::Exec => "exec",
            CommandKind::Input => "input",
            CommandKind::Discover => "discover",
            CommandKind::Image => "image",
            CommandKind::Images => "images",
        }
    }

    /// It changes something on the node: it is journaled, audited, and never run twice.
    pub fn changes_something(self) -> bool {
        !matches!(
            self,
            CommandKind::Ping
                | CommandKind::Refresh
                | CommandKind::Logs
                | CommandKind::Input
                | CommandKind::Discover
                | CommandKind::Images
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
    /// Only lines before this time, as `since`.
    #[serde(
        rename = "until",
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::decimal::option"
    )]
    #[schema(value_type = Option<String>)]
    pub until_ns: Option<u64>,
    /// Only one of the two streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
    /// Keep sending, for at most so many milliseconds; the reader asks again in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_ms: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandOutcome {
    /// It worked.
    pub ok: bool,
    /// One sentence for a person, where it did not (or where there is something to say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For `logs` without `follow_ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<LogLine>,
    /// For `exec`: the exit code, 128 + n for signal n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For `discover`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged: Vec<Unmanaged>,
    /// For `images`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<NodeImage>,
    /// Of `image`: it goes on, and how far it is, in a few words. This is not its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// For `image`: bytes that came from the controller, or that were set free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl CommandOutcome {
    /// It worked.
    pub fn done() -> Self {
        CommandOutcome {
            ok: true,
            message: None,
            lines: Vec::new(),
            exit_code: None,
            unmanaged: Vec::new(),
            images: Vec::new(),
            progress: None,
            bytes: None,
        }
    }

    /// It goes on.
    pub fn going_on(progress: impl Into<String>) -> Self {
        CommandOutcome {
            progress: Some(progress.into()),
            ..CommandOutcome::done()
        }
    }

    /// It did not, and why.
    pub fn failed(message: impl Into<String>) -> Self {
        CommandOutcome {
            ok: false,
            message: Some(message.into()),
            lines: Vec::new(),
            exit_code: None,
            unmanaged: Vec::new(),
            images: Vec::new(),
            progress: None,
            bytes: None,
        }
    }
}
