//! The container image: one file, the same in Docker and Podman, and the same when made again.

use super::{TARGETS, dist, done, unpack};
use crate::e2e::harness::variable;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A target's name in images, and what its archive is called.
const ARCHITECTURES: [(&str, &str); 3] = [
    (TARGETS[0], "amd64"),
    (TARGETS[1], "arm64"),
    (TARGETS[2], "arm"),
];

#[track_caller]
fn archive(suffix: &str) -> PathBuf {
    let tar = dist().join(format!("fleetctl-{}-oci{suffix}.tar", super::VERSION));
    assert!(
        tar.exists(),
        "{} is missing: run `make release`",
        tar.display()
    );
    tar
}

/// Makes an image with the script of the release.
pub(super) fn make(out: &Path, version: &str, binaries: &[(&str, &Path)]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/release/oci.py");
    let mut make = Command::new(script);
    make.arg(out).args([version, "1700000000"]);
    for (arch, binary) in binaries {
        make.arg(format!("{arch}={}", binary.display()));
    }
    done(&mut make);
}

/// The client of the tests' Docker.
pub(super) fn docker() -> Command {
    let mut docker = Command::new("docker");
    let socket = variable("FLEETCTL_TEST_DOCKER_SOCKET");
    docker.arg("-H").arg(format!("unix://{socket}"));
    docker
}

/// The client of the tests' Podman.
fn podman() -> Command {
    let mut podman = Command::new("podman");
    let socket = variable("FLEETCTL_TEST_PODMAN_SOCKET");
    podman.arg("--url").arg(format!("unix://{socket}"));
    podman
}

/// A file of an archive.
fn read(archive: &Path, name: &str) -> Value {
    let mut tar = Command::new("tar");
    tar.arg("-xOf").arg(archive).arg(name);
    serde_json::from_str(&done(&mut tar)).expect("JSON")
}

fn blob(archive: &Path, reference: &Value) -> Value {
    let digest = reference["digest"].as_str().expect("a digest");
    read(archive, &format!("blobs/{}", digest.replace(':', "/")))
}

#[test]
fn two_images_of_one_binary_are_the_same_bytes() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let binary = place.path().join("binary");
    fs::write(&binary, "not much").expect("a file");
    let [a, b] = ["a.tar", "b.tar"].map(|name| {
        let out = place.path().join(name);
        make(
            &out,
            "1",
            &[("amd64", binary.as_path()), ("arm", binary.as_path())],
        );
        fs::read(out).expect("an image")
    });
    assert!(a == b, "two images differ");
}

#[test]
fn the_image_is_one_index_over_all_architectures_with_one_file_each() {
    let all = archive("");
    let index = read(&all, "index.json");
    let [top] = index["manifests"].as_array().expect("manifests").as_slice() else {
        panic!("one image is meant: {index}");
    };
    let inner = blob(&all, top);
    let manifests = inner["manifests"].as_array().expect("manifests");
    let mut seen = BTreeSet::new();
    for manifest in manifests {
        let platform = &manifest["platform"];
        seen.insert(
            platform["architecture"]
                .as_str()
                .expect("a name")
                .to_owned(),
        );
        if platform["architecture"] == "arm" {
            assert_eq!(platform["variant"], "v7");
        }
        let manifest = blob(&all, manifest);
        let config = blob(&all, &manifest["config"]);
        assert_eq!(config["config"]["Entrypoint"][0], "/fleetctl");
        let labels = &config["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.version"], super::VERSION);
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
        let layer = manifest["layers"][0]["digest"].as_str().expect("a layer");
        assert!(manifest["layers"][1].is_null(), "{manifest}");
        let list = "tar -xOf \"$0\" \"$1\" | tar -tvzf -";
        let path = format!("blobs/{}", layer.replace(':', "/"));
        let mut list_command = Command::new("sh");
        list_command.args(["-c", list]).arg(&all).arg(path);
        let files = done(&mut list_command);
        let [file] = files.lines().collect::<Vec<_>>()[..] else {
            panic!("one file is meant: {files}");
        };
        assert!(file.starts_with("-rwxr-xr-x 0/0"), "{file}");
        assert!(file.ends_with(" fleetctl"), "{file}");
    }
    let wanted = ARCHITECTURES.map(|(_, arch)| arch.to_owned());
    assert_eq!(seen, BTreeSet::from(wanted));
}

#[test]
fn the_file_in_each_image_is_the_binary_of_the_tarball() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for (target, arch) in ARCHITECTURES {
        let tree = unpack(target, place.path());
        let released = archive(&format!("-{arch}"));
        let manifest = read(&released, "manifest.json");
        let layer = manifest[0]["Layers"][0].as_str().expect("a path");
        let extract = "tar -xOf \"$0\" \"$1\" | tar -xzOf - fleetctl | sha256sum";
        let mut in_image = Command::new("sh");
        let in_image = done(in_image.args(["-c", extract]).arg(&released).arg(layer));
        let mut in_tarball = Command::new("sh");
        let in_tarball = done(
            in_tarball
                .args(["-c", "sha256sum <\"$0\""])
                .arg(tree.join("fleetctl")),
        );
        assert_eq!(in_image, in_tarball, "{arch}");
    }
}

#[test]
fn docker_and_podman_load_it_call_it_the_same_and_run_it() {
    let tag = format!("fleetctl:{}", super::VERSION);
    let one = archive("-amd64");
    done(docker().args(["load", "-i"]).arg(&one));
    let of_docker = done(docker().args(["image", "inspect", "-f", "{{.Id}}", &tag]));
    let version = done(docker().args(["run", "--rm", "--network=none", &tag, "--version"]));
    assert!(version.contains(super::VERSION), "{version}");
    // The entry point is found by its name too, as for `docker exec`.
    let again = ["run", "--rm", "--network=none", "--entrypoint=fleetctl"];
    done(docker().args(again).args([tag.as_str(), "--version"]));
    done(docker().args(["rmi", &tag]));

    // Of the image for all architectures each reader takes its own.
    for tar in [one, archive("")] {
        let said = done(podman().args(["load", "-i"]).arg(&tar));
        assert!(said.contains(&tag), "{said}");
        let of_podman = done(podman().args(["image", "inspect", "-f", "{{.Id}}", &tag]));
        let id = of_docker.trim().trim_start_matches("sha256:");
        assert_eq!(of_podman.trim().trim_start_matches("sha256:"), id);
        let run = ["run", "--rm", "--network=none", &tag, "--version"];
        let version = done(podman().args(run));
        assert!(version.contains(super::VERSION), "{version}");
        done(podman().args(["rmi", &tag]));
    }
}
