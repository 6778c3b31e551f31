//! Containers that run on a node without fleetctl.

use super::{RuntimeKind, Workload};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A container that fleetctl did not make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unmanaged {
    /// Its engine.
    pub runtime: RuntimeKind,
    /// Its name there.
    pub name: String,
    /// Its image, as it was written.
    pub image: String,
    /// It runs.
    pub running: bool,
    /// The Compose project that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// It has the label `fleetctl.discover=true`: it is announced without being asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announced: bool,
    /// The workload that would take it over (`adopt` is its name); left out of announcements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What of it no workload can say, one sentence each: that would be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}
