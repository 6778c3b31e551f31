//! The way back: who goes when, who has said so, and what a person can do.

use super::{
    name,
    rollout_world::{World, canary, conflict, update, web},
};
use crate::{
    fleet::{Change, RevisionVerdict, RolloutOrder, RolloutPhase, StepState},
    model::{Budget, Health, HealthCheck, Share, Update},
};

/// So many at a time.
fn by(max_parallel: Share) -> Update {
    Update {
        max_parallel,
        ..update()
    }
}

fn one_of_each_zone() -> Update {
    Update {
        budget: Some(Budget {
            label: "zone".into(),
            max_unavailable: Share::Count(1),
        }),
        ..by(Share::ALL)
    }
}

/// Until the first failure; nobody says anything after it.
fn fails(w: &mut World) {
    for _ in 0..20 {
        for node in w.online.clone() {
            w.obey(&node);
            if w.phase() == RolloutPhase::RollingBack {
                return;
            }
        }
        w.tick();
    }
    panic!("it has not failed: {:?}", w.rollout());
}

/// Version 1 is guarded too.
fn both_guarded(nodes: usize) -> World {
    let mut w = World::new(nodes);
    w.apply(web("1", Some(update())));
    w.obey_all();
    w.apply(web("2", Some(update())));
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w
}

#[test]
fn a_failure_takes_every_changed_node_back_with_its_verdict() {
    let mut w = World::new(4);
    let mut first = web("1", None);
    first.health = Some(Health::new(HealthCheck::Tcp("127.0.0.1:80".into())));
    w.apply(first.clone());
    w.obey_all();
    w.bad.insert("2".into(), [name("n1")].into());
    let mut second = web("2", Some(canary()));
    second.health = first.health;
    w.apply(second.clone());
    w.obey_all();
    w.tick();
    assert_eq!(w.told_all(), "2 2 2 1");
    w.obey_all();
    assert_eq!(w.phase(), RolloutPhase::RollingBack);
    assert_eq!(w.told_all(), "1 1 1 1");
    w.run(10);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    let verdict = w.rollout().unwrap().verdict.clone().unwrap();
    assert_eq!(verdict.node, Some(name("n1")));
    assert_eq!(verdict.check, "health check tcp 127.0.0.1:80");
    assert_eq!(
        (verdict.reason.as_str(), verdict.last_output.len()),
        ("exit code 1", 1)
    );
    let record = w.fleet.workload("web").unwrap();
    let verdicts: Vec<_> = record.history.iter().map(|r| r.verdict).collect();
    use RevisionVerdict::{Bad, Good};
    assert_eq!(verdicts, [Good, Bad, Good]);
    assert_eq!(record.spec.version, "1");
    let told = w
        .events
        .iter()
        .find(|(e, _)| e == "rollout_failed")
        .unwrap();
    assert!(told.1.contains("on n1, health check tcp"), "{}", told.1);
    assert_eq!(w.happened("rollout_rolled_back"), 1);
    // The same once more, after somebody has mended what it needs.
    w.bad.clear();
    w.apply(second);
    assert_eq!(w.rollout().unwrap().from, 3);
    w.run(20);
    assert_eq!(
        (w.phase(), w.told_all().as_str()),
        (RolloutPhase::Succeeded, "2 2 2 2")
    );
    w.replays();
}

#[test]
fn without_auto_rollback_a_failure_is_held_for_a_person() {
    let by_hand = Update {
        auto_rollback: false,
        ..update()
    };
    let mut w = World::rolling(3, by_hand);
    w.bad.insert("2".into(), [name("n1")].into());
    assert!(w.instance("n0").guard.is_none());
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Rolling);
    let rollout = w.rollout().unwrap();
    assert!(rollout.paused);
    assert!(
        rollout.reason.contains("fleetctl rollout rollback web"),
        "{}",
        rollout.reason
    );
    assert_eq!(w.told_all(), "2 2 1");
    assert_eq!(
        (w.happened("rollout_failed"), w.happened("rollout_paused")),
        (1, 1)
    );
    // Still ill: it is held again. Mended: it goes on.
    w.at += 1;
    w.order(RolloutOrder::Resume).unwrap();
    w.at += 1;
    let mut again = w.clone();
    again.bad.clear();
    again.run(20);
    assert_eq!(again.phase(), RolloutPhase::Succeeded);
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    assert_eq!(w.told_all(), "2 1 1", "what failed goes first");
    w.run(10);
    assert_eq!(w.told_all(), "1 1 1");
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    w.replays();
}

#[test]
fn a_person_goes_back_to_any_revision_that_is_known() {
    let mut w = World::rolling(3, update());
    w.run(20);
    w.apply(web("3", Some(update())));
    w.run(20);
    let unknown = w.order(RolloutOrder::Rollback { to: Some(9) }).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no revision `9` of web; there are `1`, `2`, `3`"
    );
    assert!(conflict(w.order(RolloutOrder::Rollback { to: Some(3) })).contains("is wanted"));
    w.order(RolloutOrder::Rollback { to: Some(2) }).unwrap();
    assert_eq!(w.told_all(), "2 3 3");
    assert_eq!(
        w.instance("n0").guard.unwrap().fallback.version,
        "1",
        "never back to what was taken back"
    );
    w.run(20);
    assert_eq!(
        (w.phase(), w.told_all().as_str()),
        (RolloutPhase::Succeeded, "2 2 2")
    );
    assert_eq!(w.fleet.workload("web").unwrap().revision, 4);
    w.replays();
}

