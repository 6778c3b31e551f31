//! Once faults stop: the fleet comes right by itself within bounded time, what was poisoned is
//! nowhere where it was guarded against, and then everything rests.
//!
//! First by itself alone. What people left in a state that needs them (a poisoned version without a
//! guard, a rollout that waits for them) is then cleaned up, and everything must be exactly as
//! assigned.

use super::{
    program::Program,
    world::{NodeId, World},
};
use fleetctl::{
    fleet::{Fleet, RolloutPhase, WorkloadRecord},
    model::{AssignedInstance, Assignment, Desired, Presence, RunMode},
};

/// Virtual time in which it must have come right; and so much more for each node, since some
/// rollouts go from one to the next.
const BOUND_MS: u64 = 30 * 60_000;
const BOUND_OF_NODE_MS: u64 = 60_000;
const LOOK_EVERY_MS: u64 = 5_000;
/// Then nothing may be said for so long.
const REST_MS: u64 = 5 * 60_000;
const WINDOWS: u32 = 6;

const CONVERGES: &str = "it converges once faults stop";

impl World {
    /// Everything that must be so in the end.
    pub fn settle(&mut self) {
        self.log("sim", format_args!("faults stop"));
        self.heal_everything();
        if !self.comes_right(false) {
            return;
        }
        self.check_poison();
        self.clean_up();
        if self.violation.is_none() && self.comes_right(true) {
            self.check_rest();
        }
        if let Some(running) = self.controller.running.take() {
            self.check_replay(&running.fleet, true);
            self.controller.running = Some(running);
            self.check_answered();
        }
    }

    fn comes_right(&mut self, strictly: bool) -> bool {
        let bound = BOUND_MS + self.nodes.len() as u64 * BOUND_OF_NODE_MS;
        let until = self.now + bound;
        let mut why = String::new();
        while self.now < until {
            if !self.run_until(self.now + LOOK_EVERY_MS) {
                return false;
            }
            match self.is_right(strictly) {
                Ok(()) => return true,
                Err(what) => why = what,
            }
        }
        self.violate(
            CONVERGES,
            format!("not after {} minutes: {why}", bound / 60_000),
        );
        false
    }

    fn is_right(&self, strictly: bool) -> Result<(), String> {
        let fleet = self
            .controller
            .fleet()
            .ok_or("the controller does not run")?;
        for (name, w) in fleet.workloads() {
            // What can never become healthy is tried elsewhere again and again.
            let hopeless = Program::of(&w.spec.version).is_poisoned() && !strictly;
            if !w.moves.is_empty() && !hopeless {
                return Err(format!("{name} moves: {:?}", w.moves));
            }
            if let Some(rollout) = w.rollout.as_ref().filter(|r| r.phase.is_active()) {
                let person = rollout.paused || rollout.phase == RolloutPhase::AwaitingPromotion;
                let waits = w.desired == Desired::Stopped || (person && !strictly);
                if !waits {
                    return Err(format!("the rollout of {name} goes on: {rollout:?}"));
                }
            }
        }
        for (name, record) in fleet.nodes() {
            let node = self
                .node_called(name)
                .ok_or(format!("there is no {name}"))?;
            if record.presence != Presence::Online {
                return Err(format!("{name} is {}", record.presence));
            }
            let n = &self.nodes[node];
            let obeys = n.supervisor.as_ref().map_or(0, |s| s.generation());
            if obeys != record.generation || record.observed_generation != record.generation {
                return Err(format!(
                    "{name} obeys {obeys} and has said {}, and is told {}",
                    record.observed_generation, record.generation
                ));
            }
            let assignment = fleet.assignment(name.as_str()).ok_or("not assigned")?;
            self.node_is_right(node, &assignment, strictly)?;
        }
        if strictly {
            no_trial_is_left(fleet)?;
        }
        Ok(())
    }

    fn node_is_right(
        &self,
        node: NodeId,
        assignment: &Assignment,
        strictly: bool,
    ) -> Result<(), String> {
        let n = &self.nodes[node];
        for found in n.engine.instances() {
            let known = assignment.instances.iter();
            if !known
                .map(|i| &i.workload.name)
                .any(|w| *w == found.workload)
            {
                return Err(format!("{} still has {found:?}", n.name));
            }
        }
        for instance in &assignment.instances {
            let poisoned = Program::of(&instance.workload.version).is_poisoned();
            if poisoned && !strictly {
                continue;
            }
            // It went back by its own decision; a person is waited for.
            let guard = instance.guard.as_ref().filter(|_| !strictly);
            let fallback = guard.map(|g| AssignedInstance {
                workload: g.fallback.clone(),
                ..instance.clone()
            });
            let back = fallback.is_some_and(|i| self.instance_is_right(node, &i).is_ok());
            if !back {
                self.instance_is_right(node, instance)?;
            }
        }
        Ok(())
    }

