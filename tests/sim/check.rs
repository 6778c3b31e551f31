//! What must hold after every step, whatever has broken.
//!
//! | rule | holds |
//! |---|---|
//! | no more copies than asked for | a workload is placed on no more nodes than replicas and moves |
//! | nothing that was asked for is forgotten | what has no node is known to wait for one |
//! | generations only grow | a node's generation never falls, and names one assignment only |
//! | a node obeys only newer generations | whatever is played to it again |
//! | a rollout keeps to max_parallel | no node that serves is told to change, or to go back, beyond it |
//! | a rollout keeps to its budget | nor beyond that of its label group |
//! | a rollout keeps to its windows | forward, no node is told while they are shut |
//! | nothing runs twice on a node | as its engine has it |
//! | counted runs are never exceeded | as its engine has counted |
//! | replay gives the same state | byte for byte, from a snapshot and from the first entry |
//! | no accepted change is lost | what was answered is in the journal after a crash |

use super::{
    journal::bytes,
    operator::is_open,
    world::{NodeId, World},
};
use fleetctl::{
    fleet::{Fleet, MovePhase, NodeRecord, Rollout, StepState, WorkloadRecord},
    model::{Desired, HealthStatus, InstanceState, Name, PlacementMode, Presence, Update},
};
use std::collections::{BTreeMap, BTreeSet};

/// Runs of what counts them; see the operator.
const MAX_RUNS: u32 = 2;

/// How the fleet was when it was looked at last.
#[derive(Debug, Default)]
pub struct Seen {
    generations: BTreeMap<(Name, String), u64>,
    /// By workload.
    rollouts: BTreeMap<Name, Before>,
}

/// How a rollout was.
#[derive(Debug, Default)]
struct Before {
    to: u64,
    states: BTreeMap<Name, StepState>,
    on_trial: BTreeSet<Name>,
    progress_ms: u64,
}

impl Before {
    fn of(w: &WorkloadRecord) -> Before {
        let Some(rollout) = &w.rollout else {
            return Before::default();
        };
        let states = rollout.steps.iter();
        Before {
            to: rollout.to,
            states: states.map(|(n, s)| (n.clone(), s.state)).collect(),
            on_trial: w.on_trial.keys().cloned().collect(),
            progress_ms: rollout.progress_ms,
        }
    }
}

