//! First boot: what a person has written on a board's memory card, on another machine.
//!
//! On the boot partition, which every laptop can read, lies a directory `fleetctl-boot/` with up to
//! three texts: `join` (the token), `name`, `labels` (`key=value` in each line); `.txt` behind their
//! names is fine. They are taken in once, and are gone then, so that the token does not lie about.
//! What goes wrong is written beside them, into `error.txt`, for whoever has only the card.
//!
//! ```text
//! files there ─► used as if they stood in agent.toml ─► joined (fleet.json) ─► first-boot.json: taken
//!      ▲                        │ refused, damaged …                                │
//!      └──── error.txt ◄────────┘                              files removed ◄──────┘
//! ```
//!
//! A power cut anywhere: until `first-boot.json` has the files' digest they are simply read again;
//! joining a second time with the same key is no error. From then on they are only removed. That
//! digest is also why files on a read-only partition are not taken in twice.
//!
//! Only plain files are read ([`card`]), and what they hold is shown nowhere: `error.txt` and the log
//! name the file and the line.

mod card;
mod text;

use super::store::Store;
use crate::{
    config::{AgentConfig, JoinSource},
    identity::{self, JoinToken},
    model::{Name, shown},
    support::chain,
};
use card::{Card, Shredded};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};
use text::Kind;
use tracing::{error, info, warn};

const ERROR_FILE: &str = "error.txt";
/// What that is called until it is whole.
const ERROR_BESIDE: &str = "error.new";
/// So long joining may take before a person is told that it waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// `first-boot.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// SHA-256 of the files that were taken in.
    #[serde(default)]
    taken: Option<String>,
    /// Of the board, from then on.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// What the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Notes {
    join: Option<JoinToken>,
    name: Option<Name>,
    labels: Option<BTreeMap<String, String>>,
    /// Of everything that was read.
    digest: String,
    /// Their names.
    files: Vec<String>,
}

/// A first boot that may be under way.
#[derive(Debug)]
pub(super) struct FirstBoot {
    /// Where errors are written; `None`: there is no such directory.
    dir: Option<PathBuf>,
    /// To be recorded and removed once the board has joined.
    pending: Option<(Record, Vec<String>)>,
    began: Instant,
    said: Mutex<String>,
}

impl FirstBoot {
    /// Nothing is taken in.
    pub(super) fn none() -> FirstBoot {
        FirstBoot {
            dir: None,
            pending: None,
            began: Instant::now(),
            said: Mutex::default(),
        }
    }

    /// Reads what is there and puts it into the configuration.
    pub(super) fn take_in(config: &mut AgentConfig, store: &Store) -> FirstBoot {
        let mut boot = FirstBoot::none();
        let record = store.first_boot().unwrap_or_default();
        config.labels.extend(record.labels.clone());
        if !config.own_process || config.standalone.is_some() {
            return boot;
        }
        let places = config.boot_dir.places();
        let Some(dir) = places.into_iter().find(|dir| is_there(dir)) else {
            return boot;
        };
        boot.dir = Some(dir.clone());
        let notes = match read(&dir, &own_digits()) {
            Ok(notes) => notes,
            Err(why) => {
                boot.trouble(&why);
                return boot;
            }
        };
        let member = store.membership().ok().flatten();
        if notes.files.is_empty() {
            if member.is_none() && config.join.is_none() {
                boot.trouble(
                    "There is no file `join` in this directory: write the join token into it, \
                     which `fleetctl token create --kind join` on the control host prints.",
                );
            }
            return boot;
        }
        if record.taken.as_ref() == Some(&notes.digest) {
            boot.remove(&notes.files);
            return boot;
        }
        if let (Some(member), Some(token)) = (&member, &notes.join)
            && member.fleet_key != token.fleet_key
        {
            boot.trouble(&format!(
                "This board is node {} of another fleet already and stays there. To move it to \
                 the fleet of this token, delete {} on the board.",
                member.node,
                store.dir().display()
            ));
            return boot;
        }
        info!(dir = %dir.display(), files = notes.files.len(), "first boot: taking in");
        let parsed = |token: &JoinToken| crate::config::JoinToken::parse(&token.encode()).ok();
        if let Some(token) = notes.join.as_ref().and_then(parsed) {
            config.join = Some(JoinSource::Token(token));
        }
        if let Some(name) = notes.name.filter(|_| member.is_none()) {
            config.name = name;
        }
        let mut labels = record.labels;
        if let Some(new) = notes.labels {
            for old in labels.keys().filter(|key| !new.contains_key(*key)) {
                config.labels.remove(old);
            }
            config.labels.extend(new.clone());
            labels = new;
        }
        let taken = Some(notes.digest);
        boot.pending = Some((Record { taken, labels }, notes.files));
        boot
    }

    /// The board is a node: what was taken in goes.
    pub(super) fn joined(&mut self, store: &Store) {
        let Some(dir) = self.dir.clone() else {
            return;
        };
        if let Some((record, files)) = self.pending.take() {
            // First of all: files that are gone without it would have been taken in by halves.
            if let Err(error) = store.keep_first_boot(&record) {
                let error = chain(&error);
                warn!(
                    error,
                    "first boot: cannot be kept, its files are read again"
                );
                return;
            }
            self.remove(&files);
            info!("first boot: done");
            let _ = Card::open(&dir).and_then(|card| card.remove(ERROR_FILE));
        }
    }

