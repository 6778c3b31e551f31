//! An engine that hangs, that takes connections and never answers, that is gone, whose socket is
//! another one, and that dies in the middle of a pull.
//!
//! The agent reaches the engine through a [`Proxy`]; the engine itself is shared with other tests
//! and well. What is judged is asked of the engine directly.

use super::{Bystander, Proxy, Registry, bystander::began};
use crate::e2e::harness::{
    Agent, Engine, Fleet,
    manifests::{container, sleeping},
    wait_until,
};
use serde_json::Value;

/// Three seconds pass between two tries, ten until a call is given up.
fn is_unknown(engine: &'static str, words: &'static str) -> impl Fn(&Value) -> bool {
    move |i| {
        let reason = i["reason"].as_str().unwrap_or_default();
        i["state"] == "unknown" && reason.contains(engine) && reason.contains(words)
    }
}

/// A fleet with one container, whose engine can be taken away.
struct Scene {
    agent: Agent,
    bystander: Bystander,
    proxy: Proxy,
    engine: &'static str,
    id: String,
    began: String,
    // Ends last.
    fleet: Fleet,
}

impl Scene {
    fn new(engine: &'static str) -> Scene {
        let fleet = Fleet::start();
        let proxy = Proxy::of_socket(fleet.dir(), &Engine::named(engine).socket);
        let agent = fleet.agent("board").engine(engine);
        let agent = agent.through(&proxy.socket()).start();
        let bystander = Bystander::start(&fleet, &agent);
        fleet.apply_wait(&container("web", engine, "1")).done();
        let id = agent.container("web");
        Scene {
            began: began(engine, &id),
            agent,
            bystander,
            proxy,
            engine,
            id,
            fleet,
        }
    }

    /// While the engine is away: the agent lives, processes come and go, and nothing was done to
    /// the container.
    #[track_caller]
    fn goes_on(&self) {
        let Scene { fleet, agent, .. } = self;
        fleet.cli(["command", "ping", &agent.name]).done();
        fleet.apply_wait(&sleeping("meanwhile")).done();
        let process = agent.process("meanwhile");
        fleet.cli(["rm", "meanwhile", "--wait"]).done();
        assert!(!process.child.lives());
        self.bystander.is_untouched(fleet, agent);
        assert_eq!(agent.container("web"), self.id);
        assert_eq!(began(self.engine, &self.id), self.began);
    }

    /// The engine is back: the same container, and events come again.
    #[track_caller]
    fn is_as_before(&self) {
        let Scene { fleet, agent, .. } = self;
        let shown = fleet.wait_running("web");
        assert_eq!(shown["restarts"], 0, "{shown}");
        assert_eq!(shown["handle"], self.id.as_str());
        assert_eq!(agent.container("web"), self.id);
        assert_eq!(began(self.engine, &self.id), self.began);
        self.bystander.is_untouched(fleet, agent);
        agent.kill_container("web");
        fleet.wait_instance("web", "its end is noticed", |i| {
            i["state"] == "running" && i["restarts"] == 1
        });
        fleet.cli(["rm", "web", "--wait"]).done();
        let left = Engine::named(self.engine).of_workload(&agent.name, "web");
        assert!(left.is_empty(), "{left:?}");
    }
}

/// As a daemon that was frozen: its connections stay, and so does the stream of events.
fn hangs(engine: &'static str) {
    let mut scene = Scene::new(engine);
    scene.proxy.hang();
    // Nothing tells of it but silence: the agent asks by itself once a minute, and now.
    let refresh = ["command", "refresh", &scene.agent.name];
    scene.fleet.cli(refresh).done();
    let unknown = is_unknown(engine, "did not answer");
    scene.fleet.wait_instance("web", "is unknown", unknown);
    scene.goes_on();
    scene.proxy.fair();
    scene.is_as_before();
}

#[test]
fn a_docker_engine_that_hangs_makes_its_containers_unknown_and_loses_none() {
    hangs("docker");
}

#[test]
fn a_podman_engine_that_hangs_makes_its_containers_unknown_and_loses_none() {
    hangs("podman");
}

