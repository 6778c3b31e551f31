//! Instances that go from one node to another: because a node is lost, is drained, because a
//! person wants it, or because the load is uneven.

mod record;

pub use record::{
    AutoRebalance, Drain, Flaps, FleetConfig, Move, MovePhase, MoveWhy, PlannedMove,
    RebalanceBounds, RebalancePlan, Reserved,
};

use super::{Effect, Fleet, Refusal};
use crate::model::{Name, UnixMs};
use std::collections::BTreeSet;

impl Fleet {
    /// What follows for the moves of one workload from how its nodes are now.
    pub(super) fn advance_moves(
        &mut self,
        _name: &Name,
        _at: UnixMs,
        _touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        Vec::new()
    }

    /// When [`Fleet::advance_moves`] of this workload is due next, though nothing is reported.
    pub(super) fn moves_deadline(&self, _name: &Name) -> Option<UnixMs> {
        None
    }

    /// What follows for nodes from time alone: those that are lost, those that have held still for
    /// long enough, and the rebalancing that a configuration asks for.
    pub(super) fn nodes_in_time(&mut self, _at: UnixMs) -> Vec<Effect> {
        Vec::new()
    }

    /// When [`Fleet::nodes_in_time`] is due next.
    pub(super) fn nodes_deadline(&self) -> Option<UnixMs> {
        None
    }

    /// A node takes nothing new, or does again.
    pub(super) fn cordon(
        &mut self,
        _node: &Name,
        _cordoned: bool,
        _at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }

    /// A node is to be emptied, or is not any more.
    pub(super) fn drain(
        &mut self,
        _node: &Name,
        _drain: Option<bool>,
        _at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }

    /// What of a node is for others than fleetctl.
    pub(super) fn reserve(
        &mut self,
        _node: &Name,
        _reserved: Reserved,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }

    /// One instance is to go to another node.
    pub(super) fn migrate(
        &mut self,
        _workload: &Name,
        _from: &Name,
        _to: Option<&Name>,
        _force: bool,
        _at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }

    /// These moves are to be made.
    pub(super) fn rebalance(
        &mut self,
        _moves: &[PlannedMove],
        _at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }

    /// Moves that would make the load more even.
    pub fn plan_rebalance(&self, _bounds: &RebalanceBounds, _at: UnixMs) -> RebalancePlan {
        RebalancePlan::default()
    }
}
