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
//! with the reason, and is tried again when something changes. A replica that no other node can take
//! is stopped where others of its workload go on: the node is to be emptied, and they are as many as
//! there can be; it waits for a node. Instances of `on = "every"` stay: they are on every node, so
//! that there is nowhere to go.

use super::{Blocker, Drain, DrainView, MoveWhy, Reserved, begin::Hold, target::NoTarget};
use crate::{
    fleet::{
        Effect, Fleet, NodeRecord, Refusal, event::emit, placement::amount, upgrade::is_agent,
    },
    model::{Desired, Name, PlacementMode, Presence, UnixMs},
};
use std::collections::BTreeSet;

/// Instances that leave a node at the same time.
const AT_ONCE: usize = 4;

/// What becomes of an instance on a node that is drained.
#[derive(Debug)]
enum Leaves {
    /// It can go to this node.
    For(Name),
    /// It can go nowhere, and others of its workload go on: it stops. Why, one sentence.
    Stops(String),
    /// It stays for now.
    Not(Hold),
}

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
            if self.is_stopping(name, node) {
                continue;
            }
            if self.workloads.get(name).is_none_or(|w| !w.moves.is_empty()) {
                continue;
            }
            self.freshen();
            match self.leaves(name, node, drain.force) {
                Leaves::For(to) => {
                    let why = MoveWhy::Drained;
                    effects.extend(self.begin_move(name, node, &to, why, at, touched));
                    moving += 1;
                }
                Leaves::Stops(why) => effects.extend(self.stop_on(name, node, &why, at, touched)),
                Leaves::Not(_) => {}
            }
        }
        if self.leaving(node).is_empty()
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
                "{node} has {} of memory: {} cannot be reserved",
                amount(total),
                amount(reserved.memory)
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
            w.is_some_and(|w| w.moves.contains_key(node)) || self.is_stopping(name, node)
        };
        let blocked = |name: &Name| {
            let w = self.workloads.get(name)?;
            if !w.moves.is_empty() || self.is_stopping(name, node) {
                return None;
            }
            let Leaves::Not(hold) = self.leaves(name, node, drain.force) else {
                return None;
            };
            Some(Blocker {
                workload: name.clone(),
                reason: hold.reason,
                lasting: hold.lasting,
            })
        };
        let under_way = |name: &Name| {
            Some(Blocker {
                workload: name.clone(),
                reason: self.on_the_move(name, node).or_else(|| {
                    let stopping = self.is_stopping(name, node);
                    stopping.then(|| format!("{node} is stopping it"))
                })?,
                lasting: false,
            })
        };
        let every = |name: &&Name| {
            let w = self.workloads.get(*name);
            w.is_some_and(|w| w.spec.placement.mode == PlacementMode::Every && !is_agent(&w.spec))
        };
        let placed = self.nodes.get(node).into_iter().flat_map(|n| &n.placed);
        Some(DrainView {
            since_ms: drain.since_ms,
            force: drain.force,
            total: drain.total.max(leaving.len()),
            left: leaving.len(),
            moving: leaving.iter().filter(moving).count(),
            under_way: leaving.iter().filter_map(under_way).collect(),
            blocked: leaving.iter().filter_map(blocked).collect(),
            staying: placed.filter(every).cloned().collect(),
            done_ms: drain.done_ms,
        })
    }

    /// It is not to be on the node any more, and the node has not said that it is gone. Of one that
    /// is offline nobody will hear it, and there is nothing to be waited for.
    fn is_stopping(&self, workload: &Name, node: &Name) -> bool {
        self.nodes.get(node).is_some_and(|n| {
            n.presence != Presence::Offline
                && n.observed.contains_key(workload)
                && !n.placed.contains(workload)
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
        let observed = self
            .nodes
            .get(node)
            .into_iter()
            .flat_map(|n| n.observed.keys());
        let stopping = stopping.chain(observed.filter(|name| self.is_stopping(name, node)));
        let all: BTreeSet<&Name> = placed.filter(any).chain(stopping).collect();
        all.into_iter().cloned().collect()
    }

    /// What becomes of an instance on a node that is drained, as things are.
    fn leaves(&self, workload: &Name, node: &Name, force: bool) -> Leaves {
        if let Some(hold) = self.hold(workload, node, force) {
            return Leaves::Not(hold);
        }
        let NoTarget { reason, passes } = match self.target(workload, node) {
            Ok((to, _)) => {
                return match self.gap(workload, node) {
                    Some(reason) => Leaves::Not(Hold {
                        reason,
                        lasting: false,
                    }),
                    None => Leaves::For(to),
                };
            }
            Err(none) => none,
        };
        match self.others_go_on(workload, node) {
            Some(true) if !passes => Leaves::Stops(reason),
            Some(false) if !passes => Leaves::Not(Hold {
                reason: format!("{reason}; it stops here as soon as another one of it is up"),
                lasting: false,
            }),
            _ => Leaves::Not(Hold {
                reason,
                lasting: !passes,
            }),
        }
    }

    /// Whether another instance of a workload works, on a node that is to keep it; `None` where
    /// there is none on such a node.
    fn others_go_on(&self, workload: &Name, node: &Name) -> Option<bool> {
        let w = self.workloads.get(workload)?;
        let others = w.placed.iter().filter(|n| *n != node);
        let others = others.filter_map(|n| self.nodes.get(n));
        let mut others = others.filter(|n| n.drain.is_none() && !n.lost).peekable();
        others.peek()?;
        let up = |n: &NodeRecord| {
            let observed = n.observed.get(workload);
            n.presence == Presence::Online && observed.is_some_and(|o| o.state.is_well())
        };
        Some(w.desired == Desired::Stopped || others.any(up))
    }

    /// A replica stops, though it can go nowhere: it waits for a node.
    fn stop_on(
        &mut self,
        workload: &Name,
        node: &Name,
        why: &str,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let reason = "it is drained: the replica that was here waits for another node";
        self.take_off(workload, node, reason.into(), touched);
        let Some(w) = self.workloads.get_mut(workload) else {
            return Vec::new();
        };
        w.missing = w.missing.saturating_add(1);
        let message = format!(
            "{workload} stops on {node}, which is drained, and waits for another node: {why}"
        );
        let event = emit(at, "instance_waits", message).about_node(node);
        vec![event.about_workload(workload).effect()]
    }
}
