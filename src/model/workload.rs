//! What must run, as the user wrote it, checked and with its defaults filled in.

use super::{
    Binary, DependsOn, FileSpec, Health, Hook, LogLimits, Name, Placement, RunMode, Signal, Tmpfs,
    Update,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// The one workload that is the agent itself ([`Run::Agent`]); nothing else has this name.
pub const AGENT_WORKLOAD: &str = "fleetctl-agent";
/// What an agent can do that puts another release of itself in its place: a capability.
pub const CAN_UPGRADE: &str = "self-upgrade";

/// A spec with a name and a version. [`crate::manifest`] makes it from what users write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workload {
    /// Unique in the fleet.
    #[schema(value_type = String)]
    pub name: Name,
    /// What kind of thing it is.
    #[serde(rename = "type")]
    pub kind: WorkloadType,
    /// The user's own word for this edition, shown everywhere; free text, at most 128 bytes.
    pub version: String,
    /// What is executed.
    pub run: Run,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Published ports (containers only).
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Volumes and bind mounts (containers only).
    #[serde(default)]
    pub volumes: Vec<Mount>,
    /// Device nodes handed to the container.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// Where it goes.
    #[serde(default)]
    pub placement: Placement,
    /// What happens when it ends.
    #[serde(default)]
    pub restart: Restart,
    /// How long it may take to end after SIGTERM, before SIGKILL.
    pub stop_timeout_ms: u64,
    // What follows came after the first release. A field that is not used must not be written:
    // it would change the hash of workloads that run, and an upgrade would restart them.
    /// When it runs.
    #[serde(default, skip_serializing_if = "RunMode::is_forever")]
    pub mode: RunMode,
    /// The longest that one run may take; then it is stopped, and has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How it is found out whether it works. `None`: the image's own HEALTHCHECK, reported only,
    /// where there is one; else it is healthy when it stays up for `min_healthy_time_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Without a check: how long it must have been up to count as healthy. `None`: 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy_time_ms: Option<u64>,
    /// Workloads of the same node that must have come so far before it is started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, DependsOn>)]
    pub depends_on: BTreeMap<Name, DependsOn>,
    /// Run before it is told to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_stop: Option<Hook>,
    /// Files placed for it on the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// Keyword arguments of a Python callable; others find them as JSON in `FLEETCTL_PARAMS`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// It takes new contents of its files by this signal: they are no reason to replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Signal>,
    /// How much of what it writes is kept.
    #[serde(default, skip_serializing_if = "LogLimits::is_default")]
    pub logs: LogLimits,
    /// The user's own words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Name of a container on the node, not made by fleetctl, that it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// How it is changed to another version. `None`: everywhere at once, unguarded. Never sent to
    /// agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
}

/// How long an instance without a check must have been up to count as healthy.
pub const DEFAULT_MIN_HEALTHY_TIME_MS: u64 = 10_000;

impl Workload {
    /// With every default: a service that runs for ever on any node.
    pub fn new(name: Name, run: Run) -> Workload {
        Workload {
            name,
            kind: WorkloadType::default(),
            version: "1".to_owned(),
            run,
            env: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            devices: Vec::new(),
            resources: Resources::default(),
            placement: Placement::default(),
            restart: Restart::default(),
            stop_timeout_ms: 10_000,
            mode: RunMode::default(),
            timeout_ms: None,
            health: None,
            min_healthy_time_ms: None,
            depends_on: BTreeMap::new(),
            before_stop: None,
            files: Vec::new(),
            params: serde_json::Map::new(),
            reload: None,
            logs: LogLimits::default(),
            tags: Vec::new(),
            adopt: None,
            update: None,
        }
    }

