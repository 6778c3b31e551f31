//! The disk is full: what had to be remembered is not.

use super::{
    counted, guarded, run, trial, workload,
    world::{Later, World, name},
};
use crate::{
    model::{InstanceState::Running, TrialState},
    runtime::RuntimeError,
    supervisor::{Action, Input, OpOutcome},
};
use std::collections::VecDeque;

impl World {
    /// As the agent does where its disk takes nothing.
    pub(super) fn not_remembered(&mut self, rest: VecDeque<Action>) -> VecDeque<Action> {
        self.refused += 1;
        let unstored = self.supervisor.not_remembered(rest.into(), "no space left");
        for (operation, why) in unstored.held_back {
            let outcome = OpOutcome::Failed(RuntimeError::Failed(why));
            let input = Input::Finished { operation, outcome };
            self.schedule(1, Later::Answers(self.agents, input));
        }
        unstored.go_on.into()
    }
}

/// A world with a full disk, which has just got a counted `web` and a service `db`.
fn full() -> World {
    let mut world = World::new();
    world.lives.insert(name("web"), (100, 0));
    world.disk_is_full = true;
    world.assign(vec![run(counted(2)), run(workload("db", "1"))]);
    world
}

#[test]
fn a_full_disk_keeps_no_other_workload_from_starting() {
    let mut world = full();
    world.wait(1_000);
    assert_eq!(world.state("db"), Some(Running));
    world.exit("db", 1);
    world.wait(30_000);
    assert_eq!(world.state("db"), Some(Running), "and starts it again");
}

#[test]
fn no_run_begins_that_is_not_counted_on_the_disk_however_often_it_is_tried() {
    let mut world = full();
    world.wait(300_000);
    assert_eq!(world.begun("web"), 0, "{:?}", world.asked);
    let reason = world.observed("web").unwrap().reason.unwrap_or_default();
    assert!(reason.contains("cannot be written down"), "{reason}");
    let tries = world.refused;
    assert!(
        tries < 40,
        "a full disk is written to {tries} times in five minutes"
    );
    world.disk_is_full = false;
    world.wait(300_000);
    assert_eq!(world.begun("web"), 2, "none of the tries was a run");
    world.kill(false);
    world.wait(300_000);
    assert_eq!(world.begun("web"), 2);
}

#[test]
fn a_guarded_change_is_made_and_taken_back_all_the_same() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(10_000);
    world.disk_is_full = true;
    world.assign(vec![guarded(workload("web", "2"), workload("web", "1"))]);
    world.until("it is tried", 10_000, |w| w.runs("web", "2"));
    world.lives.insert(name("web"), (100, 1));
    world.exit("web", 1);
    world.until("it has failed", 120_000, |w| {
        trial(w) == Some(TrialState::Failed)
    });
    world.lives.clear();
    world.until("it is back", 60_000, |w| w.runs("web", "1"));
}
