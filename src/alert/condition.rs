//! What a rule asks of the fleet.

use super::sentence::span_text;
use crate::model::{Metric, UnixMs};
use std::fmt;

/// When it is bad.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A node is offline, and has been for so long, milliseconds.
    NodeLost {
        /// Beyond the moment in which it was called offline.
        after_ms: u64,
    },
    /// An instance ends over and over.
    Crashloop,
    /// An instance runs, and its health check fails.
    Unhealthy,
    /// An instance has ended and is not started again.
    Failed,
    /// Use of the file system with the agent's data, percent.
    Disk(Limit),
    /// Use of memory, percent.
    Memory(Limit),
    /// Use of the processor, percent.
    Cpu(Limit),
    /// Degrees Celsius of the hottest sensor.
    Temperature(Limit),
    /// Any value that nodes measure.
    Telemetry {
        /// Of which metric.
        metric: Metric,
        /// Which of its values.
        value: String,
        /// What it must not be.
        limit: Limit,
    },
    /// A rollout failed, whether it was taken back or not.
    RolloutFailed,
    /// A certificate ends in less than this.
    Certificate {
        /// Milliseconds.
        before_ms: UnixMs,
    },
    /// The journal of the controller cannot keep what happens.
    Journal,
}

impl Condition {
    /// As it is written behind `when`.
    pub fn word(&self) -> &'static str {
        match self {
            Condition::NodeLost { .. } => "node_lost",
            Condition::Crashloop => "crashloop",
            Condition::Unhealthy => "unhealthy",
            Condition::Failed => "failed",
            Condition::Disk(_) => "disk",
            Condition::Memory(_) => "memory",
            Condition::Cpu(_) => "cpu",
            Condition::Temperature(_) => "temperature",
            Condition::Telemetry { .. } => "telemetry",
            Condition::RolloutFailed => "rollout_failed",
            Condition::Certificate { .. } => "certificate",
            Condition::Journal => "journal",
        }
    }

    /// It is about single nodes (or what is on them), so that they can be filtered.
    pub fn is_about_nodes(&self) -> bool {
        !matches!(
            self,
            Condition::RolloutFailed | Condition::Certificate { .. } | Condition::Journal
        )
    }

    /// It is about single workloads, so that they can be filtered.
    pub fn is_about_workloads(&self) -> bool {
        self.is_about_instances() || matches!(self, Condition::RolloutFailed)
    }

    /// It is about workloads on nodes.
    pub fn is_about_instances(&self) -> bool {
        matches!(
            self,
            Condition::Crashloop | Condition::Unhealthy | Condition::Failed
        )
    }

    /// The limit, of those that have one.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Condition::Disk(limit)
            | Condition::Memory(limit)
            | Condition::Cpu(limit)
            | Condition::Temperature(limit)
            | Condition::Telemetry { limit, .. } => Some(*limit),
            _ => None,
        }
    }
}

impl fmt::Display for Condition {
    /// Written out, for people: `disk above 90 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::NodeLost { after_ms: 0 } => f.write_str("a node is offline"),
            Condition::NodeLost { after_ms } => {
                write!(f, "a node is offline for {}", span_text(*after_ms))
            }
            Condition::Crashloop => f.write_str("an instance restarts over and over"),
            Condition::Unhealthy => f.write_str("an instance is unhealthy"),
            Condition::Failed => f.write_str("an instance has failed"),
            Condition::Disk(limit) => write!(f, "disk {limit} %"),
            Condition::Memory(limit) => write!(f, "memory {limit} %"),
            Condition::Cpu(limit) => write!(f, "processor {limit} %"),
            Condition::Temperature(limit) => write!(f, "temperature {limit} °C"),
            Condition::Telemetry {
                metric,
                value,
                limit,
            } => write!(f, "{metric} {value} {limit}"),
            Condition::RolloutFailed => f.write_str("a rollout failed or was rolled back"),
            Condition::Certificate { before_ms } => {
                write!(f, "a certificate ends within {}", span_text(*before_ms))
            }
            Condition::Journal => f.write_str("the controller cannot keep what happens"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Above(n) => write!(f, "above {n}"),
            Limit::Below(n) => write!(f, "below {n}"),
        }
    }
}

/// What a value must not be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// More than this.
    Above(f64),
    /// Less than this.
    Below(f64),
}

/// Part of a limit by which a value must keep off it to be good again.
const MARGIN: f64 = 0.02;

impl Limit {
    /// The number.
    pub fn number(self) -> f64 {
        match self {
            Limit::Above(n) | Limit::Below(n) => n,
        }
    }

    /// The value is beyond it.
    pub(super) fn is_passed_by(self, value: f64) -> bool {
        match self {
            Limit::Above(limit) => value > limit,
            Limit::Below(limit) => value < limit,
        }
    }

    /// The value keeps off it: a value on the border would fire and resolve by turns.
    pub(super) fn is_kept_by(self, value: f64) -> bool {
        let margin = self.number().abs() * MARGIN;
        match self {
            Limit::Above(limit) => value <= limit - margin,
            Limit::Below(limit) => value >= limit + margin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_out_as_it_is_configured() {
        let load = Condition::Telemetry {
            metric: Metric::Load,
            value: "1m".into(),
            limit: Limit::Above(0.01),
        };
        let before_ms = 14 * 86_400_000;
        for (condition, text) in [
            (load, "load 1m above 0.01"),
            (Condition::Disk(Limit::Above(5.0)), "disk above 5 %"),
            (
                Condition::Temperature(Limit::Below(-5.5)),
                "temperature below -5.5 °C",
            ),
            (Condition::NodeLost { after_ms: 0 }, "a node is offline"),
            (
                Condition::NodeLost { after_ms: 120_000 },
                "a node is offline for 2 min",
            ),
            (
                Condition::Certificate { before_ms },
                "a certificate ends within 14 days",
            ),
        ] {
            assert_eq!(condition.to_string(), text);
        }
    }

    #[test]
    fn on_the_border_a_value_is_neither_bad_nor_good() {
        for (limit, value, bad, good) in [
            (Limit::Above(90.0), 90.1, true, false),
            (Limit::Above(90.0), 90.0, false, false),
            (Limit::Above(90.0), 88.3, false, false),
            (Limit::Above(90.0), 88.2, false, true),
            (Limit::Above(0.0), 0.0, false, true),
            (Limit::Above(-10.0), -10.1, false, false),
            (Limit::Above(-10.0), -10.3, false, true),
            (Limit::Below(10.0), 9.9, true, false),
            (Limit::Below(10.0), 10.1, false, false),
            (Limit::Below(10.0), 10.2, false, true),
        ] {
            assert_eq!(limit.is_passed_by(value), bad, "{limit:?} {value}");
            assert_eq!(limit.is_kept_by(value), good, "{limit:?} {value}");
        }
    }
}
