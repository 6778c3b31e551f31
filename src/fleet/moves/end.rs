//! The ends of a move: done, undone, or overtaken by another decision.

use super::MovePhase;
use crate::{
    fleet::{Approval, Effect, Fleet, event::emit},
    model::{Name, PlacementMode, UnixMs},
    planted::{self, Bug},
};
use std::collections::BTreeSet;

/// How a move ends; the words say why.
#[derive(Debug)]
pub(super) enum End {
    /// The new one takes over.
    Done(String),
    /// The old one stays, or is back.
    Undone(String),
    /// The workload was placed anew meanwhile.
    Overtaken,
}

impl Fleet {
    /// Ends a move, and lets the next instance leave where its node is drained.
    pub(super) fn end_move(
        &mut self,
        name: &Name,
        from: &Name,
        end: End,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let m = self
            .workloads
            .get_mut(name)
            .and_then(|w| w.moves.remove(from));
        let Some(m) = m else {
            return Vec::new();
        };
        let to = &m.to;
        let (event, message) = match end {
            End::Done(why) => {
                if planted::is(Bug::KeepsTheOldOne) {
                    // Both go on.
                } else if m.phase == MovePhase::Starting {
                    self.take_off(name, from, format!("it went to {to}"), touched);
                } else {
                    // From now on its assignment names it.
                    touched.insert(to.clone());
                }
                let message = format!("{name} went from {from} to {to}: {why}");
                ("instance_migrated", message)
            }
            End::Undone(why) => {
                self.take_off(name, to, format!("a move to it was undone: {why}"), touched);
                let back = self.nodes.get(from);
                let back = back.is_some_and(|n| n.approval == Approval::Approved && !n.lost);
                if m.phase == MovePhase::Stopping && back {
                    self.place_on(name, from, format!("it could not go to {to}"), touched);
                } else if m.phase == MovePhase::Stopping {
                    touched.extend(self.decide(BTreeSet::from([name.clone()])));
                } else if let Some(w) = self.workloads.get_mut(name) {
                    let reason = format!("it could not go to {to}");
                    w.reasons.insert(from.clone(), reason);
                }
                let message = format!("{name} stays on {from} and does not go to {to}: {why}");
                ("instance_migration_failed", message)
            }
            End::Overtaken => {
                let w = self.workloads.get(name);
                let every = w.is_some_and(|w| w.spec.placement.mode == PlacementMode::Every);
                let short = w.is_some_and(|w| w.missing > 0);
                if m.phase == MovePhase::Starting && !every && !short {
                    self.take_off(name, from, "enough others were chosen".into(), touched);
                } else {
                    // What still runs on the old node counts again.
                    touched.extend(self.decide(BTreeSet::from([name.clone()])));
                    touched.insert(to.clone());
                }
                let message = format!("{name} was placed anew while it went from {from} to {to}");
                ("instance_migration_ended", message)
            }
        };
        if let Some(node) = self.nodes.get_mut(to) {
            node.moved.insert(name.clone(), at);
        }
        let to = to.clone();
        self.watch(&to);
        let event = emit(at, event, message).about_node(from);
        let mut effects = vec![event.about_workload(name).effect()];
        effects.extend(self.drain_further(from, at, touched));
        effects
    }
}
