//! `packaging/compose.yaml`, as it is handed out: a controller and an agent in containers that manage
//! the machine's own engine.

use super::{
    TARGETS, done,
    oci::{docker, make},
    unpack,
};
use crate::e2e::harness::{Port, variable, wait_for, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The containers of one test, on ports of its own; gone when dropped, with their workloads.
struct Project {
    place: TempDir,
    name: String,
    version: String,
    api: Port,
    mqtt: Port,
}

/// `docker compose`, or what came before it.
fn program() -> Command {
    let modern = Command::new("docker").args(["compose", "version"]).output();
    if modern.is_ok_and(|o| o.status.success()) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    Command::new("docker-compose")
}

impl Project {
    /// Loads the image of the release under a tag of the test's own.
    fn new() -> Project {
        let place = tempfile::tempdir().expect("a temporary directory");
        let version = format!("test-{}", std::process::id());
        let tree = unpack(TARGETS[0], place.path());
        let tar = place.path().join("image.tar");
        make(
            &tar,
            &version,
            &[("amd64", tree.join("fleetctl").as_path())],
        );
        done(docker().args(["load", "-i"]).arg(&tar));
        Project {
            place,
            name: format!("fleetctl{}", std::process::id()),
            version,
            api: Port::take(),
            mqtt: Port::take(),
        }
    }

    fn agent_dir(&self) -> PathBuf {
        self.place.path().join("agent")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/compose.yaml");
        let socket = variable("FLEETCTL_TEST_DOCKER_SOCKET");
        command.args(["-p", &self.name, "-f"]).arg(file).args(words);
        command
            .env("DOCKER_HOST", format!("unix://{socket}"))
            .env("DOCKER_SOCKET", &socket)
            .env("FLEETCTL_VERSION", &self.version)
            .env("FLEETCTL_API_LISTEN", self.api.local())
            .env(
                "FLEETCTL_MQTT_LISTEN",
                format!("tls://{}", self.mqtt.local()),
            )
            .env("FLEETCTL_ADVERTISE", self.mqtt.local())
            .env("FLEETCTL_NAME", &self.name)
            .env("FLEETCTL_AGENT_DIR", self.agent_dir());
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn compose(&self, words: &[&str]) -> String {
        done(&mut self.command(words))
    }

    /// A command of fleetctl in the controller's container, as a person would type it.
    #[track_caller]
    fn cli(&self, words: &[&str]) -> String {
        let begin = ["exec", "-T", "controller", "fleetctl"];
        self.compose(&[&begin[..], words].concat())
    }

    #[track_caller]
    fn apply(&self, manifest: &str) {
        let path = self.place.path().join("manifest.toml");
        fs::write(&path, manifest).expect("a manifest");
        let words = [
            "exec",
            "-T",
            "controller",
            "fleetctl",
            "apply",
            "-y",
            "-f",
            "-",
        ];
        let mut apply = self.command(&words);
        apply.stdin(fs::File::open(&path).expect("the manifest"));
        done(&mut apply);
    }

    /// The containers of workloads of this node that run.
    fn workloads(&self) -> Vec<String> {
        let label = format!("label=io.fleetctl.node={}", self.name);
        let all = done(docker().args(["ps", "-q", "--no-trunc", "--filter", &label]));
        all.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait_healthy(&self, service: &str) {
        let container = self.compose(&["ps", "-q", service]);
        wait_until(&format!("{service} is healthy"), || {
            let health = "{{.State.Health.Status}}";
            let asked = docker()
                .args(["inspect", "-f", health, container.trim()])
                .output();
            asked.is_ok_and(|o| o.stdout.starts_with(b"healthy"))
        });
    }

    #[track_caller]
    fn wait_online(&self) {
        wait_until("the node is online", || {
            self.cli(&["node", "ls"])
                .lines()
                .any(|l| l.contains("online") && l.contains(&self.name))
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for words in [&["logs", "--no-color"][..], &["ps", "-a"]] {
                let said = self.command(words).output();
                eprintln!(
                    "{}",
                    said.map_or_else(
                        |e| e.to_string(),
                        |o| String::from_utf8_lossy(&o.stdout).into_owned()
                    )
                );
            }
        }
        let _ = self.command(&["down", "--volumes", "-t", "5"]).output();
        for container in self.workloads() {
            let _ = docker().args(["rm", "-f", &container]).output();
        }
        let _ = docker()
            .args(["rmi", &format!("fleetctl:{}", self.version)])
            .output();
    }
}

#[test]
fn compose_starts_a_fleet_of_one_that_runs_containers_beside_itself() {
    let project = Project::new();
    project.compose(&["up", "-d"]);
    project.wait_healthy("controller");
    project.wait_online();
    project.wait_healthy("agent");

    // The token that the agent joined by is nobody's to read who is not root.
    let tokens = project.cli(&["token", "ls"]);
    assert!(tokens.contains("compose"), "{tokens}");

    project.apply(
        "[workload.web]\nimage = \"fleetctl-test:1\"\npull = \"never\"\n\
         command = [\"/bin/sh\", \"-c\", \"cat /etc/greeting; echo; exec sleep 86399\"]\n\
         [workload.web.files]\n\"/etc/greeting\" = \"good day\"\n",
    );
    let first = wait_for("the workload's container runs", || {
        project.workloads().pop()
    });
    // What it is given as a file has come through the engine of the machine.
    wait_until("the container reads its file", || {
        let said = docker().args(["logs", &first]).output();
        said.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("good day"))
    });

    // Taken down and up again: the workload is the same, and no second token was needed.
    project.compose(&["down", "-t", "10"]);
    assert_eq!(project.workloads(), std::slice::from_ref(&first));
    project.compose(&["up", "-d"]);
    project.wait_online();
    wait_until("the instance is known to run", || {
        project
            .cli(&["ps"])
            .lines()
            .any(|l| l.contains("web") && l.contains("running"))
    });
    assert_eq!(project.workloads(), [first]);
    let joins = project.cli(&["token", "ls"]);
    let joins = joins.lines().filter(|l| l.contains("compose")).count();
    assert_eq!(joins, 1, "tokens for the agent");

    project.cli(&["rm", "web", "--wait"]);
    assert_eq!(project.workloads(), Vec::<String>::new());
}
