//! Running one more command beside an instance.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A command in a container, or beside a process with its user, directory and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecSpec {
    /// Program and arguments; at least the program.
    pub command: Vec<String>,
    /// With a terminal of this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
    /// It reads what is sent to it; else its standard input is empty.
    #[serde(default)]
    pub stdin: bool,
    /// Killed after so many milliseconds; at most a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

/// Something for a command that runs, in the order of `n`. Each is answered, under its own id
/// `{session}.{n}`, when the command has been given it. The one that asked also says at least
/// every 30 s that it is still there, with `taken`. With `kill`, also what ends a `logs` command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecInput {
    /// Id of the `exec` command.
    pub session: String,
    /// Counts from 0, without a gap.
    pub n: u64,
    /// Bytes for its standard input, base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Its standard input ends here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// The terminal has another size now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<TerminalSize>,
    /// Who asked has gone: kill it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kill: bool,
    /// What it wrote has been taken up to (and without) this number, so it may write on. Like
    /// `kill` this is outside of the order of `n`, and is not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
}
