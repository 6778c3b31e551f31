//! What the controller remembers of a workload.

use super::{Move, Revision, Rollout, Step, StepState};
use crate::model::{Desired, Name, TraceContext, UnixMs, Workload};
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
    /// The request of the person who changed it as a whole last: applied it, took it back, started,
    /// stopped or restarted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// Nodes that it was moved to by a person since: by which request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traces: BTreeMap<Name, TraceContext>,
}

impl WorkloadRecord {
    /// A person's request changes it as a whole.
    pub(super) fn requested(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
        self.traces.clear();
    }

    /// The request by which a node has what it is assigned. For what came by itself (a failover, a
    /// turn of a rollout) that is the one by which the workload is as it is.
    pub(super) fn trace_on(&self, node: &Name) -> Option<TraceContext> {
        if let Some(moved) = self.traces.get(node) {
            return Some(*moved);
        }
        match self.revision_on(node.as_str()) {
            wanted if wanted == self.revision => self.trace,
            earlier => self.edition(earlier)?.trace,
        }
    }

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
