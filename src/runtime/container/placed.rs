//! Files of workloads, placed on the node and mounted into their containers.
//!
//! They lie in `<place>/files/<container name>/<n>`. A directory is made before its container is
//! and goes after it. What an agent that was killed left behind is swept when everything is
//! listed.

use crate::{
    model::FileSpec,
    runtime::{Launch, RuntimeError, files},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// More directories than are looked at in one sweep; the next one goes on.
const SWEEP_LIMIT: usize = 1024;
/// Names that this agent has placed files for; more than a node runs.
const OURS_LIMIT: usize = 4096;

/// The directory of all placed files of one engine.
#[derive(Debug)]
pub(crate) struct Placed {
    root: PathBuf,
    /// Placed since this agent started. A sweep leaves them alone: their containers may have been
    /// made after the engine was asked what there is.
    ours: Mutex<BTreeSet<String>>,
}

impl Placed {
    /// Below `place`, the agent's directory for this engine. No I/O.
    pub(crate) fn new(place: &Path) -> Placed {
        Placed {
            root: std::path::absolute(place)
                .unwrap_or_else(|_| place.to_owned())
                .join("files"),
            ours: Mutex::default(),
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where each file of a launch lies.
    pub(crate) fn paths(&self, launch: &Launch) -> Vec<PathBuf> {
        files::numbered(&self.dir(&launch.container_name()), &launch.workload.files)
    }

    /// Places the files of a launch; whether one changed. Each keeps its inode, which is what a
    /// container has mounted.
    ///
    /// # Errors
    /// `Failed`, with a sentence that names the file.
    pub(crate) async fn place(&self, launch: &Launch) -> Result<bool, RuntimeError> {
        let all: Vec<FileSpec> = launch.workload.files.clone();
        if all.is_empty() {
            return Ok(false);
        }
        self.note(launch.container_name());
        let paths = self.paths(launch);
        let placing = move || files::place(&all, &paths, files::Writing::InPlace);
        let placed = tokio::task::spawn_blocking(placing).await;
        placed
            .unwrap_or_else(|error| Err(format!("its files cannot be placed: {error}")))
            .map_err(RuntimeError::Failed)
    }

    /// Whether the container of this name has a directory here.
    pub(crate) fn has(&self, name: &str) -> bool {
        is_plain(name) && self.dir(name).is_dir()
    }

    /// Whether there is anything at all; then a removal needs the container's name.
    pub(crate) fn has_any(&self) -> bool {
        self.root.is_dir()
    }

    /// Removes those of a container that is gone. What cannot be removed is swept later.
    pub(crate) async fn remove(&self, name: &str) {
        self.lock().remove(name);
        if !self.has(name) {
            return;
        }
        let dir = self.dir(name);
        let removing = tokio::task::spawn_blocking(move || fs::remove_dir_all(dir));
        if let Ok(Err(error)) = removing.await {
            tracing::debug!(container = name, %error, "placed files not removed");
        }
    }

    /// What a sweep may remove, when it turns out that it belongs to no container: to be asked
    /// before the engine is.
    pub(crate) fn before_listing(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let ours = self.lock();
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_plain(name) && !ours.contains(name))
            .take(SWEEP_LIMIT)
            .collect()
    }

    /// Removes those of `before` that are of no container in `there`.
    pub(crate) async fn sweep(&self, before: Vec<String>, there: &BTreeSet<String>) {
        for name in before {
            let is_ours = self.lock().contains(&name);
            if !is_ours && !there.contains(&name) {
                self.remove(&name).await;
            }
        }
    }

    fn note(&self, name: String) {
        let mut ours = self.lock();
        if ours.len() >= OURS_LIMIT {
            ours.clear();
        }
        ours.insert(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that stays in its directory; others are never ours.
fn is_plain(name: &str) -> bool {
    name.starts_with("fleetctl-") && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PullPolicy, Run, Workload};
    use std::sync::Arc;

    fn launch(content: &str) -> Launch {
        let run = Run::Container {
            image: "x".to_owned(),
            command: Vec::new(),
            pull: PullPolicy::Missing,
            engine: None,
            user: None,
            working_dir: None,
            network: None,
            options: Box::default(),
        };
        let mut workload = Workload::new("web".parse().unwrap(), run);
        workload.files.push(FileSpec {
            path: "/etc/x".to_owned(),
            content: content.to_owned(),
            mode: 0o644,
            verbatim: false,
        });
        Launch {
            node: "pi-1".parse().unwrap(),
            spec_hash: "same".to_owned(),
            workload: Arc::new(workload),
            trace: None,
        }
    }

    #[tokio::test]
    async fn files_come_change_and_go_with_their_container() {
        let dir = tempfile::tempdir().unwrap();
        let placed = Placed::new(dir.path());
        let name = launch("1").container_name();
        assert!(placed.place(&launch("1")).await.unwrap());
        assert!(!placed.place(&launch("1")).await.unwrap());
        assert!(placed.place(&launch("2")).await.unwrap());
        let path = &placed.paths(&launch("2"))[0];
        assert_eq!(fs::read_to_string(path).unwrap(), "2");
        assert!(placed.has(&name));
        placed.remove(&name).await;
        assert!(!placed.has(&name));
    }

    #[tokio::test]
    async fn a_sweep_takes_what_is_of_nobody_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let placed = Placed::new(dir.path());
        for name in [
            "fleetctl-old-1",
            "fleetctl-there-2",
            "fleetctl-new-3",
            "strange",
        ] {
            fs::create_dir_all(dir.path().join("files").join(name)).unwrap();
        }
        let before = placed.before_listing();
        // Placed while the engine was asked.
        placed.note("fleetctl-new-3".to_owned());
        placed.place(&launch("1")).await.unwrap();
        let there = BTreeSet::from(["fleetctl-there-2".to_owned()]);
        placed.sweep(before, &there).await;
        assert!(!placed.has("fleetctl-old-1"));
        assert!(placed.has("fleetctl-there-2") && placed.has("fleetctl-new-3"));
        assert!(placed.has(&launch("1").container_name()));
        assert!(dir.path().join("files/strange").is_dir());
    }
}
