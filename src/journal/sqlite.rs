//! The journal in one SQLite file: WAL, `synchronous=FULL`, one commit per batch.
//!
//! | table | holds |
//! |---|---|
//! | `entry(id, body)` | entries since the last snapshot, JSON |
//! | `snapshot(id, entry, body)` | one row: the state after entry `entry`, JSON |
//! | `audit(id, at, by, what, changes, prev, hash)` | what people did; the newest 100,000 lines |
//! | `audit_chain(…)` | one row: the line before the oldest that is kept, and the newest |
//!
//! `PRAGMA user_version` is the schema; [`MIGRATIONS`] lead from each to the next.

use super::{AuditPage, Journal, JournalError, Link, Recorded, Trail, trail};
use crate::fleet::{Entry, Fleet, Refusal};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Statements that lead from schema n to n+1. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
     CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), entry INTEGER NOT NULL,
                            body TEXT NOT NULL);
     CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
                         by TEXT NOT NULL, what TEXT NOT NULL);",
    // The same tables, with entries of rollouts, moves and differences that 0.1 cannot read: it is
    // to say that the file is newer, not that it is damaged.
    "-- 0.2",
    // What was written before is chained as it is found.
    trail::SCHEMA,
    // Entries of artifacts and of the agent itself, which an older release is to call newer.
    "-- 0.3",
];
/// The schema whose trail is chained.
const CHAINED: i64 = 3;

/// A journal in a file.
pub struct SqliteJournal {
    connection: Connection,
    path: PathBuf,
    since_snapshot: u64,
    /// The newest line of the audit trail.
    head: Link,
    /// Of the audit trail.
    keep: trail::Keep,
}

impl SqliteJournal {
    /// Opens `path`, making or migrating it as needed, and takes it for this process alone.
    ///
    /// # Errors
    /// [`JournalError`], with the path and what to do.
    pub fn open(path: &Path) -> Result<SqliteJournal, JournalError> {
        let fail = |e: rusqlite::Error| explain(path, &e);
        make_private(path)?;
        let mut connection = Connection::open(path).map_err(fail)?;
        connection
            .busy_timeout(Duration::from_secs(2))
            .map_err(fail)?;
        // An exclusive lock also keeps the WAL's index in memory instead of a shared file.
        connection
            .execute_batch(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 PRAGMA cache_size=-256; PRAGMA journal_size_limit=4194304;",
            )
            .map_err(fail)?;
        let check: String = connection
            .query_row("PRAGMA quick_check(1)", [], |r| r.get(0))
            .map_err(fail)?;
        if check != "ok" {
            return Err(JournalError::Damaged {
                path: path.display().to_string(),
                what: check,
            });
        }
        migrate(&mut connection, path)?;
        let head = trail::newest(&connection).map_err(fail)?;
        Ok(SqliteJournal {
            connection,
            path: path.to_owned(),
            since_snapshot: 0,
            head,
            keep: trail::Keep::default(),
        })
    }

    /// The same with other bounds of the audit trail.
    #[cfg(test)]
    pub(super) fn keeping(self, keep: trail::Keep) -> SqliteJournal {
        SqliteJournal { keep, ..self }
    }

    /// The file grows to no more pages than this, as on a disk that is full.
    #[cfg(test)]
    pub(super) fn bound_pages(&self, pages: u32) {
        let bound = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&bound, [], |_| Ok(())).unwrap();
    }

    fn damaged(&self, what: String) -> JournalError {
        JournalError::Damaged {
            path: self.path.display().to_string(),
            what,
        }
    }
}

/// Readable by its owner only; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), JournalError> {
    let mut options = OpenOptions::new();
    let made = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|e| JournalError::Failed {
        path: path.display().to_string(),
        what: e.to_string(),
    })
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let fail = |e: rusqlite::Error| explain(path, &e);
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |r| r.get(0))
        .map_err(fail)?;
    if found > known {
        return Err(JournalError::Newer {
            path: path.display().to_string(),
            found,
            known,
        });
    }
    for (step, sql) in MIGRATIONS
        .iter()
        .enumerate()
        .skip(usize::try_from(found).unwrap_or(0))
    {
        let transaction = connection.transaction().map_err(fail)?;
        transaction.execute_batch(sql).map_err(fail)?;
        if step as i64 + 1 == CHAINED {
            trail::chain_older(&transaction).map_err(fail)?;
        }
        transaction
            .pragma_update(None, "user_version", step as i64 + 1)
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(())
}

impl Journal for SqliteJournal {
    fn load(&mut self) -> Result<Fleet, JournalError> {
        let fail = |e: rusqlite::Error| explain(&self.path, &e);
        let snapshot: Option<(i64, String)> = self
            .connection
            .query_row("SELECT entry, body FROM snapshot", [], |r| {
                Ok((r.get(0)?, r.get(1)?))
            })
            .optional()
            .map_err(fail)?;
        let (after, mut fleet) = match snapshot {
            None => (0, Fleet::new()),
            Some((after, body)) => {
                let fleet = serde_json::from_str(&body)
                    .map_err(|e| self.damaged(format!("its snapshot: {e}")))?;
                (after, fleet)
            }
        };
        let mut statement = self
            .connection
            .prepare("SELECT id, body FROM entry WHERE id > ?1 ORDER BY id")
            .map_err(fail)?;
        let mut rows = statement.query(params![after]).map_err(fail)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(fail)? {
            let (id, body): (i64, String) = (row.get(0).map_err(fail)?, row.get(1).map_err(fail)?);
            let entry: Entry = serde_json::from_str(&body)
                .map_err(|e| self.damaged(format!("its entry {id}: {e}")))?;
            match fleet.apply(&entry) {
                // What an older version took and this one finds without effect is no damage.
                Ok(_) | Err(Refusal::Unchanged) => {}
                Err(e) => return Err(self.damaged(format!("its entry {id} does not apply: {e}"))),
            }
            count += 1;
        }
        drop(rows);
        drop(statement);
        self.since_snapshot = count;
        Ok(fleet)
    }

