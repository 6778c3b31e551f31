//! Instances that go from one node to another: because a node is lost, is drained, because a
//! person wants it, or because the load is uneven.
//!
//! A move of one instance, as kept in [`super::WorkloadRecord::moves`] under the node that it
//! leaves:
//!
//! ```text
//!                      both may run at once               a port or a volume forbids it
//!   migrate, drain, ──┬─────────────────► Starting      ┌──────────────► Stopping
//!   rebalance         │  placed: old + new              │  placed: new, whose assignment
//!                     └─────────────────────────────────┘  does not name it yet
//!
//!   Starting ── new one healthy for min_healthy_time ──► done: the old one is taken away
//!            ── not healthy within healthy_deadline,
//!               it failed, its node is lost or gone ───► undone: the new one is taken away
//!            ── the old node is lost or gone ──────────► done
//!   Stopping ── the old one is not reported any more,
//!               or its node is lost or gone ───────────► done: the new one is assigned
//!            ── not so in time, the new node is gone ──► undone: the old one is assigned again
//! ```
//!
//! So of a workload's `placed`, as many are replicas as are not the old node of a `Starting` move,
//! and every move ends, whatever is reported.
//!
//! | file | about |
//! |---|---|
//! | [`stays`] | what must not move, and what must not run twice for a moment |
//! | [`target`] | where to |
//! | [`begin`], [`advance`], [`end`] | a move: its conditions, its way, its two ends |
//! | [`waits`] | what it waits for |
//! | [`lost`], [`damping`] | nodes that fall silent, and nodes that come and go |
//! | [`drain`], [`migrate`], [`rebalance`] | what a person orders |
//! | [`room`] | how full a node is |
//! | [`watch`] | when which of this is looked at again |

mod advance;
mod begin;
mod damping;
mod drain;
mod end;
mod lost;
mod migrate;
mod rebalance;
mod record;
mod room;
mod stays;
mod target;
mod waits;
mod watch;

pub use record::{
    AutoRebalance, Blocker, Drain, DrainView, Flaps, FleetConfig, Move, MovePhase, MoveWhy,
    PlannedMove, RebalanceBounds, RebalancePlan, Reserved,
};

pub(super) use room::Room;
pub(super) use watch::is_draining;

use super::{Fleet, WorkloadRecord};
use crate::model::{Name, TraceContext};
use std::collections::BTreeSet;

impl WorkloadRecord {
    /// An instance of it leaves this node: what was remembered of it there is void.
    pub(super) fn forget_node(&mut self, node: &Name) {
        self.at.remove(node);
        self.on_trial.remove(node);
    }

    /// Nodes that it leaves as soon as the new one is healthy: no replicas, though it is there.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Name> {
        let starting = |m: &Move| m.phase == MovePhase::Starting;
        let moves = self.moves.iter().filter(move |(_, m)| starting(m));
        moves.map(|(from, _)| from)
    }

    /// A move goes to this node, which must not begin before the old one has stopped.
    pub(super) fn held_back_on(&self, node: &str) -> bool {
        let waits = |m: &Move| m.phase == MovePhase::Stopping && m.to.as_str() == node;
        self.moves.values().any(waits)
    }
}

impl Fleet {
    /// `node` gets an instance.
    fn place_on(
        &mut self,
        workload: &Name,
        node: &Name,
        reason: String,
        touched: &mut BTreeSet<Name>,
    ) {
        let (Some(w), Some(n)) = (self.workloads.get_mut(workload), self.nodes.get_mut(node))
        else {
            return;
        };
        w.reasons.insert(node.clone(), reason);
        w.traces.remove(node);
        w.placed.insert(node.clone());
        n.placed.insert(workload.clone());
        touched.insert(node.clone());
    }

    /// It goes to `node` by the request of a person.
    fn moved_by(&mut self, workload: &Name, node: &Name, trace: Option<TraceContext>) {
        if let (Some(w), Some(trace)) = (self.workloads.get_mut(workload), trace) {
            w.traces.retain(|n, _| w.placed.contains(n));
            w.traces.insert(node.clone(), trace);
        }
    }

    /// `node` loses it.
    fn take_off(
        &mut self,
        workload: &Name,
        node: &Name,
        reason: String,
        touched: &mut BTreeSet<Name>,
    ) {
        if let Some(w) = self.workloads.get_mut(workload) {
            w.forget_node(node);
            w.placed.remove(node);
            w.reasons.insert(node.clone(), reason);
        }
        if let Some(n) = self.nodes.get_mut(node) {
            n.placed.remove(workload);
        }
        touched.insert(node.clone());
    }
}