    fn instance_is_right(&self, node: NodeId, instance: &AssignedInstance) -> Result<(), String> {
        let n = &self.nodes[node];
        let workload = &instance.workload;
        let runs: Vec<_> = n.engine.running(workload.name.as_str()).collect();
        let ends = workload.mode != RunMode::Forever;
        let right = match (instance.desired, runs.as_slice()) {
            (Desired::Stopped, runs) => runs.is_empty(),
            (Desired::Running, []) => ends,
            (Desired::Running, [one]) => !ends && one.spec_hash == workload.spec_hash(),
            _ => false,
        };
        match right {
            true => Ok(()),
            false => Err(format!(
                "{} is to have {} {} {:?}, and runs {runs:?}; it says {:?}",
                n.name,
                workload.name,
                workload.version,
                instance.desired,
                n.supervisor.as_ref().map(|s| s.observed_instances())
            )),
        }
    }

    /// No rollout of a version that cannot become healthy has succeeded, and where one was rolled
    /// back nothing of it runs.
    fn check_poison(&mut self) {
        let Some(fleet) = self.controller.fleet() else {
            return;
        };
        let mut broken = None;
        for (name, w) in fleet.workloads() {
            let Some(rollout) = &w.rollout else { continue };
            if rollout.phase == RolloutPhase::Succeeded
                && rollout.to == w.revision
                && cannot_work(&w.spec.version)
                && w.desired == Desired::Running
                && !rollout.steps.is_empty()
            {
                broken = Some(format!(
                    "{name} {} has succeeded: {rollout:?}",
                    w.spec.version
                ));
            }
            let running = self.nodes.iter().filter(|n| !n.gone);
            let poisoned = running.filter(|n| {
                n.engine
                    .running(name.as_str())
                    .any(|f| cannot_work(&f.version))
            });
            let poisoned: Vec<_> = poisoned.map(|n| n.name.clone()).collect();
            let rolled_back = rollout.phase == RolloutPhase::RolledBack;
            if rolled_back && !poisoned.is_empty() && !wants_poison(w) {
                broken = Some(format!(
                    "{name} is rolled back, and runs poisoned on {poisoned:?}"
                ));
            }
        }
        if let Some(message) = broken {
            self.violate("poison does not spread", message);
        }
    }

    /// Nobody says anything but that it is there. What waits for a node that has come and gone too
    /// often moves once that has held still: a few windows may go by until then.
    fn check_rest(&mut self) {
        let mut last = String::new();
        for _ in 0..WINDOWS {
            let (messages, entries) = (self.messages, self.controller.journal.len());
            if !self.run_until(self.now + REST_MS) {
                return;
            }
            let said = self.messages - messages;
            let written = self.controller.journal.len() - entries;
            if said == 0 && written == 0 {
                return match self.is_right(true) {
                    Ok(()) => {}
                    Err(why) => self.violate(CONVERGES, format!("it did, and then: {why}")),
                };
            }
            last = format!("{said} messages and {written} entries in five quiet minutes");
        }
        self.violate("it rests once it has converged", last);
    }
}

/// It ends, or never answers well, long before it could count as healthy.
fn cannot_work(version: &str) -> bool {
    matches!(Program::of(version), Program::Crashes | Program::Never)
}

/// What is wanted now, or on a node, is itself poisoned: there was nothing better.
fn wants_poison(w: &WorkloadRecord) -> bool {
    let at = |n: &u64| w.history.iter().find(|r| r.revision == *n);
    let other = w.at.values().filter_map(at);
    let mut wanted = other.map(|r| &r.spec.version).chain([&w.spec.version]);
    wanted.any(|v| cannot_work(v))
}

fn no_trial_is_left(fleet: &Fleet) -> Result<(), String> {
    for (name, w) in fleet.workloads() {
        if !w.on_trial.is_empty() && w.desired == Desired::Running {
            return Err(format!("{name} is on trial on {:?}", w.on_trial));
        }
    }
    Ok(())
}
