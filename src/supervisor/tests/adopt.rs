//! What is found in engines, and what becomes of it.

use super::{
    engine::running,
    run, running_web, with_policy, workload,
    world::{World, name},
};
use crate::{
    model::{
        InstanceState::{Running, Stopped},
        RestartPolicy::{Always, Never, OnFailure},
        RuntimeKind::{Docker, Podman},
    },
    runtime::{Exit, FoundStatus},
};

const RUNS: FoundStatus = FoundStatus::Running {
    started_ms: 1,
    pid: None,
};

#[test]
fn a_restart_of_the_agent_touches_nothing() {
    for policy in [Always, OnFailure, Never] {
        let (mut world, mark) = running_web(policy);
        for _ in 0..3 {
            world.kill(true);
            world.wait(130_000);
        }
        assert!(world.asked_since(mark).is_empty());
        assert!(world.runs("web", "1"));
    }
}

#[test]
fn before_the_first_assignment_nothing_that_is_found_is_touched() {
    let mut world = World::unlisted(&[Docker]);
    let hash = workload("web", "1").spec_hash();
    let docker = world.docker();
    docker.plant(&name("web"), "1", &hash, RUNS);
    docker.plant(&name("old"), "1", "0", RUNS);
    docker.plant(
        &name("done"),
        "1",
        "0",
        FoundStatus::Exited(Exit::default()),
    );
    world.list();
    world.wait(130_000);
    assert!(world.asked.is_empty());
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(world.state("old"), Some(Running));
    assert_eq!(world.state("done"), Some(Stopped));
    world.assign(vec![run(workload("web", "1"))]);
    world.until("only web is left", 1_000, |w| {
        w.runs("web", "1") && w.is_gone("old") && w.is_gone("done")
    });
    assert_eq!(world.begun("web"), 0);
}

#[test]
fn the_one_with_the_wanted_spec_stays_and_the_others_go() {
    let mut world = World::unlisted(&[Docker]);
    world.lenient = true;
    let hash = workload("web", "2").spec_hash();
    let docker = world.docker();
    docker.plant(&name("web"), "1", "1", RUNS);
    let wanted = docker.plant(&name("web"), "2", &hash, RUNS);
    docker.plant(&name("web"), "0", "0", FoundStatus::Created);
    world.assign(vec![run(workload("web", "2"))]);
    world.list();
    world.until("one is left", 1_000, |w| w.runs("web", "2"));
    assert_eq!(world.observed("web").unwrap().handle, Some(wanted));
    assert_eq!(world.begun("web"), 0);
}

#[test]
fn what_an_interrupted_launch_left_is_started() {
    let mut world = World::unlisted(&[Docker]);
    let hash = workload("web", "1").spec_hash();
    let web = (name("web"), FoundStatus::Created);
    world.docker().plant(&web.0, "1", &hash, web.1);
    world.assign(vec![run(with_policy(workload("web", "1"), Never))]);
    world.list();
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert_eq!(world.asked_since(0), ["start web"]);
}

#[test]
fn what_ended_while_nobody_looked_is_started_at_once() {
    let (mut world, mark) = running_web(Always);
    let handle = world.observed("web").unwrap().handle.unwrap();
    world.docker().end(&handle, 1);
    world.kill(false);
    world.until("web runs", 20, |w| w.runs("web", "1"));
    assert_eq!(world.asked_since(mark), ["start web"]);
}

#[test]
fn what_may_run_in_an_engine_that_has_not_answered_yet_is_not_launched_in_another() {
    let mut world = World::unlisted(&[Docker, Podman]);
    let hash = workload("web", "1").spec_hash();
    let podman = world.engines.get_mut(&Podman).unwrap();
    podman.plant(&name("web"), "1", &hash, RUNS);
    world.assign(vec![run(workload("web", "1"))]);
    world.list_one(Docker);
    let reason = world.observed("web").unwrap().reason;
    assert_eq!(reason.as_deref(), Some("waits for podman"));
    world.wait(1_000);
    world.list_one(Podman);
    world.wait(130_000);
    assert!(world.asked.is_empty());
    assert_eq!(world.observed("web").unwrap().runtime, Podman);
    assert!(world.runs("web", "1"));
}

#[test]
fn with_both_engines_docker_comes_first_also_when_podman_is_away() {
    let mut world = World::unlisted(&[Docker, Podman]);
    world.assign(vec![run(workload("web", "1"))]);
    world.engines.get_mut(&Podman).unwrap().up = false;
    world.list();
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert_eq!(world.observed("web").unwrap().runtime, Docker);
}

#[test]
fn a_leftover_in_an_engine_that_is_away_waits_without_haste() {
    for assigned in [true, false] {
        let mut world = World::unlisted(&[Docker, Podman]);
        world.lenient = true;
        let hash = workload("web", "1").spec_hash();
        world.docker().plant(&name("web"), "1", &hash, RUNS);
        let podman = world.engines.get_mut(&Podman).unwrap();
        podman.plant(&name("web"), "0", "0", RUNS);
        let web = run(workload("web", "1"));
        world.assign(if assigned { vec![web] } else { vec![] });
        world.list_one(Docker);
        world.list_one(Podman);
        world.lose(Podman);
        world.wait(30_000);
        let removals = world.asked.iter().filter(|(_, a)| a.starts_with("remove"));
        assert!(removals.count() <= 3, "{:?}", world.asked);
        if !assigned {
            // What is left of it is not forgotten, and nobody claims to know how it is.
            assert!(world.observed("web").is_some());
        }
        world.regain(Podman);
        world.until("the leftover is gone", 1_000, |w| {
            let left = w.engines[&Podman].instances.is_empty();
            left && (w.runs("web", "1") == assigned) && (w.is_gone("web") != assigned)
        });
        assert_eq!(world.docker().instances.iter().any(running), assigned);
    }
}
