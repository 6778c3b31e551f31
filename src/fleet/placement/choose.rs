//! Fills up to so many replicas, or empties down to them.
//!
//! Nodes are put into groups by the value of the `spread` label (one group where there is none),
//! each group in the order of its scores. The group with the fewest replicas gives the next node,
//! and the one with the most loses the next: so the answer is the same in whatever order the nodes
//! came, and costs one sort.

use super::{
    Candidate, Obstacle, Wish, obstacle,
    strategy::{self, Score},
};
use crate::model::{Name, Presence};
use std::collections::BTreeMap;

/// Value of the `spread` label; a node without the label has none.
type Value<'a> = Option<&'a str>;

/// Replicas by the value of a label.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally<'a> {
    label: Option<&'a str>,
    counts: BTreeMap<Value<'a>, usize>,
}

impl<'a> Tally<'a> {
    pub(super) fn of(wish: &Wish<'a>, nodes: &[Candidate<'a>]) -> Tally<'a> {
        let mut tally = Tally {
            label: wish.workload.placement.spread.as_deref(),
            counts: BTreeMap::new(),
        };
        nodes.iter().for_each(|n| tally.add(tally.value(n)));
        tally
    }

    fn add(&mut self, value: Value<'a>) {
        *self.counts.entry(value).or_default() += 1;
    }

    fn value(&self, node: &Candidate<'a>) -> Value<'a> {
        self.label.and_then(|l| node.label(l)).map(String::as_str)
    }

    fn count(&self, value: &Value<'a>) -> usize {
        self.counts.get(value).copied().unwrap_or(0)
    }

    /// `zone=a has 0 of 3 replicas, zone=b has 2`; the first one is `node`'s.
    pub(super) fn said(&self, node: &Candidate<'a>, wanted: usize) -> Option<String> {
        let label = self.label?;
        let name = |value: &Value<'_>| match value {
            Some(value) => format!("{label}={value}"),
            None => format!("what has no {label}"),
        };
        let own = self.value(node);
        let mut text = format!(
            "{} has {} of {wanted} replicas",
            name(&own),
            self.count(&own)
        );
        let others = self.counts.iter().filter(|(value, _)| **value != own);
        for (value, count) in others.take(3) {
            text += &format!(", {} has {count}", name(value));
        }
        Some(text)
    }
}

/// What came of looking for nodes.
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    /// The nodes, in the order in which they were chosen, and why.
    pub nodes: Vec<(Candidate<'a>, String)>,
}

/// The best `wanted` of `pool`, beside those of `tally`. `ordered`: the pool comes in the order of
/// its scores, and no further node is looked at than needed.
pub(super) fn grow<'a>(
    wish: &Wish<'a>,
    wanted: usize,
    replicas: usize,
    tally: &mut Tally<'a>,
    pool: impl Iterator<Item = Candidate<'a>>,
    ordered: bool,
) -> Chosen<'a> {
    let mut free = pool.filter(|node| obstacle(wish, node, false).is_none());
    let mut chosen = Chosen::default();
    if wanted == 0 {
        return chosen;
    }
    if ordered {
        for node in free.take(wanted) {
            chosen.nodes.push((node, strategy::why(wish, &node)));
        }
        return chosen;
    }
    let mut groups: BTreeMap<Value<'a>, Vec<(Score, Candidate<'a>)>> = BTreeMap::new();
    free.by_ref().for_each(|node| {
        let group = groups.entry(tally.value(&node)).or_default();
        group.push((Score::of(wish, &node), node));
    });
    for (value, group) in &mut groups {
        // The best one last, where it is taken from.
        group.sort_by(|(a, x), (b, y)| (b, y.name).cmp(&(a, x.name)));
        tally.counts.entry(*value).or_default();
    }
    let mut last = wish.last;
    while chosen.nodes.len() < wanted {
        let best = groups
            .iter()
            .filter_map(|(value, group)| Some((tally.count(value), group.last()?, *value)))
            .min_by_key(|(count, (score, node), _)| (*count, *score, node.name));
        let Some((_, _, value)) = best else {
            break;
        };
        let Some((_, node)) = groups.get_mut(&value).and_then(Vec::pop) else {
            break;
        };
        let turn = Wish { last, ..*wish };
        let mut why = strategy::why(&turn, &node);
        if let Some(said) = tally.said(&node, replicas) {
            why = format!("{said}; {why}");
        }
        tally.add(value);
        last = Some(node.name);
        chosen.nodes.push((node, why));
    }
    chosen
}

/// Which `surplus` of `kept` leave: those that cannot be heard, then those that are closed, then
/// those of the value that has the most, the least preferred, the fullest, the last by name.
pub(super) fn shrink<'a>(
    wish: &Wish<'a>,
    surplus: usize,
    kept: &[Candidate<'a>],
    tally: &mut Tally<'a>,
) -> Vec<&'a Name> {
    let first = |node: &Candidate<'a>| (node.presence != Presence::Online, node.closed.is_some());
    let score = |node: &Candidate<'a>| {
        // Whose turn it would be says nothing of what runs already.
        Score::of(
            &Wish {
                last: None,
                ..*wish
            },
            node,
        )
    };
    let mut all: Vec<_> = kept
        .iter()
        .map(|n| (first(n), score(n), n.name, tally.value(n)))
        .collect();
    // The first one to leave last.
    all.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
    let mut leaving = Vec::new();
    while leaving.len() < surplus
        && let Some(((unheard, closed), _, name, value)) = all.last().copied()
        && (unheard || closed)
    {
        all.pop();
        leaving.push(name);
        if let Some(count) = tally.counts.get_mut(&value) {
            *count = count.saturating_sub(1);
        }
    }
    let mut groups: BTreeMap<Value<'a>, Vec<(Score, &'a Name)>> = BTreeMap::new();
    for (_, score, name, value) in all {
        groups.entry(value).or_default().push((score, name));
    }
    while leaving.len() < surplus {
        let worst = groups
            .iter()
            .filter_map(|(value, group)| Some((tally.count(value), *group.last()?, *value)))
            .max_by_key(|(count, worst, _)| (*count, *worst));
        let Some((_, (_, name), value)) = worst else {
            break;
        };
        groups.get_mut(&value).and_then(Vec::pop);
        if let Some(count) = tally.counts.get_mut(&value) {
            *count = count.saturating_sub(1);
        }
        leaving.push(name);
    }
    leaving
}

/// Why a node that could run it does not, or cannot.
pub(super) fn passed_over<'a>(
    wish: &Wish<'a>,
    node: &Candidate<'a>,
    replicas: usize,
    tally: &Tally<'a>,
) -> (String, Option<Obstacle<'a>>) {
    if let Some(obstacle) = obstacle(wish, node, false) {
        return (obstacle.to_string(), Some(obstacle));
    }
    let said = match tally.said(node, replicas) {
        Some(said) => said,
        None => format!("it has {}", strategy::count(node.taken.instances)),
    };
    (format!("enough others were chosen ({said})"), None)
}
