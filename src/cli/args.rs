//! What can be typed.

use super::complete;
use crate::{
    config::{AgentOverrides, BrokerOverrides, ControllerOverrides, EngineSocket, parse_label},
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
    /// Show what runs on a node without fleetctl, and print the manifest that takes it over
    Adopt(AdoptArgs),
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
    /// Look at this machine: what is wrong with it, and what to do
    ///
    /// Exit code 0: all is well; 3: a warning at worst; 1: something will not work.
    Check(CheckArgs),
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

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file of the agent
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: AgentOverrides,
    #[command(flatten)]
    pub(super) output: OutputArgs,
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

/// Values for what is left open in manifests.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct VarArgs {
    /// Value for ${KEY} in Compose files and {{ var.KEY }}; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::files::variable)]
    pub(super) var: Vec<(String, String)>,
    /// File with a KEY=VALUE in each line, such as .env
    #[arg(long, value_name = "FILE")]
    pub(super) vars_file: Vec<PathBuf>,
    /// Directory on the nodes that paths with ./ in Compose files mean
    #[arg(long, value_name = "DIR")]
    pub(super) project_dir: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) vars: VarArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "fleetctl validate [OPTIONS] FILE...")]
pub(super) struct ValidateArgs {
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(
        short,
        long = "file",
        required_unless_present = "paths",
        value_name = "FILE",
        hide = true
    )]
    pub(super) files: Vec<PathBuf>,
    /// Manifest (TOML, YAML, Compose); a directory means the manifests in it, - standard input
    #[arg(value_name = "FILE")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) vars: VarArgs,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Take away every workload of the fleet that is in none of the manifests
    #[arg(long)]
    pub(super) prune: bool,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Take away every workload of the fleet that is in none of the manifests
    #[arg(long)]
    pub(super) prune: bool,
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
pub(super) struct AdoptArgs {
    /// Node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Name,
    /// Containers to print the manifest for
    #[arg(value_name = "CONTAINER")]
    pub(super) containers: Vec<String>,
    /// All containers of this Compose project
    #[arg(long)]
    pub(super) project: Option<String>,
    /// All of them
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
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
    /// Workloads
    #[arg(required = true, value_name = "WORKLOAD", add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workloads: Vec<Name>,
    /// Go on with new lines
    #[arg(short, long, conflicts_with = "until")]
    pub(super) follow: bool,
    /// Only the last lines of each instance
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(super) tail: Option<u32>,
    /// Only lines after a time: 10m (ago), 2026-11-20T10:00:00Z, "2026-11-20 10:00", Unix seconds
    #[arg(long, value_parser = super::when::parse, value_name = "TIME")]
    pub(super) since: Option<u64>,
    /// Only lines before a time
    #[arg(long, value_parser = super::when::parse, value_name = "TIME")]
    pub(super) until: Option<u64>,
    /// Only of this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Option<Name>,
    /// Only standard output or standard error
    #[arg(long, value_enum)]
    pub(super) stream: Option<StreamChoice>,
    /// Show the time of each line
    #[arg(short, long)]
    pub(super) timestamps: bool,
}

/// One of an instance's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StreamChoice {
    Stdout,
    Stderr,
}

impl StreamChoice {
    /// As in the API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            StreamChoice::Stdout => "stdout",
            StreamChoice::Stderr => "stderr",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Pass on standard input
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub(super) terminal: bool,
    /// On this node; needed where there are several instances
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(super) node: Option<Name>,
    /// Kill it after so long
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(super) timeout: Option<u64>,
    /// Workload
    #[arg(add = ArgValueCandidates::new(complete::workloads))]
    pub(super) workload: Name,
    /// Program and arguments, as in `exec -it web -- sh`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct LocalWorkloads {
    /// Workloads
    #[arg(required = true, value_name = "WORKLOAD")]
    pub(super) workloads: Vec<Name>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Workload
    pub(super) workload: Name,
    /// Directory of the manifests that it is in
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    pub(super) dir: Option<PathBuf>,
    /// Manifest (TOML, YAML, Compose) that it is in; - standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Longest run, instead of the workload's own
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(super) timeout: Option<u64>,
    /// Configuration file of an agent, for its labels, sockets and credentials
    #[arg(short, long, env = "FLEETCTL_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Data directory of an agent; the run has a temporary directory in it
    #[arg(long, env = "FLEETCTL_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Label for templates; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(super) labels: Vec<(String, String)>,
    /// Socket of Docker, or off
    #[arg(
        long,
        env = "FLEETCTL_DOCKER_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub(super) docker_socket: Option<EngineSocket>,
    /// Socket of Podman, or off
    #[arg(
        long,
        env = "FLEETCTL_PODMAN_SOCKET",
        value_name = "PATH",
        value_parser = EngineSocket::parse
    )]
    pub(super) podman_socket: Option<EngineSocket>,
    /// File with credentials of registries, as Docker's config.json
    #[arg(long, env = "FLEETCTL_REGISTRY_CONFIG", value_name = "FILE")]
    pub(super) registry_config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) vars: VarArgs,
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
    /// Look at how a node's agent behaves and change it: heartbeats, telemetry, shipping of logs
    #[command(subcommand)]
    Config(NodeConfigVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeConfigVerb {
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
        METRIC is cpu, memory, disk, load, temperature, throttling, network, uptime, instances, \
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
pub(super) struct NodeConfigWait {
    /// Wait until the node says that it has these settings
    #[arg(long)]
    pub(super) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "30s", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(super) timeout: u64,
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
