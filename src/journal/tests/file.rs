//! The trail in the journal's file.

use super::{maps, names};
use crate::{
    fleet::{Actor, Change, Entry, Fleet, TokenGrant},
    identity::Role,
    journal::{
        Journal, JournalError, Recorded, SqliteJournal, Verdict, Verifier, fault_of, trail::Keep,
        trouble_at_the_end,
    },
};
use rusqlite::Connection;
use std::path::Path;

fn entry(n: u64, by: Option<&str>) -> Entry {
    let actor = |token: &str| Actor {
        token: token.into(),
        role: Role::Admin,
        from: "test".into(),
        trace: None,
    };
    Entry {
        at_ms: n,
        by: by.map(actor),
        change: Change::TokenCreated {
            id: format!("t{n}"),
            name: "x".into(),
            grant: TokenGrant::Join,
            expires_ms: 0,
            uses: None,
        },
    }
}

fn recorded(n: u64) -> Recorded {
    Recorded {
        entry: entry(n, Some("ann")),
        changes: Some(format!("token t{n}\n+ kind = \"join\"\n")),
    }
}

/// The whole trail, page by page.
fn looked_at(journal: &mut SqliteJournal) -> Verdict {
    let mut page = journal.trail(0, 7).unwrap();
    let mut verifier = Verifier::new(page.anchor.clone(), None);
    while let Some(last) = page.lines.last().map(|l| l.id) {
        maps(&page.lines)
            .iter()
            .for_each(|line| verifier.take(line));
        page = journal.trail(last, 7).unwrap();
    }
    verifier.finish(&page.head)
}

fn whole(journal: &mut SqliteJournal, lines: u64) -> Verdict {
    let verdict = looked_at(journal);
    assert!(verdict.ok, "{:?}", verdict.faults);
    assert_eq!(verdict.lines, lines);
    verdict
}

#[test]
fn what_people_do_is_chained_over_restarts_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    for round in 0..3u64 {
        let mut journal = SqliteJournal::open(&path).unwrap();
        for n in 0..10 {
            let nobody = Recorded::from(entry(round * 100 + 50 + n, None));
            journal
                .append(&[recorded(round * 100 + n), nobody])
                .unwrap();
        }
        whole(&mut journal, (round + 1) * 10);
    }
    let mut journal = SqliteJournal::open(&path).unwrap();
    let page = journal.audit(0, 1).unwrap();
    let newest = &page.lines[0];
    assert_eq!((newest.id, page.more), (30, Some(30)));
    assert_eq!(
        newest.changes.as_deref(),
        Some("token t209\n+ kind = \"join\"\n")
    );
    assert_eq!(newest.hash, journal.trail(29, 1).unwrap().head.hash);
    assert_eq!(journal.audit(1, 10).unwrap().more, None);
}

#[test]
fn the_old_end_is_cut_and_the_chain_begins_with_its_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = SqliteJournal::open(&path).unwrap().keeping(Keep {
        lines: 10,
        bytes: 64 << 20,
    });
    let mut fleet = Fleet::new();
    for n in 0..25 {
        fleet.apply(&entry(n, Some("ann"))).unwrap();
        journal.append(&[recorded(n)]).unwrap();
    }
    let before = whole(&mut journal, 25);
    journal.snapshot(&fleet).unwrap();
    let after = whole(&mut journal, 10);
    assert_eq!(after.anchor.id, 15);
    assert_eq!(after.head, before.head);
    assert_eq!(
        journal.trail(0, 1).unwrap().lines[0].prev,
        after.anchor.hash
    );
    drop(journal);
    // The anchor is kept, and what is taken away after it is missed.
    let other = Connection::open(&path).unwrap();
    other
        .execute("DELETE FROM audit WHERE id = 16", [])
        .unwrap();
    drop(other);
    let mut journal = SqliteJournal::open(&path).unwrap();
    names(&looked_at(&mut journal), 16, "missing");
}

