//! One program that a node runs for somebody who listens here.
//!
//! Neither side can make the controller hold much: of what the program writes at most
//! [`AHEAD`] messages are on the way or here, since the agent sends no more until it is told that
//! they were taken; of what it is given at most [`INPUTS`] are unanswered. A slow reader thus slows
//! the program down, and a program that does not read slows its writer down.
//!
//! What was given and not answered is sent again after the agent has reconnected; the agent takes
//! each input once. When the agent itself was restarted the program is gone.

use super::super::problem::ApiError;
use crate::{
    contract::{Seq, Stream},
    controller::{Controller, ExecNews},
    fleet::{Actor, Change},
    identity::random_id,
    model::{
        CommandKind, CommandOutcome, CommandSpec, ExecInput, ExecSpec, LogStream, Name, Presence,
        TerminalSize,
    },
    support::clock,
};
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{self, Instant},
};

/// Messages of output that an agent may be ahead; as [`crate::contract::Stream::n`] says.
const AHEAD: usize = 64;
/// Messages of output after which the agent is told that they were taken.
const TELL_EVERY: u64 = 16;
/// Inputs without an answer.
const INPUTS: usize = 16;
/// Bytes of one input.
const INPUT: usize = 16 * 1024;
/// How often an agent is told that somebody listens.
const ALIVE: Duration = Duration::from_secs(20);
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a node may be offline.
const OFFLINE: Duration = Duration::from_secs(60);
/// How long output may come after the result.
const GRACE: Duration = Duration::from_secs(2);
/// Longest run, milliseconds.
const LONGEST_MS: u64 = 86_400_000;
/// Bytes of a command line: it is kept in the journal.
const MAX_LINE: usize = 32 * 1024;

/// What a client sends.
#[derive(Debug)]
pub(super) enum Up {
    Data(Bytes),
    End,
    Resize(TerminalSize),
    Ping,
}

/// What the program wrote.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) stream: LogStream,
    pub(super) data: Bytes,
}

/// A program that was ordered. Dropped, it is killed.
pub(super) struct Session {
    controller: Arc<Controller>,
    node: Name,
    id: String,
    stdin: bool,
    news: mpsc::Receiver<ExecNews>,
    result: oneshot::Receiver<CommandOutcome>,
    /// Of the agent, when it was ordered.
    session: Seq,
    /// It has ended on the node.
    over: bool,
    /// Number of the next message of output.
    next: u64,
    /// Messages that were passed on, and of these, those that the agent knows of.
    taken: u64,
    told: u64,
    waiting: VecDeque<Piece>,
    /// The last of its output has come.
    all: bool,
    /// Number of the next input.
    number: u64,
    unanswered: BTreeMap<u64, ExecInput>,
    _place: OwnedSemaphorePermit,
}

/// Why a session ends without a result.
type Lost = String;

