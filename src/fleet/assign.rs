//! Where workloads go, and which assignments change for it.
//!
//! ```text
//!  a workload changes ─► decide ─► settle ─► touched nodes ─► reassign ─► PublishAssignment
//!  a node changes ─────► reconsider ──┘          ▲               │
//!                                                └── revisit ◄───┘ what waits may fit there now
//! ```

use super::{
    Decision, Effect, Fleet, MovePhase, NodeRecord, Refusal,
    placement::{KEPT, MATCHES, MAX_ASSIGNED, MAX_PASSED, OnTheWay, obstacle},
};
use crate::{
    model::{Name, PlacementMode, Workload},
    planted::{self, Bug},
};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one workload in an assignment.
const MAX_SPEC: usize = 128 * 1024;

/// What finds room may make room, or draw others after it; so often at most.
const MAX_ROUNDS: usize = 8;

/// What a look at one node has found.
#[derive(Debug, Default)]
struct Look {
    /// Workloads that must be decided upon as a whole.
    whole: BTreeSet<Name>,
    /// Workloads of which only this node is decided: whether it has them, and why.
    here: Vec<(Name, bool, String)>,
}

impl Fleet {
    /// Decides anew for what waits for a node.
    pub(super) fn place_waiting(&mut self) -> Vec<Effect> {
        self.freshen();
        let names = self.index.waiting.clone();
        self.place_all(names)
    }

    /// The same when only one node has become able to take something: as soon as it is online.
    pub(super) fn place_waiting_on(&mut self, node: &Name) -> Vec<Effect> {
        let node = BTreeSet::from([node.clone()]);
        let touched = self.revisit(&node);
        self.publish(&touched)
    }

    /// One node has changed: decides anew only where that can change something, so that it costs
    /// the same however many other nodes and workloads there are.
    pub(super) fn reconsider(&mut self, node: &Name) -> Vec<Effect> {
        self.freshen();
        let Some(record) = self.nodes.get(node) else {
            return Vec::new();
        };
        // What is filled in from the node's labels and facts may be another text now.
        let templated = |n: &Name| self.workloads.get(n).is_some_and(|w| !w.names.is_empty());
        let filled = record.placed.iter().any(templated);
        let open = self.index.waiting.union(&self.index.every);
        let names: BTreeSet<&Name> = open.chain(&record.placed).collect();
        let look = self.look(node, names.into_iter());
        let mut touched = self.settle_on(node, look);
        if filled {
            touched.insert(node.clone());
        }
        self.reassign(&touched)
    }

