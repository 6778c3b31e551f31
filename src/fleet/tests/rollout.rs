//! Rollouts: phases, batches, failures and the way back.

use super::{
    labelled, name, removed,
    rollout_world::{World, update, web},
};
use crate::{
    fleet::{Change, Refusal, RevisionVerdict, RolloutOrder, RolloutPhase, StepState},
    model::{Budget, Desired, Health, HealthCheck, PlacementMode, Share, Update, Window},
};

fn canary() -> Update {
    Update {
        canary: 1,
        max_parallel: Share::Count(2),
        ..update()
    }
}

fn conflict(result: Result<(), Refusal>) -> String {
    match result {
        Err(Refusal::Conflict(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_update_everybody_changes_at_once_and_the_history_knows() {
    let mut w = World::new(3);
    w.apply(web("1", None));
    w.obey_all();
    w.apply(web("2", None));
    assert_eq!(w.told_all(), "2 2 2");
    assert!(w.rollout().is_none());
    assert!(w.instance("n0").guard.is_none());
    let history = w.fleet.history("web").unwrap();
    let shown: Vec<(u64, &str, Option<&str>, usize)> = history
        .iter()
        .map(|r| (r.revision, r.version.as_str(), r.by.as_deref(), r.nodes))
        .collect();
    assert_eq!(shown, [(1, "1", Some("ann"), 0), (2, "2", Some("ann"), 3)]);
    let fields: Vec<&str> = history[1].fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["env.V", "version"]);
    assert_eq!(
        history[0].verdict,
        RevisionVerdict::Good,
        "all were healthy on it"
    );
    w.replays();
}

#[test]
fn a_good_rollout_goes_by_a_canary_and_batches() {
    let mut w = World::rolling(5, canary());
    assert_eq!(w.phase(), RolloutPhase::Canary);
    assert_eq!(w.told_all(), "2 1 1 1 1");
    let guard = w.instance("n0").guard.unwrap();
    assert_eq!(guard.fallback.version, "1");
    assert!(guard.fallback.update.is_none());
    assert_eq!(guard.healthy_deadline_ms, 300_000);
    w.obey_all();
    assert_eq!(w.told_all(), "2 1 1 1 1", "not healthy for long enough");
    w.tick();
    assert_eq!(w.phase(), RolloutPhase::Rolling);
    assert_eq!(w.told_all(), "2 2 2 1 1");
    assert!(
        w.instance("n0").guard.is_none(),
        "it has shown that it works"
    );
    w.obey_all();
    w.tick();
    assert_eq!(w.told_all(), "2 2 2 2 2");
    w.obey_all();
    w.tick();
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    assert_eq!(w.rollout().unwrap().reason, "5 nodes are healthy on it");
    let record = w.fleet.workload("web").unwrap();
    assert!(record.at.is_empty() && record.on_trial.is_empty());
    assert_eq!(record.history[1].verdict, RevisionVerdict::Good);
    for (event, times) in [
        ("rollout_started", 1),
        ("rollout_canaries_healthy", 1),
        ("rollout_batch", 3),
        ("rollout_succeeded", 1),
    ] {
        assert_eq!(w.happened(event), times, "{event}");
    }
    assert_eq!(w.fleet.next_deadline(), None);
    w.replays();
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
fn a_version_that_never_becomes_healthy_fails_by_its_deadline() {
    let mut w = World::rolling(3, update());
    // It obeys, and says nothing.
    let mut rounds = 0;
    while w.phase() == RolloutPhase::Rolling && rounds < 20 {
        assert!(w.tick());
        rounds += 1;
    }
    let verdict = w.rollout().unwrap().verdict.clone().unwrap();
    assert_eq!(verdict.check, "stays up for 10s");
    assert!(
        verdict
            .reason
            .starts_with("it did not become healthy within 5m")
    );
    assert_eq!(w.phase(), RolloutPhase::RollingBack);
    w.run(10);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
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
    assert_eq!(w.told_all(), "1 1 1");
    w.run(10);
    assert_eq!(w.phase(), RolloutPhase::RolledBack);
    w.replays();
}

#[test]
fn canaries_wait_for_a_person_where_they_were_told_to() {
    let by_hand = Update {
        auto_promote: false,
        ..canary()
    };
    let mut w = World::rolling(3, by_hand);
    assert_eq!(
        conflict(w.order(RolloutOrder::Promote)),
        "the canaries of web are not known to be healthy yet"
    );
    w.run(5);
    assert_eq!(w.phase(), RolloutPhase::AwaitingPromotion);
    assert_eq!(w.told_all(), "2 1 1");
    assert!(
        w.rollout()
            .unwrap()
            .reason
            .contains("fleetctl rollout promote web")
    );
    w.order(RolloutOrder::Promote).unwrap();
    assert_eq!(w.told_all(), "2 2 2");
    w.run(5);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
}

#[test]
fn pause_holds_and_resume_goes_on_and_abort_leaves_the_mix() {
    let mut w = World::rolling(3, update());
    w.order(RolloutOrder::Pause).unwrap();
    assert_eq!(
        conflict(w.order(RolloutOrder::Pause)),
        "the rollout of web is paused already"
    );
    w.run(5);
    w.at += 86_400_000;
    assert_eq!(w.told_all(), "2 1 1");
    assert_eq!(w.in_state(StepState::Healthy), ["n0"]);
    assert_eq!(w.fleet.next_deadline(), None, "nothing runs out meanwhile");
    w.order(RolloutOrder::Resume).unwrap();
    assert_eq!(w.told_all(), "2 2 1");
    w.order(RolloutOrder::Abort).unwrap();
    assert_eq!(w.phase(), RolloutPhase::Aborted);
    w.run(5);
    assert_eq!(w.told_all(), "2 2 1");
    assert_eq!(w.fleet.workload_view(&name("web")).unwrap().behind, 1);
    assert_eq!(
        conflict(w.order(RolloutOrder::Pause)),
        "web has no rollout under way"
    );
    // Taken up again, and back.
    let mut on = w.clone();
    on.order(RolloutOrder::Resume).unwrap();
    on.run(9);
    assert_eq!(
        (on.phase(), on.told_all().as_str()),
        (RolloutPhase::Succeeded, "2 2 2")
    );
    w.order(RolloutOrder::Rollback { to: None }).unwrap();
    w.run(9);
    assert_eq!(w.told_all(), "1 1 1");
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
    assert!(
        w.instance("n0").guard.is_none(),
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
fn nodes_go_in_their_sequence_and_budgets_hold() {
    let by_zone = Update {
        max_parallel: Share::ALL,
        sequence: Some("zone".into()),
        ..update()
    };
    let mut w = World::rolling(5, by_zone);
    assert_eq!(w.told_all(), "2 1 2 1 2");
    w.run(5);
    assert_eq!(w.told_all(), "2 2 2 2 2");

    let by_rank = Update {
        sequence: Some("rank".into()),
        max_parallel: Share::ALL,
        ..update()
    };
    let mut w = World::new(12);
    w.apply(web("1", None));
    w.obey_all();
    w.take(labelled("n10", "rank", Some("zero")));
    w.apply(web("2", Some(by_rank)));
    let mut order = Vec::new();
    for _ in 0..12 {
        order.extend(
            w.in_state(StepState::Changing)
                .iter()
                .map(ToString::to_string),
        );
        w.obey_all();
        w.tick();
    }
    assert_eq!(order[..3], ["n0", "n1", "n2"]);
    assert_eq!(order[9..], ["n9", "n11", "n10"], "numbers, then text");

    let few = Update {
        max_parallel: Share::ALL,
        budget: Some(Budget {
            label: "zone".into(),
            max_unavailable: Share::Count(1),
        }),
        ..update()
    };
    let mut w = World::rolling(6, few.clone());
    assert_eq!(w.told_all(), "2 2 1 1 1 1");
    // One that is away takes the whole budget of its zone.
    w.set_online("n4", false);
    w.obey_all();
    w.tick();
    assert_eq!(w.told_all(), "2 2 1 2 1 1");
    w.run(9);
    assert!(
        w.rollout()
            .unwrap()
            .reason
            .contains("1 of 3 in zone=a are without")
    );
    w.set_online("n4", true);
    w.run(9);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.replays();
}

#[test]
fn nodes_change_only_while_a_window_is_open() {
    const HOUR: u64 = 3_600_000;
    let at_night = Update {
        windows: vec![Window {
            opens: "0 2 * * *".into(),
            duration_ms: 2 * HOUR,
            time_zone: None,
        }],
        ..update()
    };
    let mut w = World::rolling(2, at_night.clone());
    assert_eq!(w.told_all(), "1 1");
    assert!(
        w.rollout()
            .unwrap()
            .reason
            .contains("next at 1970-01-01T02:00:00Z")
    );
    assert_eq!(w.fleet.next_deadline(), Some(2 * HOUR));
    w.tick();
    assert_eq!(w.told_all(), "2 1");
    w.run(9);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.replays();
    let mut never = at_night;
    never.windows[0].opens = "0 0 30 2 *".into();
    let refusal = w
        .give(super::applied(&[web("3", Some(never))]))
        .unwrap_err();
    assert!(refusal.to_string().contains("never comes"), "{refusal}");
}

#[test]
fn images_are_fetched_ahead_while_a_download_window_is_open() {
    const HOUR: u64 = 3_600_000;
    let image = |tag: &str, update| {
        let mut w = web(tag, update);
        w.run = crate::model::Run::Container {
            image: format!("docker.io/acme/web:{tag}"),
            command: Vec::new(),
            pull: Default::default(),
            engine: None,
            user: None,
            working_dir: None,
            network: None,
            options: Default::default(),
        };
        w
    };
    let mut w = World::new(2);
    for n in ["n0", "n1"] {
        w.take(super::described(n, super::facts(&[("docker", "27")])));
    }
    w.apply(image("1", None));
    w.obey_all();
    let later = Update {
        download_windows: vec![Window {
            opens: "0 1 * * *".into(),
            duration_ms: HOUR,
            time_zone: None,
        }],
        windows: vec![Window {
            opens: "0 4 * * *".into(),
            duration_ms: HOUR,
            time_zone: None,
        }],
        ..update()
    };
    w.apply(image("2", Some(later)));
    assert!(w.instance("n0").next.is_none());
    let before = super::generations(&w.fleet);
    w.tick();
    assert_eq!(w.at, HOUR);
    assert_eq!(w.instance("n1").next.unwrap().version, "2");
    assert_eq!(w.told_all(), "1 1");
    assert_ne!(super::generations(&w.fleet), before, "they are told so");
    w.tick();
    assert_eq!(w.at, 2 * HOUR);
    assert!(w.instance("n1").next.is_none());
    w.run(9);
    assert_eq!((w.phase(), w.at / HOUR), (RolloutPhase::Succeeded, 4));
}

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
fn an_apply_in_the_middle_takes_the_place_of_the_rollout() {
    let mut w = World::rolling(3, update());
    w.obey_all();
    w.tick();
    assert_eq!(w.told_all(), "2 2 1");
    w.apply(web("3", Some(update())));
    assert_eq!(
        w.rollout().unwrap().from,
        1,
        "the last one that is known to work"
    );
    assert_eq!(w.told_all(), "3 2 1");
    w.bad.insert("3".into(), Default::default());
    w.run(20);
    assert_eq!(
        (w.phase(), w.told_all().as_str()),
        (RolloutPhase::RolledBack, "1 1 1")
    );
    // In place: the rollout goes on, with the new settings.
    let mut w = World::rolling(3, update());
    let mut same = web("2", Some(canary()));
    same.restart.delay_ms = 1;
    w.apply(same);
    assert_eq!(
        (w.rollout().unwrap().to, w.phase()),
        (3, RolloutPhase::Rolling)
    );
    assert_eq!(w.instance("n0").workload.restart.delay_ms, 1);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    // Without `update`: everybody now.
    let mut w = World::rolling(3, update());
    w.apply(web("3", None));
    assert_eq!(
        (w.phase(), w.told_all().as_str()),
        (RolloutPhase::Superseded, "3 3 3")
    );
    assert_eq!(w.fleet.next_deadline(), None);
    w.replays();
}

#[test]
fn what_becomes_of_workload_and_nodes_in_the_middle() {
    // A workload is removed.
    let mut w = World::rolling(3, update());
    w.take(removed(&["web"]));
    assert_eq!(w.fleet.next_deadline(), None);
    w.obey_all();
    // A node is removed, and one joins: it begins with what all had before.
    let mut w = World::rolling(3, update());
    w.take(Change::NodeRemoved { node: name("n1") });
    w.online.remove(&name("n1"));
    w.join(5);
    assert_eq!(w.told_all(), "2 1 1");
    w.run(20);
    assert_eq!(
        (w.phase(), w.told_all().as_str()),
        (RolloutPhase::Succeeded, "2 2 2")
    );
    // It is stopped: nothing is changed, nothing judged.
    let mut w = World::rolling(3, update());
    let desired = |desired| Change::WorkloadDesired {
        workload: name("web"),
        desired,
    };
    w.take(desired(Desired::Stopped));
    assert!(w.rollout().unwrap().reason.contains("web is stopped"));
    assert_eq!(w.fleet.next_deadline(), None);
    w.at += 86_400_000;
    w.take(desired(Desired::Running));
    assert_eq!(w.phase(), RolloutPhase::Rolling);
    w.run(20);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    // It is scaled to nothing.
    let mut w = World::rolling(3, update());
    let mut none = web("2", Some(update()));
    none.placement.mode = PlacementMode::Any { replicas: 0 };
    w.apply(none);
    assert_eq!(w.phase(), RolloutPhase::Succeeded);
    w.replays();
}

#[test]
fn the_history_is_bounded_and_keeps_what_is_referred_to() {
    let mut w = World::rolling(2, update());
    w.order(RolloutOrder::Abort).unwrap();
    for n in 3..30 {
        w.apply(web(&n.to_string(), Some(update())));
        w.order(RolloutOrder::Abort).unwrap();
    }
    let record = w.fleet.workload("web").unwrap();
    assert!(record.history.len() <= 13, "{}", record.history.len());
    for revision in record.at.values().chain(record.on_trial.values()) {
        assert!(record.history.iter().any(|r| r.revision == *revision));
    }
    assert_eq!(record.history[0].spec.version, "1", "it is the good one");
}
