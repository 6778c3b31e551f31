//! Nodes and commands to them.

use super::{DrainArgs, ListArgs, ManyArgs, OutputArgs, ReserveArgs, Unasked, complete};
use crate::{manifest::quantity::parse_duration_ms, model::Name};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NodeVerb {
    /// List nodes
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show all about one node
    Show {
        /// Node
        #[arg(add = ArgValueCandidates::new(complete::nodes))]
        node: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let a waiting machine in
    Approve(NodeArg),
    /// Cut a node off for good
    Revoke(NodeArg),
    /// Cut a node off and forget it
    Rm(NodeArg),
    /// Set labels (key=value) and take them away (key-)
    Label {
        /// Node
        #[arg(add = ArgValueCandidates::new(complete::nodes))]
        node: Name,
        /// key=value or key-
        #[arg(required = true)]
        labels: Vec<String>,
    },
    /// Let it take nothing new; what it has stays
    Cordon(NodeArg),
    /// Let it take instances again
    Uncordon(NodeArg),
    /// Empty it: move what it runs to other nodes
    Drain(DrainArgs),
    /// Keep memory and cores of it free from instances
    Reserve(ReserveArgs),
    /// Look at how a node's agent behaves and change it: heartbeats, telemetry, shipping of logs
    #[command(subcommand)]
    Config(NodeConfigVerb),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NodeConfigVerb {
    /// Show what a node is to do and what it says it does
    Show {
        /// Node
        #[arg(add = ArgValueCandidates::new(complete::nodes))]
        node: Name,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change settings of one node; it keeps those of the fleet that are not named, as they are now
    #[command(after_help = "Settings:\n  \
        heartbeat_interval=12s\n  \
        telemetry.METRIC.enabled=true\n  \
        telemetry.METRIC.interval=30s         1s to 1d\n  \
        telemetry.METRIC.change_threshold=5   left out while nothing moved by so much\n  \
        logs.enabled=true                     publish what instances write\n  \
        logs.interval=5s                      how long lines wait for others\n\n\
        METRIC is cpu, memory, disk, load, temperature, throttling, network, uptime, instances, agent, \
        or all.")]
    Set {
        /// Node
        #[arg(add = ArgValueCandidates::new(complete::nodes))]
        node: Name,
        /// Settings, as in telemetry.cpu.enabled=true
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        wait: NodeConfigWait,
    },
    /// Give a node the settings of the fleet again
    Reset {
        /// Node
        #[arg(add = ArgValueCandidates::new(complete::nodes))]
        node: Name,
        #[command(flatten)]
        wait: NodeConfigWait,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NodeConfigWait {
    /// Wait until the node says that it has these settings
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "30s", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NodeArg {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Name,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CommandVerb {
    /// Ask a node to answer
    Ping(OrderArgs),
    /// Let a node look at its machine and engines again
    Refresh(OrderArgs),
    /// Restart a workload on a node, or the agent itself
    Restart(WorkloadOrderArgs),
    /// Start a stopped instance, until its assignment changes
    Start(WorkloadOrderArgs),
    /// Stop an instance, until its assignment changes
    Stop(WorkloadOrderArgs),
    /// Remove an instance that is not assigned any more
    Remove(WorkloadOrderArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OrderArgs {
    /// Node
    #[arg(
        required_unless_present_any = ["labels", "all"],
        add = ArgValueCandidates::new(complete::nodes)
    )]
    pub(in crate::cli) node: Option<Name>,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
    #[command(flatten)]
    pub(in crate::cli) many: ManyArgs,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkloadOrderArgs {
    #[command(flatten)]
    pub(in crate::cli) order: OrderArgs,
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Option<Name>,
}
