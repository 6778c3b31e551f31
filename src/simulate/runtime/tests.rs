//! The fake engine keeps the promises of the trait, and fails as it is told to.

use super::*;
use crate::model::Run;

fn workload(version: &str) -> Workload {
    let name: Name = "web".parse().unwrap();
    let run = Run::Process {
        command: vec!["/bin/true".into()],
        user: None,
        working_dir: None,
    };
    Workload {
        version: version.to_owned(),
        ..Workload::new(name, run)
    }
}

fn launch(workload: Workload) -> Launch {
    Launch {
        node: "sim-0001".parse().unwrap(),
        spec_hash: workload.spec_hash(),
        workload: Arc::new(workload),
        trace: None,
    }
}

fn engine(fail: f64) -> (FakeRuntime, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let quick = Span {
        from_ms: 1,
        to_ms: 5,
    };
    let manner = Manner {
        start_time: quick,
        fail: Share(fail),
        poison: Some("bad".to_owned()),
    };
    let dice = Dice::new(1, 1);
    let runtime = FakeRuntime::new(RuntimeKind::Docker, manner, tally.clone(), dice);
    (runtime, tally)
}

async fn run(runtime: &FakeRuntime, launch: &Launch) -> Result<Launched, RuntimeError> {
    runtime.launch(launch, mpsc::unbounded_channel().0).await
}

async fn exit_of(runtime: &FakeRuntime, handle: &str) -> Option<Exit> {
    match runtime.inspect(handle).await.unwrap().status {
        FoundStatus::Exited(exit) => Some(exit),
        _ => None,
    }
}

/// The events of a watch that has begun.
async fn watched(runtime: &FakeRuntime) -> mpsc::Receiver<RuntimeEvent> {
    let (events, mut queue) = mpsc::channel(64);
    let watching = runtime.clone();
    tokio::spawn(async move { watching.watch(events).await });
    assert_eq!(queue.recv().await, Some(RuntimeEvent::Connected));
    queue
}

#[tokio::test]
async fn an_instance_lives_through_launch_stop_start_and_remove() {
    let (runtime, _) = engine(0.0);
    let mut events = watched(&runtime).await;
    let launch = launch(workload("1"));
    let handle = run(&runtime, &launch).await.unwrap().handle;
    assert_eq!(handle, launch.container_name());
    let hint = RuntimeEvent::Changed {
        handle: handle.clone(),
    };
    assert_eq!(events.recv().await, Some(hint.clone()));
    let found = runtime.list(&launch.node).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].spec_hash, launch.spec_hash);
    assert_eq!(runtime.running(), 1);
    // Launched again after an interruption: the same one.
    assert_eq!(run(&runtime, &launch).await.unwrap().handle, handle);
    assert_eq!(runtime.list(&launch.node).await.unwrap().len(), 1);

    runtime.stop(&handle, 10_000).await.unwrap();
    assert_eq!(events.recv().await, Some(hint));
    assert_eq!(exit_of(&runtime, &handle).await.unwrap().code, Some(143));
    assert_eq!(runtime.usage(&handle).await, None);
    runtime.start(&handle).await.unwrap();
    assert_eq!(runtime.running(), 1);
    assert!(runtime.usage(&handle).await.is_some());
    runtime.remove(&handle).await.unwrap();
    runtime.remove(&handle).await.unwrap();
    assert!(matches!(
        runtime.inspect(&handle).await,
        Err(RuntimeError::NotFound(_))
    ));
}

#[tokio::test]
async fn launches_fail_until_the_simulation_is_calm() {
    let (runtime, tally) = engine(1.0);
    let launch = launch(workload("1"));
    let error = run(&runtime, &launch).await.unwrap_err();
    assert!(error.to_string().contains("simulated fault"), "{error}");
    assert_eq!(tally.faults.get().launches_failed, 1);
    assert!(runtime.list(&launch.node).await.unwrap().is_empty());
    tally.calm.store(true, std::sync::atomic::Ordering::Relaxed);
    run(&runtime, &launch).await.unwrap();
}

#[tokio::test]
async fn the_poisoned_version_ends_and_says_why() {
    let (runtime, tally) = engine(0.0);
    let mut events = watched(&runtime).await;
    let launch = launch(workload("bad"));
    let handle = run(&runtime, &launch).await.unwrap().handle;
    assert!(runtime.probe_image(&handle, 100).await.is_err());
    events.recv().await.unwrap();
    events.recv().await.unwrap();
    assert_eq!(exit_of(&runtime, &handle).await.unwrap().code, Some(1));
    assert_eq!(tally.faults.get().poisoned, 1);
    let (lines, mut written) = mpsc::channel(MAX_LINES);
    let last = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    runtime.logs(&handle, &last, lines).await.unwrap();
    let line = written.recv().await.unwrap();
    assert!(line.text.contains("poison"), "{line:?}");
    assert!(written.recv().await.is_none());
}

#[tokio::test]
async fn a_crash_ends_one_of_those_that_run_and_is_counted_once() {
    let (runtime, tally) = engine(0.0);
    let handle = run(&runtime, &launch(workload("1"))).await.unwrap().handle;
    runtime.crash(1);
    assert_eq!(runtime.running(), 1, "there is no second one");
    runtime.crash(0);
    runtime.crash(0);
    assert_eq!(tally.faults.get().crashes, 1);
    assert_eq!(exit_of(&runtime, &handle).await.unwrap().code, Some(139));
}

#[tokio::test]
async fn what_has_runs_ends_well_by_itself() {
    let (runtime, _) = engine(0.0);
    let mut events = watched(&runtime).await;
    let counted = Workload {
        mode: RunMode::NTimes { max_runs: 2 },
        ..workload("1")
    };
    let handle = run(&runtime, &launch(counted)).await.unwrap().handle;
    events.recv().await.unwrap();
    events.recv().await.unwrap();
    assert_eq!(exit_of(&runtime, &handle).await.unwrap().code, Some(0));
}
