//! Logs, programs beside instances, events and the audit trail.

use super::{OutputArgs, complete};
use crate::{cli::when, manifest::quantity::parse_duration_ms, model::Name};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsArgs {
    /// Workloads
    #[arg(required = true, value_name = "WORKLOAD", add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workloads: Vec<Name>,
    /// Go on with new lines
    #[arg(short, long, conflicts_with = "until")]
    pub(in crate::cli) follow: bool,
    /// Only the last lines of each instance
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(in crate::cli) tail: Option<u32>,
    /// Only lines after a time: 10m (ago), 2026-11-20T10:00:00Z, "2026-11-20 10:00", Unix seconds
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    pub(in crate::cli) since: Option<u64>,
    /// Only lines before a time
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    pub(in crate::cli) until: Option<u64>,
    /// Only of this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Only standard output or standard error
    #[arg(long, value_enum)]
    pub(in crate::cli) stream: Option<StreamChoice>,
    /// Show the time of each line
    #[arg(short, long)]
    pub(in crate::cli) timestamps: bool,
}

/// One of an instance's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StreamChoice {
    Stdout,
    Stderr,
}

impl StreamChoice {
    /// As in the API.
    pub(in crate::cli) fn as_str(self) -> &'static str {
        match self {
            StreamChoice::Stdout => "stdout",
            StreamChoice::Stderr => "stderr",
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExecArgs {
    /// Pass on standard input
    #[arg(short, long)]
    pub(in crate::cli) interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub(in crate::cli) terminal: bool,
    /// On this node; needed where there are several instances
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Kill it after so long
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: Option<u64>,
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Program and arguments, as in `exec -it web -- sh`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(in crate::cli) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EventsArgs {
    /// Go on with new events
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// How many lines, newest first
    #[arg(short = 'n', long, default_value_t = 50)]
    pub(in crate::cli) limit: u32,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
