//! What the controller remembers of a workload.

use super::{Move, Revision, Rollout, Step, StepState};
use crate::model::{Desired, Name, UnixMs, Workload};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A workload and where it was put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// As applied last.
    pub spec: Arc<Workload>,
    /// [`Workload::spec_hash`] of it.
    pub spec_hash: String,
    /// Bytes that it takes in an assignment.
    #[serde(default)]
    pub encoded_len: usize,
    /// Names in its templates, which are filled in for each node.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// Run it, or keep it stopped.
    pub desired: Desired,
    /// Restarts asked for.
    pub restart_count: u64,
    /// Grows with each apply that changed it.
    pub revision: u64,
    /// When it was applied last.
    pub applied_ms: UnixMs,
    /// Nodes that it was placed on.
    pub placed: BTreeSet<Name>,
    /// Replicas that no node could take.
    pub missing: u32,
    /// Why each node was taken or passed over, one sentence each.
    pub reasons: BTreeMap<Name, String>,
    /// Its latest revisions, oldest first; the last one is the wanted one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Revision>,
    /// Nodes that are assigned another revision than the wanted one: which.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at: BTreeMap<Name, u64>,
    /// Nodes that have not shown yet that they are healthy since they were told to change: the
    /// revision that they go back to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on_trial: BTreeMap<Name, u64>,
    /// Under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Instances that are on their way to another node, by the node that they leave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moves: BTreeMap<Name, Move>,
    /// Round robin goes on after this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_chosen: Option<Name>,
}

impl WorkloadRecord {
    /// A rollout or a move is under way, or nodes are not all on the wanted revision for good.
    pub(super) fn goes_on(&self) -> bool {
        !self.moves.is_empty()
            || !self.at.is_empty()
            || !self.on_trial.is_empty()
            || self.rollout.as_ref().is_some_and(|r| {
                // Some may have been told to go back, and not have said yet that they are.
                let back = |s: &Step| s.state == StepState::Returning;
                r.phase.is_active() || (r.phase.is_back() && r.steps.values().any(back))
            })
    }
}
