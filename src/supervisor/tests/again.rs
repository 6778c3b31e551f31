//! Starting again: delays, and restarts that a person asked for.

use super::{
    engine::{Fault, Verb},
    restarted, run, running_web, with_policy, workload,
    world::{World, name},
};
use crate::model::{
    InstanceState::{Backoff, Completed, CrashLoop, Running},
    RestartPolicy::{self, Always, Never, OnFailure},
};

/// When operations `what` were asked for.
fn times(world: &World, what: &str) -> Vec<u64> {
    let all = world.asked.iter().filter(|(_, a)| a == what);
    all.map(|(at, _)| *at).collect()
}

#[test]
fn the_delay_of_a_crash_loop_doubles_up_to_its_bound() {
    let mut world = World::new();
    world.lives.insert(name("web"), (10, 1));
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(200_000);
    let mut before = times(&world, "launch web")[0];
    let starts = times(&world, "start web");
    assert!(starts.len() > 7, "{starts:?}");
    for (n, at) in starts.into_iter().enumerate() {
        let delay = (1_000_u64 << n.min(10)).min(20_000);
        let gap = at - before;
        // It also takes a little to start, to live, and to be noticed.
        assert!((delay * 4 / 5..=delay + 100).contains(&gap), "{n}: {gap}");
        before = at;
    }
}

#[test]
fn an_instance_that_ran_for_long_begins_a_new_row() {
    let mut world = World::new();
    world.lives.insert(name("web"), (5_000, 1));
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(120_000);
    let starts = times(&world, "start web");
    assert!(starts.len() > 15, "{starts:?}");
    for pair in starts.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((5_800..=6_100).contains(&gap), "{gap}");
    }
}

