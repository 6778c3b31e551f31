//! How agents behave: one configuration for all nodes, and for some of them another one.
//!
//! A node's own configuration replaces the fleet's as a whole, so that reading one document tells
//! everything; whoever changes one setting of a node therefore fixes the others as they are then.

use super::{Effect, Fleet, NodeRecord, Refusal};
use crate::{
    manifest::quantity::duration_text,
    model::{LogShipping, Metric, MetricConfig, Name, NodeConfig, UnixMs},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};
use utoipa::ToSchema;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Milliseconds between heartbeats.
pub const HEARTBEAT_BOUNDS: RangeInclusive<u64> = SECOND..=10 * MINUTE;
/// Milliseconds between two measurements of one metric.
pub const TELEMETRY_BOUNDS: RangeInclusive<u64> = SECOND..=24 * 60 * MINUTE;
/// Milliseconds that log lines wait for others.
pub const SHIPPING_BOUNDS: RangeInclusive<u64> = 100..=10 * MINUTE;

/// What a metric is before anybody said something about it: off.
const UNNAMED: MetricConfig = MetricConfig {
    enabled: false,
    interval_ms: 30 * SECOND,
    change_threshold: 0.0,
};

/// Some settings of a node; what is not there stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfigPatch {
    /// Milliseconds between heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_ms: Option<u64>,
    /// By metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub telemetry: BTreeMap<Metric, MetricPatch>,
    /// Of shipping.
    #[serde(default)]
    pub logs: ShippingPatch,
}

/// Some settings of a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricPatch {
    /// It is measured and published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Milliseconds, 1 s to 1 day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// In the values' own units; 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_threshold: Option<f64>,
}

/// Some settings of the shipping of logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippingPatch {
    /// What instances write is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Milliseconds, 100 ms to 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
}

impl NodeConfigPatch {
    /// `base` with these settings. A metric that `base` does not name stays off until it is enabled.
    pub fn on(&self, base: &NodeConfig) -> NodeConfig {
        let mut config = base.clone();
        // The fleet's, never a node's own.
        config.blobs = None;
        if let Some(ms) = self.heartbeat_interval_ms {
            config.heartbeat_interval_ms = ms;
        }
        for (metric, patch) in &self.telemetry {
            let m = config.telemetry.entry(*metric).or_insert(UNNAMED);
            *m = MetricConfig {
                enabled: patch.enabled.unwrap_or(m.enabled),
                interval_ms: patch.interval_ms.unwrap_or(m.interval_ms),
                change_threshold: patch.change_threshold.unwrap_or(m.change_threshold),
            };
        }
        config.logs = LogShipping {
            enabled: self.logs.enabled.unwrap_or(config.logs.enabled),
            interval_ms: self.logs.interval_ms.unwrap_or(config.logs.interval_ms),
        };
        config
    }
}

/// Refuses what no agent should be told, naming the key. `silent_after_ms`, where it is known: a
/// node that is not heard for so long is called silent, so that it must be heard in between.
///
/// # Errors
/// [`Refusal::Invalid`].
pub fn check_config(config: &NodeConfig, silent_after_ms: Option<u64>) -> Result<(), Refusal> {
    let within = |key: &str, ms: u64, bounds: &RangeInclusive<u64>| {
        if bounds.contains(&ms) {
            return Ok(());
        }
        Err(Refusal::Invalid(format!(
            "`{key}` must be from {} to {}, not {}",
            duration_text(*bounds.start()),
            duration_text(*bounds.end()),
            duration_text(ms)
        )))
    };
    let beat = config.heartbeat_interval_ms;
    within("heartbeat_interval", beat, &HEARTBEAT_BOUNDS)?;
    if let Some(silent) = silent_after_ms.filter(|silent| *silent <= beat) {
        return Err(Refusal::Invalid(format!(
            "`heartbeat_interval` ({}) must be shorter than `silent_after` in the controller's \
             configuration ({}), or the node is called silent between two heartbeats",
            duration_text(beat),
            duration_text(silent)
        )));
    }
    for (metric, m) in &config.telemetry {
        let key = format!("telemetry.{metric}.interval");
        within(&key, m.interval_ms, &TELEMETRY_BOUNDS)?;
        if !(m.change_threshold.is_finite() && m.change_threshold >= 0.0) {
            return Err(Refusal::Invalid(format!(
                "`telemetry.{metric}.change_threshold` must be 0 or more"
            )));
        }
    }
    within("logs.interval", config.logs.interval_ms, &SHIPPING_BOUNDS)
}

/// What an agent said about the configuration that it has in effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportedConfig {
    /// When it was heard, controller's clock.
    pub heard_ms: UnixMs,
    /// The configuration.
    pub config: NodeConfig,
}

/// One metric as a node told it last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reading {
    /// When it was measured, node's clock.
    pub at: UnixMs,
    /// When it was heard, controller's clock.
    pub heard_ms: UnixMs,
    /// By name; at most 200. Percent 0–100, bytes, seconds, degrees Celsius; of `throttling` 0 or 1.
    pub values: BTreeMap<String, f64>,
}

