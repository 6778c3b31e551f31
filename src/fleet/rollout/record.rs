//! What is remembered of rollouts and of the versions of a workload. Stored.

use crate::model::{Name, TraceContext, UnixMs, Workload};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// One edition of a workload, as it was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Grows with each apply that changed something.
    pub revision: u64,
    /// As applied.
    pub spec: Arc<Workload>,
    /// [`Workload::spec_hash`] of it, before templates are filled in.
    pub spec_hash: String,
    /// When.
    pub applied_ms: UnixMs,
    /// By whom: name of the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// By which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// Whether it is known to work.
    #[serde(default)]
    pub verdict: RevisionVerdict,
}

/// Whether a revision is known to work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevisionVerdict {
    /// Nobody knows.
    #[default]
    Untried,
    /// It ran healthy, on every node that could be heard.
    Good,
    /// A rollout to it has failed.
    Bad,
    /// A person took it back: nothing goes back to it by itself.
    TakenBack,
}

/// A rollout, under way or the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// The revision that it leads to; also tells rollouts of one workload apart.
    pub to: u64,
    /// The revision that it goes back to.
    pub from: u64,
    /// When it began.
    pub started_ms: UnixMs,
    /// Who began it: name of the API token.
    #[serde(default)]
    pub by: Option<String>,
    /// How it stands.
    pub phase: RolloutPhase,
    /// A person (or a failure without `auto_rollback`) holds it: nothing further is changed.
    #[serde(default)]
    pub paused: bool,
    /// One sentence: what it waits for, or how it ended.
    #[serde(default)]
    pub reason: String,
    /// Each node that it is about.
    #[schema(value_type = BTreeMap<String, Step>)]
    pub steps: BTreeMap<Name, Step>,
    /// When a node became healthy (on the way back: was back) last, or it began, or was resumed.
    pub progress_ms: UnixMs,
    /// Why it failed.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// When it ended.
    #[serde(default)]
    pub ended_ms: Option<UnixMs>,
    /// Which of its windows are open.
    #[serde(default)]
    pub windows: OpenWindows,
}

/// Which windows of a rollout are open, as looked at last. Kept, since an assignment depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenWindows {
    /// Nodes may change.
    #[serde(default)]
    pub changes: bool,
    /// What waits for its turn may be fetched.
    #[serde(default)]
    pub downloads: bool,
    /// When one of them opens or closes next, controller's clock.
    #[serde(default)]
    pub next_ms: Option<UnixMs>,
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// The canaries change, or are to show that they are healthy.
    Canary,
    /// The canaries are healthy; a person must promote them.
    AwaitingPromotion,
    /// The others change, in batches.
    Rolling,
    /// Every node that can be heard is healthy on the new version.
    Succeeded,
    /// It failed; the nodes that changed go back.
    RollingBack,
    /// They are back.
    RolledBack,
    /// It failed, or could not be taken back, and is left as it is.
    Failed,
    /// A person ended it: left as it is.
    Aborted,
    /// Another apply took its place.
    Superseded,
}

impl RolloutPhase {
    /// It leads back, or has led back: single nodes may follow.
    pub fn is_back(self) -> bool {
        matches!(self, RolloutPhase::RollingBack | RolloutPhase::RolledBack)
    }

    /// It goes on.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            RolloutPhase::Canary
                | RolloutPhase::AwaitingPromotion
                | RolloutPhase::Rolling
                | RolloutPhase::RollingBack
        )
    }
}

/// One node of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// How it stands.
    pub state: StepState,
    /// When it was told to change, controller's clock.
    #[serde(default)]
    pub switched_ms: Option<UnixMs>,
    /// Since when it has been healthy, controller's clock.
    #[serde(default)]
    pub healthy_since_ms: Option<UnixMs>,
    /// Since when its time to become healthy runs; it does not while the node cannot be heard.
    #[serde(default)]
    pub counts_from_ms: Option<UnixMs>,
    /// Generation of the assignment that told it to change: what the node says about an earlier one
    /// is no verdict.
    #[serde(default)]
    pub generation: u64,
    /// Its assignment has no room for what it would go back to: only the controller takes it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unguarded: bool,
    /// Its agent watches it, and says itself when it has been healthy for long enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watched: bool,
}

impl Step {
    /// It is in `state`, and was told nothing.
    pub(super) fn untold(state: StepState) -> Step {
        Step {
            state,
            switched_ms: None,
            healthy_since_ms: None,
            counts_from_ms: None,
            generation: 0,
            unguarded: false,
            watched: false,
        }
    }

    /// It is told something now, with an assignment of this generation.
    pub(super) fn told(state: StepState, at: UnixMs, online: bool, generation: u64) -> Step {
        Step {
            state,
            switched_ms: Some(at),
            healthy_since_ms: None,
            counts_from_ms: online.then_some(at),
            generation,
            unguarded: false,
            watched: false,
        }
    }

    /// Its times run anew.
    pub(super) fn again(&mut self, at: UnixMs) {
        self.switched_ms = Some(at);
        self.healthy_since_ms = None;
        self.counts_from_ms = self.counts_from_ms.map(|_| at);
    }
}

/// How a node of a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It has the version that it had before, and its turn has not come. On the way back: the one
    /// that is left.
    Waiting,
    /// It was told to change, and is not known to be healthy.
    Changing,
    /// It is healthy on the new version, for long enough.
    Healthy,
    /// It is not, in time.
    Failed,
    /// It was told to go back, and has not said that it is.
    Returning,
    /// It has the old version again, and has said so.
    Returned,
    /// This rollout did not change it: it has had what is wanted all along.
    Unchanged,
}

/// Why a rollout failed: on which node, by which check, with which last words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The node; `None` when time ran out for the whole.
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// What was asked of it: `health check http://…`, `stays up for 10 s`, `progress deadline`, ….
    pub check: String,
    /// What came of it, one sentence.
    pub reason: String,
    /// The last lines that the instance wrote.
    #[serde(default)]
    pub last_output: Vec<String>,
    /// When, controller's clock.
    pub at_ms: UnixMs,
    /// The controller found it by the clock. What the node itself says of it takes its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guessed: bool,
}

/// What a person orders of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOrder {
    /// Change no further node.
    Pause,
    /// Go on.
    Resume,
    /// The canaries are good enough.
    Promote,
    /// End it, and leave every node as it is.
    Abort,
    /// Back to an earlier revision; `None`: the last good one. Also after a rollout has ended.
    Rollback {
        /// Which.
        to: Option<u64>,
    },
}
