//! The agent is killed before every single input and action in turn, and starts again from its
//! disk: nothing runs twice, nothing is lost, nothing is done again.

use super::{restarted, run, running_web, stopped, with_policy, workload, world::World};
use crate::model::{
    AssignedInstance, InstanceState, RestartPolicy,
    RestartPolicy::{Always, Never, OnFailure},
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
