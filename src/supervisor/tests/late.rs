//! Answers to looks that come late: what they tell is of the past.

use super::{run, workload, world::World};
use crate::{
    model::{
        InstanceState::{Completed, Running},
        RestartPolicy::Never,
        RuntimeKind::{Docker, Podman},
    },
    runtime::{Found, FoundStatus},
    supervisor::Input,
};

fn found(world: &World, status: FoundStatus) -> Found {
    let found = world.engines[&Docker].instances[0].clone();
    Found { status, ..found }
}

/// `web` never runs twice; and it has just been launched.
fn launched() -> (World, u64) {
    let mut world = World::new();
    let mut web = workload("web", "1");
    web.restart.policy = Never;
    world.assign(vec![run(web)]);
    // While it is being made.
    let as_of = world.supervisor.begin_look();
    world.until("web runs", 100, |w| w.runs("web", "1"));
    (world, as_of)
}

#[test]
fn what_was_seen_before_its_start_is_not_started_again() {
    let (mut world, as_of) = launched();
    let found = found(&world, FoundStatus::Created);
    world.step(Input::Observed {
        runtime: Docker,
        as_of,
        found,
    });
    assert_eq!(world.state("web"), Some(Running));
    world.exit("web", 0);
    world.wait(600_000);
    assert_eq!(world.state("web"), Some(Completed));
    assert_eq!(world.asked_since(0), ["launch web"]);
}

#[test]
fn what_a_listing_did_not_have_before_the_launch_is_not_launched_again() {
    let (mut world, as_of) = launched();
    world.step(Input::Listed {
        runtime: Docker,
        as_of,
        found: Vec::new(),
    });
    world.wait(600_000);
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(world.asked_since(0), ["launch web"]);
}

#[test]
fn a_look_that_was_overtaken_by_another_does_not_bring_the_past_back() {
    let (mut world, _) = launched();
    let as_of = world.supervisor.begin_look();
    let running = found(&world, world.engines[&Docker].instances[0].status.clone());
    world.exit("web", 0);
    world.until("its end is seen", 100, |w| {
        w.state("web") == Some(Completed)
    });
    world.step(Input::Observed {
        runtime: Docker,
        as_of,
        found: running,
    });
    assert_eq!(world.state("web"), Some(Completed));
    world.wait(1_000);
    assert_eq!(world.state("web"), Some(Completed));
}

#[test]
fn an_end_that_only_a_stale_look_has_seen_is_looked_for_again() {
    let (mut world, as_of) = launched();
    // The engine's event of it came, and was answered, while the launch was under way.
    let handle = world.engines[&Docker].instances[0].handle.clone();
    world.docker().end(&handle, 0);
    let found = found(&world, world.engines[&Docker].instances[0].status.clone());
    world.step(Input::Observed {
        runtime: Docker,
        as_of,
        found,
    });
    world.until("its end is seen", 100, |w| {
        w.state("web") == Some(Completed)
    });
}

#[test]
fn a_listing_from_before_an_engine_went_away_does_not_bring_it_back() {
    let (mut world, _) = launched();
    let as_of = world.supervisor.begin_look();
    world.lose(Docker);
    world.step(Input::Listed {
        runtime: Docker,
        as_of,
        found: Vec::new(),
    });
    world.wait(1_000);
    assert_eq!(world.asked_since(0), ["launch web"]);
    world.regain(Docker);
    world.wait(1_000);
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(world.asked_since(0), ["launch web"]);
}

#[test]
fn an_engine_that_answers_after_another_one_is_believed_all_the_same() {
    let mut world = World::with(&[Docker, Podman]);
    world.assign(vec![run(workload("web", "1"))]);
    world.until("web runs", 100, |w| w.runs("web", "1"));
    world.look_takes_ms = 30_000;
    world.kill(true);
    world.look_takes_ms = 0;
    // Asked first, and slower.
    let docker = world.supervisor.begin_look();
    let podman = world.supervisor.begin_look();
    let found = world.engines[&Docker].instances.clone();
    let mut listed = |runtime, as_of, found| {
        world.step(Input::Listed {
            runtime,
            as_of,
            found,
        });
    };
    listed(Podman, podman, Vec::new());
    listed(Docker, docker, found);
    world.wait(600_000);
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(world.asked_since(0), ["launch web"]);
}
