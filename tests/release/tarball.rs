//! The tarballs: what is in them, that it is whole, and that it does what it is for.

use super::{TARGETS, dist, done, name, tarball_of, unpack};
use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    process::Command,
};
use tempfile::TempDir;

/// What the flash of a board is promised.
const LIMIT: u64 = 14 * 1024 * 1024;

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Files of a directory by their names, sorted.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let entries = entries.map(|e| e.expect("an entry"));
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_tarball_has_all_that_belongs_to_the_binary() {
    let place = temporary();
    for target in TARGETS {
        let tree = unpack(target, place.path());
        for file in [
            "fleetctl",
            "INSTALL",
            "LICENSE",
            "CHANGELOG.md",
            "config/agent.toml",
            "config/broker.toml",
            "config/controller.toml",
            "systemd/fleetctl-agent.service",
            "systemd/fleetctl-controller.service",
            "completions/bash/fleetctl",
            "completions/zsh/_fleetctl",
            "completions/fish/fleetctl.fish",
            "man/man1/fleetctl.1",
            "man/man1/fleetctl-apply.1",
        ] {
            let found = fs::metadata(tree.join(file));
            let found = found.unwrap_or_else(|e| panic!("{file} of {target}: {e}"));
            assert!(found.len() > 0, "{file} of {target} is empty");
        }
    }
}

#[test]
fn what_is_packed_belongs_to_nobody_and_is_as_old_as_the_commit() {
    for target in TARGETS {
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--utc", "--full-time", "-tvzf"]);
        let listing = done(tar.arg(tarball_of(target)));
        let mut times = BTreeSet::new();
        let mut paths = Vec::new();
        for line in listing.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1], "0/0", "{line}");
            assert!(!words[0][4..].contains('w'), "others may write: {line}");
            times.insert(format!("{} {}", words[3], words[4]));
            paths.push(words[5].to_owned());
        }
        assert_eq!(times.len(), 1, "{target}: {times:?}");
        assert!(paths.is_sorted(), "{target}: {paths:?}");
        let within = format!("{}/", name(target));
        assert!(paths.iter().all(|p| p.starts_with(&within)), "{paths:?}");
    }
}

#[test]
fn every_binary_is_static_stripped_small_and_of_its_processor() {
    let place = temporary();
    for (target, machine) in
        TARGETS
            .into_iter()
            .zip(["Advanced Micro Devices X86-64", "AArch64", "ARM"])
    {
        let binary = unpack(target, place.path()).join("fleetctl");
        let mut readelf = Command::new("readelf");
        let headers = done(readelf.arg("-hlSW").arg(&binary));
        let of = headers.lines().find(|l| l.contains("Machine:"));
        assert!(of.is_some_and(|l| l.ends_with(machine)), "{target}: {of:?}");
        assert!(!headers.contains("INTERP"), "{target} is not static");
        assert!(!headers.contains(".symtab"), "{target} is not stripped");
        let bytes = fs::metadata(&binary).expect("the binary").len();
        println!("{target}: {bytes} bytes");
        assert!(bytes <= LIMIT, "{target} has {bytes} bytes");
    }
}

#[test]
fn no_binary_names_a_directory_of_the_machine_that_built_it() {
    let place = temporary();
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .expect("a home");
    for target in TARGETS {
        let binary = unpack(target, place.path()).join("fleetctl");
        let bytes = fs::read(&binary).expect("the binary");
        for path in [env!("CARGO_MANIFEST_DIR"), &home] {
            let wanted = format!("{path}/");
            let found = bytes
                .windows(wanted.len())
                .any(|part| part == wanted.as_bytes());
            assert!(!found, "{target} names {wanted}");
        }
    }
}

/// `sha256sum --check`, and what it said.
fn check(dir: &Path) -> (bool, String) {
    let mut command = Command::new("sha256sum");
    command.args(["--check", "--quiet", "SHA256SUMS"]);
    let output = command.current_dir(dir).output().expect("sha256sum");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn the_sums_name_every_file_that_is_handed_out() {
    let dist = dist();
    let sums = fs::read_to_string(dist.join("SHA256SUMS")).expect("the sums");
    let named: BTreeSet<String> = sums
        .lines()
        .map(|l| l.split_once("  ").expect("a sum and a name").1.to_owned())
        .collect();
    let mut there = names(&dist);
    // The bare binary is one of the tarballs' contents, the trees are what they were packed from.
    for other in ["SHA256SUMS", "fleetctl", "tree"] {
        there.remove(other);
    }
    assert_eq!(named, there);
    assert_eq!(check(&dist), (true, String::new()));
}

#[test]
fn a_tarball_that_somebody_changed_is_found_by_its_sum() {
    let place = temporary();
    let tarball = tarball_of(TARGETS[0]);
    let copy = place.path().join(tarball.file_name().expect("a name"));
    fs::copy(&tarball, &copy).expect("a copy");
    let sums = fs::read_to_string(dist().join("SHA256SUMS")).expect("the sums");
    let file = copy.file_name().expect("a name").to_string_lossy();
    let own = sums.lines().find(|l| l.ends_with(&*file));
    let own = format!("{}\n", own.expect("its sum"));
    fs::write(place.path().join("SHA256SUMS"), own).expect("the sums");
    assert!(check(place.path()).0, "the copy is as the original");

    // One bit, in the middle.
    let mut open = OpenOptions::new();
    let mut copied = open.read(true).write(true).open(&copy).expect("the copy");
    let middle = copied.metadata().expect("its length").len() / 2;
    let mut byte = [0];
    copied.seek(SeekFrom::Start(middle)).expect("the middle");
    copied.read_exact(&mut byte).expect("a byte");
    copied.seek(SeekFrom::Start(middle)).expect("the middle");
    copied.write_all(&[byte[0] ^ 1]).expect("another byte");
    drop(copied);
    let (same, said) = check(place.path());
    assert!(!same);
    assert!(said.contains(&format!("{file}: FAILED")), "{said}");
}

#[test]
fn every_command_has_a_manual_page_that_renders_without_a_complaint() {
    let place = temporary();
    let tree = unpack(TARGETS[0], place.path());
    let pages = tree.join("man/man1");
    let all = names(&pages);
    for page in ["fleetctl.1", "fleetctl-apply.1", "fleetctl-token-create.1"] {
        assert!(all.contains(page), "{page} is missing in {all:?}");
    }
    for page in &all {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"])
            .arg(pages.join(page));
        man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100");
        let output = man.output().expect("man");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "{page}: {complaints}"
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("SYNOPSIS"), "{page}: {text}");
    }
    println!("{} pages", all.len());
}

#[test]
fn completions_load_in_bash_and_complete_a_command() {
    let place = temporary();
    let tree = unpack(TARGETS[0], place.path());
    let script = "source \"$1/completions/bash/fleetctl\" || exit 1\n\
        complete -p fleetctl >&2 || exit 1\n\
        COMP_WORDS=(fleetctl vers) COMP_CWORD=1 COMP_TYPE=9 COMP_LINE='fleetctl vers' COMP_POINT=13\n\
        function=$(complete -p fleetctl | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')\n\
        \"$function\" fleetctl vers fleetctl\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(&tree);
    // The script asks the program that is first on the way, as on a machine where it is installed.
    let path = std::env::var("PATH").unwrap_or_default();
    bash.env("PATH", format!("{}:{path}", tree.display()));
    let said = done(&mut bash);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.contains(&"version"), "{words:?}");
    assert!(words.contains(&"versions"), "{words:?}");
}
