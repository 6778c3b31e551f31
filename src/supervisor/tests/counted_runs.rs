//! So many runs, one after the other.

use super::{
    counted, run,
    world::{World, name},
};
use crate::{
    model::{
        InstanceState::{Completed, CrashLoop, Failed, Pending, Running},
        Workload,
    },
    supervisor::{Input, LocalOrder::Restart},
};

/// A world that has just got `web` for so many runs of a tenth of a second.
fn world(max_runs: u32, code: i32) -> World {
    let mut world = World::new();
    world.lives.insert(name("web"), (100, code));
    world.assign(vec![run(counted(max_runs))]);
    world
}

#[test]
fn it_runs_so_many_times_with_its_delay_in_between() {
    let mut world = world(3, 0);
    world.until("the first has ended", 1_000, |w| {
        w.state("web") == Some(Pending)
    });
    let observed = world.observed("web").unwrap();
    let waits = "waits to begin run 2 of 3";
    assert_eq!(observed.reason.as_deref(), Some(waits));
    world.wait(130_000);
    assert_eq!(world.begun("web"), 3);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.runs), (Completed, Some(3)));
    assert_eq!((observed.reason, observed.restarts), (None, 0));
    for gap in world.asked.windows(2).map(|pair| pair[1].0 - pair[0].0) {
        assert!((900..1_200).contains(&gap), "{:?}", world.asked);
    }
}

#[test]
fn what_is_complete_stays_so_whatever_becomes_of_the_agent_and_of_what_it_left() {
    for code in [0, 1] {
        let mut world = world(2, code);
        world.wait(130_000);
        let state = world.state("web");
        assert_eq!(state, Some(if code == 0 { Completed } else { Failed }));
        world.kill(false);
        world.wait(130_000);
        assert_eq!((world.state("web"), world.begun("web")), (state, 2));
        world.vanish("web");
        world.kill(false);
        world.wait(130_000);
        assert_eq!((world.state("web"), world.begun("web")), (state, 2));
    }
}

/// What counts its runs is written down before the assignment that asks for it may be.
#[test]
fn runs_are_not_forgotten_for_an_older_assignment_on_the_disk() {
    let mut world = World::new();
    world.assign(Vec::new());
    let older = world.assignment.clone();
    world.lives.insert(name("web"), (100, 0));
    world.assign(vec![run(counted(2))]);
    world.wait(130_000);
    assert_eq!(world.begun("web"), 2);
    let newer = std::mem::replace(&mut world.assignment, older).unwrap();
    world.kill(false);
    world.wait(1_000);
    world.step(Input::Assigned(newer));
    world.wait(130_000);
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn runs_that_fail_count_and_slow_down() {
    let mut world = world(4, 1);
    world.until("the loop is seen", 20_000, |w| {
        w.state("web") == Some(CrashLoop)
    });
    assert_eq!(world.begun("web"), 3);
    world.wait(130_000);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, world.begun("web")), (Failed, 4));
    let reason = observed.reason.as_deref();
    assert_eq!(reason, Some("it ended with exit code 1"));
}

#[test]
fn a_launch_that_fails_is_no_run() {
    let mut world = World::new();
    world.lives.insert(name("web"), (100, 0));
    world.docker().no_image.insert("1".into());
    world.assign(vec![run(counted(2))]);
    world.wait(60_000);
    assert_eq!(world.state("web"), Some(CrashLoop));
    world.docker().no_image.clear();
    world.wait(60_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 2)
    );
}

#[test]
fn a_restart_begins_the_count_anew() {
    let mut world = world(2, 0);
    world.wait(60_000);
    assert_eq!(world.state("web"), Some(Completed));
    world.order("1", "web", Restart);
    world.until("it runs", 1_000, |w| w.state("web") == Some(Running));
    assert_eq!(world.answers["1"], Ok(()));
    world.wait(60_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 4)
    );
    world.assign(vec![super::restarted(counted(2), 1)]);
    world.wait(60_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 6)
    );
    world.kill(false);
    world.wait(60_000);
    assert_eq!(world.begun("web"), 6);
}

#[test]
fn what_runs_over_a_restart_of_the_agent_is_the_run_that_was_counted() {
    let mut world = world(2, 0);
    world.lives.insert(name("web"), (30_000, 0));
    world.assign(vec![run(counted(2))]);
    world.until("it runs", 1_000, |w| w.state("web") == Some(Running));
    world.kill(false);
    world.kill(true);
    world.wait(130_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 2)
    );
}

#[test]
fn another_version_keeps_the_count_and_another_number_begins_anew() {
    let mut world = world(2, 0);
    world.wait(60_000);
    let next = |max_runs| Workload {
        version: "2".into(),
        ..counted(max_runs)
    };
    world.assign(vec![run(next(2))]);
    world.wait(60_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 2)
    );
    world.assign(vec![run(next(3))]);
    world.wait(60_000);
    assert_eq!(
        (world.state("web"), world.begun("web")),
        (Some(Completed), 5)
    );
}

#[test]
fn each_count_is_one_write_and_the_end_another() {
    let mut world = world(3, 0);
    world.wait(600_000);
    assert_eq!(world.remembered, 4);
}
