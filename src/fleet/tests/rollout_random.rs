//! Whatever people order and nodes do in the middle of rollouts: what must always hold; and a
//! rollout to many nodes.

use super::{
    applied, name,
    rollout_world::{World, update, web},
};
use crate::{
    fleet::{Change, Effect, RolloutOrder, RolloutPhase, StepState},
    model::{Budget, Desired, Name, Presence, Share, Update},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NODES: usize = 6;

#[derive(Debug, Clone)]
enum Deed {
    Apply(u8, Option<Update>),
    Order(RolloutOrder),
    Online(usize, bool),
    Bad(u8, Option<usize>),
    Good,
    Obey(usize),
    ObeyAll,
    Tick,
    Later(u64),
    Desired(bool),
    Removed,
}

fn some_update() -> impl Strategy<Value = Update> {
    let parts = (
        0u32..3,
        any::<bool>(),
        1u32..4,
        any::<bool>(),
        any::<bool>(),
        prop::option::of(1u32..3),
    );
    parts.prop_map(
        |(canary, auto_promote, at_once, auto_rollback, sequence, budget)| Update {
            canary,
            auto_promote,
            max_parallel: Share::Count(at_once),
            auto_rollback,
            sequence: sequence.then(|| "zone".to_owned()),
            budget: budget.map(|n| Budget {
                label: "zone".into(),
                max_unavailable: Share::Count(n),
            }),
            ..update()
        },
    )
}

fn deed() -> impl Strategy<Value = Deed> {
    let orders = vec![
        RolloutOrder::Pause,
        RolloutOrder::Resume,
        RolloutOrder::Promote,
        RolloutOrder::Abort,
        RolloutOrder::Rollback { to: None },
        RolloutOrder::Rollback { to: Some(1) },
        RolloutOrder::Rollback { to: Some(2) },
    ];
    prop_oneof![
        3 => (1u8..5, prop::option::weighted(0.9, some_update())).prop_map(|(v, u)| Deed::Apply(v, u)),
        2 => prop::sample::select(orders).prop_map(Deed::Order),
        2 => (0..NODES, any::<bool>()).prop_map(|(n, on)| Deed::Online(n, on)),
        1 => (1u8..5, prop::option::of(0..NODES)).prop_map(|(v, n)| Deed::Bad(v, n)),
        1 => Just(Deed::Good),
        4 => (0..NODES).prop_map(Deed::Obey),
        4 => Just(Deed::ObeyAll),
        6 => Just(Deed::Tick),
        1 => (1u64..400_000).prop_map(Deed::Later),
        1 => any::<bool>().prop_map(Deed::Desired),
        1 => Just(Deed::Removed),
    ]
}

fn changing(w: &World) -> BTreeSet<Name> {
    let steps = w.rollout().filter(|r| r.phase.is_active());
    let steps = steps.into_iter().flat_map(|r| &r.steps);
    let changing = steps.filter(|(_, s)| s.state == StepState::Changing);
    changing.map(|(n, _)| n.clone()).collect()
}

/// The same, and those that failed: they have the new version too, and are tried again.
fn told(w: &World) -> BTreeSet<Name> {
    let mut told = changing(w);
    let steps = w.rollout().into_iter().flat_map(|r| &r.steps);
    let failed = steps.filter(|(_, s)| s.state == StepState::Failed);
    told.extend(failed.map(|(n, _)| n.clone()));
    told
}

/// What it said last is good.
fn is_fine(w: &World, node: &Name) -> bool {
    let record = w.fleet.node(node.as_str());
    let said = record.and_then(|n| n.observed.get("web"));
    said.is_some_and(|o| o.state.is_well())
}

/// Nodes of each zone that nobody is served by: away, ill, or told to change.
fn without(w: &World) -> BTreeMap<String, BTreeSet<Name>> {
    let mut all: BTreeMap<String, BTreeSet<Name>> = BTreeMap::new();
    let told = told(w);
    for (node, record) in w.fleet.nodes() {
        if record.presence != Presence::Online || !is_fine(w, node) || told.contains(node) {
            let zone = record.all_labels().remove("zone").unwrap_or_default();
            all.entry(zone).or_default().insert(node.clone());
        }
    }
    all
}

/// The spec that a node is told to run.
fn assigned(w: &World, node: &Name) -> Option<String> {
    let instances = w.fleet.assignment(node.as_str())?.instances;
    let web = instances
        .iter()
        .find(|i| i.workload.name.as_str() == "web")?;
    Some(web.workload.spec_hash())
}

/// Nobody more is made to change than may be, and nobody at the cost of a budget.
fn bounded(before: &World, w: &World, same: bool) -> Result<(), TestCaseError> {
    let Some(rollout) = w.rollout().filter(|r| r.phase.is_active()) else {
        return Ok(());
    };
    let record = w.fleet.workload("web").unwrap();
    let Some(update) = &record.spec.update else {
        return Ok(());
    };
    let (was, is) = (told(before), changing(w));
    let new: BTreeSet<&Name> = is.difference(&was).collect();
    if new.is_empty() || !same {
        return Ok(());
    }
    let most = update.max_parallel.of(rollout.steps.len());
    prop_assert!(is.len() <= most, "{:?} change, {} may", is, most);
    if let Some(budget) = &update.budget {
        let gone = without(before);
        for (zone, now) in without(w) {
            let gone = gone.get(&zone).cloned().unwrap_or_default();
            let ours = now
                .iter()
                .filter(|n| new.contains(n) && !gone.contains(*n))
                // One that has it already, by an earlier apply, is looked at and not touched.
                .filter(|n| assigned(before, n) != assigned(w, n))
                // One that has just said that it is ill loses nothing.
                .filter(|n| is_fine(w, n))
                .count();
            let all = budget.max_unavailable.of(3);
            prop_assert!(ours == 0 || now.len() <= all, "{} {:?}", zone, now);
        }
    }
    Ok(())
}

/// On the way back no healthy node is told to go while as many are on their way as may be. Those that
/// failed, are ill, or were in the middle of their change are not asked for a turn.
fn bounded_back(before: &World, w: &World, same: bool) -> Result<(), TestCaseError> {
    let record = w.fleet.workload("web");
    let rollout = w.rollout().filter(|r| same && r.phase.is_back());
    let Some((record, rollout)) = record.zip(rollout) else {
        return Ok(());
    };
    let left = record.history.iter().find(|r| r.revision == rollout.to);
    let Some(update) = left.and_then(|r| r.spec.update.as_ref()) else {
        return Ok(());
    };
    let was = |node: &Name| Some(before.rollout()?.steps.get(node)?.state);
    let serves = |node: &Name| {
        let known = w.fleet.node(node.as_str());
        known.is_some_and(|n| {
            let fine = n.observed.get("web").is_some_and(|o| o.state.is_well());
            n.presence == Presence::Online && fine
        })
    };
    let tried = &before.fleet.workload("web").unwrap().on_trial;
    let going = rollout.steps.iter().filter(|(node, s)| {
        s.state == StepState::Returning && w.online.contains(*node) && before.online.contains(*node)
    });
    let going: Vec<&Name> = going.map(|(node, _)| node).collect();
    let by_turn = |node: &&&Name| {
        let waited = matches!(was(node), Some(StepState::Healthy | StepState::Waiting));
        waited && serves(node) && !tried.contains_key(**node)
    };
    let most = update.max_parallel.of(rollout.steps.len());
    let told = going.iter().filter(by_turn).count();
    let stopped = record.desired == Desired::Stopped;
    prop_assert!(
        told == 0 || stopped || going.len() <= most,
        "{:?} go back, {} may: {:?}",
        going,
        most,
        before.rollout()
    );
    Ok(())
}

fn sound(w: &World) -> Result<(), TestCaseError> {
    let Some(record) = w.fleet.workload("web") else {
        return Ok(());
    };
    for node in record.at.keys().chain(record.on_trial.keys()) {
        prop_assert!(record.placed.contains(node), "{} is gone", node);
    }
    let known = |r: &u64| record.history.iter().any(|h| h.revision == *r);
    prop_assert!(
        record
            .at
            .values()
            .chain(record.on_trial.values())
            .all(known)
    );
    prop_assert!(
        record
            .history
            .last()
            .is_none_or(|r| r.revision == record.revision)
    );
    if let Some(rollout) = record.rollout.as_ref().filter(|r| r.phase.is_active()) {
        prop_assert!(rollout.steps.keys().eq(record.placed.iter()));
        for (node, step) in &rollout.steps {
            if step.state == StepState::Waiting {
                prop_assert!(record.at.contains_key(node), "{} has it already", node);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_keeps_its_bounds_and_ends(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut w = World::new(NODES);
        w.apply(web("1", None));
        w.obey_all();
        for deed in deeds {
            let before = w.clone();
            let generations = super::generations(&before.fleet);
            let mut same = true;
            w.at += 1;
            let change = match deed {
                Deed::Apply(version, update) => {
                    same = false;
                    Some(applied(&[web(&version.to_string(), update)]))
                }
                Deed::Order(order) => {
                    let workload = name("web");
                    Some(Change::RolloutOrdered { workload, order })
                }
                Deed::Online(n, on) => {
                    w.set_online(&format!("n{n}"), on);
                    None
                }
                Deed::Bad(version, on) => {
                    let on = on.map(|n| name(&format!("n{n}")));
                    w.bad.insert(version.to_string(), on.into_iter().collect());
                    None
                }
                Deed::Good => {
                    w.bad.clear();
                    None
                }
                Deed::Obey(n) => {
                    w.obey(&name(&format!("n{n}")));
                    None
                }
                Deed::ObeyAll => {
                    w.obey_all();
                    same = false;
                    None
                }
                Deed::Tick => {
                    w.tick();
                    None
                }
                Deed::Later(ms) => {
                    w.at += ms;
                    None
                }
                Deed::Desired(run) => Some(Change::WorkloadDesired {
                    workload: name("web"),
                    desired: if run { Desired::Running } else { Desired::Stopped },
                }),
                Deed::Removed => {
                    same = false;
                    Some(super::removed(&["web"]))
                }
            };
            if let Some(change) = change
                && let Ok(effects) = w.give(change)
            {
                let told = effects.iter().filter_map(|e| match e {
                    Effect::PublishAssignment(node) => Some(node),
                    _ => None,
                });
                let told: BTreeSet<&Name> = told.collect();
                for (node, generation) in super::generations(&w.fleet) {
                    let assigned = |w: &World| w.fleet.assignment(node.as_str()).map(|a| a.instances);
                    let grown = generations.get(&node) != Some(&generation);
                    prop_assert_eq!(grown, told.contains(&node));
                    prop_assert!(grown || assigned(&before) == assigned(&w), "{} was not told", node);
                }
            }
            bounded(&before, &w, same)?;
            bounded_back(&before, &w, same)?;
            sound(&w)?;
            // Looked at again at once, nothing follows.
            if w.fleet.next_deadline().is_some_and(|due| due <= w.at) {
                w.take(Change::TimePassed {});
            }
            prop_assert!(w.fleet.next_deadline().is_none_or(|due| due > w.at));
            let mut again = w.fleet.clone();
            again.advance(&BTreeSet::from([name("web")]), w.at);
            let mut twice = again.clone();
            prop_assert_eq!(twice.advance(&BTreeSet::from([name("web")]), w.at), Vec::new());
            prop_assert_eq!(&twice, &again);
        }

        // Everybody is there again and tells the truth, and nobody holds anything.
        w.at += 1;
        for n in 0..NODES {
            w.set_online(&format!("n{n}"), true);
        }
        w.bad.clear();
        let workload = name("web");
        let _ = w.give(Change::WorkloadDesired { workload, desired: Desired::Running });
        for _ in 0..60 {
            let _ = w.order(RolloutOrder::Resume);
            let _ = w.order(RolloutOrder::Promote);
            w.obey_all();
            w.tick();
        }
        w.obey_all();
        if let Some(rollout) = w.rollout() {
            prop_assert!(!rollout.phase.is_active(), "{:?}", rollout);
            prop_assert!(rollout.phase != RolloutPhase::Failed);
        }
        w.replays();
    }
}

/// How long its decisions take is measured by `tests/bench/decisions.rs`.
#[test]
fn a_rollout_to_a_thousand_nodes_succeeds() {
    let all = Update {
        max_parallel: Share::Percent(20),
        ..update()
    };
    let mut w = World::rolling(1_000, all);
    w.run(200);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
}
