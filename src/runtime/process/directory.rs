//! The directory of one instance: `<data-dir>/instances/<workload>-<hash8>/`.
//!
//! ```text
//! instance.json   what to run, for whom        (0600: it holds the environment)
//! state.json      that it runs                 exit.json   how it ended
//! lock            held by the shim while it lives
//! log log.1 …     what it wrote, newest first
//! error.json      what a Python callable failed with; written by the program
//! files.json      files outside of this directory that were placed for it
//! .room           a block of the disk to write the ending into, should the disk be full
//! work/           where it runs, when no working directory is given
//! ```
//!
//! A reader never sees half a file: each is written beside its place and renamed.

use super::account::Account;
use super::record::{Ending, Plan, State};
use rustix::fs::{FlockOperation, flock};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Most log files of one instance, whatever the workload says.
pub(super) const LOG_FILES_MAX: u32 = 100;

/// What the file with a callable's error may hold; the program can write there what it wants.
const ERROR_MAX: u64 = 16 << 10;

/// Bytes of a block of most file systems; an ending is smaller, or little larger.
const ROOM: [u8; 8192] = [b' '; 8192];

/// Larger than every file that we write here; what is larger is not ours.
const RECORD_MAX: u64 = 4 << 20;

/// One instance's directory. Knows names, decides nothing.
#[derive(Debug, Clone)]
pub(super) struct InstanceDir {
    path: PathBuf,
}

/// The right to change what the directory says about a run. Ends when dropped.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held, not read")] File);

impl InstanceDir {
    /// Of an absolute path; nothing is made.
    pub fn new(path: PathBuf) -> InstanceDir {
        InstanceDir { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, by which the runtime's callers know the instance.
    pub fn handle(&self) -> String {
        self.path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// The program's own place when no working directory is given.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The log; 0 is the current one, larger is older.
    pub fn log(&self, age: u32) -> PathBuf {
        if age == 0 {
            self.path.join("log")
        } else {
            self.path.join(format!("log.{age}"))
        }
    }

    /// Makes it and its `work`. Others may pass through (a program may run as another user) but
    /// not list or read it.
    pub fn create(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.path)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.work())
    }

    /// What to run; `None` when there is none that can be read.
    pub fn plan(&self) -> Option<Plan> {
        self.read("instance.json")
    }

    /// That it runs, or ran.
    pub fn state(&self) -> Option<State> {
        self.read("state.json")
    }

    /// How it ended.
    pub fn ending(&self) -> Option<Ending> {
        self.read("exit.json")
    }

    /// Writes what to run; on the disk when this returns.
    pub fn write_plan(&self, plan: &Plan) -> io::Result<()> {
        self.write("instance.json", plan, true)
    }

    /// Writes that it runs. Not forced to the disk: it says nothing about any other boot of the
    /// machine, and a power cut ends this one. That spares the flash and makes a start quick.
    pub fn write_state(&self, state: &State) -> io::Result<()> {
        let written = self.write("state.json", state, false);
        if written.is_ok() || std::fs::remove_file(self.path.join(".room")).is_err() {
            return written;
        }
        self.write("state.json", state, false)
    }

    /// Writes how it ended; on the disk when this returns. On a full disk it gives up the room
    /// that was kept for this, and then the oldest logs: how it ended is worth more.
    pub fn write_ending(&self, ending: &Ending) -> io::Result<()> {
        let mut written = self.write("exit.json", ending, true);
        let logs = (1..LOG_FILES_MAX).rev().map(|age| self.log(age));
        for spare in std::iter::once(self.path.join(".room")).chain(logs) {
            if written.is_ok() {
                break;
            }
            if std::fs::remove_file(spare).is_ok() {
                written = self.write("exit.json", ending, true);
            }
        }
        let _ = std::fs::remove_file(self.path.join(".room"));
        written
    }

    /// Takes a block of the disk that [`InstanceDir::write_state`] and
    /// [`InstanceDir::write_ending`] can use.
    pub fn keep_room(&self) -> io::Result<()> {
        std::fs::write(self.path.join(".room"), ROOM)
    }

    /// Makes the file into which a callable writes its error, writable for `owner` where the
    /// agent may give files away.
    pub fn make_error_file(&self, owner: &Account) -> io::Result<PathBuf> {
        let path = self.path.join("error.json");
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(&path, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(path)
    }

    /// What the program wrote there, at most [`ERROR_MAX`] of it.
    pub fn error(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path.join("error.json")).ok()?;
        file.take(ERROR_MAX).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Files outside that were placed, each with a digest of its content.
    pub fn placed(&self) -> BTreeMap<String, String> {
        let path = self.path.join("files.json");
        if path.exists() {
            self.read("files.json").unwrap_or_default()
        } else {
            BTreeMap::new()
        }
    }

    /// Writes them down; on the disk when this returns.
    pub fn write_placed(&self, placed: &BTreeMap<String, String>) -> io::Result<()> {
        self.write("files.json", placed, true)
    }

    /// Forgets the last run. The state goes first: a reader in between sees the old end, never
    /// a run without its shim. Needs the lock.
    pub fn forget_run(&self) -> io::Result<()> {
        for name in ["state.json", "exit.json", "error.json", ".room"] {
            match std::fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the lock if nobody has it. A lock ends with its process, however that ends.
    pub fn try_lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let file = open_quietly(&self.path.join(name)).ok()?;
        let mut bytes = Vec::new();
        file.take(RECORD_MAX).read_to_end(&mut bytes).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(file = %self.path.join(name).display(), %error, "unreadable record");
                None
            }
        }
    }

    fn write<T: Serialize>(&self, name: &str, record: &T, durable: bool) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Of this process and this call alone, so that two writers never share one.
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .path
            .join(format!(".{name}.{}-{unique}", std::process::id()));
        let bytes = serde_json::to_vec(record)?;
        let written = self.replace(name, &temporary, &bytes, durable);
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    fn replace(&self, name: &str, by: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(by)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_data()?;
        }
        std::fs::rename(by, self.path.join(name))?;
        if durable {
            File::open(&self.path)?.sync_all()?;
        }
        Ok(())
    }
}

