//! Guarded changes: a new version that works, one that does not, and what is not held against it.
//! No controller is anywhere in this world: all of it is the agent's own decision.

use super::{
    checked, counted, guarded, hourly, run, running_web, scheduled, stopped, trial, with_policy,
    workload,
    world::{World, name},
};
use crate::{
    model::{
        InstanceState::{CrashLoop, Running, Scheduled, Stopped, Unknown},
        OnUnhealthy,
        RestartPolicy::{Always, Never},
        RuntimeKind::Docker,
        TrialState::{self, Failed, Passed},
        Workload,
    },
    supervisor::{Input, LocalOrder, Memory},
};

/// `web` 1 runs, and 2 is to take its place under guard.
fn changed(two: Workload) -> (World, usize) {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![guarded(two, workload("web", "1"))]);
    (world, mark)
}

/// A version whose health is asked, and which is not restarted for it.
fn asked() -> Workload {
    let mut two = checked(workload("web", "2"));
    if let Some(health) = &mut two.health {
        health.on_unhealthy = OnUnhealthy::Report;
    }
    two
}

fn rolled_back(world: &World) -> Vec<&str> {
    let told = world.told.iter().filter(|(e, _)| *e == "rolled_back");
    told.map(|(_, m)| m.as_str()).collect()
}

#[test]
fn a_version_that_stays_healthy_passes_and_is_never_judged_again() {
    let (mut world, mark) = changed(workload("web", "2"));
    assert_eq!(trial(&world), Some(TrialState::Running));
    // Up for ten seconds is healthy; that for five more has passed.
    world.wait(14_900);
    assert_eq!(trial(&world), Some(TrialState::Running));
    world.wait(200);
    assert_eq!(trial(&world), Some(Passed));
    // Its begin, and its end.
    assert_eq!(world.remembered, 2);
    let steps = ["prepare web", "stop web", "remove web", "launch web"];
    assert_eq!(world.asked_since(mark), steps);
    world.lives.insert(name("web"), (100, 1));
    world.exit("web", 1);
    world.until("it crashes", 60_000, |w| w.state("web") == Some(CrashLoop));
    world.kill(false);
    world.wait(600_000);
    assert_eq!(trial(&world), Some(Passed));
    assert_eq!(world.observed("web").unwrap().version, "2");
    assert_eq!(world.remembered, 2);
    assert!(rolled_back(&world).is_empty());
}

#[test]
fn a_version_that_crashes_goes_back_at_its_third_failure_with_its_last_lines() {
    let (mut world, mark) = running_web(Always);
    world.output = vec!["no display".into()];
    world.lives.insert(name("web"), (50, 3));
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.until("it has failed", 10_000, |w| trial(w) == Some(Failed));
    world.lives.clear();
    world.until("web 1 runs", 10_000, |w| w.runs("web", "1"));
    let verdict = world.observed("web").unwrap().trial.unwrap();
    let reason = "it failed 3 times in a row: it ended with exit code 3";
    assert_eq!(verdict.reason.as_deref(), Some(reason));
    assert_eq!(verdict.version, "2");
    assert_eq!(verdict.spec_hash, workload("web", "2").spec_hash());
    assert_eq!(verdict.last_output, ["no display"]);
    let told = format!("went back from version 2 to 1: {reason}");
    assert_eq!(rolled_back(&world), [told.as_str()]);
    world.wait(600_000);
    assert!(world.runs("web", "1"));
    let launches = world.asked_since(mark);
    let launches = launches.iter().filter(|a| **a == "launch web");
    assert_eq!(launches.count(), 2, "2, and 1 again");
}

#[test]
fn a_failure_for_good_goes_back_at_once() {
    let two = with_policy(workload("web", "2"), Never);
    let (mut world, _) = changed(two);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.output = vec!["last word".into()];
    world.exit("web", 1);
    world.until("web 1 runs", 200, |w| w.runs("web", "1"));
    let verdict = world.observed("web").unwrap().trial.unwrap();
    assert_eq!(verdict.state, Failed);
    assert_eq!(verdict.reason.as_deref(), Some("it ended with exit code 1"));
    assert_eq!(verdict.last_output, ["last word"]);
}