impl Session {
    /// Orders a program; returns once that is in the journal.
    pub(super) async fn open(
        controller: Arc<Controller>,
        by: Actor,
        node: Name,
        workload: Name,
        spec: ExecSpec,
    ) -> Result<Session, ApiError> {
        check(&spec)?;
        let place = controller.streams.clone().try_acquire_owned();
        let place = place.map_err(|_| ApiError::too_many_streams())?;
        let session = place_of(&controller, &node, &workload)?;
        let internal = |e: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e);
        let id = random_id().map_err(|e| internal(e.to_string()))?;
        let (sender, news) = mpsc::channel(AHEAD + 4 * INPUTS);
        let pending = controller.pending.expect_exec(&id, &node, sender);
        let busy = |e: crate::controller::PendingError| {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string())
        };
        let result = pending.map_err(busy)?;
        let longest = spec.timeout_ms.unwrap_or(LONGEST_MS);
        let stdin = spec.stdin;
        let mut order = CommandSpec::new(CommandKind::Exec, Some(workload));
        order.exec = Some(spec);
        // From here on it is dropped in good order, whatever happens.
        let session = Session {
            controller: controller.clone(),
            node: node.clone(),
            id: id.clone(),
            stdin,
            news,
            result,
            session,
            over: false,
            next: 0,
            taken: 0,
            told: 0,
            waiting: VecDeque::new(),
            all: false,
            number: 0,
            unanswered: BTreeMap::new(),
            _place: place,
        };
        let change = Change::CommandIssued {
            id,
            node,
            order,
            deadline_ms: clock::unix_ms().saturating_add(longest + 60_000),
        };
        controller.change(Some(by), change).await?;
        Ok(session)
    }

    /// Until the program has ended and all of its output is in `out`. Without `ups` it is given
    /// nothing; when `ups` or `out` close it is killed.
    pub(super) async fn run(
        mut self,
        mut ups: Option<mpsc::Receiver<Up>>,
        out: mpsc::Sender<Piece>,
    ) -> CommandOutcome {
        let c = self.controller.clone();
        let mut changed = c.changed.subscribe();
        let mut alive = time::interval_at(Instant::now() + ALIVE, ALIVE);
        let mut heard = Instant::now();
        let mut offline: Option<Instant> = None;
        let mut outcome: Option<CommandOutcome> = None;
        let mut deadline = Instant::now();
        loop {
            if let (Some(outcome), true, true) = (&outcome, self.all, self.waiting.is_empty()) {
                return outcome.clone();
            }
            let reads = ups.is_some() && self.unanswered.len() < INPUTS;
            tokio::select! {
                news = self.news.recv() => match self.take(news) {
                    Ok(()) => {}
                    // What is known of its end says more than that something is missing.
                    Err(lost) => return outcome.filter(|o| !o.ok).unwrap_or_else(|| failed(lost)),
                },
                place = out.reserve(), if !self.waiting.is_empty() => {
                    let Ok(place) = place else {
                        return failed("nobody takes its output any more");
                    };
                    if let Some(piece) = self.waiting.pop_front() {
                        place.send(piece);
                    }
                    self.taken += 1;
                    if self.taken - self.told >= TELL_EVERY {
                        self.tell();
                    }
                }
                up = next_up(&mut ups), if reads => {
                    heard = Instant::now();
                    match up {
                        Some(up) => self.give(up),
                        None => return failed("whoever asked for it has gone; it was killed"),
                    }
                }
                ended = &mut self.result, if outcome.is_none() => {
                    self.over = true;
                    outcome = Some(ended.unwrap_or_else(|_| failed("its result was lost")));
                    deadline = Instant::now() + GRACE;
                }
                () = time::sleep_until(deadline), if outcome.is_some() && self.waiting.is_empty() => {
                    let mut outcome = outcome.unwrap_or_else(|| failed("its result was lost"));
                    let missing = "the end of its output was lost on the way".to_owned();
                    outcome.message = outcome.message.or(Some(missing));
                    return outcome;
                }
                _ = alive.tick() => {
                    self.tell();
                    if !reads {
                        // It may be waiting for room with more to say.
                        heard = Instant::now();
                    }
                    if heard.elapsed() > SILENCE {
                        return failed("whoever asked for it has gone; it was killed");
                    }
                    if offline.is_some_and(|since| since.elapsed() > OFFLINE) {
                        let node = &self.node;
                        return failed(format!(
                            "{node} is offline; what it runs is killed there when nobody is heard \
                             for 90 s"
                        ));
                    }
                }
                _ = changed.changed(), if outcome.is_none() => match self.look() {
                    Ok(true) => offline = None,
                    Ok(false) => offline = offline.or(Some(Instant::now())),
                    Err(lost) => return failed(lost),
                },
            }
        }
    }

    /// What came from the agent.
    fn take(&mut self, news: Option<ExecNews>) -> Result<(), Lost> {
        let output = match news {
            Some(ExecNews::Output(output)) => output,
            Some(ExecNews::Answered { n, ok }) => {
                // It does not run any more: its result is on the way, and nothing else is taken.
                if !ok {
                    self.unanswered.clear();
                }
                self.unanswered.remove(&n);
                return Ok(());
            }
            None => return Err("it wrote more than was asked of it; it was killed".into()),
        };
        let Stream {
            n, stream, data, ..
        } = output;
        if n < self.next {
            return Ok(());
        }
        if n > self.next {
            return Err("a part of its output was lost on the way; it was killed".into());
        }
        self.next += 1;
        let Ok(data) = STANDARD.decode(data) else {
            return Err("its output cannot be read; it was killed".into());
        };
        if data.is_empty() {
            self.all = true;
        } else {
            let data = data.into();
            self.waiting.push_back(Piece { stream, data });
        }
        Ok(())
    }

    /// Sends on what a client said.
    fn give(&mut self, up: Up) {
        match up {
            Up::Data(data) if self.stdin => {
                for part in data.chunks(INPUT) {
                    self.input(ExecInput {
                        data: STANDARD.encode(part),
                        ..ExecInput::default()
                    });
                }
            }
            Up::End if self.stdin => self.input(ExecInput {
                end: true,
                ..ExecInput::default()
            }),
            Up::Resize(size) => self.input(ExecInput {
                resize: Some(size),
                ..ExecInput::default()
            }),
            Up::Data(_) | Up::End | Up::Ping => {}
        }
    }

    fn input(&mut self, input: ExecInput) {
        if self.over {
            return;
        }
        let n = self.number;
        self.number += 1;
        let session = self.id.clone();
        let input = ExecInput {
            session,
            n,
            ..input
        };
        self.send(&format!("{}.{n}", self.id), input.clone());
        self.unanswered.insert(n, input);
    }

    /// How much was taken, which also says that somebody listens.
    fn tell(&mut self) {
        if self.over {
            return;
        }
        self.told = self.taken;
        let input = ExecInput {
            session: self.id.clone(),
            taken: Some(self.taken),
            ..ExecInput::default()
        };
        self.send(&format!("{}.taken", self.id), input);
    }

    fn send(&self, id: &str, input: ExecInput) {
        let mut order = CommandSpec::new(CommandKind::Input, None);
        order.input = Some(input);
        self.controller.outbox.command(id, &self.node, order, None);
    }

    /// Something in the fleet has changed: whether the node is there.
    fn look(&mut self) -> Result<bool, Lost> {
        let now = {
            let fleet = self.controller.fleet();
            let node = fleet.node(self.node.as_str());
            node.map(|n| (n.session, n.presence))
        };
        let Some((session, presence)) = now else {
            let node = &self.node;
            return Err(format!("{node} is not in the fleet any more"));
        };
        if session.start != self.session.start {
            let node = &self.node;
            return Err(format!(
                "the agent on {node} was restarted; what it ran may go on there"
            ));
        }
        if session != self.session && presence == Presence::Online {
            self.session = session;
            // What was on the way when its connection broke did not arrive.
            for (n, input) in &self.unanswered {
                self.send(&format!("{}.{n}", self.id), input.clone());
            }
            self.tell();
        }
        Ok(presence != Presence::Offline)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.controller.pending.forget(&self.id);
        if !self.over {
            let input = ExecInput {
                session: self.id.clone(),
                kill: true,
                ..ExecInput::default()
            };
            self.send(&format!("{}.kill", self.id), input);
        }
    }
}

