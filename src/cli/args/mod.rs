//! What can be typed: here what all have in common, and one file per noun.

mod access;
mod alerts;
mod apply;
mod cluster;
mod deploy;
mod fleet;
mod image;
mod look;
mod node;
mod role;
mod upgrade;
mod workload;

pub(super) use access::{ContextVerb, TokenKind, TokenVerb};
pub(super) use alerts::{AlertListArgs, AlertsArgs, AlertsVerb, SilenceArgs};
pub(super) use apply::{AdoptArgs, ApplyArgs, PlanArgs, RmArgs, RunArgs, ValidateArgs, VarArgs};
pub(super) use cluster::{ClusterVerb, ManyArgs};
pub(super) use deploy::{BoardsArgs, DeployArgs, DeployVerb};
pub(super) use fleet::{
    DrainArgs, HistoryArgs, InstanceVerb, MigrateArgs, RebalanceArgs, ReserveArgs, RollbackArgs,
    RolloutVerb, VersionsArgs, WhyArgs,
};
pub(super) use image::{ImageListArgs, ImageNodes, ImagePruneArgs, ImagePushArgs, ImageVerb};
pub(super) use look::{
    AuditArgs, AuditVerb, AuditVerifyArgs, EventsArgs, ExecArgs, LogsArgs, TopArgs,
};
pub(super) use node::{CommandVerb, NodeConfigVerb, NodeConfigWait, NodeVerb, OrderArgs};
pub(super) use role::{AgentArgs, BrokerArgs, CheckArgs, ConfigVerb, ControllerArgs, DiscoverArgs};
pub(super) use upgrade::{UpgradeArgs, UpgradeToArgs, UpgradeVerb};
pub(super) use workload::{LocalWorkloads, WorkloadArg, WorkloadVerb};

use super::complete;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Turns a drawer of small Linux machines into a managed fleet
#[derive(Debug, Parser)]
#[command(name = "fleetctl", version = crate::support::release::version(), max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(flatten)]
    pub(super) local: LocalArgs,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Address of the controller's API
    #[arg(long, env = "FLEETCTL_URL", value_name = "URL", global = true)]
    pub(super) url: Option<String>,
    /// API token
    #[arg(
        long,
        env = "FLEETCTL_TOKEN",
        value_name = "TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub(super) token: Option<String>,
    /// File with the API token
    #[arg(
        long,
        env = "FLEETCTL_TOKEN_FILE",
        value_name = "FILE",
        global = true,
        conflicts_with = "token"
    )]
    pub(super) token_file: Option<PathBuf>,
    /// File with the CA of the fleet
    #[arg(long, env = "FLEETCTL_CA", value_name = "FILE", global = true)]
    pub(super) ca: Option<PathBuf>,
    /// Context to use instead of the current one
    #[arg(long, env = "FLEETCTL_CONTEXT", value_name = "NAME", global = true)]
    pub(super) context: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "This machine")]
pub(super) struct LocalArgs {
    /// Ask the agent on this machine instead of a controller
    #[arg(long, global = true)]
    pub(super) local: bool,
    /// Its socket, with --local [default: agent.sock in the agent's data directory]
    #[arg(long, env = "FLEETCTL_SOCKET", value_name = "PATH", global = true)]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a controller
    Controller(ControllerArgs),
    /// Run an agent; with --join the first time
    Agent(AgentArgs),
    /// Run only a broker of the fleet
    Broker(BrokerArgs),
    /// Make the fleet run what manifests say
    Apply(ApplyArgs),
    /// Show what apply would do; exits 0 none, 1 changes, 2 error
    Plan(PlanArgs),
    /// Check manifests; every mistake at once, without a controller
    Validate(ValidateArgs),
    /// Remove workloads
    Rm(RmArgs),
    /// List instances
    Ps(ListArgs),
    /// Show what instances wrote
    Logs(LogsArgs),
    /// Run one more program beside an instance; with -it a shell in it
    Exec(ExecArgs),
    /// Run one workload here, once, in the foreground, without an agent
    Run(RunArgs),
    /// With --local: show how the agent on this machine is
    Status(OutputArgs),
    /// With --local: run workloads again after a stop
    Start(LocalWorkloads),
    /// With --local: stop workloads and keep them so, until their assignment changes
    Stop(LocalWorkloads),
    /// With --local: restart workloads
    Restart(LocalWorkloads),
    /// With --local: read the directory of manifests anew
    Reload,
    /// With --local: stop everything; an agent without a fleet ends then
    Down,
    /// Look at nodes and change them
    #[command(subcommand)]
    Node(NodeVerb),
    /// Look at workloads and change them
    #[command(subcommand)]
    Workload(WorkloadVerb),
    /// Look at rollouts, hold them, let them go on, and take them back
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Show which version of what runs where
    Versions(VersionsArgs),
    /// Upgrade the agents of the fleet, step by step, each with a way back
    Upgrade(Box<UpgradeArgs>),
    /// Move instances
    #[command(subcommand)]
    Instance(InstanceVerb),
    /// Move instances from full nodes to empty ones
    Rebalance(RebalanceArgs),
    /// Show what runs on a node without fleetctl, and print the manifest that takes it over
    Adopt(AdoptArgs),
    /// Look at the fleet as a whole
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Order something of a node, or of many, once
    #[command(subcommand)]
    Command(CommandVerb),
    /// Bring images to nodes that have no fast line, list them, and take them away
    #[command(subcommand)]
    Image(ImageVerb),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(TokenVerb),
    /// Remember controllers by name
    #[command(subcommand)]
    Context(ContextVerb),
    /// Watch the fleet on a full screen: nodes, instances, rollouts, alerts, events
    Top(TopArgs),
    /// Show what is wrong, and silence it
    Alerts(AlertsArgs),
    /// Show what happens in the fleet
    Events(EventsArgs),
    /// Show who changed what
    Audit(AuditArgs),
    /// Try a fleet without hardware: many simulated nodes join, run what they are told, and leave
    Simulate(super::simulate::SimulateArgs),
    /// Look at this machine: what is wrong with it, and what to do
    ///
    /// Exit code 0: all is well; 3: a warning at worst; 1: something will not work.
    Check(CheckArgs),
    /// Bring boards into the fleet over ssh, as an inventory says; what is there already stays
    Deploy(Box<DeployArgs>),
    /// Ask the local network for controllers of fleets
    Discover(DiscoverArgs),
    /// Check configuration files
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the completion script of a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: String,
    },
    /// Print the description of the HTTP API
    #[command(hide = true)]
    Openapi,
    /// Show the versions of this program and of the controller
    Version,
}