#[test]
fn what_its_runtime_refuses_goes_back_at_once() {
    let (mut world, mark) = running_web(Always);
    world.docker().refused.insert("2".into());
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    // What was made of 2 and never started goes when everything is listed again.
    world.until("web 1 runs again", 61_000, |w| {
        w.runs("web", "1") && w.begun("web") == 2
    });
    let reason = world.observed("web").unwrap().trial.unwrap().reason;
    assert_eq!(
        reason.as_deref(),
        Some("it cannot be started: 2 has no such command")
    );
    let launches = world.asked_since(mark);
    let launches = launches.iter().filter(|a| **a == "launch web");
    assert_eq!(launches.count(), 2, "2 is not tried again");
}

#[test]
fn a_version_that_never_becomes_healthy_goes_back_at_the_deadline() {
    let (mut world, _) = running_web(Always);
    world
        .health
        .insert(name("web"), Some(Err("it is 503".into())));
    let begins = world.now;
    world.assign(vec![guarded(asked(), workload("web", "1"))]);
    world.until("it has failed", 61_000, |w| trial(w) == Some(Failed));
    assert!(world.now - begins >= 60_000, "{}", world.now - begins);
    world.until("web 1 runs", 1_000, |w| w.runs("web", "1"));
    let reason = world
        .observed("web")
        .unwrap()
        .trial
        .unwrap()
        .reason
        .unwrap();
    let expected = "it was not healthy for 5s within 1m of the change: it is 503";
    assert_eq!(reason, expected);
}

#[test]
fn a_version_that_is_healthy_now_and_then_goes_back_at_the_deadline() {
    let (mut world, _) = running_web(Always);
    let mut two = asked();
    if let Some(health) = &mut two.health {
        health.interval_ms = 1_000;
        health.retries = 1;
    }
    world.assign(vec![guarded(two, workload("web", "1"))]);
    for n in 0..40 {
        let answer = if n % 2 == 0 {
            Ok(())
        } else {
            Err("busy".to_owned())
        };
        world.health.insert(name("web"), Some(answer));
        world.wait(2_000);
    }
    assert_eq!(trial(&world), Some(Failed));
    assert!(world.runs("web", "1"));
}

#[test]
fn a_fetch_that_fails_is_not_held_against_it_and_the_old_one_goes_on() {
    let (mut world, mark) = running_web(Always);
    world.docker().no_image.insert("2".into());
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.wait(900_000);
    assert_eq!(trial(&world), Some(TrialState::Running));
    assert!(world.runs("web", "1") && world.begun("web") == 1);
    assert!(world.asked_since(mark).iter().all(|a| *a == "prepare web"));
    assert_eq!(world.remembered, 0, "nothing has begun");
    // Nor are starts of the agent meanwhile.
    for _ in 0..5 {
        world.kill(false);
        world.wait(1_000);
    }
    world.docker().no_image.clear();
    world.until("web 2 runs", 400_000, |w| w.runs("web", "2"));
    world.wait(20_000);
    assert_eq!(trial(&world), Some(Passed));
}

#[test]
fn what_failed_is_not_tried_again_however_it_is_assigned_with_its_guard() {
    let (mut world, _) = changed(with_policy(workload("web", "2"), Never));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.exit("web", 1);
    world.until("web 1 runs", 1_000, |w| w.runs("web", "1"));
    let begun = world.begun("web");
    let again = || {
        guarded(
            with_policy(workload("web", "2"), Never),
            workload("web", "1"),
        )
    };
    // Delivered again, as it was.
    let same = world.assignment.clone().unwrap();
    world.step(Input::Assigned(same));
    world.wait(130_000);
    // For another reason.
    world.assign(vec![again(), run(workload("db", "1"))]);
    world.wait(130_000);
    // Over power cuts, with nobody to ask.
    for _ in 0..4 {
        world.kill(false);
        world.wait(130_000);
    }
    assert!(world.runs("web", "1"));
    assert_eq!(world.begun("web"), begun);
    assert_eq!(trial(&world), Some(Failed));
    assert_eq!(rolled_back(&world).len(), 1);
    // What a person orders is about what runs now.
    world.order("1", "web", LocalOrder::Restart);
    world.until("it was restarted", 1_000, |w| w.begun("web") == begun + 1);
    world.wait(1_000);
    assert!(world.runs("web", "1"));
}