    /// The part that decides whether a running instance must be replaced: everything but what
    /// takes effect in place (placement, restart policy, run mode, health check, order, hooks,
    /// and contents of files that it takes by a signal). 16 hex digits of SHA-256 over the
    /// canonical JSON.
    pub fn spec_hash(&self) -> String {
        let mut same = self.clone();
        same.placement = Placement::default();
        same.restart = Restart::default();
        same.mode = RunMode::default();
        same.timeout_ms = None;
        same.health = None;
        same.min_healthy_time_ms = None;
        same.depends_on = BTreeMap::new();
        same.before_stop = None;
        same.tags = Vec::new();
        same.adopt = None;
        same.update = None;
        for mount in &mut same.volumes {
            mount.movable = false;
        }
        if same.reload.take().is_some() {
            // Which files there are stays in it: a container must be made anew for another mount.
            for file in &mut same.files {
                file.content = String::new();
            }
        }
        digest(&same)
    }

    /// Tells contents of files apart: what changed in place, by a signal. `None` where the
    /// workload takes none.
    pub fn files_hash(&self) -> Option<String> {
        self.reload?;
        (!self.files.is_empty()).then(|| digest(&self.files))
    }

    /// What an agent must know to run it: [`crate::model::FEATURES`] of the agent's facts must be
    /// at least this. An older agent would ignore what it does not know, and run it wrongly.
    pub fn needs_features(&self) -> u32 {
        let limits = &self.resources;
        let newer = self.mode != RunMode::Forever
            || self.timeout_ms.is_some()
            || self.health.is_some()
            || !self.depends_on.is_empty()
            || self.before_stop.is_some()
            || !self.files.is_empty()
            || !self.params.is_empty()
            || self.reload.is_some()
            || self.adopt.is_some()
            || limits.read_only
            || !limits.tmpfs.is_empty()
            || limits.pids.is_some()
            || limits.open_files.is_some()
            || limits.oom_score.is_some()
            || self.run.is_newer();
        match &self.run {
            Run::Agent { .. } => 5,
            _ if newer => 2,
            _ => 1,
        }
    }

    /// Milliseconds that an instance without a check must have been up to count as healthy.
    pub fn min_healthy_time_ms(&self) -> u64 {
        self.min_healthy_time_ms
            .unwrap_or(DEFAULT_MIN_HEALTHY_TIME_MS)
    }
}

/// 16 hex digits of SHA-256 over the canonical JSON.
fn digest(value: &impl Serialize) -> String {
    let text = serde_json_canonicalizer::to_vec(value).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    digest.as_ref()[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

impl Workload {
    /// Bytes that it takes in an assignment.
    pub fn encoded_len(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }
}

/// `service` (long-running), `agent` (periodic), `script` (batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadType {
    /// Long-running, always restarted.
    #[default]
    Service,
    /// Periodic.
    Agent,
    /// Batch.
    Script,
}

/// What is executed, and by which runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// A container of `image`, by Docker or Podman.
    Container {
        /// Fully qualified reference, as in `registry.example/app:1.2`.
        image: String,
        /// Arguments in place of the image's own.
        #[serde(default)]
        command: Vec<String>,
        /// When the registry is asked.
        #[serde(default)]
        pull: PullPolicy,
        /// `docker` or `podman`; `None`: whatever the node has, Docker first.
        #[serde(default)]
        engine: Option<super::RuntimeKind>,
        /// User inside the container, `uid[:gid]` or a name that the image knows.
        #[serde(default)]
        user: Option<String>,
        /// Working directory inside the container.
        #[serde(default)]
        working_dir: Option<String>,
        /// `bridge` (default), `host`, `none`, or the name of a network that exists on the node.
        #[serde(default)]
        network: Option<String>,
        /// What is rarely needed.
        #[serde(default, skip_serializing_if = "ContainerOptions::is_default")]
        options: Box<ContainerOptions>,
    },
    /// A native process; the first word is the program.
    Process {
        /// Program and arguments; never empty.
        command: Vec<String>,
        /// User name or numeric `uid[:gid]`.
        #[serde(default)]
        user: Option<String>,
        /// Working directory; the instance's own directory when not given.
        #[serde(default)]
        working_dir: Option<String>,
    },
    /// The agent itself, as a release of fleetctl. Only [`AGENT_WORKLOAD`] is one.
    Agent {
        /// The program for each architecture, as in [`super::NodeFacts::arch`]. None: the one that
        /// was installed on the board.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        binaries: BTreeMap<String, Binary>,
    },
    /// A Python callable in a process of its own, called with `params` as keyword arguments.
    Python {
        /// `package.module:function`.
        callable: String,
        /// Virtual environment whose interpreter is used; else `python3`.
        #[serde(default)]
        venv: Option<String>,
        /// Directories before everything else in `sys.path`.
        #[serde(default)]
        path: Vec<String>,
        /// User name or numeric `uid[:gid]`.
        #[serde(default)]
        user: Option<String>,
        /// Working directory; the instance's own directory when not given.
        #[serde(default)]
        working_dir: Option<String>,
    },
}

