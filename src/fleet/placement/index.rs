//! What placement derives from the fleet, so that a decision looks at few nodes: how full each one
//! is, all that are open in the order of their load, and which workloads a change may concern.
//!
//! Nothing here decides, and nothing of it is stored or compared: it can be made anew from the
//! fleet at any time, and is after a start. [`Fleet::freshen`] brings it up to date from what
//! [`Watched`] has noted. Amounts are whole numbers (bytes, thousandths of a core), so that sums do
//! not depend on the order in which they were made.

use super::{Candidate, Closed, Watched, orders::Orders};
use crate::{
    fleet::{Approval, Fleet, NodeRecord, Reserved, WorkloadRecord, moves::is_draining},
    model::{Name, NodeFacts, Placement, PlacementMode, Presence, Workload},
};
use std::collections::{BTreeMap, BTreeSet};

/// What is taken of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Instances placed there.
    pub instances: usize,
    /// Bytes of memory that they may use, as far as they say.
    pub memory: u64,
    /// Thousandths of cores that they may use, as far as they say.
    pub cpu: u64,
    /// Bytes of its assignment.
    pub bytes: usize,
}

/// Thousandths of a core; what is no number is nothing.
pub(super) fn thousandths(cores: f64) -> u64 {
    // A cast from a float saturates, and takes NaN for 0.
    (cores.max(0.0) * 1_000.0).round() as u64
}

/// How full a node is, 0–1000, of the fuller of cpu and memory, what is reserved included; where
/// it did not say what it has, 0.
pub(super) fn part_taken(facts: Option<&NodeFacts>, reserved: &Reserved, taken: &Taken) -> u32 {
    let part = |taken: u64, total: u64| match total {
        0 => 0,
        _ => u128::from(taken) * 1_000 / u128::from(total),
    };
    let (memory, cpu) = facts.map_or((0, 0), |f| (f.memory_total, u64::from(f.cpus) * 1_000));
    let memory = part(taken.memory.saturating_add(reserved.memory), memory);
    let cpu = part(taken.cpu.saturating_add(thousandths(reserved.cpus)), cpu);
    u32::try_from(memory.max(cpu)).unwrap_or(u32::MAX)
}

fn fullness(node: &NodeRecord, taken: &Taken) -> u32 {
    part_taken(node.facts.as_ref(), &node.reserved, taken)
}

/// Where a node stands in the order of load: fullness, then instances.
type Standing = (u32, usize);

/// One node.
#[derive(Debug, Clone, Copy)]
struct Room {
    taken: Taken,
    /// `None`: it gets nothing new.
    open: Option<Standing>,
}

/// What a workload takes of each node that it is on.
#[derive(Debug, Clone, PartialEq)]
struct Claim {
    memory: u64,
    cpu: u64,
    bytes: usize,
    apart: Vec<Name>,
}

impl Claim {
    fn of(w: &WorkloadRecord) -> Claim {
        Claim {
            memory: w.spec.resources.memory.unwrap_or(0),
            cpu: cpu_of(&w.spec),
            bytes: w.encoded_len,
            apart: w.spec.placement.apart.clone(),
        }
    }
}