/// How a result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct OutputArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORM")]
    pub(super) output: Format,
}

/// Of commands that change something and ask nothing: a script may say so everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(super) struct Unasked {
    /// Do not ask; nothing is asked here
    #[arg(short = 'y', long = "yes", hide = true)]
    pub(super) yes: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Only nodes with this label or capability; may be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    pub(super) labels: Vec<String>,
    /// Show it again whenever it changes
    #[arg(short, long)]
    pub(super) watch: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_put_together_soundly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_wrong_usage() {
        for line in [
            "fleetctl apply -f x --prune --as-suffix=-next",
            "fleetctl apply -f x --as-suffix -next",
            "fleetctl node drain pi --force --cancel",
            "fleetctl node reserve pi",
            "fleetctl rebalance --plan -y",
            "fleetctl rebalance --threshold 0",
            "fleetctl image push",
            "fleetctl image push app:1 --into process",
            "fleetctl image push app:1 --platform arm64",
            "fleetctl image prune app:1 --unused",
            "fleetctl instance migrate web",
            "fleetctl command ping",
            "fleetctl command ping --all --max-parallel 0",
            "fleetctl command ping --all --max-parallel 257",
            "fleetctl upgrade 0.4.0 --to 0.4.0",
            "fleetctl upgrade 0.4.0 --plan -y",
            "fleetctl upgrade push",
        ] {
            let typed = Cli::try_parse_from(line.split_whitespace());
            assert!(typed.is_err(), "{line}");
        }
        for line in [
            "fleetctl rm web db -y",
            "fleetctl image push app:1 --to a,b --to c --into podman --platform linux/arm/v7",
            "fleetctl image push app.tar --as r.example/app:1 -l zone=a -o json",
            "fleetctl image ls --node pi -o wide",
            "fleetctl image prune app:1 --node pi -y",
            "fleetctl image prune --unused --older-than 2h",
            "fleetctl rm --yes web",
            "fleetctl node rm pi -y",
            "fleetctl node revoke -y pi",
            "fleetctl node drain pi -y",
            "fleetctl workload stop web -y",
            "fleetctl workload rollback web -y",
            "fleetctl rollout abort web -y",
            "fleetctl instance migrate web --from a -y",
            "fleetctl command stop --all web -y",
            "fleetctl token revoke abc -y",
            "fleetctl context rm lab -y",
            "fleetctl rebalance -y",
            "fleetctl apply -f x -y",
            "fleetctl apply -f x --as-suffix=-next",
            "fleetctl node reserve pi --cpus 0.5",
            "fleetctl rollout rollback web --to 3 --wait",
            "fleetctl workload rollback web",
            "fleetctl workload history web --diff",
            "fleetctl versions web db -o json",
            "fleetctl instance migrate web --from a --to b --wait",
            "fleetctl command ping pi",
            "fleetctl command stop pi web",
            "fleetctl command restart -l zone=a --all --max-parallel 256 --timeout 1m web",
            "fleetctl cluster topology --label zone -o json",
            "fleetctl upgrade 0.4.0 --canary 2 --max-parallel 20% -l zone=lab --wait -y",
            "fleetctl upgrade --to 0.4.0 --plan -o json",
            "fleetctl upgrade ./a.tar.gz ./b.tar.gz --no-rollback",
            "fleetctl upgrade push a b",
            "fleetctl upgrade status -w",
            "fleetctl upgrade rollback --wait -y",
        ] {
            Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}
