//! Another spec is wanted than what is there.

use super::{run, running_web, stopped, with_policy, workload, world::World};
use crate::model::{
    InstanceState::{Completed, Running, Stopped},
    PlacementMode,
    RestartPolicy::{Always, Never, OnFailure},
};

#[test]
fn a_replacement_fetches_first_and_then_stops_removes_and_launches() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    let steps = ["prepare web", "stop web", "remove web", "launch web"];
    assert_eq!(world.asked_since(mark), steps);
    assert_eq!(world.observed("web").unwrap().version, "2");
}

#[test]
fn the_old_one_goes_on_while_the_new_one_cannot_be_fetched() {
    let (mut world, mark) = running_web(Always);
    world.docker().no_image.insert("2".into());
    world.assign(vec![run(workload("web", "2"))]);
    world.wait(120_000);
    assert_eq!(world.begun("web"), 1);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.version.as_str()), (Running, "1"));
    let reason = observed.reason.unwrap();
    assert!(reason.contains("there is no image for 2"), "{reason}");
    let tries = world.asked_since(mark);
    assert!(tries.iter().all(|a| *a == "prepare web"), "{tries:?}");
    assert!((3..=6).contains(&tries.len()), "{tries:?}");
    // Going back needs nothing.
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(world.observed("web").unwrap().reason, None);
    world.wait(1_000);
    assert!(world.runs("web", "1"));
    assert_eq!(world.begun("web"), 1);
}

#[test]
fn the_old_one_is_still_restarted_while_the_new_one_cannot_be_fetched() {
    let (mut world, _) = running_web(Always);
    world.docker().no_image.insert("2".into());
    world.assign(vec![run(workload("web", "2"))]);
    world.wait(60_000);
    world.exit("web", 1);
    world.until("web 1 runs again", 2_000, |w| w.runs("web", "1"));
    // A power cut, and no network after it.
    let handle = world.observed("web").unwrap().handle.unwrap();
    world.docker().end(&handle, 137);
    world.kill(false);
    world.until("web 1 runs again", 100, |w| w.runs("web", "1"));
    assert_eq!(world.begun("web"), 3);
    let reason = world.observed("web").unwrap().reason.unwrap();
    assert!(reason.contains("there is no image for 2"), "{reason}");
    world.docker().no_image.clear();
    world.until("web 2 runs", 400_000, |w| w.runs("web", "2"));
}

#[test]
fn what_was_fetched_for_one_version_does_not_let_another_one_replace() {
    let (mut world, mark) = running_web(Always);
    world.takes_ms = 5_000;
    world.docker().no_image.insert("3".into());
    world.assign(vec![run(workload("web", "2"))]);
    world.wait(1_000);
    world.assign(vec![run(workload("web", "3"))]);
    world.wait(60_000);
    assert!(world.asked_since(mark).iter().all(|a| *a == "prepare web"));
    assert_eq!(world.begun("web"), 1);
    assert_eq!(world.state("web"), Some(Running));
}

#[test]
fn a_change_taken_back_while_it_is_fetched_touches_nothing() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![run(workload("web", "2"))]);
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(130_000);
    assert_eq!(world.asked_since(mark), ["prepare web"]);
    assert!(world.runs("web", "1"));
}

#[test]
fn policy_and_placement_take_effect_in_place() {
    let (mut world, mark) = running_web(Always);
    let mut web = with_policy(workload("web", "1"), Never);
    web.placement.mode = PlacementMode::Every;
    world.assign(vec![run(web)]);
    world.wait(130_000);
    assert!(world.asked_since(mark).is_empty());
    world.exit("web", 0);
    world.wait(130_000);
    assert_eq!(world.state("web"), Some(Completed));
}

#[test]
fn a_change_during_the_launch_is_carried_out_after_it() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(5);
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
}

#[test]
fn the_end_of_a_replacement_is_judged_by_its_policy_as_any_other() {
    for (policy, code) in [(Never, 0), (OnFailure, 0), (Never, 1)] {
        let (mut world, _) = running_web(policy);
        world.assign(vec![run(with_policy(workload("web", "2"), policy))]);
        world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
        world.exit("web", code);
        world.wait(130_000);
        assert_eq!(world.begun("web"), 2, "{policy:?} {code}");
    }
}

#[test]
fn what_is_assigned_again_while_it_is_being_stopped_runs_again() {
    for policy in [Always, OnFailure, Never] {
        let (mut world, _) = running_web(policy);
        world.docker().stop_code = 0;
        world.assign(vec![]);
        world.wait(5);
        world.assign(vec![run(with_policy(workload("web", "1"), policy))]);
        world.until("web runs", 1_000, |w| w.runs("web", "1"));
        world.wait(130_000);
        assert_eq!(world.begun("web"), 2, "{policy:?}");
    }
}

#[test]
fn what_is_kept_stopped_is_replaced_only_when_it_is_started() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![stopped(workload("web", "2"))]);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    world.wait(130_000);
    assert_eq!(world.asked_since(mark), ["stop web"]);
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
}

#[test]
fn what_has_completed_is_replaced_by_the_next_version() {
    let (mut world, mark) = running_web(Never);
    world.exit("web", 0);
    world.until("it is complete", 1_000, |w| {
        w.state("web") == Some(Completed)
    });
    world.assign(vec![run(with_policy(workload("web", "2"), Never))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    let steps = ["prepare web", "remove web", "launch web"];
    assert_eq!(world.asked_since(mark), steps);
}
