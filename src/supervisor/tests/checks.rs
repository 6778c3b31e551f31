//! Health checks, and runs that take too long.

use super::{
    checked, run, with_policy, workload,
    world::{World, name},
};
use crate::model::{
    Health, HealthCheck, HealthStatus,
    InstanceState::{CrashLoop, Failed, Running, Unhealthy},
    OnUnhealthy, RestartPolicy,
    RestartPolicy::{Always, Never, OnFailure},
    Workload,
};
use crate::runtime::ImageHealth;

fn refuses(world: &mut World) {
    let refused = Some(Err("connection refused".to_owned()));
    world.health.insert(name("web"), refused);
}

fn answers(world: &mut World) {
    world.health.remove("web");
}

fn reporting(mut workload: Workload) -> Workload {
    if let Some(health) = &mut workload.health {
        health.on_unhealthy = OnUnhealthy::Report;
    }
    workload
}

fn health(world: &World) -> Option<HealthStatus> {
    world.observed("web").unwrap().health
}

/// A world in which `web` runs and has been found healthy.
fn healthy(web: Workload) -> World {
    let mut world = World::new();
    world.assign(vec![run(web)]);
    world.until("web is healthy", 11_000, |w| {
        w.runs("web", "1") && health(w) == Some(HealthStatus::Healthy)
    });
    world
}

fn told(world: &World, event: &str) -> usize {
    world.told.iter().filter(|(e, _)| *e == event).count()
}

#[test]
fn it_is_healthy_once_it_answers_and_is_asked_by_its_interval() {
    let mut world = World::new();
    refuses(&mut world);
    let mut web = checked(workload("web", "1"));
    web.health.as_mut().unwrap().start_period_ms = 60_000;
    world.assign(vec![run(web)]);
    world.wait(30_000);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.state, Running);
    assert_eq!(observed.health, Some(HealthStatus::Starting));
    answers(&mut world);
    world.wait(2_100);
    assert_eq!(health(&world), Some(HealthStatus::Healthy));
    assert_eq!((told(&world, "healthy"), world.begun("web")), (1, 1));
    let (probes, reports) = (world.probes.len(), world.reports);
    world.wait(100_000);
    assert!((9..=10).contains(&(world.probes.len() - probes)));
    assert_eq!(world.reports, reports, "nothing new was reported");
}

#[test]
fn what_is_unhealthy_is_restarted_whatever_its_policy_and_says_why() {
    for policy in [Always, OnFailure, Never] {
        let mut world = healthy(checked(with_policy(workload("web", "1"), policy)));
        let mark = world.asked.len();
        refuses(&mut world);
        world.until("it is stopped", 40_000, |w| w.asked.len() > mark);
        let reason = world.observed("web").unwrap().reason.unwrap();
        let why = "it was unhealthy and was stopped: connection refused";
        assert_eq!(reason, why);
        answers(&mut world);
        world.until("web runs", 10_000, |w| w.runs("web", "1"));
        assert_eq!(world.asked_since(mark), ["stop web", "start web"]);
        assert_eq!(told(&world, "unhealthy"), 1);
        let error = world.observed("web").unwrap().last_error;
        assert_eq!(error.as_deref(), Some(why), "{policy:?}");
    }
}

#[test]
fn what_never_becomes_healthy_is_a_crash_loop_and_slows_only_itself() {
    let mut world = World::new();
    refuses(&mut world);
    let db = run(checked(workload("db", "1")));
    world.assign(vec![db, run(checked(workload("web", "1")))]);
    world.until("the loop is seen", 60_000, |w| {
        w.state("web") == Some(CrashLoop)
    });
    let reason = world.observed("web").unwrap().reason.unwrap();
    assert!(reason.starts_with("it failed 3 times in a row"), "{reason}");
    assert!(reason.ends_with("connection refused"), "{reason}");
    assert_eq!(world.begun("db"), 1);
    assert_eq!(world.state("db"), Some(Running));
}

#[test]
fn where_it_is_only_reported_it_goes_on_and_can_recover() {
    let mut world = healthy(reporting(checked(workload("web", "1"))));
    refuses(&mut world);
    world.wait(45_000);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.state, Unhealthy);
    assert_eq!(observed.health, Some(HealthStatus::Unhealthy));
    assert_eq!(observed.reason.as_deref(), Some("connection refused"));
    answers(&mut world);
    world.wait(11_000);
    assert_eq!(world.state("web"), Some(Running));
    assert_eq!(world.asked_since(0), ["launch web"]);
    // Another word on what follows takes effect in place.
    refuses(&mut world);
    world.wait(45_000);
    world.assign(vec![run(checked(workload("web", "1")))]);
    assert_eq!(world.asked_since(0), ["launch web", "stop web"]);
}