    fn append(&mut self, entries: &[Recorded]) -> Result<(), JournalError> {
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| explain(&path, &e);
        let mut head = self.head.clone();
        let transaction = self.connection.transaction().map_err(fail)?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO entry (body) VALUES (?1)")
                .map_err(fail)?;
            for recorded in entries {
                let body = serde_json::to_string(&recorded.entry);
                let body = body.map_err(|e| JournalError::Failed {
                    path: path.display().to_string(),
                    what: e.to_string(),
                })?;
                insert.execute(params![body]).map_err(fail)?;
                if let Some(line) = trail::line(recorded, &head) {
                    trail::keep(&transaction, &line).map_err(fail)?;
                    head = line.link();
                }
            }
        }
        if head != self.head {
            trail::set_head(&transaction, &head).map_err(fail)?;
        }
        transaction.commit().map_err(fail)?;
        // What was not kept is in no chain.
        self.head = head;
        self.since_snapshot += entries.len() as u64;
        Ok(())
    }

    fn snapshot(&mut self, fleet: &Fleet) -> Result<(), JournalError> {
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| explain(&path, &e);
        let body = serde_json::to_string(fleet).map_err(|e| JournalError::Failed {
            path: path.display().to_string(),
            what: e.to_string(),
        })?;
        let transaction = self.connection.transaction().map_err(fail)?;
        let last: i64 = transaction
            .query_row(
                "SELECT seq FROM sqlite_sequence WHERE name = 'entry'",
                [],
                |r| r.get(0),
            )
            .optional()
            .map_err(fail)?
            .unwrap_or(0);
        transaction
            .execute(
                "INSERT INTO snapshot (id, entry, body) VALUES (1, ?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET entry = excluded.entry, body = excluded.body",
                params![last, body],
            )
            .map_err(fail)?;
        transaction
            .execute("DELETE FROM entry WHERE id <= ?1", params![last])
            .map_err(fail)?;
        trail::cut(&transaction, self.keep).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        self.since_snapshot = 0;
        Ok(())
    }

    fn entries_since_snapshot(&self) -> u64 {
        self.since_snapshot
    }

    fn audit(&mut self, before: u64, limit: u32) -> Result<AuditPage, JournalError> {
        trail::newest_first(&self.connection, before, limit).map_err(|e| explain(&self.path, &e))
    }

    fn trail(&mut self, after: u64, limit: u32) -> Result<Trail, JournalError> {
        trail::oldest_first(&self.connection, after, limit).map_err(|e| explain(&self.path, &e))
    }
}

/// SQLite's word in ours.
fn explain(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.display().to_string();
    let what = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Damaged { path, what }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::InUse { path },
        _ => JournalError::Failed { path, what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Actor, Change, TokenGrant};
    use crate::identity::Role;

    fn token(n: u64) -> Entry {
        Entry {
            at_ms: n,
            by: Some(Actor {
                token: "admin".into(),
                role: Role::Admin,
                from: "test".into(),
                trace: None,
            }),
            change: Change::TokenCreated {
                id: format!("t{n}"),
                name: "x".into(),
                grant: TokenGrant::Join,
                expires_ms: 0,
                uses: None,
            },
        }
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let mut live = Fleet::new();
        for round in 0..3 {
            let mut journal = SqliteJournal::open(&path).unwrap();
            assert_eq!(journal.load().unwrap(), live);
            for n in 0..5 {
                let entry = token(round * 10 + n);
                live.apply(&entry).unwrap();
                journal.append(&[entry.into()]).unwrap();
            }
            if round == 1 {
                journal.snapshot(&live).unwrap();
                assert_eq!(journal.entries_since_snapshot(), 0);
            }
        }
        let mut journal = SqliteJournal::open(&path).unwrap();
        assert_eq!(journal.load().unwrap(), live);
        assert_eq!(journal.entries_since_snapshot(), 5);
        assert_eq!(journal.audit(0, 100).unwrap().lines.len(), 15);
        assert_eq!(
            journal.audit(0, 1).unwrap().lines[0].what,
            "created join token t24"
        );
    }

    #[test]
    fn a_second_controller_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let mut first = SqliteJournal::open(&path).unwrap();
        first.append(&[token(1).into()]).unwrap();
        assert!(matches!(
            SqliteJournal::open(&path),
            Err(JournalError::InUse { .. })
        ));
    }

    #[test]
    fn damage_and_the_future_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        std::fs::write(&path, vec![7u8; 8192]).unwrap();
        assert!(matches!(
            SqliteJournal::open(&path),
            Err(JournalError::Damaged { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        drop(SqliteJournal::open(&path).unwrap());
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        assert!(matches!(
            SqliteJournal::open(&path),
            Err(JournalError::Newer { found: 99, .. })
        ));
    }

    #[test]
    fn an_entry_that_is_not_one_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let mut journal = SqliteJournal::open(&path).unwrap();
        journal
            .connection
            .execute("INSERT INTO entry (body) VALUES ('{')", [])
            .unwrap();
        assert!(matches!(journal.load(), Err(JournalError::Damaged { .. })));
    }
}
