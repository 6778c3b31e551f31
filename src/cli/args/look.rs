//! Logs, programs beside instances, events and the audit trail.

use super::{Format, OutputArgs, complete};
use crate::{
    cli::{audit, when},
    journal::Noted,
    manifest::quantity::parse_duration_ms,
    model::Name,
};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use std::path::{Path, PathBuf};

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
    /// Only the last so many of those that are kept
    #[arg(short = 'n', long, value_name = "EVENTS")]
    pub(in crate::cli) tail: Option<usize>,
    /// Only after a time: 10m (ago), 2026-11-20T10:00:00Z, "2026-11-20 10:00", Unix seconds
    #[arg(long, value_parser = when::parse, value_name = "TIME")]
    pub(in crate::cli) since: Option<u64>,
    /// Only about this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Only about this workload
    #[arg(long, add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Option<Name>,
    /// Only of this type, or of all that begin so: node_offline, node_, alert_; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(in crate::cli) kinds: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArgs {
    /// One look as text instead of the screen; also where the output is no terminal
    #[arg(long)]
    pub(in crate::cli) once: bool,
    /// Form of that one look
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(in crate::cli) output: Option<Format>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct AuditArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<AuditVerb>,
    /// How many lines, newest first; 1,000 at most
    #[arg(short = 'n', long, default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(in crate::cli) limit: u32,
    /// Show below each line what differs
    #[arg(short, long)]
    pub(in crate::cli) diff: bool,
    /// Only of tokens, or from addresses, with this in their name
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) who: Option<String>,
    /// Only what has this in its summary or in what differs
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) what: Option<String>,
    /// Only what is about this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Only what is about this workload
    #[arg(long, add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Option<Name>,
    /// Only what belongs to this trace: its id, as `apply -o json` says it, or a whole traceparent
    #[arg(long, value_name = "TRACE", value_parser = crate::trace::id_of)]
    pub(in crate::cli) trace: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

impl AuditArgs {
    /// The file that is looked at, which needs no controller.
    pub(in crate::cli) fn file(&self) -> Option<&Path> {
        match &self.verb {
            Some(AuditVerb::Verify(args)) => args.file.as_deref(),
            _ => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditVerb {
    /// Write the whole trail as JSON lines, oldest first, signed by the fleet
    Export {
        /// To this file, in place of standard output
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Find out whether a line is missing, altered or out of order; exit code 1 if so
    Verify(AuditVerifyArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditVerifyArgs {
    /// An export; without it the controller's trail
    pub(in crate::cli) file: Option<PathBuf>,
    /// The newest line as it was noted elsewhere, which must be in the trail still
    #[arg(long, value_name = "[LINE:]HASH", value_parser = audit::parse_noted)]
    pub(in crate::cli) head: Option<Noted>,
    /// An earlier export of the same fleet, which the trail must go on from
    #[arg(long, value_name = "FILE", conflicts_with = "head")]
    pub(in crate::cli) earlier: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
