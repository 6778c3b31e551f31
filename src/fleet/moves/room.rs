//! How full a node is: what is placed on it, against what it has.

use crate::{
    fleet::{Fleet, NodeRecord},
    model::{Name, Workload},
};

/// Instances that say nothing of what they may use count as if so many filled a node.
const FILLING: u64 = 50;
/// Full, as [`Room::load`] says it.
const FULL: u64 = 10_000;

/// What of a node is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::fleet) struct Room {
    /// Bytes that are reserved, or that instances may use, as far as they say.
    pub memory: u64,
    /// Bytes that it has; 0: not known.
    pub memory_total: u64,
    /// Thousandths of a core, the same.
    pub millicpus: u64,
    /// Those that it has; 0: not known.
    pub millicpus_total: u64,
    /// Instances that say nothing.
    pub unsaid: u64,
}

/// Cores, in whole thousandths: sums must not depend on their order.
fn millis(cpus: f64) -> u64 {
    // `as` takes what is negative or no number for 0, which is what it is here.
    (cpus * 1000.0).round() as u64
}

impl Room {
    /// With no instance on it.
    pub(in crate::fleet) fn empty(node: &NodeRecord) -> Room {
        let facts = node.facts.as_ref();
        Room {
            memory: node.reserved.memory,
            memory_total: facts.map_or(0, |f| f.memory_total),
            millicpus: millis(node.reserved.cpus),
            millicpus_total: facts.map_or(0, |f| u64::from(f.cpus) * 1000),
            unsaid: 0,
        }
    }

    /// With one more.
    pub(in crate::fleet) fn with(mut self, spec: &Workload) -> Room {
        let (memory, cpus, said) = asked(spec);
        self.memory = self.memory.saturating_add(memory);
        self.millicpus = self.millicpus.saturating_add(cpus);
        self.unsaid += u64::from(!said);
        self
    }

    /// With one less.
    pub(in crate::fleet) fn without(mut self, spec: &Workload) -> Room {
        let (memory, cpus, said) = asked(spec);
        self.memory = self.memory.saturating_sub(memory);
        self.millicpus = self.millicpus.saturating_sub(cpus);
        self.unsaid = self.unsaid.saturating_sub(u64::from(!said));
        self
    }

    /// No more is asked for than there is, where it is known.
    pub(in crate::fleet) fn holds(&self) -> bool {
        let within = |used: u64, total: u64| total == 0 || used <= total;
        within(self.memory, self.memory_total) && within(self.millicpus, self.millicpus_total)
    }

    /// How full, in hundredths of a percent: the fuller of cpu, memory, and instances that say
    /// nothing.
    pub(in crate::fleet) fn load(&self) -> u64 {
        let part = |used: u64, total: u64| match total {
            0 => 0,
            _ => (u128::from(used) * u128::from(FULL) / u128::from(total)).min(FULL.into()) as u64,
        };
        part(self.memory, self.memory_total)
            .max(part(self.millicpus, self.millicpus_total))
            .max(part(self.unsaid, FILLING))
    }

    /// The same, 0–100.
    pub(in crate::fleet) fn percent(&self) -> u8 {
        u8::try_from(self.load() / 100).unwrap_or(100)
    }
}

fn asked(spec: &Workload) -> (u64, u64, bool) {
    let limits = &spec.resources;
    let said = limits.memory.is_some() || limits.cpus.is_some();
    (
        limits.memory.unwrap_or(0),
        millis(limits.cpus.unwrap_or(0.0)),
        said,
    )
}

impl Fleet {
    /// How full a node is.
    pub(in crate::fleet) fn room(&self, node: &Name) -> Option<Room> {
        let record = self.nodes.get(node)?;
        let placed = record.placed.iter().filter_map(|w| self.workloads.get(w));
        Some(placed.fold(Room::empty(record), |room, w| room.with(&w.spec)))
    }
}