#[test]
fn a_restart_of_the_agent_restarts_nothing_before_a_whole_row_of_failures() {
    let mut world = healthy(checked(workload("web", "1")));
    refuses(&mut world);
    world.wait(15_000);
    for _ in 0..5 {
        let asked = world.probes.len();
        world.kill(false);
        assert_eq!(world.probes.len(), asked + 1, "it was not asked at once");
        world.wait(1_000);
    }
    assert_eq!(world.begun("web"), 1);
    world.until("it is restarted", 60_000, |w| w.begun("web") == 2);
}

#[test]
fn an_answer_that_never_comes_is_a_failure() {
    let mut world = healthy(checked(workload("web", "1")));
    world.health.insert(name("web"), None);
    world.until("it is restarted", 120_000, |w| w.begun("web") == 2);
    let error = world.observed("web").unwrap().last_error.unwrap();
    assert!(error.ends_with("it did not answer"), "{error}");
}

#[test]
fn an_engine_that_is_away_makes_nothing_unhealthy() {
    let mut world = healthy(checked(workload("web", "1")));
    refuses(&mut world);
    world.wait(25_000);
    let docker = crate::model::RuntimeKind::Docker;
    world.lose(docker);
    let asked = world.probes.len();
    world.wait(300_000);
    assert_eq!(world.probes.len(), asked);
    answers(&mut world);
    world.regain(docker);
    world.wait(60_000);
    assert_eq!(world.begun("web"), 1);
}

#[test]
fn what_the_engine_tells_is_shown_and_followed_only_where_that_was_asked_for() {
    let image = Workload {
        health: Some(Health::new(HealthCheck::Image)),
        ..workload("web", "1")
    };
    for (web, restarted) in [(workload("web", "1"), false), (image, true)] {
        let mut world = World::new();
        let says = |world: &mut World, status| {
            let told = ImageHealth::Told(status);
            world.docker().image_health.insert(name("web"), told);
            for found in &mut world.docker().instances {
                found.health = Some(told);
            }
            world.list();
        };
        says(&mut world, HealthStatus::Starting);
        world.assign(vec![run(web)]);
        world.wait(60_000);
        assert_eq!(health(&world), Some(HealthStatus::Starting));
        says(&mut world, HealthStatus::Healthy);
        assert_eq!(health(&world), Some(HealthStatus::Healthy));
        says(&mut world, HealthStatus::Unhealthy);
        let stopped = world.asked.iter().any(|(_, a)| a == "stop web");
        assert_eq!(stopped, restarted);
        if !restarted {
            assert_eq!(world.state("web"), Some(Unhealthy));
        }
        assert!(world.probes.is_empty());
    }
}

#[test]
fn without_a_check_it_is_healthy_once_it_has_stayed_up() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.wait(9_900);
    assert_eq!(health(&world), Some(HealthStatus::Starting));
    world.wait(200);
    assert_eq!(health(&world), Some(HealthStatus::Healthy));
    assert!(world.probes.is_empty());
    // What was up long before the agent was is not doubted.
    world.kill(false);
    assert_eq!(health(&world), Some(HealthStatus::Healthy));
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_has_failed() {
    let why = "it ran longer than its timeout of 5m and was stopped";
    let table: [(RestartPolicy, i32, bool); 4] = [
        (Always, 143, true),
        (OnFailure, 0, true),
        (Never, 143, false),
        (Never, 0, false),
    ];
    for (policy, code, again) in table {
        let mut world = World::new();
        world.docker().stop_code = code;
        let web = Workload {
            timeout_ms: Some(300_000),
            ..with_policy(workload("web", "1"), policy)
        };
        world.assign(vec![run(web)]);
        world.wait(299_000);
        assert_eq!(world.asked_since(0), ["launch web"]);
        world.wait(100_000);
        let observed = world.observed("web").unwrap();
        assert_eq!(observed.exit_code, Some(code));
        let asked = world.asked_since(0);
        if again {
            assert_eq!(asked, ["launch web", "stop web", "start web"]);
            assert_eq!(observed.last_error, None, "the next run is stable");
        } else {
            assert_eq!(asked, ["launch web", "stop web"]);
            assert_eq!(observed.state, Failed);
            assert_eq!(observed.reason.as_deref(), Some(why));
            assert_eq!(observed.last_error.as_deref(), Some(why));
        }
    }
}

#[test]
fn a_run_that_counts_and_takes_too_long_is_one_that_failed() {
    let mut world = World::new();
    let web = Workload {
        timeout_ms: Some(5_000),
        ..super::counted(2)
    };
    world.assign(vec![run(web)]);
    world.wait(60_000);
    assert_eq!((world.state("web"), world.begun("web")), (Some(Failed), 2));
    let reason = world.observed("web").unwrap().reason.unwrap();
    assert!(reason.contains("its timeout of 5s"), "{reason}");
}