#[test]
fn what_failed_goes_back_at_once_and_healthy_nodes_by_turns() {
    let mut w = World::rolling(6, by(Share::Count(2)));
    w.bad.insert("2".into(), [name("n4")].into());
    fails(&mut w);
    // n4 has failed, n5 was in the middle of its change.
    assert_eq!(w.told_all(), "2 2 2 2 1 1");
    assert_eq!(w.in_state(StepState::Returning), ["n4", "n5"]);
    assert_eq!(
        w.rollout().unwrap().reason,
        "2 nodes go back to 1, 4 nodes will follow"
    );
    w.obey(&name("n5"));
    assert_eq!(w.told_all(), "1 2 2 2 1 1");
    // One that becomes ill has nothing to lose.
    w.bad.insert("2".into(), [name("n3"), name("n4")].into());
    w.obey(&name("n3"));
    assert_eq!(w.told_all(), "1 2 2 1 1 1");
    w.bad.clear();
    w.obey_all();
    assert_eq!(w.told_all(), "1 1 1 1 1 1");
    assert_eq!(w.phase(), RolloutPhase::RollingBack, "not all have said so");
    w.obey_all();
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    assert!(w.rollout().unwrap().reason.ends_with("; all are back on 1"));
    w.replays();
}

#[test]
fn a_budget_holds_on_the_way_back_though_not_for_ever() {
    let mut w = World::rolling(6, one_of_each_zone());
    w.bad.insert("2".into(), [name("n4")].into());
    fails(&mut w);
    assert_eq!(w.told_all(), "2 2 2 2 1 1");
    w.set_online("n5", false);
    w.obey_all();
    // Zone a (n0, n2, n4) goes on; in zone b one is away, as many as may be.
    assert_eq!(w.told_all(), "1 2 2 2 1 1");
    w.obey_all();
    w.obey_all();
    assert_eq!(w.told_all(), "1 2 1 2 1 1");
    let reason = &w.rollout().unwrap().reason;
    assert!(reason.contains("the budget holds it back"), "{reason}");
    let due = w.fleet.rollout_deadline(&name("web")).unwrap();
    assert_eq!(due - w.at, one_of_each_zone().progress_deadline_ms);
    w.at = due;
    w.take(Change::TimePassed {});
    assert_eq!(w.told_all(), "1 1 1 1 1 1");
    w.obey_all();
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    let reason = &w.rollout().unwrap().reason;
    assert!(
        reason
            .ends_with("; 5 nodes are back on 1; 1 node has not been heard since, and follows: n5"),
        "{reason}"
    );
    w.set_online("n5", true);
    assert_eq!(w.in_state(StepState::Returning), ["n5"]);
    w.obey_all();
    assert_eq!(w.in_state(StepState::Returned).len(), 6);
    let reason = &w.rollout().unwrap().reason;
    assert!(reason.ends_with("; all are back on 1"), "{reason}");
    assert_eq!(w.fleet.next_deadline(), None);
    w.replays();
}

#[test]
fn nobody_waits_for_who_cannot_be_heard_and_they_follow_by_turns() {
    let mut w = World::rolling(5, update());
    for _ in 0..3 {
        w.obey_all();
        w.tick();
    }
    assert_eq!(w.in_state(StepState::Healthy), ["n0", "n1", "n2"]);
    w.set_online("n0", false);
    w.set_online("n1", false);
    w.bad.insert("2".into(), [name("n3")].into());
    fails(&mut w);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    assert_eq!(w.told_all(), "2 2 1 1 1");
    assert_eq!(w.in_state(StepState::Waiting), ["n0", "n1"]);
    assert_eq!(w.in_state(StepState::Unchanged), ["n4"]);
    assert_eq!(w.in_state(StepState::Returned), ["n2", "n3"]);
    // Both are back at the same moment, and restart one after the other.
    w.set_online("n0", true);
    w.set_online("n1", true);
    assert_eq!(w.told_all(), "1 2 1 1 1");
    w.obey_all();
    assert_eq!(w.told_all(), "1 1 1 1 1");
    w.obey_all();
    assert_eq!(w.in_state(StepState::Returned).len(), 4);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    w.replays();
}

#[test]
fn only_who_has_said_so_is_back() {
    let mut w = World::rolling(3, by(Share::Count(3)));
    w.bad.insert("2".into(), [name("n1")].into());
    w.obey(&name("n1"));
    assert_eq!(w.phase(), RolloutPhase::RollingBack);
    // They were healthy on version 1, as far as they have said, before all of this.
    let all = ["n0", "n1", "n2"];
    assert_eq!(w.in_state(StepState::Returning), all);
    w.at += 1;
    w.obey(&name("n1"));
    assert_eq!(w.in_state(StepState::Returned), ["n1"]);
    w.tick();
    assert_eq!(w.in_state(StepState::Failed), ["n0", "n2"]);
    let reason = &w.rollout().unwrap().reason;
    assert!(reason.contains("1 node is back on 1; 2 nodes are not healthy on 1 either"));
    w.replays();
}

