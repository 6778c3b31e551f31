//! Compose files in the manner of those that people use, and what becomes of them.
//!
//! `fixtures/<name>.expected` says which workloads a file has and what is noted, or everything
//! that is wrong with it.

mod project;
mod refused;
mod services;

use super::super::{Manifest, Reading, Source, parse_with, wanted_files};
use crate::model::{ContainerOptions, Run, Workload};
use std::collections::BTreeMap;

fn read(text: &str) -> Result<Reading, super::super::Problems> {
    read_with(text, &[])
}

/// With values of variables, and with what lies beside the fixtures.
fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Reading, super::super::Problems> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let variables: BTreeMap<String, String> = variables.iter().map(owned).collect();
    let mut source = Source::new("shop/compose.yaml", text);
    let beside: BTreeMap<String, String> = BESIDE.iter().map(owned).collect();
    for path in wanted_files(&source, &variables) {
        if let Some(text) = beside.get(&path) {
            source.files.insert(path, text.clone());
        }
    }
    parse_with(&source, &variables)
}

/// The workloads of a text by their names.
fn workloads(text: &str) -> BTreeMap<String, Workload> {
    let reading = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    reading
        .manifests
        .into_iter()
        .map(|Manifest { workload, .. }| (workload.name.to_string(), workload))
        .collect()
}

/// The only workload of a service with these keys, each line indented by four.
fn service(keys: &str) -> Workload {
    let text = format!("services:\n  a:\n    image: example/a:1\n{keys}");
    let mut found = workloads(&text);
    assert_eq!(found.len(), 1);
    found.remove("a").unwrap()
}

/// What is wrong with such a service.
fn wrong(keys: &str) -> Vec<String> {
    let text = format!("services:\n  a:\n    image: example/a:1\n{keys}");
    let problems = read(&text).expect_err(keys);
    problems
        .0
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
        .collect()
}

fn options(workload: &Workload) -> &ContainerOptions {
    match &workload.run {
        Run::Container { options, .. } => options,
        run => panic!("{run:?}"),
    }
}

/// Each network as `name: aliases`, with a `+` where it is made.
fn networks(workload: &Workload) -> Vec<String> {
    let networks = options(workload).networks.iter().map(|network| {
        let made = if network.create { "+" } else { "" };
        format!("{made}{}: {}", network.name, network.aliases.join(" "))
    });
    networks.collect()
}

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("fixtures/", $name, ".yaml")),
            include_str!(concat!("fixtures/", $name, ".expected")),
        )),*]
    };
}

/// Files beside the fixtures, by the path that these call them by.
const BESIDE: [(&str, &str); 8] = [
    ("db.env", include_str!("fixtures/beside/db.env")),
    (".env", include_str!("fixtures/beside/dot.env")),
    (
        "docker-compose.env",
        include_str!("fixtures/beside/docker-compose.env"),
    ),
    ("./traefik.yml", include_str!("fixtures/beside/traefik.yml")),
    ("./dynamic.yml", include_str!("fixtures/beside/dynamic.yml")),
    (
        "./prometheus.yml",
        include_str!("fixtures/beside/prometheus.yml"),
    ),
    ("./alerts.yml", include_str!("fixtures/beside/alerts.yml")),
    (
        "./grafana/datasource.yml",
        include_str!("fixtures/beside/datasource.yml"),
    ),
];

const FIXTURES: [(&str, &str, &str); 20] = fixtures![
    "backup",
    "camera",
    "cloud",
    "edge",
    "home-assistant",
    "metrics",
    "monitoring",
    "nextcloud",
    "old",
    "paperless",
    "photos",
    "pihole",
    "refused-build",
    "refused-cycle",
    "refused-networks",
    "refused-values",
    "refused-variables",
    "reverse-proxy",
    "vpn",
    "web-app",
];

#[test]
fn every_fixture_becomes_what_is_expected() {
    for (name, text, expected) in FIXTURES {
        let mut lines = Vec::new();
        match read(text) {
            Ok(reading) => {
                for manifest in &reading.manifests {
                    lines.push(format!("workload {}", manifest.workload.name));
                }
                for note in &reading.notes {
                    lines.push(format!(
                        "note {}:{} {}",
                        note.line, note.column, note.message
                    ));
                }
            }
            Err(problems) => {
                for problem in &problems.0 {
                    let place = format!("{}:{}", problem.line, problem.column);
                    lines.push(format!("{place} {}", problem.message));
                    if let Some(hint) = &problem.hint {
                        lines.push(format!("  help: {hint}"));
                    }
                }
            }
        }
        let found = lines.join("\n");
        assert_eq!(found.trim_end(), expected.trim_end(), "{name}");
    }
}

/// The text of a fixture.
fn fixture(name: &str) -> &'static str {
    let found = FIXTURES.iter().find(|(other, ..)| *other == name);
    found.unwrap().1
}

#[test]
fn every_supported_key_is_read_by_somebody() {
    // A key of a service that is supported must make a difference, or be refused when its value is
    // of a wrong type: a map in a map is wrong everywhere but for maps.
    for (key, support) in super::SUPPORT {
        let Some(key) = key.strip_prefix("services.*.") else {
            continue;
        };
        let supported = matches!(support, super::Support::Yes | super::Support::Partly(_));
        // A service without an image is no service, and what a map may hold is tested above.
        let is_map = [
            "environment",
            "labels",
            "sysctls",
            "networks",
            "extra_hosts",
            // Beside an image, whatever it says has no effect.
            "build",
        ]
        .contains(&key);
        if !supported || key.contains('.') || is_map || key == "image" {
            continue;
        }
        let text = format!("services: {{a: {{image: x, {key}: {{q: {{q: q}}}}}}}}\n");
        assert!(read(&text).is_err(), "`{key}` is not read");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics(
        keys in proptest::collection::vec(
            (
                proptest::sample::select(super::SUPPORT),
                "[a-z0-9:/.{}\\[\\], \"$-]{0,24}",
            ),
            0..6,
        )
    ) {
        let mut text = "services:\n  a:\n    image: x\n".to_owned();
        for ((key, _), value) in keys {
            if let Some(key) = key.strip_prefix("services.*.") {
                text.push_str(&format!("    {key}: {value}\n"));
            }
        }
        let _ = read(&text);
    }
}
