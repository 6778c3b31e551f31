//! What a node says of its instances.
//!
//! An agent always tells everything ([`Change::StateReported`]), so that a report that is lost costs
//! nothing. The journal keeps only what differs from what was known ([`Change::StateChanged`]): one
//! instance that restarts on a node with twenty is then one in the journal, which spares the disk
//! and makes a start of the controller quicker. Both lead to the same fleet.

use super::{Approval, Change, Effect, Fleet, Refusal, event::emit};
use crate::{
    contract::MAX_INSTANCES,
    model::{EngineFact, Name, ObservedInstance, UnixMs},
};
use std::collections::BTreeMap;

/// Generations that are believed: JSON numbers are exact below 2^53.
const MAX_GENERATION: u64 = 1 << 53;

/// How what a node says differs from what it said before.
pub(super) struct Difference<'a> {
    /// Of the assignment that it obeys.
    pub generation: u64,
    /// New, or not as before; by name.
    pub changed: Vec<&'a ObservedInstance>,
    /// Not there any more.
    pub gone: Vec<Name>,
    /// All of them, where one is not as before.
    pub engines: Option<&'a [EngineFact]>,
}

impl Fleet {
    /// The form of a change in which the journal keeps it, when that is another one than the change
    /// itself. Applied to this fleet, both give the same.
    pub fn kept_as(&self, change: &Change) -> Option<Change> {
        let Change::StateReported {
            node,
            generation,
            instances,
            engines,
        } = change
        else {
            return None;
        };
        let difference = self.difference(node, *generation, instances, engines)?;
        Some(Change::StateChanged {
            node: node.clone(),
            generation: *generation,
            changed: difference.changed.into_iter().cloned().collect(),
            gone: difference.gone,
            engines: difference.engines.map(<[EngineFact]>::to_vec),
        })
    }

    /// `None`: there is no such node.
    fn difference<'a>(
        &self,
        node: &Name,
        generation: u64,
        instances: &'a [ObservedInstance],
        engines: &'a [EngineFact],
    ) -> Option<Difference<'a>> {
        let record = self.nodes.get(node)?;
        // Of one that is named twice, the last counts.
        let now: BTreeMap<&Name, &ObservedInstance> =
            instances.iter().map(|i| (&i.workload, i)).collect();
        let gone = record.observed.keys().filter(|n| !now.contains_key(n));
        let changed = now
            .iter()
            .filter(|(n, i)| record.observed.get(**n) != Some(**i));
        Some(Difference {
            generation,
            changed: changed.map(|(_, i)| *i).collect(),
            gone: gone.cloned().collect(),
            engines: (record.engines != engines).then_some(engines),
        })
    }

    /// A node tells all that it has.
    pub(super) fn report(
        &mut self,
        node: &Name,
        generation: u64,
        instances: &[ObservedInstance],
        engines: &[EngineFact],
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        if instances.len() > MAX_INSTANCES {
            return Err(Refusal::Invalid(format!(
                "{node} reports too many instances"
            )));
        }
        match self.difference(node, generation, instances, engines) {
            Some(difference) => self.take_difference(node, &difference, at),
            None => Err(Refusal::no_node(node)),
        }
    }

    /// What differs from before, told or read from the journal.
    pub(super) fn take_difference(
        &mut self,
        node: &Name,
        difference: &Difference,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        // Where instances go does not depend on how they are: most entries are such reports, and
        // cost the index of placement nothing.
        let record = self.nodes.get_mut_unnoted(node);
        let record = record.filter(|n| n.approval == Approval::Approved);
        let record = record.ok_or_else(|| Refusal::no_node(node))?;
        let generation = difference.generation;
        if difference.changed.is_empty()
            && difference.gone.is_empty()
            && difference.engines.is_none()
            && record.observed_generation == generation
        {
            return Err(Refusal::Unchanged);
        }
        let mut effects = Vec::new();
        for now in &difference.changed {
            let name = &now.workload;
            let before = record.observed.insert(name.clone(), (*now).clone());
            if before.map(|o| o.state) != Some(now.state) {
                let why = now
                    .reason
                    .as_ref()
                    .map(|r| format!(": {r}"))
                    .unwrap_or_default();
                let message = format!("{name} on {node} is {}{why}", now.state);
                let event = emit(at, &format!("instance_{}", now.state), message);
                effects.push(event.about_node(node).about_workload(name).effect());
            }
        }
        for name in &difference.gone {
            if record.observed.remove(name).is_some() {
                let message = format!("{name} was removed from {node}");
                let event = emit(at, "instance_removed", message);
                effects.push(event.about_node(node).about_workload(name).effect());
            }
        }
        if let Some(engines) = difference.engines {
            record.engines = engines.to_vec();
        }
        record.observed_generation = generation;
        record.observed_ms = at;
        // The node obeyed assignments that this fleet does not remember, as after a restore of an
        // older backup. It refuses lower generations, so the next one must be higher.
        if (record.generation + 1..MAX_GENERATION).contains(&generation) {
            record.generation = generation + 1;
            effects.push(Effect::PublishAssignment(node.clone()));
        }
        Ok(effects)
    }
}
