//! Rollouts, and instances that go from one node to another.

use super::{OutputArgs, Unasked, complete};
use crate::{
    manifest::quantity::{parse_bytes, parse_duration_ms},
    model::Name,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RolloutVerb {
    /// List rollouts: those that go on, and the last one of each workload
    #[command(visible_alias = "list")]
    Ls {
        /// Only those that go on
        #[arg(long)]
        active: bool,
        /// Show it again whenever it changes
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show how a rollout stands, node by node, and why it failed
    Show {
        /// Workload
        #[arg(add = ArgValueCandidates::new(complete::rollouts))]
        workload: Name,
        /// Show how it gets on until it is over; exits 1 when it did not succeed
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change no further node until it is resumed
    Pause(RolloutArg),
    /// Go on after a pause
    Resume(RolloutArg),
    /// Let the other nodes follow the canaries
    Promote(RolloutArg),
    /// End it, and leave every node as it is
    Abort(RolloutArg),
    /// Go back to an earlier version
    Rollback(RollbackArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RolloutArg {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::rollouts))]
    pub(in crate::cli) workload: Name,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Revision or version, as in `workload history` [default: the last good one]
    #[arg(long, value_name = "REVISION|VERSION")]
    pub(in crate::cli) to: Option<String>,
    /// Wait until it is everywhere
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "10m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DrainArgs {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Name,
    /// Also what has local state; it loses it
    #[arg(long, conflicts_with = "cancel")]
    pub(in crate::cli) force: bool,
    /// Drain it no more; it takes instances again
    #[arg(long)]
    pub(in crate::cli) cancel: bool,
    /// Do not wait until it is empty
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
    /// Longest wait
    #[arg(long, default_value = "10m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReserveArgs {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Name,
    /// Memory that instances do not get, as in 256MiB; 0B: none
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE", required_unless_present = "cpus")]
    pub(in crate::cli) memory: Option<u64>,
    /// Cores that instances do not get, as in 0.5
    #[arg(long, value_name = "CORES")]
    pub(in crate::cli) cpus: Option<f64>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum InstanceVerb {
    /// Move an instance to another node: the new one first, where both may run at once
    Migrate(MigrateArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MigrateArgs {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Node that it leaves
    #[arg(long, value_name = "NODE", add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) from: Name,
    /// Node that takes it [default: the best]
    #[arg(long, value_name = "NODE", add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) to: Option<Name>,
    /// Also where it loses local state
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Wait until it runs there, and only there
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "5m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RebalanceArgs {
    /// Only show what would be moved
    #[arg(long)]
    pub(in crate::cli) plan: bool,
    /// Do not ask
    #[arg(short, long, conflicts_with = "plan")]
    pub(in crate::cli) yes: bool,
    /// Leave nodes alone whose load (0-100) differs by less [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(in crate::cli) threshold: Option<u8>,
    /// Moves at most [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(in crate::cli) max_moves: Option<u32>,
    /// Instances of one workload that move at the same time at most [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(in crate::cli) max_per_workload: Option<u32>,
    /// Wait until every move has ended
    #[arg(long, conflicts_with = "plan")]
    pub(in crate::cli) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "10m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VersionsArgs {
    /// Workloads; all of the fleet when none is named
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workloads: Vec<Name>,
    /// Show it again whenever it changes
    #[arg(short, long)]
    pub(in crate::cli) watch: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Show field by field what each revision changed
    #[arg(long)]
    pub(in crate::cli) diff: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Name,
    /// Only this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
