//! A machine that runs an agent.

use super::{RuntimeKind, UnixMs};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// Whether a node can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Its session lives and its heartbeats come.
    Online,
    /// Its session was not closed, yet heartbeats are missing.
    Silent,
    /// It left, its session died, or it has been silent for long.
    #[default]
    Offline,
}

impl Presence {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Online => "online",
            Presence::Silent => "silent",
            Presence::Offline => "offline",
        }
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What this release's agents know of workloads ([`super::Workload::needs_features`]) and of
/// settings ([`super::NodeConfig::for_features`]).
pub const FEATURES: u32 = 5;

/// What a node is: everything an agent finds out about its machine that rarely changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeFacts {
    /// Version of fleetctl that the agent runs.
    pub agent_version: String,
    /// What its agent knows of workloads, as in [`FEATURES`]; the first release did not say.
    #[serde(default = "first")]
    pub features: u32,
    /// `x86_64`, `aarch64`, `arm`, …
    pub arch: String,
    /// As in `Debian GNU/Linux 12`.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// The machine's own name.
    pub hostname: String,
    /// Addresses of its interfaces, loopback left out.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Logical processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes of the file system that holds the agent's data.
    pub disk_total: u64,
    /// What can execute instances here.
    #[serde(default)]
    pub engines: Vec<EngineFact>,
    /// Facts that placement may ask for: `docker`, `podman`, `process`, `arch=…`, `gpio`, ….
    #[serde(default)]
    pub capabilities: BTreeMap<String, String>,
    /// Labels that the agent's own configuration gives.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl NodeFacts {
    /// Architecture of the agent's own program, as in [`super::Artifact::Binary`]: what it can put
    /// in its own place. It may be a 32-bit one under a 64-bit kernel, which `arch` tells of.
    pub fn program_arch(&self) -> &str {
        let said = self.capabilities.get(super::CAN_UPGRADE);
        match said.map(String::as_str) {
            Some(arch @ ("x86_64" | "aarch64" | "arm")) => arch,
            _ if self.arch.starts_with("armv") => "arm",
            _ => &self.arch,
        }
    }
}

fn first() -> u32 {
    1
}

/// One runtime on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineFact {
    /// Which.
    pub runtime: RuntimeKind,
    /// Version of the engine.
    pub version: String,
    /// It answers.
    pub healthy: bool,
}

/// How a node does right now. Percentages are 0–100.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// Processor use, all cores together, percent.
    pub cpu: f32,
    /// Memory in use, percent.
    pub memory: f32,
    /// Use of the file system that holds the agent's data, percent.
    pub disk: f32,
    /// Load average of the last minute.
    pub load: f32,
    /// Hottest sensor, degrees Celsius; `None` where there is none.
    pub temperature: Option<f32>,
    /// Seconds since the machine started.
    pub uptime_s: u64,
    /// Instances that run.
    pub running: u32,
    /// Instances that failed or back off.
    pub failed: u32,
    /// Generation of the assignment in effect.
    pub generation: u64,
    /// Digest of the last `state` message: a reader that has another one missed something.
    pub state_digest: String,
    /// When the controller heard it, on the controller's clock.
    pub heard_ms: UnixMs,
}
