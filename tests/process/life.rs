//! From launch to removal.

use super::*;

#[tokio::test]
async fn a_program_runs_writes_and_ends() {
    let node = Node::new();
    let script = "echo out; echo err >&2; echo $FLEETCTL_NODE $FLEETCTL_WORKLOAD \
                  $FLEETCTL_VERSION $MODE; read line; exit 3";
    let launch = launch_of(&["/bin/sh", "-c", script], |workload| {
        workload.env.insert("MODE".to_owned(), "prod".to_owned());
    });
    let launched = node.launch(&launch).await.expect("a launch");
    let exit = node.exit(&launched.handle).await;
    assert_eq!(
        (exit.code, exit.message, exit.out_of_memory),
        (Some(3), None, false)
    );

    let found = node.processes.list(&node_name()).await.expect("a list");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].handle, launched.handle);
    assert_eq!(found[0].spec_hash, launch.spec_hash);
    assert_eq!(found[0].version, "1.2.0");
    let other = "pi-2".parse().expect("a name");
    assert!(
        node.processes
            .list(&other)
            .await
            .expect("a list")
            .is_empty()
    );

    let mut texts = node.texts(&launched.handle).await;
    texts.sort();
    assert_eq!(texts, ["err", "out", "pi-1 web 1.2.0 prod"]);
}

#[tokio::test]
async fn it_is_running_while_it_runs_and_can_be_started_again() {
    let node = Node::new();
    let launched = node.sh("echo up; exec sleep 600").await;
    let pid = launched.pid.expect("a pid");
    assert!(lives(u64::from(pid)));
    let status = node.status(&launched.handle).await;
    let FoundStatus::Running {
        pid: seen,
        started_ms,
    } = status
    else {
        panic!("it is {status:?}");
    };
    assert_eq!(seen, Some(pid));
    assert!(started_ms > 0);
    node.wait_for_line(&launched.handle, "up").await;

    node.processes
        .stop(&launched.handle, 10_000)
        .await
        .expect("a stop");
    let exit = node.exit(&launched.handle).await;
    assert_eq!(exit.code, Some(143));
    assert_eq!(
        exit.message.as_deref(),
        Some("ended by signal 15 (SIGTERM)")
    );

    let again = node
        .processes
        .start(&launched.handle)
        .await
        .expect("a start");
    assert_ne!(again.pid, launched.pid);
    node.processes
        .remove(&launched.handle)
        .await
        .expect("a removal");
    assert!(!lives(u64::from(again.pid.expect("a pid"))));
    let gone = node.processes.inspect(&launched.handle).await;
    assert_eq!(gone, Err(RuntimeError::NotFound(launched.handle.clone())));
    node.processes
        .remove(&launched.handle)
        .await
        .expect("gone is no error");
    node.processes
        .stop(&launched.handle, 0)
        .await
        .expect("gone is no error");
}

#[tokio::test]
async fn a_signal_counts_from_128() {
    let node = Node::new();
    let launched = node.sh("kill -9 $$").await;
    assert_eq!(node.exit(&launched.handle).await.code, Some(137));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let node = Node::new();
    let text = node.root.path().join("text");
    std::fs::write(&text, "no program").expect("written");
    let text = text.to_str().expect("UTF-8").to_owned();
    let cases = [
        (
            launch_of(&["/bin/nope"], |_| {}),
            "`/bin/nope` does not exist on this node".to_owned(),
        ),
        (
            launch_of(&[&text], |_| {}),
            format!("`{text}` is not executable"),
        ),
        (
            launch_of(&["/bin/true"], |workload| {
                workload.run = Run::Process {
                    command: vec!["/bin/true".to_owned()],
                    user: Some("no-such-user".to_owned()),
                    working_dir: None,
                };
            }),
            "user `no-such-user` does not exist on this node".to_owned(),
        ),
        (
            launch_of(&["/bin/true"], |workload| {
                workload.run = Run::Process {
                    command: vec!["/bin/true".to_owned()],
                    user: None,
                    working_dir: Some("/no/such/place".to_owned()),
                };
            }),
            "working directory `/no/such/place` does not exist on this node".to_owned(),
        ),
    ];
    for (launch, sentence) in cases {
        let error = node.launch(&launch).await.expect_err("it cannot start");
        assert_eq!(error, RuntimeError::Refused(sentence));
    }
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed() {
    let node = Node::new();
    let launched = node
        .sh("trap '' TERM; echo up; while :; do sleep 600; done")
        .await;
    node.wait_for_line(&launched.handle, "up").await;
    node.processes
        .stop(&launched.handle, 200)
        .await
        .expect("a stop");
    assert_eq!(node.exit(&launched.handle).await.code, Some(137));
}

#[tokio::test]
async fn what_is_left_behind_is_killed() {
    let node = Node::new();
    // One in the program's group, one in a session of its own.
    let script = "sleep 600 & echo $!; \
                  setsid /bin/sh -c 'echo $$; touch up; exec sleep 600' & \
                  while [ ! -e up ]; do :; done; exit 0";
    let launched = node.sh(script).await;
    assert_eq!(node.exit(&launched.handle).await.code, Some(0));
    let pids: Vec<u64> = node
        .texts(&launched.handle)
        .await
        .iter()
        .map(|t| t.parse().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    until(|| async { pids.iter().all(|pid| !lives(*pid)) }).await;
}

#[tokio::test]
async fn two_starts_at_once_run_one_program() {
    let node = Node::new();
    let launch = sh("echo $$; exec sleep 600");
    let (one, two) = tokio::join!(node.launch(&launch), node.launch(&launch));
    let (one, two) = (one.expect("a launch"), two.expect("a launch"));
    assert_eq!(one, two);
    let pid = one.pid.expect("a pid").to_string();
    node.wait_for_line(&one.handle, &pid).await;
    assert_eq!(node.texts(&one.handle).await, [pid]);
}

#[tokio::test]
async fn a_handle_does_not_lead_out_of_the_directory() {
    let node = Node::new();
    let outside = node.root.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    for handle in ["../outside", "..", "", ".", "/", "a/b"] {
        node.processes
            .remove(handle)
            .await
            .expect("nothing of that name");
        assert!(matches!(
            node.processes.inspect(handle).await,
            Err(RuntimeError::NotFound(_))
        ));
    }
    assert!(outside.exists());
}
