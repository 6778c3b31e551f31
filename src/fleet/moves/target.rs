//! Where an instance can go, and why it can go nowhere.

use crate::{
    fleet::{
        Fleet,
        placement::{KEPT, obstacle},
    },
    model::Name,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Nodes that are named in a sentence; and kinds of obstacles.
const NAMED: usize = 2;

/// There is no node for it.
#[derive(Debug)]
pub(super) struct NoTarget {
    /// Why, one sentence.
    pub reason: String,
    /// What is in the way on one of them passes by itself before long.
    pub passes: bool,
}

/// What is in the way on nodes; what says the most of the fleet comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It cannot run there.
    Obstacle,
    /// A node runs one instance of a workload.
    Taken,
    /// It could, and is not tried again for a while.
    Tried,
}

/// Nodes with the same one.
#[derive(Debug, Default)]
struct Group<'a> {
    named: Vec<&'a Name>,
    count: usize,
}

impl Fleet {
    /// The best node that could take one more instance of a workload, and why; nodes on which a move
    /// of it ended lately are left out.
    pub(super) fn target(&self, workload: &Name, from: &Name) -> Result<(Name, String), NoTarget> {
        let tried = self.watched.iter().flatten();
        let tried = tried.filter(|n| {
            let record = self.nodes.get(*n);
            record.is_some_and(|r| r.moved.contains_key(workload))
        });
        let mut exclude: BTreeSet<Name> = tried.cloned().collect();
        exclude.insert(from.clone());
        self.best_target(workload, &exclude)
            .map_err(|_| self.no_target(workload, from))
    }

    /// `no other node can take it: b and c (it is offline); d (it runs there already)`.
    fn no_target(&self, workload: &Name, from: &Name) -> NoTarget {
        let Some(record) = self.workloads.get(workload) else {
            return NoTarget {
                reason: format!("there is no workload {workload}"),
                passes: false,
            };
        };
        let shunned = self.shunning(workload);
        let wish = Fleet::wish(record, &shunned);
        // A node that never counts as lost may be away for ever.
        let comes_back = self.config.lost_after_ms > 0;
        let mut passes = false;
        let mut groups: BTreeMap<(Rank, String), Group<'_>> = BTreeMap::new();
        for node in self.candidates().filter(|c| c.name != from) {
            let key = if record.placed.contains(node.name) {
                (Rank::Taken, KEPT.to_owned())
            } else if let Some(found) = obstacle(&wish, &node, false) {
                passes |= found.passes(comes_back);
                (Rank::Obstacle, found.to_string())
            } else {
                passes = true;
                let said = match record.moves_at(node.name) {
                    true => "it is between two nodes there",
                    false => "a move to it has failed lately, or ended there",
                };
                (Rank::Tried, said.to_owned())
            };
            let group = groups.entry(key).or_default();
            group.count += 1;
            if group.named.len() < NAMED {
                group.named.push(node.name);
            }
        }
        NoTarget {
            reason: said(groups),
            passes,
        }
    }
}

fn said(groups: BTreeMap<(Rank, String), Group<'_>>) -> String {
    if groups.is_empty() {
        return "there is no other node".into();
    }
    let mut all: Vec<_> = groups.into_iter().collect();
    all.sort_by_key(|((rank, _), group)| (*rank, Reverse(group.count)));
    let parts = all.iter().take(NAMED).map(|((_, reason), group)| {
        let named: Vec<&str> = group.named.iter().map(|n| n.as_str()).collect();
        let nodes = match group.count - named.len() {
            0 => named.join(" and "),
            more => format!("{} and {more} more", named.join(", ")),
        };
        format!("{nodes} ({reason})")
    });
    let parts: Vec<String> = parts.collect();
    format!("no other node can take it: {}", parts.join("; "))
}