#[test]
fn long_lines_are_cut_away_by_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = SqliteJournal::open(&path).unwrap().keeping(Keep {
        lines: 100_000,
        bytes: 100_000,
    });
    let mut fleet = Fleet::new();
    for n in 0..40 {
        fleet.apply(&entry(n, Some("ann"))).unwrap();
        let long = Recorded {
            changes: Some("x".repeat(10_000)),
            ..recorded(n)
        };
        journal.append(&[long]).unwrap();
    }
    // Each page is bounded by its bytes as well; looked at before and after.
    whole(&mut journal, 40);
    journal.snapshot(&fleet).unwrap();
    assert_eq!(whole(&mut journal, 10).anchor.id, 30);
}

#[test]
fn a_page_is_bounded_by_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(&dir.path().join("journal.db")).unwrap();
    let all: Vec<Recorded> = (0..300)
        .map(|n| Recorded {
            changes: Some("x".repeat(16 * 1024)),
            ..recorded(n)
        })
        .collect();
    journal.append(&all).unwrap();
    let page = journal.trail(0, 1_000).unwrap();
    assert!((60..70).contains(&page.lines.len()), "{}", page.lines.len());
    let page = journal.audit(0, 1_000).unwrap();
    assert!((60..70).contains(&page.lines.len()), "{}", page.lines.len());
    whole(&mut journal, 300);
}

/// A file as the version before wrote it, with `lines` lines of which the first `cut` are gone.
fn older_file(path: &Path, lines: u64, cut: u64) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(
        "CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
         CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), entry INTEGER NOT NULL,
                                body TEXT NOT NULL);
         CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
                             by TEXT NOT NULL, what TEXT NOT NULL);
         PRAGMA user_version = 2;",
    )
    .unwrap();
    for n in 1..=lines {
        let by = r#"{"token":"ann","role":"admin","from":"192.0.2.1"}"#;
        old.execute(
            "INSERT INTO audit (at, by, what) VALUES (?1, ?2, ?3)",
            (n as i64, by, format!("labelled node pi-{n}")),
        )
        .unwrap();
    }
    old.execute("DELETE FROM audit WHERE id <= ?1", [cut as i64])
        .unwrap();
}

#[test]
fn an_older_file_is_chained_as_it_is_found() {
    for (lines, cut) in [(0, 0), (5, 0), (2_500, 0), (2_500, 100), (5, 5)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        older_file(&path, lines, cut);
        let mut journal = SqliteJournal::open(&path).unwrap();
        assert_eq!(whole(&mut journal, lines - cut).anchor.id, cut);
        journal.append(&[recorded(1)]).unwrap();
        assert_eq!(whole(&mut journal, lines - cut + 1).head.id, lines + 1);
        drop(journal);
        let mut journal = SqliteJournal::open(&path).unwrap();
        whole(&mut journal, lines - cut + 1);
        let version: i64 = Connection::open_in_memory()
            .and_then(|_| {
                drop(journal);
                Connection::open(&path)?.query_row("PRAGMA user_version", [], |r| r.get(0))
            })
            .unwrap();
        // By this an older fleetctl knows that it is not for it, and says so.
        assert_eq!(version, 4);
    }
}

