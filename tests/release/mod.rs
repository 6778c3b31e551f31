//! What `make release` made, as it is handed out: run by `make release-test`, and by nothing else,
//! since it takes `target/dist` (or the directory in `FLEETCTL_TEST_DIST`).
//!
//! [`tarball`] and [`sbom`] look at the files; [`qemu`] starts each binary, also those for other
//! processors, as a board would; [`deb`], [`oci`] and [`compose`] install it as its users do.

mod compose;
mod deb;
mod deploy;
mod oci;
mod qemu;
mod sbom;
mod tarball;
mod upgrade;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What a release is made for, and how its program is run here.
pub(crate) const TARGETS: [&str; 3] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-gnueabihf",
];

/// The version of the release.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The directory of the release; the test fails with what to do when there is none.
#[track_caller]
pub(crate) fn dist() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dist = env::var_os("FLEETCTL_TEST_DIST").map_or_else(
        || root.join("target/dist"),
        // Relative to where the tests were started from, which is the root.
        |dir| root.join(dir),
    );
    assert!(
        dist.join("SHA256SUMS").exists(),
        "there is no release in {}: run `make release` first",
        dist.display()
    );
    dist
}

/// Name of the tarball of a target, and of the directory in it.
pub(crate) fn name(target: &str) -> String {
    format!("fleetctl-{}-{target}", VERSION)
}

/// The tarball of a target; the test fails with what to do when there is none.
#[track_caller]
pub(crate) fn tarball_of(target: &str) -> PathBuf {
    let tarball = dist().join(format!("{}.tar.gz", name(target)));
    assert!(
        tarball.exists(),
        "{} is missing: run `make release` without TARGETS",
        tarball.display()
    );
    tarball
}

/// Unpacks the tarball of a target below `to`; returns the one directory that was in it.
#[track_caller]
pub(crate) fn unpack(target: &str, to: &Path) -> PathBuf {
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(tarball_of(target)).arg("-C").arg(to);
    done(&mut tar);
    to.join(name(target))
}

/// Runs a command that must work; what it printed.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