impl Fleet {
    /// The configuration of nodes that have none of their own.
    pub fn default_config(&self) -> &NodeConfig {
        &self.node_config
    }

    /// The configuration that a node is to have: its own, else the fleet's.
    pub fn config_of(&self, node: &str) -> Option<&NodeConfig> {
        let record = self.nodes.get(node)?;
        Some(record.config.as_ref().unwrap_or(&self.node_config))
    }

    /// The configuration that a node is told: the one it is to have, as far as its agent knows it.
    pub fn told_config(&self, record: &NodeRecord) -> NodeConfig {
        // Of one that has not said so yet the least is assumed; it is told anew once it has.
        let features = record.facts.as_ref().map_or(1, |f| f.features);
        self.wanted_config(record).for_features(features)
    }

    /// Its own or the fleet's; where blobs are is the same for all.
    pub(super) fn wanted_config(&self, record: &NodeRecord) -> NodeConfig {
        let config = record.config.as_ref().unwrap_or(&self.node_config);
        NodeConfig {
            blobs: self.node_config.blobs.clone(),
            ..config.clone()
        }
    }

    pub(super) fn configure_node(
        &mut self,
        node: &Name,
        config: Option<&NodeConfig>,
    ) -> Result<Vec<Effect>, Refusal> {
        if let Some(config) = config {
            check_config(config, None)?;
        }
        let record = self.member_mut(node)?;
        if record.config.as_ref() == config {
            return Err(Refusal::Unchanged);
        }
        record.config = config.cloned();
        Ok(self.reassign(&BTreeSet::from([node.clone()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(json: &str) -> NodeConfigPatch {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_a_patch_does_not_name_stays() {
        let base = NodeConfig {
            heartbeat_interval_ms: 7_000,
            telemetry: [(Metric::Cpu, MetricConfig::default())].into(),
            ..NodeConfig::default()
        };
        assert_eq!(patch("{}").on(&base), base);
        let other = patch(
            r#"{"telemetry":{"cpu":{"interval_ms":10000},"load":{"change_threshold":0.5}},
                "logs":{"enabled":true}}"#,
        )
        .on(&base);
        assert_eq!(other.heartbeat_interval_ms, 7_000);
        let cpu = other.telemetry[&Metric::Cpu];
        assert_eq!((cpu.enabled, cpu.interval_ms), (true, 10_000));
        let load = other.telemetry[&Metric::Load];
        assert_eq!((load.enabled, load.change_threshold), (false, 0.5));
        assert_eq!(
            (other.logs.enabled, other.logs.interval_ms),
            (true, LogShipping::default().interval_ms)
        );
        assert_eq!(
            patch(r#"{"heartbeat_interval_ms":1000}"#).on(&base),
            NodeConfig {
                heartbeat_interval_ms: 1_000,
                ..base
            }
        );
    }

    #[test]
    fn a_patch_with_another_key_is_refused_by_name() {
        for (json, word) in [
            (r#"{"heartbeat":1}"#, "`heartbeat`"),
            (r#"{"telemetry":{"cpi":{}}}"#, "`cpi`"),
            (r#"{"telemetry":{"cpu":{"enable":true}}}"#, "`enable`"),
            (r#"{"logs":{"every":1}}"#, "`every`"),
        ] {
            let error = serde_json::from_str::<NodeConfigPatch>(json).unwrap_err();
            assert!(error.to_string().contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn bounds_are_checked_by_name() {
        let base = NodeConfig::default();
        assert_eq!(check_config(&base, Some(14_500)), Ok(()));
        for (json, key) in [
            (r#"{"heartbeat_interval_ms":999}"#, "`heartbeat_interval`"),
            (
                r#"{"heartbeat_interval_ms":600001}"#,
                "`heartbeat_interval`",
            ),
            (r#"{"heartbeat_interval_ms":14500}"#, "`silent_after`"),
            (
                r#"{"telemetry":{"cpu":{"interval_ms":0}}}"#,
                "`telemetry.cpu.interval`",
            ),
            (
                r#"{"telemetry":{"disk":{"interval_ms":86400001}}}"#,
                "`telemetry.disk.interval`",
            ),
            (
                r#"{"telemetry":{"disk":{"change_threshold":-1}}}"#,
                "`telemetry.disk.change_threshold`",
            ),
            (r#"{"logs":{"interval_ms":99}}"#, "`logs.interval`"),
        ] {
            let refusal = check_config(&patch(json).on(&base), Some(14_500)).unwrap_err();
            assert!(refusal.to_string().contains(key), "{json}: {refusal}");
        }
        let mut endless = patch(r#"{"telemetry":{"cpu":{}}}"#).on(&base);
        if let Some(cpu) = endless.telemetry.get_mut(&Metric::Cpu) {
            cpu.change_threshold = f64::NAN;
        }
        assert!(check_config(&endless, None).is_err());
    }
}
