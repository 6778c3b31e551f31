//! Containers that were taken over as they are.
//!
//! An engine does not change a container's labels, so what they would say stands in a small file.
//! It is written when it changes, whole or not at all. Were it lost, its containers would be
//! strangers again, and the next launch would take them over again.

use crate::{identity::write_private, model::Name};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// More than a node runs.
const RECORDS_LIMIT: usize = 1024;

/// What labels would say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The container's.
    pub(crate) id: String,
    /// This node, as the agent was called then.
    pub(crate) node: Name,
    /// Whose instance it is.
    pub(crate) workload: Name,
    /// The workload's.
    pub(crate) version: String,
    /// [`crate::model::Workload::spec_hash`].
    pub(crate) spec_hash: String,
}

/// All of one engine.
#[derive(Debug)]
pub(crate) struct Adopted {
    path: PathBuf,
    /// `None`: not read yet.
    records: Mutex<Option<Vec<Record>>>,
    /// One writes at a time, so that the file never goes back.
    writing: tokio::sync::Mutex<()>,
}

impl Adopted {
    /// In `place`, the agent's directory for this engine. No I/O yet.
    pub(crate) fn new(place: &Path) -> Adopted {
        Adopted {
            path: place.join("adopted.json"),
            records: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Of the container with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Record> {
        self.with(|records| records.iter().find(|record| record.id == id).cloned())
    }

    /// Whether it was taken over.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.with(|records| records.iter().any(|record| record.id == id))
    }

    /// Those of a node.
    pub(crate) fn of(&self, node: &Name) -> Vec<Record> {
        self.with(|records| {
            let theirs = records.iter().filter(|record| record.node == *node);
            theirs.cloned().collect()
        })
    }

    /// Adds one, in place of an older one of the same container.
    ///
    /// # Errors
    /// A sentence; then nothing has changed.
    pub(crate) async fn put(&self, record: Record) -> Result<(), String> {
        let id = record.id.clone();
        self.change(|records| {
            records.retain(|known| known.id != id);
            if records.len() >= RECORDS_LIMIT {
                records.remove(0);
            }
            records.push(record);
        })
        .await
    }

    /// The container is gone.
    pub(crate) async fn forget(&self, id: &str) {
        if !self.has(id) {
            return;
        }
        if let Err(reason) = self.change(|records| records.retain(|r| r.id != id)).await {
            // The next list finds it gone again.
            tracing::debug!(container = id, %reason, "record of a container not removed");
        }
    }

    async fn change(&self, change: impl FnOnce(&mut Vec<Record>)) -> Result<(), String> {
        let _turn = self.writing.lock().await;
        let mut changed = self.with(|records| records.clone());
        change(&mut changed);
        let json = serde_json::to_vec(&changed).map_err(|error| error.to_string())?;
        let path = self.path.clone();
        let writing = move || write_private(&path, &json).map_err(|error| error.to_string());
        tokio::task::spawn_blocking(writing)
            .await
            .unwrap_or_else(|error| Err(error.to_string()))?;
        self.with(|records| *records = changed);
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Record>) -> T) -> T {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        look(records.get_or_insert_with(|| read(&self.path)))
    }
}

fn read(path: &Path) -> Vec<Record> {
    let Ok(text) = std::fs::read(path) else {
        return Vec::new();
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "list of adopted containers is damaged");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, node: &str) -> Record {
        Record {
            id: id.to_owned(),
            node: node.parse().unwrap(),
            workload: "web".parse().unwrap(),
            version: "1".to_owned(),
            spec_hash: "ab".to_owned(),
        }
    }

    #[tokio::test]
    async fn records_outlive_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let adopted = Adopted::new(dir.path());
        assert!(!adopted.has("a"));
        adopted.put(record("a", "n1")).await.unwrap();
        adopted.put(record("b", "n2")).await.unwrap();
        adopted.put(record("a", "n1")).await.unwrap();
        adopted.forget("b").await;
        let again = Adopted::new(dir.path());
        assert_eq!(again.get("a"), Some(record("a", "n1")));
        assert_eq!(again.of(&"n1".parse().unwrap()).len(), 1);
        assert!(again.of(&"n2".parse().unwrap()).is_empty());
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adopted.json"), "[{").unwrap();
        let adopted = Adopted::new(dir.path());
        assert!(!adopted.has("a"));
        adopted.put(record("a", "n1")).await.unwrap();
        assert!(Adopted::new(dir.path()).has("a"));
    }

    #[tokio::test]
    async fn what_cannot_be_written_did_not_happen() {
        let adopted = Adopted::new(Path::new("/proc/nothing"));
        assert!(adopted.put(record("a", "n1")).await.is_err());
        assert!(!adopted.has("a"));
    }
}