    /// Removes files whose content was taken in.
    fn remove(&self, files: &[String]) {
        let Some(dir) = &self.dir else {
            return;
        };
        for name in files {
            match Card::open(dir).and_then(|card| card.shred(name)) {
                Ok(Shredded::Gone) => {}
                Ok(Shredded::Elsewhere) => warn!(
                    path = %dir.join(name).display(),
                    "first boot: the file was removed here and not overwritten: the same file has \
                     another name elsewhere"
                ),
                Err(error) => warn!(
                    path = %dir.join(name).display(),
                    %error,
                    "first boot: the file cannot be removed; it is not taken in again, and whoever \
                     has the card can read it"
                ),
            }
        }
    }

    /// Joining has not worked for some time.
    pub(super) fn waits(&self, why: &str) {
        if self.pending.is_some() && self.began.elapsed() >= PATIENCE {
            self.note(&format!(
                "The board cannot reach the controller yet and goes on trying: {why}. Is it in \
                 the network (Wi-Fi is set up by the system of the board, not by this directory)?"
            ));
        }
    }

    /// Joining was refused. What is wrong with the files themselves says more, if anything is.
    pub(super) fn refused(&self, why: &str) {
        let nothing_said = self.pending.is_some() || self.said_nothing();
        if nothing_said {
            self.trouble(&format!("{why}."));
        }
    }

    fn said_nothing(&self) -> bool {
        let said = self.said.lock();
        said.unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_empty()
    }

    /// Something is wrong: into the log and beside the files.
    pub(super) fn trouble(&self, why: &str) {
        if self.dir.is_some() {
            error!(why, "first boot");
            self.note(why);
        }
    }

    /// Written only when it is something new: this is a memory card.
    fn note(&self, why: &str) {
        let Some(dir) = &self.dir else {
            return;
        };
        let mut said = self
            .said
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *said == why {
            return;
        }
        why.clone_into(&mut said);
        // Line ends that every editor knows.
        let text = format!(
            "{why}\r\n\r\nThis file was written by fleetctl on the board. Put it right, put the \
             card back, and start the board again.\r\n"
        );
        let written = Card::open(dir).and_then(|card| {
            let there = card.read(ERROR_FILE);
            if there.is_ok_and(|there| there == text.as_bytes()) {
                return Ok(());
            }
            card.write(ERROR_FILE, ERROR_BESIDE, &text)
        });
        if let Err(error) = written {
            let path = dir.join(ERROR_FILE);
            warn!(path = %path.display(), %error, "first boot: the error cannot be written there");
        }
    }
}

/// There is such a directory. One that is a link is said to be one, and left alone.
fn is_there(dir: &Path) -> bool {
    let Err(error) = Card::open(dir) else {
        return true;
    };
    if dir.is_symlink() {
        warn!(
            dir = %dir.display(),
            "first boot: this is a link and not followed; make it a directory"
        );
        return false;
    }
    // One that is there and cannot be read is said to be so.
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    !absent.contains(&error.kind())
}

/// Reads the directory; `Err`: all that is wrong, for a person.
fn read(dir: &Path, own: &str) -> Result<Notes, String> {
    let unreadable = |error: io::Error| format!("This directory cannot be read: {error}.");
    let mut found: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    let mut troubles = Vec::new();
    let card = Card::open(dir).map_err(unreadable)?;
    for name in card.names().map_err(unreadable)? {
        found.entry(text::kind(&name)).or_default().push(name);
    }
    for unknown in found.get(&Kind::Unknown).into_iter().flatten() {
        if unknown != ERROR_BESIDE {
            troubles.push(format!(
                "`{}` means nothing here: the files are called join, name and labels.",
                shown(unknown)
            ));
        }
    }
    let mut notes = Notes::default();
    let mut content = Vec::new();
    for kind in [Kind::Join, Kind::Name, Kind::Labels] {
        let names = found.remove(&kind).unwrap_or_default();
        let name = match &names[..] {
            [] => continue,
            [name] => name,
            [one, other, ..] => {
                troubles.push(format!(
                    "`{one}` and `{other}` mean the same: keep one of them."
                ));
                continue;
            }
        };
        let bytes = match card.read(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                troubles.push(format!("`{name}` cannot be read: {error}."));
                continue;
            }
        };
        content.extend_from_slice(format!("{kind:?} {}\n", bytes.len()).as_bytes());
        content.extend_from_slice(&bytes);
        let text = text::decode(&bytes);
        let read = match kind {
            Kind::Join => text::token(&text).map(|token| notes.join = Some(token)),
            Kind::Name => text::name(&text, own).map(|name| notes.name = Some(name)),
            _ => text::labels(&text).map(|labels| notes.labels = Some(labels)),
        };
        if let Err(why) = read {
            troubles.push(format!("In `{name}`: {why}."));
        }
        notes.files.push(name.clone());
    }
    if !troubles.is_empty() {
        return Err(troubles.join("\r\n"));
    }
    notes.digest = identity::sha256_hex(&content);
    Ok(notes)
}

/// Six digits that no other board has: of its serial number, else of the system's id.
fn own_digits() -> String {
    let serial = std::fs::read_to_string("/proc/device-tree/serial-number");
    let id = serial.or_else(|_| std::fs::read_to_string("/etc/machine-id"));
    let mut hex = identity::sha256_hex(id.unwrap_or_default().trim().as_bytes());
    hex.truncate(6);
    hex
}

#[cfg(test)]
mod tests;
