//! Health checks: HTTP, TCP, a command, the image's own; what follows when they fail.

use super::harness::{
    Fleet, Place, Port, image_with_check,
    manifests::{shell, sleeping},
    wait_until,
};
use serde_json::Value;
use std::{fs, net::TcpListener};

fn healthy(i: &Value) -> bool {
    i["state"] == "running" && i["health"] == "healthy"
}

#[test]
fn a_web_server_is_asked_over_http_and_restarted_when_it_is_unwell() {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    let port = Port::take();
    let root = fleet.dir().join("www");
    fs::create_dir(&root).expect("a directory");
    let page = root.join("ok");
    fs::write(&page, "fine\n").expect("a page");
    let (number, root) = (port.number(), root.display().to_string());
    let text = format!(
        "[workload.web]\ncommand = [\"python3\", \"-m\", \"http.server\", \"{number}\", \
         \"--bind\", \"127.0.0.1\", \"--directory\", \"{root}\"]\nstop_timeout = \"1s\"\n\
         [workload.web.restart]\ndelay = \"100ms\"\n\
         [workload.web.health]\nhttp = \"http://127.0.0.1:{number}/ok\"\ninterval = \"1s\"\n\
         start_period = \"6s\"\nretries = 2\n"
    );
    fleet.apply(&text).done();
    fleet.wait_instance("web", "is healthy", healthy);
    let before = agent.process("web");

    // An agent that is killed finds it well, and does not touch it.
    agent.come_back(&fleet);
    let shown = fleet.wait_instance("web", "is found healthy", healthy);
    assert_eq!(shown["restarts"], 0, "{shown}");
    assert_eq!(agent.process("web"), before);

    fs::remove_file(&page).expect("the page");
    fleet.wait_event("unhealthy", "web", &["404"]);
    fs::write(&page, "fine again\n").expect("a page");
    let shown = fleet.wait_instance("web", "was restarted and is healthy", |i| {
        healthy(i) && i["restarts"].as_u64() >= Some(1)
    });
    assert_eq!(shown["reason"], "", "{shown}");
    assert_ne!(agent.process("web"), before);
    fleet.wait_event("healthy", "web", &[]);
}

/// By TCP, which the test itself answers.
fn is_reported(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(engine).start();
    let port = Port::take();
    let listen = || TcpListener::bind(port.local()).expect("the port");
    let listener = listen();
    let keys = format!(
        "[workload.web.health]\ntcp = \"{}\"\ninterval = \"1s\"\nretries = 2\n\
         on_unhealthy = \"report\"\n",
        port.local()
    );
    fleet
        .apply_wait(&shell("web", engine, "exec sleep 86400", &keys))
        .done();
    let shown = fleet.wait_instance("web", "is healthy", healthy);
    let handle = shown["handle"].clone();

    drop(listener);
    let shown = fleet.wait_instance("web", "is reported", |i| i["state"] == "unhealthy");
    assert_eq!(shown["health"], "unhealthy", "{shown}");
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&port.local()), "{shown}");
    fleet.wait_event("unhealthy", "web", &[&port.local()]);

    let _listener = listen();
    let shown = fleet.wait_instance("web", "is well again", healthy);
    assert_eq!(shown["restarts"], 0, "only reported: {shown}");
    assert_eq!(shown["handle"], handle);
    assert_eq!(shown["reason"], "", "{shown}");
    if engine == "process" {
        assert!(agent.process("web").child.lives());
    }
}

#[test]
fn an_unwell_process_is_reported_and_nothing_more() {
    is_reported("process");
}

#[test]
fn an_unwell_docker_container_is_reported_and_nothing_more() {
    is_reported("docker");
}

#[test]
fn an_unwell_podman_container_is_reported_and_nothing_more() {
    is_reported("podman");
}

