//! What a rule asks of the fleet.

use crate::model::{Metric, UnixMs};

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
