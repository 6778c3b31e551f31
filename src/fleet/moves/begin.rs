//! Whether an instance may move now, and the begin of its move.

use super::{
    Move, MovePhase, MoveWhy,
    stays::{local_state, old_first},
};
use crate::{
    fleet::{Effect, Fleet, RolloutPhase, WorkloadRecord, event::emit},
    model::{Desired, Name, PlacementMode, Presence, UnixMs},
};
use std::collections::BTreeSet;

/// Why an instance must not move.
#[derive(Debug)]
pub(super) struct Hold {
    /// One sentence.
    pub reason: String,
    /// It does not pass by itself.
    pub lasting: bool,
}

impl MoveWhy {
    /// For sentences.
    fn because(self) -> &'static str {
        match self {
            MoveWhy::Migrated => "as it was asked for",
            MoveWhy::Drained => "since that node is drained",
            MoveWhy::Rebalanced => "to make the load more even",
        }
    }
}

impl WorkloadRecord {
    /// Its nodes are being changed: what moved meanwhile would get in the way. One that is held,
    /// perhaps for days, holds no node.
    fn is_rolling(&self) -> bool {
        let rolling = |phase| phase != RolloutPhase::AwaitingPromotion;
        let rollout = self.rollout.as_ref();
        rollout.is_some_and(|r| r.phase.is_active() && rolling(r.phase) && !r.paused)
    }

    /// A move of it begins or ends at this node.
    pub(in crate::fleet) fn moves_at(&self, node: &Name) -> bool {
        self.moves.contains_key(node) || self.moves.values().any(|m| m.to == *node)
    }
}

impl Fleet {
    /// Why an instance must not move by anybody's order now: one sentence. That there is a node for
    /// it is another question.
    pub(super) fn held(&self, workload: &Name, from: &Name, force: bool) -> Option<String> {
        self.hold(workload, from, force).map(|hold| hold.reason)
    }

    /// The same, and whether it passes.
    pub(super) fn hold(&self, workload: &Name, from: &Name, force: bool) -> Option<Hold> {
        let w = self.workloads.get(workload)?;
        if let Some(reason) = self.busy(workload, from, w) {
            return Some(Hold {
                reason,
                lasting: false,
            });
        }
        if let Some(state) = local_state(&w.spec).filter(|_| !force) {
            let reason = format!(
                "{workload} has local state in {state}, which would be left behind: \
                 `fleetctl instance migrate {workload} --from {from} --force` gives it up"
            );
            return Some(Hold {
                reason,
                lasting: true,
            });
        }
        let offline = self.nodes.get(from)?.presence == Presence::Offline;
        let reason = (offline && !force).then(|| {
            format!(
                "{from} is offline, so that {workload} cannot be stopped there: wait until it is \
                 heard again or counts as lost, or use --force"
            )
        });
        reason.map(|reason| Hold {
            reason,
            lasting: false,
        })
    }

    /// Something else is done with it at the moment.
    fn busy(&self, workload: &Name, from: &Name, w: &WorkloadRecord) -> Option<String> {
        if w.spec.placement.mode == PlacementMode::Every {
            return Some(format!("{workload} runs on every node that may run it"));
        }
        if let Some(m) = w.moves.get(from) {
            return Some(format!(
                "{workload} is on its way from {from} to {} already",
                m.to
            ));
        }
        if w.moves_at(from) {
            return Some(format!("{workload} has not arrived on {from} yet"));
        }
        if w.is_rolling() {
            return Some(format!(
                "{workload} is being changed to {}: it moves when that has ended, or is paused",
                w.spec.version
            ));
        }
        None
    }

    /// Where both at once is forbidden, a move leaves a gap: not while another one has it.
    pub(super) fn gap(&self, workload: &Name, from: &Name) -> Option<String> {
        let w = self.workloads.get(workload)?;
        let up = |node: &&Name| {
            let node = self.nodes.get(*node);
            node.is_some_and(|n| n.observed.get(workload).is_some_and(|o| o.state.is_well()))
        };
        let others = || w.placed.iter().filter(|n| *n != from);
        let waits = old_first(&w.spec)
            && w.desired == Desired::Running
            && others().filter(up).count() < others().count();
        waits
            .then(|| format!("{workload} stands still while it moves: another one of it is not up"))
    }

    /// Sends an instance on its way; everything has been checked.
    pub(super) fn begin_move(
        &mut self,
        workload: &Name,
        from: &Name,
        to: &Name,
        why: MoveWhy,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Some(generation) = self.nodes.get(from).map(|n| n.generation) else {
            return Vec::new();
        };
        let Some(w) = self.workloads.get_mut(workload) else {
            return Vec::new();
        };
        let gap = old_first(&w.spec) && w.desired == Desired::Running;
        let phase = match gap {
            true => MovePhase::Stopping,
            false => MovePhase::Starting,
        };
        let begun = Move {
            to: to.clone(),
            why,
            phase,
            since_ms: at,
            // One that is stopped has nothing to show.
            healthy_since_ms: (w.desired == Desired::Stopped).then_some(at),
            told: gap.then_some(generation + 1),
        };
        w.moves.insert(from.clone(), begun);
        self.active.insert(workload.clone());
        if gap {
            self.take_off(workload, from, format!("it goes to {to}"), touched);
        } else if let Some(w) = self.workloads.get_mut(workload) {
            w.reasons.insert(from.clone(), format!("it goes to {to}"));
        }
        self.place_on(workload, to, format!("it comes from {from}"), touched);
        let message = format!("{workload} goes from {from} to {to}, {}", why.because());
        let event = emit(at, "instance_migrating", message);
        vec![event.about_node(from).about_workload(workload).effect()]
    }
}
