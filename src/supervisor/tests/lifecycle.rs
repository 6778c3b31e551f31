//! Each arrow of the diagram.

use super::{run, running_web, stopped, with_policy, workload, world::World};
use crate::{
    model::{
        InstanceState::{
            Backoff, Completed, CrashLoop, Failed, Pending, Pulling, Running, Starting, Stopped,
        },
        RestartPolicy::{Always, Never, OnFailure},
        Run, RuntimeKind,
    },
    runtime::{Progress, RuntimeError},
    supervisor::{Input, OpOutcome},
};

#[test]
fn what_is_assigned_is_launched_and_runs() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(world.state("web"), Some(Starting));
    assert_eq!(world.asked_since(0), ["launch web"]);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert_eq!(world.told, [("started", "runs".to_owned())]);
    let observed = world.observed("web").unwrap();
    assert_eq!(observed.runtime, RuntimeKind::Docker);
    assert_eq!((observed.restarts, observed.reason), (0, None));
}

#[test]
fn nothing_begins_before_the_engine_has_told_what_it_has() {
    let mut world = World::unlisted(&[RuntimeKind::Docker]);
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(world.state("web"), Some(Pending));
    assert_eq!(
        world.observed("web").unwrap().reason.as_deref(),
        Some("waits for docker")
    );
    assert!(world.asked.is_empty());
    world.list();
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
}

#[test]
fn the_progress_of_a_pull_is_shown_while_it_lasts() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    let pulling = |percent| Input::Progressed {
        operation: 1,
        progress: Progress::Pulling(percent),
    };
    world.step(pulling(Some(40)));
    assert_eq!(world.state("web"), Some(Pulling));
    assert_eq!(world.observed("web").unwrap().progress, Some(40));
    let reports = world.reports;
    world.step(pulling(Some(40)));
    assert_eq!(world.reports, reports, "nothing new was reported again");
    world.step(pulling(Some(80)));
    assert_eq!(world.reports, reports + 1);
    world.step(Input::Progressed {
        operation: 1,
        progress: Progress::Starting,
    });
    assert_eq!(world.state("web"), Some(Starting));
    assert_eq!(world.observed("web").unwrap().progress, None);
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
}

#[test]
fn a_fetch_that_nobody_wants_any_more_is_given_up_once() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.step(Input::Progressed {
        operation: 1,
        progress: Progress::Pulling(None),
    });
    assert!(world.cancelled.is_empty());
    world.assign(vec![run(workload("web", "2"))]);
    assert_eq!(world.cancelled, [1]);
    world.step(Input::Tick);
    assert_eq!(world.cancelled, [1]);
    // Here it was too late, and what came of it is replaced.
    world.until("web 2 runs", 60_000, |w| w.runs("web", "2"));
}

#[test]
fn a_fetch_that_was_given_up_leaves_no_trace() {
    let mut world = World::new();
    world.assign(vec![run(workload("web", "1"))]);
    world.step(Input::Progressed {
        operation: 1,
        progress: Progress::Pulling(None),
    });
    world.assign(Vec::new());
    assert_eq!(world.cancelled, [1]);
    world.step(Input::Finished {
        operation: 1,
        outcome: OpOutcome::Failed(RuntimeError::Failed("it was given up".into())),
    });
    assert_eq!(world.state("web"), None);
}

#[test]
fn a_launch_that_fails_says_why_and_is_tried_again_ever_more_slowly() {
    let mut world = World::new();
    world.docker().no_image.insert("1".into());
    world.assign(vec![run(workload("web", "1"))]);
    world.until("it backs off", 1_000, |w| w.state("web") == Some(Backoff));
    let reason = world.observed("web").unwrap().reason.unwrap();
    assert_eq!(reason, "there is no image for 1");
    world.wait(60_000);
    let tries = world.asked.len();
    assert!((4..=8).contains(&tries), "{:?}", world.asked);
    assert_eq!(world.state("web"), Some(CrashLoop));
    world.docker().no_image.clear();
    world.until("web runs", 30_000, |w| w.runs("web", "1"));
    assert_eq!(world.observed("web").unwrap().reason, None);
}

#[test]
fn what_follows_an_end_is_decided_by_the_policy() {
    let table = [
        (Always, 0, Running),
        (Always, 1, Running),
        (OnFailure, 0, Completed),
        (OnFailure, 1, Running),
        (Never, 0, Completed),
        (Never, 1, Failed),
    ];
    for (policy, code, then) in table {
        let (mut world, mark) = running_web(policy);
        world.wait(5_000);
        world.exit("web", code);
        world.wait(10_000);
        assert_eq!(world.state("web"), Some(then), "{policy:?} {code}");
        let again: &[&str] = if then == Running { &["start web"] } else { &[] };
        assert_eq!(world.asked_since(mark), again, "{policy:?} {code}");
        let observed = world.observed("web").unwrap();
        assert_eq!(observed.exit_code, Some(code));
        assert_eq!(observed.restarts, u32::from(then == Running));
        let reason = (then == Failed).then(|| "it ended with exit code 1".to_owned());
        assert_eq!(observed.reason, reason, "{policy:?} {code}");
    }
}

#[test]
fn an_instance_that_waits_to_be_started_again_says_how_it_ended() {
    let (mut world, _) = running_web(Always);
    world.exit("web", 137);
    world.until("it backs off", 100, |w| w.state("web") == Some(Backoff));
    assert_eq!(
        world.observed("web").unwrap().reason.as_deref(),
        Some("it was ended by signal 9 (SIGKILL)")
    );
    assert!(world.told.iter().any(|(event, _)| *event == "exited"));
}

