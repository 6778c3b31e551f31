//! Rollouts on their way there: phases, batches, windows, orders.

use super::{
    labelled, name, removed,
    rollout_world::{World, canary, conflict, update, web},
};
use crate::{
    fleet::{Change, RevisionVerdict, RolloutOrder, RolloutPhase, StepState},
    model::{Budget, Desired, PlacementMode, Share, Update, Window},
};

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
        // Agents say one by one that they are well, and the next one changes then.
        ("rollout_batch", 4),
        ("rollout_succeeded", 1),
    ] {
        assert_eq!(w.happened(event), times, "{event}");
    }
    assert_eq!(w.fleet.next_deadline(), None);
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

#[test]
fn a_plan_tells_what_is_under_way_and_what_cannot_be_guarded() {
    let w = World::rolling(3, canary());
    let plan = w.fleet.plan(&[web("2", Some(canary()))], false);
    assert!(plan.is_empty());
    assert_eq!(
        plan.under_way[&name("web")],
        "the rollout to 2 is under way: 0 of 3 nodes are healthy; 1 canary changes"
    );
    // Settings alone are taken by the rollout that is under way.
    let faster = Update {
        max_parallel: Share::ALL,
        ..canary()
    };
    let plan = w.fleet.plan(&[web("2", Some(faster))], false);
    let how = plan.changed[0].rollout.as_ref().unwrap();
    assert!(how.ends_with("it goes on by these settings"), "{how}");
    let mut aborted = w.clone();
    aborted.order(RolloutOrder::Abort).unwrap();
    let plan = aborted.fleet.plan(&[web("2", Some(canary()))], false);
    let told = &plan.under_way[&name("web")];
    assert!(
        told.contains("was aborted") && told.contains("rollout resume web"),
        "{told}"
    );
    let first = World::new(1).fleet.plan(&[web("1", Some(canary()))], false);
    let how = first.added[0].rollout.as_ref().unwrap();
    assert!(how.contains("no version yet to go back to"), "{how}");
    let unguarded = World::new(1).fleet.plan(&[web("1", None)], false);
    assert_eq!(unguarded.added[0].rollout, None);
}

#[test]
fn a_wanted_version_that_runs_nowhere_is_shown_with_the_reason() {
    let mut w = World::rolling(2, canary());
    let versions = w.fleet.versions();
    let shown: Vec<(&str, bool, usize)> = versions[0]
        .running
        .iter()
        .map(|r| (r.version.as_str(), r.wanted, r.nodes.len()))
        .collect();
    assert_eq!(shown, [("2", true, 0), ("1", false, 2)]);
    let why = versions[0].running[0].reason.as_ref().unwrap();
    assert!(why.contains("1 canary changes"), "{why}");
    w.obey_all();
    assert_eq!(w.fleet.versions()[0].running[0].reason, None);
}
