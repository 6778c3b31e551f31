//! kill -9 of the agent at every step of a start, a stop, an upgrade and a removal: whatever was
//! ordered is carried out by the next one, once, and nobody else notices.
//!
//! Each round gives one order and kills the agent so many milliseconds after the command was
//! started: before the order arrives, while it is carried out, and after it. What the pure tests
//! in `src/supervisor/tests/kill.rs` do at each single step, these do to real engines.

use super::Bystander;
use crate::e2e::harness::{Agent, Engine, Fleet, manifests::container, native, wait_until};
use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// What is ordered, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Apply,
    Stop,
    Start,
    Upgrade,
    Remove,
}

const STEPS: [Step; 5] = [
    Step::Apply,
    Step::Stop,
    Step::Start,
    Step::Upgrade,
    Step::Remove,
];

/// Processes start and end within tens of milliseconds. Each step has an early, a middle and a
/// late one.
const OF_PROCESSES: [u64; 20] = [
    60, 100, 150, 80, 200, //
    90, 50, 70, 140, 110, //
    130, 0, 30, 65, 75, //
    20, 75, 115, 180, 55,
];

/// Containers need tenths of seconds.
const OF_CONTAINERS: [u64; 15] = [
    60, 300, 150, 450, 200, //
    250, 100, 400, 120, 350, //
    400, 200, 50, 600, 0,
];

/// What is killed around.
struct Subject<'a> {
    fleet: &'a Fleet,
    engine: &'a str,
    /// Nobody else sleeps for so long.
    seconds: u32,
}

const NAME: &str = "subject";

impl Subject<'_> {
    fn manifest(&self, version: u32) -> String {
        if self.engine != "process" {
            return container(NAME, self.engine, &version.to_string());
        }
        format!(
            "[workload.{NAME}]\nversion = \"{version}\"\nstop_timeout = \"1s\"\n\
             command = [\"/bin/sleep\", \"{}\"]\n[workload.{NAME}.restart]\ndelay = \"0s\"\n",
            self.argument(version)
        )
    }

    fn argument(&self, version: u32) -> String {
        format!("{}.{version}", self.seconds)
    }

    fn order(&self, step: Step, version: u32) -> Command {
        let mut command = self.fleet.command();
        match step {
            Step::Apply | Step::Upgrade => {
                let path = self.fleet.manifest(NAME, &self.manifest(version));
                command.args(["apply", "-y", "-f"]).arg(path)
            }
            Step::Stop => command.args(["workload", "stop", NAME]),
            Step::Start => command.args(["workload", "start", NAME]),
            Step::Remove => command.args(["rm", NAME]),
        };
        command
    }

    /// Programs that run, by what they were told; of every version, whoever started them.
    fn programs(&self) -> Vec<String> {
        let ours = format!("{}.", self.seconds);
        let entries = fs::read_dir("/proc").expect("a listing").flatten();
        let line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
        let lines = entries.filter_map(line);
        lines
            .filter_map(|line| {
                let text = String::from_utf8(line).ok()?;
                let mut words = text.split('\0');
                let sleeps = words.next()? == "/bin/sleep";
                let argument = words.next()?.to_owned();
                (sleeps && argument.starts_with(&ours)).then_some(argument)
            })
            .collect()
    }

    /// Exactly one runs, of this version and no other.
    fn is_one(&self, agent: &Agent, version: u32) -> bool {
        if self.engine == "process" {
            let directories = native::of_workload(agent.data(), NAME);
            return self.programs() == [self.argument(version)] && directories.len() == 1;
        }
        let all = Engine::named(self.engine).of_workload(&agent.name, NAME);
        let shown = self.fleet.instance(NAME).unwrap_or_default();
        matches!(&all[..], [one] if one.running && shown["handle"] == one.id.as_str())
    }

    /// None runs; what is left of it may stay.
    fn is_still(&self, agent: &Agent) -> bool {
        if self.engine == "process" {
            return self.programs().is_empty();
        }
        let all = Engine::named(self.engine).of_workload(&agent.name, NAME);
        all.len() <= 1 && all.iter().all(|c| !c.running)
    }

    /// Nothing of it is left.
    fn is_gone(&self, agent: &Agent) -> bool {
        if self.engine == "process" {
            let directories = native::of_workload(agent.data(), NAME);
            return self.programs().is_empty() && directories.is_empty();
        }
        let all = Engine::named(self.engine).of_workload(&agent.name, NAME);
        all.is_empty()
    }

    #[track_caller]
    fn becomes(&self, agent: &Agent, step: Step, version: u32) {
        match step {
            Step::Apply | Step::Start | Step::Upgrade => {
                let wanted = version.to_string();
                self.fleet.wait_instance(NAME, "runs as ordered", |i| {
                    i["state"] == "running"
                        && i["up_to_date"] == true
                        && i["version"] == wanted.as_str()
                });
                let what = format!("one runs, of version {version}");
                wait_until(&what, || self.is_one(agent, version));
            }
            Step::Stop => {
                let stopped = |i: &serde_json::Value| i["state"] == "stopped";
                self.fleet.wait_instance(NAME, "is stopped", stopped);
                wait_until("none runs", || self.is_still(agent));
            }
            Step::Remove => {
                wait_until("nothing is left", || self.is_gone(agent));
                wait_until("it is not listed", || self.fleet.instance(NAME).is_none());
            }
        }
    }
}

fn killed_at_every_step(engine: &'static str, delays: &[u64]) {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").engine(engine).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    let subject = Subject {
        fleet: &fleet,
        engine,
        // The port is this test's own, so the number is too.
        seconds: 100_000 + u32::from(fleet.mqtt.number()),
    };
    let mut version = 0;
    for (round, delay) in delays.iter().enumerate() {
        let step = STEPS[round % STEPS.len()];
        if matches!(step, Step::Apply | Step::Upgrade) {
            version += 1;
        }
        eprintln!("round {round}: {step:?}, killed after {delay} ms");
        let mut order = subject.order(step, version);
        order.stdout(Stdio::null()).stderr(Stdio::piped());
        let order = order.spawn().expect("fleetctl");
        // Not a wait: this is the fault.
        thread::sleep(Duration::from_millis(*delay));
        agent.daemon.kill9();
        let ended = order.wait_with_output().expect("how it ended");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "the order is refused: {said}");
        agent.answer_again(&fleet);
        subject.becomes(&agent, step, version);
        bystander.is_untouched(&fleet, &agent);
    }
    assert_eq!(
        delays.len() % STEPS.len(),
        0,
        "the last step is the removal"
    );
    assert!(subject.is_gone(&agent), "and it stays away");
}

#[test]
fn an_agent_killed_at_every_step_of_a_process_loses_and_doubles_nothing() {
    killed_at_every_step("process", &OF_PROCESSES);
}

#[test]
fn an_agent_killed_at_every_step_of_a_docker_container_loses_and_doubles_nothing() {
    killed_at_every_step("docker", &OF_CONTAINERS);
}

#[test]
fn an_agent_killed_at_every_step_of_a_podman_container_loses_and_doubles_nothing() {
    killed_at_every_step("podman", &OF_CONTAINERS);
}