#[test]
fn a_person_s_stop_on_the_node_outlives_the_way_back() {
    let (mut world, _) = changed(with_policy(workload("web", "2"), Never));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.exit("web", 1);
    world.until("web 1 runs", 1_000, |w| w.runs("web", "1"));
    world.order("1", "web", LocalOrder::Stop);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    world.kill(false);
    world.wait(130_000);
    assert_eq!(world.state("web"), Some(Stopped));
}

#[test]
fn without_a_guard_the_controller_has_decided() {
    let (mut world, _) = changed(with_policy(workload("web", "2"), Never));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.exit("web", 1);
    world.until("web 1 runs", 1_000, |w| w.runs("web", "1"));
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    assert_eq!(trial(&world), None);
    assert_eq!(world.memory.trials.len(), 0);
    world.wait(600_000);
    assert!(world.runs("web", "2"));
}

#[test]
fn once_something_else_was_assigned_the_same_version_may_be_tried_again() {
    let (mut world, _) = changed(with_policy(workload("web", "2"), Never));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.exit("web", 1);
    world.until("web 1 runs", 1_000, |w| w.runs("web", "1"));
    let begun = world.begun("web");
    // The controller goes back as well: what runs is not touched.
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(1_000);
    assert_eq!((world.begun("web"), trial(&world)), (begun, None));
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.wait(20_000);
    assert_eq!(trial(&world), Some(Passed));
    assert!(world.runs("web", "2"));
}

#[test]
fn another_version_begins_another_trial() {
    let (mut world, _) = changed(workload("web", "2"));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.assign(vec![guarded(workload("web", "3"), workload("web", "1"))]);
    world.until("web 3 runs", 1_000, |w| w.runs("web", "3"));
    world.wait(20_000);
    let verdict = world.observed("web").unwrap().trial.unwrap();
    assert_eq!((verdict.state, verdict.version.as_str()), (Passed, "3"));
}

#[test]
fn a_guard_around_what_runs_already_passes_after_the_shortest_time() {
    let (mut world, mark) = running_web(Always);
    world.wait(60_000);
    world.assign(vec![guarded(workload("web", "1"), workload("web", "0"))]);
    world.wait(4_900);
    assert_eq!(trial(&world), Some(TrialState::Running));
    world.wait(200);
    assert_eq!(trial(&world), Some(Passed));
    assert!(world.asked_since(mark).is_empty());
    // A guard that would go back to itself guards nothing.
    world.assign(vec![guarded(workload("web", "1"), workload("web", "1"))]);
    assert_eq!(trial(&world), None);
}

#[test]
fn a_stop_on_purpose_suspends_it() {
    let (mut world, _) = changed(workload("web", "2"));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    let stop = || {
        let mut stop = guarded(workload("web", "2"), workload("web", "1"));
        stop.desired = stopped(workload("web", "2")).desired;
        stop
    };
    world.assign(vec![stop()]);
    world.wait(600_000);
    assert_eq!(world.state("web"), Some(Stopped));
    for _ in 0..5 {
        world.kill(false);
        world.wait(1_000);
    }
    assert_eq!(trial(&world), Some(TrialState::Running));
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.wait(20_000);
    assert_eq!(trial(&world), Some(Passed));
    assert!(world.runs("web", "2"));
}

#[test]
fn a_person_s_restart_does_not_fail_it() {
    let (mut world, _) = changed(workload("web", "2"));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    // Together far longer than the deadline.
    for n in 0..10 {
        world.wait(9_000);
        world.order(&n.to_string(), "web", LocalOrder::Restart);
    }
    assert_eq!(trial(&world), Some(TrialState::Running));
    world.wait(20_000);
    assert_eq!(trial(&world), Some(Passed));
}

#[test]
fn while_its_engine_is_away_it_is_not_judged() {
    let (mut world, _) = changed(workload("web", "2"));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.lose(Docker);
    world.wait(600_000);
    assert_eq!(world.state("web"), Some(Unknown));
    assert_eq!(trial(&world), Some(TrialState::Running));
    world.regain(Docker);
    world.wait(20_000);
    assert_eq!(trial(&world), Some(Passed));
}

