//! `depends_on`, over the whole fleet: nothing may wait for itself, or for what there is not.

use super::{Fleet, Refusal};
use crate::model::{Name, Workload, cycle};
use std::collections::BTreeMap;

impl Fleet {
    /// The same for an apply of `workloads` that takes `names` away.
    pub(crate) fn check_removed(
        &self,
        names: &[Name],
        workloads: &[Workload],
    ) -> Result<(), Refusal> {
        let replaced: Vec<Name> = workloads.iter().map(|w| w.name.clone()).collect();
        self.check_removal(names, &replaced)
    }

    /// Refuses to take `names` away while something else waits for one of them. `replaced` is
    /// applied in the same moment, and was checked by itself.
    pub(super) fn check_removal(&self, names: &[Name], replaced: &[Name]) -> Result<(), Refusal> {
        let stays = |n: &&Name| !names.contains(n) && !replaced.contains(n);
        for (name, record) in self.workloads.iter().filter(|(n, _)| stays(n)) {
            if let Some(needed) = names
                .iter()
                .find(|n| record.spec.depends_on.contains_key(*n))
            {
                return Err(Refusal::Invalid(format!(
                    "{name} depends on {needed}: remove both together, or change {name} first"
                )));
            }
        }
        Ok(())
    }

    /// Refuses an apply of `workloads` after which something would wait for what is not in the
    /// fleet, or a circle of them for each other; or could never be placed.
    pub(crate) fn check_order(
        &self,
        workloads: &[Workload],
        removed: &[Name],
    ) -> Result<(), Refusal> {
        self.check_neighbours(workloads, removed)?;
        if workloads.iter().all(|w| w.depends_on.is_empty()) {
            return Ok(());
        }
        let known = self.workloads.values().map(|r| &*r.spec);
        let known = known.filter(|w| !removed.contains(&w.name));
        // The later of two with one name counts: what is applied.
        let after: BTreeMap<&Name, &Workload> =
            known.chain(workloads).map(|w| (&w.name, w)).collect();
        for workload in workloads {
            let missing = |n: &&Name| !after.contains_key(*n);
            if let Some(other) = workload.depends_on.keys().find(missing) {
                return Err(Refusal::Invalid(format!(
                    "{} depends on {other}, which is not in the fleet: apply both together",
                    workload.name
                )));
            }
        }
        let graph: BTreeMap<Name, Vec<Name>> = after
            .into_iter()
            .map(|(name, w)| (name.clone(), w.depends_on.keys().cloned().collect()))
            .collect();
        match cycle(&graph) {
            None => Ok(()),
            Some(names) => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                Err(Refusal::Invalid(format!(
                    "these wait for each other, so that none would ever start: {}",
                    names.join(" → ")
                )))
            }
        }
    }
}
