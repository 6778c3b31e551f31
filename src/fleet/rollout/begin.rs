//! A workload gets another spec: applied by a person, or taken back.

use super::super::{
    Actor, Effect, NodeRecord, WorkloadRecord, event::emit, upgrade::is_as_installed,
};
use super::{
    OpenWindows, Revision, RevisionVerdict, Rollout, RolloutPhase, Step, StepState,
    judge::{Sight, Since, sight},
    tell::goes_forward,
};
use crate::model::{Name, Presence, TraceContext, UnixMs, Workload};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The person behind a change; nobody, where it comes by itself.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Person {
    /// Name of the API token.
    pub name: Option<String>,
    /// The request.
    pub trace: Option<TraceContext>,
}

impl Person {
    pub(in crate::fleet) fn of(by: Option<&Actor>) -> Person {
        Person {
            name: by.map(|actor| actor.token.clone()),
            trace: by.and_then(|actor| actor.trace),
        }
    }
}

/// Who changes it, and in which way.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Doer {
    /// Who.
    pub by: Person,
    /// It goes back to what was there before when it fails. Not where a person takes something
    /// back: what was there before is what they want to be rid of, and only another version that is
    /// known to work is gone back to.
    pub guarded: bool,
}

/// Makes `spec` what is wanted of a workload. Nodes whose assignment changes for it at once are
/// added to `touched`; the others change as the rollout that begins goes on.
pub(in crate::fleet) fn take_spec(
    nodes: &BTreeMap<Name, NodeRecord>,
    record: &mut WorkloadRecord,
    spec: Arc<Workload>,
    doer: Doer,
    at: UnixMs,
    touched: &mut BTreeSet<Name>,
) -> Vec<Effect> {
    let hash = spec.spec_hash();
    // A new one has revision 0 until here; one from before there was a history is remembered now.
    let known = record.revision > 0;
    if known && record.history.is_empty() {
        record.remember(Person::default(), RevisionVerdict::Untried);
    }
    let replaces = known && record.spec_hash != hash;
    // Also of what goes on: it may be on its way to no node at all.
    if known {
        judge_present(nodes, record, at);
    }
    let back = match doer.guarded {
        true => going_back_to(record, &hash),
        // Only to what is known to work. The next revision itself: there is nothing.
        false => record.newest_good(&hash).unwrap_or(record.revision + 1),
    };
    // The same program is as good or bad as it was.
    let verdict = match record.edition(record.revision) {
        Some(present) if known && !replaces => present.verdict,
        _ if is_as_installed(&spec) => RevisionVerdict::Good,
        _ => RevisionVerdict::Untried,
    };
    let before: BTreeMap<Name, u64> = record
        .placed
        .iter()
        .map(|n| (n.clone(), record.revision_on(n.as_str())))
        .collect();
    become_wanted(record, spec, hash, doer.by.clone(), verdict, at);
    let effects = match (replaces, record.spec.update.is_some()) {
        (false, true) => {
            changed_in_place(record, touched);
            Vec::new()
        }
        (true, true) if !before.is_empty() => {
            start(nodes, record, back, &before, doer.by.name, at, touched)
        }
        _ => {
            at_once(record, at, touched);
            Vec::new()
        }
    };
    record.prune_history();
    effects
}

/// The record wants `spec` from now on.
pub(super) fn become_wanted(
    record: &mut WorkloadRecord,
    spec: Arc<Workload>,
    hash: String,
    by: Person,
    verdict: RevisionVerdict,
    at: UnixMs,
) {
    record.names = spec.template_names();
    record.spec = spec;
    record.spec_hash = hash;
    record.revision += 1;
    record.applied_ms = at;
    record.requested(by.trace);
    record.remember(by, verdict);
    // What nodes still have, and go back to, takes its place in their assignments too.
    let in_use: BTreeSet<u64> = record
        .at
        .values()
        .chain(record.on_trial.values())
        .copied()
        .collect();
    let previous = record.history.iter().rev().nth(1).map(|r| r.revision);
    let lengths = in_use.into_iter().chain(previous);
    let longest = lengths.map(|r| record.spec_at(r).encoded_len()).max();
    record.encoded_len = record.spec.encoded_len().max(longest.unwrap_or(0));
}

/// What is wanted now is good where it is healthy on every node that can be heard: nobody has
/// looked before, unless it came by a rollout.
fn judge_present(nodes: &BTreeMap<Name, NodeRecord>, record: &mut WorkloadRecord, at: UnixMs) {
    let settled = record.at.is_empty()
        && record.on_trial.is_empty()
        && record.rollout.as_ref().is_none_or(|r| !r.phase.is_active());
    if !settled {
        return;
    }
    let heard = record
        .placed
        .iter()
        .filter_map(|name| nodes.get_key_value(name))
        .filter(|(_, n)| n.presence == Presence::Online);
    let mut any = false;
    for (name, node) in heard {
        let seen = sight(record, record.revision, name, node, Since::default(), at);
        if !matches!(seen, Sight::Healthy { .. }) {
            return;
        }
        any = true;
    }
    let wanted = record.revision;
    if any
        && let Some(present) = record.edition_mut(wanted)
        && present.verdict == RevisionVerdict::Untried
    {
        present.verdict = RevisionVerdict::Good;
    }
}

