//! Bytes by their hash: what the controller keeps for its nodes (binaries, layers of images).
//!
//! ```text
//!  operator ── PUT piece by piece ──► partial/<hex> ── all there, hash right ──► sha256/<hex>
//!                                          │ hash wrong                              │
//!                                          ▼                                         ▼
//!                                     thrown away                  nodes (Range), until pruned
//! ```
//!
//! A blob is named by SHA-256 of what it is, so that nothing about it has to be believed: whoever
//! fetches one checks it. The files say everything, nothing of this is in the journal; which blobs
//! are wanted, and as what, is ([`crate::fleet::Fleet::wanted_blobs`]).
//!
//! | module | holds |
//! |---|---|
//! | this one | the directory: what is there, opening, pruning |
//! | `upload` | blobs that are on their way in |
//! | `room` | pure: which uploads make room for a new one |
//! | `range` | pure: `Range` and `Content-Range` |
//! | `answer` | a blob as the answer to a request, streamed |
//! | `door` | nodes fetch here, on the broker's own port |
//! | `guests` | connections there of which is not known yet whose they are |
//! | `prune` | when what nobody wants is taken away |

mod answer;
mod door;
mod guests;
mod prune;
mod range;
mod room;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use answer::answer;
pub use door::Door;
pub(crate) use prune::{prune_daily, prune_now};
pub use range::ContentRange;
pub use upload::{Progress, Upload};

use crate::model::{Digest, Hasher};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

/// Bytes of one blob.
pub const MAX_BLOB: u64 = 16 << 30;
/// Bytes of one piece of an upload.
pub const MAX_PIECE: u64 = 8 << 20;
/// Uploads that were begun and are not complete.
const MAX_PARTIAL: usize = 64;
/// Of one API token.
const MAX_PER_TOKEN: usize = 16;
/// Bytes of all of them, once they are complete.
const MAX_PARTIAL_BYTES: u64 = 2 * MAX_BLOB;
/// So long an upload that was broken off can be gone on with.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 3_600);
/// Files of which is remembered that they are right.
const MAX_KNOWN: usize = 10_000;
/// Left free for the journal, which needs the disk more.
const RESERVE: u64 = 64 << 20;

/// The directory of blobs. Everything here may wait for the disk: not for an async task to call.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    /// Those that are being written to, or were lately.
    uploads: Mutex<BTreeMap<Digest, upload::State>>,
    /// When the files that were found to be right were changed last, as the file system counts it.
    right: Mutex<BTreeMap<Digest, (i64, i64)>>,
    /// Bytes that came and went since the start.
    pub traffic: Traffic,
}

