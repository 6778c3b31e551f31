//! Where an instance can go.

use crate::{fleet::Fleet, model::Name};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are named in a sentence.
const NAMED: usize = 2;

impl Fleet {
    /// The best node that could take one more instance of a workload, and why; nodes on which a move
    /// of it ended lately are left out. Else a sentence that says why there is none.
    pub(super) fn target(&self, workload: &Name, from: &Name) -> Result<(Name, String), String> {
        let tried = self.watched.iter().flatten();
        let tried = tried.filter(|n| {
            let record = self.nodes.get(*n);
            record.is_some_and(|r| r.moved.contains_key(workload))
        });
        let tried: BTreeSet<Name> = tried.filter(|n| *n != from).cloned().collect();
        let mut exclude = tried.clone();
        exclude.insert(from.clone());
        self.best_target(workload, &exclude)
            .map_err(|obstacles| no_target(obstacles, &tried))
    }
}

/// `no other node can take it: b and c (it is offline), d (it has no docker)`: what holds for the
/// most nodes comes first.
fn no_target(obstacles: BTreeMap<Name, String>, tried: &BTreeSet<Name>) -> String {
    let mut by_reason: BTreeMap<String, Vec<Name>> = BTreeMap::new();
    for (node, reason) in obstacles {
        let reason = match tried.contains(&node) {
            true => "a move to it has failed lately, or ended there".to_owned(),
            false => reason,
        };
        by_reason.entry(reason).or_default().push(node);
    }
    for node in tried {
        if !by_reason.values().flatten().any(|n| n == node) {
            let reason = "a move to it has failed lately, or ended there".to_owned();
            by_reason.entry(reason).or_default().push(node.clone());
        }
    }
    if by_reason.is_empty() {
        return "there is no other node".into();
    }
    let mut all: Vec<(String, Vec<Name>)> = by_reason.into_iter().collect();
    all.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    let parts = all.iter().take(NAMED).map(|(reason, nodes)| {
        let named: Vec<&str> = nodes.iter().take(NAMED).map(Name::as_str).collect();
        let more = nodes.len() - named.len();
        let nodes = match more {
            0 => named.join(" and "),
            _ => format!("{} and {more} more", named.join(", ")),
        };
        format!("{nodes} ({reason})")
    });
    let parts: Vec<String> = parts.collect();
    format!("no other node can take it: {}", parts.join("; "))
}