/// The newest revision that works; where none is known to, the one that all had before it was
/// begun to change them.
fn going_back_to(record: &WorkloadRecord, hash: &str) -> u64 {
    if let Some(good) = record.newest_good(hash) {
        return good;
    }
    let unsettled = record
        .rollout
        .as_ref()
        .filter(|r| !record.at.is_empty() && r.from != r.to && record.edition(r.from).is_some());
    unsettled.map_or(record.revision, |r| r.from)
}

/// The same program with other settings around it: everybody who has it gets them now.
fn changed_in_place(record: &mut WorkloadRecord, touched: &mut BTreeSet<Name>) {
    let has_it = |n: &&Name| !record.at.contains_key(*n);
    touched.extend(record.placed.iter().filter(has_it).cloned());
    let wanted = record.revision;
    if let Some(rollout) = record.rollout.as_mut().filter(|r| goes_forward(r.phase)) {
        if rollout.from == rollout.to {
            rollout.from = wanted;
        }
        rollout.to = wanted;
    }
}

/// Everybody changes now.
fn at_once(record: &mut WorkloadRecord, at: UnixMs, touched: &mut BTreeSet<Name>) {
    record.at.clear();
    record.on_trial.clear();
    touched.extend(record.placed.iter().cloned());
    if let Some(rollout) = record.rollout.as_mut().filter(|r| r.phase.is_active()) {
        rollout.phase = RolloutPhase::Superseded;
        rollout.reason = "another apply took its place, which changed every node at once".into();
        rollout.paused = false;
        rollout.windows = OpenWindows::default();
        rollout.ended_ms = Some(at);
    }
}

/// A rollout begins from whatever each node has now.
fn start(
    nodes: &BTreeMap<Name, NodeRecord>,
    record: &mut WorkloadRecord,
    from: u64,
    before: &BTreeMap<Name, u64>,
    by: Option<String>,
    at: UnixMs,
    touched: &mut BTreeSet<Name>,
) -> Vec<Effect> {
    let name = record.spec.name.clone();
    let replaced = record.rollout.take().filter(|r| r.phase.is_active());
    // What waited may have been told to fetch something else.
    if replaced.as_ref().is_some_and(|r| r.windows.downloads) {
        touched.extend(record.placed.iter().cloned());
    }
    let mut steps = BTreeMap::new();
    for (node, &has) in before {
        let step = if record.hash_at(has) != record.spec_hash {
            record.at.insert(node.clone(), has);
            Step::untold(StepState::Waiting)
        } else {
            // It has this already, perhaps with other settings around it.
            record.at.remove(node);
            touched.insert(node.clone());
            match record.on_trial.contains_key(node) {
                // Only what it says of this assignment counts.
                true => {
                    let told = nodes.get(node);
                    let online = told.is_some_and(|n| n.presence == Presence::Online);
                    let generation = told.map_or(0, |n| n.generation + 1);
                    Step::told(StepState::Changing, at, online, generation)
                }
                false => Step::untold(StepState::Healthy),
            }
        };
        steps.insert(node.clone(), step);
    }
    let canary = record.spec.update.as_ref().map_or(0, |u| u.canary);
    let total = steps.len();
    record.rollout = Some(Rollout {
        to: record.revision,
        from,
        started_ms: at,
        by,
        phase: match canary {
            0 => RolloutPhase::Rolling,
            _ => RolloutPhase::Canary,
        },
        paused: false,
        reason: String::new(),
        steps,
        progress_ms: at,
        verdict: None,
        ended_ms: None,
        windows: OpenWindows::default(),
    });
    let instead = match replaced {
        Some(old) => format!(
            ", in place of the rollout to {}",
            version_of(record, old.to)
        ),
        None => String::new(),
    };
    let message = format!(
        "{name} is rolled out to {} on {}{instead}",
        record.spec.version,
        super::nodes_text(total)
    );
    vec![
        emit(at, "rollout_started", message)
            .about_workload(&name)
            .effect(),
    ]
}

/// The version of a revision, for people.
pub(super) fn version_of(record: &WorkloadRecord, revision: u64) -> String {
    match record.edition(revision) {
        Some(Revision { spec, .. }) => spec.version.clone(),
        None => format!("revision {revision}"),
    }
}
