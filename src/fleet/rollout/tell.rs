//! What a node is told of a workload: its revision, where it goes back to, and what it may fetch
//! ahead. Without what only the controller needs.

use super::super::{Fleet, NodeRecord, WorkloadRecord, fill::filled, placement::MAX_ASSIGNED};
use super::{RolloutPhase, StepState, say::unguarded_text};
use crate::model::{AssignedInstance, Guard, Name, Placement, Run, UnixMs, Workload};
use std::sync::Arc;

/// Bytes of specs in one assignment, with guards and what is to be fetched ahead. The contract
/// allows 1 MiB for a message; what is left is for the envelope and the other fields.
const MAX_WITH_GUARDS: usize = MAX_ASSIGNED + 160 * 1024;

/// What is left of [`MAX_WITH_GUARDS`] on one node.
pub(in crate::fleet) struct Room {
    /// For guards, which come first.
    guards: usize,
    /// For what is fetched ahead, beside all guards.
    ahead: usize,
}

/// Takes so much of what is left as `spec` needs, if there is so much.
fn takes(left: &mut usize, spec: &Workload) -> bool {
    let rest = left.checked_sub(spec.encoded_len());
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

impl Fleet {
    /// Nodes that were told to change now, and whose assignment has no room for a guard: that is
    /// said, and none is counted upon.
    pub(super) fn leave_guards_out(&mut self, name: &Name, at: UnixMs) {
        let Some(record) = self.workloads.get(name) else {
            return;
        };
        let Some(rollout) = record.rollout.as_ref() else {
            return;
        };
        let begun = rollout.steps.iter().filter(|(node, step)| {
            let now = step.state == StepState::Changing && step.switched_ms == Some(at);
            now && record.on_trial.contains_key(*node)
        });
        let mut length = None;
        let mut without = Vec::new();
        for (node, _) in begun {
            let length = *length.get_or_insert_with(|| {
                let back = record.on_trial.get(node).copied();
                back.map_or(0, |back| record.spec_at(back).encoded_len())
            });
            let known = self.nodes.get(node);
            if known.is_some_and(|n| self.room_for_guard(node, n, name) < length) {
                without.push(node.clone());
            }
        }
        if without.is_empty() {
            return;
        }
        let Some(record) = self.workloads.get_mut(name) else {
            return;
        };
        let Some(rollout) = record.rollout.as_mut() else {
            return;
        };
        let before = unguarded_text(rollout);
        for node in without {
            record.on_trial.remove(&node);
            if let Some(step) = rollout.steps.get_mut(&node) {
                step.unguarded = true;
            }
        }
        let said = rollout.reason.strip_suffix(&before).map(str::to_owned);
        let said = said.unwrap_or_else(|| rollout.reason.clone());
        rollout.reason = said + &unguarded_text(rollout);
    }

    /// What is left in the assignment of a node for the guard of one workload, beside those of
    /// all others that change there at the same time.
    fn room_for_guard(&self, name: &Name, node: &NodeRecord, workload: &Name) -> usize {
        let others = node.placed.iter().filter(|w| *w != workload);
        let others = others.filter_map(|w| self.workloads.get(w));
        let guards: usize = others.map(|w| w.guard_len(name)).sum();
        self.room_for_guards(name, node)
            .guards
            .saturating_sub(guards)
    }

    /// What is left in the assignment of a node beside the specs themselves.
    pub(in crate::fleet) fn room_for_guards(&self, name: &Name, node: &NodeRecord) -> Room {
        let placed = || node.placed.iter().filter_map(|w| self.workloads.get(w));
        let taken: usize = placed().map(|w| w.encoded_len).sum();
        let guarded: usize = placed().map(|w| w.guard_len(name)).sum();
        let guards = MAX_WITH_GUARDS.saturating_sub(taken);
        Room {
            guards,
            ahead: guards.saturating_sub(guarded),
        }
    }
}

impl WorkloadRecord {
    /// What `node` is told.
    pub(in crate::fleet) fn told(
        &self,
        name: &Name,
        node: &NodeRecord,
        room: &mut Room,
    ) -> AssignedInstance {
        AssignedInstance {
            workload: bare(self.filled_at(self.revision_on(name.as_str()), name, node)),
            desired: self.desired,
            restart_count: self.restart_count,
            guard: self.guard_on(name, node, room).map(Box::new),
            next: self.next_on(name, node, room),
            trace: self.trace_on(name),
        }
    }

    /// A revision as this node gets it.
    pub(in crate::fleet) fn filled_at(
        &self,
        revision: u64,
        name: &Name,
        node: &NodeRecord,
    ) -> Arc<Workload> {
        let spec = self.spec_at(revision);
        let plain = match revision == self.revision {
            true => self.names.is_empty(),
            false => !spec.has_templates(),
        };
        if plain {
            spec.clone()
        } else {
            filled(spec, name, node)
        }
    }

    /// Bytes of what the node goes back to, while a change of it is on trial there.
    fn guard_len(&self, node: &Name) -> usize {
        let back = self.on_trial.get(node);
        back.map_or(0, |back| self.spec_at(*back).encoded_len())
    }

    /// Where the node goes back to by itself. One that does not fit into the message is left out:
    /// the change itself must arrive.
    fn guard_on(&self, name: &Name, node: &NodeRecord, room: &mut Room) -> Option<Guard> {
        let back = *self.on_trial.get(name)?;
        let spec = self.spec_at(self.revision_on(name.as_str()));
        let update = spec.update.as_ref().filter(|u| u.auto_rollback)?;
        let fallback = bare(self.filled_at(back, name, node));
        takes(&mut room.guards, &fallback).then_some(Guard {
            fallback,
            min_healthy_time_ms: update.min_healthy_time_ms,
            healthy_deadline_ms: update.healthy_deadline_ms,
        })
    }

    /// What the node will be told when its turn comes, where it can fetch that now.
    fn next_on(&self, name: &Name, node: &NodeRecord, room: &mut Room) -> Option<Arc<Workload>> {
        let rollout = self.rollout.as_ref()?;
        let waits = rollout.windows.downloads
            && goes_forward(rollout.phase)
            && rollout
                .steps
                .get(name)
                .is_some_and(|s| s.state == StepState::Waiting);
        if !waits || !self.would_fetch(name) {
            return None;
        }
        let next = bare(self.filled_at(self.revision, name, node));
        takes(&mut room.ahead, &next).then_some(next)
    }

    /// Its change needs an image that the node need not have yet.
    pub(super) fn would_fetch(&self, node: &Name) -> bool {
        fn image(spec: &Workload) -> Option<&str> {
            match &spec.run {
                Run::Container { image, .. } => Some(image),
                _ => None,
            }
        }
        let next = image(&self.spec);
        next.is_some() && next != image(self.spec_at(self.revision_on(node.as_str())))
    }
}

/// Nodes change, or will.
pub(super) fn goes_forward(phase: RolloutPhase) -> bool {
    phase.is_active() && phase != RolloutPhase::RollingBack
}

/// Without what agents need not know, and older ones may not understand.
fn bare(spec: Arc<Workload>) -> Arc<Workload> {
    if spec.update.is_none() && spec.placement == Placement::default() {
        return spec;
    }
    let mut bare = (*spec).clone();
    bare.placement = Placement::default();
    bare.update = None;
    Arc::new(bare)
}
