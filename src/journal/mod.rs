//! The durable order of entries.
//!
//! [`crate::fleet`] decides; a journal only keeps. An entry is durable once [`Journal::append`]
//! has returned: then, and not before, its effects may leave the controller. A snapshot is the
//! whole state after a known entry, so that a start reads one document and the few entries since.
//!
//! The interface is what later journals (another database, a log that several controllers agree
//! on) implement; nothing in `fleet` knows which one there is.

mod chain;
mod export;
#[cfg(test)]
mod golden;
mod part;
mod sqlite;
#[cfg(test)]
mod tests;
mod trail;

pub use chain::{Fault, Link, NO_HASH, Noted, TrailLine, Verdict, Verifier, hash_of};
pub use export::{ExportEnd, ExportHead, ExportReader, NotAnExport, json_line};
pub use part::{fault_of, trouble_at_the_end};
pub use sqlite::SqliteJournal;

use crate::fleet::{Actor, Entry, Fleet};
use crate::model::UnixMs;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A place where entries are kept.
pub trait Journal: Send {
    /// The fleet as it was when the last append returned.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was changed.
    fn load(&mut self) -> Result<Fleet, JournalError>;

    /// Keeps `entries`, all or none, durably. One commit for all of them.
    ///
    /// # Errors
    /// [`JournalError`]; then none of them is kept.
    fn append(&mut self, entries: &[Recorded]) -> Result<(), JournalError>;

    /// Keeps the whole state, so that the entries before it need not be read again. `fleet` must
    /// be the state after the last entry that was appended.
    ///
    /// # Errors
    /// [`JournalError`]; the entries stay, nothing is lost.
    fn snapshot(&mut self, fleet: &Fleet) -> Result<(), JournalError>;

    /// Entries since the last snapshot.
    fn entries_since_snapshot(&self) -> u64;

    /// The audit trail, newest first: at most `limit` lines before the line `before` (0: the
    /// newest), and no more than about 1 MiB of them.
    ///
    /// # Errors
    /// [`JournalError`].
    fn audit(&mut self, before: u64, limit: u32) -> Result<AuditPage, JournalError>;

    /// The audit trail as it is kept, oldest first: lines after the line `after`, in the same
    /// bounds.
    ///
    /// # Errors
    /// [`JournalError`].
    fn trail(&mut self, after: u64, limit: u32) -> Result<Trail, JournalError>;
}

/// An entry, and what the audit trail says of it beside its summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The entry.
    pub entry: Entry,
    /// What it changed, field by field ([`Fleet::what_changes`]); only where a person made it.
    pub changes: Option<String>,
}

impl From<Entry> for Recorded {
    fn from(entry: Entry) -> Recorded {
        Recorded {
            entry,
            changes: None,
        }
    }
}

/// One change that a person made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Its number; grows.
    pub id: u64,
    /// When, controller's clock.
    pub at: UnixMs,
    /// Who, and from where.
    pub by: Actor,
    /// What, in words.
    pub what: String,
    /// What differs by it, field by field: lines that begin with `-` or `+` below what they are
    /// about, as in `workload web`. Lines of before 0.3 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// Of the chain up to here; 64 hex digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// What is wrong with it, or with what should be before it; one sentence. It is no part of the
    /// trail: it is found out when somebody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Lines of the audit trail as they are kept, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The line before the oldest that is kept.
    pub anchor: Link,
    /// The newest line, as the trail says of itself.
    pub head: Link,
    /// The lines.
    pub lines: Vec<TrailLine>,
    /// There are older ones: before this line.
    pub more: Option<u64>,
}

/// A part of the audit trail as it is kept, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    /// The line before the oldest that is kept.
    pub anchor: Link,
    /// The newest line.
    pub head: Link,
    /// The lines; none: there are no more.
    pub lines: Vec<TrailLine>,
}

/// The journal could not do it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No room.
    #[error("the disk that holds {path} is full; free some space, and changes are taken again")]
    Full {
        /// The journal's file.
        path: String,
    },
    /// The file is not what was written.
    #[error(
        "the journal {path} is damaged ({what}); restore it from a backup, or move it away to \
         start with an empty fleet (nodes must then join again). Running workloads go on meanwhile"
    )]
    Damaged {
        /// The journal's file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A newer fleetctl wrote it.
    #[error(
        "the journal {path} was written by a newer fleetctl (schema {found}, this one reads up to \
         {known}); install that version again"
    )]
    Newer {
        /// The journal's file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest one that is understood.
        known: i64,
    },
    /// Another controller uses it.
    #[error("the journal {path} is in use by another controller")]
    InUse {
        /// The journal's file.
        path: String,
    },
    /// Anything else.
    #[error("cannot use the journal {path}: {what}")]
    Failed {
        /// The journal's file.
        path: String,
        /// What is wrong.
        what: String,
    },
}
