//! Bytes that are too many for memory and needed only for a while: a file without a name, which is
//! gone with the process, however that ends.

use super::ImageError;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
};

/// What a compressed archive may become.
const MAX_UNPACKED: u64 = 64 << 30;
/// And how many times what was read of it, beside [`FREE`]: honest programs and file systems shrink
/// to a fifth, holes in them to less; a bomb has a thousand.
const MAX_RATIO: u64 = 100;
/// So much is never too much.
const FREE: u64 = 64 << 20;
/// Names that are tried.
const TRIES: u32 = 16;

/// Such a file.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    size: u64,
    dir: PathBuf,
}

impl Spool {
    /// In the system's directory for temporary files.
    ///
    /// # Errors
    /// It cannot be made; the sentence names the directory.
    pub(crate) fn new() -> Result<Spool, ImageError> {
        let dir = std::env::temp_dir();
        let made = nameless(&dir);
        let file = made.map_err(|e| {
            ImageError::new(format!(
                "no file can be made in {} ({e}); TMPDIR says where else",
                dir.display()
            ))
        })?;
        Ok(Spool { file, size: 0, dir })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The disk is full, or more came than anybody should send.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if self.size.saturating_add(bytes.len() as u64) > MAX_UNPACKED {
            return Err(ImageError::new(format!(
                "the image is larger than {} GiB, which is the most",
                MAX_UNPACKED >> 30
            )));
        }
        self.file.write_all(bytes).map_err(|e| {
            ImageError::new(format!(
                "what is unpacked for a while cannot be written to {} ({e}); TMPDIR says where \
                 else",
                self.dir.display()
            ))
        })?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// For reading.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Unpacks what is compressed with gzip, within bounds.
    ///
    /// # Errors
    /// It is cut, no gzip, or unpacks to far more than it should.
    pub(super) fn gunzip(compressed: File, what: &str) -> Result<Spool, ImageError> {
        let counted = Counted {
            of: compressed,
            read: 0,
        };
        let mut unpacked = flate2::read::MultiGzDecoder::new(counted);
        let mut spool = Spool::new()?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = match unpacked.read(&mut buffer) {
                Ok(0) => return Ok(spool),
                Ok(n) => n,
                Err(e) => return Err(ImageError::reading(what, &e)),
            };
            spool.add(&buffer[..n])?;
            bounded(unpacked.get_ref().read, spool.size, what)?;
        }
    }
}

/// That so little does not become so much.
pub(super) fn bounded(read: u64, unpacked: u64, what: &str) -> Result<(), ImageError> {
    if unpacked <= FREE.saturating_add(read.saturating_mul(MAX_RATIO)) {
        return Ok(());
    }
    Err(ImageError::new(format!(
        "{what} unpacks to more than {MAX_RATIO} times its size: that is no honest image, nothing \
         of it is taken"
    )))
}

fn nameless(dir: &std::path::Path) -> io::Result<File> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..TRIES {
        let id = crate::identity::random_id().map_err(io::Error::other)?;
        let path = dir.join(format!("fleetctl-{id}"));
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Counts what was read of it.
#[derive(Debug)]
pub(super) struct Counted<R> {
    pub(super) of: R,
    pub(super) read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.of.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

/// A part of a file, read without moving the place of anybody else.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) left: u64,
}

impl Part {
    /// All of it.
    pub(super) fn whole(file: File, size: u64) -> Part {
        Part {
            file: Arc::new(file),
            at: 0,
            left: size,
        }
    }

    /// Without its first bytes.
    pub(super) fn from(&self, offset: u64) -> Part {
        let skipped = offset.min(self.left);
        Part {
            file: self.file.clone(),
            at: self.at + skipped,
            left: self.left - skipped,
        }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
