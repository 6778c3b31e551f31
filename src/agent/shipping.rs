//! Shipping: what instances write is published on `logs/{node}/{instance}` without being asked
//! for, where `cfg` says so.
//!
//! Each instance that runs is followed by one task, which gathers lines for as long as `cfg` says
//! and sends them in batches. It begins with what is written from the moment that shipping was
//! turned on. A cursor (the time of the last line that was handed over) is kept in memory for each
//! instance; it moves only when a batch is in the outbox, so that a task may be stopped at any
//! time and the next one goes on where it was. That is what happens without a connection: nobody
//! reads, nothing is held, and the instances' own logs keep what comes, as far as they reach.
//!
//! When an instance has ended, its task reads what is left and ends too. Batches go through
//! [`Bulk`]: an instance that writes faster than the network is waits, and costs neither memory
//! nor the messages of others.

use super::{bulk::Bulk, sender::Sender};
use crate::{
    contract::{Kind, Logs},
    model::{LogLine, LogQuery, LogShipping, Name},
    mqtt::Publisher,
    runtime::Runtime,
    support::clock,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time,
};

/// Lines of a batch.
const BATCH_LINES: usize = 500;
/// Bytes of a batch as JSON at which it is full: with one more line, however long and full of
/// control characters, it stays below the 256 KiB of the contract.
const BATCH_BYTES: usize = 96 * 1024;
/// Lines that a runtime may be ahead of its batch.
const AHEAD: usize = 16;
/// One follow; then the next one goes on from the cursor.
const FOLLOW_MS: u64 = 3_600_000;
/// Between two follows where the first one ended by itself: doubles while nothing comes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Instances that have ended and whose last lines are still owed.
const MAX_OWED: usize = 64;
/// Bounds of `interval_ms`, whatever the settings say.
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// An instance that runs, and where.
#[derive(Clone)]
pub(super) struct Place {
    /// Its workload, which is its name on this node.
    pub(super) instance: Name,
    /// What executes it.
    pub(super) runtime: Arc<dyn Runtime>,
    /// What that knows it by.
    pub(super) handle: String,
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        (&self.instance, self.runtime.kind(), &self.handle)
            == (&other.instance, other.runtime.kind(), &other.handle)
    }
}

/// The time of the last line that was handed over, by instance; nanoseconds.
type Cursors = Arc<Mutex<BTreeMap<Name, u64>>>;

/// Follows what runs; dropped, it stops.
pub(super) struct Shipping {
    bulk: Bulk,
    config: LogShipping,
    connected: bool,
    /// When shipping was turned on, nanoseconds on the wall clock.
    since_ns: u64,
    cursors: Cursors,
    follows: Vec<Follow>,
}

/// One instance that is followed, or whose last lines are owed.
struct Follow {
    place: Place,
    runs: watch::Sender<bool>,
    task: Option<AbortHandle>,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.rest();
    }
}

impl Follow {
    fn rest(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Everything was sent.
    fn is_over(&self) -> bool {
        !*self.runs.borrow() && self.task.as_ref().is_some_and(AbortHandle::is_finished)
    }
}

impl Shipping {
    /// Nothing is shipped yet.
    pub(super) fn new(sender: Arc<Sender>, publisher: Publisher) -> Shipping {
        Shipping {
            bulk: Bulk { sender, publisher },
            config: LogShipping::default(),
            connected: false,
            since_ns: 0,
            cursors: Cursors::default(),
            follows: Vec::new(),
        }
    }

    /// A session began (`true`) or ended.
    pub(super) fn connected(&mut self, connected: bool) {
        self.connected = connected;
        if !connected {
            self.follows.iter_mut().for_each(Follow::rest);
        }
        self.begin();
    }

    /// The settings in effect, and all instances that run. To be called when either may have
    /// changed; costs little when it has not.
    pub(super) fn update(&mut self, config: &LogShipping, running: &[Place]) {
        if self.config != *config {
            if config.enabled && !self.config.enabled {
                self.since_ns = clock::unix_ms().saturating_mul(1_000_000);
                self.lock().clear();
            }
            // What a task has gathered is read again by the next one.
            self.follows.iter_mut().for_each(Follow::rest);
            self.config = *config;
        }
        if !config.enabled {
            self.follows.clear();
            return;
        }
        self.follows.retain(|f| !f.is_over());
        for follow in &self.follows {
            let runs = running.contains(&follow.place);
            follow.runs.send_if_modified(|now| {
                let differs = *now != runs;
                *now = runs;
                differs
            });
        }
        for place in running {
            if !self.follows.iter().any(|f| f.place == *place) {
                self.follows.push(Follow {
                    place: place.clone(),
                    runs: watch::Sender::new(true),
                    task: None,
                });
            }
        }
        self.forget_the_oldest();
        self.begin();
    }

    /// What has ended is owed only up to a bound; and cursors are kept of what is followed.
    fn forget_the_oldest(&mut self) {
        let owed = self.follows.iter().filter(|f| !*f.runs.borrow()).count();
        let mut surplus = owed.saturating_sub(MAX_OWED);
        self.follows.retain(|f| {
            let gone = surplus > 0 && !*f.runs.borrow();
            surplus -= usize::from(gone);
            !gone
        });
        let mut cursors = self.lock();
        if cursors.len() > self.follows.len() + MAX_OWED {
            cursors.retain(|name, _| self.follows.iter().any(|f| f.place.instance == *name));
        }
    }