type Broken = (&'static str, String);

impl World {
    /// After an entry.
    pub fn check_fleet(&mut self) {
        let Some(running) = &self.controller.running else {
            return;
        };
        let open = is_open(self.wall());
        if let Err((rule, message)) = self.seen.look(&running.fleet, open) {
            self.violate(rule, message);
        }
    }

    /// After an operation of an engine.
    pub fn check_engine(&mut self, node: NodeId) {
        let now = self.now;
        let n = &self.nodes[node];
        let found = n.engine.instances();
        let twice = found
            .iter()
            .find(|f| n.engine.running(f.workload.as_str()).count() > 1);
        let broken = match twice {
            Some(f) if now >= n.haunted_until => {
                let all: Vec<_> = n.engine.running(f.workload.as_str()).collect();
                let message = format!("{} runs twice on {}: {all:?}", f.workload, n.name);
                Some(("nothing runs twice on a node", message))
            }
            _ => None,
        };
        let begun = n.engine.begun_of.get("job").copied().unwrap_or(0);
        let counted = (begun > MAX_RUNS).then(|| {
            let message = format!("job was begun {begun} times on {}", n.name);
            ("counted runs are never exceeded", message)
        });
        if let Some((rule, message)) = broken.or(counted) {
            self.violate(rule, message);
        }
    }

    /// After a node was told something; `before`: the generation in effect.
    pub fn check_obedience(&mut self, node: NodeId, before: u64) {
        let n = &self.nodes[node];
        let after = n.supervisor.as_ref().map_or(before, |s| s.generation());
        if after < before {
            let message = format!("{} went from {before} back to {after}", n.name);
            self.violate("a node obeys only newer generations", message);
        }
    }

    /// When the controller has died: its journal gives what it had in memory. `whole`: also from the
    /// first entry on, as if there were no snapshot.
    pub fn check_replay(&mut self, fleet: &Fleet, whole: bool) {
        let rule = "replay gives the same state";
        let had = bytes(fleet);
        let journal = &self.controller.journal;
        let beginning = whole.then(|| journal.load_from_the_beginning());
        let snapshot = ("from its snapshot", journal.load());
        let all = beginning.map(|fleet| ("from the beginning", fleet));
        for (how, replayed) in all.into_iter().chain([snapshot]) {
            let message = match replayed {
                Ok(fleet) => {
                    let is = bytes(&fleet);
                    if is == had {
                        continue;
                    }
                    let at = is.iter().zip(&had).position(|(a, b)| a != b).unwrap_or(0);
                    let part = |text: &[u8]| {
                        let around = at.saturating_sub(80)..(at + 40).min(text.len());
                        String::from_utf8_lossy(&text[around]).into_owned()
                    };
                    format!("{how}: …{}… but it was …{}…", part(&is), part(&had))
                }
                Err(error) => format!("{how}: {error}"),
            };
            return self.violate(rule, message);
        }
    }

    /// When the controller has started: everything that was answered is there.
    pub fn check_answered(&mut self) {
        let journal = &self.controller.journal;
        let lost = |(at, text): &&(usize, Vec<u8>)| journal.at(*at) != Some(text.as_slice());
        if let Some((at, text)) = self.controller.answered.iter().find(lost) {
            let text = String::from_utf8_lossy(text);
            let message = format!("the entry at {at} is not there: {text}");
            self.violate("no accepted change is lost", message);
        }
    }
}

impl Seen {
    fn look(&mut self, fleet: &Fleet, open: bool) -> Result<(), Broken> {
        for (name, node) in fleet.nodes() {
            let last = self
                .generations
                .entry((name.clone(), node.key.clone()))
                .or_default();
            if node.generation < *last {
                let message = format!("{name} went from {last} to {}", node.generation);
                return Err(("generations only grow", message));
            }
            *last = node.generation;
            let stranger = node.placed.iter().find(|w| {
                let record = fleet.workload(w.as_str());
                record.is_none_or(|w| !w.placed.contains(name))
            });
            if let Some(stranger) = stranger {
                let message = format!("{name} has {stranger}, which is not placed there");
                return Err(("both sides of a placement agree", message));
            }
        }
        for (name, w) in fleet.workloads() {
            copies(fleet, name, w)?;
            let before = self.rollouts.insert(name.clone(), Before::of(w));
            let before = before.unwrap_or_default();
            let Some(rollout) = &w.rollout else {
                continue;
            };
            if rollout.phase.is_back() {
                bounded_back(fleet, name, w, rollout, &before)?;
            }
            let Some(update) = w.spec.update.as_ref().filter(|_| rollout.phase.is_active()) else {
                continue;
            };
            let changing = in_state(rollout, StepState::Changing);
            let was = |n: &&Name| before.states.get(*n) == Some(&StepState::Changing);
            let new: BTreeSet<&Name> = changing.iter().filter(|n| !was(n)).collect();
            if new.is_empty() {
                continue;
            }
            if !open && !update.windows.is_empty() {
                let message = format!("{name} changes on {new:?} while no window is open");
                return Err(("a rollout keeps to its windows", message));
            }
            parallel(name, rollout, update, &changing)?;
            budget(fleet, name, w, update, &changing, &new)?;
        }
        Ok(())
    }
}

fn copies(fleet: &Fleet, name: &Name, w: &WorkloadRecord) -> Result<(), Broken> {
    for node in &w.placed {
        let there = fleet.node(node.as_str());
        if there.is_none_or(|n| !n.placed.contains(name)) {
            let message = format!("{name} is placed on {node}, which does not know it");
            return Err(("both sides of a placement agree", message));
        }
    }
    let PlacementMode::Any { replicas } = w.spec.placement.mode else {
        return Ok(());
    };
    let both = w.moves.values().filter(|m| m.phase == MovePhase::Starting);
    let most = replicas as usize + both.count();
    if w.placed.len() > most {
        let message = format!(
            "{name} is placed on {:?}, with {replicas} replicas and moves {:?}",
            w.placed, w.moves
        );
        return Err(("no more copies than asked for", message));
    }
    if w.placed.len() + (w.missing as usize) < replicas as usize {
        let message = format!(
            "{name} is placed on {:?} and waits for {}, with {replicas} replicas",
            w.placed, w.missing
        );
        return Err(("nothing that was asked for is forgotten", message));
    }
    Ok(())
}

fn in_state(rollout: &Rollout, state: StepState) -> BTreeSet<Name> {
    let steps = rollout.steps.iter();
    steps
        .filter(|(_, s)| s.state == state)
        .map(|(n, _)| n.clone())
        .collect()
}

/// What failed, is ill or is in the middle of its change goes back at once; what serves goes by
/// turns, as the version that is left says.
fn bounded_back(
    fleet: &Fleet,
    name: &Name,
    w: &WorkloadRecord,
    rollout: &Rollout,
    before: &Before,
) -> Result<(), Broken> {
    let left = w.history.iter().find(|r| r.revision == rollout.to);
    let Some(update) = left.and_then(|r| r.spec.update.as_ref()) else {
        return Ok(());
    };
    if before.to != rollout.to || w.desired == Desired::Stopped {
        return Ok(());
    }
    let heard = |node: &Name| {
        let record = fleet.node(node.as_str());
        record.filter(|n| n.presence == Presence::Online)
    };
    let going = in_state(rollout, StepState::Returning);
    let by_turn = |node: &&Name| {
        let state = before.states.get(*node);
        matches!(state, Some(StepState::Healthy | StepState::Waiting))
            && heard(node).is_some_and(|n| is_healthy(n, name))
            && !before.on_trial.contains(*node)
    };
    let told: BTreeSet<&Name> = going.iter().filter(by_turn).collect();
    if told.is_empty() {
        return Ok(());
    }
    let online: BTreeSet<Name> = going
        .iter()
        .filter(|n| heard(n).is_some())
        .cloned()
        .collect();
    parallel(name, rollout, update, &online)?;
    // What others have used up of the budget holds it back only for a while.
    let due = before
        .progress_ms
        .saturating_add(update.progress_deadline_ms);
    let waited = |node: &Name| {
        let step = rollout.steps.get(node);
        step.and_then(|s| s.switched_ms).is_some_and(|at| at >= due)
    };
    let told = told.into_iter().filter(|n| !waited(n)).collect();
    budget(fleet, name, w, update, &going, &told)
}

fn parallel(
    name: &Name,
    rollout: &Rollout,
    update: &Update,
    changing: &BTreeSet<Name>,
) -> Result<(), Broken> {
    let most = update.max_parallel.of(rollout.steps.len());
    if changing.len() > most {
        let message = format!("{name} changes on {changing:?}; at most {most} may");
        return Err(("a rollout keeps to max_parallel", message));
    }
    Ok(())
}

/// It does what it is for, as far as the controller was told.
fn is_healthy(node: &NodeRecord, workload: &Name) -> bool {
    let observed = node.observed.get(workload);
    observed
        .is_some_and(|o| o.state.is_well() && o.health.is_none_or(|h| h == HealthStatus::Healthy))
}

fn budget(
    fleet: &Fleet,
    name: &Name,
    w: &WorkloadRecord,
    update: &Update,
    changing: &BTreeSet<Name>,
    new: &BTreeSet<&Name>,
) -> Result<(), Broken> {
    let Some(budget) = &update.budget else {
        return Ok(());
    };
    let group = |node: &Name| {
        let labels = fleet.node(node.as_str()).map(NodeRecord::all_labels);
        labels.and_then(|l| l.get(&budget.label).cloned())
    };
    let bad = |node: &Name| {
        let record = fleet.node(node.as_str());
        record.is_some_and(|n| {
            let stopped = n
                .observed
                .get(name)
                .is_some_and(|o| o.state == InstanceState::Stopped);
            n.presence == Presence::Online && !is_healthy(n, name) && !stopped
        })
    };
    for node in new {
        // A node that was of no use already loses nothing by its change.
        if bad(node) {
            continue;
        }
        let of = group(node);
        let all: Vec<&Name> = w.placed.iter().filter(|n| group(n) == of).collect();
        let down: Vec<&&Name> = all
            .iter()
            .filter(|n| changing.contains(**n) || bad(n))
            .collect();
        let most = budget.max_unavailable.of(all.len());
        if down.len() > most {
            let message = format!(
                "{name} changes on {node}, with {down:?} of {} = {of:?} down; {most} may be",
                budget.label
            );
            return Err(("a rollout keeps to its budget", message));
        }
    }
    Ok(())
}
