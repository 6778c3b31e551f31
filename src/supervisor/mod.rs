//! The agent's state machine: pure, one small machine per instance.
//!
//! ```text
//!              ┌─────────────────── engine lost ───► unknown ─── listed ───┐
//!              │                                                           ▼
//!  assigned ► pending ──► pulling ► starting ─────────► running ◄─► unhealthy
//!              │  ▲ ▲        │         │                 │ │ │ (reported only)
//!    waits for │  │ │        └─ fails ─┤   exit, timeout,│ │ │
//!    another,  └──┘ │                  │   unhealthy     │ │ │ stop or restart asked for, another
//!    its engine     │                  ▼                 │ │ │ spec wanted, time for the next run
//!                   │     ┌── third in a row ──┐         │ │ └──► (before_stop) stopping
//!                   │   backoff           crashloop ◄────┘ │             │
//!                   │     └──── the delay is over ──┘      │             ▼
//!                   └──────────────────────┘      decided by mode     stopped
//!                                                     │                  │
//!            ┌────────────────────────────────────────┤                  └► (removed) ► pending
//!            ▼                  ▼            ▼        ▼
//!   scheduled ─ its time ─► starting     completed  failed
//!
//!  another spec, with a guard:  on trial ──► passed
//!                                  └───────► failed: the fallback is the wanted spec now
//! ```
//!
//! [`Supervisor::step`] takes one [`Input`] and gives the [`Action`]s that follow. Each instance
//! has at most one operation under way; its outcome comes back as an input. Nothing here knows a
//! clock, a file, a socket or randomness: time comes in with each input, and the jitter of delays
//! comes from a seed.
//!
//! A step is: take the input ([`assign`], [`observe`], [`finish`]), look at the clocks and at the
//! health of what runs ([`attend`]), decide for each instance ([`decide`]), and put what must be on
//! the disk before everything else ([`Action::Remember`]).
//!
//! | module | one idea |
//! |---|---|
//! | [`decide`] | the arrows of the diagram, in the order in which they are asked |
//! | [`policy`] | what should run and does not: what its end means, whether it starts again |
//! | [`replace`] | another spec is wanted: fetch, stop, remove, launch |
//! | [`trial`] | whether a guarded change works, and the way back where it does not |
//! | [`ahead`] | what will be wanted later is fetched now |
//! | [`runs`], [`timetable`] | runs by the clock, or so many times; a clock that jumps |
//! | [`health`] | when to ask whether it works, and what the answers come to |
//! | [`order`] | who waits for whom, at the start and at the stop |
//! | [`backoff`] | delays and rows of failures |
//! | [`unstored`] | the disk is full: what goes on all the same |
//! | [`begin`], [`finish`] | an operation begins, and ends |
//! | [`instance`], [`report`], [`sentence`] | what is known of an instance, and what is said of it |
//!
//! Rules that hold whatever happens:
//! - what runs with the wanted spec is never touched: not by a restart of the agent, not by a
//!   reconnect, not by a new generation. Run mode, policy, health check, order, hooks, and files
//!   that it takes by a signal change in place;
//! - a replacement begins by fetching what it needs; when that fails the old one goes on. A run
//!   that has an end is not cut short for it;
//! - a guarded change is judged here and nowhere else: what does not become healthy in time goes
//!   back to the version before, also when nobody can be reached, over restarts of the agent and of
//!   the board, and is not tried again before something else was assigned. A fetch that fails, a
//!   stop on purpose and an engine that is away are not held against it;
//! - an instance that fails slows down itself alone: its delay grows, from the third failure in a
//!   row it is a crash loop, and a stable run ends the row;
//! - a run that counts is counted on the disk before it begins: never one too many, whenever the
//!   agent is killed. A clock that jumps, however far, makes at most one run;
//! - nothing that was found running is restarted for its health before a whole row of new failures;
//! - what runs already waits for nobody; what is to start waits for what it depends on, and what is
//!   to stop for those that depend on it, no longer than their own stop may take;
//! - the disk is written only when what must outlive the agent has changed;
//! - a look that began before an operation ended says nothing of what that operation left: answers
//!   come late on a loaded board, and a container that was seen before its start is not to be
//!   started twice. It is looked at again;
//! - while a runtime cannot be reached its instances are `unknown`, and nothing is done to them.

mod ahead;
mod assign;
mod attend;
mod backoff;
mod begin;
mod decide;
mod finish;
mod health;
mod input;
mod instance;
mod observe;
mod order;
mod policy;
mod replace;
mod report;
mod runs;
mod sentence;
#[cfg(test)]
mod tests;
mod timetable;
mod trial;
mod unstored;

pub use backoff::Backoff;
pub use input::{
    Action, Held, Input, LocalOrder, Memory, Moment, Now, OpOutcome, OperationId, RunRecord,
    TrialRecord,
};
pub use unstored::Unstored;

