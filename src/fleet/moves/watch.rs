//! When nodes are looked at again: by time, and because there may be room now.
//!
//! Only [`Fleet::watched`] nodes are looked at: those that are offline, lost, drained, damped, or
//! had a move lately. What waits to leave a node is tried again a moment after something changed
//! that could help: a thousand nodes that return at once cost one look, and what had no node does
//! not all go to the first that is back.

use crate::{
    fleet::{Approval, Change, Effect, Fleet, MoveWhy, NodeRecord, event::emit},
    model::{Name, Presence, UnixMs},
};
use std::collections::BTreeSet;

/// What waits to leave a node is tried again so long after something changed.
const RETRY_AFTER_MS: u64 = 5_000;
/// An instance that was moved is left alone for so long.
const REST_MS: u64 = 10 * 60_000;
/// Rebalancing by itself is not looked at more often.
const MIN_INTERVAL_MS: u64 = 60_000;

impl Fleet {
    /// What follows for nodes from time alone: those that are lost, those that have held still for
    /// long enough, what waits for room, and the rebalancing that a configuration asks for.
    pub(in crate::fleet) fn nodes_in_time(&mut self, at: UnixMs) -> Vec<Effect> {
        let mut touched = BTreeSet::new();
        let mut effects = Vec::new();
        let watched: Vec<Name> = self.watched.iter().flatten().cloned().collect();
        let mut lost = Vec::new();
        let mut room = false;
        for name in &watched {
            let gone = self.lost_at(name).is_some_and(|due| due <= at);
            lost.extend(gone.then(|| name.clone()));
            let Some(node) = self.nodes.get_mut(name) else {
                continue;
            };
            let rests = |since: &UnixMs| since.saturating_add(REST_MS) > at;
            let moved = node.moved.len();
            node.moved.retain(|_, since| rests(since));
            room |= node.moved.len() < moved;
            if node.flaps.forgiven_ms().is_some_and(|due| due <= at) {
                node.flaps.decay(at);
                room = true;
                let message = format!("{name} has held still, and is given new instances again");
                effects.push(emit(at, "node_undamped", message).about_node(name).effect());
            }
        }
        // All of them first: none of them is a place for another one's instances.
        for name in &lost {
            if let Some(node) = self.nodes.get_mut(name) {
                node.lost = true;
            }
        }
        for name in &lost {
            effects.extend(self.lose(name, at, &mut touched));
        }
        if self.retry_ms.is_some_and(|due| due <= at) {
            self.retry_ms = None;
            for name in &watched {
                effects.extend(self.fail_over(name, at, &mut touched));
                effects.extend(self.drain_further(name, at, &mut touched));
            }
        }
        if self.rebalance_at().is_some_and(|due| due <= at) {
            self.rebalanced_ms = at;
            // Of this entry, which is counted when it is done.
            self.rebalanced_version = self.version + 1;
            effects.extend(self.rebalance_by_itself(at, &mut touched));
        }
        for name in &watched {
            self.watch(name);
        }
        effects.extend(self.reassign(&touched));
        if room {
            effects.extend(self.place_waiting());
            self.arm_retry(at);
        }
        effects
    }

    /// When [`Fleet::nodes_in_time`] is due next.
    pub(in crate::fleet) fn nodes_deadline(&self) -> Option<UnixMs> {
        let watched = self.watched.iter().flatten();
        let of_node = |name: &Name| {
            let node = self.nodes.get(name)?;
            let rested = node
                .moved
                .values()
                .map(|since| since.saturating_add(REST_MS));
            let all = rested
                .chain(self.lost_at(name))
                .chain(node.flaps.forgiven_ms());
            all.min()
        };
        watched
            .filter_map(of_node)
            .chain(self.retry_ms)
            .chain(self.rebalance_due())
            .min()
    }

    /// When a node that is offline will count as lost.
    fn lost_at(&self, node: &Name) -> Option<UnixMs> {
        let after = Some(self.config.lost_after_ms).filter(|ms| *ms > 0)?;
        let node = self.nodes.get(node).filter(|n| may_be_lost(n) && !n.lost)?;
        Some(node.presence_ms.saturating_add(after))
    }

    fn rebalance_due(&self) -> Option<UnixMs> {
        // A fleet in which nothing has happened since is not looked at, and writes no entries.
        self.rebalance_at()
            .filter(|_| self.version > self.rebalanced_version)
    }

    fn rebalance_at(&self) -> Option<UnixMs> {
        let auto = self.config.rebalance.as_ref()?;
        let interval = auto.interval_ms.max(MIN_INTERVAL_MS);
        Some(self.rebalanced_ms.saturating_add(interval))
    }

