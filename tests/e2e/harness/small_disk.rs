//! A disk of a few megabytes, to be filled.

use std::{fs, io::Write, path::Path, process::Command};
use tempfile::TempDir;

/// A small file system in memory; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    pub fn mount() -> SmallDisk {
        assert!(
            rustix::process::geteuid().is_root(),
            "a disk that can be filled needs root: run the tests as root"
        );
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "fleetctl-e2e"])
            .arg(dir.path())
            .status();
        assert!(mounted.expect("mount can be run").success());
        SmallDisk { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As the system leaves a disk that has failed: what is open for writing stays so, and nothing
    /// else becomes so.
    pub fn read_only(&self) {
        let path = self.dir.path();
        let mount = |args: &[&str]| {
            let done = Command::new("mount").args(args).arg(path).status();
            assert!(done.expect("mount can be run").success(), "{args:?}");
        };
        mount(&["--bind", &path.to_string_lossy()]);
        mount(&["-o", "remount,bind,ro"]);
    }

    /// The other way.
    pub fn writable(&self) {
        let done = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        assert!(done.expect("umount can be run").success());
    }

    /// Until not one byte more fits.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.dir.path().join("ballast")).expect("a file");
        for size in [64 * 1024, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.dir.path().join("ballast")).expect("the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}
