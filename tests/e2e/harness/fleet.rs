//! A controller of a test's own, and the operator's commands against it.

use super::{
    agent::AgentSetup,
    daemon::Daemon,
    http::{Answer, Ask},
    ports::Port,
    wait::{wait_for, wait_until},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The product, with nothing of the caller's environment that would configure it.
pub fn fleetctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    clean(&mut command);
    command
}

/// Takes the configuration by environment variables away from a command.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLEETCTL_") {
            command.env_remove(name);
        }
    }
    command.env_remove("XDG_CONFIG_HOME");
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Ran {
        let output = command
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have worked.
    #[track_caller]
    pub fn done(self) -> Ran {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It must have failed with this exit code, and say each of `words` on stderr.
    #[track_caller]
    pub fn failed(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in {self:?}");
        }
        self
    }

    /// What it printed for programs.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// A controller that is about to be started.
#[derive(Debug)]
pub struct Setup {
    dir: TempDir,
    data: PathBuf,
    mqtt: Port,
    mqtt_listen: Option<String>,
    broker: Option<String>,
    flags: Vec<String>,
}

impl Setup {
    pub fn flag(mut self, text: &str) -> Setup {
        self.flags.push(text.to_owned());
        self
    }

    /// TLS for agents, also over loopback.
    pub fn tls(mut self) -> Setup {
        self.mqtt_listen = Some(format!("tls://{}", self.mqtt.local()));
        self
    }

    /// The embedded broker at this address instead of one of its own.
    pub fn mqtt_listen(mut self, url: &str) -> Setup {
        self.mqtt_listen = Some(url.to_owned());
        self
    }

    /// The embedded broker on all addresses, TLS, and this one in the join line.
    pub fn advertised(mut self, host: &str) -> Setup {
        self.mqtt_listen = Some(format!("tls://0.0.0.0:{}", self.mqtt.number()));
        self.flag(&format!("--advertise={host}"))
    }

    /// A broker that is not embedded.
    pub fn broker(mut self, url: &str) -> Setup {
        self.broker = Some(url.to_owned());
        self
    }

    /// Nodes that are not heard are missed within seconds.
    pub fn impatient(self) -> Setup {
        self.flag("--heartbeat-interval=1s")
            .flag("--silent-after=3s")
            .flag("--offline-after=6s")
            .flag("--start-grace=1s")
    }

    /// Its data somewhere else.
    pub fn data(mut self, data: &Path) -> Setup {
        self.data = data.to_owned();
        self
    }

    /// Where its data will be.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Starts it, and waits until it is ready.
    pub fn start(self) -> Fleet {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.expect("a clock behind 1970").as_nanos();
        let api = Port::take();
        let mut args = vec![
            "controller".to_owned(),
            format!("--data-dir={}", self.data.display()),
            format!("--api-listen={}", api.local()),
        ];
        match &self.broker {
            Some(url) => args.push(format!("--broker={url}")),
            None => {
                let listen = self.mqtt_listen.clone();
                let listen = listen.unwrap_or_else(|| self.mqtt.local());
                args.extend(["--embed-broker".into(), format!("--mqtt-listen={listen}")]);
            }
        }
        args.extend(self.flags);
        let log = self.dir.path().join("controller.log");
        let controller = launch(&args, &log);
        let mut fleet = Fleet {
            controller,
            args,
            log,
            api,
            mqtt: self.mqtt,
            data: self.data,
            tag: format!("{:x}", (nanos / 1_000) & 0xfff_ffff),
            token: String::new(),
            dir: self.dir,
        };
        fleet.wait_ready();
        let token = fs::read_to_string(fleet.data.join("admin.token"));
        fleet.token = token.expect("the first token").trim().to_owned();
        fleet
    }
}

fn launch(args: &[String], log: &Path) -> Daemon {
    let mut command = fleetctl();
    command.args(args);
    Daemon::spawn("controller", command, log)
}

/// A controller that runs, and how to talk to it.
#[derive(Debug)]
pub struct Fleet {
    pub controller: Daemon,
    pub mqtt: Port,
    pub data: PathBuf,
    pub token: String,
    api: Port,
    args: Vec<String>,
    log: PathBuf,
    tag: String,
    dir: TempDir,
}

impl Fleet {
    pub fn setup() -> Setup {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Setup {
            data: dir.path().join("controller"),
            mqtt: Port::take(),
            mqtt_listen: None,
            broker: None,
            flags: Vec::new(),
            dir,
        }
    }

    /// A controller with its embedded broker on loopback.
    pub fn start() -> Fleet {
        Fleet::setup().start()
    }

    /// The directory of this test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A name that no other test uses.
    pub fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.tag)
    }

    /// An agent that is about to be started; its node's name is [`Fleet::name`] of `name`.
    pub fn agent(&self, name: &str) -> AgentSetup<'_> {
        AgentSetup::new(self, name)
    }

    /// Starts the controller again, as it was.
    pub fn restart(&mut self) {
        self.launch_again();
        self.wait_ready();
    }

    /// The same without waiting.
    pub fn launch_again(&mut self) {
        self.controller = launch(&self.args, &self.log);
    }

    /// Until its API answers.
    pub fn wait_ready(&mut self) {
        wait_until("the controller is ready", || {
            let ended = self.controller.status();
            assert!(ended.is_none(), "it ended: {}", self.controller.log());
            self.try_get("/readyz").is_some_and(|a| a.status == 200)
        });
    }

    /// The address of its API and its dashboard, as in `http://127.0.0.1:7070`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.api.local())
    }

    /// A command with this fleet's address and token.
    pub fn command(&self) -> Command {
        let mut command = fleetctl();
        command
            .env("FLEETCTL_URL", self.origin())
            .env("FLEETCTL_TOKEN", &self.token)
            .env("HOME", self.dir.path());
        command
    }

    /// Runs an operator's command.
    pub fn cli<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command().args(args))
    }

    /// A manifest as a file.
    pub fn manifest(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.toml"));
        fs::write(&path, text).expect("a manifest");
        path
    }

    /// `fleetctl apply -f - -y --wait`, in effect.
    pub fn apply_wait(&self, text: &str) -> Ran {
        let path = self.manifest("applied-and-waited-for", text);
        let path = path.as_os_str();
        let wait = ["-y", "--wait", "--timeout", "30s"].map(OsStr::new);
        let begin = [OsStr::new("apply"), OsStr::new("-f"), path];
        self.cli(begin.into_iter().chain(wait))
    }

    /// `fleetctl apply -f - -y`, in effect.
    pub fn apply(&self, text: &str) -> Ran {
        let path = self.manifest("applied", text);
        let words = ["apply", "-y", "-f"].map(OsStr::new);
        self.cli(words.into_iter().chain([path.as_os_str()]))
    }

    /// Asks the API with the admin's token.
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.ask_as(Some(&self.token), method, path, body)
    }

    /// Asks the API with another token, or none.
    pub fn ask_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Answer {
        let ask = Ask {
            method,
            path,
            token,
            body,
        };
        let answer = ask.tcp(&self.api.local());
        answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// `None` when the controller does not answer.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        let ask = Ask {
            method: "GET",
            path,
            token: Some(&self.token),
            body: None,
        };
        ask.tcp(&self.api.local()).ok()
    }

    fn try_json(&self, path: &str) -> Option<Value> {
        let answer = self.try_get(path).filter(|a| a.status == 200)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// A node as the API shows it.
    pub fn node(&self, node: &str) -> Option<Value> {
        self.try_json(&format!("/api/v1/nodes/{node}"))
    }

    pub fn node_state(&self, node: &str) -> String {
        let state = self.node(node).map(|n| n["state"].clone());
        let text = state.as_ref().and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn wait_node(&self, node: &str, state: &str) -> Value {
        wait_for(&format!("{node} is {state}"), || {
            self.node(node).filter(|n| n["state"] == state)
        })
    }

    /// The only instance of a workload, as the API shows it.
    pub fn instance(&self, workload: &str) -> Option<Value> {
        let all = self.instances();
        let mut own = all.into_iter().filter(|i| i["workload"] == workload);
        let first = own.next();
        assert!(
            own.next().is_none(),
            "{workload} has more than one instance"
        );
        first
    }

    pub fn instances(&self) -> Vec<Value> {
        let all = self.try_json("/api/v1/instances");
        let list = all.as_ref().and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    }

    /// Until the only instance of `workload` is as `wanted` says.
    #[track_caller]
    pub fn wait_instance(
        &self,
        workload: &str,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        wait_for(&format!("{workload}: {what}"), || {
            let now = self.instance(workload)?;
            if last.as_ref() != Some(&now) {
                eprintln!(
                    "{workload} is {} ({}), restarts {}",
                    now["state"], now["reason"], now["restarts"]
                );
                last = Some(now.clone());
            }
            wanted(&now).then_some(now)
        })
    }

    #[track_caller]
    pub fn wait_running(&self, workload: &str) -> Value {
        self.wait_instance(workload, "runs what is wanted", |i| {
            i["state"] == "running" && i["up_to_date"] == true
        })
    }

    /// Runs an operator's command with something on its standard input.
    pub fn cli_with(&self, args: &[&str], input: &str) -> Ran {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(input.as_bytes()).expect("the input");
        file.rewind().expect("the input again");
        Ran::of(self.command().args(args).stdin(Stdio::from(file)))
    }

    /// What happened under this name, oldest first.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let said = self.cli(["events", "-o", "json"]).done().out;
        let all = said
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok());
        all.map(|mut e| e["event"].take())
            .filter(|e| e["event"] == name)
            .collect()
    }

    /// Until an agent has told this event of a workload, with all of `words` in its sentence.
    #[track_caller]
    pub fn wait_event(&self, name: &str, workload: &str, words: &[&str]) -> Value {
        wait_for(
            &format!("event {name} of {workload} with {words:?}"),
            || {
                let all = self.events(&format!("agent_{name}"));
                all.into_iter().find(|e| {
                    let said = e["message"].as_str().unwrap_or_default();
                    e["workload"] == workload && words.iter().all(|w| said.contains(w))
                })
            },
        )
    }

    /// A value of `/metrics`, 0 when it is not there.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.ask("GET", "/metrics", None).text();
        let line = text.lines().find_map(|l| l.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().expect("a whole number"))
    }

    /// A token for a machine that joins.
    pub fn join_token(&self) -> String {
        let made = self.cli(["token", "create", "--kind", "join"]).done();
        made.out.trim().to_owned()
    }
}
