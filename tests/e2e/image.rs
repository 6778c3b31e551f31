//! Images pushed through the controller: archives that real engines wrote, onto real engines, with
//! no registry anywhere.

use super::harness::{Agent, Ask, Engine, Fleet, Ran};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An image that no engine has any part of, below what is taken away in the end.
struct Own {
    /// As in `fleet-own-1a2b:1`.
    name: String,
    engine: &'static str,
    dir: PathBuf,
}

impl Own {
    fn new(fleet: &Fleet, engine: &'static str) -> Own {
        let dir = fleet.dir().join(format!("image-{engine}"));
        fs::create_dir_all(&dir).expect("a directory");
        Own {
            name: format!("{}:1", fleet.name(&format!("own-{engine}"))),
            engine,
            dir,
        }
    }

    /// What a `docker save` of it would be: a layer with a shell, and one with this word.
    fn archive(&self, word: &str) -> PathBuf {
        let base = self.layer("base", |root| {
            fs::create_dir_all(root.join("bin")).expect("a directory");
            fs::copy("/bin/busybox", root.join("bin/sh"))
                .expect("busybox (package busybox-static)");
            fs::write(root.join("of"), &self.name).expect("a file");
        });
        let top = self.layer(&format!("top-{word}"), |root| {
            fs::write(root.join("of-top"), &self.name).expect("a file");
            fs::write(root.join("word"), format!("{word}\n")).expect("a file");
        });
        let layers = [base, top];
        let ids: Vec<String> = layers.iter().map(|l| sha256(&self.dir.join(l))).collect();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Cmd": ["/bin/sh", "-c",
                        "trap 'exit 0' TERM; read word < /word; echo the word is $word; \
                         while :; do sleep 0.1; done"],
                "Env": ["PATH=/bin"],
                "Labels": {"fleetctl.test": self.name},
            },
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        self.put("config.json", &config);
        let manifest =
            json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": layers}]);
        self.put("manifest.json", &manifest);
        let archive = self.dir.join(format!("{word}.tar"));
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(&self.dir);
        Ran::of(tar.args(["manifest.json", "config.json"]).args(&layers)).done();
        archive
    }

    fn put(&self, name: &str, document: &Value) {
        fs::write(self.dir.join(name), document.to_string()).expect("a document");
    }

    /// A layer's file, by the directory that `fill` fills; the same each time.
    fn layer(&self, name: &str, fill: impl FnOnce(&Path)) -> String {
        let root = self.dir.join(name);
        let file = format!("{name}.layer");
        if !self.dir.join(&file).exists() {
            fs::create_dir_all(&root).expect("a directory");
            fill(&root);
            let mut tar = Command::new("tar");
            tar.args(["--mtime=@0", "--sort=name", "-cf"]);
            tar.arg(self.dir.join(&file)).arg("-C").arg(&root).arg(".");
            Ran::of(&mut tar).done();
        }
        file
    }

    fn workload(&self, version: &str) -> String {
        format!(
            "[workload.own]\nversion = \"{version}\"\nimage = \"{}\"\nengine = \"{}\"\n\
             pull = \"missing\"\nstop_timeout = \"1s\"\n",
            self.name, self.engine
        )
    }

    fn engine(&self) -> Engine {
        Engine::named(self.engine)
    }

    /// Names of images of this engine that contain `part`.
    fn names(&self, part: &str) -> Vec<String> {
        let ask = Ask {
            method: "GET",
            path: "/images/json",
            token: None,
            body: None,
        };
        let answer = ask
            .unix(&self.engine().socket)
            .expect("the engine's images");
        let all = answer.json();
        let images = all.as_array().into_iter().flatten();
        let tags = images.filter_map(|i| i["RepoTags"].as_array()).flatten();
        let names = tags.filter_map(Value::as_str);
        names
            .filter(|n| n.contains(part))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Also what a newer one has left without a name.
        let path = format!(
            "/images/json?filters=%7B%22label%22%3A%5B%22fleetctl.test%3D{}%22%5D%7D",
            self.name.replace(':', "%3A")
        );
        let ask = Ask {
            method: "GET",
            path: &path,
            token: None,
            body: None,
        };
        let Ok(answer) = ask.unix(&self.engine().socket) else {
            return;
        };
        let all: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        for id in all
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|i| i["Id"].as_str())
        {
            self.engine().remove_image(id);
        }
    }
}

