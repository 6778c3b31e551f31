//! A Podman container that is killed from outside: it is told at once, long before Podman's own
//! event comes, and it starts again at once, whatever Podman still has to clean up.

use super::fixture::{Fixture, LOCAL_IMAGE, PATIENCE};
use fleetctl::{
    model::{Port, Protocol, UnixMs},
    runtime::{FoundStatus, RuntimeEvent},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{net::TcpListener, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// From an end until the container is known to have ended. Podman's own event takes three times
/// as long on a machine that does nothing else.
const AT_ONCE: Duration = Duration::from_millis(60);
const TRIES: usize = 5;
const KILLS: usize = 30;

/// The pid of a container, once it runs.
async fn pid(fixture: &Fixture, handle: &str) -> u32 {
    let running =
        |status: &FoundStatus| matches!(status, FoundStatus::Running { pid: Some(_), .. });
    match fixture.wait_for(handle, running).await {
        FoundStatus::Running { pid: Some(pid), .. } => pid,
        other => panic!("{other:?}"),
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

/// Waits for a `Changed` after which it is seen to have ended: its exit code.
async fn ended(
    fixture: &Fixture,
    handle: &str,
    events: &mut mpsc::Receiver<RuntimeEvent>,
) -> Option<i32> {
    loop {
        // Other tests' events come on the same stream.
        match events.recv().await.unwrap() {
            RuntimeEvent::Changed { handle: of } if of == handle => {}
            _ => continue,
        }
        let status = fixture.runtime.inspect(handle).await.unwrap().status;
        if let FoundStatus::Exited(exit) = status {
            return exit.code;
        }
    }
}

/// Does it again and again, until the median of fifteen times is at most `limit`: other tests
/// keep the machine busy, which only ever makes it later.
async fn until_quick(limit: Duration, mut round: impl AsyncFnMut() -> Duration) {
    let mut medians = Vec::new();
    while medians.len() < TRIES {
        let mut took = Vec::new();
        for _ in 0..15 {
            took.push(round().await);
        }
        took.sort();
        if took[7] <= limit {
            return;
        }
        medians.push(took[7]);
    }
    panic!("{medians:?}");
}

#[tokio::test]
async fn an_end_is_told_at_once() {
    let fixture = Fixture::podman("an_end_is_told_at_once").await;
    let (sender, mut events) = mpsc::channel(64);
    let doing = async {
        assert_eq!(events.recv().await, Some(RuntimeEvent::Connected));
        let launched = fixture.launch(&fixture.shell("exec sleep 600")).await;
        let handle = launched.handle.as_str();
        until_quick(AT_ONCE, async || {
            let pid = pid(&fixture, handle).await;
            let began = Instant::now();
            kill(pid);
            assert_eq!(ended(&fixture, handle, &mut events).await, Some(137));
            let took = began.elapsed();
            fixture.runtime.start(handle).await.unwrap();
            took
        })
        .await;
        fixture.clean().await;
        drop(events);
    };
    let watched = async { tokio::join!(fixture.runtime.watch(sender), doing) };
    timeout(2 * PATIENCE, watched).await.unwrap();
}

#[tokio::test]
async fn an_end_right_after_the_start_is_told_at_once() {
    let fixture = Fixture::podman("an_end_right_after_the_start").await;
    let (sender, mut events) = mpsc::channel(64);
    let doing = async {
        assert_eq!(events.recv().await, Some(RuntimeEvent::Connected));
        let launched = fixture.launch(&fixture.shell("sleep 0.04; exit 4")).await;
        let handle = launched.handle.as_str();
        assert_eq!(ended(&fixture, handle, &mut events).await, Some(4));
        until_quick(AT_ONCE + Duration::from_millis(40), async || {
            fixture.runtime.start(handle).await.unwrap();
            let began = Instant::now();
            assert_eq!(ended(&fixture, handle, &mut events).await, Some(4));
            began.elapsed()
        })
        .await;
        fixture.clean().await;
        drop(events);
    };
    let watched = async { tokio::join!(fixture.runtime.watch(sender), doing) };
    timeout(2 * PATIENCE, watched).await.unwrap();
}

#[tokio::test]
async fn what_was_killed_starts_again_at_once_and_each_time() {
    let fixture = Fixture::podman("what_was_killed_starts_again").await;
    // Nobody else takes it: the kernel gives it out last.
    let free = TcpListener::bind("0.0.0.0:0").unwrap();
    let host = free.local_addr().unwrap().port();
    drop(free);
    let command = "while :; do echo well | nc -l -p 80; done";
    let launch = fixture.with(LOCAL_IMAGE, &["/bin/sh", "-c", command], |workload| {
        workload.ports.push(Port {
            address: None,
            host,
            container: 80,
            protocol: Protocol::Tcp,
        });
    });
    let (sender, mut events) = mpsc::channel(64);
    let doing = async {
        assert_eq!(events.recv().await, Some(RuntimeEvent::Connected));
        let launched = fixture.launch(&launch).await;
        for _ in 0..KILLS {
            kill(pid(&fixture, &launched.handle).await);
            let code = ended(&fixture, &launched.handle, &mut events).await;
            assert_eq!(code, Some(137));
            fixture.runtime.start(&launched.handle).await.unwrap();
        }
        // Podman's cleanup of all those ends leaves it alone, and its port is the same.
        until_served(host).await;
        let run = started(&fixture, &launched.handle).await;
        sleep(Duration::from_secs(1)).await;
        until_served(host).await;
        assert_eq!(started(&fixture, &launched.handle).await, run);
        fixture.clean().await;
        drop(events);
    };
    let watched = async { tokio::join!(fixture.runtime.watch(sender), doing) };
    timeout(4 * PATIENCE, watched).await.unwrap();
}

/// Since when it runs, and as which process.
async fn started(fixture: &Fixture, handle: &str) -> (UnixMs, Option<u32>) {
    match fixture.runtime.inspect(handle).await.unwrap().status {
        FoundStatus::Running { started_ms, pid } => (started_ms, pid),
        other => panic!("{other:?}"),
    }
}

/// Asks at the published port until the container answers.
async fn until_served(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asking = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let mut said = String::new();
            stream.read_to_string(&mut said).await?;
            Ok::<String, std::io::Error>(said)
        };
        let answer = timeout(Duration::from_secs(2), asking).await;
        match answer {
            Ok(Ok(said)) if said == "well\n" => return,
            other => assert!(Instant::now() < deadline, "still {other:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}
