//! Who decides whether a version works, and for how long it is on trial.

use super::{
    name,
    rollout_world::{World, canary, update, web},
};
use crate::{
    fleet::{Change, Refusal, RevisionVerdict, RolloutOrder, RolloutPhase, StepState},
    model::{InstanceState, PlacementMode, RunMode, Share, Update, Window},
};

#[test]
fn who_cannot_be_heard_gets_it_later_on_trial() {
    let mut w = World::rolling(3, canary());
    w.set_online("n2", false);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    assert_eq!(w.told_all(), "2 2 1");
    let mut fine = w.clone();
    fine.set_online("n2", true);
    assert_eq!(fine.told_all(), "2 2 2");
    assert_eq!(fine.instance("n2").guard.unwrap().fallback.version, "1");
    fine.obey_all();
    assert_eq!(
        fine.in_state(StepState::Changing),
        ["n2"],
        "its agent still watches"
    );
    // It takes it back by itself.
    w.bad.insert("2".into(), [name("n2")].into());
    w.set_online("n2", true);
    w.obey_all();
    assert_eq!(w.told_all(), "2 2 1");
    assert_eq!(w.happened("rollout_straggler_failed"), 1);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.obey_all();
    assert_eq!(w.fleet.versions()[0].running.len(), 2);
    w.replays();
}

#[test]
fn a_few_nodes_say_nothing_while_most_cannot_be_heard() {
    let mut w = World::rolling(5, canary());
    for gone in ["n1", "n2", "n3", "n4"] {
        w.set_online(gone, false);
    }
    w.run(20);
    assert_ne!(w.phase(), RolloutPhase::Succeeded);
    assert_eq!(w.told_all(), "2 1 1 1 1");
    // Back, they take their turns as all others.
    for back in ["n1", "n2", "n3", "n4"] {
        w.set_online(back, true);
    }
    let at_once = canary().max_parallel.of(5);
    assert_eq!(w.in_state(StepState::Changing).len(), at_once);
    w.run(40);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    assert_eq!(w.told_all(), "2 2 2 2 2");
    w.replays();
}

#[test]
fn a_node_that_falls_silent_in_the_middle_gets_its_time_when_it_is_back() {
    let mut w = World::rolling(3, update());
    w.set_online("n0", false);
    w.at += 290_000;
    w.set_online("n0", true);
    w.at += 290_000;
    assert!(w.fleet.next_deadline().is_some_and(|due| due > w.at));
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    // And one that stays away: nobody could go on, so time decides.
    let mut w = World::rolling(3, update());
    w.set_online("n0", false);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    let verdict = w.rollout().unwrap().verdict.clone().unwrap();
    assert_eq!(verdict.check, "progress deadline");
    // The last of many: the others are well, and it decides by itself.
    let mut w = World::rolling(3, update());
    for _ in 0..2 {
        w.obey_all();
        w.tick();
    }
    assert_eq!(w.in_state(StepState::Changing), ["n2"]);
    w.set_online("n2", false);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    assert!(w.instance("n2").guard.is_some());
}

#[test]
fn silence_is_no_health_where_the_agent_watches() {
    let mut w = World::rolling(2, update());
    w.obey_all();
    assert_eq!(w.in_state(StepState::Changing), ["n0"]);
    // The version takes its node down, and nobody has noticed that it is silent.
    w.at += 3 * update().min_healthy_time_ms;
    assert!(w.fleet.next_deadline().is_some_and(|due| due > w.at));
    assert_eq!(w.give(Change::TimePassed {}), Err(Refusal::Unchanged));
    assert_eq!(w.in_state(StepState::Changing), ["n0"]);
    // It was only that nobody had asked.
    w.obey_all();
    assert_eq!(w.in_state(StepState::Healthy), ["n0"]);
    w.replays();
}