fn sha256(file: &Path) -> String {
    let bytes = fs::read(file).expect("a layer");
    let hash = digest(&SHA256, &bytes);
    let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Pushes it; the answer for programs.
#[track_caller]
fn push(fleet: &Fleet, archive: &Path, more: &[&str]) -> Value {
    let archive = archive.display().to_string();
    let mut args = vec!["image", "push", &archive, "-o", "json"];
    args.extend(more);
    fleet.cli(args).done().json()
}

fn board(fleet: &Fleet, engine: &'static str) -> Agent {
    fleet.agent("board").engine(engine).start()
}

/// Twice the same sends nothing, another layer above sends that layer; on both ways.
fn only_what_is_missing_is_sent(engine: &'static str) {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, engine);
    let agent = board(&fleet, engine);
    let to = ["--to", agent.name.as_str()];
    let first = push(&fleet, &own.archive("first"), &to);
    let size = first["size"].as_u64().expect("a size");
    assert!(size > 500_000, "a shell is in it: {first}");
    assert_eq!(first["sent"].as_u64(), Some(size));
    let came = first["nodes"][0]["bytes"].as_u64().expect("bytes");
    assert!(came >= size, "{came} of {size}");
    assert_eq!(own.names("lent-"), [""; 0], "nothing of the way stays");
    // The image is there under its own name, and no registry knows it.
    fleet.apply_wait(&own.workload("1")).done();
    assert!(
        fleet
            .cli(["logs", "own", "--tail", "5"])
            .done()
            .out
            .contains("the word is first")
    );

    let again = push(&fleet, &own.archive("first"), &to);
    assert_eq!(again["sent"], 0, "{again}");
    let came = again["nodes"][0]["bytes"].as_u64().expect("bytes");
    assert!(
        came < 10_000,
        "the manifest, and perhaps the configuration: {again}"
    );

    let changed = push(&fleet, &own.archive("second"), &to);
    let sent = changed["sent"].as_u64().expect("bytes");
    assert!(
        (1..10_000).contains(&sent),
        "the layer above and two documents: {changed}"
    );
    let came = changed["nodes"][0]["bytes"].as_u64().expect("bytes");
    assert!((1..10_000).contains(&came), "{changed}");
    // Another version of the workload has it.
    fleet.apply_wait(&own.workload("2")).done();
    assert!(
        fleet
            .cli(["logs", "own", "--tail", "5"])
            .done()
            .out
            .contains("the word is second")
    );

    let listed = fleet.cli(["image", "ls"]).done().out;
    assert!(
        listed.contains(&own.name) && listed.contains("own"),
        "{listed}"
    );
    let there = fleet
        .cli(["image", "ls", "--node", &agent.name, "-o", "json"])
        .done()
        .json();
    let there = there.as_array().expect("a list").iter();
    let mine = there.filter(|i| i["references"].to_string().contains(&own.name));
    let mine: Vec<&Value> = mine.collect();
    assert!(
        matches!(&mine[..], [one] if one["containers"] == 1),
        "{mine:?}"
    );
}

#[test]
fn an_image_comes_to_docker_without_a_registry_and_only_what_is_missing_is_sent() {
    only_what_is_missing_is_sent("docker");
}

#[test]
fn an_image_comes_to_podman_without_a_registry_and_only_what_is_missing_is_sent() {
    only_what_is_missing_is_sent("podman");
}

/// The workload names an image that was only pushed; nobody told the node.
fn is_taken_from_the_controller(engine: &'static str) {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, engine);
    let _agent = board(&fleet, engine);
    // A registry on this machine that nobody listens at.
    let name = format!("127.0.0.1:9/{}", own.name);
    push(&fleet, &own.archive("kept"), &["--as", &name]);
    let manifest = own.workload("1").replace(&own.name, &name);
    fleet.apply_wait(&manifest).done();
    assert!(
        fleet
            .cli(["logs", "own", "--tail", "5"])
            .done()
            .out
            .contains("the word is kept")
    );
    own.engine().remove_image(&name);
}

#[test]
fn docker_gets_an_image_whose_registry_is_away_from_the_controller() {
    is_taken_from_the_controller("docker");
}

#[test]
fn podman_gets_an_image_whose_registry_is_away_from_the_controller() {
    is_taken_from_the_controller("podman");
}

#[test]
fn a_blob_that_was_changed_on_the_controllers_disk_is_refused_and_pushed_anew() {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, "docker");
    let agent = board(&fleet, "docker");
    let pushed = push(&fleet, &own.archive("good"), &[]);
    let blobs = pushed["image"]["blobs"].as_object().expect("blobs");
    let largest = blobs.iter().max_by_key(|(_, size)| size.as_u64());
    let (name, _) = largest.expect("a layer");
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let file = fleet.data.join("blobs/sha256").join(hex);
    let mut bytes = fs::read(&file).expect("the blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("the blob, changed");
    let image = &pushed["image"];
    let fetch = json!({
        "reference": image["reference"], "manifest": image["manifest"],
        "media_type": image["media_type"], "platforms": image["platforms"],
    });
    let order = json!({"command": "image", "image": {"fetch": fetch}});
    let body = json!({"nodes": [agent.name], "order": order}).to_string();
    let told = fleet.ask("POST", "/api/v1/commands", Some(&body)).text();
    assert!(
        told.contains("changed") && told.contains("\"failed\":1"),
        "{told}"
    );
    assert_eq!(own.names(&own.name), [""; 0]);
    assert_eq!(own.names("lent-"), [""; 0]);
    let again = push(&fleet, &own.archive("good"), &["--to", &agent.name]);
    let sent = again["sent"].as_u64().expect("bytes");
    assert!(sent > 500_000, "the layer that was changed: {again}");
    assert_eq!(own.names(&own.name).len(), 1);
}

#[test]
fn a_node_that_is_away_and_an_image_for_other_machines_are_said() {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, "docker");
    let mut agent = board(&fleet, "docker");
    let archive = own.archive("x").display().to_string();
    fleet
        .cli(["image", "push", &archive, "--platform", "linux/riscv64"])
        .failed(1, &["linux/riscv64", "it has linux/"]);
    fleet
        .cli(["image", "push", &archive, "--to", "nobody"])
        .failed(1, &["nobody"]);
    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    let ran = fleet.cli(["image", "push", &archive, "--to", &agent.name]);
    ran.failed(1, &["is offline", "1 of 1 nodes failed"]);
}

