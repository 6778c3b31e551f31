//! A guarded change: the agent itself finds out whether the new version works, and goes back where
//! it does not. Nobody needs to be reached for that.
//!
//! ```text
//!                 fetched; the old one is told to stop      well for min_healthy_time
//!   old one goes on ────────────────────────────► running ──────────────────────────► passed
//!        ▲                                        │     ▲
//!        │ (fetching may fail for ever)           │     └─ stopped on purpose, or its engine is
//!                                                 │        away: it is not judged meanwhile
//!            the deadline, a crash loop, `failed`,│
//!            refused, the agent's third start     ▼
//!                                               failed ──► the fallback is wanted in its place
//! ```
//!
//! The clock of the deadline runs from the stop of the old one on, and anew after a restart that a
//! person asked for. After a start of the agent it counts anew as well, as it is monotonic; but a
//! version that takes the board down must not be tried for ever, so starts are counted.
//!
//! What is on the disk is the [`TrialRecord`], written before the old one is touched and when it
//! is decided. It holds for this spec as long as the controller sends it with a guard: the same
//! assignment, delivered again, is not tried again. Without a guard the controller has decided.

use super::{
    Action, Memory, Now, Runtime, Supervisor, TrialRecord,
    backoff::CRASH_LOOP,
    instance::{Instance, OperationKind, Status},
    runs::Seen,
    sentence,
};
use crate::{
    manifest::quantity::duration_text,
    model::{
        AssignedInstance, Desired, Guard, HealthStatus, InstanceState, Name, RuntimeKind, Trial,
        TrialState, UnixMs, Workload, healthy_limit_ms,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// The start of the agent, within one trial, that ends it.
const LAST_START: u32 = 3;
/// How long the removal of what failed waits for its last lines.
const WORDS_MS: u64 = 2_000;

/// The guarded change of one instance.
#[derive(Debug)]
pub(super) struct Trying {
    /// What the controller wants to run.
    offered: Arc<Workload>,
    /// Its hash.
    pub hash: String,
    guard: Guard,
    pub record: TrialRecord,
    /// The record must be on the disk before anything else is done.
    keep: bool,
    /// It has been there.
    kept: bool,
    /// Why its runtime will never start it.
    refused: Option<String>,
    /// Of the deadline, up to `since_ms`.
    spent_ms: u64,
    /// The deadline's clock runs since.
    since_ms: Option<u64>,
    well_since_ms: Option<u64>,
    /// Its last lines are on their way.
    words_until_ms: Option<u64>,
    wake_ms: Option<u64>,
}

impl Trying {
    /// The clocks begin anew.
    pub(super) fn again(&mut self) {
        self.spent_ms = 0;
        self.since_ms = None;
        self.well_since_ms = None;
        self.refused = None;
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.wake_ms
    }

    pub(super) fn is_failed(&self) -> bool {
        self.record.state == TrialState::Failed
    }

    /// Its runtime says that trying again will not help.
    pub(super) fn refuse(&mut self, why: String) {
        self.refused = Some(why);
    }

    /// A failure is told with its last lines: who hears of it takes the version away, and nobody
    /// would ask for them any more.
    pub(super) fn report(&self) -> Trial {
        let record = &self.record;
        if self.words_until_ms.is_some() {
            return Trial {
                spec_hash: record.spec_hash.clone(),
                version: record.version.clone(),
                state: TrialState::Running,
                reason: None,
                last_output: Vec::new(),
                at_ms: record.at_ms,
            };
        }
        Trial {
            spec_hash: record.spec_hash.clone(),
            version: record.version.clone(),
            state: record.state,
            reason: record.reason.clone(),
            last_output: record.last_output.clone(),
            at_ms: record.at_ms,
        }
    }

    /// How long it may take.
    fn limit_ms(&self) -> u64 {
        healthy_limit_ms(
            &self.offered,
            self.guard.min_healthy_time_ms,
            self.guard.healthy_deadline_ms,
        )
    }

    fn decide(&mut self, state: TrialState, reason: Option<String>, unix_ms: UnixMs) {
        self.record.state = state;
        self.record.reason = reason;
        self.record.at_ms = unix_ms;
        self.wake_ms = None;
        self.keep = true;
    }

    /// What the clocks and the stage come to.
    fn look(&mut self, now_ms: u64, stage: Stage) -> Verdict {
        let (well, counts, failed) = match stage {
            Stage::Unwanted => {
                self.again();
                (false, false, None)
            }
            Stage::NotSeen | Stage::Before => (false, false, None),
            Stage::Rests => (true, false, None),
            Stage::Changed { well, failed } => (well, true, failed),
        };
        if counts {
            self.since_ms.get_or_insert(now_ms);
            self.keep |= !self.kept;
        } else if let Some(since) = self.since_ms.take() {
            self.spent_ms = self.spent_ms.saturating_add(now_ms - since);
        }
        self.well_since_ms = well.then(|| self.well_since_ms.unwrap_or(now_ms));
        let passes = self
            .well_since_ms
            .map(|since| since.saturating_add(self.guard.min_healthy_time_ms));
        let left_ms = self.limit_ms().saturating_sub(self.spent_ms);
        let ends = self.since_ms.map(|since| since.saturating_add(left_ms));
        let times = [passes, ends].into_iter().flatten();
        self.wake_ms = times.filter(|at| *at > now_ms).min();
        let has_come = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
        match failed {
            Some(why) => Verdict::Failed(why),
            None if has_come(passes) => Verdict::Passed,
            None if has_come(ends) => Verdict::Late,
            None => Verdict::Open,
        }
    }
}

/// How far the change has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// It is kept stopped.
    Unwanted,
    /// Its runtime does not tell.
    NotSeen,
    /// The old one goes on, or what it needs is being fetched.
    Before,
    /// There is nothing to be changed that runs, or will by itself.
    Rests,
    /// The old one has been told to stop, or is gone.
    Changed { well: bool, failed: Option<String> },
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Passed,
    /// One sentence.
    Failed(String),
    /// Its time is up.
    Late,
}

impl Supervisor {
    /// Looks at every guarded change; `true` where one has failed and something else is wanted now.
    pub(super) fn judge_trials(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let mut fell_back = false;
        for (name, instance) in &mut self.instances {
            let Some(trial) = instance.trial.as_ref() else {
                continue;
            };
            if trial.record.state != TrialState::Running {
                instance.wait_no_longer(now.mono_ms);
                self.changed |= std::mem::take(&mut instance.changed);
                continue;
            }
            let stage = stage(instance, &self.runtimes);
            let Some(trial) = instance.trial.as_mut() else {
                continue;
            };
            let why = match trial.look(now.mono_ms, stage) {
                Verdict::Open => None,
                Verdict::Passed => {
                    trial.decide(TrialState::Passed, None, now.unix_ms);
                    instance.changed = true;
                    None
                }
                Verdict::Failed(why) => Some(why),
                Verdict::Late => Some(late(instance)),
            };
            if let Some(why) = why {
                instance.fail_trial(now, why, actions);
                instance.fall_back(&self.memory, name);
                fell_back = true;
            }
            self.changed |= std::mem::take(&mut instance.changed);
        }
        fell_back
    }

    /// What has begun or has been decided goes to the disk, once.
    pub(super) fn keep_trials(&mut self) {
        for (name, instance) in &mut self.instances {
            let Some(trial) = instance.trial.as_mut().filter(|t| t.keep) else {
                continue;
            };
            trial.keep = false;
            trial.kept = true;
            let record = trial.record.clone();
            if self.memory.trials.get(name) != Some(&record) {
                self.memory.trials.insert(name.clone(), record);
                self.remember = true;
            }
        }
    }
}

impl Instance {
    /// Takes the guard of what is assigned; what is wanted of it is the fallback where it has
    /// failed. `stored`: what is remembered; `runs`: it should run.
    pub(super) fn guarded(
        &mut self,
        now: Now,
        mut assigned: AssignedInstance,
        stored: Option<&TrialRecord>,
        runs: bool,
        actions: &mut Vec<Action>,
    ) -> AssignedInstance {
        let hash = assigned.workload.spec_hash();
        let guard = assigned.guard.take();
        let Some(guard) = guard.filter(|g| g.fallback.spec_hash() != hash) else {
            self.changed |= self.trial.take().is_some();
            return assigned;
        };
        let restarts = self.assigned.as_ref().map(|a| a.restart_count);
        match self.trial.as_mut().filter(|t| t.hash == hash) {
            Some(trial) => {
                trial.guard = *guard;
                trial.offered = assigned.workload.clone();
                if restarts != Some(assigned.restart_count) {
                    trial.again();
                }
            }
            None => {
                let stored = stored.filter(|r| r.spec_hash == hash);
                let mut record = stored.cloned().unwrap_or(TrialRecord {
                    spec_hash: hash.clone(),
                    version: assigned.workload.version.clone(),
                    state: TrialState::Running,
                    starts: 0,
                    reason: None,
                    last_output: Vec::new(),
                    at_ms: now.unix_ms,
                });
                // It was under way when this agent, or the board, went down.
                let resumed = stored.is_some() && record.state == TrialState::Running && runs;
                record.starts += u32::from(resumed);
                let starts = record.starts;
                self.trial = Some(Box::new(Trying {
                    offered: assigned.workload.clone(),
                    hash,
                    guard: *guard,
                    record,
                    keep: resumed,
                    kept: stored.is_some(),
                    refused: None,
                    spent_ms: 0,
                    since_ms: None,
                    well_since_ms: None,
                    words_until_ms: None,
                    wake_ms: None,
                }));
                self.changed = true;
                if resumed && starts >= LAST_START {
                    let why = format!(
                        "the agent was started {starts} times before it was known to be healthy; \
                         it may be what takes the node down"
                    );
                    self.fail_trial(now, why, actions);
                }
            }
        }
        if let Some(trial) = self.trial.as_ref().filter(|t| t.is_failed()) {
            assigned.workload = trial.guard.fallback.clone();
        }
        assigned
    }

    /// It has not become healthy: says so, and asks for what it wrote last.
    fn fail_trial(&mut self, now: Now, why: String, actions: &mut Vec<Action>) {
        let Some(trial) = self.trial.as_mut() else {
            return;
        };
        let why = sentence::told(&why);
        let (bad, good) = (&trial.offered.version, &trial.guard.fallback.version);
        let message = format!("went back from version {bad} to {good}: {why}");
        trial.decide(TrialState::Failed, Some(why), now.unix_ms);
        let tried = self.current.as_ref().filter(|c| c.spec_hash == trial.hash);
        if let Some(current) = tried {
            // Those of an earlier failure, until the last ones are here.
            if self.failures > 1 {
                trial.record.last_output = self.last_output.clone();
            }
            let until = now.mono_ms.saturating_add(WORDS_MS);
            trial.words_until_ms = Some(until);
            trial.wake_ms = Some(until);
            actions.push(Action::FetchLastOutput {
                runtime: current.runtime,
                handle: current.handle.clone(),
            });
        }
        self.changed = true;
        actions.push(self.tell("rolled_back", message));
    }

    /// The fallback is wanted from now on, as if it had been assigned.
    fn fall_back(&mut self, memory: &Memory, name: &Name) {
        let (Some(trial), Some(assigned)) = (&self.trial, &self.assigned) else {
            return;
        };
        let fallback = AssignedInstance {
            workload: trial.guard.fallback.clone(),
            desired: assigned.desired,
            restart_count: assigned.restart_count,
            guard: None,
            next: None,
            trace: assigned.trace,
        };
        self.assign(fallback, self.held, memory.runs.get(name));
    }

    /// Until when what failed is not removed, since its last lines are on their way.
    pub(super) fn last_words_until(&self, now_ms: u64) -> Option<u64> {
        let until = self.trial.as_ref()?.words_until_ms;
        until.filter(|until| now_ms < *until)
    }

    /// The last lines of what failed.
    pub(super) fn note_last_words(&mut self, lines: &[String]) {
        let current = self.current.as_ref().map(|c| c.spec_hash.as_str());
        let Some(trial) = self.trial.as_mut() else {
            return;
        };
        if current != Some(trial.hash.as_str()) || trial.words_until_ms.take().is_none() {
            return;
        }
        trial.wake_ms = None;
        self.changed = true;
        let lines = sentence::last_lines(lines);
        if !lines.is_empty() && trial.record.last_output != lines {
            trial.record.last_output = lines;
            trial.keep = true;
        }
    }

    /// They do not come.
    fn wait_no_longer(&mut self, now_ms: u64) {
        let gone = self.current.is_none();
        if let Some(trial) = &mut self.trial
            && trial
                .words_until_ms
                .is_some_and(|until| gone || until <= now_ms)
        {
            trial.words_until_ms = None;
            trial.wake_ms = None;
            self.changed = true;
        }
    }

    /// Hash of what the controller assigned, whatever became of it here.
    pub(super) fn offered_hash(&self) -> Option<&str> {
        let trial = self.trial.as_ref().map(|t| t.hash.as_str());
        trial.or(self.assigned.as_ref().map(|a| a.spec_hash.as_str()))
    }
}

/// How far the change of `instance` has come.
fn stage(instance: &Instance, runtimes: &BTreeMap<RuntimeKind, Runtime>) -> Stage {
    let Some(trial) = &instance.trial else {
        return Stage::Unwanted;
    };
    if instance.desired() != Some(Desired::Running) {
        return Stage::Unwanted;
    }
    let target = instance.runtime(|r| runtimes.contains_key(&r));
    let is_seen = |r: &RuntimeKind| runtimes.get(r) == Some(&Runtime::Listed);
    let current = instance.current.as_ref();
    let seen = match (current, &target) {
        (_, None) => false,
        (Some(current), Some(target)) => is_seen(&current.runtime) && is_seen(target),
        // It may be in one that has not been listed.
        (None, Some(target)) => {
            is_seen(target) && !runtimes.values().any(|r| *r == Runtime::Unlisted)
        }
    };
    if !seen || instance.state == InstanceState::Unknown {
        return Stage::NotSeen;
    }
    let doing = instance.operation.as_ref().map(|o| o.kind);
    let changed = |well| Stage::Changed { well, failed: None };
    let rests = matches!(
        instance.state,
        InstanceState::Scheduled | InstanceState::Completed
    );
    match current {
        Some(old) if old.spec_hash != trial.hash || Some(old.runtime) != target => {
            let goes = matches!(doing, Some(OperationKind::Stop | OperationKind::Remove));
            let runs = instance.is_running();
            if goes && instance.prepared {
                changed(false)
            } else if instance.runs.is_spent() && !runs {
                // Its runs are over; the new spec is for those that a person orders.
                Stage::Rests
            } else if runs || !instance.prepared {
                Stage::Before
            } else if rests {
                Stage::Rests
            } else {
                changed(false)
            }
        }
        None if doing == Some(OperationKind::Launch)
            && instance.state == InstanceState::Pulling =>
        {
            Stage::Before
        }
        _ if rests && !last_run_failed(instance) => Stage::Rests,
        _ => Stage::Changed {
            well: is_healthy(instance),
            failed: failed(instance, trial),
        },
    }
}

fn is_healthy(instance: &Instance) -> bool {
    if instance.runs.counts() {
        // Its runs may be shorter than it takes to be known as healthy.
        let ended = instance.seen() == Seen::Ended;
        let between = ended && instance.state == InstanceState::Pending;
        return (instance.state.is_well() || between) && !last_run_failed(instance);
    }
    let health = instance.monitor.as_ref().map(|m| m.status().0);
    instance.state == InstanceState::Running && health == Some(HealthStatus::Healthy)
}

/// Of what runs by the clock: it waits for its next time, but the last one did not go well.
fn last_run_failed(instance: &Instance) -> bool {
    match instance.current.as_ref().map(|c| &c.status) {
        Some(Status::Ended { exit, .. }) => exit.code != Some(0) || instance.condemned.is_some(),
        _ => false,
    }
}

/// Why there is no hope for it.
fn failed(instance: &Instance, trial: &Trying) -> Option<String> {
    if let Some(why) = &trial.refused {
        return Some(format!("it cannot be started: {why}"));
    }
    if instance.state == InstanceState::Failed {
        let why = instance.reason.clone();
        return Some(why.unwrap_or_else(|| "it has failed".to_owned()));
    }
    if instance.failures < CRASH_LOOP {
        return None;
    }
    let why = instance.why_waits.clone().unwrap_or_default();
    Some(format!(
        "it failed {} times in a row: {why}",
        instance.failures
    ))
}

/// Where there is nothing else to say.
fn standing(instance: &Instance) -> String {
    match instance.current.as_ref().map(|c| c.runtime) {
        Some(RuntimeKind::Agent) => "it has no session with the fleet".to_owned(),
        _ => format!("it is {}", instance.state),
    }
}

/// It was not healthy in time.
fn late(instance: &Instance) -> String {
    let Some(trial) = &instance.trial else {
        return String::new();
    };
    let limit = duration_text(trial.limit_ms());
    let min = duration_text(trial.guard.min_healthy_time_ms);
    let unhealthy = instance.monitor.as_ref().and_then(|m| m.status().1);
    // It may have been started again a moment ago: then what went wrong before says more.
    let why = unhealthy
        .or(instance.reason.as_deref())
        .or(instance.last_error.as_deref())
        .map_or_else(|| standing(instance), str::to_owned);
    format!("it was not healthy for {min} within {limit} of the change: {why}")
}
