//! The file of what waits, so that a restart of the controller loses nothing.
//!
//! Written a second after something changed, beside the old one, synced and renamed. A file that
//! cannot be read is put aside, as `….damaged`, and said.

use super::{notifier::Line, queue::Stored};
use crate::{identity::write_private, model::Name};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time};

/// The most bytes of the file.
pub const MAX_BYTES: usize = 1 << 20;
/// How long changes are collected.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// What the file has beside the entries of each receiver, and beside each of these.
const FRAME_BYTES: usize = 256;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    v: u32,
    #[serde(default)]
    receivers: BTreeMap<Name, Stored>,
}

/// The file, and whether it is behind.
#[derive(Debug)]
pub(super) struct Outbox {
    path: PathBuf,
    changed: Notify,
    /// What is in the file, and one writer at a time.
    written: Mutex<Vec<u8>>,
}

impl Outbox {
    pub(super) fn new(path: PathBuf) -> Outbox {
        Outbox {
            path,
            changed: Notify::new(),
            written: Mutex::default(),
        }
    }

    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    fn write(&self, lines: &[Arc<Line>]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let all = lines.iter().map(|line| line.stored()).collect();
        let (bytes, left_out) = encode(all);
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "not all that waits fits the outbox; a restart would lose the oldest"
            );
        }
        // Something may have come and gone meanwhile.
        if *written == bytes {
            return;
        }
        match write_private(&self.path, &bytes) {
            Ok(()) => *written = bytes,
            Err(error) => {
                tracing::warn!(%error, "outbox not written; a restart would lose what waits");
            }
        }
    }
}

/// Writes the file whenever it is behind; for ever.
pub(super) async fn keep(outbox: Arc<Outbox>, lines: Vec<Arc<Line>>) {
    loop {
        outbox.changed.notified().await;
        time::sleep(DEBOUNCE).await;
        write_now(outbox.clone(), lines.clone()).await;
    }
}

/// Writes the file.
pub(super) async fn write_now(outbox: Arc<Outbox>, lines: Vec<Arc<Line>>) {
    // It fails only when the runtime ends, or by a panic, which was said then.
    let _ = tokio::task::spawn_blocking(move || outbox.write(&lines)).await;
}

/// What waits, by receiver. Nothing when there is no file, or a damaged one.
pub(super) fn read(path: &Path) -> BTreeMap<Name, Stored> {
    let why = match load(path) {
        Ok(stored) => return stored,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => error,
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let moved = fs::rename(path, &aside).is_ok();
    tracing::error!(
        path = %path.display(), error = %why, put_aside = moved,
        "the outbox is damaged; notifications that waited in it are lost"
    );
    BTreeMap::new()
}

fn load(path: &Path) -> io::Result<BTreeMap<Name, Stored>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() > 2 * MAX_BYTES as u64 {
        return Err(io::Error::other("it is too large"));
    }
    let document: Document = serde_json::from_reader(io::BufReader::new(file))?;
    if document.v > 1 {
        return Err(io::Error::other("it is of a newer version"));
    }
    Ok(document.receivers)
}

/// At most [`MAX_BYTES`], the same share for each receiver; of what it was told (at most a quarter)
/// and of what waits the newest. Returns how many that wait were left out.
fn encode(all: Vec<(Name, Stored)>) -> (Vec<u8>, usize) {
    let share = (MAX_BYTES / all.len().max(1)).saturating_sub(FRAME_BYTES);
    let mut left_out = 0;
    let mut receivers = BTreeMap::new();
    for (name, stored) in all {
        let (told, used) = newest(stored.told, share / 4);
        let total = stored.waiting.len();
        let (waiting, _) = newest(stored.waiting, share.saturating_sub(used));
        left_out += total - waiting.len();
        if !(waiting.is_empty() && told.is_empty()) {
            receivers.insert(name, Stored { waiting, told });
        }
    }
    let document = Document { v: 1, receivers };
    // Nothing in it can fail to be written as JSON.
    let bytes = serde_json::to_vec(&document).unwrap_or_default();
    (bytes, left_out)
}

/// The last of `items` that fit into `room` bytes of JSON, in their order, and what they take.
fn newest<T: Serialize>(mut items: Vec<T>, room: usize) -> (Vec<T>, usize) {
    let mut used = 0;
    let mut first = items.len();
    for (index, item) in items.iter().enumerate().rev() {
        let size = serde_json::to_vec(item).map_or(room, |bytes| bytes.len()) + 1;
        if used + size > room {
            break;
        }
        used += size;
        first = index;
    }
    (items.split_off(first), used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::{queue::StoredItem, text};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn waiting(id: usize, message: &str) -> StoredItem {
        let mut notification = text::trial(1);
        notification.id = id.to_string();
        notification.message = message.to_owned();
        StoredItem {
            notification,
            age_ms: 7,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.json");
        assert!(read(&path).is_empty(), "without a file nothing waits");
        let stored = Stored {
            waiting: vec![waiting(1, "x"), waiting(2, "\u{1b}\n\u{202e}")],
            told: vec!["a".to_owned()],
        };
        let (bytes, left_out) = encode(vec![(name("ops"), stored.clone())]);
        assert_eq!(left_out, 0);
        write_private(&path, &bytes).unwrap();
        assert_eq!(read(&path), BTreeMap::from([(name("ops"), stored)]));
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.json");
        for damaged in ["{\"v\":1,\"receivers\":{\"ops\"", "", "[]", "{\"v\":9}"] {
            fs::write(&path, damaged).unwrap();
            assert!(read(&path).is_empty(), "{damaged}");
            assert!(!path.exists(), "{damaged}");
            let aside = fs::read_to_string(folder.path().join("outbox.json.damaged"));
            assert_eq!(aside.unwrap(), damaged);
        }
    }

    #[test]
    fn the_file_never_exceeds_a_mebibyte_and_keeps_the_newest() {
        for count in [1, 3, 10] {
            let full = |index: usize| {
                // Each of these characters is six in JSON.
                let long = "\u{1}".repeat(4_096);
                let stored = Stored {
                    waiting: (0..1_000).map(|n| waiting(n, &long)).collect(),
                    told: (0..4_096).map(|n| format!("rule.node-{n}")).collect(),
                };
                (name(&format!("r{index}")), stored)
            };
            let (bytes, left_out) = encode((0..count).map(full).collect());
            assert!(bytes.len() <= MAX_BYTES, "{}", bytes.len());
            assert!(bytes.len() > MAX_BYTES / 3, "{}", bytes.len());
            assert!(left_out > 0);
            let document: Document = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(document.receivers.len(), count);
            for stored in document.receivers.values() {
                assert_eq!(stored.waiting.last().unwrap().notification.id, "999");
            }
        }
    }
}
