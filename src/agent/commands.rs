//! One-off orders: each is run at most once, also over a restart of the agent.

use super::{AgentEnd, logs, node::Node};
use crate::{
    contract::{CommandBody, CommandResult, Kind, Seq},
    model::{CommandKind, CommandOutcome},
    supervisor::{Input, LocalOrder},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Results that are kept, for a command that arrives again.
const KEPT_RESULTS: usize = 64;
/// Streams of log lines at the same time.
const MAX_STREAMS: usize = 16;

/// What is left to do after a command was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing.
    None,
    /// Look at everything again.
    Refresh,
}

/// Commands of this agent's life.
#[derive(Debug, Default)]
pub(super) struct Recent {
    results: VecDeque<CommandResult>,
    streams: Arc<AtomicUsize>,
}

impl Recent {
    pub(super) fn keep(&mut self, result: &CommandResult) {
        if self.results.len() >= KEPT_RESULTS {
            self.results.pop_front();
        }
        self.results.push_back(CommandResult {
            outcome: CommandOutcome {
                lines: Vec::new(),
                ..result.outcome.clone()
            },
            ..result.clone()
        });
    }

    fn find(&self, id: &str) -> Option<CommandResult> {
        self.results.iter().find(|r| r.id == id).cloned()
    }
}

impl Node {
    /// Runs a genuine command.
    pub(super) fn command(&mut self, seq: Seq, command: CommandBody) -> Reaction {
        let CommandBody { id, order } = command;
        if let Some(known) = self.recent.find(&id) {
            self.answer(&id, known.outcome);
            return Reaction::None;
        }
        if order.command.changes_something() {
            if seq <= self.memory.command_seq {
                self.answer(
                    &id,
                    CommandOutcome::failed("it was run before this agent's restart"),
                );
                return Reaction::None;
            }
            // On disk before it acts: a power cut may lose the command, never run it twice.
            self.memory.command_seq = seq;
            if let Err(error) = self.keep_memory() {
                self.answer(&id, CommandOutcome::failed(crate::support::chain(&error)));
                return Reaction::None;
            }
        }
        let local = match order.command {
            CommandKind::Ping => {
                self.answer(&id, CommandOutcome::done());
                return Reaction::None;
            }
            CommandKind::Refresh => {
                self.answer(&id, CommandOutcome::done());
                return Reaction::Refresh;
            }
            CommandKind::Logs => {
                self.send_logs(id, order);
                return Reaction::None;
            }
            CommandKind::Restart if order.workload.is_none() => {
                self.answer(&id, CommandOutcome::done());
                self.end = Some(AgentEnd::Restart);
                return Reaction::None;
            }
            CommandKind::Restart => LocalOrder::Restart,
            CommandKind::Start => LocalOrder::Start,
            CommandKind::Stop => LocalOrder::Stop,
            CommandKind::Remove => LocalOrder::Remove,
        };
        match order.workload {
            Some(workload) => self.step(Input::Ordered {
                id,
                workload,
                order: local,
            }),
            None => {
                let verb = order.command.as_str();
                self.answer(
                    &id,
                    CommandOutcome::failed(format!("{verb} needs a workload")),
                );
            }
        }
        Reaction::None
    }

    fn send_logs(&mut self, id: String, order: crate::model::CommandSpec) {
        let place = order
            .workload
            .as_ref()
            .and_then(|w| self.supervisor.locate(w.as_str()));
        let runtime = place.and_then(|(kind, handle)| Some((self.engines.get(kind)?, handle)));
        let (Some(workload), Some((runtime, handle))) = (order.workload, runtime) else {
            self.answer(
                &id,
                CommandOutcome::failed("there is no such instance here yet"),
            );
            return;
        };
        let streams = self.recent.streams.clone();
        if streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
            streams.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{MAX_STREAMS} log streams are open on this node already");
            self.answer(&id, CommandOutcome::failed(message));
            return;
        }
        let query = order.logs.unwrap_or_default();
        let (sender, publisher) = (self.sender.clone(), self.publisher.clone());
        tokio::spawn(async move {
            let sending = logs::send(
                runtime,
                handle,
                workload,
                id.clone(),
                query,
                sender.clone(),
                publisher.clone(),
            );
            let outcome = sending.await;
            streams.fetch_sub(1, Ordering::Relaxed);
            let result = CommandResult { id, outcome };
            if !sender.post(&publisher, Kind::Result, None, &result) {
                tracing::warn!("outbox is full, a result was dropped");
            }
        });
    }
}
