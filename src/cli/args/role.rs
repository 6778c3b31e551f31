//! The roles, and what is typed about their configuration.

use super::OutputArgs;
use crate::config::{AgentOverrides, BrokerOverrides, ControllerOverrides};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ControllerArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: ControllerOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: AgentOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BrokerArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: BrokerOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// Configuration file of the agent
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: AgentOverrides,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigVerb {
    /// Check files; every error at once
    Check {
        /// Configuration files of any role
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show a file with all its defaults filled in
    Show {
        /// Configuration file of any role
        file: PathBuf,
    },
}
