//! What must run, as the user wrote it, checked and with its defaults filled in.

use super::Name;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

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
}

impl Workload {
    /// The part that decides whether a running instance must be replaced: everything but the
    /// placement and the restart policy, which take effect in place. 16 hex digits of SHA-256
    /// over the canonical JSON.
    pub fn spec_hash(&self) -> String {
        let mut same = self.clone();
        same.placement = Placement::default();
        same.restart = Restart::default();
        let text = serde_json_canonicalizer::to_vec(&same).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, &text);
        digest.as_ref()[..8]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }
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
}

/// Where instances go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// `any` with replicas, or `every` matching node.
    pub mode: PlacementMode,
    /// How to choose among the nodes that may run it.
    pub strategy: Strategy,
    /// What a node must have; all of them.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub requires: Vec<Requirement>,
    /// Only these nodes, where not empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<Name>,
}

/// `on` in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlacementMode {
    /// That many instances, each on a node of its own.
    Any {
        /// How many; zero is allowed and runs nothing.
        replicas: u32,
    },
    /// One on each node that may run it, also on nodes that join later.
    Every,
}

impl Default for PlacementMode {
    fn default() -> Self {
        PlacementMode::Any { replicas: 1 }
    }
}

/// How to choose among nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The node with the fewest instances, then the one with the most memory left.
    #[default]
    LeastLoaded,
}

/// A fact or label that a node must have: `key`, `key=value` or `key!=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// Label or capability.
    pub key: String,
    /// `Some`: the value it is compared with.
    pub value: Option<String>,
    /// The comparison is turned round.
    pub negated: bool,
}

impl Requirement {
    /// Whether labels and capabilities meet it.
    pub fn is_met_by(&self, properties: &BTreeMap<String, String>) -> bool {
        let has = properties.get(&self.key);
        let holds = match &self.value {
            None => has.is_some(),
            wanted => has == wanted.as_ref(),
        };
        holds != self.negated
    }
}

impl TryFrom<String> for Requirement {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let word = |s: &str| {
            !s.is_empty()
                && s.len() <= 128
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b))
        };
        let (key, value, negated) = if let Some((k, v)) = text.split_once("!=") {
            (k, Some(v), true)
        } else if let Some((k, v)) = text.split_once('=') {
            (k, Some(v), false)
        } else if let Some(k) = text.strip_prefix('!') {
            (k, None, true)
        } else {
            (text.as_str(), None, false)
        };
        if !word(key) || !value.is_none_or(word) {
            return Err(format!(
                "`{text}` is not a requirement: `key`, `!key`, `key=value` or `key!=value`"
            ));
        }
        Ok(Requirement {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            negated,
        })
    }
}

impl From<Requirement> for String {
    fn from(r: Requirement) -> String {
        r.to_string()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, self.negated) {
            (Some(v), true) => write!(f, "{}!={v}", self.key),
            (Some(v), false) => write!(f, "{}={v}", self.key),
            (None, true) => write!(f, "!{}", self.key),
            (None, false) => f.write_str(&self.key),
        }
    }
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
