//! What is remembered of moves, and of nodes for their sake. Stored.

use crate::model::{Name, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An instance on its way from one node to another. Kept at the workload, by the node that it
/// leaves; while it lasts, both nodes are among [`super::super::WorkloadRecord::placed`] unless the
/// old one had to go first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// The node that takes it.
    #[schema(value_type = String)]
    pub to: Name,
    /// Why.
    pub why: MoveWhy,
    /// How it stands.
    pub phase: MovePhase,
    /// When it began, controller's clock.
    pub since_ms: UnixMs,
    /// Since when the new one has been healthy, controller's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_since_ms: Option<UnixMs>,
    /// Generation of the assignment by which the old node is told to stop; what it reports of
    /// earlier ones says nothing. Only where the old one goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
}

/// Why an instance moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveWhy {
    /// A person wants it.
    Migrated,
    /// Its node is drained.
    Drained,
    /// The load was uneven.
    Rebalanced,
}

/// How a move stands. New first, then old, except where both at once would get into each other's
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MovePhase {
    /// The new one is to become healthy; the old one still runs.
    Starting,
    /// The old one is to be gone before the new one starts.
    Stopping,
}

/// A node that is being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// Since when, controller's clock.
    pub since_ms: UnixMs,
    /// Also what has local state, which it loses.
    pub force: bool,
    /// Instances that were to leave when it began.
    #[serde(default)]
    pub total: usize,
    /// When nothing was left, controller's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_ms: Option<UnixMs>,
}

/// How far the drain of a node has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainView {
    /// Since when, controller's clock.
    pub since_ms: UnixMs,
    /// Also what has local state.
    pub force: bool,
    /// Instances that were to leave when it began.
    pub total: usize,
    /// Instances that are still to leave; those of `on = "every"` are not among them.
    pub left: usize,
    /// Of these, on their way.
    pub moving: usize,
    /// What each of those waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<Blocker>,
    /// Of these, held up by something that does not end by itself soon.
    pub blocked: Vec<Blocker>,
    /// What is on every node, and stays on this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub staying: Vec<Name>,
    /// When nothing was left, controller's clock.
    #[serde(default)]
    pub done_ms: Option<UnixMs>,
}

/// Why an instance cannot leave its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocker {
    /// Of which workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// Why, one sentence.
    pub reason: String,
    /// Nothing that goes on ends it: somebody has to do something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lasting: bool,
}

/// What of a node is not for instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    /// Bytes.
    #[serde(default)]
    pub memory: u64,
    /// Cores.
    #[serde(default)]
    pub cpus: f64,
}

/// How often a node has come and gone lately: a penalty that grows with each return and halves with
/// time (as BGP route flap damping does, RFC 2439).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flaps {
    /// The penalty at `at_ms`.
    pub penalty: u32,
    /// When it was computed last, controller's clock.
    pub at_ms: UnixMs,
    /// It gets nothing new until the penalty has fallen.
    pub damped: bool,
}

/// How the fleet as a whole is run; from the controller's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetConfig {
    /// A node that was not heard for so long is lost: what may move is placed elsewhere. 0: never.
    pub lost_after_ms: u64,
    /// Rebalancing by itself.
    #[serde(default)]
    pub rebalance: Option<AutoRebalance>,
}

impl Default for FleetConfig {
    fn default() -> Self {
        FleetConfig {
            lost_after_ms: 120_000,
            rebalance: None,
        }
    }
}

/// Rebalancing by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoRebalance {
    /// How often it is looked at.
    pub interval_ms: u64,
    /// Within these bounds.
    pub bounds: RebalanceBounds,
}

/// How far rebalancing may go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RebalanceBounds {
    /// Load is 0–100, of the fuller of cpu and memory: nodes that differ by less are left alone.
    pub threshold: u8,
    /// Moves at most.
    pub max_moves: u32,
    /// Instances of one workload that move at the same time at most.
    pub max_per_workload: u32,
}

impl Default for RebalanceBounds {
    fn default() -> Self {
        RebalanceBounds {
            threshold: 20,
            max_moves: 10,
            max_per_workload: 1,
        }
    }
}

/// Moves that would make the load more even.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RebalancePlan {
    /// [`super::super::Fleet::version`] that it was made from.
    pub version: u64,
    /// The bounds that it was made within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<RebalanceBounds>,
    /// The moves, in their order.
    pub moves: Vec<PlannedMove>,
    /// Load of the fullest and of the emptiest node before, 0–100.
    pub before: (u8, u8),
    /// The same after all moves.
    pub after: (u8, u8),
    /// Why no more is moved: one sentence each.
    pub kept: Vec<String>,
}

/// One move of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedMove {
    /// Of which workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// From which node.
    #[schema(value_type = String)]
    pub from: Name,
    /// To which node.
    #[schema(value_type = String)]
    pub to: Name,
    /// Why, one sentence.
    pub why: String,
    /// What it costs, one sentence: whether it stands still meanwhile, what must be fetched.
    pub cost: String,
}
