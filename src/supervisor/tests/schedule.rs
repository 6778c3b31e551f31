//! Runs by the clock, and clocks that jump.

use super::{
    hourly, run, scheduled, stopped, with_policy,
    world::{BEGINNING_MS, World, name},
};
use crate::{
    model::{
        InstanceState::{CrashLoop, Failed, Running, Scheduled},
        MissedRun, Overlap,
        RestartPolicy::OnFailure,
        Schedule, Workload,
    },
    supervisor::LocalOrder::{Restart, Start},
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR as i64;

fn missed(missed: MissedRun) -> Schedule {
    Schedule { missed, ..hourly() }
}

/// A world that has just got `web` by `schedule`; a run takes a second.
fn world(schedule: &Schedule) -> World {
    let mut world = World::new();
    world.lives.insert(name("web"), (1_000, 0));
    world.assign(vec![run(scheduled("1", schedule))]);
    world
}

#[test]
fn it_waits_for_its_time_and_runs_once_each_time() {
    let mut world = world(&hourly());
    world.wait(HOUR - 1);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.reason), (Scheduled, None));
    assert_eq!(observed.next_run_ms, Some(BEGINNING_MS + HOUR));
    assert_eq!((observed.runs, world.begun("web")), (Some(0), 0));
    world.until("it runs", 20, |w| w.state("web") == Some(Running));
    world.wait(MINUTE);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.exit_code), (Scheduled, Some(0)));
    assert_eq!(observed.next_run_ms, Some(BEGINNING_MS + 2 * HOUR));
    world.wait(3 * HOUR);
    let asked = ["launch web", "start web", "start web", "start web"];
    assert_eq!(world.asked_since(0), asked);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.runs, observed.restarts), (Some(4), 0));
}

#[test]
fn a_time_that_comes_during_a_run_is_skipped_queued_or_ends_it() {
    for (overlap, during, afterwards) in [
        (Overlap::Skip, 1, 1),
        (Overlap::Queue, 1, 2),
        (Overlap::Replace, 2, 2),
    ] {
        let mut world = world(&Schedule {
            overlap,
            ..hourly()
        });
        world.lives.insert(name("web"), (90 * MINUTE, 0));
        world.wait(2 * HOUR + MINUTE);
        assert_eq!(world.begun("web"), during, "{overlap:?}");
        world.wait(34 * MINUTE);
        assert_eq!(world.begun("web"), afterwards, "{overlap:?}");
    }
}

#[test]
fn a_run_that_fails_is_tried_again_only_where_the_policy_says_so() {
    let mut world = world(&hourly());
    world.lives.insert(name("web"), (10, 1));
    world.output = vec!["no paper".into()];
    world.wait(HOUR + 10 * MINUTE);
    assert_eq!(world.begun("web"), 1);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.exit_code), (Scheduled, Some(1)));
    let error = observed.last_error.as_deref();
    assert_eq!(error, Some("it ended with exit code 1"));
    assert_eq!(observed.last_output, ["no paper"]);

    let again = with_policy(scheduled("1", &hourly()), OnFailure);
    world.assign(vec![run(again)]);
    world.wait(HOUR);
    assert_eq!(world.state("web"), Some(CrashLoop));
    assert!(world.begun("web") > 5);
    world.lives.insert(name("web"), (10, 0));
    world.until("it worked", MINUTE, |w| w.state("web") == Some(Scheduled));
    let begun = world.begun("web");
    world.wait(20 * MINUTE);
    assert_eq!(world.begun("web"), begun);
    assert_eq!(world.observed("web").unwrap().last_error, None);
}

#[test]
fn a_launch_that_fails_has_had_its_time() {
    let mut world = world(&hourly());
    world.docker().no_image.insert("1".into());
    world.wait(HOUR + 30 * MINUTE);
    assert_eq!(world.asked_since(0), ["launch web"]);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.state, Scheduled);
    let error = observed.last_error.as_deref();
    assert_eq!(error, Some("there is no image for 1"));
    world.docker().no_image.clear();
    world.wait(HOUR);
    assert_eq!(world.begun("web"), 1);
}

