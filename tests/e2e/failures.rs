//! What cannot run says why, in one sentence, tries again, and is in nobody's way.

use super::harness::{
    Fleet, in_registry,
    manifests::{container, image, sleeping},
};
use serde_json::Value;
use std::net::TcpListener;

fn backs_off(reason: &str) -> impl Fn(&Value) -> bool {
    move |i| {
        let said = i["reason"].as_str().unwrap_or_default();
        i["state"] == "backoff" && said.contains(reason)
    }
}

#[test]
fn a_missing_command_is_named_and_another_workload_goes_on() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let bad = "[workload.ghost]\ncommand = [\"/no/such/thing\"]\n\
               [workload.ghost.restart]\ndelay = \"100ms\"\n";
    fleet.apply(&format!("{bad}{}", sleeping("still"))).done();
    fleet.wait_instance(
        "ghost",
        "says what is missing",
        backs_off("`/no/such/thing`"),
    );
    fleet.wait_running("still");
    assert!(agent.process("still").child.lives());
    let ended = fleet.cli(
        ["apply", "-y", "--wait", "-f"]
            .into_iter()
            .chain([fleet.manifest("again", bad).to_str().expect("a plain path")]),
    );
    ended.failed(1, &["`/no/such/thing`", "not everything is as wanted"]);
}

fn image_troubles(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board");
    let agent = match engine {
        "docker" => agent.docker(),
        _ => agent.podman(),
    };
    let agent = agent.start();
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let private = in_registry("fleet/never-pulled:1");
    let mut text = container("fine", engine, "1");
    text += &format!(
        "[workload.secret]\nimage = \"{private}\"\nengine = \"{engine}\"\n\
         [workload.crowded]\nimage = \"{image}\"\nengine = \"{engine}\"\n\
         command = [\"/bin/sleep\", \"60\"]\nports = [\"{port}:80\"]\n\
         [workload.lost]\nimage = \"{image}\"\nengine = \"{engine}\"\n\
         command = [\"/no/such/program\"]\n",
        image = image(engine)
    );
    fleet.apply(&text).done();
    fleet.wait_instance(
        "secret",
        "wants credentials",
        backs_off("wants credentials"),
    );
    let sentence = format!("port {port} is already taken");
    fleet.wait_instance("crowded", "names the port", backs_off(&sentence));
    fleet.wait_instance("lost", "names the program", |i| {
        let said = i["reason"].as_str().unwrap_or_default();
        let ended = ["backoff", "failed"].iter().any(|s| i["state"] == *s);
        ended && said.contains("`/no/such/program` was not found")
    });
    fleet.wait_running("fine");
    agent.container("fine");
}

#[test]
fn what_docker_cannot_start_is_said_in_sentences() {
    image_troubles("docker");
}

#[test]
fn what_podman_cannot_start_is_said_in_sentences() {
    image_troubles("podman");
}

fn private_images(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").registry_credentials();
    let agent = match engine {
        "docker" => agent.docker(),
        _ => agent.podman(),
    };
    let agent = agent.start();
    let workload = |name: &str, image: &str| {
        format!(
            "[workload.{name}]\nimage = \"{}\"\nengine = \"{engine}\"\npull = \"always\"\n\
             stop_timeout = \"1s\"\n",
            in_registry(image)
        )
    };
    fleet.apply(&workload("absent", "fleet/nothing:1")).done();
    fleet
        .apply_wait(&workload("private", "fleet/hello:1"))
        .done();
    agent.container("private");
    fleet.wait_instance(
        "absent",
        "does not exist",
        backs_off("does not exist in its registry"),
    );
}

#[test]
fn docker_pulls_with_credentials_and_names_an_image_that_is_not_there() {
    private_images("docker");
}

#[test]
fn podman_pulls_with_credentials_and_names_an_image_that_is_not_there() {
    private_images("podman");
}

#[test]
fn an_update_to_an_image_that_is_not_there_keeps_the_old_one_running() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().registry_credentials().start();
    fleet.apply_wait(&container("web", "docker", "1")).done();
    let before = agent.container("web");
    let absent = in_registry("fleet/absent:9");
    let text = format!(
        "[workload.web]\nversion = \"9\"\nimage = \"{absent}\"\nengine = \"docker\"\n\
         stop_timeout = \"1s\"\n"
    );
    fleet.apply(&text).done();
    let shown = fleet.wait_instance("web", "says that the change waits", |i| {
        i["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("does not exist")
    });
    assert_eq!(shown["state"], "running");
    assert_eq!(shown["version"], "1");
    assert_eq!(shown["up_to_date"], false);
    assert!(
        shown["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("the old one goes on")
    );
    assert_eq!(agent.container("web"), before);
    // A way out: the version that is there.
    fleet.apply_wait(&container("web", "docker", "2")).done();
    assert_ne!(agent.container("web"), before);
}

#[test]
fn a_registry_that_never_answers_holds_nothing_up() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").docker().start();
    // Accepted by the kernel, answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("its address").port();
    let text = format!(
        "[workload.stuck]\nimage = \"127.0.0.1:{port}/x:1\"\nengine = \"docker\"\n{}",
        container("fine", "docker", "1")
    );
    fleet.apply(&text).done();
    fleet.wait_instance("stuck", "is fetched", |i| i["state"] == "pulling");
    fleet.wait_running("fine");
    fleet.cli(["rm", "stuck", "--wait"]).done();
}
