//! What will be wanted later is fetched now, and nothing else happens.

use super::{
    engine::{Fault, Verb},
    guarded, run, running_web, workload,
    world::{World, name},
};
use crate::model::{
    AssignedInstance, InstanceState::Running, RestartPolicy::Always, RuntimeKind::Docker,
    TrialState,
};
use std::sync::Arc;

/// `web` 1, with version `next` to come.
fn before(next: &str) -> AssignedInstance {
    AssignedInstance {
        next: Some(Arc::new(workload("web", next))),
        ..run(workload("web", "1"))
    }
}

fn fetched(world: &World) -> Option<String> {
    world.observed("web").unwrap().fetched
}

fn hash(version: &str) -> Option<String> {
    Some(workload("web", version).spec_hash())
}

#[test]
fn it_is_fetched_once_and_the_change_needs_no_second_fetch() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![before("2")]);
    world.wait(130_000);
    assert_eq!(fetched(&world), hash("2"));
    assert_eq!(world.asked_since(mark), ["prepare web"]);
    assert!(world.runs("web", "1") && world.begun("web") == 1);
    // Its window has closed since; what is there is there.
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(fetched(&world), hash("2"));
    // No network any more.
    world
        .docker()
        .faults
        .insert(Verb::Prepare, (99, Fault::Refuses));
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.until("web 2 runs", 100, |w| w.runs("web", "2"));
    let steps = ["prepare web", "stop web", "remove web", "launch web"];
    assert_eq!(world.asked_since(mark), steps);
    assert_eq!(fetched(&world), None);
    world.wait(20_000);
    let verdict = world.observed("web").unwrap().trial.unwrap();
    assert_eq!(verdict.state, TrialState::Passed);
}

#[test]
fn what_cannot_be_fetched_is_tried_again_without_haste_and_told_once() {
    let (mut world, mark) = running_web(Always);
    world.docker().no_image.insert("2".into());
    world.assign(vec![before("2")]);
    world.wait(120_000);
    let tries = world.asked_since(mark).len();
    assert!((3..=6).contains(&tries), "{tries}");
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.reason), (Running, None));
    let told = world.told.iter().filter(|(e, _)| *e == "failed");
    assert_eq!(told.count(), 1);
    world.docker().no_image.clear();
    world.until("it is there", 400_000, |w| fetched(w) == hash("2"));
}

#[test]
fn a_fetch_is_given_up_when_it_is_no_longer_wanted() {
    let (mut world, _) = running_web(Always);
    world.takes_ms = 60_000;
    world.assign(vec![before("2")]);
    world.wait(1_000);
    world.assign(vec![before("3")]);
    assert_eq!(world.cancelled.len(), 1);
    world.wait(1_000);
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(world.cancelled.len(), 2);
    world.wait(130_000);
    assert_eq!(fetched(&world), None);
    world.assign(vec![before("2")]);
    world.wait(1_000);
    world.assign(vec![]);
    assert_eq!(world.cancelled.len(), 3);
}

#[test]
fn a_fetch_that_is_under_way_becomes_that_of_the_change() {
    let (mut world, mark) = running_web(Always);
    world.takes_ms = 5_000;
    world.assign(vec![before("2")]);
    world.wait(4_000);
    world.assign(vec![run(workload("web", "2"))]);
    world.wait(1_500);
    assert_eq!(world.asked_since(mark), ["prepare web", "stop web"]);
    assert!(world.cancelled.is_empty());
    world.until("web 2 runs", 60_000, |w| w.runs("web", "2"));
}

#[test]
fn while_a_fetch_has_become_that_of_the_change_the_next_one_is_not_forgotten() {
    let (mut world, _) = running_web(Always);
    world.takes_ms = 5_000;
    world.assign(vec![before("2")]);
    world.wait(4_000);
    world.assign(vec![AssignedInstance {
        next: Some(Arc::new(workload("web", "3"))),
        ..run(workload("web", "2"))
    }]);
    world.until("2 runs and 3 is there", 60_000, |w| {
        w.runs("web", "2") && fetched(w) == hash("3")
    });
}

#[test]
fn what_runs_is_looked_after_while_something_is_fetched() {
    let (mut world, mark) = running_web(Always);
    world.takes_ms = 60_000;
    world.assign(vec![before("2")]);
    world.wait(1_000);
    world.takes_ms = 10;
    world.exit("web", 1);
    world.until("it runs again", 2_000, |w| w.begun("web") == 2);
    assert_eq!(world.asked_since(mark), ["prepare web", "start web"]);
}

#[test]
fn an_engine_that_goes_away_in_the_middle_is_asked_again_when_it_is_back() {
    let (mut world, _) = running_web(Always);
    world.assign(vec![before("2")]);
    world.lose(Docker);
    world.wait(120_000);
    assert_eq!(fetched(&world), None);
    world.regain(Docker);
    world.until("it is there", 400_000, |w| fetched(w) == hash("2"));
}

#[test]
fn what_is_fetched_ahead_during_a_crash_loop_can_mend_it() {
    let (mut world, _) = running_web(Always);
    world
        .version_lives
        .insert((name("web"), "1".into()), (10, 1));
    world.exit("web", 1);
    world.wait(30_000);
    world.assign(vec![before("2")]);
    world.until("it is there", 100, |w| fetched(w) == hash("2"));
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web 2 runs", 100, |w| w.runs("web", "2"));
}
