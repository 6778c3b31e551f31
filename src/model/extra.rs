//! Smaller parts of a workload: order, hooks, files, logs, signals.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How far a workload must have come before one that depends on it is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    /// It runs, or has run.
    #[default]
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with exit code 0 and is not started again.
    Completed,
}

impl DependsOn {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            DependsOn::Started => "started",
            DependsOn::Healthy => "healthy",
            DependsOn::Completed => "completed",
        }
    }
}

/// A command at a certain moment of an instance's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hook {
    /// Program and arguments, in the container or beside the process.
    pub command: Vec<String>,
    /// After so long it is killed, and what it was to precede happens.
    pub timeout_ms: u64,
}

/// A file that is placed for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileSpec {
    /// For a container an absolute path in it, where the file is mounted, read-only. For a
    /// process an absolute path on the node, or one below the instance's own directory, which is
    /// its working directory when it has no other.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// Permissions, as in 0o644.
    #[serde(default = "default_mode", skip_serializing_if = "is_default_mode")]
    pub mode: u32,
    /// `{{ … }}` in it is not replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verbatim: bool,
}

fn default_mode() -> u32 {
    0o644
}

fn is_default_mode(mode: &u32) -> bool {
    *mode == default_mode()
}

/// How much of what an instance writes is kept on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLimits {
    /// Bytes of one file.
    pub max_size: u64,
    /// Files, with the one that is being written; at least one.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// 4 MiB in all, since cards are small and wear out.
    fn default() -> Self {
        LogLimits {
            max_size: 1 << 20,
            max_files: 4,
        }
    }
}

impl LogLimits {
    pub(super) fn is_default(&self) -> bool {
        *self == LogLimits::default()
    }
}

/// A directory in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub path: String,
    /// Bytes; the engine's default when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A signal that can be sent to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // signal(7)
pub enum Signal {
    SigHup,
    SigInt,
    SigQuit,
    SigTerm,
    SigUsr1,
    SigUsr2,
    SigWinch,
    SigKill,
}

impl Signal {
    /// Every one.
    pub const ALL: [Signal; 8] = [
        Signal::SigHup,
        Signal::SigInt,
        Signal::SigQuit,
        Signal::SigTerm,
        Signal::SigUsr1,
        Signal::SigUsr2,
        Signal::SigWinch,
        Signal::SigKill,
    ];

    /// As in `SIGHUP`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::SigHup => "SIGHUP",
            Signal::SigInt => "SIGINT",
            Signal::SigQuit => "SIGQUIT",
            Signal::SigTerm => "SIGTERM",
            Signal::SigUsr1 => "SIGUSR1",
            Signal::SigUsr2 => "SIGUSR2",
            Signal::SigWinch => "SIGWINCH",
            Signal::SigKill => "SIGKILL",
        }
    }

    /// Its number on Linux.
    pub fn number(self) -> i32 {
        match self {
            Signal::SigHup => libc::SIGHUP,
            Signal::SigInt => libc::SIGINT,
            Signal::SigQuit => libc::SIGQUIT,
            Signal::SigTerm => libc::SIGTERM,
            Signal::SigUsr1 => libc::SIGUSR1,
            Signal::SigUsr2 => libc::SIGUSR2,
            Signal::SigWinch => libc::SIGWINCH,
            Signal::SigKill => libc::SIGKILL,
        }
    }

    /// `SIGHUP` or `HUP`.
    pub fn parse(text: &str) -> Option<Signal> {
        let long = |s: &Signal| s.as_str() == text || s.as_str().strip_prefix("SIG") == Some(text);
        Signal::ALL.into_iter().find(long)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