#[test]
fn with_no_delay_the_first_restart_is_at_once_and_a_loop_still_slows_down() {
    let mut web = workload("web", "1");
    web.restart.delay_ms = 0;
    let mut world = World::new();
    world.assign(vec![run(web)]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    world.exit("web", 1);
    world.until("web runs again", 20, |w| w.begun("web") == 2);
    world.lives.insert(name("web"), (1, 1));
    world.exit("web", 1);
    world.wait(60_000);
    let starts = times(&world, "start web").len();
    assert!((6..=20).contains(&starts), "{starts}");
}

#[test]
fn a_crash_loop_delays_nobody_else() {
    let mut world = World::new();
    world.lives.insert(name("bad"), (0, 1));
    world.assign(vec![run(workload("bad", "1"))]);
    world.wait(300_000);
    world.assign(vec![run(workload("bad", "1")), run(workload("web", "1"))]);
    world.until("web runs", 20, |w| w.runs("web", "1"));
    world.exit("web", 1);
    world.until("web runs again", 1_300, |w| w.begun("web") == 2);
}

#[test]
fn a_change_of_the_assignment_ends_the_waiting() {
    let mut world = World::new();
    world.docker().no_image.insert("1".into());
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(200_000);
    world.until("it waits", 100, |w| w.state("web") == Some(CrashLoop));
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web runs", 20, |w| w.runs("web", "2"));
}

#[test]
fn a_launch_that_failed_meanwhile_does_not_delay_the_change_that_mends_it() {
    let mut world = World::new();
    world.docker().no_image.insert("1".into());
    world.takes_ms = 1_000;
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(500);
    world.assign(vec![run(workload("web", "2"))]);
    world.until("web runs", 1_600, |w| w.runs("web", "2"));
}

#[test]
fn why_a_start_fails_is_said_as_long_as_it_fails() {
    let (mut world, _) = running_web(Always);
    world
        .docker()
        .faults
        .insert(Verb::Start, (4, Fault::Refuses));
    world.exit("web", 1);
    world.wait(1_500);
    for _ in 0..5 {
        world.wait(100);
        assert_eq!(world.state("web"), Some(Backoff));
        let reason = world.observed("web").unwrap().reason;
        assert_eq!(reason.as_deref(), Some("no room to Start"));
    }
    world.until("web runs", 60_000, |w| w.runs("web", "1"));
    assert_eq!(world.begun("web"), 2);
}

fn each_policy(mut test: impl FnMut(RestartPolicy)) {
    [Always, OnFailure, Never].into_iter().for_each(&mut test);
}

#[test]
fn a_restart_is_carried_out_once_whatever_the_policy() {
    each_policy(|policy| {
        let web = || with_policy(workload("web", "1"), policy);
        let (mut world, _) = running_web(policy);
        world.docker().stop_code = 0;
        world.assign(vec![restarted(web(), 1)]);
        world.until("it was restarted", 1_000, |w| w.begun("web") == 2);
        world.wait(130_000);
        world.kill(false);
        world.wait(130_000);
        world.assign(vec![restarted(web(), 1)]);
        world.wait(130_000);
        assert!(world.runs("web", "1"), "{policy:?}");
        assert_eq!(world.begun("web"), 2, "{policy:?}");
        // Asked for several times while nobody listened: once.
        world.assign(vec![restarted(web(), 9)]);
        world.wait(130_000);
        assert!(world.runs("web", "1"), "{policy:?}");
        assert_eq!(world.begun("web"), 3, "{policy:?}");
    });
}

#[test]
fn restarts_of_old_are_not_made_up_for_on_a_node_that_gets_the_workload_now() {
    each_policy(|policy| {
        let mut world = World::new();
        world.assign(vec![restarted(
            with_policy(workload("web", "1"), policy),
            7,
        )]);
        world.until("web runs", 1_000, |w| w.runs("web", "1"));
        world.kill(false);
        world.wait(130_000);
        assert_eq!(world.begun("web"), 1);
    });
}

#[test]
fn a_restart_whose_start_fails_is_owed_until_it_worked() {
    each_policy(|policy| {
        for verb in [Verb::Start, Verb::Launch] {
            for fault in [Fault::Refuses, Fault::LosesTheAnswer] {
                let (mut world, _) = running_web(policy);
                world.docker().stop_code = 0;
                world.docker().faults.insert(verb, (1, fault));
                world.assign(vec![restarted(
                    with_policy(workload("web", "1"), policy),
                    1,
                )]);
                world.wait(130_000);
                assert!(world.runs("web", "1"), "{policy:?} {verb:?} {fault:?}");
                assert_eq!(world.begun("web"), 2, "{policy:?} {verb:?} {fault:?}");
            }
        }
    });
}

#[test]
fn a_restart_whose_stop_fails_is_tried_again_without_haste() {
    let (mut world, mark) = running_web(Always);
    world
        .docker()
        .faults
        .insert(Verb::Stop, (4, Fault::Refuses));
    world.assign(vec![restarted(workload("web", "1"), 1)]);
    world.wait(900);
    assert_eq!(world.asked_since(mark), ["stop web"]);
    world.until("it was restarted", 60_000, |w| w.begun("web") == 2);
    world.wait(1_000);
    assert!(world.runs("web", "1"));
}

#[test]
fn a_restart_wakes_what_has_completed() {
    let (mut world, _) = running_web(Never);
    let web = || with_policy(workload("web", "1"), Never);
    world.exit("web", 0);
    world.until("it is complete", 1_000, |w| {
        w.state("web") == Some(Completed)
    });
    world.assign(vec![restarted(web(), 1)]);
    world.until("it runs again", 1_000, |w| w.runs("web", "1"));
    world.exit("web", 0);
    world.wait(130_000);
    assert_eq!(world.state("web"), Some(Completed));
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn the_third_failure_in_a_row_is_a_crash_loop_until_a_run_is_stable() {
    let mut world = World::new();
    world.lives.insert(name("web"), (10, 1));
    world.assign(vec![run(workload("web", "1"))]);
    world.until("it backs off", 100, |w| w.state("web") == Some(Backoff));
    world.until("the loop is seen", 10_000, |w| {
        w.state("web") == Some(CrashLoop)
    });
    let reason = world.observed("web").unwrap().reason.unwrap();
    let third =
        "it failed 3 times in a row and waits 4s before the next try: it ended with exit code 1";
    assert_eq!(reason, third);
    world.wait(100_000);
    let told = |w: &World| w.told.iter().filter(|(e, _)| *e == "crash_loop").count();
    assert_eq!(told(&world), 1);
    world.lives.clear();
    world.until("web runs", 30_000, |w| w.state("web") == Some(Running));
    // Not yet: it must outlast the delay that came before it.
    world.wait(15_000);
    assert!(world.observed("web").unwrap().last_error.is_some());
    world.wait(15_000);
    assert_eq!(world.observed("web").unwrap().last_error, None);
    world.exit("web", 1);
    world.until("it backs off", 100, |w| w.state("web") == Some(Backoff));
    assert_eq!(told(&world), 1);
}
