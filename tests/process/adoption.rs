//! What a new agent finds, and what becomes of a program whose shim was killed.

use super::*;

#[tokio::test]
async fn another_agent_finds_what_runs_and_touches_nothing() {
    let node = Node::new();
    let launch = sh("echo up; exec sleep 600");
    let launched = node.launch(&launch).await.expect("a launch");

    let other = node.other();
    let found: Vec<Found> = other.list(&node_name()).await.expect("a list");
    assert_eq!(found.len(), 1);
    let FoundStatus::Running { pid, .. } = found[0].status else {
        panic!("it is {:?}", found[0].status);
    };
    assert_eq!(pid, launched.pid);
    let adopted = other
        .launch(&launch, mpsc::unbounded_channel().0)
        .await
        .expect("a launch");
    assert_eq!(adopted, launched);

    other.stop(&launched.handle, 10_000).await.expect("a stop");
    assert_eq!(node.exit(&launched.handle).await.code, Some(143));
}

#[tokio::test]
async fn a_program_without_its_shim_is_killed() {
    let node = Node::new();
    let launched = node.sh("sleep 600 & echo $!; wait").await;
    until(|| async { node.texts(&launched.handle).await.len() == 1 }).await;
    let grandchild: u64 = node.texts(&launched.handle).await[0]
        .parse()
        .expect("a pid");
    let child = node.pid(&launched.handle, "child");
    let shim = node.pid(&launched.handle, "shim");
    assert!(lives(child) && lives(grandchild) && lives(shim));

    kill_process(raw(shim), Signal::KILL).expect("a signal");
    until(|| async { !lives(shim) }).await;
    let exit = node.exit(&launched.handle).await;
    assert_eq!(exit.code, None);
    let message = "its supervising process was killed; exit code unknown";
    assert_eq!(exit.message.as_deref(), Some(message));
    until(|| async { !lives(child) && !lives(grandchild) }).await;
    // It stays so.
    assert_eq!(
        node.exit(&launched.handle).await.message.as_deref(),
        Some(message)
    );

    let again = node
        .processes
        .start(&launched.handle)
        .await
        .expect("a start");
    assert!(again.pid.is_some_and(|pid| u64::from(pid) != child));
}

#[tokio::test]
async fn a_state_of_another_boot_is_not_believed() {
    let node = Node::new();
    let launched = node.sh("exec sleep 600").await;
    node.processes
        .stop(&launched.handle, 10_000)
        .await
        .expect("a stop");
    node.exit(&launched.handle).await;
    // As after a power cut: a state, no ending, and pids that belong to somebody else by now.
    let dir = node.dir(&launched.handle);
    std::fs::remove_file(dir.join("exit.json")).expect("removed");
    let me = std::process::id();
    let id = serde_json::json!({ "pid": me, "start": 1 });
    let state = serde_json::json!({
        "shim": id, "child": id, "boot_id": "another", "started_ms": 1,
    });
    std::fs::write(dir.join("state.json"), state.to_string()).expect("written");
    let exit = node.exit(&launched.handle).await;
    assert_eq!(exit.code, None);
    let message = "the node was restarted while it ran; exit code unknown";
    assert_eq!(exit.message.as_deref(), Some(message));
}

#[tokio::test]
async fn half_a_launch_is_nobody_and_the_next_one_begins_anew() {
    let node = Node::new();
    let launch = sh("exec sleep 600");
    let launched = node.launch(&launch).await.expect("a launch");
    node.processes
        .stop(&launched.handle, 10_000)
        .await
        .expect("a stop");
    let plan = node.dir(&launched.handle).join("instance.json");
    std::fs::write(plan, "{\"node\":").expect("written");
    assert!(
        node.processes
            .list(&node_name())
            .await
            .expect("a list")
            .is_empty()
    );
    let again = node.launch(&launch).await.expect("a launch");
    assert_eq!(again.handle, launched.handle);
    assert!(again.pid.is_some());
}

#[tokio::test]
async fn sigterm_to_the_shim_reaches_the_program() {
    let node = Node::new();
    let launched = node
        .sh("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done")
        .await;
    node.wait_for_line(&launched.handle, "up").await;
    let shim = node.pid(&launched.handle, "shim");
    kill_process(raw(shim), Signal::TERM).expect("a signal");
    assert_eq!(node.exit(&launched.handle).await.code, Some(5));
}

#[tokio::test]
async fn the_end_of_an_instance_is_told() {
    let node = Node::new();
    let before = node.sh("exec sleep 600").await;
    let (sender, mut events) = mpsc::channel(16);
    let watch = node.processes.watch(sender);
    let story = async {
        let connected = events.recv().await;
        assert_eq!(connected, Some(RuntimeEvent::Connected));
        let after = node.sh("exec sleep 601").await;
        for handle in [before.handle.clone(), after.handle] {
            node.processes.stop(&handle, 10_000).await.expect("a stop");
            let event = events.recv().await;
            assert_eq!(event, Some(RuntimeEvent::Changed { handle }));
        }
        drop(events);
    };
    let both = async { tokio::join!(watch, story) };
    tokio::time::timeout(DEADLINE, both)
        .await
        .expect("the watcher ends with its listener");
}
