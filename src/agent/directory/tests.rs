//! Directories as people leave them: broken, half written, moved, gone.

use super::*;
use crate::model::{NodeFacts, Run};
use std::{fs, path::Path};

fn here() -> Here {
    let facts = NodeFacts {
        arch: "aarch64".into(),
        hostname: "pi".into(),
        features: crate::model::FEATURES,
        capabilities: [("process", "native"), ("arch", "aarch64")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        labels: [("zone".to_owned(), "hall".to_owned())].into(),
        ..NodeFacts::default()
    };
    Here::new("board".parse().unwrap(), facts)
}

fn workload(name: &str, more: &str) -> String {
    format!("[workload.{name}]\ncommand = ['/bin/{name}']\n{more}\n")
}

fn write(dir: &Path, file: &str, text: &str) {
    fs::write(dir.join(file), text).unwrap();
}

/// Names of what runs.
fn names(taken: &Taken) -> Vec<String> {
    let instances = taken.instances.iter().flatten();
    instances.map(|i| i.workload.name.to_string()).collect()
}

fn told(taken: &Taken) -> String {
    let all: Vec<String> = taken.problems.iter().map(ToString::to_string).collect();
    all.join("\n")
}

#[test]
fn every_file_counts_but_hidden_ones_and_those_of_another_kind() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "b.toml", &workload("b", ""));
    write(dir.path(), "a.yaml", "name: a\ncommand: [/bin/a]\n");
    write(dir.path(), ".hidden.toml", "not even TOML");
    write(dir.path(), "notes.txt", "nor this");
    fs::create_dir(dir.path().join("folder.toml")).unwrap();
    let taken = Directory::default().take(read(dir.path()), &here());
    assert_eq!(told(&taken), "");
    assert_eq!(names(&taken), ["a", "b"]);
}

#[test]
fn files_beside_a_manifest_are_taken_in_and_are_none_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::default();
    let manifest = workload(
        "a",
        "[workload.a.files.'app.yaml']\nsource = './app.yaml'\n",
    );
    write(dir.path(), "a.toml", &manifest);
    let taken = directory.take(read(dir.path()), &here());
    assert!(
        told(&taken).contains("there is no text file `./app.yaml`"),
        "{}",
        told(&taken)
    );
    for content in ["one: 1\n", "two: 2\n"] {
        write(dir.path(), "app.yaml", content);
        let taken = directory.take(read(dir.path()), &here());
        assert_eq!(told(&taken), "");
        let instances = taken.instances.unwrap();
        assert_eq!(instances[0].workload.files[0].content, content);
    }
}

#[test]
fn a_broken_file_keeps_what_it_said_and_the_others_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::default();
    write(dir.path(), "a.toml", &workload("a", ""));
    write(dir.path(), "b.toml", &workload("b", ""));
    directory.take(read(dir.path()), &here());
    write(dir.path(), "a.toml", "[workload.a]\ncommnad = 1\n");
    write(dir.path(), "b.toml", &workload("b2", ""));
    let taken = directory.take(read(dir.path()), &here());
    assert_eq!(names(&taken), ["a", "b2"]);
    assert!(told(&taken).contains("a.toml:2:1"), "{}", told(&taken));
    assert_eq!(taken.kept, BTreeSet::from(["a".parse().unwrap()]));
    // Also when it stays broken while others change, and until the file is gone.
    write(dir.path(), "b.toml", &workload("b3", ""));
    assert_eq!(
        names(&directory.take(read(dir.path()), &here())),
        ["a", "b3"]
    );
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    let taken = directory.take(read(dir.path()), &here());
    assert_eq!(names(&taken), ["b3"]);
    assert_eq!(told(&taken), "");
}

#[test]
fn a_workload_moves_out_of_a_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::default();
    write(dir.path(), "a.toml", &workload("web", ""));
    directory.take(read(dir.path()), &here());
    write(dir.path(), "a.toml", "[");
    write(dir.path(), "b.toml", &workload("web", "version = '2'"));
    let taken = directory.take(read(dir.path()), &here());
    let instances = taken.instances.unwrap();
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0].workload.version, "2");
}

