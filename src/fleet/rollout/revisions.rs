//! Which revisions of a workload are remembered, and which of them a node is assigned.

use super::super::WorkloadRecord;
use super::{Person, Revision, RevisionVerdict};
use crate::model::Workload;
use std::{collections::BTreeSet, sync::Arc};

/// Revisions that are kept, beside those that something still refers to.
pub(super) const KEPT_REVISIONS: usize = 10;

impl WorkloadRecord {
    /// The revision that a node is assigned.
    pub(in crate::fleet) fn revision_on(&self, node: &str) -> u64 {
        self.at.get(node).copied().unwrap_or(self.revision)
    }

    /// What a revision is. One that nobody remembers (there is none, as long as something refers
    /// to it) is taken for the wanted one.
    pub(in crate::fleet) fn spec_at(&self, revision: u64) -> &Arc<Workload> {
        if revision == self.revision {
            return &self.spec;
        }
        self.edition(revision).map_or(&self.spec, |r| &r.spec)
    }

    /// A revision that is remembered.
    pub(in crate::fleet) fn edition(&self, revision: u64) -> Option<&Revision> {
        self.history.iter().rev().find(|r| r.revision == revision)
    }

    pub(super) fn edition_mut(&mut self, revision: u64) -> Option<&mut Revision> {
        self.history
            .iter_mut()
            .rev()
            .find(|r| r.revision == revision)
    }

    pub(super) fn hash_at(&self, revision: u64) -> &str {
        if revision == self.revision {
            return &self.spec_hash;
        }
        self.edition(revision)
            .map_or(self.spec_hash.as_str(), |r| r.spec_hash.as_str())
    }

    /// The newest revision before the wanted one that is known to work and is another one than
    /// `hash`.
    pub(super) fn newest_good(&self, hash: &str) -> Option<u64> {
        let good = |r: &&Revision| r.verdict == RevisionVerdict::Good && r.spec_hash != hash;
        self.history.iter().rev().find(good).map(|r| r.revision)
    }

    /// What a person goes back to who names nothing: the newest that is known to work; where none is,
    /// the last other one that nothing is known of.
    pub(super) fn earlier(&self) -> Option<u64> {
        let untried =
            |r: &&Revision| r.spec_hash != self.spec_hash && r.verdict == RevisionVerdict::Untried;
        let last = || self.history.iter().rev().find(untried).map(|r| r.revision);
        self.newest_good(&self.spec_hash).or_else(last)
    }

    /// Where a person's order to go back leads, `to` this revision or by itself; `None`: nowhere.
    pub(in crate::fleet) fn back_to(&self, to: Option<u64>) -> Option<u64> {
        let under_way = self.rollout.as_ref().filter(|r| r.phase.is_active());
        match (to, under_way) {
            (Some(to), _) => self.edition(to).map(|r| r.revision),
            (None, Some(rollout)) if rollout.from != rollout.to => Some(rollout.from),
            (None, _) => self.earlier(),
        }
    }

    /// Remembers what is wanted now.
    pub(super) fn remember(&mut self, by: Person, verdict: RevisionVerdict) {
        self.history.push(Revision {
            revision: self.revision,
            spec: self.spec.clone(),
            spec_hash: self.spec_hash.clone(),
            applied_ms: self.applied_ms,
            by: by.name,
            trace: by.trace,
            verdict,
        });
    }

    /// Forgets the oldest revisions, but none that something refers to, and not the one to go back
    /// to.
    pub(super) fn prune_history(&mut self) {
        let mut needed: BTreeSet<u64> = self.at.values().copied().collect();
        needed.extend(self.on_trial.values());
        needed.extend(self.rollout.iter().flat_map(|r| [r.from, r.to]));
        needed.extend(self.newest_good(&self.spec_hash));
        let last = self.history.len().saturating_sub(KEPT_REVISIONS);
        let mut index = 0;
        self.history.retain(|r| {
            index += 1;
            index > last || needed.contains(&r.revision)
        });
    }
}
