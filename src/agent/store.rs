//! What an agent keeps on disk, all of it small, written only when it changes, and whole or absent
//! whatever happens to the power.
//!
//! | file | holds |
//! |---|---|
//! | `node.key` | the node's key |
//! | `starts` | how often it has started |
//! | `fleet.json` | [`Membership`] |
//! | `assignment.json` | the last assignment |
//! | `memory.json` | [`Memory`] |
//! | `first-boot.json` | what was taken in from the boot partition |

use super::{first_boot, scratch};
use crate::{
    contract::Seq,
    identity::{self, FileError, IdentityError, SigningKey, StartCounter},
    model::{Assignment, Name},
    supervisor,
    support::clock,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

/// An agent's data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file that must go is still there.
    #[error("{path} cannot be removed: {message}")]
    Forget {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
    /// A file of a simulated node.
    #[error("{path} cannot be written: {message}; give the simulation another --state")]
    Scratch {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
    /// Two agents on one directory would run everything twice.
    #[error("{path} is in use by another agent; give this one a --data-dir of its own")]
    InUse {
        /// The directory.
        path: String,
    },
}

/// What the node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The node's name in the fleet.
    pub node: Name,
    /// Broker URLs, tried in turn.
    pub brokers: Vec<String>,
    /// SHA-256 of the fleet's CA, hex; `None` with an external broker.
    pub ca_sha256: Option<String>,
    /// CA of an external broker, PEM.
    pub external_ca: Option<String>,
    /// The fleet's public key.
    pub fleet_key: String,
    /// Topic prefix.
    pub prefix: String,
    /// What the brokers of the fleet take.
    pub credential: String,
}

/// What must not be forgotten over a restart beside the assignment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredMemory", into = "StoredMemory")]
pub struct Memory {
    /// What the supervisor wants to be told at the next start.
    pub supervisor: supervisor::Memory,
    /// Highest number of a command that changed something; lower ones are never run.
    pub command_seq: Seq,
}

/// The form in the file: all in one object, as the first release wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMemory {
    #[serde(default)]
    restarts_done: BTreeMap<Name, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    runs: BTreeMap<Name, supervisor::RunRecord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    held: BTreeMap<Name, supervisor::Held>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    trials: BTreeMap<Name, supervisor::TrialRecord>,
    #[serde(default)]
    command_seq: Seq,
}

impl From<StoredMemory> for Memory {
    fn from(stored: StoredMemory) -> Memory {
        let StoredMemory {
            restarts_done,
            runs,
            held,
            trials,
            command_seq,
        } = stored;
        Memory {
            supervisor: supervisor::Memory {
                restarts_done,
                runs,
                held,
                trials,
            },
            command_seq,
        }
    }
}

impl From<Memory> for StoredMemory {
    fn from(memory: Memory) -> StoredMemory {
        let supervisor::Memory {
            restarts_done,
            runs,
            held,
            trials,
        } = memory.supervisor;
        StoredMemory {
            restarts_done,
            runs,
            held,
            trials,
            command_seq: memory.command_seq,
        }
    }
}

/// The data directory, locked for this process.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// `None`: of a simulated node, and what is written need not outlive a power cut.
    lock: Option<File>,
}

