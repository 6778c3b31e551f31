//! When a workload runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// For ever, by the clock, or so many times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// It should always run; what happens when it ends says its restart policy.
    #[default]
    Forever,
    /// At the times of a cron expression. A run that fails is tried again before the next one
    /// where the restart policy is `on_failure`.
    Schedule(Schedule),
    /// So many runs, one after the other, whatever comes of each; the count survives restarts.
    NTimes {
        /// At least one.
        max_runs: u32,
    },
}

impl RunMode {
    pub(super) fn is_forever(&self) -> bool {
        *self == RunMode::Forever
    }
}

/// At the times of a cron expression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Five fields (minute first), six (second first), or a word such as `@daily`.
    pub cron: String,
    /// IANA name, as in `Europe/Berlin`; `None`: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// A run whose time passed while the node was off, or stopped.
    #[serde(default)]
    pub missed: MissedRun,
    /// A run whose time comes while the one before goes on.
    #[serde(default)]
    pub overlap: Overlap,
}

/// What becomes of a run whose time passed while the node was off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissedRun {
    /// Nothing.
    #[default]
    Skip,
    /// However many were missed, one run makes up for them.
    RunOnce,
}

/// What becomes of a run whose time comes while the one before goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing.
    #[default]
    Skip,
    /// It begins when the one before has ended; at most one waits.
    Queue,
    /// The one before is stopped, and it begins.
    Replace,
}