/// For reading, without the time of the access being written to the disk: records are read once a
/// minute, and each would cost a block of flash a day. Only an owner (or root) may ask for that.
fn open_quietly(path: &Path) -> io::Result<File> {
    let quiet = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOATIME)
        .open(path);
    match quiet {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::End;
    use super::*;

    #[test]
    fn what_is_written_is_read_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().join("web-1"));
        dir.create().expect("a directory");
        let ending = Ending::now(End::Code(3), None);
        dir.write_ending(&ending).expect("written");
        assert_eq!(dir.ending(), Some(ending));
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .expect("a listing")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        assert_eq!(names, ["exit.json", "work"]);
        dir.forget_run().expect("forgotten");
        assert_eq!(dir.ending(), None);
    }

    #[test]
    fn the_room_for_an_ending_goes_with_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        dir.keep_room().unwrap();
        assert!(root.path().join(".room").exists());
        dir.write_ending(&Ending::now(End::Code(0), None))
            .expect("written");
        assert!(!root.path().join(".room").exists());
        assert!(dir.ending().is_some());
    }

    #[test]
    fn half_a_record_is_none() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        std::fs::write(root.path().join("exit.json"), "{\"end\":").expect("written");
        assert_eq!(dir.ending(), None);
    }

    #[test]
    fn only_one_has_the_lock() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        let lock = dir.try_lock().expect("a lock file");
        assert!(lock.is_some());
        assert!(dir.try_lock().expect("a lock file").is_none());
        drop(lock);
        assert!(dir.try_lock().expect("a lock file").is_some());
    }
}
