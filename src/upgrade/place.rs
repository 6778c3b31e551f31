//! Where upgrades lie on the disk: `<data_dir>/upgrade/record.json` and `bin/<hex>`.

use super::record::Record;
use crate::{
    identity::{self, FileError},
    model::{Digest, Hasher},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long another agent, which is on its way out, may hold the data directory.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// The directory.
#[derive(Debug, Clone)]
pub struct Place {
    data_dir: PathBuf,
    dir: PathBuf,
}

impl Place {
    /// Below the agent's data directory.
    pub fn new(data_dir: &Path) -> Place {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Place {
            dir: data_dir.join("upgrade"),
            data_dir,
        }
    }

    /// Where programs lie.
    pub fn programs(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The file of a program.
    pub fn program(&self, digest: &Digest) -> PathBuf {
        self.programs().join(digest.hex())
    }

    /// The directory of everything that the agent keeps.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    fn record_path(&self) -> PathBuf {
        self.dir.join("record.json")
    }

    /// What is recorded; `None`: nothing. What cannot be understood is put aside: a board must come
    /// up, and then runs what is installed.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn record(&self) -> Result<Option<Record>, FileError> {
        let path = self.record_path();
        let Some(text) = identity::read_optional(&path)? else {
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "file is damaged, put aside");
                let _ = std::fs::rename(&path, path.with_extension("json.damaged"));
                Ok(None)
            }
        }
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// Names the file.
    pub fn store(&self, record: &Record) -> Result<(), FileError> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        identity::write_private(&self.record_path(), &text)
    }

    /// Removes the files of programs that neither the record nor `also` speaks of.
    pub fn prune(&self, record: &Record, also: Option<Digest>) {
        let used: BTreeSet<String> = record.in_use().chain(also).map(|d| d.hex()).collect();
        let Ok(entries) = std::fs::read_dir(self.programs()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // What is being fetched is called `<hex>.part`.
            let hex = name.to_string_lossy();
            let hex = hex.split('.').next().unwrap_or_default();
            if !used.contains(hex) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// The program is there, whole, and may be executed: the last is put right.
    pub fn is_whole(&self, digest: &Digest) -> bool {
        let path = self.program(digest);
        let whole = hash_of(&path).is_ok_and(|found| found == *digest);
        whole && executable(&path).is_ok()
    }

    /// Waits while another agent that is on its way out holds the data directory.
    pub fn wait_until_free(&self) {
        let Ok(lock) = File::open(self.data_dir.join("lock")) else {
            return;
        };
        let begun = Instant::now();
        let how = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        while rustix::fs::flock(&lock, how).is_err() && begun.elapsed() < LOCK_LIMIT {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// SHA-256 of a file.
///
/// # Errors
/// It cannot be read.
pub fn hash_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&piece[..n]),
        }
    }
}

/// Makes a file one that can be executed.
///
/// # Errors
/// Its mode cannot be changed.
pub fn executable(path: &Path) -> io::Result<()> {
    let permissions = std::fs::metadata(path)?.permissions();
    if permissions.mode() & 0o777 == 0o755 {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Programs may be executed from there: its file system is not mounted `noexec`.
pub fn may_execute(dir: &Path) -> bool {
    let there = dir.ancestors().find(|dir| dir.exists());
    let stat = there.and_then(|dir| rustix::fs::statvfs(dir).ok());
    stat.is_none_or(|s| !s.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// Bytes that are free where `dir` is, for this user.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::{super::record::*, *};

    #[test]
    fn a_record_is_kept_and_a_damaged_one_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        assert_eq!(place.record().unwrap(), None);
        let record = Record::default().noted("hash", "1");
        place.store(&record).unwrap();
        assert_eq!(place.record().unwrap(), Some(record));
        std::fs::write(dir.path().join("upgrade/record.json"), "{\"cur").unwrap();
        assert_eq!(place.record().unwrap(), None);
        assert!(dir.path().join("upgrade/record.json.damaged").exists());
    }

    #[test]
    fn only_what_is_of_use_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        std::fs::create_dir_all(place.programs()).unwrap();
        let [kept, gone, fetched] = [b"kept", b"gone", b"next"].map(|b| Digest::of(b));
        for digest in [&kept, &gone, &fetched] {
            std::fs::write(place.program(digest), "x").unwrap();
        }
        let half = place.programs().join(format!("{}.part", gone.hex()));
        std::fs::write(&half, "x").unwrap();
        let mut record = Record::default();
        record.current.program = Program::Stored(kept);
        place.prune(&record, Some(fetched));
        let there = |digest| place.program(digest).exists();
        assert!(there(&kept) && there(&fetched) && !there(&gone) && !half.exists());
    }

    #[test]
    fn a_program_is_what_its_name_says_or_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        std::fs::create_dir_all(place.programs()).unwrap();
        let digest = Digest::of(b"program");
        assert!(!place.is_whole(&digest), "it is not there");
        std::fs::write(place.program(&digest), "program").unwrap();
        assert!(place.is_whole(&digest));
        let mode = std::fs::metadata(place.program(&digest)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o755);
        std::fs::write(place.program(&digest), "progra").unwrap();
        assert!(!place.is_whole(&digest), "it was cut off");
    }
}
