//! Programs that run beside instances because somebody asked for it (`exec`).
//!
//! ```text
//!  command exec ──► Execs (table, by command id) ──► one task each: Runtime::exec
//!  command input ─► kill, taken: at once              │        ▲
//!                   data, end, resize: in order ──────┼────────┘ feed
//!                                                     ▼
//!        stream: output, at most 64 messages ahead of what its reader has taken
//!        result: exit code, at the end; and an answer to each input
//! ```
//!
//! A program lives no longer than somebody listens: who asked says at least every 30 s that he is
//! there, and after 90 s of silence it is killed. It is killed as well when its time is over, and
//! with the agent. Nothing of it is kept: after a restart the agent knows nothing of it.

mod order;
mod output;

use super::bulk::Bulk;
use crate::{
    contract::{CommandResult, Kind},
    model::{CommandOutcome, ExecInput, ExecSpec, Name},
    runtime::{ExecFeed, Runtime},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use order::Order;
use output::Output;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};

/// Programs at the same time.
pub(super) const MAX_EXECS: usize = 16;
/// Inputs that may wait for a program that does not read.
const QUEUE: usize = 64;
/// How long an input is waited for while later ones are there.
const GAP: Duration = Duration::from_secs(30);
/// How long whoever asked may be silent.
const SILENCE: Duration = Duration::from_secs(90);
/// The longest run.
const LONGEST_MS: u64 = 86_400_000;

/// What a session is told beside its input.
#[derive(Debug, Clone)]
struct Control {
    /// Messages of its output that were taken.
    taken: u64,
    /// When somebody was heard last.
    heard: Instant,
    /// It is to end, and why.
    killed: Option<&'static str>,
}

#[derive(Debug)]
struct Session {
    control: watch::Sender<Control>,
    inputs: mpsc::Sender<(String, ExecInput)>,
}

/// What is to run, and for whom.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) workload: Name,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) handle: String,
    pub(super) spec: ExecSpec,
    pub(super) bulk: Bulk,
}

/// All programs that run now, by the id of the command that began them.
#[derive(Debug, Clone, Default)]
pub(super) struct Execs {
    sessions: Arc<Mutex<BTreeMap<String, Session>>>,
}

impl Execs {
    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one.
    ///
    /// # Errors
    /// A sentence; nothing was begun.
    pub(super) fn start(&self, job: Job) -> Result<(), String> {
        if job.spec.command.is_empty() {
            return Err("there is no program to run".into());
        }
        let (control, controlled) = watch::channel(Control {
            taken: 0,
            heard: Instant::now(),
            killed: None,
        });
        let (inputs, queue) = mpsc::channel(QUEUE);
        {
            let mut sessions = self.locked();
            if sessions.len() >= MAX_EXECS {
                return Err(format!(
                    "{MAX_EXECS} programs were begun by exec and still run on this node; wait for \
                     one of them to end"
                ));
            }
            let session = Session { control, inputs };
            sessions.insert(job.id.clone(), session);
        }
        let execs = self.clone();
        tokio::spawn(async move {
            let (id, bulk) = (job.id.clone(), job.bulk.clone());
            let outcome = run(job, queue, controlled).await;
            execs.locked().remove(&id);
            let result = CommandResult { id, outcome };
            bulk.post(Kind::Result, None, &result).await;
        });
        Ok(())
    }

    /// Something for one that runs. `false`: there is no such one.
    pub(super) fn input(&self, id: String, input: ExecInput) -> bool {
        let sessions = self.locked();
        let Some(session) = sessions.get(&input.session) else {
            return false;
        };
        session.control.send_modify(|c| {
            c.heard = Instant::now();
            c.taken = c.taken.max(input.taken.unwrap_or(0));
            if input.kill {
                c.killed = Some("whoever asked for it has gone; it was killed");
            }
        });
        let ordered = !input.kill && input.taken.is_none();
        if ordered && session.inputs.try_send((id, input)).is_err() {
            let why = "it was sent more input than it takes; it was killed";
            session.control.send_modify(|c| c.killed = Some(why));
        }
        true
    }
}

