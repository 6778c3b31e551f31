//! What happens beside starting and stopping: hooks, reloads, last words.

use super::{
    checked,
    engine::{Fault, Verb},
    run, running_web, stopped, workload,
    world::{World, name},
};
use crate::{
    model::{
        FileSpec, Hook,
        InstanceState::{Completed, Running, Stopped},
        RestartPolicy::{Always, Never},
        Signal, Workload,
    },
    runtime::{Exit, FoundStatus},
};

fn hooked(version: &str, command: &str) -> Workload {
    Workload {
        before_stop: Some(Hook {
            command: vec![command.into()],
            timeout_ms: 1_000,
        }),
        ..workload("web", version)
    }
}

fn with_file(content: &str) -> Workload {
    Workload {
        files: vec![FileSpec {
            path: "/etc/web.conf".into(),
            content: content.into(),
            mode: 0o644,
            verbatim: false,
        }],
        reload: Some(Signal::SigHup),
        ..workload("web", "1")
    }
}

fn told(world: &World, event: &str) -> usize {
    world.told.iter().filter(|(e, _)| *e == event).count()
}

#[test]
fn the_hook_of_what_runs_precedes_each_stop() {
    let mut world = World::new();
    world.assign(vec![run(hooked("1", "flush"))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    world.assign(vec![run(hooked("2", "close"))]);
    world.until("web 2 runs", 1_000, |w| w.runs("web", "2"));
    assert_eq!(world.hooks, ["flush"]);
    // In place: another hook is no reason to replace it.
    world.assign(vec![run(hooked("2", "shut"))]);
    world.assign(vec![stopped(hooked("2", "shut"))]);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    assert_eq!(world.hooks, ["flush", "shut"]);
    world.assign(vec![run(hooked("2", "shut"))]);
    world.until("web runs", 1_000, |w| w.runs("web", "2"));
    world.assign(Vec::new());
    world.until("web is gone", 1_000, |w| w.is_gone("web"));
    assert_eq!(world.hooks, ["flush", "shut", "shut"]);
}

#[test]
fn a_hook_that_fails_is_told_and_stops_nothing() {
    let mut world = World::new();
    world.hooks_fail = true;
    world.assign(vec![run(hooked("1", "flush"))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    world.assign(vec![stopped(hooked("1", "flush"))]);
    world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
    assert_eq!(told(&world, "hook_failed"), 1);
    world.wait(130_000);
    assert_eq!(world.hooks.len(), 1);
}

#[test]
fn what_is_unhealthy_is_not_asked_to_prepare_for_its_end() {
    let mut world = World::new();
    world.assign(vec![run(checked(hooked("1", "flush")))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    let refused = Some(Err("refused".to_owned()));
    world.health.insert(name("web"), refused);
    world.until("it is restarted", 60_000, |w| w.begun("web") > 1);
    assert!(world.hooks.is_empty());
}

#[test]
fn new_contents_of_files_are_taken_without_a_restart() {
    let mut world = World::new();
    world.assign(vec![run(with_file("a"))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    world.assign(vec![run(with_file("b"))]);
    world.wait(130_000);
    assert_eq!(world.asked_since(0), ["launch web", "reload web"]);
    assert_eq!(told(&world, "reloaded"), 1);
    // An agent that has just started cannot know, and makes sure once.
    world.kill(false);
    assert_eq!(world.state("web"), Some(Running));
    world.wait(130_000);
    let asked = ["launch web", "reload web", "reload web"];
    assert_eq!(world.asked_since(0), asked);
    assert_eq!((told(&world, "reloaded"), world.begun("web")), (1, 1));
}

#[test]
fn a_reload_that_fails_is_said_and_tried_again_without_haste() {
    let mut world = World::new();
    world.assign(vec![run(with_file("a"))]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    world
        .docker()
        .faults
        .insert(Verb::Reload, (2, Fault::Refuses));
    world.assign(vec![run(with_file("b"))]);
    world.wait(1_000);
    let observed = world.observed("web").unwrap();
    let reason = observed.reason.as_deref();
    assert_eq!(reason, Some("its new files wait: no room to Reload"));
    assert_eq!(observed.state, Running);
    world.wait(30_000);
    assert_eq!(world.observed("web").unwrap().reason, None);
    let asked = ["launch web", "reload web", "reload web", "reload web"];
    assert_eq!(world.asked_since(0), asked);
}

#[test]
fn the_last_words_of_what_failed_are_shown_until_a_run_is_stable() {
    let (mut world, _) = running_web(Always);
    world.output = (0..20).map(|n| format!("line {n}")).collect();
    world.wait(5_000);
    world.exit("web", 3);
    world.wait(500);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.last_output.len(), 10);
    assert_eq!(observed.last_output[9], "line 19");
    let error = observed.last_error.as_deref();
    assert_eq!(
        (error, world.fetched),
        (Some("it ended with exit code 3"), 1)
    );
    world.wait(60_000);
    let observed = world.observed("web").unwrap();
    assert_eq!((observed.last_error, observed.last_output), (None, vec![]));
    assert_eq!(world.fetched, 1);
}

#[test]
fn what_ended_well_or_was_stopped_has_no_last_words() {
    let (mut world, _) = running_web(Never);
    world.exit("web", 0);
    world.until("it is complete", 1_000, |w| {
        w.state("web") == Some(Completed)
    });
    let (mut stopping, _) = running_web(Always);
    stopping.assign(vec![stopped(workload("web", "1"))]);
    stopping.wait(130_000);
    stopping.kill(false);
    stopping.wait(130_000);
    assert_eq!((world.fetched, stopping.fetched), (0, 0));
    assert_eq!(stopping.observed("web").unwrap().last_error, None);
}

#[test]
fn a_traceback_is_kept_within_its_bound() {
    let (mut world, _) = running_web(Never);
    for found in &mut world.docker().instances {
        found.status = FoundStatus::Exited(Exit {
            code: Some(1),
            message: Some("ValueError: no".into()),
            detail: Some("ü".repeat(4_000)),
            ..Exit::default()
        });
    }
    world.list();
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.reason.as_deref(), Some("ValueError: no"));
    assert_eq!(observed.last_error.unwrap(), "ü".repeat(2_048));
}