impl Store {
    /// Opens and locks `dir`, making it as needed.
    pub(super) fn open(dir: &Path) -> Result<Store, StoreError> {
        let lock_path = dir.join("lock");
        if !lock_path.exists() {
            identity::write_private(&lock_path, b"")?;
        }
        let in_use = |_| StoreError::InUse {
            path: dir.display().to_string(),
        };
        let lock = File::open(&lock_path).map_err(in_use)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| in_use(e.into()))?;
        Ok(Store {
            dir: dir.to_owned(),
            lock: Some(lock),
        })
    }

    /// The directory of a simulated node: without a lock, and nothing waits for the disk.
    pub(super) fn open_scratch(dir: &Path) -> Result<Store, StoreError> {
        scratch::make_dir(dir)?;
        Ok(Store {
            dir: dir.to_owned(),
            lock: None,
        })
    }

    /// Where instances of native processes live.
    pub(super) fn instances_dir(&self) -> PathBuf {
        self.dir.join("instances")
    }

    /// Where container runtimes place files and keep what they must know of containers.
    pub(super) fn engine_dir(&self) -> PathBuf {
        self.dir.join("engine")
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn key(&self) -> Result<SigningKey, StoreError> {
        let path = self.dir.join("node.key");
        if self.lock.is_none() {
            scratch::make_key(&path)?;
        }
        Ok(SigningKey::open_or_create(&path)?)
    }

    /// This start's number. A disk that is full or read-only must not keep a board from running what
    /// it is assigned: then it goes on with the number of the last start, and messages are counted
    /// from the clock instead of from one, so that they are not taken for old ones, nor those of the
    /// next start that is kept. The second value is where to count from.
    pub(super) fn count_start(&self) -> Result<(u64, u64), StoreError> {
        let path = self.dir.join("starts");
        if self.lock.is_none() {
            return Ok((scratch::count_start(&path)?, 1));
        }
        match StartCounter::next(&path, clock::unix_ms()) {
            Ok(start) => Ok((start, 1)),
            Err(error) if error.is_of_disk() => {
                tracing::error!(%error, "the disk takes nothing, going on without keeping this start");
                let last = identity::read_optional(&path)?.and_then(|t| t.trim().parse().ok());
                Ok((last.unwrap_or(0), clock::unix_ms()))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn membership(&self) -> Result<Option<Membership>, StoreError> {
        self.read("fleet.json")
    }

    pub(super) fn keep_membership(&self, member: &Membership) -> Result<(), StoreError> {
        self.writer().write("fleet.json", member)
    }

    /// What ran before belonged to somebody else (another fleet, a directory): its generation must
    /// not outrank the first one of the fleet that is joined now.
    pub(super) fn forget_assignment(&self) -> Result<(), StoreError> {
        let path = self.dir.join("assignment.json");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Forget {
                path: path.display().to_string(),
                message: error.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn assignment(&self) -> Result<Option<Assignment>, StoreError> {
        self.read("assignment.json")
    }

    /// What was remembered; when it is damaged, as if every restart that `assigned` asks for had
    /// been carried out: what runs must not be restarted for it.
    pub(super) fn memory(&self, assigned: Option<&Assignment>) -> Result<Memory, StoreError> {
        let was_there = self.dir.join("memory.json").exists();
        if let Some(memory) = self.read("memory.json")? {
            return Ok(memory);
        }
        let mut memory = Memory::default();
        for i in assigned
            .filter(|_| was_there)
            .iter()
            .flat_map(|a| &a.instances)
        {
            memory
                .supervisor
                .restarts_done
                .insert(i.workload.name.clone(), i.restart_count);
        }
        Ok(memory)
    }

    /// What was taken in from the boot partition.
    pub(super) fn first_boot(&self) -> Option<first_boot::Record> {
        self.read("first-boot.json").ok().flatten()
    }

    pub(super) fn keep_first_boot(&self, record: &first_boot::Record) -> Result<(), StoreError> {
        self.writer().write("first-boot.json", record)
    }

    /// For writing from another thread.
    pub(super) fn writer(&self) -> Writer {
        Writer {
            dir: self.dir.clone(),
            careful: self.lock.is_some(),
        }
    }

    /// A file that cannot be understood is put aside, not obeyed and not fatal: a board must come
    /// up. The controller sends what is missing.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.dir.join(name);
        let Some(text) = identity::read_optional(&path)? else {
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "file is damaged, put aside");
                let _ = std::fs::rename(&path, self.dir.join(format!("{name}.damaged")));
                Ok(None)
            }
        }
    }
}

/// Writes the agent's files.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    dir: PathBuf,
    /// What is written outlives a power cut.
    careful: bool,
}

impl Writer {
    pub(super) fn assignment(&self, assignment: &Assignment) -> Result<(), StoreError> {
        self.write("assignment.json", assignment)
    }

    pub(super) fn memory(&self, memory: &Memory) -> Result<(), StoreError> {
        self.write("memory.json", memory)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_vec(value).unwrap_or_default();
        if !self.careful {
            return scratch::write(&self.dir.join(name), &text);
        }
        Ok(identity::write_private(&self.dir.join(name), &text)?)
    }
}
