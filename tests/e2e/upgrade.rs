//! `fleetctl upgrade`: agents that put another release in their own place, and go back.

use super::harness::{
    Agent, Bad, Fleet, Releases, Setup,
    manifests::sleeping,
    native::{self, Native},
    wait_until,
};
use fleetctl::support::release;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a step of many agents.
const LONG: Duration = Duration::from_secs(150);
/// Quick steps, so that nobody waits for a grace.
const QUICK: [&str; 2] = ["--min-healthy-time=300ms", "--progress-deadline=60s"];

#[track_caller]
fn wait_long<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LONG:?} in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Some process is a program of this directory, be its file removed or not.
fn runs_from(programs: &Path) -> bool {
    let entries = fs::read_dir("/proc").expect("the processes");
    let mut programs_of = entries.filter_map(|e| fs::read_link(e.ok()?.path().join("exe")).ok());
    programs_of.any(|program| program.starts_with(programs))
}

/// Many boards with a workload, and what they are upgraded by.
struct Boards {
    fleet: Fleet,
    agents: Vec<Agent>,
    releases: Releases,
    steady: BTreeMap<String, Native>,
}

impl Boards {
    fn start(count: usize, releases: Releases) -> Boards {
        Boards::start_in(Fleet::setup(), count, releases)
    }

    fn start_in(setup: Setup, count: usize, releases: Releases) -> Boards {
        let fleet = setup.start();
        let token = fleet.join_token();
        let launch = |n: usize| {
            let agent = fleet.agent(&format!("b{n}")).binary(releases.installed());
            let token = if n == 0 {
                token.clone()
            } else {
                fleet.join_token()
            };
            agent.token(&token).launch()
        };
        let agents: Vec<Agent> = (0..count).map(launch).collect();
        for agent in &agents {
            fleet.wait_node(&agent.name, "online");
        }
        let manifest = sleeping("steady") + "[workload.steady.placement]\non = \"every\"\n";
        fleet.apply(&manifest).done();
        let steady = agents.iter().map(|agent| {
            let process = wait_long("its workload runs", || {
                native::running(&agent.data, "steady")
            });
            (agent.name.clone(), process)
        });
        let steady = steady.collect();
        Boards {
            fleet,
            agents,
            releases,
            steady,
        }
    }

    fn upgrade(&self, version: &str, more: &[&str]) {
        let words = ["upgrade", version, "-y"];
        let words = words.iter().chain(&QUICK).chain(more);
        self.fleet.cli(words).done();
    }