    /// What of `names` the node could take, or can keep no more.
    fn look<'a>(&self, node: &Name, names: impl Iterator<Item = &'a Name>) -> Look {
        let mut look = Look::default();
        let Some(candidate) = self.candidate(node) else {
            return look;
        };
        for name in names {
            let Some(w) = self.workloads.get(name) else {
                continue;
            };
            let kept = w.placed.contains(node);
            let every = w.spec.placement.mode == PlacementMode::Every;
            let shunned = if kept {
                Vec::new()
            } else {
                self.shunning(name)
            };
            let wish = Fleet::wish(w, &shunned);
            let mut here = |placed, reason| look.here.push((name.clone(), placed, reason));
            match (obstacle(&wish, &candidate, kept), kept) {
                (None, true) => here(true, KEPT.to_owned()),
                (None, false) if every => here(true, MATCHES.to_owned()),
                (Some(reason), _) if every || !kept => here(false, reason.to_string()),
                _ => {
                    look.whole.insert(name.clone());
                }
            }
        }
        look
    }

    /// Does what was found; the nodes that it touched.
    fn settle_on(&mut self, node: &Name, look: Look) -> BTreeSet<Name> {
        let mut touched = self.decide(look.whole);
        for (name, placed, reason) in look.here {
            let Some(w) = self.workloads.get(&name) else {
                continue;
            };
            if w.placed.contains(node) == placed && w.reasons.get(node) == Some(&reason) {
                continue;
            }
            let Some(w) = self.workloads.get_mut(&name) else {
                continue;
            };
            let room = w.reasons.len() < w.placed.len() + MAX_PASSED;
            if placed || room || w.reasons.contains_key(node) {
                w.reasons.insert(node.clone(), reason);
            }
            let moved = if placed {
                if !w.placed.contains(node) {
                    w.take_in(node);
                }
                w.placed.insert(node.clone())
            } else {
                w.at.remove(node);
                w.on_trial.remove(node);
                w.placed.remove(node)
            };
            let Some(n) = self.nodes.get_mut(node).filter(|_| moved) else {
                continue;
            };
            if placed {
                if w.goes_on() {
                    self.active.insert(name.clone());
                }
                n.placed.insert(name);
            } else {
                n.placed.remove(&name);
            }
            touched.insert(node.clone());
        }
        touched
    }

    /// Something has changed on `nodes`: what waits, or goes everywhere, may fit there now, and
    /// what must be together with another one may have to go. The nodes that it touched.
    fn revisit(&mut self, nodes: &BTreeSet<Name>) -> BTreeSet<Name> {
        let mut all = BTreeSet::new();
        let mut next = nodes.clone();
        for _ in 0..MAX_ROUNDS {
            // Before the index: most reports touch nothing, and it may stay as it is for them.
            if next.is_empty() {
                break;
            }
            self.freshen();
            let index = &self.index;
            let idle =
                index.waiting.is_empty() && index.every.is_empty() && index.together.is_empty();
            if idle {
                break;
            }
            let mut touched = BTreeSet::new();
            for node in &next {
                self.freshen();
                let Some(record) = self.nodes.get(node) else {
                    continue;
                };
                let index = &self.index;
                let new = index.waiting.union(&index.every);
                let new = new.filter(|n| !record.placed.contains(*n));
                let bound = record.placed.iter().filter(|n| index.together.contains(*n));
                let names: Vec<&Name> = new.chain(bound).collect();
                let look = self.look(node, names.into_iter());
                touched.extend(self.settle_on(node, look));
            }
            all.extend(touched.iter().cloned());
            next = touched;
        }
        all
    }

    pub(super) fn place_all(&mut self, names: BTreeSet<Name>) -> Vec<Effect> {
        let touched = self.decide(names);
        self.reassign(&touched)
    }

    /// Decides where `names` go; the nodes for which that changed something.
    pub(super) fn decide(&mut self, names: BTreeSet<Name>) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for name in names {
            self.freshen();
            if let Some((decision, way)) = self.decision(&name) {
                touched.extend(self.settle(&name, decision, way));
            }
        }
        touched
    }

    fn settle(&mut self, name: &Name, decision: Decision, way: OnTheWay) -> BTreeSet<Name> {
        let Some(record) = self.workloads.get_mut(name) else {
            return BTreeSet::new();
        };
        // A move whose target is not to have it any more is none; the old node goes with it, where
        // it was not kept instead.
        record.moves.retain(|from, m| match m.phase {
            MovePhase::Starting => way.leaving.contains(from) && decision.nodes.contains(&m.to),
            MovePhase::Stopping => true,
        });
        let mut placed = decision.nodes;
        placed.extend(
            record
                .moves
                .iter()
                .filter(|(_, m)| m.phase == MovePhase::Starting)
                .map(|(from, _)| from.clone()),
        );
        let differ: BTreeSet<Name> = record
            .placed
            .symmetric_difference(&placed)
            .cloned()
            .collect();
        for node in &differ {
            if placed.contains(node) {
                record.take_in(node);
            } else {
                record.at.remove(node);
                record.on_trial.remove(node);
            }
            if let Some(n) = self.nodes.get_mut(node) {
                if placed.contains(node) {
                    n.placed.insert(name.clone());
                } else {
                    n.placed.remove(name);
                }
            }
        }
        record.placed = placed;
        record.missing = decision.missing;
        record.reasons = decision.reasons;
        record.last_chosen = decision.last.or(record.last_chosen.take());
        if record.goes_on() {
            self.active.insert(name.clone());
        }
        differ
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

    /// The assignments of `nodes` have changed; and what waits may fit there now.
    pub(super) fn reassign(&mut self, nodes: &BTreeSet<Name>) -> Vec<Effect> {
        let mut touched = self.revisit(nodes);
        touched.extend(nodes.iter().cloned());
        self.publish(&touched)
    }

    fn publish(&mut self, nodes: &BTreeSet<Name>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in nodes {
            if let Ok(node) = self.member_mut(name) {
                node.generation += u64::from(!planted::is(Bug::KeepsTheGeneration));
                effects.push(Effect::PublishAssignment(name.clone()));
            }
        }
        effects
    }
}
