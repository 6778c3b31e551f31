//! Sentences about rollouts, for people.

use super::super::{NodeRecord, WorkloadRecord};
use super::{
    Revision, Rollout, RolloutPhase, StepState, Verdict,
    advance::count,
    begin::version_of,
    nodes_text,
    windows::{opening, time_text},
};
use crate::model::{Name, Presence, UnixMs, Update};
use std::collections::BTreeMap;

/// Names in one sentence.
const MAX_NAMES: usize = 10;

/// Some names, and how many more there are.
pub(super) fn list(names: &[Name]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(Name::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Where, what was asked, and what came of it.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let last = match verdict.last_output.last() {
        Some(line) => format!(" (its last line: {line})"),
        None => String::new(),
    };
    match &verdict.node {
        Some(node) => format!("on {node}, {}: {}{last}", verdict.check, verdict.reason),
        None => format!("{}: {}{last}", verdict.check, verdict.reason),
    }
}

/// What a rollout that goes forward waits for.
pub(super) fn reason_of(
    nodes: &BTreeMap<Name, NodeRecord>,
    record: &WorkloadRecord,
    rollout: &Rollout,
    update: &Update,
    held_back: Option<String>,
    at: UnixMs,
) -> String {
    let name = &record.spec.name;
    let of = |state| count(rollout, state);
    let (changing, waiting) = (of(StepState::Changing), of(StepState::Waiting));
    if rollout.paused {
        return match &rollout.verdict {
            Some(verdict) => format!(
                "it failed {}; {}",
                verdict_text(verdict),
                ways_out(record, rollout)
            ),
            None => format!("a person has paused it: `fleetctl rollout resume {name}` goes on"),
        };
    }
    let done = format!(
        "{} of {} are healthy",
        of(StepState::Healthy),
        nodes_text(rollout.steps.len())
    );
    if changing > 0 {
        let unheard = rollout.steps.iter().filter(|(n, s)| {
            let node = nodes.get(*n);
            s.state == StepState::Changing && node.is_none_or(|n| n.presence != Presence::Online)
        });
        let unheard: Vec<Name> = unheard.map(|(n, _)| n.clone()).collect();
        let lost = match unheard.is_empty() {
            true => String::new(),
            false => format!("; not heard since they were told to: {}", list(&unheard)),
        };
        let change = match (rollout.phase, changing) {
            (RolloutPhase::Canary, 1) => "1 canary changes".to_owned(),
            (RolloutPhase::Canary, n) => format!("{n} canaries change"),
            (_, 1) => "1 node changes".to_owned(),
            (_, n) => format!("{n} nodes change"),
        };
        return format!("{done}; {change}{lost}{}", unguarded_text(rollout));
    }
    if rollout.phase == RolloutPhase::AwaitingPromotion {
        return format!(
            "the canaries are healthy: `fleetctl rollout promote {name}` changes the other {}",
            nodes_text(waiting)
        );
    }
    if !rollout.windows.changes && !update.windows.is_empty() {
        let next = opening(&update.windows, at).next_ms;
        let when = next.map_or_else(String::new, |at| format!(", next at {}", time_text(at)));
        return format!("{done}; it waits for a maintenance window{when}");
    }
    if let Some(why) = held_back {
        return format!("{done}; the budget holds it back: {why}");
    }
    format!(
        "{done}; {} cannot be heard, and it waits for them",
        nodes_text(waiting)
    )
}

/// Nodes that cannot go back by themselves; nothing where all can.
pub(super) fn unguarded_text(rollout: &Rollout) -> String {
    let open = rollout.steps.values().filter(|s| s.unguarded);
    match open.filter(|s| s.state == StepState::Changing).count() {
        0 => String::new(),
        n => format!(
            "; on {} the assignment has no room for the old version: there, only the controller \
             can take it back",
            nodes_text(n)
        ),
    }
}

/// What a person can do where a failure is held for them.
pub(super) fn ways_out(record: &WorkloadRecord, rollout: &Rollout) -> String {
    let name = &record.spec.name;
    format!(
        "`fleetctl rollout resume {name}` tries again; {}",
        take_back_text(record, rollout)
    )
}

/// How a rollout is taken back, or what else there is to do where no order would do that.
pub(super) fn take_back_text(record: &WorkloadRecord, rollout: &Rollout) -> String {
    let name = &record.spec.name;
    let from = Some(rollout.from).filter(|from| *from != rollout.to);
    if let Some(back) = from.or_else(|| record.earlier()) {
        let to = version_of(record, back);
        return format!("`fleetctl rollout rollback {name}` takes it back to {to}");
    }
    let other = |r: &Revision| r.spec_hash != record.spec_hash;
    match record.history.iter().any(other) {
        true => format!(
            "no other version of it is known to work: apply one that does, or name one of \
             `fleetctl workload history {name}` with `fleetctl workload rollback {name} --to REVISION`"
        ),
        false => "there is no other version to go back to: apply one that works".into(),
    }
}