#[test]
fn times_that_passed_while_the_node_was_off_follow_the_users_word() {
    for (policy, runs) in [(MissedRun::Skip, 0), (MissedRun::RunOnce, 1)] {
        let mut world = world(&missed(policy));
        world.wait(MINUTE);
        world.jump(5 * HOUR as i64);
        world.kill(false);
        world.wait(2 * MINUTE);
        assert_eq!(world.begun("web"), runs, "{policy:?}");
        world.kill(false);
        world.wait(2 * MINUTE);
        assert_eq!(world.begun("web"), runs, "{policy:?}");
        assert_eq!(world.state("web"), Some(Scheduled));
    }
}

#[test]
fn times_that_passed_while_it_was_stopped_follow_the_users_word() {
    for (policy, runs) in [(MissedRun::Skip, 0), (MissedRun::RunOnce, 1)] {
        let web = || scheduled("1", &missed(policy));
        let mut world = world(&missed(policy));
        world.assign(vec![stopped(web())]);
        world.wait(5 * HOUR + MINUTE);
        assert_eq!(world.begun("web"), 0);
        world.assign(vec![run(web())]);
        world.wait(MINUTE);
        assert_eq!(world.begun("web"), runs, "{policy:?}");
    }
}

#[test]
fn a_clock_that_jumps_by_ten_years_makes_at_most_one_run() {
    for (policy, runs) in [(MissedRun::Skip, 0), (MissedRun::RunOnce, 1)] {
        let mut world = world(&missed(policy));
        world.wait(MINUTE);
        world.jump(TEN_YEARS);
        world.wait(2 * MINUTE);
        assert_eq!(world.begun("web"), runs, "{policy:?}, ahead");
        world.jump(-TEN_YEARS);
        world.wait(2 * MINUTE);
        assert_eq!(world.begun("web"), runs, "{policy:?}, and back");
        world.wait(HOUR);
        assert_eq!(world.begun("web"), runs + 1, "{policy:?}, its next time");
        // To 2017, where no clock can be.
        world.jump(-TEN_YEARS);
        world.wait(2 * HOUR);
        assert_eq!(world.begun("web"), runs + 1, "{policy:?}, far back");
        world.jump(TEN_YEARS);
        world.wait(2 * HOUR);
        assert!(world.begun("web") <= runs + 4, "{policy:?}, set again");
        assert!(world.begun("web") >= runs + 2, "{policy:?}, set again");
    }
}

#[test]
fn a_small_jump_back_runs_nothing_twice() {
    let mut world = world(&hourly());
    world.wait(HOUR + MINUTE);
    assert_eq!(world.begun("web"), 1);
    world.jump(-(30 * MINUTE as i64));
    world.wait(HOUR);
    assert_eq!(world.begun("web"), 1);
    world.wait(HOUR);
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn a_board_that_wakes_up_in_1970_waits_for_its_clock() {
    let mut world = World::new();
    world.wall_ms = 0;
    world.assign(vec![run(scheduled("1", &hourly()))]);
    world.wait(3 * HOUR);
    assert_eq!(
        (world.begun("web"), world.state("web")),
        (0, Some(Scheduled))
    );
    let reason = world.observed("web").unwrap().reason.unwrap();
    assert_eq!(
        reason,
        "waits for the clock: it shows 1970-01-01, which cannot be"
    );
    world.wall_ms = BEGINNING_MS - world.now;
    world.wait(2 * MINUTE);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.reason, world.begun("web")), (None, 0));
    world.wait(HOUR);
    assert_eq!(world.begun("web"), 1);
}

