//! The shell of the delivery: one task for each receiver around its [`Queue`].
//!
//! ```text
//! alerts ── send ──► Queue (behind a lock, never waits) ──► its task ── deliver ──► receiver
//!                      │ changed                                       (nothing shared with
//!                      └──► outbox file, at most once a second          other receivers)
//! ```

use super::{
    Notification, Receiver, ReceiverStatus, deliver,
    flood::Flood,
    outbox,
    outbox::Outbox,
    queue::{Next, Outcome, Queue},
    text,
};
use crate::{
    model::{Name, UnixMs},
    support::{Shutdown, clock},
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{self, Instant},
};

/// How long [`Notifier::stop`] waits for what can still be brought.
const FLUSH: Duration = Duration::from_secs(2);
/// The longest sleep of a task: a bound for what a wrong time could do.
const LONGEST_SLEEP_MS: u64 = 60_000;
/// The most characters of a message that is kept.
const MAX_MESSAGE: usize = 4_096;
/// The most characters of an id or the name of a rule.
const MAX_ID: usize = 256;

/// Brings notifications to receivers. Dropping it ends its tasks at once; what waits is in the
/// outbox file then as far as it was written (once a second).
#[derive(Debug)]
pub struct Notifier {
    lines: BTreeMap<Name, Arc<Line>>,
    stopping: Shutdown,
    outbox: Option<Arc<Outbox>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// One receiver.
#[derive(Debug)]
pub(super) struct Line {
    name: Name,
    receiver: Receiver,
    state: Mutex<State>,
    /// Something was pushed.
    pushed: Notify,
    /// Somebody tries it.
    trying: tokio::sync::Mutex<()>,
    outbox: Option<Arc<Outbox>>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    last_error: Option<String>,
    last_ms: Option<UnixMs>,
    /// Left out because too many wait, and refused: said once a minute.
    dropped: Flood,
    refused: Flood,
}

impl Notifier {
    /// Starts a task for each receiver, and takes up what waits in `outbox`.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(receivers: BTreeMap<Name, Receiver>, outbox: Option<PathBuf>) -> Notifier {
        let (file, mut stored) = match outbox.map(Outbox::open) {
            Some((file, stored)) => (Some(Arc::new(file)), stored),
            None => (None, BTreeMap::new()),
        };
        let now = clock::mono_ms();
        let mut lines = BTreeMap::new();
        for (name, receiver) in receivers {
            let mut queue = Queue::new(receiver.batch(), clock::seed());
            if let Some(stored) = stored.remove(&name) {
                queue.restore(now, stored);
            }
            let line = Line {
                name: name.clone(),
                receiver,
                state: Mutex::new(State {
                    queue,
                    last_error: None,
                    last_ms: None,
                    dropped: Flood::default(),
                    refused: Flood::default(),
                }),
                pushed: Notify::new(),
                trying: tokio::sync::Mutex::new(()),
                outbox: file.clone(),
            };
            lines.insert(name, Arc::new(line));
        }
        for (name, stored) in stored {
            let waiting = stored.waiting.len();
            tracing::warn!(receiver = %name, waiting, "receiver is gone; what waited for it is left out");
        }
        let stopping = Shutdown::new();
        let mut tasks: Vec<JoinHandle<()>> = lines
            .values()
            .map(|line| tokio::spawn(run(line.clone(), stopping.clone())))
            .collect();
        if let Some(file) = &file {
            let lines: Vec<Arc<Line>> = lines.values().cloned().collect();
            tasks.push(tokio::spawn(outbox::keep(file.clone(), lines)));
        }
        Notifier {
            lines,
            stopping,
            outbox: file,
            tasks: Mutex::new(tasks),
        }
    }

    /// Has `receiver` told. Never blocks; where too many wait, the oldest is left out.
    pub fn send(&self, receiver: &Name, mut notification: Notification) {
        let Some(line) = self.lines.get(receiver) else {
            tracing::warn!(%receiver, alert = %text::visible(&notification.id), "there is no such receiver");
            return;
        };
        notification.message = text::cut(&notification.message, MAX_MESSAGE);
        notification.id = text::cut(&notification.id, MAX_ID);
        notification.rule = text::cut(&notification.rule, MAX_ID);
        let now = clock::mono_ms();
        let left_out = {
            let mut state = line.state();
            let dropped = state.queue.push(now, notification);
            dropped.and_then(|dropped| Some((state.dropped.count(now, 1)?, dropped)))
        };
        if let Some((count, last)) = left_out {
            line.say_dropped(count, Some(&last));
        }
        line.changed();
        line.pushed.notify_one();
    }

    /// Returns when everything that was [sent](Notifier::send) before is on the disk, or with its
    /// receiver already. `false`: it could not be written (and why was logged), so that a kill
    /// would lose it. Blocks for a write to the disk; `true` at once without an outbox.
    pub fn kept(&self) -> bool {
        let lines: Vec<Arc<Line>> = self.lines.values().cloned().collect();
        self.outbox.as_ref().is_none_or(|file| file.write(&lines))
    }

    /// How the delivery goes, by name.
    pub fn status(&self) -> Vec<ReceiverStatus> {
        self.lines.values().map(|line| line.status()).collect()
    }

