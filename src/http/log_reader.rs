//! Reads the log of one instance through its node's agent.
//!
//! ```text
//! lease: command `logs` ─► agent ─► batches 0, 1, 2, … and an empty one ─► result
//!   complete ──────────────► done; or, when following, the next lease
//!   a batch is missing, the agent was restarted, the reader was too slow ─► again, from the cursor
//!   the node is away, has no instance yet ─► wait, and say so (when following); else an error
//! ```
//!
//! A lease of somebody who follows lasts half a minute, so that an agent never goes on for long
//! for somebody who is gone. What leases have in common is the [`Cursor`]: nothing is lost between
//! them and nothing is shown twice.

use super::cursor::Cursor;
use crate::{
    contract::{Logs, Seq},
    controller::Controller,
    identity::random_id,
    model::{
        CommandKind, CommandOutcome, CommandSpec, ExecInput, LogLine, LogQuery, LogStream, Name,
        Presence,
    },
};
use axum::body::Bytes;
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

/// How long an agent follows before it has to be asked again.
const LEASE: Duration = Duration::from_secs(30);
/// How long to wait for a node that does not answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long lines may come after the result that ends them.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after a lease that failed, the first time and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Leases in a row that may break without a line before a reader that does not follow is told.
const MAX_TRIES: u32 = 5;
/// Leases in a row that may be refused before who follows is told why he has to wait.
const QUIET_TRIES: u32 = 2;

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogWish {
    pub(super) tail: Option<u32>,
    pub(super) since: Option<u64>,
    pub(super) until: Option<u64>,
    pub(super) stream: Option<LogStream>,
    pub(super) follow: bool,
}

/// One line of the answer.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a LogLine>,
    /// Why this node's lines have to be waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'a str>,
    /// Why this node's lines end here.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A notice as a line of the answer.
pub(super) fn notice(node: &Name, text: &str) -> Bytes {
    encode(&Line {
        node: node.as_str(),
        notice: Some(text),
        ..Line::default()
    })
}

fn encode(line: &Line<'_>) -> Bytes {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// As it should.
    Complete,
    /// Something was lost on the way: ask again at once.
    Broken,
    /// The node says no, or nothing.
    Refused(String),
    /// Nobody listens any more.
    Closed,
}

/// Reads one instance.
pub(super) struct Reader {
    controller: Arc<Controller>,
    workload: Name,
    node: Name,
    wish: LogWish,
    lines: mpsc::Sender<Bytes>,
    cursor: Cursor,
    /// Only looks where the log ends now: the lines are not passed on.
    marking: bool,
    /// Leases in a row that failed.
    tries: u32,
    /// What was said last about waiting.
    said: String,
}

impl Reader {
    pub(super) fn new(
        controller: Arc<Controller>,
        workload: Name,
        node: Name,
        wish: LogWish,
        lines: mpsc::Sender<Bytes>,
    ) -> Reader {
        Reader {
            controller,
            workload,
            node,
            cursor: Cursor::new(wish.since, wish.tail.is_some()),
            // Else what is written between two leases without a line could not be told from what
            // was there before.
            marking: wish.follow && wish.tail == Some(0),
            wish,
            lines,
            tries: 0,
            said: String::new(),
        }
    }

    /// Until all is read, or nobody listens any more.
    pub(super) async fn run(mut self) {
        if self.wish.tail == Some(0) && !self.wish.follow {
            return;
        }
        while let Some(session) = self.session().await {
            let ended = match self.lease(session).await {
                Ok(ended) => ended,
                Err(message) => Ended::Refused(message),
            };
            match ended {
                Ended::Closed => return,
                Ended::Complete if self.wish.follow => {
                    self.tries = 0;
                    self.said.clear();
                    // All that was there has come, if only none: from now on all that comes.
                    self.wish.tail = None;
                    self.marking = false;
                }
                Ended::Complete => return,
                Ended::Broken if self.wish.follow || self.tries < MAX_TRIES => {
                    self.tries += 1;
                    if self.tries > 1 {
                        self.pause().await;
                    }
                }
                Ended::Broken => {
                    let why = format!("lines of {} were lost on the way; ask again", self.node);
                    return self.fail(&why).await;
                }
                Ended::Refused(why) if self.wish.follow => {
                    // Right after an agent's start its instances are not known yet.
                    if self.tries >= QUIET_TRIES {
                        self.say(&why).await;
                    }
                    self.tries += 1;
                    self.pause().await;
                }
                Ended::Refused(why) => return self.fail(&why).await,
            }
        }
    }

    async fn pause(&self) {
        let pause = PAUSE.0 * self.tries.clamp(1, 10);
        tokio::select! {
            () = time::sleep(pause.min(PAUSE.1)) => {}
            () = self.lines.closed() => {}
        }
    }

    async fn fail(&mut self, why: &str) {
        let line = Line {
            node: self.node.as_str(),
            error: Some(why),
            ..Line::default()
        };
        let _ = self.lines.send(encode(&line)).await;
    }

    /// Says once why there is nothing now.
    async fn say(&mut self, why: &str) {
        if self.said != why {
            why.clone_into(&mut self.said);
            let _ = self.lines.send(notice(&self.node, why)).await;
        }
    }

    /// The session of the node, once it is online and has the workload. Who follows waits for
    /// that; who only reads is told. `None`: there is nothing more to do.
    async fn session(&mut self) -> Option<Seq> {
        let mut changed = self.controller.changed.subscribe();
        loop {
            if self.lines.is_closed() {
                return None;
            }
            let why = match standing(&self.controller, &self.workload, &self.node) {
                Standing::Ready(session) => return Some(session),
                Standing::Gone => return None,
                Standing::Away(why) => why,
            };
            if !self.wish.follow {
                self.fail(&why).await;
                return None;
            }
            self.say(&format!("{why}; waiting for it")).await;
            tokio::select! {
                _ = changed.changed() => {}
                () = self.lines.closed() => return None,
            }
        }
    }

