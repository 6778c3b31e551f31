//! Agent settings that the controller may change while it runs.

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// What an agent must know to fetch blobs.
const BLOBS: u32 = 5;

/// How an agent behaves. It reports the one in effect in `cfg/{node}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeConfig {
    /// Milliseconds between heartbeats.
    pub heartbeat_interval_ms: u64,
    /// What is measured and published; a metric that is not named is off, and one that is not
    /// known here is left out: a later release may have more.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "known_metrics"
    )]
    pub telemetry: BTreeMap<Metric, MetricConfig>,
    /// Whether what instances write is published without being asked for.
    #[serde(default, skip_serializing_if = "LogShipping::is_default")]
    pub logs: LogShipping,
    /// Where blobs are fetched; `None`: at the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<BlobSource>,
}

/// Where a node fetches blobs when the fleet's broker is not the controller's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobSource {
    /// The controller's API, or a proxy before it: `https://fleet.example:7070`.
    pub url: String,
    /// SHA-256 of the fleet's CA, hex: the server may show it in place of a certificate that the
    /// system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
}

impl NodeConfig {
    /// As an agent is told that knows so much ([`super::FEATURES`]): one that does not know a
    /// metric would not take its assignment.
    pub fn for_features(&self, features: u32) -> NodeConfig {
        let mut config = self.clone();
        config
            .telemetry
            .retain(|m, _| m.needs_features() <= features);
        config.blobs = config.blobs.filter(|_| features >= BLOBS);
        config
    }

    /// Whether agents that know so much are told something else than those that know so much.
    pub fn differs_between(&self, features: u32, others: u32) -> bool {
        let known = |m: &Metric, features| m.needs_features() <= features;
        let blobs = self.blobs.is_some() && (features >= BLOBS) != (others >= BLOBS);
        let mut metrics = self.telemetry.keys();
        blobs || metrics.any(|m| known(m, features) != known(m, others))
    }
}

impl Default for NodeConfig {
    /// 12 s: two missed ones fit the 15 s in which a node must be called silent only just, while
    /// an idle node stays below 2.2 kB a minute on the wire. No telemetry, no shipping of logs.
    fn default() -> Self {
        NodeConfig {
            heartbeat_interval_ms: 12_000,
            telemetry: BTreeMap::new(),
            logs: LogShipping::default(),
            blobs: None,
        }
    }
}

fn known_metrics<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Metric, MetricConfig>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let known = all.into_iter().filter_map(|(name, config)| {
        let metric = Metric::ALL.into_iter().find(|m| m.as_str() == name)?;
        Some(serde_json::from_value(config).map(|config| (metric, config)))
    });
    known.collect::<Result<_, _>>().map_err(D::Error::custom)
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
    /// What the agent itself takes and does.
    Agent,
}

impl Metric {
    /// Every one.
    pub const ALL: [Metric; 10] = [
        Metric::Cpu,
        Metric::Memory,
        Metric::Disk,
        Metric::Load,
        Metric::Temperature,
        Metric::Throttling,
        Metric::Network,
        Metric::Uptime,
        Metric::Instances,
        Metric::Agent,
    ];

    /// What an agent must know to measure it.
    fn needs_features(self) -> u32 {
        match self {
            Metric::Agent => 4,
            _ => 1,
        }
    }

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
            Metric::Agent => "agent",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_of_a_later_release_is_left_out_and_a_wrong_setting_is_not() {
        let read = |telemetry: &str| {
            let text = format!(r#"{{"heartbeat_interval_ms":1000,"telemetry":{telemetry}}}"#);
            serde_json::from_str::<NodeConfig>(&text)
        };
        let cpu = r#""cpu":{"enabled":true,"interval_ms":1000,"change_threshold":0.0}"#;
        let config = read(&format!(r#"{{{cpu},"gpu":{{"what":"ever"}}}}"#)).unwrap();
        assert_eq!(
            config.telemetry.into_keys().collect::<Vec<_>>(),
            [Metric::Cpu]
        );
        assert!(read(r#"{"cpu":{"enabled":1}}"#).is_err());
        let all = Metric::ALL.map(|m| (m, MetricConfig::default()));
        let all = NodeConfig {
            telemetry: all.into(),
            ..NodeConfig::default()
        };
        assert!(!all.for_features(3).telemetry.contains_key(&Metric::Agent));
        assert_eq!(all.for_features(super::super::FEATURES), all);
        assert_eq!(
            Metric::ALL.map(|m| m as usize),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
    }
}
