//! A blob on its way in: pieces, one after the other, each beginning where the last one ended.
//!
//! The first piece says how long the blob will be, and the others must say the same. That, and what
//! was hashed on the way, is remembered while the controller runs; after a restart the next piece
//! says it anew, and what is there is read once when the upload is complete. A partial file is not synced: what a power cut
//! spoils has the wrong hash, and is uploaded anew.

use super::{
    BlobError, Blobs, ContentRange, MAX_BLOB,
    room::{Begun, make_room},
};
use crate::model::{Digest, Hasher};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime},
};

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub received: u64,
    /// All of it, and the hash is right.
    pub complete: bool,
}

/// An upload between two pieces.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Somebody writes a piece.
    busy: bool,
    /// Of how many bytes `hasher` is.
    hashed: u64,
    hasher: Hasher,
    /// What it will have; 0: not known.
    total: u64,
    /// Whose it is: the name of an API token.
    by: String,
}

/// One piece that is being written. Dropped before its end, what was written of it stays.
#[derive(Debug)]
pub struct Upload {
    blobs: Arc<Blobs>,
    digest: Digest,
    file: File,
    at: u64,
    /// Where this piece ends.
    end: u64,
    state: State,
}

impl Blobs {
    /// How far its upload is.
    pub fn progress(&self, digest: &Digest) -> Progress {
        match self.has(digest) {
            Some(received) => Progress {
                received,
                complete: true,
            },
            None => Progress {
                received: fs::metadata(self.partial(digest)).map_or(0, |data| data.len()),
                complete: false,
            },
        }
    }

    /// Begins a piece of a blob; `by` is the name of the API token that it comes with. Where there
    /// are too many uploads, those that were idle for longest make room.
    ///
    /// # Errors
    /// All but [`BlobError::Mismatch`] and [`BlobError::Length`].
    pub fn upload(
        self: &Arc<Blobs>,
        by: &str,
        digest: Digest,
        piece: ContentRange,
    ) -> Result<Upload, BlobError> {
        let ContentRange { from, end, total } = piece;
        if total > MAX_BLOB {
            return Err(BlobError::TooLarge(total));
        }
        let mut state = self.take(digest, from, total, by)?;
        let file = match self.begin(&digest, from, total) {
            Ok(file) => file,
            Err(error) => {
                self.give_back(digest, state);
                return Err(error);
            }
        };
        state.total = total;
        by.clone_into(&mut state.by);
        Ok(Upload {
            blobs: self.clone(),
            digest,
            file,
            at: from,
            end,
            state,
        })
    }

