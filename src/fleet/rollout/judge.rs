//! What a node's report says about the revision that it was told to run.
//!
//! | it says | that is |
//! |---|---|
//! | nothing about this assignment yet, or another version runs | not yet |
//! | its own trial of this version has failed | failed, by the node's own decision |
//! | this version has failed for good, or is in a crash loop | failed |
//! | all runs that it may have are over, with whatever version | healthy |
//! | this version is well, and healthy as far as its agent tells | healthy |
//! | this version does anything else | not yet |

use super::super::{NodeRecord, Verdict, WorkloadRecord, fill::filled, upgrade::is_agent};
use crate::{
    manifest::quantity::duration_text,
    model::{
        HealthCheck, HealthStatus, InstanceState, Name, ObservedInstance, Presence, RunMode, Trial,
        TrialState, UnixMs, Workload,
    },
};

/// Characters of a command in a sentence.
const MAX_COMMAND: usize = 60;

/// How a node does with a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is healthy now.
    Healthy {
        /// Its agent has watched it for long enough.
        passed: bool,
        /// Its agent says something of a trial.
        tried: bool,
    },
    /// It is not, and will not be.
    Failed(Verdict),
    /// Nothing is known yet.
    NotYet,
}

/// Which report counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    /// Of an assignment of at least this generation.
    pub generation: u64,
    /// Failures: reported then, or later.
    pub at_ms: UnixMs,
}

/// How `node` does with `revision`.
pub(super) fn sight(
    record: &WorkloadRecord,
    revision: u64,
    name: &Name,
    node: &NodeRecord,
    since: Since,
    at: UnixMs,
) -> Sight {
    let Some(o) = node.observed.get(&record.spec.name) else {
        return Sight::NotYet;
    };
    // A node without MQTT may not tell generations.
    let silent = node.http && node.observed_generation == 0;
    if node.observed_generation < since.generation && !silent {
        return Sight::NotYet;
    }
    let hash = hash_on(record, revision, name, node);
    let trial = o.trial.as_ref().filter(|t| t.spec_hash == hash);
    let judged = node.observed_ms >= since.at_ms;
    let spec = record.spec_at(revision);
    if let Some(trial) = trial.filter(|t| judged && t.state == TrialState::Failed) {
        return Sight::Failed(verdict_of(trial, &filled(spec, name, node), name, at));
    }
    let passed = trial.is_some_and(|t| t.state == TrialState::Passed);
    if o.spec_hash != hash {
        // It begins no run of this version by itself, and stays what it is.
        return match has_no_run_left(o, spec) {
            true => Sight::Healthy {
                passed,
                tried: trial.is_some(),
            },
            false => Sight::NotYet,
        };
    }
    match o.state {
        InstanceState::Failed | InstanceState::CrashLoop if judged => Sight::Failed(Verdict {
            node: Some(name.clone()),
            check: "start".into(),
            reason: words_of(o),
            last_output: o.last_output.clone(),
            at_ms: at,
            guessed: false,
        }),
        _ if is_fine(o) => Sight::Healthy {
            passed,
            tried: trial.is_some(),
        },
        _ => Sight::NotYet,
    }
}

/// What a node that has gone back by itself says of `revision`; `None`: nothing.
pub(super) fn own_verdict(
    record: &WorkloadRecord,
    revision: u64,
    name: &Name,
    node: &NodeRecord,
    at: UnixMs,
) -> Option<Verdict> {
    let trial = node.observed.get(&record.spec.name)?.trial.as_ref()?;
    let failed = trial.state == TrialState::Failed
        && trial.spec_hash == hash_on(record, revision, name, node);
    let spec = filled(record.spec_at(revision), name, node);
    failed.then(|| verdict_of(trial, &spec, name, at))
}

fn verdict_of(trial: &Trial, spec: &Workload, name: &Name, at: UnixMs) -> Verdict {
    let reason = trial.reason.clone();
    Verdict {
        node: Some(name.clone()),
        check: check_of(spec),
        reason: reason.unwrap_or_else(|| "its agent took it back".into()),
        last_output: trial.last_output.clone(),
        at_ms: at,
        guessed: false,
    }
}

/// Every run that it may have has been counted, and none is under way: of another version there will
/// be none, unless a person orders it.
fn has_no_run_left(o: &ObservedInstance, spec: &Workload) -> bool {
    let RunMode::NTimes { max_runs } = spec.mode else {
        return false;
    };
    let over = matches!(o.state, InstanceState::Completed | InstanceState::Failed);
    over && o.runs.is_some_and(|runs| runs >= max_runs)
}

/// [`Workload::spec_hash`] of a revision as a node gets it.
pub(in crate::fleet) fn hash_on(
    record: &WorkloadRecord,
    revision: u64,
    name: &Name,
    node: &NodeRecord,
) -> String {
    if revision == record.revision && record.names.is_empty() {
        return record.spec_hash.clone();
    }
    let spec = record.spec_at(revision);
    if revision != record.revision
        && !spec.has_templates()
        && let Some(known) = record.edition(revision)
    {
        return known.spec_hash.clone();
    }
    filled(spec, name, node).spec_hash()
}

/// It works, as far as anybody can tell.
pub(super) fn is_fine(o: &ObservedInstance) -> bool {
    o.state.is_well() && matches!(o.health, None | Some(HealthStatus::Healthy))
}

/// Whatever version it is: a healthy instance is there, and the node can be heard.
pub(super) fn serves(node: &NodeRecord, workload: &Name) -> bool {
    node.presence == Presence::Online && node.observed.get(workload).is_some_and(is_fine)
}

/// What came of an instance: a sentence without its end.
pub(super) fn words_of(o: &ObservedInstance) -> String {
    let why = o.reason.as_ref().or(o.last_error.as_ref());
    match why {
        Some(why) => format!("it is {}: {why}", o.state),
        None => format!("it is {}", o.state),
    }
}

/// What was asked of it on this node.
pub(super) fn check_on(record: &WorkloadRecord, name: &Name, node: Option<&NodeRecord>) -> String {
    match node {
        Some(node) => check_of(&filled(&record.spec, name, node)),
        None => check_of(&record.spec),
    }
}

/// What was asked of it, in the words of its manifest.
fn check_of(spec: &Workload) -> String {
    if is_agent(spec) {
        return "start of the new agent".into();
    }
    match spec.health.as_ref().map(|h| &h.check) {
        Some(HealthCheck::Http(url)) => format!("health check {url}"),
        Some(HealthCheck::Tcp(address)) => format!("health check tcp {address}"),
        Some(HealthCheck::Exec(command)) => {
            let line = command.join(" ");
            let short: String = line.chars().take(MAX_COMMAND).collect();
            let more = if short.len() < line.len() { "…" } else { "" };
            format!("health check `{short}{more}`")
        }
        Some(HealthCheck::Image) => "the image's own health check".into(),
        None | Some(HealthCheck::None) => {
            format!("stays up for {}", duration_text(spec.min_healthy_time_ms()))
        }
    }
}
