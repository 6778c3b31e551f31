//! The controller's state machine: pure, deterministic, rebuilt from its journal.
//!
//! ```text
//!  person ── HTTP ──┐
//!  agent ─── MQTT ──┼─► Change ─► Entry{at, by, change} ─► Fleet::apply ─► Effects
//!  clock ─ Presence ┘                                      │ Ok: journaled, then effects are released
//!                                                          └ Err(Refusal): nothing changed, nothing journaled
//! ```
//!
//! Nothing here knows a clock, a socket, a file, randomness or the environment. Times and ids come
//! in as data, maps are ordered; the same entries give the same fleet on every machine. Only what
//! changes a decision (or must not be forgotten) is an entry; heartbeats and log lines are not.
//!
//! A node's presence:
//!
//! ```text
//!              status online (newer session)
//!   offline ───────────────────────────────► online ◄──── heard again ──── silent
//!      ▲                                      │  │ nothing heard for silent_after  ▲
//!      ├── last will, good-bye ◄──────────────┘  └──────────────────────────────────┤
//!      └── nothing heard for offline_after ◄─────────────────────────────────────────┘
//! ```
//!
//! After a start of the controller nobody is declared silent or offline for lack of a heartbeat
//! before the grace is over ([`Presence`]).

mod access;
mod advance;
mod apply;
mod artifact;
mod assign;
mod audit;
mod change;
mod cluster;
mod command;
mod config;
mod event;
mod fill;
mod member;
mod moves;
mod neighbours;
mod node;
mod order;
mod placement;
mod plan;
mod presence;
mod report;
mod rollout;
mod silence;
#[cfg(test)]
mod tests;
mod upgrade;
mod view;
mod workload;

pub use access::{TokenRecord, ValidToken};
pub use change::{Actor, Change, Effect, Entry, FleetEvent, Refusal, TokenGrant};
pub use cluster::{
    ClusterStatus, CountedInstances, CountedNodes, Topology, TopologyGroup, TopologyNode,
};
pub use command::CommandRecord;
pub use config::{
    HEARTBEAT_BOUNDS, MetricPatch, NodeConfigPatch, Reading, ReportedConfig, SHIPPING_BOUNDS,
    ShippingPatch, TELEMETRY_BOUNDS, check_config,
};
pub use fill::NodeNames;
pub use moves::{
    AutoRebalance, Blocker, Drain, DrainView, Flaps, FleetConfig, Move, MovePhase, MoveWhy,
    PlannedMove, RebalanceBounds, RebalancePlan, Reserved,
};
pub use node::{Approval, NodeRecord};
pub use placement::{Candidate, Closed, Decision, Others, ScoreParts, Taken, Why, WhyNode, place};
pub use plan::{FieldChange, Plan, PlannedInstance, PlannedWorkload};
pub use presence::{Presence, PresenceSettings};
pub use rollout::{
    OpenWindows, Revision, RevisionVerdict, RevisionView, Rollout, RolloutOrder, RolloutPhase,
    RolloutSummary, RunningVersion, Step, StepState, Verdict, VersionsView,
};
pub use upgrade::{AS_INSTALLED, Upgrade, UpgradeNode, UpgradeStanding};
pub use view::{InstanceView, NodeView, WorkloadView};
pub use workload::WorkloadRecord;

use crate::model::{Name, NodeConfig, UnixMs};
use placement::{Index, Watched};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the controller has decided and must remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Entries applied so far.
    version: u64,
    /// Settings that every node gets.
    node_config: NodeConfig,
    nodes: Watched<NodeRecord>,
    workloads: Watched<WorkloadRecord>,
    tokens: BTreeMap<String, TokenRecord>,
    commands: BTreeMap<String, CommandRecord>,
    /// Node keys that are cut off for good.
    revoked_keys: BTreeSet<String>,
    access_generation: u64,
    /// How the fleet as a whole is run.
    #[serde(default)]
    config: FleetConfig,
    /// Workloads with a rollout or moves under way.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    active: BTreeSet<Name>,
    /// When rebalancing by itself was looked at last.
    #[serde(default)]
    rebalanced_ms: UnixMs,
    /// [`Fleet::version`] that this led to: while it is the same there is nothing to look at.
    #[serde(default)]
    rebalanced_version: u64,
    /// Nodes for which time, or room elsewhere, changes something; `None` in what an earlier
    /// release stored: made anew by the next entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watched: Option<BTreeSet<Name>>,
    /// When what waits to leave a node is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_ms: Option<UnixMs>,
    /// What people do not want to be told, by what that is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    silences: BTreeMap<String, crate::alert::Silence>,
    /// What is kept for the nodes, by its id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    artifacts: BTreeMap<String, crate::model::ArtifactRecord>,
    /// What placement derives from all of this; neither stored nor compared.
    #[serde(skip)]
    index: Index,
}

impl Fleet {
    /// An empty fleet.
    pub fn new() -> Fleet {
        Fleet::default()
    }

    /// Entries applied so far; a plan carries it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.get(name)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&Name, &NodeRecord)> {
        self.nodes.iter()
    }

    /// A workload.
    pub fn workload(&self, name: &str) -> Option<&WorkloadRecord> {
        self.workloads.get(name)
    }

    /// All workloads, by name.
    pub fn workloads(&self) -> impl Iterator<Item = (&Name, &WorkloadRecord)> {
        self.workloads.iter()
    }
}
