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
use crate::model::{Name, PlacementMode, Presence};
use std::collections::BTreeMap;

/// Value of the `spread` label; a node without the label has none.
pub(super) type Value<'a> = Option<&'a str>;

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

/// Nodes, one after the other.
pub(super) type Nodes<'a> = Box<dyn Iterator<Item = Candidate<'a>> + 'a>;

/// Where nodes are chosen from.
pub(super) enum Pool<'a> {
    /// In whatever order: all must be looked at.
    Any(Nodes<'a>),
    /// In the order of their scores, and nothing is spread: the first ones are the best.
    Best(Nodes<'a>),
    /// By the value of the `spread` label, each in the order of its scores; there may be several
    /// of one value.
    Groups(Vec<(Value<'a>, Nodes<'a>)>),
}

impl<'a> Pool<'a> {
    pub(super) fn all(self) -> Nodes<'a> {
        match self {
            Pool::Any(nodes) | Pool::Best(nodes) => nodes,
            Pool::Groups(groups) => Box::new(groups.into_iter().flat_map(|(_, nodes)| nodes)),
        }
    }
}

/// Nodes of one value, of which only the best one is known yet.
struct Group<'a, 'f> {
    value: Value<'a>,
    best: Option<(Score, Candidate<'a>)>,
    /// The others that are free, the best one first.
    next: Box<dyn FnMut() -> Option<(Score, Candidate<'a>)> + 'f>,
}

/// The best `wanted` of those of `pool` that are `free`, beside those of `tally`. No further node is
/// looked at than needed.
pub(super) fn grow<'a>(
    wish: &Wish<'a>,
    wanted: usize,
    replicas: usize,
    tally: &mut Tally<'a>,
    pool: Pool<'a>,
    free: &dyn Fn(&Candidate<'a>) -> bool,
) -> Chosen<'a> {
    let mut chosen = Chosen::default();
    if wanted == 0 {
        return chosen;
    }
    let may = |node: &Candidate<'a>| free(node) && obstacle(wish, node, false).is_none();
    let mut last = wish.last;
    let groups: Vec<Group<'a, '_>> = match pool {
        Pool::Best(nodes) => {
            for node in nodes.filter(may).take(wanted) {
                let turn = Wish { last, ..*wish };
                chosen.nodes.push((node, strategy::why(&turn, &node)));
                last = Some(node.name);
            }
            return chosen;
        }
        Pool::Any(nodes) => {
            let mut groups: BTreeMap<Value<'a>, Vec<(Score, Candidate<'a>)>> = BTreeMap::new();
            for node in nodes.filter(may) {
                let group = groups.entry(tally.value(&node)).or_default();
                group.push((Score::of(wish, &node), node));
            }
            let sorted = groups.into_iter().map(|(value, mut group)| {
                group.sort_by(|(a, x), (b, y)| (a, x.name).cmp(&(b, y.name)));
                let mut group = group.into_iter();
                Group::of(value, move || group.next())
            });
            sorted.collect()
        }
        Pool::Groups(groups) => {
            let lazy = groups.into_iter().map(|(value, mut nodes)| {
                Group::of(value, move || {
                    let node = nodes.find(&may)?;
                    Some((Score::of(wish, &node), node))
                })
            });
            lazy.collect()
        }
    };
    take_turns(wish, wanted, replicas, tally, groups, last)
}

impl<'a, 'f> Group<'a, 'f> {
    fn of(
        value: Value<'a>,
        mut next: impl FnMut() -> Option<(Score, Candidate<'a>)> + 'f,
    ) -> Group<'a, 'f> {
        Group {
            value,
            best: next(),
            next: Box::new(next),
        }
    }
}

/// The group with the fewest replicas gives the next one, of those the best.
fn take_turns<'a>(
    wish: &Wish<'a>,
    wanted: usize,
    replicas: usize,
    tally: &mut Tally<'a>,
    mut groups: Vec<Group<'a, '_>>,
    mut last: Option<&'a Name>,
) -> Chosen<'a> {
    let mut chosen = Chosen::default();
    groups.retain(|group| group.best.is_some());
    for group in &groups {
        tally.counts.entry(group.value).or_default();
    }
    while chosen.nodes.len() < wanted {
        let best = groups
            .iter_mut()
            .filter_map(|group| {
                let (score, node) = group.best?;
                Some((tally.count(&group.value), score, node.name, group))
            })
            .min_by_key(|(count, score, name, _)| (*count, *score, *name));
        let Some((_, _, _, group)) = best else {
            break;
        };
        let Some((_, node)) = group.best.take() else {
            break;
        };
        group.best = (group.next)();
        let value = group.value;
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

/// Nobody wants one.
pub(super) const NONE_ASKED: &str = "no replica is asked for (replicas = 0)";

/// Why a node that could run it does not, or cannot.
pub(super) fn passed_over<'a>(
    wish: &Wish<'a>,
    node: &Candidate<'a>,
    replicas: usize,
    tally: &Tally<'a>,
) -> (String, Option<Obstacle<'a>>) {
    if wish.workload.placement.mode == (PlacementMode::Any { replicas: 0 }) {
        return (NONE_ASKED.to_owned(), None);
    }
    if let Some(obstacle) = obstacle(wish, node, false) {
        return (obstacle.to_string(), Some(obstacle));
    }
    let said = match tally.said(node, replicas) {
        Some(said) => said,
        None => format!("it has {}", strategy::count(node.taken.instances)),
    };
    (format!("enough others were chosen ({said})"), None)
}
