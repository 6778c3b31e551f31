//! Nodes that are not heard any more: what may move is placed elsewhere.
//!
//! ```text
//!              offline for lost_after                     it is heard
//!   offline ────────────────────────────► lost ────────────────────────────► online
//!                                          │ each instance:                    its assignment has a
//!                                          ├ may move, another node takes it   higher generation:
//!                                          │   ► assigned there, not here      what was placed
//!                                          └ else ► stays, with the reason     elsewhere stops
//! ```
//!
//! Nothing moves back by itself. The fleet runs one copy too many from when the lost node is heard
//! until it has taken its assignment, which waits for it as a retained message.

use super::stays::local_state;
use crate::{
    fleet::{Effect, Fleet, event::emit},
    model::{Name, PlacementMode, UnixMs},
    planted::{self, Bug},
};
use std::collections::BTreeSet;

impl Fleet {
    /// A node has been offline for too long.
    pub(super) fn lose(
        &mut self,
        node: &Name,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Some(record) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        record.lost = true;
        let seconds = at.saturating_sub(record.presence_ms) / 1000;
        let message = format!("{node} has been offline for {seconds} s and counts as lost");
        let mut effects = vec![emit(at, "node_lost", message).about_node(node).effect()];
        // Moves from here are done and moves to here are undone, before anything else is decided.
        let moving: Vec<Name> = self.active.iter().cloned().collect();
        for name in moving {
            let w = self.workloads.get(&name);
            if w.is_some_and(|w| w.moves_at(node)) {
                effects.extend(self.advance_moves(&name, at, touched));
            }
        }
        effects.extend(self.fail_over(node, at, touched));
        effects
    }

    /// Places elsewhere what is on a lost node and may move.
    pub(super) fn fail_over(
        &mut self,
        node: &Name,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Some(record) = self.nodes.get(node).filter(|n| n.lost) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        for name in record.placed.clone() {
            self.freshen();
            let reason = match self.bound(&name, node) {
                Some(reason) => reason,
                None => match self.best_target(&name, &BTreeSet::from([node.clone()])) {
                    Ok((to, _)) => {
                        if !planted::is(Bug::FailsOverTwice) {
                            let reason = format!("it is lost; {to} took over");
                            self.take_off(&name, node, reason, touched);
                        }
                        let reason = format!("it took over from {node}, which is lost");
                        self.place_on(&name, &to, reason, touched);
                        let message = format!("{name} goes from {node}, which is lost, to {to}");
                        let event = emit(at, "instance_failed_over", message);
                        effects.push(event.about_node(&to).about_workload(&name).effect());
                        continue;
                    }
                    Err(_) => "it is lost, and no other node can take it: it waits for another \
                               node"
                        .to_owned(),
                },
            };
            if let Some(w) = self.workloads.get_mut(&name) {
                w.reasons.insert(node.clone(), reason);
            }
        }
        effects
    }

    /// Why an instance stays on its node though that is lost.
    fn bound(&self, name: &Name, node: &Name) -> Option<String> {
        let w = self.workloads.get(name)?;
        if w.spec.placement.mode == PlacementMode::Every {
            return Some("it is lost; it runs there again when it is back".into());
        }
        if w.moves_at(node) {
            return Some("it is lost, in the middle of a move".into());
        }
        let state = local_state(&w.spec)?;
        Some(format!(
            "it is lost, and has local state in {state}: {name} waits for it, or \
             `fleetctl instance migrate {name} --from {node} --force`"
        ))
    }

    /// A lost node has been heard again.
    pub(in crate::fleet) fn back(&mut self, node: &Name, at: UnixMs) -> Vec<Effect> {
        let Some(record) = self.nodes.get_mut(node).filter(|n| n.lost) else {
            return Vec::new();
        };
        record.lost = false;
        for name in &record.placed {
            if let Some(w) = self.workloads.get_mut(name) {
                w.reasons
                    .insert(node.clone(), "it runs there already".into());
            }
        }
        let message = format!("{node} is back");
        vec![emit(at, "node_back", message).about_node(node).effect()]
    }

    /// Of what is on a node that is gone for good: what is lost with it. One sentence, or nothing.
    pub(in crate::fleet) fn lost_with(&self, placed: &BTreeSet<Name>) -> String {
        let kept = |name: &&Name| {
            let w = self.workloads.get(*name);
            let any = |m| matches!(m, PlacementMode::Any { .. });
            w.is_some_and(|w| any(w.spec.placement.mode) && local_state(&w.spec).is_some())
        };
        let all: Vec<&str> = placed.iter().filter(kept).map(Name::as_str).collect();
        if all.is_empty() {
            return String::new();
        }
        let more = all.len().saturating_sub(5);
        let mut named = all[..all.len() - more].join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        format!("; {named} had local state there, and starts without it elsewhere")
    }
}
