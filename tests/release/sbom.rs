//! The list of parts: every crate that is linked into the binary, and nothing that is not.

use super::{TARGETS, dist, done, name};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

type Part = (String, String);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What cargo says is below our package for a target, as normal dependencies.
fn parts_by_cargo(target: &str) -> BTreeSet<Part> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["metadata", "--format-version=1", "--locked"])
        .arg(format!("--filter-platform={target}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata: Value = serde_json::from_str(&done(&mut cargo)).expect("cargo's JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let below: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let normal = list(&node["deps"]).into_iter().filter(|dep| {
                let kinds = list(&dep["dep_kinds"]);
                kinds.iter().any(|kind| kind["kind"].is_null())
            });
            (text(&node["id"]), normal.map(|d| text(&d["pkg"])).collect())
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = open.pop() {
        if seen.insert(id.clone()) {
            open.extend(below[&id].iter().cloned());
        }
    }
    list(&metadata["packages"])
        .iter()
        .filter(|p| seen.contains(&text(&p["id"])))
        .map(|p| (text(&p["name"]), text(&p["version"])))
        .filter(|(name, _)| name != "fleetctl")
        .collect()
}

fn document(target: &str) -> Value {
    let path = dist().join(format!("{}.cdx.json", name(target)));
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).expect("the list's JSON")
}

#[test]
fn the_list_of_parts_is_what_cargo_links_with_versions_licences_and_addresses() {
    for target in TARGETS {
        let document = document(target);
        assert_eq!(document["bomFormat"], "CycloneDX");
        assert_eq!(document["specVersion"], "1.5");
        let own = &document["metadata"]["component"];
        assert_eq!(own["name"], "fleetctl");
        assert_eq!(own["version"], super::VERSION);
        let components = document["components"].as_array().expect("components");
        for part in components {
            let (name, version) = (text(&part["name"]), text(&part["version"]));
            assert_eq!(part["purl"], format!("pkg:cargo/{name}@{version}"));
            let licence = &part["licenses"][0];
            let said = licence["expression"].is_string() || licence["license"].is_object();
            assert!(said, "no licence: {part}");
            assert_eq!(text(&part["hashes"][0]["content"]).len(), 64, "{part}");
        }
        let listed: BTreeSet<Part> = components
            .iter()
            .map(|part| (text(&part["name"]), text(&part["version"])))
            .collect();
        assert_eq!(listed.len(), components.len(), "a part is there twice");
        assert_eq!(listed, parts_by_cargo(target), "{target}");
        println!("{target}: {} parts", listed.len());
    }
}

#[test]
fn every_part_says_what_it_is_made_of_and_names_only_parts_that_are_listed() {
    for target in TARGETS {
        let document = document(target);
        let mut known: BTreeSet<String> =
            BTreeSet::from([text(&document["metadata"]["component"]["bom-ref"])]);
        for part in document["components"].as_array().expect("components") {
            assert!(known.insert(text(&part["bom-ref"])), "twice: {part}");
        }
        let edges = document["dependencies"].as_array().expect("dependencies");
        let from: BTreeSet<String> = edges.iter().map(|e| text(&e["ref"])).collect();
        assert_eq!(from, known);
        for edge in edges {
            for to in edge["dependsOn"].as_array().into_iter().flatten() {
                assert!(known.contains(&text(to)), "{to} of {}", edge["ref"]);
            }
        }
    }
}

#[test]
fn the_list_of_parts_is_the_same_from_every_build_of_a_commit() {
    let mut numbers = BTreeSet::new();
    for target in TARGETS {
        let document = document(target);
        let serial = text(&document["serialNumber"]);
        let hex = serial.strip_prefix("urn:uuid:").expect("a UUID");
        assert_eq!(hex.len(), 36, "{serial}");
        assert!(numbers.insert(serial.clone()), "{serial} twice");
        // Neither a directory of the machine that built it, nor the time at which it did.
        let all = document.to_string();
        assert!(!all.contains("file://"), "{target}");
        assert!(!all.contains(env!("CARGO_MANIFEST_DIR")), "{target}");
        let mut tar = Command::new("tar");
        tar.args(["--utc", "--full-time", "-tvzf"]);
        let listing = done(tar.arg(super::tarball_of(target)));
        let packed: Vec<&str> = listing.split_whitespace().collect();
        let stamp = text(&document["metadata"]["timestamp"]);
        assert!(
            stamp.starts_with(&format!("{}T{}", packed[3], packed[4])),
            "{stamp} is not the commit's time {} {}",
            packed[3],
            packed[4]
        );
    }
}