/// By a command beside it.
fn is_restarted(engine: &str) {
    let fleet = Fleet::start();
    let place = Place::new(engine);
    let mut agent = fleet.agent("board").engine(engine).start();
    let keys = "[workload.web.restart]\ndelay = \"100ms\"\n\
                [workload.web.health]\nexec = [\"/bin/sh\", \"-c\", \"test -e well || { echo not \
                well; exit 1; }\"]\ninterval = \"1s\"\nretries = 2\n";
    let script = "echo begun >> begun; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    place.touch("well");
    let text = place.workload("web", script, keys) + &sleeping("still");
    fleet.apply_wait(&text).done();
    fleet.wait_instance("web", "is healthy", healthy);
    let still = agent.process("still");

    agent.come_back(&fleet);
    let shown = fleet.wait_instance("web", "is found healthy", healthy);
    assert_eq!(shown["restarts"], 0, "{shown}");
    assert_eq!(place.lines("begun").len(), 1, "a healthy one goes on");

    place.remove("well");
    fleet.wait_event("unhealthy", "web", &["not well"]);
    place.wait_lines("begun", 2);
    place.touch("well");
    fleet.wait_instance("web", "was restarted and is healthy", |i| {
        healthy(i) && i["restarts"].as_u64() >= Some(1)
    });
    assert_eq!(agent.process("still"), still, "another one is not touched");
}

#[test]
fn an_unwell_process_is_restarted() {
    is_restarted("process");
}

#[test]
fn an_unwell_docker_container_is_restarted() {
    is_restarted("docker");
}

#[test]
fn an_unwell_podman_container_is_restarted() {
    is_restarted("podman");
}

/// By the image's HEALTHCHECK: reported only, unless the manifest says more.
fn has_a_check_in_its_image(engine: &str) {
    let fleet = Fleet::start();
    let (told, acted_upon) = (Place::new(engine), Place::new(engine));
    let _agent = fleet.agent("board").engine(engine).start();
    let image = image_with_check(engine);
    let workload = |name: &str, place: &Place, more: &str| {
        format!(
            "[workload.{name}]\nimage = \"{image}\"\nengine = \"{engine}\"\n\
             command = [\"/bin/sh\", \"-c\", \"echo begun >> begun; exec sleep 86400\"]\n\
             stop_timeout = \"1s\"\n{}[workload.{name}.restart]\ndelay = \"100ms\"\n{more}",
            place.keys()
        )
    };
    let more = "[workload.acted-upon.health]\nimage = true\ninterval = \"1s\"\nretries = 2\n\
                timeout = \"10s\"\n";
    told.touch("well");
    acted_upon.touch("well");
    let text = workload("told", &told, "") + &workload("acted-upon", &acted_upon, more);
    fleet.apply_wait(&text).done();
    for name in ["told", "acted-upon"] {
        fleet.wait_instance(name, "is healthy", healthy);
    }

    told.remove("well");
    acted_upon.remove("well");
    fleet.wait_instance("told", "is reported", |i| {
        i["state"] == "unhealthy" && i["health"] == "unhealthy"
    });
    acted_upon.wait_lines("begun", 2);
    fleet.wait_event("unhealthy", "acted-upon", &[]);
    told.touch("well");
    acted_upon.touch("well");
    let shown = fleet.wait_instance("told", "is well again", healthy);
    assert_eq!(shown["restarts"], 0, "{shown}");
    assert_eq!(told.lines("begun").len(), 1, "only reported");
    fleet.wait_instance("acted-upon", "was restarted and is healthy", |i| {
        healthy(i) && i["restarts"].as_u64() >= Some(1)
    });
}

#[test]
fn the_check_of_a_docker_image_is_heard() {
    has_a_check_in_its_image("docker");
}

#[test]
fn the_check_of_a_podman_image_is_heard() {
    has_a_check_in_its_image("podman");
}

#[test]
fn without_a_check_it_is_healthy_when_it_stays_up() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let keys = "min_healthy_time = \"2s\"\n";
    fleet
        .apply(&shell("quiet", "process", "exec sleep 86400", keys))
        .done();
    fleet.wait_instance("quiet", "is up, and not healthy yet", |i| {
        i["state"] == "running" && i["health"] == "starting"
    });
    fleet.wait_instance("quiet", "is healthy", healthy);
    wait_until("it is the first process", || {
        agent.process("quiet").child.lives()
    });
}
