//! Where workloads go, and which assignments change for it.

use super::{
    Approval, Candidate, Decision, Effect, Fleet, NodeNames, NodeRecord, Refusal, place,
    placement::{KEPT, MATCHES, MAX_ASSIGNED, Needs, obstacle, passed_over},
};
use crate::model::{Name, PlacementMode, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one workload in an assignment.
const MAX_SPEC: usize = 128 * 1024;

impl Fleet {
    /// Decides anew for what waits for a node.
    pub(super) fn place_waiting(&mut self) -> Vec<Effect> {
        let waiting = self.workloads.iter().filter(|(_, w)| w.missing > 0);
        let names = waiting.map(|(name, _)| name.clone()).collect();
        self.place_all(names)
    }

    /// One node has changed: decides anew only where that can change something, so that it costs
    /// the same however many other nodes there are.
    pub(super) fn reconsider(&mut self, node: &Name) -> Vec<Effect> {
        let Some(candidate) = self.candidate(node) else {
            return Vec::new();
        };
        let mut whole = BTreeSet::new();
        let mut here = Vec::new();
        // What is filled in from the node's labels and facts may be another text now.
        let mut filled = false;
        for (name, w) in &self.workloads {
            let kept = w.placed.contains(node);
            let every = w.spec.placement.mode == PlacementMode::Every;
            let needs = Needs {
                bytes: w.encoded_len,
                names: &w.names,
            };
            filled |= kept && !w.names.is_empty();
            match (obstacle(&w.spec, needs, &candidate, kept), kept) {
                (None, true) => here.push((name.clone(), true, KEPT.to_owned())),
                (None, false) if every => here.push((name.clone(), true, MATCHES.to_owned())),
                (None, false) if w.missing == 0 => {
                    here.push((name.clone(), false, passed_over(&candidate)));
                }
                (Some(reason), _) if every || !kept => here.push((name.clone(), false, reason)),
                _ => {
                    whole.insert(name.clone());
                }
            }
        }
        let mut touched = self.decide(whole);
        if filled {
            touched.insert(node.clone());
        }
        for (name, placed, reason) in here {
            let Some(w) = self.workloads.get_mut(&name) else {
                continue;
            };
            w.reasons.insert(node.clone(), reason);
            let moved = if placed {
                w.placed.insert(node.clone())
            } else {
                w.placed.remove(node)
            };
            let Some(n) = self.nodes.get_mut(node).filter(|_| moved) else {
                continue;
            };
            if placed {
                n.placed.insert(name);
            } else {
                n.placed.remove(&name);
            }
            touched.insert(node.clone());
        }
        self.reassign(&touched)
    }

    pub(super) fn place_all(&mut self, names: BTreeSet<Name>) -> Vec<Effect> {
        let touched = self.decide(names);
        self.reassign(&touched)
    }

    /// Decides where `names` go; the nodes for which that changed something.
    pub(super) fn decide(&mut self, names: BTreeSet<Name>) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for name in names {
            let Some(record) = self.workloads.get(&name) else {
                continue;
            };
            let decision = place(&record.spec, &record.placed, &self.candidates());
            touched.extend(self.settle(&name, decision));
        }
        touched
    }

    pub(super) fn settle(&mut self, name: &Name, decision: Decision) -> BTreeSet<Name> {
        let Some(record) = self.workloads.get_mut(name) else {
            return BTreeSet::new();
        };
        let differ: BTreeSet<Name> = record
            .placed
            .symmetric_difference(&decision.nodes)
            .cloned()
            .collect();
        for node in &differ {
            if let Some(n) = self.nodes.get_mut(node) {
                if decision.nodes.contains(node) {
                    n.placed.insert(name.clone());
                } else {
                    n.placed.remove(name);
                }
            }
        }
        record.placed = decision.nodes;
        record.missing = decision.missing;
        record.reasons = decision.reasons;
        differ
    }

    /// The approved nodes as placement sees them.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        self.nodes
            .keys()
            .filter_map(|name| self.candidate(name))
            .collect()
    }

    /// One of them.
    pub(super) fn candidate(&self, node: &Name) -> Option<Candidate<'_>> {
        let (name, n) = self.nodes.get_key_value(node)?;
        let placed = n.placed.iter().filter_map(|w| self.workloads.get(w));
        let reserved = placed.filter_map(|w| w.spec.resources.memory).sum();
        (n.approval == Approval::Approved).then(|| Candidate {
            name,
            presence: n.presence,
            properties: n.properties(),
            described: n.facts.is_some(),
            instances: n.placed.len(),
            memory_reserved: reserved,
            memory_total: n.facts.as_ref().map_or(0, |f| f.memory_total),
            assigned_bytes: self.assigned_bytes(n),
            features: n.facts.as_ref().map_or(1, |f| f.features.max(1)),
            names: NodeNames::of(name, n),
        })
    }

    pub(super) fn assigned_bytes(&self, node: &NodeRecord) -> usize {
        let placed = node.placed.iter().filter_map(|w| self.workloads.get(w));
        placed.map(|w| w.encoded_len).sum()
    }

    /// Nothing may be accepted that its nodes could not be told.
    pub(super) fn check_sizes(&self, changed: &[&Workload]) -> Result<(), Refusal> {
        let mut grown: BTreeMap<&Name, usize> = BTreeMap::new();
        for workload in changed {
            let len = workload.encoded_len();
            if len > MAX_SPEC {
                return Err(Refusal::Invalid(format!(
                    "{} is too large ({len} bytes; at most {MAX_SPEC} are taken): put what is \
                     large into the image or a volume",
                    workload.name
                )));
            }
            let Some(record) = self.workloads.get(&workload.name) else {
                continue;
            };
            for node in &record.placed {
                let more = len.saturating_sub(record.encoded_len);
                *grown.entry(node).or_default() += more;
            }
        }
        for (name, more) in grown {
            let now = self.nodes.get(name).map_or(0, |n| self.assigned_bytes(n));
            if more > 0 && now + more > MAX_ASSIGNED {
                return Err(Refusal::Invalid(format!(
                    "the assignment of {name} would become too large for one message"
                )));
            }
        }
        Ok(())
    }

    /// The assignments of `nodes` have changed.
    pub(super) fn reassign(&mut self, nodes: &BTreeSet<Name>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in nodes {
            if let Ok(node) = self.member_mut(name) {
                node.generation += 1;
                effects.push(Effect::PublishAssignment(name.clone()));
            }
        }
        effects
    }
}
