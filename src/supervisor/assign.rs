//! What is assigned to the node and what people order on it, and what of that must be remembered.

use super::{Action, Held, LocalOrder, Now, RunRecord, Supervisor, instance::Instance};
use crate::{
    model::{AssignedInstance, Assignment, Desired, Name},
    planted::{self, Bug},
};
use std::collections::BTreeMap;

impl Supervisor {
    pub(super) fn assign(&mut self, now: Now, assignment: Assignment, actions: &mut Vec<Action>) {
        let obeys = planted::is(Bug::ObeysOlderGenerations);
        if self.assigned && assignment.generation < self.generation && !obeys {
            return;
        }
        let first = !std::mem::replace(&mut self.assigned, true);
        self.changed |= self.generation != assignment.generation;
        self.generation = assignment.generation;
        let mut wanted: BTreeMap<Name, AssignedInstance> = assignment
            .instances
            .into_iter()
            .map(|i| (i.workload.name.clone(), i))
            .collect();
        for name in wanted.keys() {
            if !self.instances.contains_key(name) {
                let instance = Instance::new(now, name.clone());
                self.instances.insert(name.clone(), instance);
                self.changed = true;
            }
        }
        for (name, instance) in &mut self.instances {
            match wanted.remove(name) {
                Some(mut assigned) => {
                    let held = self.memory.held.get(name);
                    let held = held.filter(|h| h.assignment == key(&assigned));
                    let held = held.map(|h| h.desired);
                    let next = assigned.next.take();
                    let runs = held.unwrap_or(assigned.desired) == Desired::Running;
                    let stored = self.memory.trials.get(name);
                    let wanted = instance.guarded(now, assigned, stored, runs, actions);
                    instance.assign(wanted, held, self.memory.runs.get(name));
                    instance.set_ahead(next, actions);
                }
                None if planted::is(Bug::KeepsWhatIsNotAssigned) => {}
                None => {
                    instance.unassign();
                    instance.set_ahead(None, actions);
                }
            }
        }
        self.forget_stale(first);
    }

    /// What is remembered of workloads that are not assigned, or not as they were, is of no use.
    ///
    /// `first`: the assignment is that of the disk, perhaps an older one than that whose runs were
    /// counted before the agent was killed. They are not forgotten for it.
    fn forget_stale(&mut self, first: bool) {
        let instances = &self.instances;
        let assigned = |name: &Name| instances.get(name).filter(|i| i.assigned.is_some());
        let memory = &mut self.memory;
        let before = (
            memory.restarts_done.len(),
            memory.held.len(),
            memory.runs.len(),
            memory.trials.len(),
        );
        memory
            .restarts_done
            .retain(|name, _| assigned(name).is_some());
        memory
            .held
            .retain(|name, _| assigned(name).is_some_and(|i| i.held.is_some()));
        memory.runs.retain(|name, record| {
            first
                || assigned(name)
                    .is_some_and(|i| i.runs.counts() && i.runs.record.mode == record.mode)
        });
        memory.trials.retain(|name, record| {
            let trial = assigned(name).and_then(|i| i.trial.as_ref());
            first || trial.is_some_and(|t| t.hash == record.spec_hash)
        });
        let after = (
            memory.restarts_done.len(),
            memory.held.len(),
            memory.runs.len(),
            memory.trials.len(),
        );
        self.remember |= before != after;
    }

    /// The runs of a workload have come so far.
    pub(super) fn remember_runs(&mut self, name: &Name, record: RunRecord) {
        if self.memory.runs.get(name) != Some(&record) {
            self.memory.runs.insert(name.clone(), record);
            self.remember = true;
        }
    }

    /// What must be on the disk before anything else of this step is done. It is written only when
    /// it has changed, and then with what is counted in memory alone.
    pub(super) fn remember(&mut self) -> Option<Action> {
        if !std::mem::take(&mut self.remember) {
            return None;
        }
        let counted = self.instances.values().filter(|i| i.runs.counts());
        for instance in counted {
            let record = instance.runs.record.clone();
            self.memory.runs.insert(instance.name.clone(), record);
        }
        self.told = Some(self.memory.clone());
        self.unstored = false;
        Some(Action::Remember(self.memory.clone()))
    }

    pub(super) fn ordered(
        &mut self,
        id: String,
        workload: Name,
        order: LocalOrder,
        actions: &mut Vec<Action>,
    ) {
        let refuse = |message: String| Action::Answer {
            id: id.clone(),
            result: Err(message),
        };
        let Some(instance) = self.instances.get_mut(&workload) else {
            actions.push(refuse(format!("{workload} is not on {}", self.node)));
            return;
        };
        if order == LocalOrder::Remove && instance.assigned.is_some() {
            actions.push(refuse(format!(
                "{workload} is assigned to {}; take it away with `fleetctl rm {workload}`",
                self.node
            )));
            return;
        }
        if order != LocalOrder::Remove && instance.assigned.is_none() {
            actions.push(refuse(format!(
                "{workload} is being removed from {}",
                self.node
            )));
            return;
        }
        instance.order(id, order);
        let held = instance.assigned.as_ref().zip(instance.held);
        let held = held.map(|(assigned, desired)| Held {
            desired,
            assignment: key_of(
                instance.offered_hash().unwrap_or_default(),
                assigned.desired,
                assigned.restart_count,
            ),
        });
        if self.memory.held.get(&workload) != held.as_ref() {
            match held {
                Some(held) => self.memory.held.insert(workload, held),
                None => self.memory.held.remove(&workload),
            };
            self.remember = true;
        }
    }
}

/// A person's order holds as long as this stays the same.
fn key(assigned: &AssignedInstance) -> String {
    let spec_hash = assigned.workload.spec_hash();
    key_of(&spec_hash, assigned.desired, assigned.restart_count)
}

fn key_of(spec_hash: &str, desired: Desired, restart_count: u64) -> String {
    let desired = match desired {
        Desired::Running => "running",
        Desired::Stopped => "stopped",
    };
    format!("{spec_hash}/{desired}/{restart_count}")
}
