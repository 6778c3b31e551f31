//! The audit trail's tables: lines are only added, chained ([`super::chain`]), and cut away at the
//! old end.
//!
//! The hash of the last line that was cut away is kept as the anchor, so that the old end is not
//! taken for a gap; the number and hash of the newest line are kept beside the lines, so that a
//! missing new end shows.

use super::{
    AuditPage, Recorded, Trail,
    chain::{Link, NO_HASH, TrailLine},
};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use serde_json::Value;

/// From a trail that is not chained to one that is; [`chain_older`] fills it.
pub(super) const SCHEMA: &str = "
    ALTER TABLE audit ADD COLUMN changes TEXT;
    ALTER TABLE audit ADD COLUMN prev TEXT NOT NULL DEFAULT '';
    ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
    CREATE TABLE audit_chain (id INTEGER PRIMARY KEY CHECK (id = 1),
                              anchor INTEGER NOT NULL, anchor_hash TEXT NOT NULL,
                              head INTEGER NOT NULL, head_hash TEXT NOT NULL);";

/// Bytes of the lines of one page, about: the thread that writes reads them meanwhile.
const PAGE_BYTES: usize = 1 << 20;
/// Lines of one page.
const PAGE_LINES: u32 = 1_000;

const COLUMNS: &str = "id, at, by, what, changes, prev, hash";

/// How much of the trail is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Lines.
    pub(super) lines: i64,
    /// Bytes of what they say that was changed.
    pub(super) bytes: i64,
}

impl Default for Keep {
    fn default() -> Self {
        Keep {
            lines: 100_000,
            bytes: 64 << 20,
        }
    }
}

/// SQLite knows signed numbers only.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What the trail says of an entry; `None`: no person made it.
pub(super) fn line(recorded: &Recorded, head: &Link) -> Option<TrailLine> {
    let by = recorded.entry.by.as_ref()?;
    let line = TrailLine {
        id: head.id + 1,
        at: recorded.entry.at_ms,
        by: serde_json::to_value(by).unwrap_or_default(),
        what: recorded.entry.change.summary(),
        changes: recorded.changes.clone(),
        prev: String::new(),
        hash: String::new(),
    };
    Some(line.chained_to(&head.hash))
}

/// Adds a line.
pub(super) fn keep(connection: &Connection, line: &TrailLine) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO audit (id, at, by, what, changes, prev, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let by = line.by.to_string();
    let (id, at) = (signed(line.id), signed(line.at));
    let TrailLine {
        what,
        changes,
        prev,
        hash,
        ..
    } = line;
    insert.execute(params![id, at, by, what, changes, prev, hash])?;
    Ok(())
}

/// The newest line is this one.
pub(super) fn set_head(connection: &Connection, head: &Link) -> rusqlite::Result<()> {
    let mut set = connection
        .prepare_cached("UPDATE audit_chain SET head = ?1, head_hash = ?2 WHERE id = 1")?;
    set.execute(params![signed(head.id), head.hash])?;
    Ok(())
}

/// Where the trail begins and ends, as it says itself.
fn ends(connection: &Connection) -> rusqlite::Result<(Link, Link)> {
    let mut read = connection
        .prepare_cached("SELECT anchor, anchor_hash, head, head_hash FROM audit_chain")?;
    let link = |row: &Row<'_>, at: usize| -> rusqlite::Result<Link> {
        Ok(Link {
            id: row.get::<_, i64>(at)?.unsigned_abs(),
            hash: row.get(at + 1)?,
        })
    };
    let found = read.query_row([], |row| Ok((link(row, 0)?, link(row, 2)?)));
    // Without that row somebody took it away. The controller goes on; the trail shows it.
    let unknown = || (Link::unknown(0), Link::unknown(0));
    Ok(found.optional()?.unwrap_or_else(unknown))
}

/// What the next line follows.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Link> {
    connection.execute(
        "INSERT OR IGNORE INTO audit_chain VALUES (1, 0, ?1, 0, ?1)",
        params![NO_HASH],
    )?;
    let (_, head) = ends(connection)?;
    let last: Option<i64> =
        connection.query_row("SELECT max(id) FROM audit", [], |row| row.get(0))?;
    // What somebody else added keeps its number; it is no reason to refuse every change.
    let id = head.id.max(last.unwrap_or(0).unsigned_abs());
    Ok(Link { id, ..head })
}

