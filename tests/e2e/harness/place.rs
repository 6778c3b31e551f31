//! A directory in which the programs of a test work, and which the test looks into.

use super::{manifests::shell, wait::wait_until};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// Scripts find it as their working directory, also in containers, where it is `/place`.
#[derive(Debug)]
pub struct Place {
    engine: String,
    dir: TempDir,
}

impl Place {
    /// For workloads of `docker`, `podman` or `process`.
    pub fn new(engine: &str) -> Place {
        Place {
            engine: engine.to_owned(),
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The manifest of a script that works here; `keys` as for [`shell`].
    pub fn workload(&self, name: &str, script: &str, keys: &str) -> String {
        shell(
            name,
            &self.engine,
            script,
            &format!("{}{keys}", self.keys()),
        )
    }

    /// The keys of a manifest that make a workload work here.
    pub fn keys(&self) -> String {
        let dir = self.dir.path().display();
        match self.engine.as_str() {
            "process" => format!("working_dir = \"{dir}\"\n"),
            _ => format!("working_dir = \"/place\"\nvolumes = [\"{dir}:/place\"]\n"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lines of a file that a script writes; none as long as it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Until there are at least so many.
    #[track_caller]
    pub fn wait_lines(&self, name: &str, count: usize) {
        wait_until(&format!("{count} lines in {name}"), || {
            self.lines(name).len() >= count
        });
    }

    /// Makes an empty file.
    pub fn touch(&self, name: &str) {
        fs::write(self.path(name), "").expect("a file");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("a file that was there");
    }
}
