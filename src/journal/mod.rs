//! The durable order of entries.
//!
//! [`crate::fleet`] decides; a journal only keeps. An entry is durable once [`Journal::append`]
//! has returned: then, and not before, its effects may leave the controller. A snapshot is the
//! whole state after a known entry, so that a start reads one document and the few entries since.
//!
//! The interface is what later journals (another database, a log that several controllers agree
//! on) implement; nothing in `fleet` knows which one there is.

#[cfg(test)]
mod golden;
mod sqlite;

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
    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError>;

    /// Keeps the whole state, so that the entries before it need not be read again. `fleet` must
    /// be the state after the last entry that was appended.
    ///
    /// # Errors
    /// [`JournalError`]; the entries stay, nothing is lost.
    fn snapshot(&mut self, fleet: &Fleet) -> Result<(), JournalError>;

    /// Entries since the last snapshot.
    fn entries_since_snapshot(&self) -> u64;

    /// The audit trail, newest first: `limit` lines before the line `before` (0: the newest).
    ///
    /// # Errors
    /// [`JournalError`].
    fn audit(&mut self, before: u64, limit: u32) -> Result<Vec<AuditLine>, JournalError>;
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
