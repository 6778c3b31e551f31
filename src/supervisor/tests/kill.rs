//! The agent is killed before every single input and action in turn, and starts again from its
//! disk: nothing runs twice, nothing is lost, nothing is done again.

use super::{
    after, counted, hourly, restarted, run, running_web, scheduled, stopped, with_policy, workload,
    world::{World, name},
};
use crate::model::{
    AssignedInstance, DependsOn, InstanceState, MissedRun, RestartPolicy,
    RestartPolicy::{Always, Never, OnFailure},
    Schedule,
};

/// Carries `change` out from a world in which `web` 1 runs, killing the agent before the n-th
/// thing that it does, for every n; `check` is told how the world must be in the end.
fn at_every_step(
    policy: RestartPolicy,
    change: impl Fn() -> Vec<AssignedInstance>,
    arrived: impl Fn(&World) -> bool,
    begun: u32,
) {
    for in_flight_is_done in [false, true] {
        let mut kills = 0;
        loop {
            let (mut world, _) = running_web(policy);
            world.fuse = Some((kills, in_flight_is_done));
            world.assign(change());
            world.wait(130_000);
            let untouched = world.fuse.is_some();
            let at = format!("{policy:?}, killed before step {kills}, {in_flight_is_done}");
            assert!(arrived(&world), "{at}: {:#?}", world.asked);
            assert_eq!(world.begun("web"), begun, "{at}: {:#?}", world.asked);
            if untouched {
                break;
            }
            kills += 1;
        }
        assert!(kills > 4, "only {kills} steps were tried");
    }
}

fn each_policy(test: impl Fn(RestartPolicy)) {
    [Always, OnFailure, Never].into_iter().for_each(test);
}

#[test]
fn a_restart_is_carried_out_exactly_once() {
    each_policy(|policy| {
        let web = || vec![restarted(with_policy(workload("web", "1"), policy), 1)];
        at_every_step(policy, web, |w| w.runs("web", "1"), 2);
    });
}

#[test]
fn a_replacement_is_carried_out_exactly_once() {
    each_policy(|policy| {
        let web = || vec![run(with_policy(workload("web", "2"), policy))];
        at_every_step(policy, web, |w| w.runs("web", "2"), 2);
    });
}

#[test]
fn a_stop_is_carried_out_and_stays_so() {
    each_policy(|policy| {
        let web = || vec![stopped(with_policy(workload("web", "1"), policy))];
        let arrived = |w: &World| w.state("web") == Some(InstanceState::Stopped);
        at_every_step(policy, web, arrived, 1);
    });
}

#[test]
fn a_removal_is_carried_out() {
    each_policy(|policy| at_every_step(policy, Vec::new, |w| w.is_gone("web"), 1));
}

#[test]
fn a_neighbour_is_launched_once_and_nobody_else_is_touched() {
    each_policy(|policy| {
        let both = || {
            let web = run(with_policy(workload("web", "1"), policy));
            vec![run(workload("db", "1")), web]
        };
        let arrived = |w: &World| w.runs("db", "1") && w.begun("db") == 1 && w.runs("web", "1");
        at_every_step(policy, both, arrived, 1);
    });
}

/// Beside `db`, which runs, `web` is assigned; the agent is killed before the n-th thing that it
/// does, for every n. `db` is never touched.
fn beside_db(
    web: impl Fn() -> AssignedInstance,
    life_ms: u64,
    wait_ms: u64,
    check: impl Fn(&World, &str),
) {
    for in_flight_is_done in [false, true] {
        let mut kills = 0;
        loop {
            let mut world = World::new();
            world.lives.insert(name("web"), (life_ms, 0));
            let db = || run(workload("db", "1"));
            world.assign(vec![db()]);
            world.until("db runs", 1_000, |w| w.runs("db", "1"));
            world.fuse = Some((kills, in_flight_is_done));
            world.assign(vec![db(), web()]);
            world.wait(wait_ms);
            let untouched = world.fuse.is_some();
            let at = format!("killed before step {kills}, {in_flight_is_done}");
            assert!(world.runs("db", "1") && world.begun("db") == 1, "{at}");
            check(&world, &format!("{at}: {:#?}", world.asked));
            if untouched {
                break;
            }
            kills += 1;
        }
        assert!(kills > 4, "only {kills} steps were tried");
    }
}

#[test]
fn there_is_never_one_run_too_many() {
    for (max_runs, life_ms) in [(1, 50), (3, 50), (2, 5_000)] {
        let web = || run(counted(max_runs));
        beside_db(web, life_ms, 60_000, |world, at| {
            let begun = world.begun("web");
            // A run that was counted and did not begin before the agent was killed is lost.
            assert!(begun <= max_runs && begun + 1 >= max_runs.max(2), "{at}");
            assert_eq!(world.state("web"), Some(InstanceState::Completed), "{at}");
        });
    }
}

#[test]
fn a_time_never_runs_twice() {
    for missed in [MissedRun::Skip, MissedRun::RunOnce] {
        let often = Schedule {
            cron: "*/5 * * * *".into(),
            missed,
            ..hourly()
        };
        let web = || run(scheduled("1", &often));
        beside_db(web, 1_000, 7 * 60_000, |world, at| {
            assert!(world.begun("web") <= 1, "{missed:?}, {at}");
            assert_eq!(world.state("web"), Some(InstanceState::Scheduled), "{at}");
        });
    }
}

#[test]
fn what_depends_on_another_is_started_after_it_exactly_once() {
    let web = || run(after(workload("web", "1"), "db", DependsOn::Started));
    beside_db(web, 3_600_000, 60_000, |world, at| {
        assert!(world.runs("web", "1") && world.begun("web") == 1, "{at}");
    });
}