    fn begin(&self, digest: &Digest, from: u64, total: u64) -> Result<File, BlobError> {
        self.check_room(total - from.min(total))?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.partial(digest))?;
        file.seek(SeekFrom::Start(from))?;
        Ok(file)
    }

    /// For one writer at a time.
    fn take(&self, digest: Digest, from: u64, total: u64, by: &str) -> Result<State, BlobError> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.get(&digest).is_some_and(|state| state.busy) {
            return Err(BlobError::Busy(digest));
        }
        let there = self.progress(&digest);
        if there.complete || there.received != from {
            let there = there.received;
            return Err(BlobError::Offset { digest, there });
        }
        // Where nothing came of it yet, it may still become another one.
        let known = uploads.get(&digest).map_or(0, |state| state.total);
        match known {
            first if first > 0 && from > 0 && first != total => {
                return Err(BlobError::Total {
                    digest,
                    first,
                    total,
                });
            }
            first if first == total => {}
            // Also after a restart, which forgets what the first piece said.
            _ => {
                let others = self.begun(&uploads, &digest)?;
                for idle in make_room(others, total, by)? {
                    tracing::info!(digest = %idle, "an upload that was broken off makes room");
                    fs::remove_file(self.partial(&idle))?;
                    uploads.remove(&idle);
                }
            }
        }
        let state = uploads.entry(digest).or_default();
        let taken = std::mem::take(state);
        *state = State {
            busy: true,
            total,
            by: by.to_owned(),
            ..State::default()
        };
        Ok(taken)
    }

    /// All uploads but this one.
    fn begun(&self, uploads: &BTreeMap<Digest, State>, but: &Digest) -> io::Result<Vec<Begun>> {
        let now = SystemTime::now();
        // One that is being begun may have no file yet.
        let writing = uploads.iter().filter(|(_, state)| state.busy);
        let mut all: BTreeMap<Digest, (Option<Duration>, u64)> =
            writing.map(|(digest, _)| (*digest, (None, 0))).collect();
        for entry in fs::read_dir(self.dir.join("partial"))? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.parse().ok());
            let (Some(digest), Ok(data)) = (digest, entry.metadata()) else {
                continue;
            };
            // A clock that was set back makes nothing idle.
            let changed = data.modified().ok();
            let idle = changed.and_then(|at| now.duration_since(at).ok());
            let idle = idle.unwrap_or_default();
            all.entry(digest).or_insert((Some(idle), data.len()));
        }
        all.remove(but);
        let begun = |(digest, (idle, length)): (Digest, (Option<Duration>, u64))| {
            let state = uploads.get(&digest);
            Begun {
                digest,
                idle,
                total: state.map_or(0, |state| state.total).max(length),
                by: state.map_or_else(String::new, |state| state.by.clone()),
            }
        };
        Ok(all.into_iter().map(begun).collect())
    }

    fn give_back(&self, digest: Digest, state: State) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        match self.partial(&digest).exists() {
            true => uploads.insert(digest, state),
            false => uploads.remove(&digest),
        };
    }

    /// `false`: it is being written to.
    pub(super) fn forget_upload(&self, digest: &Digest) -> bool {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.get(digest).is_some_and(|state| state.busy) {
            return false;
        }
        uploads.remove(digest);
        true
    }
}

impl Upload {
    /// More of the piece.
    ///
    /// # Errors
    /// It is longer than it was said to be; the disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let after = self.at + bytes.len() as u64;
        if after > self.end {
            return Err(BlobError::Length);
        }
        self.file.write_all(bytes)?;
        let received = &self.blobs.traffic.received;
        received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.state.hashed == self.at {
            self.state.hasher.update(bytes);
            self.state.hashed = after;
        }
        self.at = after;
        Ok(())
    }

    /// The piece is over; where it was the last one, the blob is checked and kept.
    ///
    /// # Errors
    /// It is shorter than it was said to be; the hash is wrong, and then all of it is gone; the
    /// disk.
    pub fn end(mut self) -> Result<Progress, BlobError> {
        if self.at != self.end {
            return Err(BlobError::Length);
        }
        if self.at < self.state.total {
            return Ok(Progress {
                received: self.at,
                complete: false,
            });
        }
        self.hash_the_rest()?;
        let found = self.state.hasher.clone().finish();
        let partial = self.blobs.partial(&self.digest);
        if found != self.digest {
            fs::remove_file(partial)?;
            return Err(BlobError::Mismatch {
                wanted: self.digest,
                found,
            });
        }
        self.file.sync_all()?;
        self.file.set_modified(std::time::SystemTime::now())?;
        fs::rename(partial, self.blobs.path(&self.digest))?;
        File::open(self.blobs.dir.join("sha256"))?.sync_all()?;
        self.blobs.note_right(self.digest);
        Ok(Progress {
            received: self.at,
            complete: true,
        })
    }

    /// What was written before the controller started.
    fn hash_the_rest(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.state.hashed))?;
        let mut buffer = vec![0; 256 << 10];
        while self.state.hashed < self.at {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.state.hasher.update(&buffer[..read]);
            self.state.hashed += read as u64;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A write that failed in its middle is not a part of what was hashed.
        let written = self.file.metadata().map_or(0, |data| data.len());
        if written != self.at {
            let _ = self.file.set_len(self.at);
        }
        let state = std::mem::take(&mut self.state);
        self.blobs.give_back(self.digest, state);
    }
}
