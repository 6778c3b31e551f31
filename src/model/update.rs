//! How a workload is changed from one version to another: in which steps, and what must hold.

use super::{Health, HealthCheck, RunMode, UnixMs, Workload};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use utoipa::ToSchema;

/// A number of nodes, or a part of them. Written as `3` or `"20%"`, also in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ShareText", into = "ShareText")]
pub enum Share {
    /// So many; at least one.
    Count(u32),
    /// So many of a hundred, 1 to 100; rounded down, and yet at least one.
    Percent(u8),
}

/// As it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct ShareText(String);

impl Share {
    /// Everything at once.
    pub const ALL: Share = Share::Percent(100);

    /// Of so many; never 0.
    pub fn of(self, all: usize) -> usize {
        match self {
            Share::Count(count) => (count as usize).max(1),
            Share::Percent(percent) => (all.saturating_mul(usize::from(percent)) / 100).max(1),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Count(count) => write!(f, "{count}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::str::FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a number of nodes such as 3 nor a part such as 20%");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse::<u8>() {
                Ok(percent @ 1..=100) => Ok(Share::Percent(percent)),
                _ => Err(wrong()),
            },
            None => match text.parse::<u32>() {
                Ok(count) if count > 0 => Ok(Share::Count(count)),
                _ => Err(wrong()),
            },
        }
    }
}

impl TryFrom<ShareText> for Share {
    type Error = String;
    fn try_from(text: ShareText) -> Result<Self, String> {
        text.0.parse()
    }
}

impl From<Share> for ShareText {
    fn from(share: Share) -> ShareText {
        ShareText(share.to_string())
    }
}

/// `[workload.<name>.update]`: the guard of a change. Without one, every node changes at once and
/// nothing is rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Update {
    /// Nodes that change at the same time: those that have begun and are not yet known to be
    /// healthy.
    #[schema(value_type = String)]
    pub max_parallel: Share,
    /// So many nodes change before all others; 0: none.
    #[serde(default)]
    pub canary: u32,
    /// Healthy canaries are enough to go on; else it waits for a person's `promote`.
    pub auto_promote: bool,
    /// So long a changed instance must have been healthy to count as such.
    pub min_healthy_time_ms: u64,
    /// A changed instance that is not healthy after so long has failed.
    pub healthy_deadline_ms: u64,
    /// No further node has become healthy for so long, though one could: the rollout has failed.
    pub progress_deadline_ms: u64,
    /// A failure takes every changed node back to the last good version; else the rollout pauses.
    pub auto_rollback: bool,
    /// Label by whose value nodes are put into a sequence: all of one value before the next, in the
    /// order of numbers, then of text; those without it come last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// Of nodes that share a value of a label, so many may be without a healthy instance at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Nodes change only while one of these is open; at any time where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// What the change needs is fetched beforehand only while one of these is open; at any time
    /// where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub download_windows: Vec<Window>,
}

impl Default for Update {
    fn default() -> Self {
        Update {
            max_parallel: Share::Count(1),
            canary: 0,
            auto_promote: true,
            min_healthy_time_ms: 10_000,
            healthy_deadline_ms: 5 * 60_000,
            progress_deadline_ms: 10 * 60_000,
            auto_rollback: true,
            sequence: None,
            budget: None,
            windows: Vec::new(),
            download_windows: Vec::new(),
        }
    }
}

/// What a change takes beside the times that are asked of it, where its deadline leaves no time.
const SLACK_MS: u64 = 5_000;

/// So long an instance of `spec` must be up before it can have been healthy for
/// `min_healthy_time_ms`: without a check it counts as healthy only once it has been up for its own
/// `min_healthy_time`.
pub fn least_healthy_ms(spec: &Workload, min_healthy_time_ms: u64) -> u64 {
    let own_ms = uptime_ms(spec.health.as_ref(), &spec.mode, spec.min_healthy_time_ms());
    min_healthy_time_ms.saturating_add(own_ms)
}

