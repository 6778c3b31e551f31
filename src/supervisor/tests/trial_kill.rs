//! The agent is killed before every single input and action of a guarded change: one that passes
//! ends in the new version, one that fails in the old one, and nothing runs twice.

use super::{guarded, running_web, trial, with_policy, workload, world::World, world::name};
use crate::model::{
    AssignedInstance,
    RestartPolicy::{Always, Never},
    TrialState::{Failed, Passed},
};

/// `prepare` sets up how the new version behaves; `check` is told how the world is in the end.
fn at_every_step(
    prepare: impl Fn(&mut World),
    change: impl Fn() -> AssignedInstance,
    check: impl Fn(&World, &str),
) {
    for in_flight_is_done in [false, true] {
        let mut kills = 0;
        loop {
            let (mut world, _) = running_web(Always);
            prepare(&mut world);
            world.fuse = Some((kills, in_flight_is_done));
            world.assign(vec![change()]);
            world.wait(400_000);
            let untouched = world.fuse.is_some();
            let at = format!("killed before step {kills}, {in_flight_is_done}");
            check(&world, &format!("{at}: {:#?}", world.asked));
            // And it stays so.
            let (asked, written) = (world.asked.len(), world.remembered);
            world.kill(false);
            world.wait(400_000);
            assert_eq!(world.asked_since(asked), Vec::<&str>::new(), "{at}");
            assert_eq!(world.remembered, written, "{at}");
            check(&world, &format!("{at}, and once more"));
            if untouched {
                break;
            }
            kills += 1;
        }
        assert!(kills > 8, "only {kills} steps were tried");
    }
}

#[test]
fn a_version_that_works_is_there_in_the_end() {
    let change = || guarded(workload("web", "2"), workload("web", "1"));
    at_every_step(
        |_| {},
        change,
        |world, at| {
            assert!(world.runs("web", "2"), "{at}");
            assert_eq!(trial(world), Some(Passed), "{at}");
            assert_eq!(world.begun("web"), 2, "{at}");
        },
    );
}

#[test]
fn a_version_that_does_not_start_leaves_the_old_one_in_the_end() {
    let refused = |world: &mut World| {
        world.docker().refused.insert("2".into());
    };
    let change = || guarded(workload("web", "2"), workload("web", "1"));
    at_every_step(refused, change, |world, at| {
        assert!(world.runs("web", "1"), "{at}");
        assert_eq!(trial(world), Some(Failed), "{at}");
    });
}

#[test]
fn a_version_that_ends_leaves_the_old_one_in_the_end() {
    let ends = |world: &mut World| {
        world
            .version_lives
            .insert((name("web"), "2".into()), (700, 1));
    };
    for policy in [Always, Never] {
        let change = || {
            guarded(
                with_policy(workload("web", "2"), policy),
                workload("web", "1"),
            )
        };
        at_every_step(ends, change, |world, at| {
            assert!(world.runs("web", "1"), "{policy:?} {at}");
            assert_eq!(trial(world), Some(Failed), "{policy:?} {at}");
        });
    }
}
