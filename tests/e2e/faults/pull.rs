//! Fetching images from a registry that is slow, dies, or hangs; and an agent that is killed
//! meanwhile.

use super::{Bystander, Registry, Unique};
use crate::e2e::harness::{
    Agent, Engine, Fleet,
    manifests::{container, sleeping},
    wait_until,
};
use serde_json::Value;

/// Enough of an image to be in the middle of it, of two megabytes.
const BEGUN: u64 = 200_000;
/// Bytes a second, at which an image takes a few seconds.
const SLOW: u64 = 600_000;
/// At which it takes longer than a test does anything meanwhile.
const VERY_SLOW: u64 = 100_000;

#[track_caller]
fn wait_begun(registry: &Registry, image: &Unique) {
    wait_until("the image is being fetched", || {
        registry.proxy.passed(&image.blobs()) > BEGUN
    });
}

/// Fetches an image by each of two engines at once; whether both were under way at one time.
fn overlap(engines: [&'static str; 2], flags: &[&str]) -> bool {
    let fleet = Fleet::start();
    let mut registry = Registry::new(&fleet);
    let images = [registry.push("one"), registry.push("two")];
    let mut agent = fleet.agent("board").engine(engines[0]);
    if engines[0] != engines[1] {
        agent = agent.engine(engines[1]);
    }
    agent = agent.flag(&registry.flag());
    for flag in flags {
        agent = agent.flag(flag);
    }
    let agent = agent.start();
    let bystander = Bystander::start(&fleet, &agent);
    registry.proxy.slow(SLOW);
    let one = images[0].workload("one", engines[0]);
    let two = images[1].workload("two", engines[1]);
    fleet.apply(&(one + &two)).done();
    wait_until("both are shown as being fetched", || {
        let pulls = |name| {
            fleet
                .instance(name)
                .is_some_and(|i| i["state"] == "pulling")
        };
        pulls("one") && pulls("two")
    });
    for name in ["one", "two"] {
        fleet.wait_running(name);
    }
    bystander.is_untouched(&fleet, &agent);
    let span = |image: &Unique| registry.proxy.span(&image.repository);
    let spans = images.each_ref().map(|i| span(i).expect("a request"));
    spans[0].0 < spans[1].1 && spans[1].0 < spans[0].1
}

#[test]
fn one_image_is_fetched_at_a_time() {
    assert!(!overlap(["docker", "docker"], &[]));
}

#[test]
fn one_image_is_fetched_at_a_time_over_both_engines() {
    assert!(!overlap(["docker", "podman"], &[]));
}

/// Otherwise the two tests above would show nothing.
#[test]
fn as_many_images_are_fetched_at_a_time_as_the_node_is_told() {
    assert!(overlap(["docker", "podman"], &["--parallel-pulls=2"]));
}

/// A fleet with an image that nobody has.
fn scene(engine: &'static str) -> (Fleet, Registry, Unique) {
    let fleet = Fleet::start();
    let mut registry = Registry::new(&fleet);
    let image = registry.push(engine);
    (fleet, registry, image)
}

fn agent(fleet: &Fleet, registry: &Registry, engine: &str) -> Agent {
    let agent = fleet.agent("board").engine(engine);
    agent.flag(&registry.flag()).start()
}

/// It waits to try again, and says that the registry is not there.
fn waits_for_registry(i: &Value) -> bool {
    let reason = i["reason"].as_str().unwrap_or_default();
    let waits = i["state"] == "backoff" || i["state"] == "crashloop";
    waits && reason.contains("registry") && reason.contains("cannot be reached")
}

fn one_container(engine: &str, agent: &Agent) {
    let all = Engine::named(engine).of_workload(&agent.name, "web");
    assert!(matches!(&all[..], [one] if one.running), "{all:?}");
}

/// Docker goes on with a layer by itself, as long as it takes.
#[test]
fn a_registry_that_dies_in_the_middle_is_waited_for_by_docker() {
    let (fleet, mut registry, image) = scene("docker");
    let agent = agent(&fleet, &registry, "docker");
    let bystander = Bystander::with(&fleet, &agent, &["docker"]);
    registry.proxy.slow(SLOW);
    fleet.apply(&image.workload("web", "docker")).done();
    wait_begun(&registry, &image);
    registry.proxy.vanish();
    let shown = fleet.instance("web").expect("it is listed");
    assert_eq!(shown["state"], "pulling", "{shown}");
    registry.proxy.slow(0);
    registry.proxy.fair();
    fleet.wait_running("web");
    one_container("docker", &agent);
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_registry_that_dies_in_the_middle_is_said_and_podman_tries_again() {
    let (fleet, mut registry, image) = scene("podman");
    let agent = agent(&fleet, &registry, "podman");
    let bystander = Bystander::with(&fleet, &agent, &["podman"]);
    registry.proxy.slow(SLOW);
    fleet.apply(&image.workload("web", "podman")).done();
    wait_begun(&registry, &image);
    registry.proxy.vanish();
    fleet.wait_instance("web", "says why it waits", waits_for_registry);
    registry.proxy.slow(0);
    registry.proxy.fair();
    fleet.wait_running("web");
    one_container("podman", &agent);
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn a_registry_that_is_away_is_said_and_tried_again() {
    let (fleet, mut registry, image) = scene("docker");
    let agent = agent(&fleet, &registry, "docker");
    let bystander = Bystander::with(&fleet, &agent, &["docker"]);
    registry.proxy.vanish();
    fleet.apply(&image.workload("web", "docker")).done();
    fleet.wait_instance("web", "says why it waits", waits_for_registry);
    registry.proxy.fair();
    fleet.wait_running("web");
    one_container("docker", &agent);
    bystander.is_untouched(&fleet, &agent);
}

fn killed_in_a_pull(engine: &'static str) {
    let (fleet, registry, image) = scene(engine);
    let mut agent = agent(&fleet, &registry, engine);
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    registry.proxy.slow(SLOW);
    fleet.apply(&image.workload("web", engine)).done();
    wait_begun(&registry, &image);
    agent.come_back(&fleet);
    registry.proxy.slow(0);
    fleet.wait_running("web");
    one_container(engine, &agent);
    bystander.is_untouched(&fleet, &agent);
}

#[test]
fn an_agent_killed_in_a_pull_by_docker_completes_it_afterwards() {
    killed_in_a_pull("docker");
}

#[test]
fn an_agent_killed_in_a_pull_by_podman_completes_it_afterwards() {
    killed_in_a_pull("podman");
}

/// Another process, another container and the end of the hanging one itself need no turn.
fn delays_nobody(engine: &'static str) {
    let (fleet, mut registry, image) = scene(engine);
    let agent = agent(&fleet, &registry, engine);
    let bystander = Bystander::with(&fleet, &agent, &[engine]);
    registry.proxy.slow(VERY_SLOW);
    fleet.apply(&image.workload("stuck", engine)).done();
    wait_begun(&registry, &image);
    registry.proxy.hang();

    fleet.apply_wait(&container("web", engine, "1")).done();
    let first = agent.container("web");
    fleet.apply_wait(&container("web", engine, "2")).done();
    assert_ne!(agent.container("web"), first);
    fleet.apply_wait(&sleeping("still")).done();
    fleet.cli(["workload", "stop", "still", "--wait"]).done();
    let stuck = fleet.instance("stuck").expect("it is listed");
    assert_eq!(stuck["state"], "pulling", "{stuck}");

    fleet.cli(["rm", "stuck", "--wait"]).done();
    assert_eq!(fleet.instance("stuck"), None);
    bystander.is_untouched(&fleet, &agent);
    registry.proxy.fair();
}

#[test]
fn a_pull_by_docker_that_hangs_delays_nobody() {
    delays_nobody("docker");
}

#[test]
fn a_pull_by_podman_that_hangs_delays_nobody() {
    delays_nobody("podman");
}
