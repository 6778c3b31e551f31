//! Engines that are not there, hang, or die; played by a socket of the test's own.

use super::fixture::PATIENCE;
use fleetctl::{
    model::{ExecSpec, PullPolicy, Run, Workload},
    runtime::{
        Launch, Runtime, RuntimeError,
        docker::{Docker, RegistryCredentials},
        podman::Podman,
    },
};
use std::{path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// Both engines on one socket.
fn both(dir: &Path) -> (Docker, Podman) {
    let socket = dir.join("engine.sock");
    let credentials = Arc::new(RegistryCredentials::default());
    let pulls = Arc::new(Semaphore::new(1));
    let docker = Docker::new(
        socket.clone(),
        credentials.clone(),
        pulls.clone(),
        dir.join("docker"),
    );
    (
        docker,
        Podman::new(socket, credentials, pulls, dir.join("podman")),
    )
}

fn unreachable<T: std::fmt::Debug>(outcome: Result<T, RuntimeError>) {
    assert!(
        matches!(&outcome, Err(RuntimeError::Unreachable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_engine_that_hangs_costs_a_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let (docker, podman) = both(dir.path());
    let node = "hangs".parse().unwrap();
    let exec = ExecSpec {
        command: vec!["true".to_owned()],
        ..ExecSpec::default()
    };
    for runtime in [&docker as &dyn Runtime, &podman] {
        let (output, _unread) = mpsc::channel(1);
        let asked = async {
            tokio::join!(
                runtime.version(),
                runtime.list(&node),
                runtime.inspect("abc"),
                runtime.stop("abc", 1_000),
                runtime.exec("abc", &exec, output, None),
                runtime.unmanaged(true),
                runtime.probe_image("abc", 500),
                runtime.usage("abc"),
            )
        };
        let (a, b, c, d, e, f, probe, usage) = timeout(PATIENCE / 2, asked).await.unwrap();
        unreachable(a);
        unreachable(b);
        unreachable(c);
        unreachable(d);
        unreachable(e);
        unreachable(f);
        assert!(probe.is_err());
        assert_eq!(usage, None);
    }
    silent.abort();
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (docker, podman) = both(dir.path());
    for runtime in [&docker as &dyn Runtime, &podman] {
        let error = runtime.version().await.unwrap_err();
        assert!(
            matches!(error, RuntimeError::Unreachable { runtime: kind, .. } if kind == runtime.kind()),
            "{error:?}"
        );
    }
    // And a watch says so once, and ends with its receiver.
    let (sender, mut receiver) = mpsc::channel(4);
    let (first, ()) = tokio::join!(async move { receiver.recv().await }, docker.watch(sender));
    assert!(matches!(
        first,
        Some(fleetctl::runtime::RuntimeEvent::Disconnected { .. })
    ));
}

/// One request, with its body.
async fn request(stream: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            let is_it = key.eq_ignore_ascii_case("content-length");
            is_it.then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// No image is there; its pull begins with `begin`, and then the engine is gone.
async fn dies_in_a_pull(listener: UnixListener, begin: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let Some(request) = request(&mut stream).await else {
            continue;
        };
        let is_pull = request
            .lines()
            .next()
            .is_some_and(|line| line.contains("/images/create") || line.contains("/images/pull"));
        if is_pull {
            // Nobody listens any more before the connection is closed.
            drop(listener);
            stream.write_all(begin.as_bytes()).await.unwrap();
            return;
        }
        let body = r#"{"cause":"no such image","message":"No such image: x:1","response":404}"#;
        let answer = format!(
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: \
             {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_dies_in_a_pull_is_unreachable() {
    let run = Run::Container {
        image: "r.example/x:1".to_owned(),
        command: Vec::new(),
        pull: PullPolicy::Missing,
        engine: None,
        user: None,
        working_dir: None,
        network: None,
        options: Box::default(),
    };
    let workload = Workload::new("dies".parse().unwrap(), run);
    let launch = Launch {
        node: "dies".parse().unwrap(),
        spec_hash: workload.spec_hash(),
        workload: Arc::new(workload),
        trace: None,
    };
    // In the middle of a chunk, and where its end looks like the end of the answer.
    let begins = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: \
         chunked\r\n\r\n12\r\n{\"status\":\"Pulli",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: \
         close\r\n\r\n{\"stream\":\"Trying\"}\n",
    ];
    for begin in begins {
        for is_docker in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
            let dying = tokio::spawn(dies_in_a_pull(listener, begin));
            let (docker, podman) = both(dir.path());
            let runtime: &dyn Runtime = if is_docker { &docker } else { &podman };
            let (progress, _) = mpsc::unbounded_channel();
            let launching = runtime.launch(&launch, progress);
            unreachable(timeout(PATIENCE / 2, launching).await.unwrap());
            dying.await.unwrap();
        }
    }
}
