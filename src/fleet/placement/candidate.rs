//! A node as placement sees it: borrowed from the fleet, and cheap to make, since a decision may
//! look at thousands of them.

use super::{Taken, Watched};
use crate::{
    fleet::{MovePhase, NodeRecord, Reserved, WorkloadRecord},
    model::{Name, NodeFacts, Presence},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// A node that may run something.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Whether it can be heard.
    pub presence: Presence,
    /// What it is; `None` until it said so.
    pub facts: Option<&'a NodeFacts>,
    /// Labels that a person gave, beside those among its facts.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// What is taken of it.
    pub taken: Taken,
    /// What of it is not for instances.
    pub reserved: Reserved,
    /// Why it gets nothing new.
    pub closed: Option<Closed>,
    /// What else is on it; `None`: nobody knows, and nothing is asked of it.
    pub others: Option<Others<'a>>,
}

/// Why a node gets nothing new, though it keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// A person wants nothing new on it.
    Cordoned,
    /// It is being emptied.
    Draining,
    /// It has come and gone too often lately.
    Damped,
    /// It was not heard for so long that what could move was placed elsewhere.
    Lost,
}

impl Closed {
    pub(in crate::fleet) fn of(node: &NodeRecord) -> Option<Closed> {
        if node.drain.is_some() {
            Some(Closed::Draining)
        } else if node.cordoned {
            Some(Closed::Cordoned)
        } else if node.lost {
            Some(Closed::Lost)
        } else {
            node.flaps.damped.then_some(Closed::Damped)
        }
    }

    /// A person closed it. What goes to every node waits for nobody else.
    pub(super) fn by_person(self) -> bool {
        matches!(self, Closed::Cordoned | Closed::Draining)
    }
}

/// The other workloads of a node.
#[derive(Clone, Copy)]
pub struct Others<'a> {
    pub(super) placed: &'a BTreeSet<Name>,
    pub(super) workloads: &'a Watched<WorkloadRecord>,
}

impl std::fmt::Debug for Others<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.placed.fmt(f)
    }
}

impl<'a> Others<'a> {
    /// The records of what is there.
    pub(super) fn records(&self) -> impl Iterator<Item = (&'a Name, &'a WorkloadRecord)> + use<'a> {
        let workloads = self.workloads;
        let placed = self.placed.iter();
        placed.filter_map(move |name| workloads.get(name).map(|w| (name, w)))
    }

    /// It is there, and is to stay.
    pub(super) fn stays(&self, workload: &Name, node: &Name) -> bool {
        let leaves = |w: &WorkloadRecord| {
            let phase = w.moves.get(node).map(|m| m.phase);
            phase == Some(MovePhase::Starting)
        };
        self.placed.contains(workload) && !self.workloads.get(workload).is_some_and(leaves)
    }
}

impl<'a> Candidate<'a> {
    /// What a requirement may ask for: what the agent found out, labels, and, where neither says
    /// anything, what else is known of every node (see [`crate::model::Requirement`]).
    pub(super) fn property(&self, key: &str) -> Option<Cow<'a, str>> {
        let facts = self.facts;
        let said = facts
            .and_then(|f| f.capabilities.get(key))
            .or_else(|| self.label(key));
        if let Some(said) = said {
            return Some(Cow::Borrowed(said));
        }
        let facts = facts?;
        let number = |n: u64| (n > 0).then(|| Cow::Owned(n.to_string()));
        let text = |t: &'a String| (!t.is_empty()).then_some(Cow::Borrowed(t.as_str()));
        match key {
            "memory" => number(facts.memory_total),
            "cpus" => number(u64::from(facts.cpus)),
            "kernel" => text(&facts.kernel),
            "os" => text(&facts.os),
            "arch" => text(&facts.arch),
            "agent" => text(&facts.agent_version),
            _ => None,
        }
    }

    /// A label in effect.
    pub(super) fn label(&self, key: &str) -> Option<&'a String> {
        let own = self.labels.and_then(|l| l.get(key));
        own.or_else(|| self.facts.and_then(|f| f.labels.get(key)))
    }

    /// Architecture of its agent; empty where that was never said.
    pub(super) fn arch(&self) -> &'a str {
        self.facts.map_or("", NodeFacts::program_arch)
    }

    /// It is found out or labelled, not merely known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.facts.is_some_and(|f| f.capabilities.contains_key(key)) || self.label(key).is_some()
    }

    /// Capabilities and labels, without those that a person's labels stand in for.
    pub(super) fn properties(&self) -> usize {
        let found = self.facts.map_or(0, |f| {
            let hidden = |k: &&String| f.capabilities.contains_key(*k);
            f.capabilities.len() + f.labels.keys().filter(|k| !hidden(k)).count()
        });
        let known = |k: &&String| {
            let facts = self.facts;
            facts.is_some_and(|f| f.capabilities.contains_key(*k) || f.labels.contains_key(*k))
        };
        let given = self.labels.into_iter().flat_map(|l| l.keys());
        found + given.filter(|k| !known(k)).count()
    }

    /// Whether what a template names is known of it; as [`crate::fleet::NodeNames`] fills it in.
    pub(super) fn knows(&self, name: &str) -> bool {
        match name {
            "node.name" | "node.os" | "\"" => true,
            "node.arch" | "node.hostname" => self.facts.is_some(),
            _ => match name.strip_prefix("label.") {
                Some(label) => self.label(label).is_some(),
                None => name.starts_with("env."),
            },
        }
    }

    /// Bytes of memory that are not taken; `None` where it did not say how many it has.
    pub(super) fn free_memory(&self) -> Option<u64> {
        let total = self.facts.map_or(0, |f| f.memory_total);
        let taken = self.taken.memory.saturating_add(self.reserved.memory);
        (total > 0).then(|| total.saturating_sub(taken))
    }

    /// The same of cores, in thousandths.
    pub(super) fn free_cpu(&self) -> Option<u64> {
        let total = self.facts.map_or(0, |f| u64::from(f.cpus)) * 1_000;
        let reserved = super::index::thousandths(self.reserved.cpus);
        let taken = self.taken.cpu.saturating_add(reserved);
        (total > 0).then(|| total.saturating_sub(taken))
    }

    /// How full it is, 0–1000.
    pub(super) fn fullness(&self) -> u32 {
        super::index::part_taken(self.facts, &self.reserved, &self.taken)
    }
}