    /// One command: everything that is kept, or what comes until the lease is over.
    async fn lease(&mut self, session: Seq) -> Result<Ended, String> {
        let c = self.controller.clone();
        let id = random_id().map_err(|e| e.to_string())?;
        let (batches, mut queue) = mpsc::channel::<Logs>(64);
        let result = c
            .pending
            .expect(&id, &self.node, Some(batches))
            .map_err(|e| e.to_string())?;
        let mut order = CommandSpec::new(CommandKind::Logs, Some(self.workload.clone()));
        order.logs = Some(self.query());
        c.outbox.command(&id, &self.node, order, None);
        let (ended, over) = self.pump(&mut queue, result, session).await;
        c.pending.forget(&id);
        if !over {
            // The agent need not go on.
            let mut order = CommandSpec::new(CommandKind::Input, None);
            order.input = Some(ExecInput {
                session: id.clone(),
                kill: true,
                ..ExecInput::default()
            });
            c.outbox
                .command(&format!("{id}.kill"), &self.node, order, None);
        }
        Ok(ended)
    }

    fn query(&mut self) -> LogQuery {
        let since_ns = self.cursor.resume();
        if self.marking {
            return LogQuery {
                tail: Some(1),
                ..LogQuery::default()
            };
        }
        let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        LogQuery {
            tail: self.wish.tail,
            since_ns,
            until_ns: self.wish.until,
            stream: self.wish.stream,
            follow_ms: self.wish.follow.then_some(lease),
        }
    }

    /// How the lease ended, and whether the agent has ended it.
    async fn pump(
        &mut self,
        queue: &mut mpsc::Receiver<Logs>,
        mut result: oneshot::Receiver<CommandOutcome>,
        session: Seq,
    ) -> (Ended, bool) {
        let c = self.controller.clone();
        let mut changed = c.changed.subscribe();
        let patience = if self.wish.follow && !self.marking {
            LEASE + ANSWER
        } else {
            ANSWER
        };
        let mut quiet = Box::pin(time::sleep(patience));
        let mut outcome: Option<CommandOutcome> = None;
        let (mut next, mut all) = (0, false);
        loop {
            if let (Some(outcome), true) = (&outcome, all) {
                return (ended(outcome), true);
            }
            tokio::select! {
                batch = queue.recv() => match batch {
                    Some(batch) if batch.n == next && batch.lines.is_empty() => all = true,
                    Some(batch) if batch.n == next => {
                        next += 1;
                        if outcome.is_none() {
                            quiet.as_mut().reset(Instant::now() + patience);
                        }
                        if !self.pass_on(&batch.lines).await {
                            return (Ended::Closed, outcome.is_some());
                        }
                    }
                    // A batch is missing, or this reader was too slow for them.
                    _ => return (Ended::Broken, outcome.is_some()),
                },
                ended = &mut result, if outcome.is_none() => {
                    let lost = || CommandOutcome::failed("its answer was lost");
                    outcome = Some(ended.unwrap_or_else(|_| lost()));
                    quiet.as_mut().reset(Instant::now() + GRACE);
                }
                // The agent was restarted, or is gone: what it had been asked is forgotten there.
                _ = changed.changed() => {
                    let now = standing(&c, &self.workload, &self.node);
                    if !matches!(now, Standing::Ready(s) if s == session) {
                        return (Ended::Broken, false);
                    }
                }
                () = &mut quiet => return match &outcome {
                    Some(outcome) if !outcome.ok => (ended(outcome), true),
                    Some(_) => (Ended::Broken, true),
                    None => (Ended::Refused(format!("{} does not answer", self.node)), false),
                },
                () = self.lines.closed() => return (Ended::Closed, outcome.is_some()),
            }
        }
    }

    async fn pass_on(&mut self, batch: &[LogLine]) -> bool {
        let mut bytes = Vec::new();
        for line in batch {
            if !self.cursor.take(line) || self.marking {
                continue;
            }
            let line = Line {
                node: self.node.as_str(),
                line: Some(line),
                ..Line::default()
            };
            bytes.extend_from_slice(&encode(&line));
        }
        if bytes.is_empty() {
            return true;
        }
        self.tries = 0;
        self.said.clear();
        // Some of the last lines have been shown: the next lease goes on behind them.
        self.wish.tail = None;
        self.lines.send(bytes.into()).await.is_ok()
    }
}

fn ended(outcome: &CommandOutcome) -> Ended {
    if outcome.ok {
        Ended::Complete
    } else {
        Ended::Refused(outcome.message.clone().unwrap_or_default())
    }
}

/// Whether an instance's log can be asked for.
enum Standing {
    /// The node is online, in this session.
    Ready(Seq),
    /// It cannot now.
    Away(String),
    /// There is no such workload any more.
    Gone,
}

fn standing(c: &Controller, workload: &Name, node: &Name) -> Standing {
    let fleet = c.fleet();
    let Some(record) = fleet.workload(workload.as_str()) else {
        return Standing::Gone;
    };
    if !record.placed.contains(node) {
        return Standing::Away(format!("{workload} is not on {node} any more"));
    }
    match fleet.node(node.as_str()) {
        Some(n) if n.http => Standing::Away(format!("{node} speaks HTTP and sends no log lines")),
        Some(n) if n.presence == Presence::Online => Standing::Ready(n.session),
        Some(_) => Standing::Away(format!("{node} is not online")),
        None => Standing::Away(format!("{node} is not in the fleet any more")),
    }
}
