use super::*;
use crate::model::Desired;

/// `web` on `a`, with `b` and `c` free.
fn web(workload: Workload) -> World {
    let mut world = World::of(&["a"]);
    world.apply(applied(&[workload]));
    world.join("b");
    world.join("c");
    world.report_all();
    assert_eq!(world.placed("web"), ["a"]);
    world
}

#[test]
fn the_new_one_is_healthy_before_the_old_one_leaves() {
    let mut world = web(replicas("web", 1));
    let effects = world.apply(migrated("web", "a", Some("c"), false));
    assert_eq!(events(&effects), ["instance_migrating"]);
    assert_eq!(world.assigned("web"), ["a", "c"]);
    world.report_as("c", |o| o.health = Some(HealthStatus::Starting));
    world.pass(60_000);
    assert_eq!(world.assigned("web"), ["a", "c"], "it is not healthy");
    world.report("c");
    world.pass(HEALTHY - 1);
    assert_eq!(world.assigned("web"), ["a", "c"], "not for long enough");
    let effects = world.pass(1);
    assert_eq!(events(&effects), ["instance_migrated"]);
    assert_eq!(world.assigned("web"), ["c"]);
    world.replays();
}

#[test]
fn a_relapse_begins_the_wait_anew() {
    let mut world = web(replicas("web", 1));
    world.apply(migrated("web", "a", Some("b"), false));
    world.report("b");
    world.pass(HEALTHY - 1);
    world.report_as("b", |o| o.state = InstanceState::Backoff);
    world.report("b");
    world.pass(HEALTHY - 1);
    assert_eq!(world.assigned("web"), ["a", "b"]);
    world.pass(1);
    assert_eq!(world.assigned("web"), ["b"]);
}

#[test]
fn a_move_that_does_not_get_healthy_in_time_is_undone() {
    let mut world = web(replicas("web", 1));
    world.apply(migrated("web", "a", Some("b"), false));
    world.report_as("b", |o| {
        o.state = InstanceState::CrashLoop;
        o.reason = Some("it ended with exit code 3".into());
    });
    world.pass(DEADLINE - 1);
    assert_eq!(world.moves(), 1);
    let effects = world.pass(1);
    assert_eq!(events(&effects), ["instance_migration_failed"]);
    assert_eq!(world.assigned("web"), ["a"]);
    let reason = world.reason("web", "b");
    assert!(reason.contains("it ended with exit code 3"), "{reason}");
    // The next one goes elsewhere.
    world.apply(migrated("web", "a", None, false));
    assert_eq!(world.placed("web"), ["a", "c"]);
    world.replays();
}

#[test]
fn one_that_failed_for_good_is_undone_at_once() {
    let mut world = web(replicas("web", 1));
    world.apply(migrated("web", "a", Some("b"), false));
    let effects = world.report_as("b", |o| o.state = InstanceState::Failed);
    assert!(events(&effects).contains(&"instance_migration_failed"));
    assert_eq!(world.assigned("web"), ["a"]);
}

#[test]
fn what_must_not_run_twice_stops_before_it_starts() {
    let mut world = web(shared("web"));
    world.apply(migrated("web", "a", Some("b"), false));
    assert_eq!(world.assigned("web"), [""; 0]);
    // What it says of an earlier assignment says nothing.
    let earlier = Change::StateReported {
        node: name("a"),
        generation: world.fleet.node("a").unwrap().generation - 1,
        instances: Vec::new(),
        engines: Vec::new(),
    };
    world.apply(earlier);
    assert_eq!(world.assigned("web"), [""; 0]);
    let effects = world.report("a");
    assert!(effects.contains(&Effect::PublishAssignment(name("b"))));
    assert!(events(&effects).contains(&"instance_migrated"));
    assert_eq!(world.assigned("web"), ["b"]);
    world.replays();
}

#[test]
fn one_that_does_not_stop_stays_where_it_is() {
    let mut world = web(shared("web"));
    world.apply(migrated("web", "a", Some("b"), false));
    let effects = world.pass(DEADLINE + 10_000);
    assert_eq!(events(&effects), ["instance_migration_failed"]);
    assert_eq!(world.assigned("web"), ["a"]);
    world.replays();
}

#[test]
fn what_is_stopped_moves_without_having_to_be_healthy() {
    for w in [replicas("web", 1), shared("web")] {
        let mut world = web(w);
        world.apply(Change::WorkloadDesired {
            workload: name("web"),
            desired: Desired::Stopped,
        });
        world.apply(migrated("web", "a", Some("b"), false));
        world.pass(HEALTHY);
        assert_eq!(world.assigned("web"), ["b"]);
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let mut world = web(replicas("web", 1));
    let mut pinned = replicas("pinned", 1);
    pinned.placement.nodes = vec![name("a")];
    world.apply(applied(&[every("all"), stateful("db"), pinned]));
    world.report_all();
    let db = world.placed("db")[0].clone();
    for (change, expected) in [
        (
            migrated("no", "a", None, false),
            "there is no workload `no`",
        ),
        (migrated("web", "x", None, false), "there is no node `x`"),
        (
            migrated("web", "a", Some("x"), false),
            "there is no node `x`",
        ),
        (
            migrated("web", "b", None, false),
            "web is not on b; it is on a",
        ),
        (
            migrated("web", "a", Some("a"), false),
            "web is on a already",
        ),
        (migrated("all", "a", None, false), "all runs on every node"),
        (
            migrated("db", &db, None, false),
            "local state in volume data",
        ),
        (
            migrated("pinned", "a", None, false),
            "it is not among `nodes`",
        ),
        (
            migrated("pinned", "a", Some("b"), false),
            "b cannot take pinned",
        ),
    ] {
        let refusal = world.refused(change);
        assert!(refusal.contains(expected), "{refusal}\n{expected}");
    }
    world.apply(cordoned("b", true));
    let refusal = world.refused(migrated("web", "a", Some("b"), false));
    assert!(refusal.starts_with("b cannot take web: "), "{refusal}");
    world.apply(migrated("web", "a", Some("c"), false));
    let refusal = world.refused(migrated("web", "a", None, false));
    assert!(refusal.contains("on its way from a to c"), "{refusal}");
    world.offline("a");
    let mut world = web(replicas("web", 1));
    world.offline("a");
    let refusal = world.refused(migrated("web", "a", None, false));
    assert!(refusal.contains("a is offline"), "{refusal}");
}

#[test]
fn a_change_of_the_workload_in_the_middle_of_its_move_leaves_no_copy_behind() {
    for (next, left) in [
        (replicas("web", 0), 0),
        (replicas("web", 2), 2),
        (requires(replicas("web", 1), &["zone=lab"]), 0),
        (every("web"), 3),
    ] {
        for first in [replicas("web", 1), shared("web")] {
            let mut next = next.clone();
            next.volumes = first.volumes.clone();
            let mut world = web(first);
            world.apply(migrated("web", "a", Some("b"), false));
            world.apply(applied(&[next.clone()]));
            world.settle();
            assert_eq!(world.assigned("web").len(), left, "{:?}", next.placement);
            world.replays();
        }
    }
}

#[test]
fn a_workload_that_is_removed_in_the_middle_of_its_move_is_gone() {
    for first in [replicas("web", 1), shared("web")] {
        let mut world = web(first);
        world.apply(migrated("web", "a", Some("b"), false));
        world.apply(super::super::removed(&["web"]));
        world.settle();
        assert!(world.fleet.workload("web").is_none());
        assert_eq!(world.fleet.next_deadline(), None);
        world.replays();
    }
}
