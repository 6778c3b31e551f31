//! What can be typed.

use super::complete;
use crate::{
    config::{AgentOverrides, BrokerOverrides, ControllerOverrides},
    identity::Role,
    manifest::quantity::parse_duration_ms,
    model::Name,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use std::path::PathBuf;

/// Turns a drawer of small Linux machines into a managed fleet
#[derive(Debug, Parser)]
#[command(name = "fleetctl", version, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) connection: Connection,
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
    /// File with the CA of the fleet
    #[arg(long, env = "FLEETCTL_CA", value_name = "FILE", global = true)]
    pub(super) ca: Option<PathBuf>,
    /// Context to use instead of the current one
    #[arg(long, env = "FLEETCTL_CONTEXT", value_name = "NAME", global = true)]
    pub(super) context: Option<String>,
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
    Plan(FileArgs),
    /// Remove workloads
    Rm(RmArgs),
    /// List instances
    Ps(ListArgs),
    /// Show what instances wrote
    Logs(LogsArgs),
    /// Look at nodes and change them
    #[command(subcommand)]
    Node(NodeVerb),
    /// Look at workloads and change them
    #[command(subcommand)]
    Workload(WorkloadVerb),
    /// Order something of a node, once
    #[command(subcommand)]
    Command(CommandVerb),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(TokenVerb),
    /// Remember controllers by name
    #[command(subcommand)]
    Context(ContextVerb),
    /// Show what happens in the fleet
    Events(EventsArgs),
    /// Show who changed what
    Audit(AuditArgs),
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

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: ControllerOverrides,
}

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: AgentOverrides,
}

#[derive(Debug, Args)]
pub(super) struct BrokerArgs {
    /// Configuration file
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: BrokerOverrides,
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

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Manifest; a directory means its *.toml files, - standard input
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Wait until everything runs; fails when something does not
    #[arg(long)]
    pub(super) wait: bool,
    /// Longest wait; a failure that stays for three seconds ends it sooner
    #[arg(long, default_value = "5m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(super) timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// Workloads
    #[arg(required = true, add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workloads: Vec<Name>,
    /// Wait until they are gone from every node that can be heard
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workload: Name,
    /// Go on with new lines
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only the last lines of each instance
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(super) tail: Option<u32>,
    /// Only of this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Option<Name>,
    /// Show the time of each line
    #[arg(short, long)]
    pub(super) timestamps: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeVerb {
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
}

#[derive(Debug, Args)]
pub(super) struct NodeArg {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Name,
}

#[derive(Debug, Subcommand)]
pub(super) enum WorkloadVerb {
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
    /// Run it again after a stop
    Start(WorkloadArg),
    /// Stop all its instances and keep them
    Stop(WorkloadArg),
    /// Restart all its instances
    Restart(WorkloadArg),
}

#[derive(Debug, Args)]
pub(super) struct WorkloadArg {
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workload: Name,
    /// Wait until it is so
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CommandVerb {
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
pub(super) struct OrderArgs {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Name,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct WorkloadOrderArgs {
    #[command(flatten)]
    pub(super) order: OrderArgs,
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workload: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TokenKind {
    Join,
    Api,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Make a token and print it; it is not shown again
    Create {
        /// For a machine that joins, or for the API
        #[arg(long, value_enum)]
        kind: TokenKind,
        /// Role of an API token: viewer, operator or admin [default: viewer]
        #[arg(long)]
        role: Option<Role>,
        /// How long it is taken [default: a join token 24h, an API token for ever]
        #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
        ttl: Option<u64>,
        /// What it is called, for the audit trail
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List tokens
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take a token back
    Revoke {
        /// Its id, as listed
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ContextVerb {
    /// List contexts
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remember a controller, and use it
    Add {
        /// Name
        name: String,
        /// Address of its API
        #[arg(long)]
        url: String,
        /// API token; asked for on standard input when it is -
        #[arg(long)]
        token: String,
        /// File with its CA; needed for https
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// Use a context from now on
    Use {
        /// Name
        name: String,
    },
    /// Forget a context
    Rm {
        /// Name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on with new events
    #[arg(short, long)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// How many lines, newest first
    #[arg(short = 'n', long, default_value_t = 50)]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
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
