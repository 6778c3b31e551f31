//! A blob on its way in: pieces, one after the other, each beginning where the last one ended.
//!
//! What was hashed on the way is remembered while the controller runs; after a restart, what is
//! there is read once when the upload is complete. A partial file is not synced: what a power cut
//! spoils has the wrong hash, and is uploaded anew.

use super::{BlobError, Blobs, MAX_BLOB, MAX_PARTIAL, MAX_PARTIAL_BYTES};
use crate::model::{Digest, Hasher};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, PoisonError},
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
    /// What it will have.
    total: u64,
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

    /// Begins a piece of `from..end` of a blob that has `total` bytes.
    ///
    /// # Errors
    /// All but [`BlobError::Mismatch`] and [`BlobError::Length`].
    pub fn upload(
        self: &Arc<Blobs>,
        digest: Digest,
        from: u64,
        end: u64,
        total: u64,
    ) -> Result<Upload, BlobError> {
        if total > MAX_BLOB {
            return Err(BlobError::TooLarge(total));
        }
        let mut state = self.take(digest, total)?;
        let begun = self.begin(&digest, from, total);
        let file = match begun {
            Ok(file) => file,
            Err(error) => {
                state.total = if from == 0 { 0 } else { state.total };
                self.give_back(digest, state);
                return Err(error);
            }
        };
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
        let there = self.progress(digest);
        if there.complete || there.received != from {
            let (digest, there) = (*digest, there.received);
            return Err(BlobError::Offset { digest, there });
        }
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
    fn take(&self, digest: Digest, total: u64) -> Result<State, BlobError> {
        let is_new = !self.partial(&digest).exists();
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.get(&digest).is_some_and(|state| state.busy) {
            return Err(BlobError::Busy(digest));
        }
        let others = uploads.iter().filter(|(d, _)| **d != digest);
        let known: u64 = others.map(|(_, state)| state.total).sum();
        if is_new && (self.count_partial()? >= MAX_PARTIAL || known + total > MAX_PARTIAL_BYTES) {
            return Err(BlobError::TooMany);
        }
        let state = uploads.entry(digest).or_default();
        let taken = State {
            total,
            ..std::mem::take(state)
        };
        (state.busy, state.total) = (true, total);
        Ok(taken)
    }

    fn count_partial(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.dir.join("partial"))?.count())
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