    fn rollout(&self) -> Option<Value> {
        let answer = self
            .fleet
            .try_get("/api/v1/workloads/fleetctl-agent/rollout")?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Until the rollout to `version` is in this phase.
    #[track_caller]
    fn wait_phase(&self, version: &str, phase: &str) -> Value {
        let mut last = String::new();
        wait_long(&format!("the upgrade to {version} is {phase}"), || {
            let now = self.rollout()?;
            let short = format!(
                "{} {} ({})",
                now["version"], now["rollout"]["phase"], now["rollout"]["reason"]
            );
            if last != short {
                eprintln!("the upgrade: {short}");
                last = short;
            }
            let is = now["version"] == version && now["rollout"]["phase"] == phase;
            is.then_some(now)
        })
    }

    fn nodes(&self) -> Vec<Value> {
        let answer = self.fleet.ask("GET", "/api/v1/upgrade/nodes", None);
        let page = answer.json();
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// Until every board says that it runs `version`, and can be heard.
    #[track_caller]
    fn wait_versions(&self, version: &str) {
        wait_long(&format!("all run {version}"), || {
            let nodes = self.nodes();
            let is = |n: &Value| n["version"] == version && n["presence"] == "online";
            (nodes.len() == self.agents.len() && nodes.iter().all(is)).then_some(())
        });
    }

    /// No workload has noticed anything.
    #[track_caller]
    fn assert_undisturbed(&self) {
        for agent in &self.agents {
            let before = self.steady[&agent.name];
            assert_eq!(
                native::running(&agent.data, "steady"),
                Some(before),
                "the workload of {} was disturbed",
                agent.name
            );
        }
    }

    /// A release that is wrong: the canary goes back by itself, and nobody else is touched.
    #[track_caller]
    fn survive(&self, version: &str, kind: Bad, more: &[&str]) {
        let begun = Instant::now();
        let file = self.releases.bad(version, kind);
        let file = file.to_str().unwrap();
        self.fleet.cli(["upgrade", "push", file]).done();
        if kind == Bad::WrongArch {
            self.mislabel(version);
        }
        self.upgrade(version, more);
        let over = self.wait_phase(version, "rolled_back");
        let verdict = &over["rollout"]["verdict"];
        eprintln!(
            "{kind:?}: rolled back after {:.1} s; {} on {}: {}",
            begun.elapsed().as_secs_f32(),
            verdict["check"],
            verdict["node"],
            verdict["reason"]
        );
        let touched = over["unchanged"].as_u64().unwrap() as usize;
        assert_eq!(touched, self.agents.len() - 1, "one canary, and no other");
        self.wait_versions(release::version());
        self.assert_undisturbed();
        for agent in &self.agents {
            self.assert_cleared(agent, version);
        }
    }

    /// Nothing runs of a release that was given up, and its file is gone.
    #[track_caller]
    fn assert_cleared(&self, agent: &Agent, version: &str) {
        let programs = agent.data.join("upgrade/bin");
        wait_until(&format!("nothing of {version} is left"), || {
            let files = fs::read_dir(&programs).map_or(0, Iterator::count);
            files == 0 && !runs_from(&programs)
        });
    }

    /// Says that a program for another processor is one for this.
    fn mislabel(&self, version: &str) {
        let view = self.fleet.ask("GET", "/api/v1/upgrade", None).json();
        let release = view["releases"][version].as_object().unwrap();
        let binary = release.values().next().unwrap();
        let artifact = json!({"binary": {
            "version": version, "arch": release::arch(), "binary": binary,
        }});
        let body = artifact.to_string();
        let answer = self.fleet.ask("PUT", "/api/v1/artifacts", Some(&body));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

/// Every bad release is survived, then a good one comes everywhere, also though the controller is
/// killed in the middle.
pub fn bad_ones_then_a_good_one(count: usize, releases: Releases) {
    let begun = Instant::now();
    let mut boards = Boards::start(count, releases);
    eprintln!(
        "{count} boards run {} after {:.1} s",
        release::version(),
        begun.elapsed().as_secs_f32()
    );
    for (n, kind) in Bad::ALL.into_iter().enumerate() {
        let deadline = match kind {
            Bad::Hangs => "--healthy-deadline=4s",
            _ => "--healthy-deadline=20s",
        };
        boards.survive(&format!("8.0.{n}"), kind, &[deadline]);
    }
    let begun = Instant::now();
    let good = boards.releases.good("9.0.0");
    let push = ["upgrade", "push", good.to_str().unwrap()];
    boards.fleet.cli(push).done();
    eprintln!("pushed in {:.1} s", begun.elapsed().as_secs_f32());
    boards.upgrade("9.0.0", &["--max-parallel=20%", "--healthy-deadline=30s"]);
    wait_long("some are on the new one, and not all", || {
        let healthy = boards.rollout()?["healthy"].as_u64()?;
        (healthy > 0).then_some(())
    });
    boards.fleet.controller.kill9();
    boards.fleet.restart();
    boards.wait_phase("9.0.0", "succeeded");
    boards.wait_versions("9.0.0");
    eprintln!(
        "{count} boards run 9.0.0 after {:.1} s, with the controller killed in the middle",
        begun.elapsed().as_secs_f32()
    );
    boards.assert_undisturbed();
    let status = boards.fleet.cli(["upgrade", "status"]).done();
    eprintln!("{}", status.out);
}

#[test]
fn bad_releases_go_back_by_themselves_and_a_good_one_comes_everywhere() {
    bad_ones_then_a_good_one(12, Releases::new());
}

#[test]
fn what_cannot_be_upgraded_to_is_refused_before_any_board_is_touched() {
    let releases = Releases::new();
    let fleet = Fleet::start();
    let cut = releases.truncated("9.0.0");
    let cut = fleet.cli(["upgrade", "push", cut.to_str().unwrap()]);
    cut.failed(1, &["cut off"]);
    let other = fleet.cli(["upgrade", "push", "/bin/true"]);
    other.failed(1, &["not fleetctl"]);
    let unknown = fleet.cli(["upgrade", "9.0.0", "-y"]);
    unknown.failed(1, &["no binary of fleetctl 9.0.0", "upgrade push"]);
    let good = releases.good("9.0.0");
    fleet
        .cli(["upgrade", "push", good.to_str().unwrap()])
        .done();
    let listed = fleet.cli(["upgrade", "ls"]).done();
    assert!(listed.out.contains("9.0.0"), "{}", listed.out);
    // It is there already.
    let again = fleet
        .cli(["upgrade", "push", good.to_str().unwrap()])
        .done();
    assert!(again.err.contains("was there already"), "{}", again.err);
    let none = fleet.cli(["upgrade", "9.0.0", "--node", "nobody", "-y"]);
    none.failed(1, &["nobody"]);
    let reserved = "[workload.fleetctl-agent]\ncommand = [\"/bin/true\"]\n";
    fleet
        .apply(reserved)
        .failed(1, &["the agent's own name", "fleetctl upgrade"]);
    fleet.cli(["upgrade", "rm", "9.0.0", "-y"]).done();
    let gone = fleet.cli(["upgrade", "9.0.0", "-y"]);
    gone.failed(1, &["no binary of fleetctl 9.0.0"]);
}

/// A directory in which nothing can be executed; unmounted when dropped.
struct NoExec(tempfile::TempDir);

impl NoExec {
    fn mount() -> NoExec {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "noexec,size=64m", "fleetctl-e2e"])
            .arg(dir.path())
            .status();
        assert!(mounted.unwrap().success(), "root is needed");
        NoExec(dir)
    }
}

impl Drop for NoExec {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_board_that_cannot_execute_what_it_keeps_says_so_and_is_left_out() {
    let disk = NoExec::mount();
    let (fleet, releases) = (Fleet::start(), Releases::new());
    let data = disk.0.path().join("agent");
    let agent = fleet
        .agent("board")
        .binary(releases.installed())
        .data(&data)
        .start();
    agent.wait_log(&["cannot be upgraded by the fleet", "noexec"]);
    let good = releases.good("9.0.0");
    fleet
        .cli(["upgrade", "push", good.to_str().unwrap()])
        .done();
    let planned = fleet.cli(["upgrade", "9.0.0", "--plan"]);
    let all = format!("{}{}", planned.out, planned.err);
    assert!(all.contains(&agent.name), "the node is named: {all}");
    assert!(!data.join("upgrade/record.json").exists());
}
