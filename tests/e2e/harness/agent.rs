//! An agent of a test's own, with everything that it starts.

use super::{
    daemon::Daemon,
    engine::{Engine, variable},
    fleet::{Fleet, clean},
    native::{self, Native},
    wait::{wait_for, wait_until},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// An agent that is about to be started.
#[derive(Debug)]
pub struct AgentSetup<'a> {
    fleet: &'a Fleet,
    name: String,
    docker: bool,
    podman: bool,
    token: Option<String>,
    namespace: Option<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    data: Option<PathBuf>,
    through: Option<PathBuf>,
    binary: PathBuf,
}

impl<'a> AgentSetup<'a> {
    pub(super) fn new(fleet: &'a Fleet, name: &str) -> AgentSetup<'a> {
        AgentSetup {
            fleet,
            name: fleet.name(name),
            docker: false,
            podman: false,
            token: None,
            namespace: None,
            flags: Vec::new(),
            variables: Vec::new(),
            data: None,
            through: None,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
        }
    }

    /// This name as it is, for pictures: other tests must not run beside it.
    pub fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    pub fn podman(mut self) -> Self {
        self.podman = true;
        self
    }

    /// With the engine of this name; `process` needs none.
    pub fn engine(self, engine: &str) -> Self {
        match engine {
            "docker" => self.docker(),
            "podman" => self.podman(),
            _ => self,
        }
    }

    /// It reaches its engine by this socket; the test itself goes on by the engine's own.
    pub fn through(mut self, socket: &Path) -> Self {
        self.through = Some(socket.to_owned());
        self
    }

    /// This program instead of the one that was built for the tests.
    pub fn binary(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.binary);
        self
    }

    /// A variable in its environment.
    pub fn variable(mut self, key: &str, value: &str) -> Self {
        self.variables.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The credentials of the test registry.
    pub fn registry_credentials(self) -> Self {
        let file = variable("FLEETCTL_TEST_DOCKER_CONFIG");
        self.flag(&format!("--registry-config={file}"))
    }

    pub fn flag(mut self, text: &str) -> Self {
        self.flags.push(text.to_owned());
        self
    }

    /// This token instead of a new one.
    /// Keeps its data there.
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// In this network namespace.
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// Starts it, and waits until its node is online.
    #[track_caller]
    pub fn start(self) -> Agent {
        let fleet = self.fleet;
        let agent = self.launch();
        fleet.wait_node(&agent.name, "online");
        agent
    }

    /// Starts it.
    pub fn launch(self) -> Agent {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = self.data.unwrap_or_else(|| dir.path().join("agent"));
        let token = self.token.unwrap_or_else(|| self.fleet.join_token());
        let engine = |wanted: bool, engine: fn() -> Engine| wanted.then(engine);
        let (docker, podman) = (
            engine(self.docker, Engine::docker),
            engine(self.podman, Engine::podman),
        );
        let through = self.through;
        let socket = |engine: &Option<Engine>| match (engine, &through) {
            (Some(_), Some(socket)) => socket.display().to_string(),
            (Some(engine), None) => engine.socket.display().to_string(),
            (None, _) => "off".to_owned(),
        };
        let mut args = vec![
            "agent".to_owned(),
            format!("--name={}", self.name),
            format!("--data-dir={}", data.display()),
            format!("--docker-socket={}", socket(&docker)),
            format!("--podman-socket={}", socket(&podman)),
            "--reconnect-max=1s".to_owned(),
        ];
        args.extend(self.flags);
        let log = dir.path().join("agent.log");
        let first = [format!("--join={token}")];
        let mut command = command(&self.binary, &args, &first, self.namespace.as_deref());
        command.envs(self.variables.iter().cloned());
        Agent {
            daemon: Daemon::spawn(&self.name, command, &log),
            name: self.name,
            data,
            engines: [docker, podman].into_iter().flatten().collect(),
            args,
            variables: self.variables,
            namespace: self.namespace,
            binary: self.binary,
            log,
            _dir: dir,
        }
    }
}

fn command(binary: &Path, args: &[String], more: &[String], namespace: Option<&str>) -> Command {
    let Some(namespace) = namespace else {
        let mut command = Command::new(binary);
        clean(&mut command);
        command.args(args).args(more);
        return command;
    };
    let mut command = Command::new("ip");
    clean(&mut command);
    // It becomes the agent: same process, so signals reach it.
    command.args(["netns", "exec", namespace]).arg(binary);
    command.args(args).args(more);
    command
}

/// An agent. Dropped, it takes its processes and containers with it.
#[derive(Debug)]
pub struct Agent {
    pub daemon: Daemon,
    pub name: String,
    pub data: PathBuf,
    engines: Vec<Engine>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    namespace: Option<String>,
    binary: PathBuf,
    log: PathBuf,
    _dir: TempDir,
}

impl Agent {
    /// Starts it again, without a token.
    pub fn launch_again(&mut self) {
        let mut command = command(&self.binary, &self.args, &[], self.namespace.as_deref());
        command.envs(self.variables.iter().cloned());
        self.daemon = Daemon::spawn(&self.name, command, &self.log);
    }

    /// SIGKILL and a new start; returns when the new one answers.
    #[track_caller]
    pub fn come_back(&mut self, fleet: &Fleet) {
        self.daemon.kill9();
        self.answer_again(fleet);
    }

    /// A new start after its end; returns when it answers.
    #[track_caller]
    pub fn answer_again(&mut self, fleet: &Fleet) {
        let written = self.log_len();
        self.launch_again();
        self.wait_log_since(written, &["connected", &self.name]);
        wait_until("the new agent answers", || {
            fleet.cli(["command", "ping", &self.name]).code == 0
        });
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Until its log has a line with all of `words`.
    #[track_caller]
    pub fn wait_log(&self, words: &[&str]) -> String {
        self.wait_log_since(0, words)
    }

    /// How much it has written so far; for [`Agent::wait_log_since`].
    pub fn log_len(&self) -> usize {
        self.daemon.log().len()
    }

    /// As [`Agent::wait_log`], with only what was written since `from`.
    #[track_caller]
    pub fn wait_log_since(&self, from: usize, words: &[&str]) -> String {
        wait_for(&format!("its log has a new line with {words:?}"), || {
            let log = self.daemon.log();
            let mut new = log.get(from..).unwrap_or_default().lines();
            let found = new.find(|l| words.iter().all(|w| l.contains(w)));
            found.map(str::to_owned)
        })
    }

    /// The running process of a workload.
    #[track_caller]
    pub fn process(&self, workload: &str) -> Native {
        wait_for(&format!("a process of {workload} runs"), || {
            native::running(&self.data, workload)
        })
    }

    /// Ids of the containers that run, by workload.
    pub fn containers(&self) -> BTreeMap<String, String> {
        let all = self.engines.iter().flat_map(|e| e.containers(&self.name));
        all.filter(|(_, c)| c.running)
            .map(|(workload, c)| (workload, c.id))
            .collect()
    }

    /// The running container of a workload.
    #[track_caller]
    pub fn container(&self, workload: &str) -> String {
        wait_for(&format!("a container of {workload} runs"), || {
            self.containers().remove(workload)
        })
    }

    /// Ends the container of a workload behind the agent's back.
    pub fn kill_container(&self, workload: &str) {
        for engine in &self.engines {
            if let Some(container) = engine.containers(&self.name).get(workload) {
                engine.kill(&container.id);
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.daemon.status().is_none() {
            self.daemon.kill9();
        }
        for process in native::all(&self.data) {
            process.kill9();
        }
        for engine in &self.engines {
            engine.remove_all(&self.name);
        }
    }
}