#[test]
fn after_a_start_what_ran_goes_on_until_every_file_was_right_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.toml", &workload("a", ""));
    write(dir.path(), "b.toml", &workload("b", ""));
    let first = Directory::default().take(read(dir.path()), &here());
    let assignment = Assignment {
        generation: 1,
        instances: first.instances.unwrap(),
        ..Assignment::default()
    };
    let mut directory = Directory::new(Some(&assignment));
    write(dir.path(), "b.toml", "broken");
    let taken = directory.take(read(dir.path()), &here());
    assert_eq!(names(&taken), ["a", "b"]);
    write(dir.path(), "b.toml", &workload("c", ""));
    assert_eq!(
        names(&directory.take(read(dir.path()), &here())),
        ["a", "c"]
    );
    write(dir.path(), "new.toml", "broken");
    assert_eq!(
        names(&directory.take(read(dir.path()), &here())),
        ["a", "c"]
    );
}

#[test]
fn a_directory_that_is_gone_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let taken = Directory::default().take(read(&gone), &here());
    assert_eq!(taken.instances, None);
    assert!(told(&taken).contains("gone"), "{}", told(&taken));
}

#[test]
fn what_is_not_for_this_node_is_left_out_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let text = [
        workload(
            "fits",
            "[workload.fits.placement]\nrequires = ['zone=hall']",
        ),
        workload("lab", "[workload.lab.placement]\nrequires = ['zone=lab']"),
        workload("other", "[workload.other.placement]\nnodes = ['elsewhere']"),
        workload("none", "[workload.none.placement]\nreplicas = 0"),
        workload("label", "env = { X = '{{ label.floor }}' }"),
    ];
    write(dir.path(), "all.toml", &text.concat());
    let taken = Directory::default().take(read(dir.path()), &here());
    assert_eq!(names(&taken), ["fits"], "{}", told(&taken));
    for (name, words) in [
        ("lab", "zone=lab"),
        ("other", "`nodes`"),
        ("none", "no replica is asked for"),
        ("label", "label `floor`"),
    ] {
        let reason = &taken.left_out[name];
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[test]
fn templates_are_filled_in_and_the_environment_is_left_to_the_launch() {
    let dir = tempfile::tempdir().unwrap();
    let text = workload(
        "web",
        "env = { A = '{{ node.name }}-{{ node.arch }}', B = '{{ label.zone }}', \
         C = '{{ env.SECRET }}' }",
    );
    write(dir.path(), "web.toml", &text);
    let taken = Directory::default().take(read(dir.path()), &here());
    let instances = taken.instances.unwrap();
    let env: Vec<&str> = instances[0]
        .workload
        .env
        .values()
        .map(String::as_str)
        .collect();
    assert_eq!(env, ["board-aarch64", "hall", "{{ env.SECRET }}"]);
    assert!(matches!(instances[0].workload.run, Run::Process { .. }));
}

#[test]
fn the_first_of_two_definitions_counts() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.toml", &workload("web", "version = '1'"));
    write(dir.path(), "b.toml", &workload("web", "version = '2'"));
    let taken = Directory::default().take(read(dir.path()), &here());
    assert_eq!(taken.instances.as_ref().unwrap()[0].workload.version, "1");
    assert!(
        told(&taken).contains("already defined in"),
        "{}",
        told(&taken)
    );
    assert!(told(&taken).contains("b.toml:1:"), "{}", told(&taken));
}

#[test]
fn a_circle_over_two_files_is_refused_and_what_ran_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::default();
    write(dir.path(), "a.toml", &workload("a", "depends_on = ['b']"));
    write(dir.path(), "b.toml", &workload("b", ""));
    write(dir.path(), "c.toml", &workload("c", ""));
    directory.take(read(dir.path()), &here());
    let text = workload("b", "version = '2'\ndepends_on = ['a']");
    write(dir.path(), "b.toml", &text);
    write(dir.path(), "c.toml", &workload("c", "version = '2'"));
    let taken = directory.take(read(dir.path()), &here());
    assert!(told(&taken).contains("a → b → a"), "{}", told(&taken));
    let versions: Vec<&str> = taken
        .instances
        .iter()
        .flatten()
        .map(|i| i.workload.version.as_str())
        .collect();
    assert_eq!(versions, ["1", "1", "2"]);
    // With nothing to go back to, they are left out.
    let taken = Directory::default().take(read(dir.path()), &here());
    assert_eq!(names(&taken), ["c"]);
}
