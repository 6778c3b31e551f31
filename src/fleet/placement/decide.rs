//! The decision over a whole fleet: who stays, where the free nodes are looked for, and what of it
//! is between two nodes.

use super::{
    Candidate, Closed, Decision, Others, Task, Wish,
    choose::{Nodes, Pool, Tally, grow},
    obstacle,
};
use crate::{
    fleet::{Approval, Fleet, MovePhase, WorkloadRecord},
    model::{Name, Strategy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// What of a workload is on its way.
#[derive(Debug, Default)]
pub(in crate::fleet) struct OnTheWay {
    /// Nodes that it leaves as soon as it is healthy elsewhere: they count for nothing, and still
    /// have it.
    pub leaving: BTreeSet<Name>,
    /// Nodes that it has left, or is to come to, and replicas that are between the two.
    pub between: BTreeSet<Name>,
    pub pending: usize,
}

impl Fleet {
    /// An approved node as placement sees it.
    pub(in crate::fleet) fn candidate(&self, name: &Name) -> Option<Candidate<'_>> {
        let (name, node) = self.nodes.get_key_value(name)?;
        (node.approval == Approval::Approved).then(|| Candidate {
            name,
            presence: node.presence,
            facts: node.facts.as_ref(),
            labels: Some(&node.labels),
            taken: self.taken(name, node),
            reserved: node.reserved,
            closed: Closed::of(node),
            others: Some(Others {
                placed: &node.placed,
                workloads: &self.workloads,
            }),
        })
    }

    /// All of them, by name.
    pub(in crate::fleet) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.nodes.keys().filter_map(|name| self.candidate(name))
    }

    /// A workload as placement sees it. `shunned` is filled in by the caller, who owns the list.
    pub(in crate::fleet) fn wish<'a>(
        record: &'a WorkloadRecord,
        shunned: &'a [&'a Name],
    ) -> Wish<'a> {
        Wish {
            last: record.last_chosen.as_ref(),
            shunned,
            ..Wish::new(&record.spec, record.encoded_len, &record.names)
        }
    }

    /// Workloads that do not want this one beside them.
    pub(in crate::fleet) fn shunning(&self, workload: &Name) -> Vec<&Name> {
        match self.workloads.get_key_value(workload) {
            Some((name, _)) => super::index::shunned_by(&self.index, &self.workloads, name),
            None => Vec::new(),
        }
    }

    /// What of it is on its way. A move whose target cannot have it any more has come to nothing:
    /// the old node counts again.
    pub(in crate::fleet) fn on_the_way(&self, wish: &Wish<'_>, w: &WorkloadRecord) -> OnTheWay {
        let mut out = OnTheWay::default();
        for (from, m) in &w.moves {
            match m.phase {
                MovePhase::Starting => {
                    let arrives = w.placed.contains(&m.to)
                        && self
                            .candidate(&m.to)
                            .is_some_and(|c| obstacle(wish, &c, true).is_none());
                    if arrives && w.placed.contains(from) {
                        out.leaving.insert(from.clone());
                    }
                }
                MovePhase::Stopping => {
                    out.pending += usize::from(!w.placed.contains(&m.to));
                    out.between.extend([from.clone(), m.to.clone()]);
                }
            }
        }
        out
    }

    /// Where a workload goes now. [`Decision::nodes`] is without those that it is leaving.
    pub(in crate::fleet) fn decision(&self, name: &Name) -> Option<(Decision, OnTheWay)> {
        let record = self.workloads.get(name)?;
        let shunned = self.shunning(name);
        let wish = Fleet::wish(record, &shunned);
        let way = self.on_the_way(&wish, record);
        let kept = record.placed.iter().filter(|n| !way.leaving.contains(*n));
        let task = Task {
            wish,
            kept: kept.filter_map(|n| self.candidate(n)).collect(),
            pending: way.pending,
        };
        let free =
            |c: &Candidate<'_>| !record.placed.contains(c.name) && !way.between.contains(c.name);
        let shown = self.candidates().filter(|c| !way.leaving.contains(c.name));
        let decision = task.decide(self.pool(&wish), &free, shown);
        Some((decision, way))
    }

    /// The nodes that may be free: no more than must be looked at.
    fn pool<'a>(&'a self, wish: &Wish<'a>) -> Pool<'a> {
        let placement = &wish.workload.placement;
        let candidate = |n: &Name| self.candidate(n);
        if !placement.nodes.is_empty() {
            let named: BTreeSet<&Name> = placement.nodes.iter().collect();
            return Pool::Any(Box::new(named.into_iter().filter_map(candidate)));
        }
        // Where the other one is; of two that want each other, the first one goes anywhere.
        let other = placement.with.first().and_then(|n| self.workloads.get(n));
        if let Some(other) = other.filter(|w| !w.placed.is_empty()) {
            return Pool::Any(Box::new(other.placed.iter().filter_map(candidate)));
        }
        let pool = match placement.strategy {
            _ if wish.every || !placement.with.is_empty() => None,
            Strategy::LeastLoaded | Strategy::RoundRobin => self.in_order(wish),
            // What would be left of a node, and what it has that is not asked for, is another
            // order for each workload.
            Strategy::CapabilityMatch | Strategy::ResourceOptimal => None,
        };
        pool.unwrap_or_else(|| Pool::Any(Box::new(self.candidates())))
    }

    /// Nodes in the order of the strategy: they need not all be looked at.
    fn in_order<'a>(&'a self, wish: &Wish<'a>) -> Option<Pool<'a>> {
        let placement = &wish.workload.placement;
        let candidate = |n: &Name| self.candidate(n);
        let plain = placement.spread.is_none() && placement.prefers.is_empty();
        if placement.strategy == Strategy::RoundRobin {
            let last = wish.last.filter(|_| plain);
            let after = |last| self.nodes.range::<Name, _>((Excluded(last), Unbounded));
            return Some(Pool::Best(match (last, plain) {
                (_, false) => return None,
                (None, true) => Box::new(self.candidates()),
                (Some(last), true) => {
                    let again = self.nodes.range::<Name, _>(..=last);
                    let names = after(last).chain(again).map(|(name, _)| name);
                    Box::new(names.filter_map(candidate))
                }
            }));
        }
        if plain {
            let nodes = self.by_load()?.filter_map(candidate);
            return Some(Pool::Best(Box::new(nodes)));
        }
        let groups = self.by_group(placement)?;
        let groups = groups.map(|(value, nodes)| -> (_, Nodes<'a>) {
            (value, Box::new(nodes.filter_map(candidate)))
        });
        Some(Pool::Groups(groups.collect()))
    }

    /// The node that would take one more instance of a workload, and why; else what is in the way
    /// on each. Of `exclude`, none is taken, and those that have it count as left already.
    pub(in crate::fleet) fn best_target(
        &self,
        workload: &Name,
        exclude: &BTreeSet<Name>,
    ) -> Result<(Name, String), BTreeMap<Name, String>> {
        let Some(record) = self.workloads.get(workload) else {
            return Err(BTreeMap::new());
        };
        let shunned = self.shunning(workload);
        let wish = Fleet::wish(record, &shunned);
        let way = self.on_the_way(&wish, record);
        let stays = |n: &&Name| !way.leaving.contains(*n) && !exclude.contains(*n);
        let kept: Vec<Candidate<'_>> = record
            .placed
            .iter()
            .filter(stays)
            .filter_map(|n| self.candidate(n))
            .collect();
        let free = |c: &Candidate<'_>| {
            let taken = record.placed.contains(c.name) || way.between.contains(c.name);
            !taken && !exclude.contains(c.name)
        };
        let mut tally = Tally::of(&wish, &kept);
        let replicas = record.placed.len() + record.missing as usize;
        let found = grow(&wish, 1, replicas, &mut tally, self.pool(&wish), &free);
        if let Some((node, why)) = found.nodes.into_iter().next() {
            return Ok((node.name.clone(), why));
        }
        let blocked = self.candidates().filter(free);
        let blocked = blocked
            .filter_map(|c| obstacle(&wish, &c, false).map(|o| (c.name.clone(), o.to_string())));
        Err(blocked.take(super::MAX_PASSED).collect())
    }

    /// Why one node could not take one more instance of a workload; `None` when it could.
    pub(in crate::fleet) fn obstacle_on(&self, workload: &Name, node: &Name) -> Option<String> {
        let record = self.workloads.get(workload)?;
        let shunned = self.shunning(workload);
        let wish = Fleet::wish(record, &shunned);
        match self.candidate(node) {
            Some(c) => obstacle(&wish, &c, false).map(|o| o.to_string()),
            None => Some("it is no node of the fleet".into()),
        }
    }
}
