//! Orders to this node alone, and their answers.

use super::{engine::Verb, restarted, run, running_web, with_policy, workload, world::World};
use crate::{
    model::{
        InstanceState::{Completed, CrashLoop, Running, Stopped},
        RestartPolicy::{Always, Never},
    },
    supervisor::LocalOrder::{Remove, Restart, Start, Stop},
};

fn answer(world: &World, id: &str) -> Result<(), String> {
    world.answers[id].clone()
}

#[test]
fn a_stop_holds_until_a_start_or_until_the_assignment_changes() {
    let (mut world, mark) = running_web(Always);
    world.order("1", "web", Stop);
    assert!(world.answers.is_empty(), "answered before it has stopped");
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    assert_eq!(answer(&world, "1"), Ok(()));
    // A new generation that is about others does not end it.
    world.assign(vec![run(workload("web", "1")), run(workload("db", "1"))]);
    world.wait(130_000);
    assert_eq!(world.state("web"), Some(Stopped));
    world.order("2", "web", Start);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert_eq!(answer(&world, "2"), Ok(()));
    world.order("3", "web", Stop);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    world.assign(vec![restarted(workload("web", "1"), 1)]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    let steps = [
        "stop web",
        "launch db",
        "start web",
        "stop web",
        "start web",
    ];
    let done = world.asked_since(mark);
    let done: Vec<&str> = done
        .into_iter()
        .filter(|a| *a != "remove db" && *a != "stop db")
        .collect();
    assert_eq!(done, steps);
}

#[test]
fn a_restart_is_answered_once_it_runs_again() {
    let (mut world, mark) = running_web(Never);
    world.order("1", "web", Restart);
    world.until("it is answered", 1_000, |w| !w.answers.is_empty());
    assert_eq!(answer(&world, "1"), Ok(()));
    assert!(world.runs("web", "1"));
    assert_eq!(world.asked_since(mark), ["stop web", "start web"]);
    world.wait(130_000);
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn a_restart_ends_the_waiting_of_a_crash_loop() {
    let mut world = World::new();
    world.lives.insert(super::world::name("web"), (5, 1));
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(60_000);
    world.until("it waits", 100, |w| w.state("web") == Some(CrashLoop));
    let begun = world.begun("web");
    world.lives.clear();
    world.order("1", "web", Restart);
    world.wait(100);
    assert_eq!(world.begun("web"), begun + 1);
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(answer(&world, "1"), Ok(()));
}

#[test]
fn a_restart_of_what_is_being_launched_for_the_first_time_is_not_two() {
    let mut world = World::new();
    world.docker().no_image.insert("1".into());
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(60_000);
    world.until("it waits", 100, |w| w.state("web") == Some(CrashLoop));
    world.docker().no_image.clear();
    world.order("1", "web", Restart);
    world.wait(130_000);
    assert_eq!(world.begun("web"), 1);
    assert_eq!(answer(&world, "1"), Ok(()));
}

#[test]
fn an_order_that_cannot_be_obeyed_is_answered_with_the_reason() {
    let (mut world, _) = running_web(Always);
    world.order("1", "nobody", Stop);
    assert_eq!(answer(&world, "1"), Err("nobody is not on pi".into()));
    world.order("2", "web", Remove);
    let refusal = answer(&world, "2").unwrap_err();
    assert!(refusal.contains("`fleetctl rm web`"), "{refusal}");
    world.assign(vec![]);
    world.order("3", "web", Start);
    let refusal = answer(&world, "3").unwrap_err();
    assert_eq!(refusal, "web is being removed from pi");
    world.order("4", "web", Remove);
    world.until("web is gone", 1_000, |w| w.is_gone("web"));
    assert_eq!(answer(&world, "4"), Ok(()));
}

#[test]
fn a_start_that_fails_is_answered_with_the_reason() {
    let (mut world, _) = running_web(Always);
    world.order("1", "web", Stop);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    let fault = (1, super::engine::Fault::Refuses);
    world.docker().faults.insert(Verb::Start, fault);
    world.order("2", "web", Start);
    world.until("it is answered", 1_000, |w| w.answers.len() == 2);
    let refusal = answer(&world, "2").unwrap_err();
    assert!(refusal.contains("no room to Start"), "{refusal}");
    world.until("web runs", 10_000, |w| w.runs("web", "1"));
}

#[test]
fn a_restart_of_what_has_completed_runs_it_once_more() {
    let (mut world, _) = running_web(Never);
    world.exit("web", 0);
    world.until("it is complete", 1_000, |w| {
        w.state("web") == Some(Completed)
    });
    world.order("1", "web", Restart);
    world.until("it is answered", 1_000, |w| !w.answers.is_empty());
    assert_eq!(world.begun("web"), 2);
    world.exit("web", 0);
    world.wait(130_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 2)
    );
}

#[test]
fn an_order_of_one_assignment_does_not_reach_into_the_next() {
    let (mut world, mark) = running_web(Always);
    world.lose(crate::model::RuntimeKind::Docker);
    world.order("1", "web", Restart);
    world.assign(vec![]);
    world.assign(vec![run(with_policy(workload("web", "1"), Always))]);
    world.regain(crate::model::RuntimeKind::Docker);
    world.wait(130_000);
    assert!(world.asked_since(mark).is_empty());
    assert!(world.runs("web", "1"));
}

#[test]
fn a_stop_holds_over_a_restart_of_the_agent_and_a_start_ends_it() {
    for policy in [Always, Never] {
        let (mut world, mark) = running_web(policy);
        world.order("1", "web", Stop);
        world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
        world.kill(false);
        world.wait(130_000);
        assert_eq!(world.state("web"), Some(Stopped));
        assert_eq!(world.asked_since(mark), ["stop web"]);
        world.order("2", "web", Start);
        world.until("web runs", 1_000, |w| w.runs("web", "1"));
        world.kill(false);
        world.wait(130_000);
        assert!(world.runs("web", "1"), "{policy:?}");
        assert!(world.memory.held.is_empty());
    }
}

#[test]
fn a_stop_that_was_ordered_before_the_assignment_changed_does_not_hold_afterwards() {
    let (mut world, _) = running_web(Always);
    world.order("1", "web", Stop);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    // The assignment changes while the agent is away.
    let assignment = world.assignment.as_mut().unwrap();
    assignment.instances = vec![restarted(workload("web", "1"), 1)];
    world.kill(false);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert!(world.memory.held.is_empty());
}

#[test]
fn nothing_is_remembered_that_was_remembered_already() {
    let (mut world, _) = running_web(Always);
    assert_eq!(world.remembered, 0);
    world.order("1", "web", Stop);
    assert_eq!(world.remembered, 1);
    world.order("2", "web", Stop);
    world.wait(130_000);
    assert_eq!(world.remembered, 1);
}
