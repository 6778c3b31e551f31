//! Small files that must be whole or absent, whatever happens to the power.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// The disk takes nothing: it is full, or read-only, as the system leaves one that has failed.
    pub fn is_of_disk(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}

/// Writes `bytes` so that a reader sees the old content or the new one, never a part: a temporary
/// file in the same directory, fsync, rename, fsync of the directory. Mode 0600; missing parent
/// directories are made with 0700.
///
/// # Errors
/// Names the path.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(parent)
        .map_err(FileError::at("create", parent))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_data()
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        FileError {
            action: "write",
            path: path.to_owned(),
            source,
        }
    })
}

/// The text of a file.
///
/// # Errors
/// Names the path.
pub fn read_to_string(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::at("read", path))
}

/// The text of a file, `None` when there is none.
///
/// # Errors
/// Names the path.
pub fn read_optional(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// A clock that says less (2020) was never set: boards without a battery begin in 1970.
const CLOCK_IS_SET: u64 = 1_577_836_800_000;

/// How often a role has started: the part of a sequence number that outlives it.
#[derive(Debug)]
pub struct StartCounter;

impl StartCounter {
    /// Reads the count in `path`, writes the next one, and returns it; 1 when there is no file. A
    /// file that is damaged must not make the numbers go back, so then it is one above any count:
    /// 2³² and the clock's seconds, and 2³³ where the clock is not set.
    ///
    /// # Errors
    /// The file cannot be written: without it a restart would repeat numbers.
    pub fn next(path: &Path, now_ms: u64) -> Result<u64, FileError> {
        StartCounter::next_above(path, 0, now_ms)
    }

    /// The same, and at least `floor`.
    ///
    /// # Errors
    /// As [`StartCounter::next`].
    pub fn next_above(path: &Path, floor: u64, now_ms: u64) -> Result<u64, FileError> {
        let next = match read_optional(path)?.map(|t| t.trim().parse::<u64>()) {
            None => 1,
            Some(Ok(last)) => last.saturating_add(1),
            Some(Err(_)) if now_ms < CLOCK_IS_SET => (1 << 33) + now_ms / 1000,
            Some(Err(_)) => (1 << 32) + now_ms / 1000,
        };
        let next = next.max(floor);
        write_private(path, next.to_string().as_bytes())?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/starts");
        assert_eq!(StartCounter::next(&path, 5).unwrap(), 1);
        assert_eq!(StartCounter::next(&path, 5).unwrap(), 2);
        fs::write(&path, "garbage").unwrap();
        assert_eq!(
            StartCounter::next(&path, 1_700_000_000_000).unwrap(),
            (1 << 32) + 1_700_000_000
        );
        let last = StartCounter::next(&path, 0).unwrap();
        assert_eq!(last, (1 << 32) + 1_700_000_001);
        fs::write(&path, "garbage").unwrap();
        let in_1970 = StartCounter::next(&path, 40_000).unwrap();
        assert!(in_1970 > last, "{in_1970}");
    }
}
