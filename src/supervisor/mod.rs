//! The agent's state machine: pure, one small machine per instance.
//!
//! ```text
//!                      ┌──────────────── engine lost ───► unknown ── listed ──┐
//!                      │                                                      ▼
//!  assigned ► pending ─┴► pulling ► starting ──► running ──(exit)──► decided by policy
//!                ▲           │         │            │                 │    │     │
//!                │           └─ fails ─┴─► backoff ◄┼─────────────────┘    │     │
//!                │                           │      │              completed   failed
//!                └──────── time is up ───────┘      │ stop asked for,
//!                                                   ▼ or another spec is wanted
//!                                     (prepare new) ► stopping ► stopped ► (removed) ► pending
//! ```
//!
//! [`Supervisor::step`] takes one [`Input`] and gives the [`Action`]s that follow. Each instance
//! has at most one operation under way; its outcome comes back as an input. Nothing here knows a
//! clock, a file, a socket or randomness: time comes in with each input, and the jitter of delays
//! comes from a seed.
//!
//! Rules that hold whatever happens:
//! - what runs with the wanted spec is never touched: not by a restart of the agent, not by a
//!   reconnect, not by a new generation;
//! - a replacement begins by fetching what it needs; when that fails the old one goes on;
//! - an instance that fails slows down itself alone;
//! - while a runtime cannot be reached its instances are `unknown`, and nothing is done to them.

mod backoff;
mod decide;
mod input;
mod instance;
mod observe;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use input::{Action, Input, LocalOrder, Now, OpOutcome, OperationId};

use crate::model::{Assignment, Name, RuntimeKind};
use instance::Instance;
use std::collections::{BTreeMap, BTreeSet};

/// Decides what an agent does with its instances.
#[derive(Debug)]
pub struct Supervisor {
    node: Name,
    generation: u64,
    /// An assignment is known; before, nothing that is found is touched.
    assigned: bool,
    instances: BTreeMap<Name, Instance>,
    /// Which runtimes this node has, and whether their instances are known.
    runtimes: BTreeMap<RuntimeKind, Runtime>,
    /// Restarts that were carried out, by workload: what must outlive the agent.
    restarts_done: BTreeMap<Name, u64>,
    next_operation: OperationId,
    random: Backoff,
    /// Something that is reported has changed since it was reported last.
    changed: bool,
}

/// What is known of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Runtime {
    /// Its instances have not been listed yet.
    Unlisted,
    /// They have.
    Listed,
    /// It cannot be reached, and why.
    Lost(String),
}

impl Supervisor {
    /// A supervisor that knows nothing of instances yet. `restarts_done` is what
    /// [`Action::Remember`] told last; `seed` feeds the jitter.
    pub fn new(
        node: Name,
        runtimes: &BTreeSet<RuntimeKind>,
        restarts_done: BTreeMap<Name, u64>,
        seed: u64,
    ) -> Supervisor {
        Supervisor {
            node,
            generation: 0,
            assigned: false,
            instances: BTreeMap::new(),
            runtimes: runtimes.iter().map(|r| (*r, Runtime::Unlisted)).collect(),
            restarts_done,
            next_operation: 1,
            random: Backoff::new(seed),
            changed: true,
        }
    }

    /// Takes one input; what must be done now.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Assigned(assignment) => self.assign(now, assignment, &mut actions),
            Input::RuntimeFound(runtime) => {
                self.runtimes.entry(runtime).or_insert(Runtime::Unlisted);
            }
            Input::Listed { runtime, found } => self.listed(now, runtime, found),
            Input::Observed { runtime, found } => self.observed(now, runtime, found),
            Input::Gone { runtime, handle } => self.gone(runtime, &handle),
            Input::RuntimeLost { runtime, reason } => self.lost(runtime, reason),
            Input::Progressed {
                operation,
                progress,
            } => self.progressed(now, operation, progress),
            Input::Finished { operation, outcome } => {
                self.finished(now, operation, outcome, &mut actions);
            }
            Input::Ordered {
                id,
                workload,
                order,
            } => {
                self.ordered(id, workload, order, &mut actions);
            }
            Input::Tick => {}
        }
        self.decide_all(now, &mut actions);
        if std::mem::take(&mut self.changed) {
            actions.push(Action::Report);
        }
        actions
    }

    /// When [`Input::Tick`] is due, in the milliseconds of [`Now::mono_ms`].
    pub fn next_deadline(&self) -> Option<u64> {
        self.instances.values().filter_map(Instance::deadline).min()
    }

    /// Generation of the assignment in effect; 0 when there is none.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The observed state of every instance, by name.
    pub fn observed_instances(&self) -> Vec<crate::model::ObservedInstance> {
        self.instances.values().map(Instance::report).collect()
    }

    /// Where an instance is: its runtime and handle.
    pub fn locate(&self, workload: &str) -> Option<(RuntimeKind, String)> {
        let instance = self.instances.get(workload)?;
        instance
            .current
            .as_ref()
            .map(|c| (c.runtime, c.handle.clone()))
    }

    fn assign(&mut self, now: Now, assignment: Assignment, actions: &mut Vec<Action>) {
        if self.assigned && assignment.generation < self.generation {
            return;
        }
        self.assigned = true;
        self.changed |= self.generation != assignment.generation;
        self.generation = assignment.generation;
        let mut wanted: BTreeMap<Name, _> = assignment
            .instances
            .into_iter()
            .map(|i| (i.workload.name.clone(), i))
            .collect();
        for (name, instance) in &mut self.instances {
            match wanted.remove(name) {
                Some(assigned) => instance.assign(assigned),
                None => instance.unassign(),
            }
        }
        for (name, assigned) in wanted {
            let mut instance = Instance::new(now, name.clone());
            instance.assign(assigned);
            self.instances.insert(name, instance);
        }
        let stale: Vec<Name> = self
            .restarts_done
            .keys()
            .filter(|name| {
                self.instances
                    .get(*name)
                    .is_none_or(|i| i.assigned.is_none())
            })
            .cloned()
            .collect();
        if !stale.is_empty() {
            for name in stale {
                self.restarts_done.remove(&name);
            }
            actions.push(Action::Remember {
                restarts_done: self.restarts_done.clone(),
            });
        }
    }

    fn ordered(
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
    }
}
