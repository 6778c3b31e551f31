//! What the controller remembers of a workload.

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
}
