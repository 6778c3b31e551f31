//! A Compose project on one node: its services find each other by name, its files are taken along,
//! and its networks come and go with it.

use super::harness::{Engine, Fleet, manifests::image, wait_until};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// A web server in two networks, and somebody in one of them who asks it.
fn project(fleet: &Fleet, engine: &str) -> PathBuf {
    let dir = fleet.dir().join("project");
    fs::create_dir_all(dir.join("www")).expect("a directory");
    fs::write(dir.join("www/index.html"), "hello neighbour\n").expect("a page");
    fs::write(dir.join("web.env"), "GREETING='it is $5'\nMODE=file\n").expect("an env file");
    let image = image(engine);
    let text = format!(
        "name: {project}\n\
         x-fleet:\n  engine: {engine}\n  restart: {{delay: 0s}}\n\
         services:\n  \
         web:\n    image: {image}\n    command: httpd -f -p 8080 -h /srv\n    \
         stop_grace_period: 1s\n    init: true\n    env_file: web.env\n    \
         environment: {{MODE: here}}\n    \
         volumes: ['./www/index.html:/srv/index.html:ro']\n    networks: [front, back]\n  \
         asker:\n    image: {image}\n    container_name: {project}-asker\n    \
         command: sleep 86400\n    stop_grace_period: 1s\n    init: true\n    \
         depends_on: [web]\n    networks:\n      back: {{aliases: [friend]}}\n  \
         other:\n    image: {image}\n    command: sleep 86400\n    stop_grace_period: 1s\n    \
         init: true\n    profiles: [more]\n\
         networks:\n  front:\n  back:\n",
        project = fleet.name("shop"),
    );
    let path = dir.join("compose.yaml");
    fs::write(&path, text).expect("a Compose file");
    path
}

/// What `from` gets from `host`, the answer of a web server. Not by `wget`: where it is linked
/// statically, it cannot always look up names. Nor with a limit shorter than that of a lookup, which may
/// take a second try.
fn asked(fleet: &Fleet, from: &str, host: &str) -> String {
    let script = format!(
        "(printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n'; sleep 0.3) | timeout 20 nc {host} 8080"
    );
    let args = ["exec", from, "--", "/bin/sh", "-c", &script];
    fleet.cli(args).out
}

/// The networks that a container is in, by their names.
fn networks(inspected: &Value) -> Vec<String> {
    let networks = inspected["NetworkSettings"]["Networks"].as_object();
    let names = networks.into_iter().flat_map(|all| all.keys().cloned());
    names.collect()
}

