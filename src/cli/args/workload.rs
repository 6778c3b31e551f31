//! Workloads.

use super::{HistoryArgs, ListArgs, OutputArgs, RollbackArgs, Unasked, WhyArgs, complete};
use crate::model::Name;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

#[derive(Debug, Args)]
pub(in crate::cli) struct LocalWorkloads {
    /// Workloads
    #[arg(required = true, value_name = "WORKLOAD")]
    pub(in crate::cli) workloads: Vec<Name>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WorkloadVerb {
    /// List workloads
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show all about one workload, and why it is where it is
    Show {
        /// Workload
        #[arg(add = ArgValueCandidates::new(complete::workloads))]
        workload: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print manifests that make workloads again
    Export {
        /// Workloads; all of the fleet when none is named
        #[arg(add = ArgValueCandidates::new(complete::workloads))]
        workloads: Vec<Name>,
    },
    /// Run it again after a stop
    Start(WorkloadArg),
    /// Stop all its instances and keep them
    Stop(WorkloadArg),
    /// Restart all its instances
    Restart(WorkloadArg),
    /// Show why it is where it is, and nowhere else
    Why(WhyArgs),
    /// List its revisions: what was applied when, and whether it works
    History(HistoryArgs),
    /// Go back to an earlier version
    Rollback(RollbackArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkloadArg {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Wait until it is so
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}