use crate::{
    model::{HealthStatus, InstanceState, Name, RuntimeKind, TraceContext},
    planted::{self, Bug},
};
use instance::{Instance, OperationKind};
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
    /// What must outlive the agent.
    memory: Memory,
    /// It has changed since it was told last.
    remember: bool,
    /// What of it the disk has.
    stored: Memory,
    /// What was told last; on the disk by the next step, unless that is said not to be so.
    told: Option<Memory>,
    /// The disk did not take what was told last.
    unstored: bool,
    next_operation: OperationId,
    /// The last in the order of looks and ends of operations.
    moment: Moment,
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
    /// It cannot be reached.
    Lost {
        /// One sentence.
        why: String,
        /// A look that began earlier does not tell how it is now.
        at: Moment,
    },
}

impl Supervisor {
    /// A supervisor that knows nothing of instances yet. `memory` is what [`Action::Remember`] told
    /// last; `seed` feeds the jitter.
    pub fn new(
        node: Name,
        runtimes: &BTreeSet<RuntimeKind>,
        memory: Memory,
        seed: u64,
    ) -> Supervisor {
        Supervisor {
            node,
            generation: 0,
            assigned: false,
            instances: BTreeMap::new(),
            runtimes: runtimes.iter().map(|r| (*r, Runtime::Unlisted)).collect(),
            stored: memory.clone(),
            told: None,
            unstored: false,
            memory,
            remember: false,
            next_operation: 1,
            moment: 0,
            random: Backoff::new(seed),
            changed: true,
        }
    }

    /// Takes one input; what must be done now, in this order.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        if let Some(told) = self.told.take() {
            self.stored = told;
        }
        let listed = matches!(input, Input::Listed { .. });
        let mut actions = Vec::new();
        self.take(now, input, &mut actions);
        self.attend(now, &mut actions);
        self.decide_all(now, &mut actions);
        if self.judge_trials(now, &mut actions) {
            // Another spec is wanted than a moment ago; without a guard, so this is the last time.
            self.decide_all(now, &mut actions);
        }
        self.keep_trials();
        self.try_again_to_remember(listed, &actions);
        if let Some(remember) = self.remember() {
            let late = planted::is(Bug::RemembersTooLate);
            actions.insert(if late { actions.len() } else { 0 }, remember);
        }
        if std::mem::take(&mut self.changed) {
            actions.push(Action::Report);
        }
        actions
    }

    fn take(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Assigned(assignment) => self.assign(now, assignment, actions),
            Input::RuntimeFound(runtime) => {
                self.runtimes.entry(runtime).or_insert(Runtime::Unlisted);
            }
            Input::Listed {
                runtime,
                as_of,
                found,
            } => self.listed(now, runtime, as_of, found, actions),
            Input::Observed {
                runtime,
                as_of,
                found,
            } => self.observed(now, runtime, as_of, found, actions),
            Input::Gone { runtime, handle } => self.gone(runtime, &handle),
            Input::RuntimeLost { runtime, reason } => self.lost(now, runtime, reason),
            Input::Progressed {
                operation,
                progress,
            } => self.progressed(now, operation, progress),
            Input::Finished { operation, outcome } => {
                self.finished(now, operation, outcome, actions);
            }
            Input::Probed { probe, result } => self.probed(now, probe, result, actions),
            Input::LastOutput {
                runtime,
                handle,
                lines,
            } => self.last_output(runtime, &handle, &lines),
            Input::Ordered {
                id,
                workload,
                order,
            } => {
                self.ordered(id, workload, order, actions);
            }
            Input::Tick => {}
        }
    }

    /// To be called when a look at a runtime, or at one of its instances, begins; its answer says
    /// with this as of when it is.
    pub fn begin_look(&mut self) -> Moment {
        self.moment += 1;
        self.moment
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

    /// The request that what is assigned of this workload comes from.
    pub fn trace_of(&self, workload: &str) -> Option<TraceContext> {
        self.instances.get(workload)?.assigned.as_ref()?.trace
    }

    /// Which workload an operation under way is about; `None` for what is fetched ahead.
    pub fn workload_of(&self, operation: OperationId) -> Option<&Name> {
        let about = |i: &&Instance| i.operation.as_ref().is_some_and(|o| o.id == operation);
        self.instances.values().find(about).map(|i| &i.name)
    }

    /// How an instance is, as it is reported.
    pub fn state_of(&self, workload: &str) -> Option<(InstanceState, Option<HealthStatus>)> {
        let instance = self.instances.get(workload)?;
        let health = instance.monitor.as_ref().map(|m| m.status().0);
        Some((instance.state, health))
    }

    /// Where an instance is: its runtime and handle.
    pub fn locate(&self, workload: &str) -> Option<(RuntimeKind, String)> {
        let instance = self.instances.get(workload)?;
        instance
            .current
            .as_ref()
            .map(|c| (c.runtime, c.handle.clone()))
    }

    /// Nothing runs, as far as is known, and nothing is being started or stopped: for a shutdown
    /// in order.
    pub fn all_stopped(&self) -> bool {
        let busy = |i: &Instance| {
            let kind = i.operation.as_ref().map(|o| o.kind);
            i.is_running() || kind.is_some_and(|k| k != OperationKind::Prepare)
        };
        !self.instances.values().any(busy)
    }
}