pub(super) fn cpu_of(workload: &Workload) -> u64 {
    workload.resources.cpus.map_or(0, thousandths)
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Index {
    built: bool,
    rooms: BTreeMap<Name, Room>,
    by_load: BTreeSet<(u32, usize, Name)>,
    orders: Orders,
    claims: BTreeMap<Name, Claim>,
    /// Workloads that want more nodes than they have.
    pub(in crate::fleet) waiting: BTreeSet<Name>,
    /// Workloads that go to every match.
    pub(in crate::fleet) every: BTreeSet<Name>,
    /// Nodes that are being emptied.
    pub(in crate::fleet) draining: BTreeSet<Name>,
    /// Workloads that must be together with another one.
    pub(in crate::fleet) together: BTreeSet<Name>,
    /// By workload, those that do not want to be where it is.
    shunned: BTreeMap<Name, BTreeSet<Name>>,
}

/// It says nothing that the fleet does not say.
impl PartialEq for Index {
    fn eq(&self, _: &Index) -> bool {
        true
    }
}

impl Index {
    /// Those that do not want to be where `workload` is.
    pub(super) fn shun(&self, workload: &Name) -> impl Iterator<Item = &Name> {
        self.shunned.get(workload).into_iter().flatten()
    }

    fn note_workload(&mut self, name: &Name, record: Option<&WorkloadRecord>) -> bool {
        let mode = record.map(|w| w.spec.placement.mode);
        let waits = record.is_some_and(|w| w.missing > 0);
        let placement = record.map(|w| &w.spec.placement);
        self.orders.note_workload(name, placement);
        let together = record.is_some_and(|w| !w.spec.placement.with.is_empty());
        put(&mut self.waiting, name, waits);
        put(&mut self.every, name, mode == Some(PlacementMode::Every));
        put(&mut self.together, name, together);
        let now = record.map(Claim::of);
        if self.claims.get(name) == now.as_ref() {
            return false;
        }
        let before = match now {
            Some(ref now) => self.claims.insert(name.clone(), now.clone()),
            None => self.claims.remove(name),
        };
        for other in before.iter().flat_map(|c| &c.apart) {
            if let Some(all) = self.shunned.get_mut(other) {
                all.remove(name);
                if all.is_empty() {
                    self.shunned.remove(other);
                }
            }
        }
        for other in now.iter().flat_map(|c| &c.apart) {
            let all = self.shunned.entry(other.clone()).or_default();
            all.insert(name.clone());
        }
        true
    }

    fn note_node(&mut self, name: &Name, record: Option<&NodeRecord>) {
        let draining = record.is_some_and(is_draining);
        put(&mut self.draining, name, draining);
        let room = record.map(|node| {
            let mut taken = Taken::default();
            for claim in node.placed.iter().filter_map(|w| self.claims.get(w)) {
                add(&mut taken, claim);
            }
            Room {
                taken,
                open: standing(node, &taken),
            }
        });
        let open = room.and_then(|r| r.open);
        let candidate = record.map(|node| bare(name, node));
        self.orders.note_node(name, candidate.as_ref().zip(open));
        let before = match room {
            Some(room) => self.rooms.insert(name.clone(), room),
            None => self.rooms.remove(name),
        };
        let before = before.and_then(|r| r.open);
        if before != open {
            if let Some((load, instances)) = before {
                self.by_load.remove(&(load, instances, name.clone()));
            }
            if let Some((load, instances)) = open {
                self.by_load.insert((load, instances, name.clone()));
            }
        }
    }
}

/// A node as far as what it is goes; what is on it is not looked at.
fn bare<'a>(name: &'a Name, node: &'a NodeRecord) -> Candidate<'a> {
    Candidate {
        name,
        presence: node.presence,
        facts: node.facts.as_ref(),
        labels: Some(&node.labels),
        taken: Taken::default(),
        reserved: node.reserved,
        closed: None,
        others: None,
    }
}

fn put(set: &mut BTreeSet<Name>, name: &Name, is: bool) {
    if !is {
        set.remove(name);
    } else if !set.contains(name) {
        set.insert(name.clone());
    }
}

fn add(taken: &mut Taken, claim: &Claim) {
    taken.instances += 1;
    taken.memory = taken.memory.saturating_add(claim.memory);
    taken.cpu = taken.cpu.saturating_add(claim.cpu);
    taken.bytes = taken.bytes.saturating_add(claim.bytes);
}

/// `None` for a node that gets nothing new, whatever it is.
fn standing(node: &NodeRecord, taken: &Taken) -> Option<Standing> {
    let open = node.approval == Approval::Approved
        && node.presence == Presence::Online
        && node.facts.is_some()
        && Closed::of(node).is_none();
    open.then(|| (fullness(node, taken), taken.instances))
}

impl Fleet {
    /// Brings the index up to date.
    pub(in crate::fleet) fn freshen(&mut self) {
        let (mut nodes, workloads) = (self.nodes.take_changed(), self.workloads.take_changed());
        if !self.index.built {
            self.index = Index {
                built: true,
                ..Index::default()
            };
            for (name, record) in &self.workloads {
                self.index.note_workload(name, Some(record));
            }
            for (name, record) in &self.nodes {
                self.index.note_node(name, Some(record));
            }
            self.index.orders.caught_up();
            return;
        }
        for name in workloads {
            let record = self.workloads.get(&name);
            if self.index.note_workload(&name, record) {
                nodes.extend(record.into_iter().flat_map(|w| w.placed.iter().cloned()));
            }
        }
        for name in nodes {
            self.index.note_node(&name, self.nodes.get(&name));
        }
        if self.index.orders.is_behind() {
            for (name, record) in &self.nodes {
                let open = self.index.rooms.get(name).and_then(|r| r.open);
                let candidate = bare(name, record);
                let open = open.map(|standing| (&candidate, standing));
                self.index.orders.catch_up(name, open);
            }
            self.index.orders.caught_up();
        }
    }

    /// What is taken of a node, right now.
    pub(in crate::fleet) fn taken(&self, name: &Name, node: &NodeRecord) -> Taken {
        let changed = self.workloads.changed();
        let fresh = self.index.built
            && !self.nodes.changed().contains(name)
            && (changed.is_empty() || !node.placed.iter().any(|w| changed.contains(w)));
        match self.index.rooms.get(name).filter(|_| fresh) {
            Some(room) => room.taken,
            None => {
                let mut taken = Taken::default();
                let here = node.placed.iter().filter_map(|w| self.workloads.get(w));
                here.for_each(|w| add(&mut taken, &Claim::of(w)));
                taken
            }
        }
    }

    fn is_fresh(&self) -> bool {
        self.index.built && self.nodes.changed().is_empty() && self.workloads.changed().is_empty()
    }

    /// The open nodes, the least loaded first; `None` while that is not known.
    pub(super) fn by_load(&self) -> Option<impl Iterator<Item = &Name>> {
        let by_load = self.index.by_load.iter();
        self.is_fresh().then(|| by_load.map(|(_, _, name)| name))
    }

    /// The same in groups of the `spread` label and of what is preferred.
    pub(super) fn by_group(
        &self,
        placement: &Placement,
    ) -> Option<impl Iterator<Item = (Option<&str>, impl Iterator<Item = &Name>)>> {
        let orders = self.is_fresh().then_some(&self.index.orders)?;
        orders.groups(placement)
    }
}

/// The shunned, as an answer without an index would be.
pub(super) fn shunned_by<'a>(
    index: &'a Index,
    workloads: &'a Watched<WorkloadRecord>,
    name: &'a Name,
) -> Vec<&'a Name> {
    if index.built && workloads.changed().is_empty() {
        return index.shun(name).collect();
    }
    let shuns = |(_, w): &(&Name, &WorkloadRecord)| w.spec.placement.apart.contains(name);
    workloads
        .iter()
        .filter(shuns)
        .map(|(other, _)| other)
        .collect()
}