async fn next_up(ups: &mut Option<mpsc::Receiver<Up>>) -> Option<Up> {
    match ups {
        Some(ups) => ups.recv().await,
        None => std::future::pending().await,
    }
}

fn failed(message: impl Into<String>) -> CommandOutcome {
    CommandOutcome::failed(message)
}

/// Whether a node could run this at all.
fn check(spec: &ExecSpec) -> Result<(), ApiError> {
    let refuse = |detail: String| Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    if spec.command.first().is_none_or(String::is_empty) {
        return refuse("there is no program to run: `command` is empty".into());
    }
    if spec.command.iter().map(|w| w.len() + 1).sum::<usize>() > MAX_LINE {
        return refuse(format!(
            "the command line is longer than {MAX_LINE} bytes; give what is long to its standard \
             input"
        ));
    }
    if spec.command.iter().any(|w| w.contains('\0')) {
        return refuse("the command line has a zero byte, which no program can be given".into());
    }
    if spec.timeout_ms.is_some_and(|ms| ms > LONGEST_MS) {
        return refuse("nothing runs for longer than a day: `timeout_ms` is too large".into());
    }
    Ok(())
}

/// The node's session, where it has the workload and can be asked.
fn place_of(c: &Controller, node: &Name, workload: &Name) -> Result<Seq, ApiError> {
    let fleet = c.fleet();
    let record = fleet.node(node.as_str());
    let record = record.ok_or_else(|| ApiError::not_found("node", node.as_str()))?;
    let placed = fleet.workload(workload.as_str());
    let placed = placed.ok_or_else(|| ApiError::not_found("workload", workload.as_str()))?;
    if !placed.placed.contains(node) {
        let detail = format!("{workload} is not on {node}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    if record.http {
        let detail = format!("{node} speaks HTTP and takes no commands");
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    if record.presence == Presence::Offline {
        let why = match record.presence_reason.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let detail = format!("{node} is offline{why}");
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    if !c.connected.load(Ordering::Relaxed) {
        let detail = "the controller has no connection to its broker; nothing was sent";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    Ok(record.session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_node_could_run_is_refused() {
        let spec = |command: &[&str]| ExecSpec {
            command: command.iter().map(|w| (*w).to_owned()).collect(),
            ..ExecSpec::default()
        };
        assert!(check(&spec(&["sh", "-c", "true"])).is_ok());
        assert!(
            check(&spec(&["sh", ""])).is_ok(),
            "an empty argument is one"
        );
        let long = "x".repeat(MAX_LINE);
        for wrong in [&[][..], &[""], &["a\0b"], &["echo", &long]] {
            assert!(check(&spec(wrong)).is_err(), "{wrong:.40?}");
        }
        let day = ExecSpec {
            timeout_ms: Some(LONGEST_MS + 1),
            ..spec(&["sleep"])
        };
        assert!(check(&day).is_err());
    }
}
