//! What nodes go back to by themselves has room in one message, whoever else changes at the time.

use super::{
    applied, name,
    rollout_world::{World, update},
};
use crate::model::{Name, PlacementMode, Update, Workload};
use std::collections::BTreeSet;

/// On every node, with a spec of so many KiB.
fn large(text: &str, version: &str, kib: usize, update: Option<Update>) -> Workload {
    let mut w = super::workload(text);
    w.version = version.into();
    w.env.insert("V".into(), version.repeat(kib * 1024));
    w.placement.mode = PlacementMode::Every;
    w.update = update;
    w
}

#[test]
fn two_rollouts_do_not_count_upon_the_same_room_for_their_guards() {
    let mut world = World::new(1);
    let still = (0..4).map(|n| large(&format!("still-{n}"), "1", 120, None));
    let mut all: Vec<Workload> = still.collect();
    // Room for the specs of all, and for one guard of this size beside them.
    all.extend(["one", "two"].map(|w| large(w, "1", 120, None)));
    world.take(applied(&all));
    world.obey_all();
    let next = ["one", "two"].map(|w| large(w, "2", 120, Some(update())));
    world.take(applied(&next));

    let node = name("n0");
    let on_trial = ["one", "two"].map(|w| {
        let record = world.fleet.workload(w).unwrap();
        let rollout = record.rollout.as_ref().unwrap();
        let said = rollout.steps.values().all(|s| s.unguarded);
        let on_trial = record.on_trial.contains_key(&node);
        assert_eq!(said, !on_trial, "{w}: it is said where there is no guard");
        on_trial
    });
    assert_eq!(on_trial, [true, false]);
    let assignment = world.fleet.assignment("n0").unwrap();
    let guarded = assignment.instances.iter().filter(|i| i.guard.is_some());
    let guarded: BTreeSet<&Name> = guarded.map(|i| &i.workload.name).collect();
    assert_eq!(guarded, BTreeSet::from([&name("one")]));
    world.run(50);
    world.replays();
}