#[test]
fn a_stopped_instance_stays_there_and_is_started_not_made_anew() {
    for policy in [Always, OnFailure, Never] {
        let (mut world, mark) = running_web(policy);
        let web = || with_policy(workload("web", "1"), policy);
        let handle = world.observed("web").unwrap().handle;
        world.assign(vec![stopped(web())]);
        world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
        world.wait(180_000);
        assert_eq!(world.state("web"), Some(Stopped));
        assert_eq!(world.asked_since(mark), ["stop web"]);
        world.assign(vec![run(web())]);
        world.until("web runs", 100, |w| w.runs("web", "1"));
        assert_eq!(world.asked_since(mark), ["stop web", "start web"]);
        assert_eq!(world.observed("web").unwrap().handle, handle);
    }
}

#[test]
fn a_start_after_a_stop_holds_though_the_agent_was_restarted_in_between() {
    for policy in [Always, OnFailure, Never] {
        let (mut world, _) = running_web(policy);
        let web = || with_policy(workload("web", "1"), policy);
        world.docker().stop_code = 0;
        world.assign(vec![stopped(web())]);
        world.until("it is stopped", 1_000, |w| w.state("web") == Some(Stopped));
        world.kill(false);
        world.wait(5_000);
        assert_eq!(world.state("web"), Some(Stopped));
        world.assign(vec![run(web())]);
        world.until("web runs", 100, |w| w.runs("web", "1"));
        assert_eq!(world.begun("web"), 2, "{policy:?}");
    }
}

#[test]
fn what_is_assigned_stopped_is_not_even_made() {
    let mut world = World::new();
    world.assign(vec![stopped(workload("web", "1"))]);
    world.wait(120_000);
    assert_eq!(world.state("web"), Some(Stopped));
    assert!(world.asked.is_empty());
}

#[test]
fn what_is_not_assigned_any_more_is_stopped_removed_and_forgotten() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![]);
    world.until("web is gone", 1_000, |w| w.is_gone("web"));
    assert_eq!(world.asked_since(mark), ["stop web", "remove web"]);
}

#[test]
fn a_delete_that_fails_is_tried_again_until_it_worked() {
    let (mut world, _) = running_web(Always);
    let twice = (2, super::engine::Fault::Refuses);
    world
        .docker()
        .faults
        .insert(super::engine::Verb::Stop, twice);
    world
        .docker()
        .faults
        .insert(super::engine::Verb::Remove, twice);
    world.assign(vec![]);
    world.until("web is gone", 60_000, |w| w.is_gone("web"));
    assert!(world.asked.len() <= 7, "{:?}", world.asked);
}

#[test]
fn what_somebody_removed_behind_our_back_is_made_again() {
    let (mut world, mark) = running_web(Always);
    world.vanish("web");
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
    assert_eq!(world.asked_since(mark), ["launch web"]);
}

#[test]
fn an_older_generation_changes_nothing_and_the_same_one_again_neither() {
    let (mut world, mark) = running_web(Always);
    world.assign(vec![run(workload("web", "1")), run(workload("db", "1"))]);
    world.until("db runs", 1_000, |w| w.runs("db", "1"));
    let current = world.assignment.clone().unwrap();
    let older = crate::model::Assignment {
        generation: current.generation - 1,
        instances: Vec::new(),
        ..current.clone()
    };
    world.step(Input::Assigned(older));
    world.step(Input::Assigned(current.clone()));
    world.wait(120_000);
    assert_eq!(world.supervisor.generation(), current.generation);
    assert_eq!(world.asked_since(mark), ["launch db"]);
    assert!(world.runs("web", "1") && world.runs("db", "1"));
}

#[test]
fn a_node_without_the_runtime_says_so_and_does_nothing() {
    let mut world = World::with(&[RuntimeKind::Process]);
    let mut podman = workload("pod", "1");
    if let Run::Container { engine, .. } = &mut podman.run {
        *engine = Some(RuntimeKind::Podman);
    }
    world.assign(vec![run(workload("web", "1")), run(podman)]);
    world.wait(60_000);
    for (name, reason) in [
        ("web", "this node has neither Docker nor Podman"),
        ("pod", "this node has no podman"),
    ] {
        assert_eq!(world.state(name), Some(Failed));
        assert_eq!(
            world.observed(name).unwrap().reason.as_deref(),
            Some(reason)
        );
    }
    assert!(world.asked.is_empty());
}

#[test]
fn a_runtime_that_is_found_later_takes_what_waited_for_it() {
    let mut world = World::new();
    let docker = world.engines.remove(&RuntimeKind::Docker).unwrap();
    world.kill(false);
    world.assign(vec![run(workload("web", "1"))]);
    assert_eq!(world.state("web"), Some(Failed));
    world.engines.insert(RuntimeKind::Docker, docker);
    world.step(Input::RuntimeFound(RuntimeKind::Docker));
    world.list();
    world.until("web runs", 1_000, |w| w.runs("web", "1"));
}

#[test]
fn while_nothing_changes_nothing_is_done_and_nothing_is_reported() {
    let (mut world, mark) = running_web(Always);
    // Until it has been up for long enough to be healthy.
    world.wait(20_000);
    let reports = world.reports;
    world.wait(3_600_000);
    assert_eq!(world.reports, reports);
    assert!(world.asked_since(mark).is_empty());
    assert_eq!(world.supervisor.next_deadline(), None);
}