    fn rebalance_by_itself(&mut self, at: UnixMs, touched: &mut BTreeSet<Name>) -> Vec<Effect> {
        let Some(auto) = self.config.rebalance.clone() else {
            return Vec::new();
        };
        let plan = self.plan_rebalance(&auto.bounds, at);
        let mut effects = Vec::new();
        for m in &plan.moves {
            let why = MoveWhy::Rebalanced;
            if self.held(&m.workload, &m.from, false).is_none() {
                let begun = self.begin_move(&m.workload, &m.from, &m.to, why, at, touched);
                effects.extend(begun);
            }
        }
        effects
    }

    /// A change was made that may concern nodes: which of them are looked at in time, and whether
    /// there may be room now for what waits to leave one.
    pub(in crate::fleet) fn look_after(&mut self, change: &Change, at: UnixMs) -> Vec<Effect> {
        if self.watched.is_none() {
            let all = self.nodes.iter().filter(|(_, n)| is_watched(n));
            self.watched = Some(all.map(|(name, _)| name.clone()).collect());
        }
        match change {
            Change::NodeEnrolled { node, .. }
            | Change::NodeApproved { node }
            | Change::NodeRevoked { node }
            | Change::NodeRemoved { node }
            | Change::NodeLabelled { node, .. }
            | Change::NodeDescribed { node, .. }
            | Change::NodePresenceChanged { node, .. }
            | Change::NodeCordoned { node, .. }
            | Change::NodeDrained { node, .. }
            | Change::NodeReserved { node, .. } => {
                self.watch(node);
                self.arm_retry(at);
                Vec::new()
            }
            Change::WorkloadsApplied { workloads, .. } => {
                // A move whose nodes were chosen anew has ended.
                let moving = workloads.iter().map(|w| &w.name);
                let moving = moving.filter(|n| self.active.contains(*n)).cloned();
                let moving: BTreeSet<Name> = moving.collect();
                self.arm_retry(at);
                self.advance(&moving, at)
            }
            Change::WorkloadsRemoved { workloads } => {
                for name in workloads {
                    self.active.remove(name);
                }
                self.arm_retry(at);
                Vec::new()
            }
            Change::StateReported { node, .. } | Change::StateChanged { node, .. } => {
                self.freshen();
                // What is up now may let another one of it leave.
                if self.shares_with_a_drained(node) {
                    self.arm_retry(at);
                }
                // It may have said that the last one is gone.
                let mut touched = BTreeSet::new();
                let mut effects = self.drain_further(node, at, &mut touched);
                effects.extend(self.reassign(&touched));
                effects
            }
            Change::WorkloadDesired { workload, .. } => {
                self.advance(&BTreeSet::from([workload.clone()]), at)
            }
            _ => Vec::new(),
        }
    }

    /// Something on this node is also on another one that is being emptied.
    fn shares_with_a_drained(&self, node: &Name) -> bool {
        let Some(record) = self.nodes.get(node) else {
            return false;
        };
        let others = self.index.draining.iter().filter(|n| *n != node);
        let mut others = others.filter_map(|n| self.nodes.get(n));
        let may_leave = |name: &&Name| !self.index.every.contains(*name);
        others.any(|n| {
            let mut shared = n.placed.intersection(&record.placed);
            shared.any(|name| may_leave(&name))
        })
    }

    /// Something waits to leave a node, and may be able to now.
    pub(in crate::fleet) fn arm_retry(&mut self, at: UnixMs) {
        let waits = |name: &Name| {
            let node = self.nodes.get(name);
            node.is_some_and(|n| n.lost && !n.placed.is_empty() || is_draining(n))
        };
        if self.retry_ms.is_none() && self.watched.iter().flatten().any(waits) {
            self.retry_ms = Some(at.saturating_add(RETRY_AFTER_MS));
        }
    }

    /// Whether a node is looked at in time is found out anew.
    pub(super) fn watch(&mut self, name: &Name) {
        let watched = self.nodes.get(name).is_some_and(is_watched);
        if let Some(all) = &mut self.watched {
            match watched {
                true => all.insert(name.clone()),
                false => all.remove(name),
            };
        }
    }
}

fn is_watched(node: &NodeRecord) -> bool {
    node.approval == Approval::Approved
        && (may_be_lost(node)
            || node.flaps.damped
            || node.drain.is_some()
            || !node.moved.is_empty())
}

/// It was here, and is not heard; one that never came cannot be lost.
fn may_be_lost(node: &NodeRecord) -> bool {
    node.presence == Presence::Offline
        && node.approval == Approval::Approved
        && node.facts.is_some()
}

/// It is not empty yet.
pub(in crate::fleet) fn is_draining(node: &NodeRecord) -> bool {
    let drain = node.drain.as_ref();
    drain.is_some_and(|d| d.done_ms.is_none())
}
