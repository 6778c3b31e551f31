//! One engine, one node name, and workloads on it.

use fleetctl::{
    model::{
        LogLine, LogQuery, Name, Placement, PullPolicy, Resources, Restart, Run, RuntimeKind,
        Workload, WorkloadType,
    },
    runtime::{
        Found, FoundStatus, Launch, Launched, Progress, Runtime, RuntimeError,
        docker::{Docker, RegistryCredentials},
        podman::Podman,
    },
};
use std::{
    collections::BTreeMap,
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

/// An engine on the socket that the environment tells, with these credentials.
pub fn engine(kind: RuntimeKind, credentials: RegistryCredentials) -> Arc<dyn Runtime> {
    let credentials = Arc::new(credentials);
    let pulls = Arc::new(Semaphore::new(1));
    match kind {
        RuntimeKind::Docker => {
            let socket = PathBuf::from(variable("FLEETCTL_TEST_DOCKER_SOCKET"));
            Arc::new(Docker::new(socket, credentials, pulls))
        }
        _ => {
            let socket = PathBuf::from(variable("FLEETCTL_TEST_PODMAN_SOCKET"));
            Arc::new(Podman::new(socket, credentials, pulls))
        }
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
        let fixture = Fixture {
            runtime: engine(kind, credentials),
            node,
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
        let mut workload = Workload {
            name: self.node.clone(),
            kind: WorkloadType::Service,
            version: "1".to_owned(),
            run: Run::Container {
                image: image.to_owned(),
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                pull: PullPolicy::Missing,
                engine: None,
                user: None,
                working_dir: None,
                network: None,
            },
            env: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            devices: Vec::new(),
            resources: Resources::default(),
            placement: Placement::default(),
            restart: Restart::default(),
            stop_timeout_ms: 1_000,
        };
        change(&mut workload);
        let spec_hash = workload.spec_hash();
        Launch {
            node: self.node.clone(),
            workload: Arc::new(workload),
            spec_hash,
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
}