#[test]
fn the_third_start_of_the_agent_within_one_trial_ends_it() {
    let (mut world, _) = running_web(Always);
    world.health.insert(name("web"), None);
    world.assign(vec![guarded(asked(), workload("web", "1"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    for _ in 0..2 {
        world.kill(false);
        world.wait(30_000);
        assert_eq!(trial(&world), Some(TrialState::Running));
    }
    world.kill(false);
    assert_eq!(trial(&world), Some(Failed));
    world.until("web 1 runs", 3_000, |w| w.runs("web", "1"));
    let reason = world
        .observed("web")
        .unwrap()
        .trial
        .unwrap()
        .reason
        .unwrap();
    assert!(reason.contains("was started 3 times"), "{reason}");
    assert_eq!(world.begun("web"), 3, "1, 2, and 1 again");
}

#[test]
fn a_node_that_is_cut_off_decides_alone_and_says_so_later() {
    let (mut world, _) = running_web(Always);
    world.output = vec!["cannot open the database".into()];
    world
        .health
        .insert(name("web"), Some(Err("refused".into())));
    world.assign(vec![guarded(asked(), workload("web", "1"))]);
    // From here on nobody hears it: a power cut in the middle, and a night.
    world.wait(30_000);
    world.kill(false);
    world.wait(8 * 3_600_000);
    assert!(world.runs("web", "1"));
    world.kill(false);
    world.wait(10_000);
    // What it says when it is heard again.
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.version.as_str(), observed.state), ("1", Running));
    assert_eq!(observed.spec_hash, workload("web", "1").spec_hash());
    let verdict = observed.trial.unwrap();
    assert_eq!(verdict.state, Failed);
    assert_eq!(verdict.spec_hash, workload("web", "2").spec_hash());
    assert!(verdict.reason.unwrap().ends_with(": refused"));
    assert_eq!(verdict.last_output, ["cannot open the database"]);
    assert!(verdict.at_ms > 0);
    assert_eq!(world.begun("web"), 3);
}

#[test]
fn the_last_lines_are_waited_for_but_not_for_long() {
    for (fetch_answers, expected) in [(true, vec!["why".to_owned()]), (false, vec![])] {
        let (mut world, _) = changed(with_policy(workload("web", "2"), Never));
        world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
        world.output = vec!["why".into()];
        world.output_is_lost = !fetch_answers;
        world.exit("web", 1);
        world.until("web 1 runs", 3_000, |w| w.runs("web", "1"));
        let verdict = world.observed("web").unwrap().trial.unwrap();
        assert_eq!(verdict.last_output, expected, "{fetch_answers}");
    }
}

#[test]
fn what_runs_by_the_clock_has_passed_when_it_waits_well_for_its_time() {
    let (mut world, _) = running_web(Always);
    world.assign(vec![run(scheduled("1", &hourly()))]);
    world.exit("web", 0);
    world.wait(60_000);
    world.assign(vec![guarded(
        scheduled("2", &hourly()),
        scheduled("1", &hourly()),
    )]);
    world.wait(60_000);
    assert_eq!(world.state("web"), Some(Scheduled));
    assert_eq!(trial(&world), Some(Passed));
}

#[test]
fn what_runs_so_many_times_has_passed_when_its_runs_went_well() {
    let two = || Workload {
        version: "2".into(),
        ..workload("web", "2")
    };
    let mut two = two();
    two.mode = counted(3).mode;
    let mut world = World::new();
    world.lives.insert(name("web"), (1_000, 0));
    world.assign(vec![run(counted(2))]);
    world.wait(500);
    world.assign(vec![guarded(two, counted(2))]);
    world.wait(60_000);
    assert_eq!(trial(&world), Some(Passed));
    assert_eq!(rolled_back(&world), Vec::<&str>::new());
}

#[test]
fn what_an_older_agent_remembered_is_still_read() {
    let old = r#"{"restarts_done":{"web":2},"held":{}}"#;
    let memory: Memory = serde_json::from_str(old).unwrap();
    assert!(memory.trials.is_empty() && memory.restarts_done.len() == 1);
    let written = serde_json::to_string(&Memory::default()).unwrap();
    assert_eq!(written, r#"{"restarts_done":{}}"#);
    let least = r#"{"trials":{"web":{"spec_hash":"00","state":"failed"}}}"#;
    let memory: Memory = serde_json::from_str(least).unwrap();
    assert_eq!(memory.trials["web"].state, Failed);
}

#[test]
fn a_workload_that_is_taken_away_in_the_middle_is_gone() {
    let (mut world, _) = changed(workload("web", "2"));
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    world.assign(vec![]);
    world.until("it is gone", 1_000, |w| w.is_gone("web"));
    assert!(world.memory.trials.is_empty());
}
