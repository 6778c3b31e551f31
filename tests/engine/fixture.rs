//! One engine, one node name, and workloads on it.

use fleetctl::{
    model::{
        ContainerOptions, ExecSpec, LogLine, LogQuery, LogStream, Name, PullPolicy, Run,
        RuntimeKind, Workload,
    },
    runtime::{
        ExecOutput, Found, FoundStatus, Launch, Launched, Progress, Runtime, RuntimeError,
        docker::{Docker, RegistryCredentials},
        podman::Podman,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};

/// The image that is in both engines and in no registry.
pub const LOCAL_IMAGE: &str = "fleetctl-test:1";
/// Nothing that is waited for takes longer, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One engine with a node name of its own.
pub struct Fixture {
    /// The engine, with the registry's right password.
    pub runtime: Arc<dyn Runtime>,
    /// Nobody else's.
    pub node: Name,
    /// The agent's directory for this engine.
    pub place: tempfile::TempDir,
}

/// The environment variable, or a word on how to get it.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run `make test` (it starts the engines), or start them with \
                `tests/engines.sh start DIR` and source DIR/env"
        )
    })
}

/// An image in the test registry.
pub fn in_registry(image: &str) -> String {
    format!("{}/{image}", variable("FLEETCTL_TEST_REGISTRY"))
}

/// The socket of an engine, as the environment tells it.
pub fn socket(kind: RuntimeKind) -> PathBuf {
    PathBuf::from(variable(match kind {
        RuntimeKind::Docker => "FLEETCTL_TEST_DOCKER_SOCKET",
        _ => "FLEETCTL_TEST_PODMAN_SOCKET",
    }))
}

/// The API that both engines have, for what a runtime does not do.
pub fn api(kind: RuntimeKind) -> bollard::Docker {
    let socket = socket(kind);
    let socket = socket.to_str().unwrap();
    bollard::Docker::connect_with_unix(socket, 60, bollard::API_DEFAULT_VERSION).unwrap()
}

/// An engine on the socket that the environment tells, with these credentials.
pub fn engine(
    kind: RuntimeKind,
    credentials: RegistryCredentials,
    place: &Path,
) -> Arc<dyn Runtime> {
    let (socket, place) = (socket(kind), place.to_owned());
    let credentials = Arc::new(credentials);
    let pulls = Arc::new(Semaphore::new(1));
    match kind {
        RuntimeKind::Docker => Arc::new(Docker::new(socket, credentials, pulls, place)),
        _ => Arc::new(Podman::new(socket, credentials, pulls, place)),
    }
}

impl Fixture {
    pub async fn docker(test: &str) -> Fixture {
        Fixture::new(RuntimeKind::Docker, test).await
    }

    pub async fn podman(test: &str) -> Fixture {
        Fixture::new(RuntimeKind::Podman, test).await
    }

    async fn new(kind: RuntimeKind, test: &str) -> Fixture {
        let config = variable("FLEETCTL_TEST_DOCKER_CONFIG");
        let credentials = RegistryCredentials::load(Some(Path::new(&config))).unwrap();
        let node = Name::from_lossy(&format!("{test}-{}", std::process::id())).unwrap();
        let place = tempfile::tempdir().unwrap();
        let fixture = Fixture {
            runtime: engine(kind, credentials, place.path()),
            node,
            place,
        };
        // Of an earlier run that was ended and had the same process id.
        fixture.clean().await;
        fixture
    }

    /// Removes everything of this node.
    pub async fn clean(&self) {
        for found in self.runtime.list(&self.node).await.unwrap() {
            self.runtime.remove(&found.handle).await.unwrap();
        }
    }

    /// A launch of `command` in the image that both engines have.
    pub fn shell(&self, command: &str) -> Launch {
        self.of_image(LOCAL_IMAGE, &["/bin/sh", "-c", command])
    }

    /// A launch of any image; an empty command is the image's own.
    pub fn of_image(&self, image: &str, command: &[&str]) -> Launch {
        self.with(image, command, |_| {})
    }