/// How long an instance must have been up to count as healthy at all; 0 where it is asked, or runs
/// by the clock or so many times.
pub fn uptime_ms(health: Option<&Health>, mode: &RunMode, min_healthy_time_ms: u64) -> u64 {
    let asked = health.is_some_and(|h| h.check != HealthCheck::None);
    if asked || *mode != RunMode::Forever {
        0
    } else {
        min_healthy_time_ms
    }
}

/// How long a change to `spec` may take. A deadline that nothing could meet is not held against it:
/// a manifest with such a one is refused, but what was stored before may have it.
pub fn healthy_limit_ms(
    spec: &Workload,
    min_healthy_time_ms: u64,
    healthy_deadline_ms: u64,
) -> u64 {
    let least = least_healthy_ms(spec, min_healthy_time_ms);
    if healthy_deadline_ms > least {
        healthy_deadline_ms
    } else {
        least.saturating_add(SLACK_MS)
    }
}

impl Update {
    /// How long a change to `spec` may take, on the way there and on the way back.
    pub fn limit_ms(&self, spec: &Workload) -> u64 {
        healthy_limit_ms(spec, self.min_healthy_time_ms, self.healthy_deadline_ms)
    }
}

/// A bound on disruption within each group of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Label whose value makes the group; nodes without it are a group of their own.
    pub label: String,
    /// So many of a group may be without a healthy instance.
    #[schema(value_type = String)]
    pub max_unavailable: Share,
}

/// A time in which something may be done, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// When it opens: a cron expression, as in [`super::Schedule::cron`].
    pub opens: String,
    /// For how long.
    pub duration_ms: u64,
    /// IANA name; `None`: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// What travels with an instance that is on trial: where it goes back to, by its agent's own
/// decision, also when nobody can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// The last good version.
    pub fallback: Arc<Workload>,
    /// As in [`Update::min_healthy_time_ms`].
    pub min_healthy_time_ms: u64,
    /// As in [`Update::healthy_deadline_ms`]; counted from the begin of the change on the node.
    pub healthy_deadline_ms: u64,
}

/// What an agent says of the last guarded change of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trial {
    /// [`Workload::spec_hash`] of what was tried.
    pub spec_hash: String,
    /// Its version.
    pub version: String,
    /// How it stands.
    pub state: TrialState,
    /// Why it failed: one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last lines, where it failed; at most ten of 256 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_output: Vec<String>,
    /// When that was found out, node's clock; for showing only.
    #[serde(default)]
    pub at_ms: UnixMs,
}

/// How a [`Trial`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It is to become healthy.
    Running,
    /// It was healthy for long enough.
    Passed,
    /// It was not: the fallback runs instead.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Run;

    #[test]
    fn a_deadline_is_what_was_written_where_it_leaves_time_at_all() {
        let run = Run::Process {
            command: vec!["/bin/true".into()],
            user: None,
            working_dir: None,
        };
        let mut web = Workload::new("web".parse().unwrap(), run);
        // Up for 10 s, and then healthy for 2 s.
        assert_eq!(least_healthy_ms(&web, 2_000), 12_000);
        assert_eq!(healthy_limit_ms(&web, 2_000, 13_000), 13_000);
        assert_eq!(healthy_limit_ms(&web, 2_000, 12_000), 17_000);
        web.health = Some(Health::new(HealthCheck::Tcp("127.0.0.1:80".into())));
        assert_eq!(healthy_limit_ms(&web, 1_000, 5_000), 5_000);
        // Nothing is asked of it.
        web.health = Some(Health::new(HealthCheck::None));
        assert_eq!(least_healthy_ms(&web, 2_000), 12_000);
        web.mode = RunMode::NTimes { max_runs: 3 };
        assert_eq!(least_healthy_ms(&web, 2_000), 2_000);
    }
}