#[test]
fn a_person_can_have_it_run_now() {
    for order in [Restart, Start] {
        let mut world = world(&hourly());
        world.wait(MINUTE);
        world.order("1", "web", order);
        world.until("it is answered", 1_000, |w| !w.answers.is_empty());
        assert_eq!(world.answers["1"], Ok(()));
        world.wait(2 * MINUTE);
        assert_eq!(
            (world.begun("web"), world.state("web")),
            (1, Some(Scheduled))
        );
        world.order("2", "web", order);
        world.wait(2 * MINUTE);
        assert_eq!(world.asked_since(0), ["launch web", "start web"]);
        world.wait(HOUR);
        assert_eq!(world.begun("web"), 3);
    }
}

#[test]
fn another_version_is_fetched_at_once_and_runs_at_the_next_time() {
    let mut world = world(&hourly());
    world.wait(HOUR + MINUTE);
    let mark = world.asked.len();
    world.assign(vec![run(scheduled("2", &hourly()))]);
    world.wait(MINUTE);
    assert_eq!(world.asked_since(mark), ["prepare web"]);
    assert_eq!(world.state("web"), Some(Scheduled));
    world.wait(HOUR);
    let asked = ["prepare web", "remove web", "launch web"];
    assert_eq!(world.asked_since(mark), asked);
    assert_eq!(world.observed("web").unwrap().runs, Some(2));
}

#[test]
fn another_version_does_not_cut_a_run_short() {
    let mut world = world(&hourly());
    world.lives.insert(name("web"), (10 * MINUTE, 0));
    world.wait(HOUR + MINUTE);
    world.assign(vec![run(scheduled("2", &hourly()))]);
    world.wait(MINUTE);
    assert_eq!(world.state("web"), Some(Running));
    let reason = world.observed("web").unwrap().reason;
    let waits = "the change waits for the end of this run";
    assert_eq!(reason.as_deref(), Some(waits));
    world.wait(HOUR);
    assert_eq!(world.observed("web").unwrap().version, "2");
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn another_timetable_begins_anew_and_the_run_goes_on() {
    let mut world = world(&hourly());
    world.lives.insert(name("web"), (10 * MINUTE, 0));
    world.wait(HOUR + MINUTE);
    let often = Schedule {
        cron: "*/20 * * * *".into(),
        ..hourly()
    };
    world.assign(vec![run(scheduled("1", &often))]);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.state, observed.runs), (Running, Some(0)));
    let next = BEGINNING_MS + HOUR + 20 * MINUTE;
    assert_eq!(observed.next_run_ms, Some(next));
    world.wait(20 * MINUTE);
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn a_schedule_that_never_comes_is_said_and_touches_nobody() {
    let never = Schedule {
        cron: "0 0 30 2 *".into(),
        ..hourly()
    };
    let mut world = World::new();
    let db = super::workload("db", "1");
    world.assign(vec![run(db), run(scheduled("1", &never))]);
    world.wait(3 * HOUR);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.state, Failed);
    assert_eq!(observed.reason.as_deref(), Some("`0 0 30 2 *` never comes"));
    assert!(world.runs("db", "1") && world.begun("web") == 0);
}

#[test]
fn the_disk_is_written_only_where_missed_runs_are_made_up_for() {
    for (policy, writes) in [(MissedRun::Skip, 0), (MissedRun::RunOnce, 25)] {
        let mut world = world(&missed(policy));
        world.wait(24 * HOUR + MINUTE);
        assert_eq!(world.begun("web"), 24);
        assert_eq!(world.remembered, writes, "{policy:?}");
    }
}

#[test]
fn the_clock_is_looked_at_only_while_something_is_scheduled() {
    let mut world = world(&hourly());
    world.wait(MINUTE / 2);
    let deadline = world.supervisor.next_deadline().unwrap();
    assert!(deadline <= world.now + MINUTE);
    world.assign(vec![stopped(scheduled("1", &hourly()))]);
    assert_eq!(world.supervisor.next_deadline(), None);
    world.assign(vec![run(Workload {
        mode: Default::default(),
        ..scheduled("1", &hourly())
    })]);
    world.lives.clear();
    world.wait(MINUTE);
    assert!(world.runs("web", "1"));
    assert_eq!(world.supervisor.next_deadline(), None);
}
