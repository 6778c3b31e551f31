//! An agent without a controller, and the directory that says what it runs.

use super::{
    daemon::Daemon,
    engine::Engine,
    fleet::{Ran, fleetctl},
    native::{self, Native},
    wait::{wait_for, wait_until},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Dropped, it takes its processes and containers with it.
#[derive(Debug)]
pub struct Standalone {
    pub daemon: Daemon,
    pub name: String,
    /// The manifests.
    pub dir: PathBuf,
    pub data: PathBuf,
    docker: Option<Engine>,
    args: Vec<String>,
    log: PathBuf,
    _tmp: TempDir,
}

impl Standalone {
    /// With native processes only; `files` are names and texts of manifests.
    #[track_caller]
    pub fn start(files: &[(&str, &str)]) -> Standalone {
        Standalone::launch(files, None)
    }

    /// With Docker too.
    #[track_caller]
    pub fn start_with_docker(files: &[(&str, &str)]) -> Standalone {
        Standalone::launch(files, Some(Engine::docker()))
    }

    #[track_caller]
    fn launch(files: &[(&str, &str)], docker: Option<Engine>) -> Standalone {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tmp = tempfile::tempdir().expect("a temporary directory");
        let (dir, data) = (tmp.path().join("workloads"), tmp.path().join("agent"));
        fs::create_dir(&dir).expect("a directory of manifests");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("a manifest");
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.expect("a clock behind 1970").as_micros() & 0xfff_ffff;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("alone-{}-{count}-{micros:x}", process::id());
        let socket = match &docker {
            Some(engine) => engine.socket.display().to_string(),
            None => "off".to_owned(),
        };
        let args = vec![
            "agent".to_owned(),
            "--standalone".to_owned(),
            format!("--dir={}", dir.display()),
            format!("--data-dir={}", data.display()),
            format!("--name={name}"),
            format!("--docker-socket={socket}"),
            "--podman-socket=off".to_owned(),
            "--label=zone=hall".to_owned(),
        ];
        let log = tmp.path().join("agent.log");
        let alone = Standalone {
            daemon: spawn(&name, &args, &log),
            name,
            dir,
            data,
            docker,
            args,
            log,
            _tmp: tmp,
        };
        alone.wait_answers();
        alone
    }

    /// Starts it again, after its end.
    #[track_caller]
    pub fn launch_again(&mut self) {
        self.daemon = spawn(&self.name, &self.args, &self.log);
        self.wait_answers();
    }

    #[track_caller]
    fn wait_answers(&self) {
        wait_until("the agent answers at its socket", || {
            self.local(&["status"]).code == 0
        });
    }

    /// Its local socket.
    pub fn socket(&self) -> PathBuf {
        self.data.join("agent.sock")
    }

    /// `fleetctl --local …` against it.
    pub fn local(&self, args: &[&str]) -> Ran {
        let socket = format!("--socket={}", self.socket().display());
        Ran::of(fleetctl().args(["--local", &socket]).args(args))
    }

    /// Writes a manifest as an editor does: beside, then renamed.
    pub fn write(&self, name: &str, text: &str) {
        let beside = self.dir.join(format!(".{name}.new"));
        fs::write(&beside, text).expect("a manifest");
        fs::rename(&beside, self.dir.join(name)).expect("a manifest in its place");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).expect("a manifest that was there");
    }

    /// Every instance, as `ps` tells.
    #[track_caller]
    pub fn instances(&self) -> Vec<Value> {
        let all = self.local(&["ps", "-o", "json"]).done().json();
        all.as_array().cloned().unwrap_or_default()
    }

    /// An instance, once it is as it should be.
    #[track_caller]
    pub fn wait_instance(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name}: {what}"), || {
            let all = self.instances();
            all.into_iter().find(|i| i["workload"] == name && fits(i))
        })
    }

    #[track_caller]
    pub fn wait_state(&self, name: &str, state: &str) -> Value {
        self.wait_instance(name, state, |i| i["state"] == state)
    }

    /// Until there is no instance of that name.
    #[track_caller]
    pub fn wait_gone(&self, name: &str) {
        wait_until(&format!("{name} is gone"), || {
            self.instances().iter().all(|i| i["workload"] != name)
        });
    }

    /// The running process of a workload.
    #[track_caller]
    pub fn process(&self, workload: &str) -> Native {
        wait_for(&format!("a process of {workload} runs"), || {
            native::running(&self.data, workload)
        })
    }

    /// The id of the running container of a workload.
    #[track_caller]
    pub fn container(&self, workload: &str) -> String {
        wait_for(&format!("a container of {workload} runs"), || {
            let engine = self.docker.as_ref()?;
            let container = engine.containers(&self.name).remove(workload)?;
            container.running.then_some(container.id)
        })
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

fn spawn(name: &str, args: &[String], log: &Path) -> Daemon {
    let mut command = fleetctl();
    command.args(args);
    Daemon::spawn(name, command, log)
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if self.daemon.status().is_none() {
            self.daemon.kill9();
        }
        for process in native::all(&self.data) {
            process.kill9();
        }
        if let Some(engine) = &self.docker {
            engine.remove_all(&self.name);
        }
    }
}
