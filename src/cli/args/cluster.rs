//! The fleet as a whole, and one command to many nodes.

use super::OutputArgs;
use crate::manifest::quantity::parse_duration_ms;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClusterVerb {
    /// Show the fleet as a whole: nodes, instances, what is placed of what there is
    Status(OutputArgs),
    /// Show where the nodes stand, by a label
    Topology {
        /// Label to group them by, as in zone
        #[arg(short, long, value_name = "KEY")]
        label: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Instead of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Many nodes")]
pub(in crate::cli) struct ManyArgs {
    /// Every node with this label or capability instead of one node; may be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    pub(in crate::cli) labels: Vec<String>,
    /// Every node instead of one; with -l every one that it picks
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Nodes at the same time at most [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(in crate::cli) max_parallel: Option<u32>,
    /// Ask no further node after so long
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: Option<u64>,
}

impl ManyArgs {
    /// More than one node is meant.
    pub(in crate::cli) fn are_meant(&self) -> bool {
        self.all || !self.labels.is_empty()
    }
}
