//! The guarded change of a workload from one version to another.

mod record;

pub use record::{
    Revision, RevisionVerdict, Rollout, RolloutOrder, RolloutPhase, Step, StepState, Verdict,
};

use super::{Effect, Fleet, Refusal};
use crate::model::{Name, UnixMs};
use std::collections::BTreeSet;

impl Fleet {
    /// What follows for the rollout of one workload from how its nodes are now. `touched`: nodes
    /// whose assignment changes for it.
    pub(super) fn advance_rollout(
        &mut self,
        _name: &Name,
        _at: UnixMs,
        _touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        Vec::new()
    }

    /// When [`Fleet::advance_rollout`] of this workload is due next, though nothing is reported.
    pub(super) fn rollout_deadline(&self, _name: &Name) -> Option<UnixMs> {
        None
    }

    /// A person's order to a rollout.
    pub(super) fn order_rollout(
        &mut self,
        _name: &Name,
        _order: &RolloutOrder,
        _at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        Err(Refusal::Invalid("not built yet".into()))
    }
}