#[test]
fn what_somebody_does_to_the_file_is_named_and_stops_no_controller() {
    let table: &[(&str, u64, &str)] = &[
        (
            "UPDATE audit SET what = 'nothing' WHERE id = 4",
            4,
            "altered",
        ),
        ("UPDATE audit SET changes = NULL WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET by = 'x' WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET at = 1 WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET at = 'now' WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET hash = x'ff00' WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET what = x'ff' WHERE id = 4", 4, "altered"),
        ("UPDATE audit SET hash = prev WHERE id = 4", 4, "altered"),
        ("DELETE FROM audit WHERE id = 4", 4, "missing"),
        (
            "DELETE FROM audit WHERE id < 4",
            1,
            "lines 1 to 3 are missing",
        ),
        (
            "DELETE FROM audit WHERE id > 7",
            8,
            "lines 8 to 10 are missing",
        ),
        ("UPDATE audit SET id = 99 WHERE id = 4", 4, "missing"),
        (
            "INSERT INTO audit (id, at, by, what) VALUES (11, 1, '{}', 'x')",
            11,
            "altered",
        ),
        ("DELETE FROM audit_chain", 1, "was added"),
    ];
    for (statement, line, word) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let mut journal = SqliteJournal::open(&path).unwrap();
        for n in 1..=10 {
            journal.append(&[recorded(n)]).unwrap();
        }
        drop(journal);
        Connection::open(&path)
            .unwrap()
            .execute(statement, [])
            .unwrap();
        let mut journal = SqliteJournal::open(&path).unwrap();
        names(&looked_at(&mut journal), *line, word);
        // Whoever starts on it, or looks at its newest lines, is told too; not of the old end, where
        // only the whole trail tells.
        let old_end = statement.ends_with("id < 4");
        let trouble = trouble_at_the_end(&mut journal);
        assert_eq!(trouble.is_none(), old_end, "{statement}: {trouble:?}");
        let page = journal.audit(0, 1_000).unwrap();
        let faults = page.faults(Some(&page.head));
        let shown = page.shown(&faults);
        let told = shown.iter().any(|line| line.fault.is_some());
        assert_eq!(told, !old_end, "{statement}");
        // What follows is kept all the same, and what was done still shows.
        journal.append(&[recorded(20)]).unwrap();
        assert!(!looked_at(&mut journal).ok, "{statement}");
    }
}

#[test]
fn what_could_not_be_kept_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(&dir.path().join("journal.db")).unwrap();
    journal.append(&[recorded(1)]).unwrap();
    // No page more than the file has.
    journal.bound_pages(1);
    let long = Recorded {
        changes: Some("x".repeat(1 << 20)),
        ..recorded(2)
    };
    let refused = journal.append(&[recorded(3), long]);
    assert!(
        matches!(refused, Err(JournalError::Full { .. })),
        "{refused:?}"
    );
    journal.bound_pages(1 << 20);
    whole(&mut journal, 1);
    journal.append(&[recorded(4)]).unwrap();
    assert_eq!(whole(&mut journal, 2).head.id, 2);
}

#[test]
fn pages_of_a_whole_trail_have_no_fault_and_a_broken_link_between_two_of_them_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = SqliteJournal::open(&path).unwrap();
    assert_eq!(trouble_at_the_end(&mut journal), None, "an empty one");
    for n in 1..=10 {
        journal.append(&[recorded(n)]).unwrap();
    }
    let paged = |journal: &mut SqliteJournal| {
        let (mut before, mut end, mut all) = (0, None, Vec::new());
        loop {
            let page = journal.audit(before, 4).unwrap();
            let expected = end.take().unwrap_or_else(|| page.head.clone());
            all.extend(page.faults(Some(&expected)));
            let Some(next) = page.expects() else {
                return all;
            };
            (before, end) = (page.more.unwrap(), Some(next));
        }
    };
    assert_eq!(paged(&mut journal), []);
    assert_eq!(trouble_at_the_end(&mut journal), None);
    let lone = journal.audit(5, 1).unwrap();
    assert_eq!(lone.faults(None), []);
    assert_eq!(fault_of(&lone.lines[0]), None);
    for (statement, line, word) in [
        ("DELETE FROM audit WHERE id = 6", 6, "line 6 is missing"),
        (
            "DELETE FROM audit WHERE id < 3",
            1,
            "lines 1 to 2 are missing",
        ),
        (
            "UPDATE audit SET what = 'x' WHERE id = 7",
            7,
            "line 7 was altered",
        ),
    ] {
        drop(journal);
        Connection::open(&path)
            .unwrap()
            .execute(statement, [])
            .unwrap();
        journal = SqliteJournal::open(&path).unwrap();
        let faults = paged(&mut journal);
        let named = faults
            .iter()
            .any(|f| f.line == line && f.what.starts_with(word));
        assert!(named, "{statement}: {faults:?}");
    }
    let altered = journal.audit(8, 1).unwrap();
    assert!(
        fault_of(&altered.lines[0])
            .unwrap()
            .what
            .contains("line 7 was altered")
    );
}
