//! `deploy`.

use super::{OutputArgs, Unasked};
use crate::{deploy::Select, manifest::quantity::parse_duration_ms};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(in crate::cli) struct DeployArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<DeployVerb>,
    #[command(flatten)]
    pub(in crate::cli) to: BoardsArgs,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
    /// Show what would be done on each board; only reads there
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Only copy files; start and join nothing
    #[arg(long)]
    pub(in crate::cli) sync_only: bool,
    /// Binary, release tarball, or directory of them (target/dist); may be given several times
    /// [default: this program]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(in crate::cli) binaries: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeployVerb {
    /// Take the agent off boards and their nodes out of the fleet
    Uninstall {
        #[command(flatten)]
        to: BoardsArgs,
        /// End the workloads too, and remove data and configuration; without it workloads go on
        #[arg(long)]
        purge: bool,
        /// Do not ask
        #[arg(short = 'y', long = "yes")]
        yes: bool,
    },
}

/// Which boards, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct BoardsArgs {
    /// Inventory: TOML, or YAML where its name ends so
    #[arg(short, long, value_name = "FILE", default_value = "inventory.toml")]
    pub(in crate::cli) inventory: PathBuf,
    /// Only these boards: names, patterns (pi-*), labels (zone=hall); separated by commas
    #[arg(long, value_name = "BOARD", value_delimiter = ',')]
    pub(in crate::cli) limit: Vec<Select>,
    /// Boards at the same time
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(in crate::cli) parallel: u16,
    /// Longest time for one board
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration_ms)]
    pub(in crate::cli) timeout: u64,
    /// Take the host keys of boards that were never seen before; changed ones are refused always
    #[arg(long)]
    pub(in crate::cli) accept_new_host_keys: bool,
    /// Program to use as ssh
    #[arg(
        long,
        value_name = "PROGRAM",
        env = "FLEETCTL_SSH",
        default_value = "ssh"
    )]
    pub(in crate::cli) ssh: String,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