#[test]
fn an_image_of_the_local_engine_is_pushed_and_prune_takes_away_what_nothing_names() {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, "docker");
    let agent = board(&fleet, "docker");
    push(&fleet, &own.archive("local"), &["--to", &agent.name]);
    let socket = own.engine().socket.display().to_string();
    let other = format!("{}-other:2", own.name.trim_end_matches(":1"));
    // What Docker writes itself: the layers are the same, and known.
    let args = [
        "image", "push", &own.name, "--engine", &socket, "--as", &other, "-o", "json",
    ];
    let pushed = fleet.cli(args).done().json();
    let sent = pushed["sent"].as_u64().expect("bytes");
    assert!(sent < 10_000, "no layer is sent again: {pushed}");
    fleet.apply_wait(&own.workload("1")).done();

    let args = ["image", "prune", "--older-than", "0s"];
    fleet.cli(args).failed(2, &["-y"]);
    let ran = fleet.cli(args.into_iter().chain(["-y"])).done();
    assert!(
        ran.err.contains(&other) && !ran.err.contains(&own.name),
        "{ran:?}"
    );
    let left = fleet.cli(["image", "ls"]).done().out;
    assert!(left.contains(&own.name) && !left.contains(&other), "{left}");
    fleet
        .cli(["image", "prune", "no-such-image:1", "-y"])
        .failed(1, &["keeps no image"]);
    // What a container uses stays on the node, whoever wants it away.
    let node = ["image", "prune", &own.name, "--node", &agent.name, "-y"];
    fleet.cli(node).done();
    assert_eq!(own.names(&own.name).len(), 1);
    fleet.cli(["rm", "own", "-y", "--wait"]).done();
    fleet.cli(node).done();
    assert_eq!(own.names(&own.name), [""; 0]);
}

#[test]
fn nodes_without_an_engine_are_left_out_and_unknown_ones_are_said_before_anything_is_sent() {
    let fleet = Fleet::start();
    let own = Own::new(&fleet, "docker");
    let archive = own.archive("some").display().to_string();
    let nobody = ["image", "push", &archive, "--to", "nobody"];
    fleet.cli(nobody).failed(1, &["no node `nobody`"]);
    fleet
        .cli(["image", "push", &archive, "-l", "zone=nowhere"])
        .failed(1, &["nothing was sent"]);
    // Not even read: a file that is not there is not what is said.
    let absent = ["image", "push", "/no/such.tar", "--to", "nobody"];
    fleet.cli(absent).failed(1, &["no node `nobody`"]);
    let kept = fleet.ask("GET", "/api/v1/images", None).json();
    assert_eq!(kept, json!([]), "nothing was sent");

    let bare = fleet.agent("bare").start();
    let ran = fleet.cli(["image", "push", &archive, "--all"]);
    ran.failed(1, &["left out, without container engine", &bare.name]);
    let with = board(&fleet, "docker");
    let ran = fleet.cli(["image", "push", &archive, "--all"]).done();
    assert!(
        ran.err.contains("left out, without container engine") && ran.err.contains(&bare.name),
        "{ran:?}"
    );
    assert!(
        ran.out.contains(&with.name) && !ran.out.contains(&bare.name),
        "{ran:?}"
    );
    // Who is named is asked.
    fleet
        .cli(["image", "push", &archive, "--to", &bare.name])
        .failed(1, &["1 of 1 nodes failed"]);
    // Too young to go by itself.
    let ran = fleet.cli(["image", "prune", "-y"]).done();
    assert!(ran.err.contains("within 1d (--older-than)"), "{ran:?}");
}
