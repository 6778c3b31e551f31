//! Manifests: to check, plan, apply, run and adopt them.

use super::{OutputArgs, Unasked, complete};
use crate::{
    cli::files,
    config::{EngineSocket, parse_label},
    manifest::quantity::parse_duration_ms,
    model::Name,
};
use clap::Args;
use clap_complete::ArgValueCandidates;
use std::path::PathBuf;

/// Values for what is left open in manifests.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct VarArgs {
    /// Value for ${KEY} in Compose files and {{ var.KEY }}; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = files::variable)]
    pub(in crate::cli) var: Vec<(String, String)>,
    /// File with a KEY=VALUE in each line, such as .env
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) vars_file: Vec<PathBuf>,
    /// Directory on the nodes that paths with ./ in Compose files mean
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) project_dir: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FileArgs {
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) vars: VarArgs,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "fleetctl validate [OPTIONS] FILE...")]
pub(in crate::cli) struct ValidateArgs {
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(
        short,
        long = "file",
        required_unless_present = "paths",
        value_name = "FILE",
        hide = true
    )]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(value_name = "FILE")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) vars: VarArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) files: FileArgs,
    /// Take away every workload of the fleet that is in none of the manifests
    #[arg(long, conflicts_with = "as_suffix")]
    pub(in crate::cli) prune: bool,
    /// Put this behind every name of the manifests, so that they run beside what is called so
    #[arg(
        long,
        value_name = "SUFFIX",
        allow_hyphen_values = true,
        require_equals = true
    )]
    pub(in crate::cli) as_suffix: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    #[command(flatten)]
    pub(in crate::cli) what: PlanArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    /// Wait until everything runs and is rolled out; fails when something does not
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest wait; a failure that stays for three seconds ends it sooner
    #[arg(long, default_value = "5m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Name,
    /// Containers to print the manifest for
    #[arg(value_name = "CONTAINER")]
    pub(in crate::cli) containers: Vec<String>,
    /// All containers of this Compose project
    #[arg(long)]
    pub(in crate::cli) project: Option<String>,
    /// All of them
    #[arg(long)]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RmArgs {
    /// Workloads
    #[arg(required = true, add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workloads: Vec<Name>,
    /// Wait until they are gone from every node that can be heard
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) unasked: Unasked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    /// Workload
    pub(in crate::cli) workload: Name,
    /// Directory of the manifests that it is in
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Manifest (TOML, YAML, Compose) that it is in; - standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Longest run, instead of the workload's own
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: Option<u64>,
    /// Configuration file of an agent, for its labels, sockets and credentials
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Data directory of an agent; the run has a temporary directory in it
    #[arg(long, env = "FLEETCTL_DATA_DIR", value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
    /// Label for templates; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(in crate::cli) labels: Vec<(String, String)>,
    /// Socket of Docker, or off
    #[arg(
        long,
        env = "FLEETCTL_DOCKER_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub(in crate::cli) docker_socket: Option<EngineSocket>,
    /// Socket of Podman, or off
    #[arg(
        long,
        env = "FLEETCTL_PODMAN_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub(in crate::cli) podman_socket: Option<EngineSocket>,
    /// File with credentials of registries, as Docker's config.json
    #[arg(long, env = "FLEETCTL_REGISTRY_CONFIG", value_name = "FILE")]
    pub(in crate::cli) registry_config: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) vars: VarArgs,
}
