//! Who waits for whom.

use super::{
    after, checked, counted, run, stopped, with_policy, workload,
    world::{World, name},
};
use crate::model::{
    AssignedInstance, DependsOn, Hook,
    InstanceState::{Completed, Pending, Running, Stopping},
    RestartPolicy::Never,
    Workload,
};

fn reason(world: &World, workload: &str) -> Option<String> {
    world.observed(workload).unwrap().reason
}

/// When an operation was first asked for.
fn asked_at(world: &World, what: &str) -> Option<u64> {
    let found = world.asked.iter().find(|(_, a)| a == what);
    found.map(|(at, _)| *at)
}

/// `app`, which depends on `db`.
fn app(version: &str, condition: DependsOn) -> Workload {
    after(workload("app", version), "db", condition)
}

fn both(condition: DependsOn) -> Vec<AssignedInstance> {
    vec![run(app("1", condition)), run(workload("db", "1"))]
}

#[test]
fn what_depends_on_another_waits_until_it_runs() {
    let mut world = World::new();
    world.takes_ms = 2_000;
    world.assign(both(DependsOn::Started));
    world.wait(1_000);
    assert_eq!(world.state("app"), Some(Pending));
    let waits = Some("waits for db to be started");
    assert_eq!(reason(&world, "app").as_deref(), waits);
    world.until("both run", 10_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    assert_eq!(world.asked_since(0), ["launch db", "launch app"]);
}

#[test]
fn it_waits_until_the_other_is_healthy() {
    let mut world = World::new();
    let refused = Some(Err("not yet".to_owned()));
    world.health.insert(name("db"), refused);
    let mut db = checked(workload("db", "1"));
    db.health.as_mut().unwrap().start_period_ms = 600_000;
    world.assign(vec![run(app("1", DependsOn::Healthy)), run(db)]);
    world.wait(300_000);
    assert_eq!(world.begun("app"), 0);
    let waits = Some("waits for db to be healthy");
    assert_eq!(reason(&world, "app").as_deref(), waits);
    world.health.clear();
    world.until("app runs", 3_000, |w| w.runs("app", "1"));
}

#[test]
fn it_waits_until_the_other_has_completed() {
    let jobs = [
        with_policy(workload("db", "1"), Never),
        Workload {
            name: name("db"),
            ..counted(1)
        },
    ];
    for job in jobs {
        let mut world = World::new();
        world.lives.insert(name("db"), (60_000, 0));
        let both = vec![run(app("1", DependsOn::Completed)), run(job)];
        world.assign(both);
        world.wait(50_000);
        let waits = Some("waits for db to complete");
        assert_eq!(reason(&world, "app").as_deref(), waits);
        world.until("app runs", 11_000, |w| w.runs("app", "1"));
        assert_eq!(world.state("db"), Some(Completed));
        // After a power cut nothing is waited for that is over.
        world.exit("app", 137);
        world.kill(false);
        world.until("app runs", 3_000, |w| w.runs("app", "1"));
        assert_eq!(world.begun("db"), 1);
    }
}

#[test]
fn after_a_power_cut_the_order_is_kept() {
    let mut world = World::new();
    world.assign(both(DependsOn::Started));
    world.until("both run", 1_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    let mark = world.asked.len();
    for instance in world.docker().instances.clone() {
        world.docker().end(&instance.handle, 137);
    }
    world.kill(false);
    world.until("both run", 1_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    assert_eq!(world.asked_since(mark), ["start db", "start app"]);
}

#[test]
fn what_runs_is_left_alone_whatever_becomes_of_the_other() {
    let mut world = World::new();
    world.assign(both(DependsOn::Started));
    world.until("both run", 1_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    world.assign(vec![
        run(app("1", DependsOn::Healthy)),
        stopped(workload("db", "1")),
    ]);
    world.wait(130_000);
    world.kill(false);
    world.wait(130_000);
    assert!(world.runs("app", "1"));
    assert_eq!(world.begun("app"), 1);
    assert_eq!(asked_at(&world, "stop app"), None);
    // But what has ended waits.
    world.exit("app", 1);
    world.wait(5_000);
    assert_eq!(world.state("app"), Some(Pending));
}

#[test]
fn what_is_not_on_this_node_is_not_waited_for_and_that_is_said() {
    let mut world = World::new();
    world.assign(vec![run(app("1", DependsOn::Healthy))]);
    world.until("app runs", 1_000, |w| w.runs("app", "1"));
    let warning = "db is not on this node: its order is not kept";
    assert_eq!(world.observed("app").unwrap().warnings, [warning]);
    world.kill(false);
    assert_eq!(world.observed("app").unwrap().warnings, [warning]);
    world.assign(both(DependsOn::Started));
    assert!(world.observed("app").unwrap().warnings.is_empty());
}

#[test]
fn two_that_wait_for_each_other_hold_nobody_else_up() {
    let mut world = World::new();
    let db = after(workload("db", "1"), "app", DependsOn::Started);
    let app = app("1", DependsOn::Started);
    world.assign(vec![run(app), run(db), run(workload("web", "1"))]);
    world.wait(600_000);
    assert_eq!(world.state("app"), Some(Pending));
    assert_eq!(world.state("db"), Some(Pending));
    assert!(world.runs("web", "1"));
    assert_eq!(world.supervisor.next_deadline(), None);
}

#[test]
fn what_is_to_go_waits_for_those_that_depend_on_it() {
    // By name either one is decided upon first.
    for (first, other) in [("app", "db"), ("web", "db")] {
        for goes in [true, false] {
            let mut world = World::new();
            world.takes_ms = 500;
            let needs = || after(workload(first, "1"), other, DependsOn::Started);
            let db = || workload(other, "1");
            world.assign(vec![run(needs()), run(db())]);
            world.until("both run", 3_000, |w| {
                w.runs(first, "1") && w.runs(other, "1")
            });
            let rest = vec![stopped(needs()), stopped(db())];
            world.assign(if goes { Vec::new() } else { rest });
            assert_eq!(world.state(other), Some(Stopping));
            let waits = format!("waits for {first} to stop first");
            assert_eq!(reason(&world, other), Some(waits));
            world.wait(10_000);
            assert!(world.supervisor.all_stopped());
            let at = |what: &str| asked_at(&world, what).unwrap();
            let gap = at(&format!("stop {other}")) - at(&format!("stop {first}"));
            assert_eq!(gap, 500, "{:?}", world.asked);
        }
    }
}

#[test]
fn it_does_not_wait_for_longer_than_their_stop_may_take() {
    let mut world = World::new();
    let mut needs = app("1", DependsOn::Started);
    needs.stop_timeout_ms = 3_000;
    needs.before_stop = Some(Hook {
        command: vec!["flush".into()],
        timeout_ms: 2_000,
    });
    world.assign(vec![run(needs), run(workload("db", "1"))]);
    world.until("both run", 1_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    world.takes_ms = 60_000;
    let since = world.now;
    world.assign(Vec::new());
    world.wait(30_000);
    assert_eq!(asked_at(&world, "stop app"), Some(since));
    assert_eq!(asked_at(&world, "stop db"), Some(since + 15_000));
}

#[test]
fn a_replacement_waits_for_nobody() {
    let mut world = World::new();
    world.assign(both(DependsOn::Started));
    world.until("both run", 1_000, |w| {
        w.runs("db", "1") && w.runs("app", "1")
    });
    let mark = world.asked.len();
    world.assign(vec![
        run(app("1", DependsOn::Started)),
        run(workload("db", "2")),
    ]);
    world.until("db 2 runs", 1_000, |w| w.runs("db", "2"));
    let steps = ["prepare db", "stop db", "remove db", "launch db"];
    assert_eq!(world.asked_since(mark), steps);
    assert_eq!(world.state("app"), Some(Running));
}
