//! Agent settings that the controller may change while it runs.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// How an agent behaves. It reports the one in effect in `cfg/{node}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeConfig {
    /// Milliseconds between heartbeats.
    pub heartbeat_interval_ms: u64,
    /// What is measured and published; a metric that is not named is off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub telemetry: BTreeMap<Metric, MetricConfig>,
    /// Whether what instances write is published without being asked for.
    #[serde(default, skip_serializing_if = "LogShipping::is_default")]
    pub logs: LogShipping,
}

impl Default for NodeConfig {
    /// 12 s: two missed ones fit the 15 s in which a node must be called silent only just, while
    /// an idle node stays below 2.2 kB a minute on the wire. No telemetry, no shipping of logs.
    fn default() -> Self {
        NodeConfig {
            heartbeat_interval_ms: 12_000,
            telemetry: BTreeMap::new(),
            logs: LogShipping::default(),
        }
    }
}

/// One kind of measurement; also the last part of its topic.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Percent, all cores together and each.
    Cpu,
    /// Bytes and percent of memory and swap.
    Memory,
    /// Bytes and percent of the file system with the agent's data; bytes read and written.
    Disk,
    /// Load averages.
    Load,
    /// Degrees Celsius of each sensor.
    Temperature,
    /// Under-voltage and throttling, as the board's firmware tells.
    Throttling,
    /// Bytes and errors of each interface.
    Network,
    /// Seconds.
    Uptime,
    /// Processor and memory of each instance.
    Instances,
}

impl Metric {
    /// Every one.
    pub const ALL: [Metric; 9] = [
        Metric::Cpu,
        Metric::Memory,
        Metric::Disk,
        Metric::Load,
        Metric::Temperature,
        Metric::Throttling,
        Metric::Network,
        Metric::Uptime,
        Metric::Instances,
    ];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::Disk => "disk",
            Metric::Load => "load",
            Metric::Temperature => "temperature",
            Metric::Throttling => "throttling",
            Metric::Network => "network",
            Metric::Uptime => "uptime",
            Metric::Instances => "instances",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether and when a metric is published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricConfig {
    /// It is.
    pub enabled: bool,
    /// Milliseconds from one measurement to the next, 1 s to 1 day.
    pub interval_ms: u64,
    /// It is left out while no value has moved by at least so much since it was sent, in the
    /// value's own unit; 0 sends every one. Every tenth is sent anyway.
    pub change_threshold: f64,
}

impl Default for MetricConfig {
    fn default() -> Self {
        MetricConfig {
            enabled: true,
            interval_ms: 30_000,
            change_threshold: 0.0,
        }
    }
}

/// Whether what instances write is published without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogShipping {
    /// It is, on `logs/{node}/{instance}`, with an empty `command`.
    pub enabled: bool,
    /// Milliseconds that lines wait for others, 100 ms to 10 min.
    pub interval_ms: u64,
}

impl Default for LogShipping {
    fn default() -> Self {
        LogShipping {
            enabled: false,
            interval_ms: 5_000,
        }
    }
}

impl LogShipping {
    fn is_default(&self) -> bool {
        *self == LogShipping::default()
    }
}
