//! Which nodes change next: as many as may at the same time, in the order that the manifest asks
//! for, and none that would take too much of its group away.

use super::super::{NodeRecord, WorkloadRecord};
use super::{Rollout, Step, StepState, judge::serves, say::list};
use crate::{
    model::{Budget, Name, Presence, Update},
    planted::{self, Bug},
};
use std::collections::BTreeMap;

/// Who changes now.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In this order.
    pub nodes: Vec<Name>,
    /// Nodes that could be changed and are not, for the sake of a budget: why, of the first one.
    pub held_back: Option<String>,
}

/// Where a node comes in the sequence: numbers in their order, then text, then those without the
/// label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Number(i64, &'a str),
    Text(&'a str),
    Last,
}

fn place<'a>(node: &'a NodeRecord, sequence: Option<&str>) -> Place<'a> {
    match sequence.and_then(|key| property(node, key)) {
        None => Place::Last,
        Some(text) => match text.parse() {
            Ok(number) => Place::Number(number, text),
            Err(_) => Place::Text(text),
        },
    }
}

/// A label or a capability, without a copy of all of them.
fn property<'a>(node: &'a NodeRecord, key: &str) -> Option<&'a str> {
    let facts = node.facts.as_ref();
    let found = facts
        .and_then(|f| f.capabilities.get(key))
        .or_else(|| node.labels.get(key))
        .or_else(|| facts.and_then(|f| f.labels.get(key)));
    found.map(String::as_str)
}

/// At most `most` nodes of those that wait and can be heard. `canary`: those that are healthy
/// first, so that what becomes of them tells something about the new version; in later batches
/// those that are not, since they have nothing to lose.
pub(super) fn choose(
    nodes: &BTreeMap<Name, NodeRecord>,
    record: &WorkloadRecord,
    rollout: &Rollout,
    update: &Update,
    most: usize,
    canary: bool,
) -> Batch {
    let mut batch = Batch::default();
    if most == 0 {
        return batch;
    }
    let workload = &record.spec.name;
    let sequence = update.sequence.as_deref();
    let online = rollout.steps.iter().filter_map(|(name, step)| {
        let node = nodes.get(name)?;
        let open = matches!(
            step.state,
            StepState::Waiting | StepState::Changing | StepState::Returning
        );
        let open = open && record.placed.contains(name);
        (open && node.presence == Presence::Online).then_some((name, step, node))
    });
    let mut waiting: Vec<(Place<'_>, bool, &Name, &NodeRecord)> = Vec::new();
    let mut first: Option<Place<'_>> = None;
    for (name, step, node) in online {
        let at = place(node, sequence);
        if first.as_ref().is_none_or(|f| at < *f) {
            first = Some(at.clone());
        }
        if step.state == StepState::Waiting {
            let serves = serves(node, workload);
            // `false` comes first.
            waiting.push((at, serves != canary, name, node));
        }
    }
    if !canary && sequence.is_some() {
        waiting.retain(|(at, ..)| Some(at) == first.as_ref());
    }
    waiting.sort_by(|a, b| (&a.0, a.1, a.2).cmp(&(&b.0, b.1, b.2)));
    let mut groups = update
        .budget
        .as_ref()
        .filter(|_| !planted::is(Bug::IgnoresTheBudget))
        .map(|budget| Groups::of(nodes, record, &rollout.steps, budget));
    for (_, _, name, node) in waiting {
        if batch.nodes.len() >= most {
            break;
        }
        match groups
            .as_mut()
            .map_or(Ok(()), |g| g.take(name, node, serves(node, workload)))
        {
            Ok(()) => batch.nodes.push(name.clone()),
            Err(why) => batch.held_back = batch.held_back.or(Some(why)),
        }
    }
    batch
}

/// How many of each group are without a healthy instance.
struct Groups<'a> {
    budget: &'a Budget,
    /// Of each value: nodes, and those of them that are without one.
    by_value: BTreeMap<Option<&'a str>, (usize, Vec<Name>)>,
}

impl<'a> Groups<'a> {
    fn of(
        nodes: &'a BTreeMap<Name, NodeRecord>,
        record: &WorkloadRecord,
        steps: &BTreeMap<Name, Step>,
        budget: &'a Budget,
    ) -> Groups<'a> {
        let mut by_value: BTreeMap<_, (usize, Vec<Name>)> = BTreeMap::new();
        // Also those that have joined after the end of a rollout that some still go back of.
        for name in &record.placed {
            let Some(node) = nodes.get(name) else {
                continue;
            };
            let group = by_value.entry(property(node, &budget.label)).or_default();
            group.0 += 1;
            // One that was told to change is as good as gone, whatever it said last.
            let told = steps.get(name).is_some_and(|step| {
                matches!(
                    step.state,
                    StepState::Changing | StepState::Failed | StepState::Returning
                )
            });
            if told || !serves(node, &record.spec.name) {
                group.1.push(name.clone());
            }
        }
        Groups { budget, by_value }
    }

    /// One more node changes. One that does not serve takes nothing more away.
    fn take(&mut self, name: &Name, node: &'a NodeRecord, serves: bool) -> Result<(), String> {
        let value = property(node, &self.budget.label);
        let (all, without) = self.by_value.entry(value).or_default();
        let most = self.budget.max_unavailable.of(*all);
        if !serves {
            return Ok(());
        }
        if without.len() + 1 > most {
            let label = &self.budget.label;
            let group = match value {
                Some(value) => format!("{label}={value}"),
                None => format!("the nodes without {label}"),
            };
            let named = match without.is_empty() {
                true => String::new(),
                false => format!(" ({})", list(without)),
            };
            return Err(format!(
                "{} of {all} in {group} are without a healthy instance{named}, {most} may be",
                without.len()
            ));
        }
        without.push(name.clone());
        Ok(())
    }
}
