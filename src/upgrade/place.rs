//! Where upgrades lie on the disk: `<data_dir>/upgrade/record.json` and `bin/<hex>`.

use super::record::Record;
use crate::{
    identity::{self, FileError},
    model::{Digest, Hasher},
};
use rustix::{fs::StatVfsMountFlags, io::Errno};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Longest record that is read, bytes; one has a few hundred.
const RECORD_MAX: u64 = 1 << 20;
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

    /// What is recorded; `None`: nothing. What cannot be understood, or is no file that can be read,
    /// is put aside: a board must come up, and then runs what is installed.
    ///
    /// # Errors
    /// The file is there and cannot be read now, for want of memory or descriptors.
    pub fn record(&self) -> Result<Option<Record>, FileError> {
        let path = self.record_path();
        let error = match read_record(&path) {
            Ok(record) => return Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => error,
        };
        if may_pass(&error) {
            return Err(FileError::at("read", &path)(error));
        }
        // Where the directory is none nothing can be kept either.
        let aside = match error.kind() {
            io::ErrorKind::NotADirectory => &self.dir,
            _ => &path,
        };
        tracing::error!(path = %aside.display(), %error, "cannot be read, put aside");
        put_aside(aside);
        Ok(None)
    }

    /// Keeps it, durably, and removes the files of programs that neither it nor `also` speaks of.
    ///
    /// # Errors
    /// Names the file.
    pub fn store(
        &self,
        record: &Record,
        also: impl IntoIterator<Item = Digest>,
    ) -> Result<(), FileError> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        identity::write_private(&self.record_path(), &text)?;
        self.prune(record, also);
        Ok(())
    }

    /// Removes the files of programs that neither the record nor `also` speaks of.
    pub fn prune(&self, record: &Record, also: impl IntoIterator<Item = Digest>) {
        let used: BTreeSet<String> = record.in_use().chain(also).map(|d| d.hex()).collect();
        let Ok(entries) = fs::read_dir(self.programs()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // What is being fetched is called `<hex>.part`.
            let hex = name.to_string_lossy();
            let hex = hex.split('.').next().unwrap_or_default();
            if !used.contains(hex) {
                let _ = fs::remove_file(entry.path());
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

fn read_record(path: &Path) -> io::Result<Record> {
    // A pipe in its place is not waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(RECORD_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

/// It is not the file's fault: the next look may succeed.
fn may_pass(error: &io::Error) -> bool {
    let passing = [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::INTR];
    let number = error.raw_os_error();
    passing.iter().any(|e| Some(e.raw_os_error()) == number)
}

/// Renames it to `….damaged`, in place of an older one, be they files or directories.
fn put_aside(path: &Path) {
    let mut name = OsString::from(path);
    name.push(".damaged");
    let aside = PathBuf::from(name);
    let _ = match fs::symlink_metadata(&aside) {
        Ok(old) if old.is_dir() => fs::remove_dir_all(&aside),
        Ok(_) => fs::remove_file(&aside),
        Err(_) => Ok(()),
    };
    if let Err(error) = fs::rename(path, &aside) {
        tracing::error!(path = %path.display(), %error, "cannot be put aside");
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
    !is_mounted(dir, StatVfsMountFlags::NOEXEC)
}

/// Something can be put there: its file system is not read-only, as the system leaves one that has
/// failed.
pub fn may_write(dir: &Path) -> bool {
    !is_mounted(dir, StatVfsMountFlags::RDONLY)
}

/// `false` where it cannot be told.
fn is_mounted(dir: &Path, so: StatVfsMountFlags) -> bool {
    let there = dir.ancestors().find(|dir| dir.exists());
    let stat = there.and_then(|dir| rustix::fs::statvfs(dir).ok());
    stat.is_some_and(|s| s.f_flag.contains(so))
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
        place.store(&record, None).unwrap();
        assert_eq!(place.record().unwrap(), Some(record));
        std::fs::write(dir.path().join("upgrade/record.json"), "{\"cur").unwrap();
        assert_eq!(place.record().unwrap(), None);
        assert!(dir.path().join("upgrade/record.json.damaged").exists());
    }

    #[test]
    fn whatever_lies_where_the_record_belongs_is_put_aside_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        let path = dir.path().join("upgrade/record.json");
        let aside = dir.path().join("upgrade/record.json.damaged");
        let record = Record::default().noted("hash", "1");
        for kind in [
            "directory",
            "text",
            "pipe",
            "bytes",
            "directory",
            "directory",
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            match kind {
                "directory" => {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("inside"), kind).unwrap();
                }
                "pipe" => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::from_raw_mode(0o600),
                    0,
                )
                .unwrap(),
                "bytes" => fs::write(&path, [0xff, 0xfe, 0]).unwrap(),
                _ => fs::write(&path, kind).unwrap(),
            }
            assert_eq!(place.record().unwrap(), None, "{kind}");
            assert!(aside.exists() && !path.exists(), "{kind}");
            place.store(&record, None).unwrap();
            assert_eq!(place.record().unwrap().as_ref(), Some(&record), "{kind}");
        }
        fs::remove_dir_all(dir.path().join("upgrade")).unwrap();
        fs::write(dir.path().join("upgrade"), "no directory").unwrap();
        assert_eq!(place.record().unwrap(), None);
        place.store(&record, None).unwrap();
        assert_eq!(place.record().unwrap(), Some(record));
    }

    #[test]
    fn a_release_that_failed_does_not_stay_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        fs::create_dir_all(place.programs()).unwrap();
        let digests = [&b"before"[..], b"now", b"next", b"fetched"].map(Digest::of);
        for digest in &digests {
            fs::write(place.program(digest), "x").unwrap();
        }
        let [before, now, next, fetched] = digests;
        let edition = |digest| Edition {
            program: Program::Stored(digest),
            ..Edition::default()
        };
        let mut record = Record {
            current: edition(now),
            previous: Some(before),
            ..Record::default()
        };
        record = record.to_try(edition(next), 1, Digest::of(b"installed"));
        let there = || digests.map(|d| place.program(&d).exists());
        place.store(&record, [fetched]).unwrap();
        assert_eq!(there(), [true, true, true, true], "each is of use");
        place
            .store(&record.failed("no".into(), Vec::new()), None)
            .unwrap();
        assert_eq!(there(), [true, true, false, false]);
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
