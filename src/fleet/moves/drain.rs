//! Nodes that take nothing new, and nodes that are emptied.
//!
//! ```text
//!   schedulable ── cordon ──► cordoned ── uncordon ──► schedulable
//!        │                        │
//!        └──────── drain ─────────┴──► draining ── nothing left ──► drained
//!                                         │                            │
//!                                         └──── uncordon, or the drain is ended ──► as before it
//! ```
//!
//! A few instances leave at a time, and of one workload never two. What cannot leave is named,
//! with the reason, and is tried again when something changes. Instances of `on = "every"` stay:
//! they are on every node, so that there is nowhere to go.

use super::{Blocker, Drain, DrainView, MoveWhy, Reserved};
use crate::{
    fleet::{Effect, Fleet, Refusal, event::emit},
    model::{Name, PlacementMode, UnixMs},
};
use std::collections::BTreeSet;

/// Instances that leave a node at the same time.
const AT_ONCE: usize = 4;

impl Fleet {
    /// A node takes nothing new, or does again.
    pub(in crate::fleet) fn cordon(
        &mut self,
        node: &Name,
        cordoned: bool,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self.member_mut(node)?;
        let drained = !cordoned && record.drain.is_some();
        if record.cordoned == cordoned && !drained {
            return Err(Refusal::Unchanged);
        }
        record.cordoned = cordoned;
        let (event, message) = match cordoned {
            true => ("node_cordoned", format!("{node} takes nothing new")),
            false => {
                record.drain = None;
                (
                    "node_uncordoned",
                    format!("{node} takes new instances again"),
                )
            }
        };
        let mut effects = vec![emit(at, event, message).about_node(node).effect()];
        effects.extend(self.reconsider(node));
        Ok(effects)
    }

    /// A node is to be emptied, or is not any more.
    pub(in crate::fleet) fn drain(
        &mut self,
        node: &Name,
        drain: Option<bool>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let total = self.leaving(node).len();
        let record = self.member_mut(node)?;
        let Some(force) = drain else {
            if record.drain.take().is_none() {
                return Err(Refusal::Unchanged);
            }
            let message = format!("{node} is not drained any more; what is on its way goes on");
            let event = emit(at, "node_drain_ended", message).about_node(node);
            let mut effects = vec![event.effect()];
            effects.extend(self.reconsider(node));
            return Ok(effects);
        };
        match &mut record.drain {
            Some(known) if known.force == force => return Err(Refusal::Unchanged),
            Some(known) => known.force = force,
            None => {
                record.drain = Some(Drain {
                    since_ms: at,
                    force,
                    total,
                    done_ms: None,
                });
            }
        }
        let message = match total {
            0 => format!("{node} is drained: it takes nothing new"),
            1 => format!("{node} is drained: 1 instance is to leave"),
            _ => format!("{node} is drained: {total} instances are to leave"),
        };
        let mut effects = vec![emit(at, "node_draining", message).about_node(node).effect()];
        let mut touched = BTreeSet::new();
        effects.extend(self.drain_further(node, at, &mut touched));
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    /// Sends on their way as many as may leave now, where a node is drained.
    pub(super) fn drain_further(
        &mut self,
        node: &Name,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let drain = self.nodes.get(node).and_then(|n| n.drain.clone());
        let Some(drain) = drain.filter(|d| d.done_ms.is_none()) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        let leaving = self.leaving(node);
        let under_way = |fleet: &Fleet, name: &Name| {
            let w = fleet.workloads.get(name);
            w.is_some_and(|w| w.moves.contains_key(node))
        };
        let mut moving = leaving.iter().filter(|n| under_way(self, n)).count();
        for name in &leaving {
            if moving >= AT_ONCE {
                break;
            }
            let busy = self.workloads.get(name).is_none_or(|w| !w.moves.is_empty());
            if busy || self.blocker(name, node, drain.force).is_some() {
                continue;
            }
            self.freshen();
            if let Ok((to, _)) = self.target(name, node) {
                let why = MoveWhy::Drained;
                effects.extend(self.begin_move(name, node, &to, why, at, touched));
                moving += 1;
            }
        }
        if leaving.is_empty()
            && let Some(record) = self.nodes.get_mut(node)
        {
            record.drain = Some(Drain {
                done_ms: Some(at),
                ..drain
            });
            let message = format!("{node} is empty: it can be switched off");
            effects.push(emit(at, "node_drained", message).about_node(node).effect());
        }
        effects
    }

    /// What of a node is for others than fleetctl.
    pub(in crate::fleet) fn reserve(
        &mut self,
        node: &Name,
        reserved: Reserved,
    ) -> Result<Vec<Effect>, Refusal> {
        if !reserved.cpus.is_finite() || !(0.0..=4096.0).contains(&reserved.cpus) {
            return Err(Refusal::Invalid(format!(
                "{} cores cannot be reserved: write a number from 0 to 4096",
                reserved.cpus
            )));
        }
        let record = self.member_mut(node)?;
        let total = record.facts.as_ref().map_or(0, |f| f.memory_total);
        if total > 0 && reserved.memory > total {
            return Err(Refusal::Invalid(format!(
                "{node} has {total} bytes of memory: {} cannot be reserved",
                reserved.memory
            )));
        }
        if record.reserved == reserved {
            return Err(Refusal::Unchanged);
        }
        record.reserved = reserved;
        Ok(self.reconsider(node))
    }

    /// How far the drain of a node has come.
    pub(in crate::fleet) fn drain_view(&self, node: &Name) -> Option<DrainView> {
        let drain = self.nodes.get(node)?.drain.as_ref()?;
        let leaving = self.leaving(node);
        let moving = |name: &&Name| {
            let w = self.workloads.get(*name);
            w.is_some_and(|w| w.moves.contains_key(node))
        };
        let blocked = |name: &Name| {
            let w = self.workloads.get(name)?;
            if !w.moves.is_empty() {
                return None;
            }
            let reason = self.blocker(name, node, drain.force);
            let reason = reason.or_else(|| self.target(name, node).err())?;
            Some(Blocker {
                workload: name.clone(),
                reason,
            })
        };
        Some(DrainView {
            since_ms: drain.since_ms,
            force: drain.force,
            total: drain.total.max(leaving.len()),
            left: leaving.len(),
            moving: leaving.iter().filter(moving).count(),
            blocked: leaving.iter().filter_map(blocked).collect(),
            done_ms: drain.done_ms,
        })
    }

    /// What is to leave a node that is drained: what is there, or is still stopping there.
    fn leaving(&self, node: &Name) -> Vec<Name> {
        let any = |name: &&Name| {
            let w = self.workloads.get(*name);
            w.is_some_and(|w| w.spec.placement.mode != PlacementMode::Every)
        };
        let placed = self.nodes.get(node).into_iter().flat_map(|n| &n.placed);
        let stopping = self.active.iter().filter(|name| {
            let w = self.workloads.get(*name);
            w.is_some_and(|w| w.moves.contains_key(node))
        });
        let all: BTreeSet<&Name> = placed.filter(any).chain(stopping).collect();
        all.into_iter().cloned().collect()
    }

    fn blocker(&self, workload: &Name, node: &Name, force: bool) -> Option<String> {
        let held = self.held(workload, node, force);
        held.or_else(|| self.gap(workload, node))
    }
}
