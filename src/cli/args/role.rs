//! The roles, and what is typed about their configuration.

use super::OutputArgs;
use crate::config::{AgentOverrides, BrokerOverrides, ControllerOverrides};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ControllerArgs {
    /// Configuration file [default: /etc/fleetctl/controller.toml where it exists]
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: ControllerOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentArgs {
    /// Configuration file [default: /etc/fleetctl/agent.toml where it exists]
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: AgentOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BrokerArgs {
    /// Configuration file [default: /etc/fleetctl/broker.toml where it exists]
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) overrides: BrokerOverrides,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// Only ask the controller whether it is ready, without a token: for health checks; prints
    /// nothing when it is
    #[arg(long)]
    pub(in crate::cli) ready: bool,
    /// Configuration file of the agent [default: /etc/fleetctl/agent.toml where it exists]
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

#[derive(Debug, Args)]
pub(in crate::cli) struct DiscoverArgs {
    /// How long to listen for answers, 100ms to 1m
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = listening_ms)]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

fn listening_ms(text: &str) -> Result<u64, crate::manifest::Flaw> {
    let ms = crate::manifest::quantity::parse_duration_ms(text)?;
    match ms {
        100..=60_000 => Ok(ms),
        _ => Err(crate::manifest::Flaw::new("it listens for 100ms to 1m")),
    }
}