/// Chains the lines that were written before there was a chain, as they are found.
pub(super) fn chain_older(connection: &Connection) -> rusqlite::Result<()> {
    let sequence = "SELECT seq FROM sqlite_sequence WHERE name = 'audit'";
    let last: Option<i64> = connection
        .query_row(sequence, [], |row| row.get(0))
        .optional()?;
    let first: Option<i64> =
        connection.query_row("SELECT min(id) FROM audit", [], |row| row.get(0))?;
    let before = first.map_or(last.unwrap_or(0), |first| first - 1);
    let anchor = Link::unknown(before.unsigned_abs());
    let mut head = anchor.clone();
    loop {
        let page = lines(
            connection,
            "id > ?1 ORDER BY id",
            signed(head.id),
            PAGE_LINES,
        )?;
        if page.is_empty() {
            break;
        }
        for line in page {
            let line = line.chained_to(&head.hash);
            let mut set =
                connection.prepare_cached("UPDATE audit SET prev = ?2, hash = ?3 WHERE id = ?1")?;
            set.execute(params![signed(line.id), line.prev, line.hash])?;
            head = line.link();
        }
    }
    let (from, to) = (signed(anchor.id), signed(head.id));
    connection.execute(
        "INSERT INTO audit_chain VALUES (1, ?1, ?2, ?3, ?4)",
        params![from, anchor.hash, to, head.hash],
    )?;
    Ok(())
}

/// Cuts away what is more than is kept.
pub(super) fn cut(connection: &Connection, keep: Keep) -> rusqlite::Result<()> {
    let last: Option<i64> =
        connection.query_row("SELECT max(id) FROM audit", [], |row| row.get(0))?;
    let Some(last) = last else { return Ok(()) };
    let mut up_to = last.saturating_sub(keep.lines);
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let size: i64 = connection.query_row(size, [], |row| row.get(0))?;
    if size > keep.bytes {
        up_to = up_to.max(too_much(connection, up_to, keep.bytes)?);
    }
    let anchor: Option<(i64, String)> = connection
        .query_row(
            "SELECT id, hash FROM audit WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
            params![up_to],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((id, hash)) = anchor else {
        return Ok(());
    };
    connection.execute("DELETE FROM audit WHERE id <= ?1", params![id])?;
    connection.execute(
        "UPDATE audit_chain SET anchor = ?1, anchor_hash = ?2",
        params![id, hash],
    )?;
    Ok(())
}

/// Up to which line too many bytes are kept; `after` where it is not too much.
fn too_much(connection: &Connection, after: i64, bytes: i64) -> rusqlite::Result<i64> {
    let mut sizes = connection.prepare_cached(
        "SELECT id, coalesce(octet_length(changes), 0) FROM audit WHERE id > ?1 ORDER BY id DESC",
    )?;
    let mut rows = sizes.query(params![after])?;
    let mut left = bytes;
    while let Some(row) = rows.next()? {
        left -= row.get::<_, i64>(1)?;
        if left < 0 {
            return row.get(0);
        }
    }
    Ok(after)
}

/// A column that is to be text. Somebody may have written something else there: that is not what was
/// hashed, so the line shows as altered, and the others can still be read.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("({})", other.data_type()),
    })
}

/// A column that is to be a number.
fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        _ => 0,
    })
}

/// A page of lines.
fn lines(
    connection: &Connection,
    which: &str,
    place: i64,
    limit: u32,
) -> rusqlite::Result<Vec<TrailLine>> {
    let mut read = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM audit WHERE {which} LIMIT ?2"
    ))?;
    let mut rows = read.query(params![place, limit.min(PAGE_LINES)])?;
    let mut out = Vec::new();
    let mut bytes = 0;
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let by = text(row, 2)?;
        let line = TrailLine {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            at: whole(row, 1)?.unsigned_abs(),
            by: serde_json::from_str(&by).unwrap_or(Value::String(by)),
            what: text(row, 3)?,
            changes: match row.get_ref(4)? {
                ValueRef::Null => None,
                _ => Some(text(row, 4)?),
            },
            prev: text(row, 5)?,
            hash: text(row, 6)?,
        };
        bytes += line.what.len() + line.changes.as_ref().map_or(0, String::len) + 300;
        out.push(line);
    }
    Ok(out)
}

pub(super) fn oldest_first(
    connection: &Connection,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Trail> {
    let (anchor, head) = ends(connection)?;
    let lines = lines(connection, "id > ?1 ORDER BY id", signed(after), limit)?;
    Ok(Trail {
        anchor,
        head,
        lines,
    })
}

pub(super) fn newest_first(
    connection: &Connection,
    before: u64,
    limit: u32,
) -> rusqlite::Result<AuditPage> {
    let (anchor, head) = ends(connection)?;
    let before = match before {
        0 => i64::MAX,
        before => signed(before),
    };
    let found = lines(connection, "id < ?1 ORDER BY id DESC", before, limit)?;
    let more = found.last().map(|line| line.id);
    Ok(AuditPage {
        anchor,
        head,
        lines: found,
        more,
    })
}