/// What a container is rarely given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerOptions {
    /// In place of the image's ENTRYPOINT, where not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Host name inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Capabilities beyond the engine's defaults, as in `NET_ADMIN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities taken away; `ALL` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Every capability and every device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// More lines of /etc/hosts, as in `name:10.0.0.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// More groups of its first process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Labels of the container; never `io.fleetctl.…`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Kernel settings of its namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// A small init as its first process, which forwards signals and reaps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// Bytes of /dev/shm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Sent in place of SIGTERM to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<Signal>,
    /// A terminal, as programs that buffer or colour their output want.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// The networks that it is in, in place of `network`: it is made in the first one, and
    /// connected to the others before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<ContainerNetwork>,
    /// Options of the kernel's security modules, as in `seccomp=unconfined`; beside
    /// `no-new-privileges`, which every container without privileges has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
}

/// A network of the engine that a container is in. In one network, containers find each other by
/// their aliases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerNetwork {
    /// As the engine knows it.
    pub name: String,
    /// It is made where it is missing, and taken away again when nothing uses it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// Names by which the others in it find the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl ContainerOptions {
    fn is_default(&self) -> bool {
        *self == ContainerOptions::default()
    }
}

impl Run {
    /// It has something that the first release did not know.
    fn is_newer(&self) -> bool {
        match self {
            Run::Python { .. } | Run::Agent { .. } => true,
            Run::Process { .. } => false,
            Run::Container { options, .. } => !options.is_default(),
        }
    }

    /// The programs of an agent, by architecture; of everything else none.
    pub fn binaries(&self) -> impl Iterator<Item = (&String, &Binary)> {
        let binaries = match self {
            Run::Agent { binaries } => Some(binaries),
            _ => None,
        };
        binaries.into_iter().flatten()
    }

    /// A container, not a process.
    pub fn is_container(&self) -> bool {
        matches!(self, Run::Container { .. })
    }
}

/// When the registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Only when the image is not on the node: it must start without network.
    #[default]
    Missing,
    /// Before every replacement; when the registry cannot be reached, what is there is used.
    Always,
    /// Never.
    Never,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Port {
    /// Address on the node, all when `None`.
    #[serde(default)]
    pub address: Option<String>,
    /// Port on the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// `tcp` or `udp`.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Transport protocol of a [`Port`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Not writable.
    #[serde(default)]
    pub read_only: bool,
    /// What is in it is there on every node, or not needed: the instance may move to another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub movable: bool,
}

/// Where a [`Mount`] comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A named volume of the engine.
    Volume(String),
    /// An absolute path on the node.
    Path(String),
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Path on the node.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// Cgroup permissions, a subset of `rwm`.
    pub permissions: String,
}

/// Limits. A limit that the node cannot enforce is a warning in its state, not a failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    /// Bytes.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Cores; 0.5 is half of one.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Niceness, -20 to 19.
    #[serde(default)]
    pub nice: Option<i32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Open files of one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// The root file system is not writable (containers only).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Directories in memory (containers only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// What the kernel adds when it looks for a victim for want of memory, -1000 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score: Option<i32>,
}

/// What happens when an instance ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restart {
    /// When it is started again.
    pub policy: RestartPolicy,
    /// First delay; doubles up to `max_delay_ms`, with jitter; zero stays zero.
    pub delay_ms: u64,
    /// The longest delay.
    pub max_delay_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Restart {
            policy: RestartPolicy::Always,
            delay_ms: 5_000,
            max_delay_ms: 300_000,
        }
    }
}

/// When an instance that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// When the exit code is not zero.
    OnFailure,
    /// Never.
    Never,
}
