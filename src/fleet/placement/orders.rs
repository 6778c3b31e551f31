//! The open nodes in the order in which a workload wants them, where that is more than their load:
//! by what it prefers, and apart by the label over which it spreads.
//!
//! One order for all workloads that say the same. It is made when the first one says it, and then
//! follows each change of a node, so that a decision looks at a few nodes of each group and not at
//! the fleet. Whatever has no order (there are only so many) is decided by looking at every node,
//! with the same answer.

use super::{Candidate, strategy};
use crate::model::{Name, Placement, PlacementMode, Preference, Strategy};
use std::collections::{BTreeMap, BTreeSet};

/// Orders that are kept; each costs a little with every change of a node.
const MAX_ORDERS: usize = 16;

/// Where a node stands among those of its group: fullness, then instances.
type Standing = (u32, usize);

/// Nodes among which only their load tells them apart: the value of the label over which replicas
/// are spread, and how little they are preferred.
type Group = (Option<String>, i64);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// By what is wanted, as text.
    all: BTreeMap<String, Order>,
    /// Which one each workload uses.
    used: BTreeMap<Name, String>,
}

#[derive(Debug, Clone, Default)]
struct Order {
    spread: Option<String>,
    prefers: Vec<Preference>,
    workloads: usize,
    /// It does not have the nodes yet.
    fresh: bool,
    groups: BTreeMap<Group, BTreeSet<(u32, usize, Name)>>,
    at: BTreeMap<Name, (Group, Standing)>,
}

/// `None`: it needs no order of its own, or no order helps.
fn key(placement: &Placement) -> Option<String> {
    let plain = placement.strategy == Strategy::LeastLoaded
        && placement.mode != PlacementMode::Every
        && placement.nodes.is_empty()
        && placement.with.is_empty();
    let more = placement.spread.is_some() || !placement.prefers.is_empty();
    if !plain || !more {
        return None;
    }
    // A label has no space in it, and no requirement begins with one.
    let mut key = placement.spread.clone().unwrap_or_default();
    for p in &placement.prefers {
        key += &format!("  {} {}", p.weight, p.requirement);
    }
    Some(key)
}

impl Orders {
    /// What a workload wants has changed; `None`: it is gone.
    pub(super) fn note_workload(&mut self, name: &Name, placement: Option<&Placement>) {
        let now = placement.and_then(key);
        if self.used.get(name) == now.as_ref() {
            return;
        }
        if let Some(before) = self.used.remove(name)
            && let Some(order) = self.all.get_mut(&before)
        {
            order.workloads -= 1;
            if order.workloads == 0 {
                self.all.remove(&before);
            }
        }
        let (Some(now), Some(placement)) = (now, placement) else {
            return;
        };
        if !self.all.contains_key(&now) && self.all.len() >= MAX_ORDERS {
            return;
        }
        let order = self.all.entry(now.clone()).or_insert_with(|| Order {
            spread: placement.spread.clone(),
            prefers: placement.prefers.clone(),
            fresh: true,
            ..Order::default()
        });
        order.workloads += 1;
        self.used.insert(name.clone(), now);
    }

    /// A node may stand elsewhere now; `open`: `None` where it gets nothing new.
    pub(super) fn note_node(&mut self, name: &Name, open: Option<(&Candidate<'_>, Standing)>) {
        for order in self.all.values_mut() {
            order.note(name, open);
        }
    }

    /// There are orders without nodes.
    pub(super) fn is_behind(&self) -> bool {
        self.all.values().any(|order| order.fresh)
    }

    /// Gives a node to the orders that have none yet.
    pub(super) fn catch_up(&mut self, name: &Name, open: Option<(&Candidate<'_>, Standing)>) {
        for order in self.all.values_mut().filter(|order| order.fresh) {
            order.note(name, open);
        }
    }

    /// They have all nodes now.
    pub(super) fn caught_up(&mut self) {
        for order in self.all.values_mut() {
            order.fresh = false;
        }
    }

    /// The groups for this placement, each in its order; `None`: there is no order for it.
    pub(super) fn groups(
        &self,
        placement: &Placement,
    ) -> Option<impl Iterator<Item = (Option<&str>, impl Iterator<Item = &Name>)>> {
        let order = self.all.get(&key(placement)?).filter(|o| !o.fresh)?;
        let groups = order.groups.iter();
        Some(groups.map(|((value, _), nodes)| {
            let nodes = nodes.iter().map(|(_, _, name)| name);
            (value.as_deref(), nodes)
        }))
    }
}

impl Order {
    fn note(&mut self, name: &Name, open: Option<(&Candidate<'_>, Standing)>) {
        let now = open.map(|(node, standing)| {
            let label = self.spread.as_ref().and_then(|l| node.label(l));
            let unwanted = -strategy::sum(&self.prefers, node);
            ((label.cloned(), unwanted), standing)
        });
        if self.at.get(name) == now.as_ref() {
            return;
        }
        if let Some((group, (load, instances))) = self.at.remove(name)
            && let Some(nodes) = self.groups.get_mut(&group)
        {
            nodes.remove(&(load, instances, name.clone()));
            if nodes.is_empty() {
                self.groups.remove(&group);
            }
        }
        if let Some((group, (load, instances))) = now {
            let nodes = self.groups.entry(group.clone()).or_default();
            nodes.insert((load, instances, name.clone()));
            self.at.insert(name.clone(), (group, (load, instances)));
        }
    }
}