fn never_answers(engine: &'static str) {
    let mut scene = Scene::new(engine);
    scene.proxy.mute();
    let unknown = is_unknown(engine, "");
    scene.fleet.wait_instance("web", "is unknown", unknown);
    scene.goes_on();
    // It stays so, also once the agent has asked, and waited for as long as it waits.
    let refresh = ["command", "refresh", &scene.agent.name];
    scene.fleet.cli(refresh).done();
    let silent = is_unknown(engine, "did not answer");
    scene.fleet.wait_instance("web", "says why", silent);
    scene.proxy.fair();
    scene.is_as_before();
}

#[test]
fn a_docker_socket_that_accepts_and_never_answers_loses_no_container() {
    never_answers("docker");
}

#[test]
fn a_podman_socket_that_accepts_and_never_answers_loses_no_container() {
    never_answers("podman");
}

fn vanishes_and_comes_back(engine: &'static str) {
    let mut scene = Scene::new(engine);
    scene.proxy.vanish();
    let unknown = is_unknown(engine, "");
    scene.fleet.wait_instance("web", "is unknown", unknown);
    scene.goes_on();
    // A new socket under the old name.
    scene.proxy.fair();
    scene.fleet.wait_running("web");
    // And another one at once: nobody has the time to notice that there was none.
    scene.proxy.vanish();
    scene.proxy.fair();
    scene.is_as_before();
}

#[test]
fn a_docker_socket_that_is_replaced_is_found_again() {
    vanishes_and_comes_back("docker");
}

#[test]
fn a_podman_socket_that_is_replaced_is_found_again() {
    vanishes_and_comes_back("podman");
}

/// An order that was given while the engine hung is carried out once it answers.
#[test]
fn what_is_ordered_while_an_engine_hangs_is_done_when_it_is_back() {
    let mut scene = Scene::new("docker");
    scene.proxy.hang();
    scene.fleet.cli(["rm", "web"]).done();
    scene.goes_on();
    scene.proxy.fair();
    let engine = Engine::docker();
    wait_until("it is gone", || {
        let left = engine.of_workload(&scene.agent.name, "web");
        left.is_empty() && scene.fleet.instance("web").is_none()
    });
    scene.bystander.is_untouched(&scene.fleet, &scene.agent);
}

/// Enough of an image to be in the middle of it, of two megabytes.
const BEGUN: u64 = 200_000;

fn dies_in_a_pull(engine: &'static str) {
    let fleet = Fleet::start();
    let mut registry = Registry::new(&fleet);
    let image = registry.push("dies");
    let mut proxy = Proxy::of_socket(fleet.dir(), &Engine::named(engine).socket);
    let agent = fleet.agent("board").engine(engine).flag(&registry.flag());
    let agent = agent.through(&proxy.socket()).start();
    let bystander = Bystander::with(&fleet, &agent, &[engine]);

    registry.proxy.slow(300_000);
    fleet.apply(&image.workload("web", engine)).done();
    fleet.wait_instance("web", "is fetched", |i| i["state"] == "pulling");
    wait_until("it is in the middle of the pull", || {
        registry.proxy.passed(&image.blobs()) > BEGUN
    });
    proxy.vanish();
    let shown = fleet.wait_instance("web", "is not fetched any more", |i| {
        i["state"] != "pulling" && i["reason"].as_str().is_some_and(|r| r.contains(engine))
    });
    assert_eq!(shown["state"], "unknown", "{shown}");
    fleet.cli(["command", "ping", &agent.name]).done();

    proxy.fair();
    registry.proxy.slow(0);
    fleet.wait_running("web");
    let all = Engine::named(engine).of_workload(&agent.name, "web");
    assert_eq!(all.len(), 1, "{all:?}");
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_docker_engine_that_dies_in_a_pull_goes_on_with_it_when_it_is_back() {
    dies_in_a_pull("docker");
}

#[test]
fn a_podman_engine_that_dies_in_a_pull_goes_on_with_it_when_it_is_back() {
    dies_in_a_pull("podman");
}