/// Bytes of blobs since the start, repeats among them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From operators.
    pub received: AtomicU64,
    /// To nodes and operators.
    pub sent: AtomicU64,
}

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Blobs.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A blob was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Somebody else uploads it.
    #[error("{0} is being uploaded at this moment; try again when that has ended")]
    Busy(Digest),
    /// The piece does not begin where the last one ended.
    #[error("of {digest} there are {there} bytes; the next piece begins there")]
    Offset {
        /// Which.
        digest: Digest,
        /// Bytes that are there.
        there: u64,
    },
    /// Another length than the first piece said.
    #[error(
        "the first piece of {digest} said that it has {first} bytes in all, and this one says \
         {total}; go on with {first}, or begin anew when the broken upload is forgotten, after a day"
    )]
    Total {
        /// Which.
        digest: Digest,
        /// What the first piece said.
        first: u64,
        /// What this one says.
        total: u64,
    },
    /// Larger than is kept.
    #[error("a blob of {0} bytes is not kept: {max} GiB are the most", max = MAX_BLOB >> 30)]
    TooLarge(u64),
    /// More than was announced.
    #[error("the piece holds more or less than its Content-Range says")]
    Length,
    /// Too many that were begun.
    #[error(
        "{MAX_PARTIAL} uploads, or {bytes} GiB, are on their way already; complete them; \
         those that were broken off make room after a minute",
        bytes = MAX_PARTIAL_BYTES >> 30
    )]
    TooMany,
    /// The same for one API token.
    #[error(
        "{MAX_PER_TOKEN} uploads with this token are on their way already; complete them; those \
         that were broken off make room after a minute"
    )]
    TooManyOfOne,
    /// The disk.
    #[error(
        "the controller's disk has {free} MiB free, and {need} MiB are needed; make room in its \
         data directory, or take images away with `fleetctl image prune`"
    )]
    NoRoom {
        /// MiB.
        free: u64,
        /// MiB.
        need: u64,
    },
    /// Its bytes are others.
    #[error("what was uploaded as {wanted} is {found}; it was thrown away, upload it anew")]
    Mismatch {
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// The disk again.
    #[error("the controller cannot keep the blob: {0}")]
    Io(#[from] io::Error),
}

impl Blobs {
    /// Keeps blobs in `dir`, which is made.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(dir: &Path) -> io::Result<Blobs> {
        for part in ["sha256", "partial"] {
            let path = dir.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|e| {
                    io::Error::new(e.kind(), format!("cannot make {}: {e}", path.display()))
                })?;
        }
        Ok(Blobs {
            dir: dir.to_owned(),
            uploads: Mutex::default(),
            right: Mutex::default(),
            traffic: Traffic::default(),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("sha256").join(digest.hex())
    }

    fn partial(&self, digest: &Digest) -> PathBuf {
        self.dir.join("partial").join(digest.hex())
    }

    /// Its size, where all of it is there.
    pub fn has(&self, digest: &Digest) -> Option<u64> {
        let found = fs::symlink_metadata(self.path(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Somebody is about to use it: it is not pruned in the next while.
    pub fn touch(&self, digest: &Digest) {
        let was_right = self.is_known_right(digest);
        // At worst it is pruned, and uploaded again.
        let file = File::options().append(true).open(self.path(digest));
        let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
        if touched.is_ok() && was_right {
            self.note_right(*digest);
        }
    }

    /// Whoever wants to upload what is there already wants it to be right: a file that was changed
    /// on the disk is taken away, so that it can come anew. Reads the file once, and again only when
    /// it was written to.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn verify(&self, digest: &Digest) -> io::Result<()> {
        if self.has(digest).is_none() || self.is_known_right(digest) {
            return Ok(());
        }
        let mut file = self.open_at(digest, 0)?.0;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let found = hasher.finish();
        if found == *digest {
            self.note_right(*digest);
            return Ok(());
        }
        tracing::warn!(%digest, %found, "a blob was changed on the disk, it is taken away");
        fs::remove_file(self.path(digest))
    }

    fn is_known_right(&self, digest: &Digest) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let known = right.get(digest).copied();
        known.is_some() && known == self.changed(digest)
    }

    fn note_right(&self, digest: Digest) {
        let changed = self.changed(&digest);
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MAX_KNOWN {
            right.clear();
        }
        right.extend(changed.map(|at| (digest, at)));
    }

    fn changed(&self, digest: &Digest) -> Option<(i64, i64)> {
        let data = fs::symlink_metadata(self.path(digest)).ok()?;
        Some((data.ctime(), data.ctime_nsec()))
    }

    /// The file, to be read from `offset` on, and the size of the whole.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], and what the disk says.
    pub fn open_at(&self, digest: &Digest, offset: u64) -> io::Result<(File, u64)> {
        let mut file = File::open(self.path(digest))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        Ok((file, size))
    }

    /// Takes away what is not wanted and has not been touched for `min_age`, and uploads that were
    /// broken off a day ago.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn prune(&self, wanted: &BTreeSet<Digest>, min_age: Duration) -> io::Result<Pruned> {
        let mut pruned = Pruned::default();
        for (path, digest, size) in self.older("sha256", min_age)? {
            // What is no blob does not belong here either.
            if digest.is_some_and(|d| wanted.contains(&d)) {
                continue;
            }
            if fs::remove_file(&path).is_ok() {
                pruned.count += 1;
                pruned.bytes += size;
            }
        }
        self.forget_partial()?;
        Ok(pruned)
    }

    /// Uploads that were broken off long ago.
    fn forget_partial(&self) -> io::Result<()> {
        for (path, digest, _) in self.older("partial", PARTIAL_AGE)? {
            if digest.is_none_or(|d| self.forget_upload(&d)) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Files that were not touched for so long.
    fn older(
        &self,
        part: &str,
        min_age: Duration,
    ) -> io::Result<Vec<(PathBuf, Option<Digest>, u64)>> {
        let now = SystemTime::now();
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir.join(part))? {
            let entry = entry?;
            let Ok(data) = entry.metadata() else {
                continue;
            };
            // A clock that was set back makes nothing old.
            let age = data
                .modified()
                .ok()
                .and_then(|at| now.duration_since(at).ok());
            if age.is_some_and(|age| age >= min_age) {
                let digest = entry.file_name().to_str().and_then(|n| n.parse().ok());
                found.push((entry.path(), digest, data.len()));
            }
        }
        Ok(found)
    }

    /// There must be room for so many more bytes.
    fn check_room(&self, more: u64) -> Result<(), BlobError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let need = more.saturating_add(RESERVE);
        match free >= need {
            true => Ok(()),
            false => Err(BlobError::NoRoom {
                free: free >> 20,
                need: need.div_ceil(1 << 20),
            }),
        }
    }
}
