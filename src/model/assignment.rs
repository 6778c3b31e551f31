//! What a node must run.

use super::{Guard, NodeConfig, TraceContext, Workload};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The one document that says what a node must run. Complete, never a delta.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Only grows. A lower one than that in effect is refused.
    pub generation: u64,
    /// At most one per workload, ordered by name.
    pub instances: Vec<AssignedInstance>,
    /// How the agent behaves.
    pub cfg: NodeConfig,
}

/// One workload that a node must run (or keep stopped).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignedInstance {
    /// What.
    pub workload: Arc<Workload>,
    /// Run it, or keep it stopped.
    pub desired: Desired,
    /// Grows each time somebody asks for a restart; the agent restarts when it sees a new one.
    #[serde(default)]
    pub restart_count: u64,
    /// It is on trial: where it goes back to when it does not become healthy in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Box<Guard>>,
    /// What will be wanted later: its image is to be fetched now, nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<Workload>>,
    /// The request by which a person made it so. Nothing is decided by it: an assignment that
    /// differs only here is the same.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::trace::lenient"
    )]
    pub trace: Option<TraceContext>,
}

/// Run it, or keep it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Run it.
    #[default]
    Running,
    /// Keep it, stopped.
    Stopped,
}
