//! The test registry behind a middleman, and images that no engine can have any part of already.

use super::Proxy;
use crate::e2e::harness::{Engine, Fleet, variable};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The registry, by a port of this test's own.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) proxy: Proxy,
    dir: PathBuf,
    tag: String,
    /// Taken out of the engines in the end.
    pulled: Vec<String>,
}

/// An image in it.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    /// As in `fleet/one-1a2b`.
    pub(super) repository: String,
    /// How a manifest names it.
    pub(super) reference: String,
}

impl Registry {
    /// Must be made before the agent, so that it ends after it.
    pub(super) fn new(fleet: &Fleet) -> Registry {
        let port = variable("FLEETCTL_TEST_REGISTRY");
        let port = port.rsplit(':').next().and_then(|p| p.parse().ok());
        let registry = Registry {
            proxy: Proxy::of_port(port.expect("the registry's port")),
            dir: fleet.dir().to_owned(),
            tag: fleet.name("own"),
            pulled: Vec::new(),
        };
        let auth = STANDARD.encode(login());
        let here = format!("127.0.0.1:{}", registry.proxy.port());
        let config = json!({"auths": {here: {"auth": auth}}}).to_string();
        fs::write(registry.credentials(), config).expect("credentials");
        registry
    }

    fn credentials(&self) -> PathBuf {
        self.dir.join("registry.json")
    }

    /// The flag by which an agent has its credentials.
    pub(super) fn flag(&self) -> String {
        format!("--registry-config={}", self.credentials().display())
    }

    /// Makes an image of two megabytes and puts it there; what it runs stays.
    #[track_caller]
    pub(super) fn push(&mut self, name: &str) -> Unique {
        let repository = format!("fleet/{name}-{}", self.tag);
        let root = self.dir.join(format!("root-{name}"));
        fs::create_dir_all(root.join("bin")).expect("a root directory");
        fs::copy("/bin/busybox", root.join("bin/sh")).expect("busybox (package busybox-static)");
        fs::write(root.join("name"), &repository).expect("a file");
        let layer = self.dir.join(format!("{name}.tar"));
        run(Command::new("tar")
            .arg("-cf")
            .arg(&layer)
            .arg("-C")
            .arg(&root)
            .arg("."));
        let (layer_digest, layer_size) = upload(&repository, &layer);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Cmd": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                "Env": ["PATH=/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        });
        let config_file = self.dir.join(format!("{name}.json"));
        fs::write(&config_file, config.to_string()).expect("a configuration");
        let (config_digest, config_size) = upload(&repository, &config_file);
        let of = "application/vnd.oci.image";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format!("{of}.manifest.v1+json"),
            "config": {
                "mediaType": format!("{of}.config.v1+json"),
                "digest": config_digest,
                "size": config_size,
            },
            "layers": [{
                "mediaType": format!("{of}.layer.v1.tar"),
                "digest": layer_digest,
                "size": layer_size,
            }],
        });
        run(curl()
            .args(["-X", "PUT", "--data-binary", &manifest.to_string()])
            .args(["-H", &format!("Content-Type: {of}.manifest.v1+json")])
            .arg(url(&format!("/v2/{repository}/manifests/1"))));
        let reference = format!("127.0.0.1:{}/{repository}:1", self.proxy.port());
        self.pulled.push(reference.clone());
        Unique {
            repository,
            reference,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for image in &self.pulled {
            Engine::docker().remove_image(image);
            Engine::podman().remove_image(image);
        }
    }
}

impl Unique {
    /// Runs it.
    pub(super) fn workload(&self, name: &str, engine: &str) -> String {
        format!(
            "[workload.{name}]\nimage = \"{}\"\nengine = \"{engine}\"\nstop_timeout = \"1s\"\n\
             [workload.{name}.restart]\ndelay = \"200ms\"\nmax_delay = \"2s\"\n",
            self.reference
        )
    }

    /// What requests for its layers contain.
    pub(super) fn blobs(&self) -> String {
        format!("/{}/blobs/", self.repository)
    }
}

fn login() -> String {
    let user = variable("FLEETCTL_TEST_REGISTRY_USER");
    format!("{user}:{}", variable("FLEETCTL_TEST_REGISTRY_PASSWORD"))
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn url(path: &str) -> String {
    format!("http://{}{path}", variable("FLEETCTL_TEST_REGISTRY"))
}

fn curl() -> Command {
    let mut command = Command::new("curl");
    command.args(["-sSf", "-m", "20", "-u", &login()]);
    command
}

/// What it wrote.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "a tool failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Puts a file there; its digest and size.
#[track_caller]
fn upload(repository: &str, file: &Path) -> (String, usize) {
    let bytes = fs::read(file).expect("what is to be uploaded");
    let hash = digest(&SHA256, &bytes);
    let hash: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let begun = run(curl()
        .args(["-X", "POST", "-o", "/dev/null", "-D", "-"])
        .arg(url(&format!("/v2/{repository}/blobs/uploads/"))));
    let place = begun.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case("location").then(|| value.trim())
    });
    let place = place.expect("a place for the upload");
    run(curl()
        .args(["-X", "PUT", "-H", "Content-Type: application/octet-stream"])
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(format!("{place}&digest=sha256:{hash}")));
    (format!("sha256:{hash}"), bytes.len())
}