    /// Starts the tasks that are missing.
    fn begin(&mut self) {
        if !self.connected || !self.config.enabled {
            return;
        }
        let ms = self
            .config
            .interval_ms
            .clamp(*INTERVAL_MS.start(), *INTERVAL_MS.end());
        for at in 0..self.follows.len() {
            let follow = &self.follows[at];
            let works = follow.task.as_ref().is_some_and(|t| !t.is_finished());
            if works || follow.is_over() {
                continue;
            }
            let cursor = self.lock().get(&follow.place.instance).copied();
            let task = Task {
                place: follow.place.clone(),
                runs: follow.runs.subscribe(),
                cursor: cursor.unwrap_or(0).max(self.since_ns),
                cursors: self.cursors.clone(),
                gather: Duration::from_millis(ms),
                bulk: self.bulk.clone(),
            };
            self.follows[at].task = Some(tokio::spawn(task.run()).abort_handle());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, u64>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    place: Place,
    runs: watch::Receiver<bool>,
    cursor: u64,
    cursors: Cursors,
    gather: Duration,
    bulk: Bulk,
}

impl Task {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let runs = *self.runs.borrow_and_update();
            let before = self.cursor;
            if self.ship(runs).await.is_break() {
                return;
            }
            match (runs, *self.runs.borrow()) {
                (false, false) => return,
                // Its end, or another start: at once.
                (true, false) | (false, true) => continue,
                (true, true) => {}
            }
            if self.cursor != before {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                changed = self.runs.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Sends everything after the cursor; with `follow` goes on until it does not run any more.
    async fn ship(&mut self, follow: bool) -> ControlFlow<()> {
        let query = LogQuery {
            since_ns: Some(self.cursor),
            follow_ms: follow.then_some(FOLLOW_MS),
            ..LogQuery::default()
        };
        let (lines, queue) = mpsc::channel(AHEAD);
        let (place, mut runs) = (self.place.clone(), self.runs.clone());
        let reading = async {
            let ended = async {
                if !follow || runs.wait_for(|runs| !runs).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                read = place.runtime.logs(&place.handle, &query, lines) => {
                    if let Err(error) = read {
                        tracing::debug!(instance = %place.instance, %error, "logs end");
                    }
                }
                () = ended => {}
            }
        };
        tokio::join!(reading, self.send(queue)).1
    }

    async fn send(&mut self, mut queue: mpsc::Receiver<LogLine>) -> ControlFlow<()> {
        while let Some(first) = queue.recv().await {
            let mut batch = Batch::default();
            batch.push(first);
            let gathering = async {
                while !batch.is_full() {
                    match queue.recv().await {
                        Some(line) => batch.push(line),
                        None => return,
                    }
                }
            };
            // What was gathered until then is in the batch.
            let _ = time::timeout(self.gather, gathering).await;
            self.hand_over(batch).await?;
        }
        ControlFlow::Continue(())
    }

    async fn hand_over(&mut self, batch: Batch) -> ControlFlow<()> {
        let last = batch.lines.last().map_or(0, |l| l.time_ns);
        let body = Logs {
            command: String::new(),
            n: 0,
            lines: batch.lines,
        };
        let instance = Some(&self.place.instance);
        if !self.bulk.post(Kind::Logs, instance, &body).await {
            return ControlFlow::Break(());
        }
        self.cursor = self.cursor.max(last);
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = cursors.entry(self.place.instance.clone()).or_default();
        *cursor = self.cursor.max(*cursor);
        ControlFlow::Continue(())
    }
}

/// Lines for one message.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<LogLine>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, line: LogLine) {
        self.bytes += encoded_len(&line);
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }
}

/// Bytes of a line as JSON, roughly, and never too few.
fn encoded_len(line: &LogLine) -> usize {
    let byte = |b: u8| match b {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    64 + line.text.bytes().map(byte).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;

    fn line(text: &str) -> LogLine {
        LogLine {
            time_ns: u64::MAX,
            stream: LogStream::Stderr,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_line_is_never_longer_than_it_is_counted() {
        for text in [
            "",
            "plain",
            "\"quoted\" \\ \u{1}\n\t",
            "üñ\u{2028}",
            "\u{7f}",
        ] {
            let json = serde_json::to_vec(&line(text)).unwrap();
            assert!(json.len() < encoded_len(&line(text)), "{text:?}");
        }
    }

    #[test]
    fn a_full_batch_fits_the_contract_whatever_is_in_it() {
        for text in [
            String::new(),
            "\u{1}".repeat(16 << 10),
            "x".repeat(16 << 10),
        ] {
            let mut batch = Batch::default();
            while !batch.is_full() {
                batch.push(line(&text));
            }
            let body = Logs {
                command: String::new(),
                n: 0,
                lines: batch.lines,
            };
            let json = serde_json::to_vec(&body).unwrap();
            assert!(json.len() <= 256 * 1024, "{}", json.len());
            assert!(body.lines.len() <= 500);
        }
    }
}