fn runs_as_in_compose(name: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").engine(name).start();
    let engine = Engine::named(name);
    let path = project(&fleet, name);
    let path = path.to_str().expect("a plain path");
    let said = fleet
        .cli(["apply", "-y", "--wait", "--timeout", "60s", "-f", path])
        .done();
    assert!(said.err.contains("`other` is left out"), "{said:?}");
    for service in ["web", "asker"] {
        fleet.wait_running(service);
    }
    assert!(fleet.instance("other").is_none());

    // By name, and only the file's own word counts where both say something.
    wait_until("one finds the other by its name", || {
        asked(&fleet, "asker", "web").ends_with("\nhello neighbour\n")
    });
    let script = ["exec", "web", "--", "/bin/sh", "-c", "echo $MODE $GREETING"];
    assert_eq!(fleet.cli(script).done().out, "here it is $5\n");
    wait_until("an alias is a name too", || {
        // Nobody listens there, but somebody is there.
        let script = "timeout 20 nc friend 1 2>&1 </dev/null";
        let said = fleet.cli(["exec", "web", "--", "/bin/sh", "-c", script]);
        said.out.contains("refused")
    });
    let shop = fleet.name("shop");
    let expected = [format!("{shop}_back"), format!("{shop}_front")];
    let web = agent.container("web");
    assert_eq!(networks(&engine.inspect(&web)), expected);
    assert_eq!(engine.networks(&shop), expected);

    // As it was, nothing changes; with a profile, another one comes to the default network.
    let plan = fleet.cli(["plan", "-f", path]);
    assert_eq!(plan.code, 0, "{plan:?}");
    let profile = ["--var", "COMPOSE_PROFILES=more"];
    let apply = ["apply", "-y", "-f", path];
    fleet.cli(apply.iter().chain(&profile)).done();
    fleet.wait_running("other");
    let other = agent.container("other");
    assert_eq!(
        networks(&engine.inspect(&other)),
        [format!("{shop}_default")]
    );
    assert_eq!(agent.container("web"), web, "the others go on");

    // A new page is a new container, which is found by the same name.
    let page = fleet.dir().join("project/www/index.html");
    fs::write(page, "hello again\n").expect("a page");
    let said = fleet.cli(apply).done();
    assert!(said.out.contains("~ web"), "{said:?}");
    let mut newer = String::new();
    wait_until("there is a new one", || {
        let all = agent.containers();
        newer = all.get("web").cloned().unwrap_or_default();
        !newer.is_empty() && newer != web
    });
    let back = &engine.inspect(&newer)["NetworkSettings"]["Networks"][&expected[0]];
    let aliases = back["Aliases"].as_array().cloned().unwrap_or_default();
    assert!(aliases.iter().any(|alias| alias == "web"), "{back}");
    // The name server of Podman 4.3 (aardvark-dns 1.4) now and then answers nobody after a change,
    // until the next one; what was told to it is all that can be relied on.
    if name == "docker" {
        wait_until("the new one is found by its name", || {
            asked(&fleet, "asker", "web").ends_with("\nhello again\n")
        });
    }

    fleet.cli(["rm", "web", "asker", "other", "--wait"]).done();
    wait_until("the networks are gone too", || {
        engine.networks(&shop).is_empty()
    });
}

#[test]
fn a_compose_project_runs_on_docker_as_in_compose() {
    runs_as_in_compose("docker");
}

#[test]
fn a_compose_project_runs_on_podman_as_in_compose() {
    runs_as_in_compose("podman");
}

#[test]
fn a_network_that_somebody_else_made_is_used_and_stays() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    let engine = Engine::docker();
    let theirs = fleet.name("theirs");
    engine.make_network(&theirs);
    let manifest = format!(
        "[workload.a]\nimage = \"{image}\"\ncommand = [\"sleep\", \"86400\"]\ninit = true\n\
         stop_timeout = \"1s\"\nnetworks = [{{ name = \"{theirs}\", create = true }}]\n\
         security_opt = [\"seccomp=unconfined\"]\n",
        image = image("docker")
    );
    fleet.apply_wait(&manifest).done();
    let inspected = engine.inspect(&agent.container("a"));
    assert_eq!(networks(&inspected), std::slice::from_ref(&theirs));
    let options = inspected["HostConfig"]["SecurityOpt"].to_string();
    assert!(options.contains("seccomp=unconfined"), "{options}");

    // One of ours beside it, to know when the networks were looked through.
    let ours = fleet.name("ours");
    let both = manifest.replace(
        &format!("name = \"{theirs}\""),
        &format!("name = \"{ours}\", aliases = [\"x\"] }}, {{ name = \"{theirs}\""),
    );
    let both = both.replace("aliases = [\"x\"] }", "create = true, aliases = [\"x\"] }");
    fleet.apply_wait(&both).done();
    wait_until("it is in both", || {
        let id = agent.container("a");
        networks(&engine.inspect(&id)).len() == 2
    });
    fleet.cli(["rm", "a", "--wait"]).done();
    wait_until("ours is gone", || engine.networks(&ours).is_empty());
    assert_eq!(engine.networks(&theirs), std::slice::from_ref(&theirs));
    engine.remove_network(&theirs);

    // Gone, and not to be made: a sentence, and nothing is left half made.
    let missing = manifest.replace(", create = true", "");
    fleet.apply(&missing).done();
    fleet.wait_instance("a", "says what is missing", |i| {
        let reason = i["reason"].as_str().unwrap_or_default();
        reason.contains(&format!("network `{theirs}` does not exist"))
    });
}