    /// The same, changed by `change` before its hash is taken.
    pub fn with(
        &self,
        image: &str,
        command: &[&str],
        change: impl FnOnce(&mut Workload),
    ) -> Launch {
        let run = Run::Container {
            image: image.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            pull: PullPolicy::Missing,
            engine: None,
            user: None,
            working_dir: None,
            network: None,
            options: Box::new(ContainerOptions::default()),
        };
        let mut workload = Workload::new(self.node.clone(), run);
        workload.stop_timeout_ms = 1_000;
        change(&mut workload);
        self.launch_of(workload)
    }

    /// A launch of just this.
    pub fn launch_of(&self, workload: Workload) -> Launch {
        let spec_hash = workload.spec_hash();
        Launch {
            node: self.node.clone(),
            workload: Arc::new(workload),
            spec_hash,
            trace: None,
        }
    }

    pub async fn try_launch(&self, launch: &Launch) -> Result<Launched, RuntimeError> {
        let (progress, _) = mpsc::unbounded_channel();
        self.runtime.launch(launch, progress).await
    }

    pub async fn launch(&self, launch: &Launch) -> Launched {
        self.try_launch(launch).await.unwrap()
    }

    /// As `launch`, with what was told on the way.
    pub async fn launch_told(
        &self,
        launch: &Launch,
    ) -> (Result<Launched, RuntimeError>, Vec<Progress>) {
        let (progress, mut told) = mpsc::unbounded_channel();
        let outcome = self.runtime.launch(launch, progress).await;
        (
            outcome,
            std::iter::from_fn(|| told.try_recv().ok()).collect(),
        )
    }

    /// Asks again and again until `wanted` says so.
    pub async fn wait_for(
        &self,
        handle: &str,
        wanted: impl Fn(&FoundStatus) -> bool,
    ) -> FoundStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.runtime.inspect(handle).await.unwrap();
            if wanted(&found.status) {
                return found.status;
            }
            assert!(Instant::now() < deadline, "still {:?}", found.status);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for its end.
    pub async fn exit(&self, handle: &str) -> fleetctl::runtime::Exit {
        match self
            .wait_for(handle, |status| matches!(status, FoundStatus::Exited(_)))
            .await
        {
            FoundStatus::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    pub async fn list(&self) -> Vec<Found> {
        self.runtime.list(&self.node).await.unwrap()
    }

    /// Everything that a query gives which does not follow.
    pub async fn logs(&self, handle: &str, query: LogQuery) -> Vec<LogLine> {
        let (sender, mut receiver) = mpsc::channel(16);
        let collecting = async {
            let mut lines = Vec::new();
            while let Some(line) = receiver.recv().await {
                lines.push(line);
            }
            lines
        };
        let (outcome, lines) = tokio::join!(self.runtime.logs(handle, &query, sender), collecting);
        outcome.unwrap();
        lines
    }

    /// A program in a container, its exit code and what it wrote on both streams.
    pub async fn exec(&self, handle: &str, command: &[&str]) -> (i32, String, String) {
        let exec = ExecSpec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..ExecSpec::default()
        };
        let (sender, receiver) = mpsc::channel(1);
        let (code, (out, err)) = tokio::join!(
            self.runtime.exec(handle, &exec, sender, None),
            collected(receiver)
        );
        (code.unwrap(), out, err)
    }

    /// Runs `command` in a container again and again, until it ends with this code.
    pub async fn until_exec(&self, handle: &str, command: &[&str], code: i32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (seen, out, err) = self.exec(handle, command).await;
            if seen == code {
                return;
            }
            assert!(Instant::now() < deadline, "still {seen}: {out} {err}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Everything that a program writes on both streams.
pub async fn collected(mut receiver: mpsc::Receiver<ExecOutput>) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = receiver.recv().await {
        assert!(piece.data.len() <= 16 * 1024);
        match piece.stream {
            LogStream::Stdout => out.extend(&piece.data),
            LogStream::Stderr => err.extend(&piece.data),
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(out), text(err))
}
