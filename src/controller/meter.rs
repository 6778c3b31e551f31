//! What the controller counts of its own work, for `/metrics`. Who counts never waits; who reads
//! gets each number as it is at that moment.

use crate::{contract::Kind, support::Durations};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How a command to a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// The node did it.
    Done,
    /// The node tried, or would not.
    Failed,
    /// The node said nothing in time.
    Unanswered,
    /// It was not sent: the node, or the broker, is away.
    Unsent,
    /// The fleet refused it.
    Refused,
}

impl CommandEnd {
    /// All of them.
    pub const ALL: [CommandEnd; 5] = [
        CommandEnd::Done,
        CommandEnd::Failed,
        CommandEnd::Unanswered,
        CommandEnd::Unsent,
        CommandEnd::Refused,
    ];

    /// As in `/metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandEnd::Done => "done",
            CommandEnd::Failed => "failed",
            CommandEnd::Unanswered => "unanswered",
            CommandEnd::Unsent => "unsent",
            CommandEnd::Refused => "refused",
        }
    }
}

/// The counts of one controller, since it started.
#[derive(Debug, Default)]
pub struct Meter {
    /// How long commits took that were kept.
    pub commits: Durations,
    committed: AtomicU64,
    commit_failures: AtomicU64,
    snapshot_ms: AtomicU64,
    since_snapshot: AtomicU64,
    received: [AtomicU64; Kind::ALL.len()],
    received_bytes: AtomicU64,
    commands: [AtomicU64; CommandEnd::ALL.len()],
}

impl Meter {
    /// The journal was given so many entries: whether it kept them, and how long that took.
    pub fn commit(&self, entries: usize, kept: bool, took: Duration) {
        if kept {
            self.commits.observe(took);
            let entries = entries as u64;
            self.committed.fetch_add(entries, Ordering::Relaxed);
        } else {
            self.commit_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Entries that were kept.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Commits that the journal could not keep.
    pub fn commit_failures(&self) -> u64 {
        self.commit_failures.load(Ordering::Relaxed)
    }

    /// A snapshot was taken, at this time of the wall clock.
    pub fn snapshot(&self, at_ms: u64) {
        self.snapshot_ms.store(at_ms, Ordering::Relaxed);
    }

    /// When the last snapshot was taken since the start; `None`: not yet.
    pub fn snapshot_ms(&self) -> Option<u64> {
        Some(self.snapshot_ms.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Entries that the journal has beside its snapshot.
    pub fn set_since_snapshot(&self, entries: u64) {
        self.since_snapshot.store(entries, Ordering::Relaxed);
    }

    /// See [`Meter::set_since_snapshot`].
    pub fn since_snapshot(&self) -> u64 {
        self.since_snapshot.load(Ordering::Relaxed)
    }

    /// A message has come, which may still be refused.
    pub fn receive(&self, kind: Kind, bytes: usize) {
        if let Some(at) = Kind::ALL.iter().position(|k| *k == kind) {
            self.received[at].fetch_add(1, Ordering::Relaxed);
        }
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Messages that have come, by kind.
    pub fn received(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        let counts = self.received.iter().map(|c| c.load(Ordering::Relaxed));
        Kind::ALL.into_iter().zip(counts)
    }

    /// Bytes of their bodies.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// A command has ended.
    pub fn command(&self, end: CommandEnd) {
        self.commands[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Commands that have ended, by how.
    pub fn commands(&self) -> impl Iterator<Item = (CommandEnd, u64)> + '_ {
        let counts = self.commands.iter().map(|c| c.load(Ordering::Relaxed));
        CommandEnd::ALL.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_each_end_has_its_own_count() {
        let meter = Meter::default();
        for (times, kind) in Kind::ALL.into_iter().enumerate() {
            for _ in 0..times {
                meter.receive(kind, 10);
            }
        }
        for (times, (kind, count)) in meter.received().enumerate() {
            assert_eq!(count, times as u64, "{}", kind.as_str());
        }
        assert_eq!(meter.received_bytes(), 10 * (14 * 15 / 2));
        for (times, end) in CommandEnd::ALL.into_iter().enumerate() {
            for _ in 0..times {
                meter.command(end);
            }
        }
        for (times, (end, count)) in meter.commands().enumerate() {
            assert_eq!(count, times as u64, "{}", end.as_str());
        }
    }

    #[test]
    fn what_was_not_kept_is_no_commit() {
        let meter = Meter::default();
        meter.commit(3, true, Duration::from_millis(2));
        meter.commit(5, false, Duration::from_secs(9));
        assert_eq!((meter.committed(), meter.commit_failures()), (3, 1));
        let commits = meter.commits.read();
        assert_eq!((commits.count, commits.within[2]), (1, 1));
        assert_eq!(meter.snapshot_ms(), None);
        meter.snapshot(7);
        assert_eq!(meter.snapshot_ms(), Some(7));
    }
}