#[test]
fn a_stopped_workload_goes_back_at_once_and_is_back_when_told() {
    let mut w = World::rolling(3, by(Share::Count(1)));
    w.obey_all();
    w.tick();
    w.take(Change::WorkloadDesired {
        workload: name("web"),
        desired: crate::model::Desired::Stopped,
    });
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    assert_eq!(w.told_all(), "1 1 1");
    w.obey_all();
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    assert_eq!(w.in_state(StepState::Unchanged), ["n2"]);
    w.replays();
}

#[test]
fn the_word_of_the_node_takes_the_place_of_a_guess() {
    let mut w = World::rolling(3, update());
    let told = w.fleet.assignment("n0").unwrap();
    w.obey_all();
    w.set_online("n0", false);
    w.set_online("n0", true);
    // It says nothing more.
    let mut mute = w.clone();
    for _ in 0..20 {
        if mute.phase() != RolloutPhase::Rolling || mute.fleet.next_deadline().is_none() {
            break;
        }
        mute.at = mute.fleet.next_deadline().unwrap();
        mute.take(Change::TimePassed {});
    }
    let mut w = mute;
    let guess = w.rollout().unwrap().verdict.clone().unwrap();
    assert!(guess.guessed, "{guess:?}");
    w.bad.insert("2".into(), Default::default());
    w.at += 1;
    w.obey_as(&name("n0"), &told);
    let own = w.rollout().unwrap().verdict.clone().unwrap();
    assert_eq!((own.reason.as_str(), own.guessed), ("exit code 1", false));
    assert_eq!(own.last_output, ["boom"]);
    assert_eq!(w.happened("rollout_verdict"), 1);
    w.run(9);
    let reason = &w.rollout().unwrap().reason;
    assert!(reason.contains("exit code 1"), "{reason}");
    w.replays();
}

#[test]
fn nobody_is_advised_to_do_what_would_do_nothing() {
    let mut w = both_guarded(2);
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    let rollout = w.rollout().unwrap();
    assert_eq!(rollout.from, rollout.to, "nothing else is known to work");
    w.bad.insert("1".into(), Default::default());
    w.run(20);
    let rollout = w.rollout().unwrap();
    assert!(rollout.paused && rollout.phase == RolloutPhase::Rolling);
    let reason = &rollout.reason;
    assert!(
        reason.contains("no other version of it is known to work"),
        "{reason}"
    );
    assert!(!reason.contains("rollout rollback"), "{reason}");
    let said = conflict(w.order(RolloutOrder::Rollback { to: None }));
    assert!(
        said.contains("fleetctl workload rollback web --to"),
        "{said}"
    );
    // That does something.
    w.order(RolloutOrder::Rollback { to: Some(2) }).unwrap();
    w.run(20);
    assert_eq!(w.told_all(), "2 2");
    w.replays();
}

#[test]
fn history_tells_what_was_taken_back_from_what_was_never_tried() {
    use RevisionVerdict::{Good, TakenBack};
    let mut w = World::rolling(2, update());
    w.run(20);
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    w.run(20);
    let history = w.fleet.history("web").unwrap();
    let verdicts: Vec<_> = history.iter().map(|r| r.verdict).collect();
    assert_eq!(verdicts, [Good, TakenBack, Good]);
    // Other settings around the same program change nothing of that.
    let mut same = web("1", Some(update()));
    same.restart.delay_ms = 1;
    w.apply(same);
    let history = w.fleet.history("web").unwrap();
    assert_eq!(history.last().unwrap().verdict, Good);
}

#[test]
fn what_a_person_goes_back_to_needs_no_canaries_where_it_is_known_to_work() {
    let mut w = World::new(4);
    let asks = Update {
        auto_promote: false,
        ..canary()
    };
    w.apply(web("1", Some(asks)));
    w.obey_all();
    w.apply(web("2", Some(update())));
    w.run(20);
    w.order(RolloutOrder::Rollback { to: Some(1) }).unwrap();
    assert_eq!(w.phase(), RolloutPhase::Rolling);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
}

#[test]
fn a_verdict_names_the_check_as_it_was_on_its_node() {
    let mut w = World::new(2);
    w.apply(web("1", None));
    w.obey_all();
    let mut next = web("2", Some(update()));
    next.health = Some(Health::new(HealthCheck::Tcp(
        "{{ node.name }}.lan:80".into(),
    )));
    w.bad.insert("2".into(), Default::default());
    w.apply(next);
    fails(&mut w);
    let verdict = w.rollout().unwrap().verdict.as_ref().unwrap();
    let node = verdict.node.as_ref().unwrap();
    assert_eq!(verdict.check, format!("health check tcp {node}.lan:80"));
}
