//! `with` and `apart`, over the whole fleet: nobody may have to be with two that shun each other.

use super::{Fleet, Refusal};
use crate::{
    contract::MAX_INSTANCES,
    model::{Name, Workload},
};
use std::collections::{BTreeMap, BTreeSet};

impl Fleet {
    /// Refuses an apply of `workloads` after which one of them, or one that has to do with them,
    /// could never run on any node.
    pub(super) fn check_neighbours(
        &self,
        workloads: &[Workload],
        removed: &[Name],
    ) -> Result<(), Refusal> {
        let says = |w: &Workload| !w.placement.with.is_empty() || !w.placement.apart.is_empty();
        if !workloads.iter().any(says) {
            return Ok(());
        }
        let known = self.workloads.values().map(|r| &*r.spec);
        let known = known.filter(|w| !removed.contains(&w.name));
        // The later of two with one name counts: what is applied.
        let after: BTreeMap<&Name, &Workload> =
            known.chain(workloads).map(|w| (&w.name, w)).collect();
        let applied: BTreeSet<&Name> = workloads.iter().map(|w| &w.name).collect();
        let bound = after.values().filter(|w| !w.placement.with.is_empty());
        for workload in bound {
            let together = together(&after, workload);
            // What was so before is nobody's fault now.
            if !together.iter().any(|n| applied.contains(n)) {
                continue;
            }
            if let Some((one, other)) = shunning(&after, &together) {
                return Err(Refusal::Invalid(never(&workload.name, one, other)));
            }
        }
        Ok(())
    }
}

/// The workload and all that must be on its nodes, because it or one of these says so. More than a
/// node has room for would never run either, and need not be looked at.
fn together<'a>(
    all: &BTreeMap<&'a Name, &'a Workload>,
    workload: &'a Workload,
) -> BTreeSet<&'a Name> {
    let mut found = BTreeSet::from([&workload.name]);
    let mut next = vec![workload];
    while let Some(one) = next.pop() {
        for name in &one.placement.with {
            if found.len() < MAX_INSTANCES && found.insert(name) {
                next.extend(all.get(name).copied());
            }
        }
    }
    found
}

/// Of those that must be together the first one that must not be, and with whom.
fn shunning<'a>(
    all: &BTreeMap<&'a Name, &'a Workload>,
    together: &BTreeSet<&'a Name>,
) -> Option<(&'a Name, &'a Name)> {
    together.iter().find_map(|name| {
        let workload = all.get(*name)?;
        let mut apart = workload.placement.apart.iter();
        let other = apart.find(|other| *other != *name && together.contains(other))?;
        Some((*name, other))
    })
}

/// `one` does not want `other` beside it.
fn never(name: &Name, one: &Name, other: &Name) -> String {
    let with = match (name == one, name == other) {
        (true, _) => other.to_string(),
        (_, true) => one.to_string(),
        _ => format!("{one} and {other}"),
    };
    format!(
        "{name} could never run: it must be on the same node as {with}, and {one} must not be on \
         the same node as {other}; change `with` of {name} or `apart` of {one}"
    )
}