#[test]
fn a_version_that_was_shown_nowhere_stays_on_trial() {
    let replicas = |version: &str, replicas| {
        let mut web = web(version, Some(update()));
        web.placement.mode = PlacementMode::Any { replicas };
        web
    };
    let mut w = World::new(3);
    w.apply(replicas("1", 3));
    w.obey_all();
    w.apply(replicas("2", 3));
    assert_eq!(w.told_all(), "2 1 1");
    // To nothing and back.
    w.apply(replicas("2", 0));
    w.obey_all();
    assert!(!w.rollout().unwrap().phase.is_active());
    let verdict = |w: &World| w.fleet.history("web").unwrap().last().unwrap().verdict;
    assert_eq!(verdict(&w), RevisionVerdict::Untried);
    w.apply(replicas("2", 2));
    let placed: Vec<String> = {
        let record = w.fleet.workload("web").unwrap();
        record.placed.iter().map(ToString::to_string).collect()
    };
    for node in &placed {
        let guard = w.instance(node).guard;
        assert_eq!(guard.unwrap().fallback.version, "1", "{node}");
    }
    let mut bad = w.clone();
    bad.bad.insert("2".into(), Default::default());
    bad.obey_all();
    for node in &placed {
        assert_eq!(bad.told(node), "1", "{node}");
    }
    assert_eq!(bad.happened("rollout_straggler_failed"), placed.len());
    assert_eq!(verdict(&bad), RevisionVerdict::Untried);
    bad.replays();
    w.obey_all();
    w.at += update().min_healthy_time_ms;
    w.obey_all();
    assert_eq!(verdict(&w), RevisionVerdict::Good);
    assert!(placed.iter().all(|node| w.instance(node).guard.is_none()));
    // Known to work, it is guarded against no more.
    w.apply(replicas("2", 3));
    let nodes = w.fleet.nodes();
    let guarded = nodes.filter(|(n, _)| w.instance(n.as_str()).guard.is_some());
    assert_eq!(guarded.count(), 0);
    w.replays();
}

#[test]
fn the_failure_of_a_superseded_canary_is_noted_when_it_is_said() {
    let at_night = Update {
        windows: vec![Window {
            opens: "0 2 * * *".into(),
            duration_ms: 3_600_000,
            time_zone: None,
        }],
        ..canary()
    };
    let mut w = World::rolling(3, canary());
    w.bad.insert("2".into(), [name("n0")].into());
    w.apply(web("3", Some(at_night)));
    assert_eq!(w.told_all(), "2 1 1", "it waits for the night");
    assert_eq!(w.instance("n0").guard.unwrap().fallback.version, "1");
    w.obey_all();
    assert_eq!(w.told_all(), "1 1 1");
    assert_eq!(w.happened("rollout_straggler_failed"), 1);
    let history = w.fleet.history("web").unwrap();
    assert_eq!(history[1].verdict, RevisionVerdict::Bad);
    assert_eq!(w.in_state(StepState::Waiting).len(), 3);
    w.run(40);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    assert_eq!(w.told_all(), "3 3 3");
    w.replays();
}

#[test]
fn whose_runs_are_all_used_is_done_with_any_version() {
    let counted = |version: &str, update| {
        let mut web = web(version, update);
        web.mode = RunMode::NTimes { max_runs: 3 };
        web
    };
    let mut w = World::new(2);
    w.apply(counted("1", None));
    w.obey_all();
    let quiet = Update {
        auto_rollback: false,
        max_parallel: Share::ALL,
        ..update()
    };
    let before = w.instance("n0");
    w.apply(counted("2", Some(quiet)));
    assert_eq!(w.told_all(), "2 2");
    for (runs, healthy) in [(2, false), (3, true)] {
        for node in ["n0", "n1"] {
            let node = name(node);
            let mut done = w.observed(&node, &before);
            done.state = InstanceState::Completed;
            done.health = None;
            done.runs = Some(runs);
            let generation = w.fleet.assignment(node.as_str()).unwrap().generation;
            w.take(Change::StateReported {
                node,
                generation,
                instances: vec![done],
                engines: Vec::new(),
            });
        }
        let steps = &w.rollout().unwrap().steps;
        let is_healthy = steps.values().all(|s| s.healthy_since_ms.is_some());
        assert_eq!(is_healthy, healthy, "{runs} of 3 runs");
    }
    w.tick();
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.replays();
}

#[test]
fn who_joins_where_nothing_is_gone_back_to_shows_nothing() {
    let mut w = World::new(2);
    w.apply(web("1", Some(update())));
    w.obey_all();
    w.apply(web("2", Some(update())));
    w.run(20);
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    assert_eq!(w.told_all(), "1 2");
    w.join(2);
    assert_eq!(w.in_state(StepState::Unchanged), ["n2"]);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.replays();
}
