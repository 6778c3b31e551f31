//! What the local socket answers; `fleetctl --local` reads it.

use crate::{
    manifest::Problem,
    model::{LogLine, Name, ObservedInstance},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who says what an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// The controller of a fleet.
    Joined,
    /// A directory of manifests.
    Standalone,
}

impl AgentKind {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentKind::Joined => "joined",
            AgentKind::Standalone => "standalone",
        }
    }
}

/// How an agent and everything on it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// Name of the node.
    pub node: Name,
    /// Version of the agent.
    pub version: String,
    /// Who says what it runs.
    pub kind: AgentKind,
    /// There is a session with the fleet; `None` without a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Of the assignment in effect; grows with each change.
    pub generation: u64,
    /// The directory of manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Every instance, by name.
    pub instances: Vec<ObservedInstance>,
    /// What is wrong with the directory, as of when it was read last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Workloads in the directory that do not run on this node, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<Name, String>,
    /// Workloads that go on as they were because of the problems.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<Name>,
}

/// One line of the answer to a request for logs: exactly one of the two is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalLine {
    /// What was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<LogLine>,
    /// Why the lines end here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
