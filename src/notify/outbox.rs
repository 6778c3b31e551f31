//! The file of what waits, so that a restart of the controller loses nothing.
//!
//! ```text
//!             changed, 1 s later; or at once when somebody wants to know that it is kept
//!  in step ─────────────────────────────► written beside, synced, renamed ──► in step
//!                                           │ fails: said, and tried again after 1 s … 1 min
//! ```
//!
//! At the start, what cannot be understood is put aside, as `….damaged`, and said. What cannot be
//! read, or was written by a newer version, may be whole: it is said, left alone, and never
//! overwritten; what waits is then only in memory.

use super::{flood::Flood, notifier::Line, queue::Stored};
use crate::{identity::write_private, model::Name, support::clock};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time};

/// The most bytes of the file.
pub const MAX_BYTES: usize = 1 << 20;
/// A file larger than this is none of ours.
const MAX_READ: u64 = 2 * MAX_BYTES as u64;
/// How long changes are collected.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Before a failed write is tried again; then twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest between two tries.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// What the file has beside the entries of each receiver, and beside each of these.
const FRAME_BYTES: usize = 256;
/// What this version writes.
const VERSION: u32 = 1;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    v: u32,
    #[serde(default)]
    receivers: BTreeMap<Name, Stored>,
}

/// What every version has.
#[derive(Debug, Deserialize)]
struct Versioned {
    v: u32,
}

/// The file, and whether it is behind.
#[derive(Debug)]
pub(super) struct Outbox {
    path: PathBuf,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is in the file.
    written: Vec<u8>,
    /// The file is not ours to write.
    is_foreign: bool,
    failures: Flood,
    left_out: Flood,
}

/// What was found at the start.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    stored: BTreeMap<Name, Stored>,
    is_foreign: bool,
}

impl Outbox {
    /// The file at `path`, and what waits in it by receiver: nothing where there is none, or it
    /// cannot be used, which is said.
    pub(super) fn open(path: PathBuf) -> (Outbox, BTreeMap<Name, Stored>) {
        let found = read(&path);
        let state = State {
            is_foreign: found.is_foreign,
            ..State::default()
        };
        let outbox = Outbox {
            path,
            changed: Notify::new(),
            state: Mutex::new(state),
        };
        (outbox, found.stored)
    }

    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// How often it could not be written since that was logged.
    #[cfg(test)]
    pub(super) fn failed(&self) -> u64 {
        self.state().failures.since
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the file, and returns when it is on the disk. `false`: it is not; why was said.
    /// Blocks; one writer at a time.
    pub(super) fn write(&self, lines: &[Arc<Line>]) -> bool {
        let mut state = self.state();
        if state.is_foreign {
            return false;
        }
        let all = lines.iter().map(|line| line.stored()).collect();
        let (bytes, left_out) = encode(all);
        let now = clock::mono_ms();
        if left_out > 0 && state.left_out.count(now, 1).is_some() {
            tracing::warn!(
                left_out,
                "not all that waits fits the outbox; a restart would lose the oldest"
            );
        }
        // Something may have come and gone meanwhile.
        if state.written == bytes {
            return true;
        }
        match write_private(&self.path, &bytes) {
            Ok(()) => {
                state.written = bytes;
                true
            }
            Err(error) => {
                if let Some(times) = state.failures.count(now, 1) {
                    tracing::warn!(
                        %error, times,
                        "outbox not written; a restart would lose what waits; it is tried again"
                    );
                }
                false
            }
        }
    }
}

/// Writes the file whenever it is behind; for ever.
pub(super) async fn keep(outbox: Arc<Outbox>, lines: Vec<Arc<Line>>) {
    loop {
        outbox.changed.notified().await;
        time::sleep(DEBOUNCE).await;
        let mut delay = FIRST_RETRY;
        while !write_now(outbox.clone(), lines.clone()).await && !outbox.state().is_foreign {
            time::sleep(delay).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }
}

/// Writes the file. `false`: it is not on the disk.
pub(super) async fn write_now(outbox: Arc<Outbox>, lines: Vec<Arc<Line>>) -> bool {
    // It fails only when the runtime ends, or by a panic, which was said then.
    let written = tokio::task::spawn_blocking(move || outbox.write(&lines));
    written.await.unwrap_or(false)
}

fn read(path: &Path) -> Found {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_READ + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::default(),
        Err(error) => return foreign(path, &format!("it cannot be read: {error}")),
        Ok(_) => {}
    }
    let why = match parse(&bytes) {
        Ok(Some(stored)) => {
            return Found {
                stored,
                is_foreign: false,
            };
        }
        Ok(None) => return foreign(path, "it was written by a newer version"),
        Err(why) => why,
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let moved = fs::rename(path, &aside).is_ok();
    tracing::error!(
        path = %path.display(), error = why, put_aside = moved,
        "the outbox is damaged; notifications that waited in it are lost"
    );
    Found::default()
}

fn foreign(path: &Path, why: &str) -> Found {
    tracing::error!(
        path = %path.display(), error = why,
        "the outbox cannot be used and is left as it is: what waits in it is not sent, and what \
         waits from now on does not survive a restart; mend the file or move it away, and restart"
    );
    Found {
        stored: BTreeMap::new(),
        is_foreign: true,
    }
}

/// `None`: it is of a newer version.
fn parse(bytes: &[u8]) -> Result<Option<BTreeMap<Name, Stored>>, String> {
    if bytes.len() as u64 > MAX_READ {
        return Err("it is too large".to_owned());
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if versioned.v > VERSION {
        return Ok(None);
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(Some(document.receivers))
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
    let document = Document {
        v: VERSION,
        receivers,
    };
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
        assert_eq!(
            read(&path),
            Found::default(),
            "without a file nothing waits"
        );
        let stored = Stored {
            waiting: vec![waiting(1, "x"), waiting(2, "\u{1b}\n\u{202e}")],
            told: vec!["a".to_owned()],
        };
        let (bytes, left_out) = encode(vec![(name("ops"), stored.clone())]);
        assert_eq!(left_out, 0);
        write_private(&path, &bytes).unwrap();
        assert_eq!(read(&path).stored, BTreeMap::from([(name("ops"), stored)]));
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.json");
        for damaged in [
            "{\"v\":1,\"receivers\":{\"ops\"",
            "",
            "[]",
            "{\"v\":1,\"receivers\":7}",
        ] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path), Found::default(), "{damaged}");
            assert!(!path.exists(), "{damaged}");
            let aside = fs::read_to_string(folder.path().join("outbox.json.damaged"));
            assert_eq!(aside.unwrap(), damaged);
        }
    }

    #[test]
    fn what_may_be_whole_is_left_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let newer = folder.path().join("newer.json");
        let text = "{\"v\":9,\"receivers\":[\"in another form\"]}";
        fs::write(&newer, text).unwrap();
        // Reading a directory is an error of the system, as a disk that fails is.
        let unreadable = folder.path().join("unreadable.json");
        fs::create_dir(&unreadable).unwrap();
        for path in [&newer, &unreadable] {
            let (outbox, stored) = Outbox::open(path.clone());
            assert!(stored.is_empty());
            assert!(!outbox.write(&[]), "nothing is kept, and that is known");
        }
        assert_eq!(fs::read_to_string(&newer).unwrap(), text);
        assert!(unreadable.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
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