/// Runs it to its end, or kills it.
async fn run(
    job: Job,
    inputs: mpsc::Receiver<(String, ExecInput)>,
    control: watch::Receiver<Control>,
) -> CommandOutcome {
    let Job {
        id,
        workload,
        runtime,
        handle,
        spec,
        bulk,
    } = job;
    let mut output = Output::new(bulk.clone(), id, workload);
    let (written, to_send) = mpsc::channel(4);
    let (feed_in, feed) = mpsc::channel(4);
    // With a terminal, its size is fed as well.
    let takes = spec.stdin || spec.terminal.is_some();
    let (feed_in, feed) = (takes.then_some(feed_in), takes.then_some(feed));
    let longest = spec.timeout_ms.unwrap_or(LONGEST_MS).min(LONGEST_MS);
    let program = async {
        let exec = runtime.exec(&handle, &spec, written, feed);
        let (ended, ()) = tokio::join!(exec, output.pass_on(to_send, control.clone()));
        ended
    };
    // Whatever does not end the program drops it here, which kills it.
    let outcome = tokio::select! {
        ended = program => match ended {
            Ok(code) => CommandOutcome {
                exit_code: Some(code),
                ..CommandOutcome::done()
            },
            Err(error) => CommandOutcome::failed(error.to_string()),
        },
        why = feed_in_order(inputs, feed_in, bulk) => CommandOutcome::failed(why),
        why = watched(control.clone(), SILENCE) => CommandOutcome::failed(why),
        () = time::sleep(Duration::from_millis(longest)) => CommandOutcome::failed(format!(
            "it had not ended after {} and was killed",
            crate::manifest::quantity::duration_text(longest)
        )),
    };
    output.end().await;
    outcome
}

/// Until there is a reason to kill it.
async fn watched(mut control: watch::Receiver<Control>, silence: Duration) -> &'static str {
    loop {
        let Control { heard, killed, .. } = control.borrow_and_update().clone();
        if let Some(why) = killed {
            return why;
        }
        match time::timeout_at(heard + silence, control.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return "the agent stops; it was killed",
            Err(_) => return "nobody was heard who listens to it; it was killed",
        }
    }
}

/// Hands input on and answers each; ends only with a reason to kill the program.
async fn feed_in_order(
    mut inputs: mpsc::Receiver<(String, ExecInput)>,
    feed: Option<mpsc::Sender<ExecFeed>>,
    bulk: Bulk,
) -> &'static str {
    let mut order = Order::default();
    loop {
        let next = if order.has_gap() {
            match time::timeout(GAP, inputs.recv()).await {
                Ok(next) => next,
                Err(_) => return "a part of its input was lost on the way; it was killed",
            }
        } else {
            inputs.recv().await
        };
        let Some((id, input)) = next else {
            return std::future::pending().await;
        };
        if order.is_old(input.n) {
            // Its answer was lost.
            answer(&bulk, id).await;
            continue;
        }
        let Ok(ready) = order.take(id, input) else {
            return "a part of its input was lost on the way; it was killed";
        };
        for (id, input) in ready {
            let Ok(data) = STANDARD.decode(&input.data) else {
                return "its input cannot be read; it was killed";
            };
            let data = (!data.is_empty()).then(|| ExecFeed::Data(data.into()));
            let resize = input.resize.map(ExecFeed::Resize);
            let end = input.end.then_some(ExecFeed::End);
            if let Some(feed) = &feed {
                for part in [resize, data, end].into_iter().flatten() {
                    // A program that does not read any more is no error.
                    let _ = feed.send(part).await;
                }
            }
            answer(&bulk, id).await;
        }
    }
}

async fn answer(bulk: &Bulk, id: String) {
    let outcome = CommandOutcome::done();
    bulk.post(Kind::Result, None, &CommandResult { id, outcome })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> (watch::Sender<Control>, watch::Receiver<Control>) {
        watch::channel(Control {
            taken: 0,
            heard: Instant::now(),
            killed: None,
        })
    }

    #[tokio::test]
    async fn silence_kills_and_so_does_an_order() {
        let (sender, receiver) = control();
        let silent = watched(receiver.clone(), Duration::ZERO).await;
        assert!(silent.contains("nobody was heard"));
        let watching = tokio::spawn(watched(receiver, SILENCE));
        sender.send_modify(|c| c.heard = Instant::now());
        sender.send_modify(|c| c.killed = Some("because"));
        assert_eq!(watching.await.unwrap(), "because");
    }

    #[test]
    fn input_for_nobody_is_told_apart() {
        let execs = Execs::default();
        assert!(!execs.input("x.0".into(), ExecInput::default()));
        let (control, controlled) = control();
        let (inputs, mut queue) = mpsc::channel(1);
        execs
            .locked()
            .insert("x".into(), Session { control, inputs });
        let input = |n, taken| ExecInput {
            session: "x".into(),
            n,
            taken,
            ..ExecInput::default()
        };
        assert!(execs.input("x.0".into(), input(0, None)));
        assert!(execs.input("k".into(), input(0, Some(7))));
        assert!(execs.input("k".into(), input(0, Some(5))));
        assert_eq!(controlled.borrow().taken, 7, "it never goes back");
        assert_eq!(controlled.borrow().killed, None);
        assert!(execs.input("x.1".into(), input(1, None)));
        assert!(controlled.borrow().killed.is_some(), "no room for it");
        assert_eq!(queue.try_recv().unwrap().1.n, 0);
        assert!(queue.try_recv().is_err(), "taken is not input");
    }
}