    /// Tells `receiver` that this is a test: one attempt, now, past what waits.
    ///
    /// # Errors
    /// Why it does not work, a sentence.
    pub async fn test(&self, receiver: &Name) -> Result<(), String> {
        let Some(line) = self.lines.get(receiver) else {
            return Err(format!("there is no receiver `{receiver}`"));
        };
        let Ok(_trying) = line.trying.try_lock() else {
            return Err(format!("receiver `{receiver}` is being tried already"));
        };
        let now = clock::unix_ms();
        let outcome = deliver::attempt(&line.receiver, &[text::trial(now)], now).await;
        match outcome {
            Outcome::Delivered => Ok(()),
            Outcome::Retry { error, .. } | Outcome::Refused { error } => Err(error),
        }
    }

    /// Brings what can be brought within 2 s, writes the outbox and ends the tasks.
    pub async fn stop(&self) {
        for line in self.lines.values() {
            line.state().queue.hurry();
        }
        self.stopping.trigger();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let until = Instant::now() + FLUSH;
        let (senders, keepers) = tasks.split_at(self.lines.len().min(tasks.len()));
        for task in senders {
            while !task.is_finished() && Instant::now() < until {
                time::sleep(Duration::from_millis(10)).await;
            }
            task.abort();
        }
        keepers.iter().for_each(JoinHandle::abort);
        if let Some(file) = &self.outbox {
            let lines = self.lines.values().cloned().collect();
            outbox::write_now(file.clone(), lines).await;
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn changed(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.changed();
        }
    }

    fn say_dropped(&self, count: u64, last: Option<&Notification>) {
        let alert = last.map(|last| text::visible(&last.id));
        tracing::warn!(receiver = %self.name, count, alert, "too many notifications wait; the oldest are left out");
    }

    fn say_refused(&self, count: u64, attempt: Option<u32>, error: &str) {
        tracing::warn!(receiver = %self.name, attempt, count, error, "notifications refused; they are not tried again");
    }

    /// What happened since the last line about it, and was not worth another then.
    fn say_rest(&self, now: u64) {
        let (dropped, refused, error) = {
            let mut state = self.state();
            let error = state.last_error.clone().unwrap_or_default();
            (state.dropped.due(now), state.refused.due(now), error)
        };
        if let Some(count) = dropped {
            self.say_dropped(count, None);
        }
        if let Some(count) = refused {
            self.say_refused(count, None, &error);
        }
    }

    /// Name and content for the outbox.
    pub(super) fn stored(&self) -> (Name, super::queue::Stored) {
        let stored = self.state().queue.stored(clock::mono_ms());
        (self.name.clone(), stored)
    }

    fn status(&self) -> ReceiverStatus {
        let state = self.state();
        let counts = state.queue.counts();
        ReceiverStatus {
            name: self.name.clone(),
            kind: self.receiver.kind.as_str().to_owned(),
            delivered: counts.delivered,
            failed: counts.failed,
            dropped: counts.dropped,
            waiting: state.queue.len() as u64,
            last_error: state.last_error.clone(),
            last_ms: state.last_ms,
        }
    }

    /// One message, if it is time for one.
    async fn send_one(&self) {
        let (batch, attempt) = {
            let mut state = self.state();
            let batch = state.queue.take(clock::mono_ms());
            (batch, state.queue.failures() + 1)
        };
        if batch.is_empty() {
            return;
        }
        let outcome = deliver::attempt(&self.receiver, &batch, clock::unix_ms()).await;
        let landing = {
            let mut state = self.state();
            state.last_ms = Some(clock::unix_ms());
            state.last_error = match &outcome {
                Outcome::Delivered => None,
                Outcome::Retry { error, .. } | Outcome::Refused { error } => Some(error.clone()),
            };
            state.queue.landed(clock::mono_ms(), &outcome)
        };
        self.changed();
        let (receiver, count) = (&self.name, batch.len());
        match outcome {
            Outcome::Delivered => {
                tracing::debug!(%receiver, attempt, count, "notifications delivered");
            }
            Outcome::Refused { error } => {
                let now = clock::mono_ms();
                let said = self.state().refused.count(now, count as u64);
                if let Some(count) = said {
                    self.say_refused(count, Some(attempt), &error);
                }
            }
            Outcome::Retry { error, .. } => {
                let retry_in_ms = landing.retry_in_ms.unwrap_or(0);
                tracing::warn!(%receiver, attempt, count, error, retry_in_ms, "notifications not delivered");
                if landing.gave_up > 0 {
                    tracing::warn!(%receiver, attempt, count = landing.gave_up, "notifications given up after a day");
                }
            }
        }
    }
}

/// The task of one receiver. When asked to stop, it goes on while something can be sent at once.
async fn run(line: Arc<Line>, stopping: Shutdown) {
    let mut asked = false;
    loop {
        let now = clock::mono_ms();
        line.say_rest(now);
        let next = line.state().queue.next(now);
        let sleep_ms = match next {
            Next::Send => {
                line.send_one().await;
                continue;
            }
            _ if asked => return,
            Next::At(at) => at.saturating_sub(now).clamp(1, LONGEST_SLEEP_MS),
            Next::Idle => LONGEST_SLEEP_MS,
        };
        tokio::select! {
            () = line.pushed.notified() => {}
            () = stopping.wait() => asked = true,
            () = time::sleep(Duration::from_millis(sleep_ms)) => {}
        }
    }
}

#[cfg(test)]
#[path = "notifier_tests.rs"]
mod tests;
