//! One-off orders: each is run at most once, also over a restart of the agent.

use super::{
    AgentEnd,
    bulk::Bulk,
    exec::{Execs, Job},
    logs,
    node::Node,
};
use crate::{
    contract::{CommandBody, CommandResult, Kind, Logs, Seq, Stream},
    model::{CommandKind, CommandOutcome, CommandSpec, LogStream, Name, Unmanaged},
    runtime::Runtime,
    supervisor::{Input, LocalOrder},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::task::AbortHandle;

/// Results that are kept, for a command that arrives again.
const KEPT_RESULTS: usize = 64;
/// Streams of log lines at the same time.
const MAX_STREAMS: usize = 16;
/// Bytes of containers in one result, which must not be larger than a result may.
const MAX_FOUND: usize = 200 * 1024;

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
    /// Tasks that send log lines, by the id of their command.
    streams: BTreeMap<String, AbortHandle>,
    execs: Execs,
    pub(super) images: super::images::Places,
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
        let CommandBody { id, order, trace } = command;
        if let Some(trace) = trace {
            let (command, trace) = (order.command.as_str(), trace.trace_id());
            tracing::debug!(command, id, trace, "ordered");
        }
        if let Some(known) = self.recent.find(&id) {
            self.answer(&id, known.outcome);
            return Reaction::None;
        }
        if order.command.changes_something() {
            if seq <= self.core.memory.command_seq {
                self.answer(
                    &id,
                    CommandOutcome::failed("it was run before this agent's restart"),
                );
                return Reaction::None;
            }
            // On disk before it acts: a power cut may lose the command, never run it twice.
            self.core.memory.command_seq = seq;
            if let Err(error) = self.core.keep_memory() {
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
            CommandKind::Exec => {
                self.exec(id, order);
                return Reaction::None;
            }
            CommandKind::Input => {
                self.input(id, order);
                return Reaction::None;
            }
            CommandKind::Discover => {
                self.discover(id);
                return Reaction::None;
            }
            CommandKind::Image => {
                self.image(&id, order);
                return Reaction::None;
            }
            CommandKind::Images => {
                self.images(&id);
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

    pub(super) fn bulk(&self) -> Bulk {
        Bulk {
            sender: self.sender.clone(),
            publisher: self.publisher.clone(),
        }
    }

    /// The instance that an order is about.
    fn place(&self, workload: Option<&Name>) -> Result<(Name, Arc<dyn Runtime>, String), String> {
        let workload = workload.ok_or("which workload is not said")?;
        let place = self.core.supervisor.locate(workload.as_str());
        let found = place.and_then(|(kind, handle)| Some((self.core.engines.get(kind)?, handle)));
        match found {
            Some((runtime, handle)) => Ok((workload.clone(), runtime, handle)),
            None => Err(format!(
                "there is no instance of {workload} on this node yet"
            )),
        }
    }

    fn send_logs(&mut self, id: String, order: CommandSpec) {
        let streams = &mut self.recent.streams;
        streams.retain(|_, task| !task.is_finished());
        let place = if streams.len() < MAX_STREAMS {
            self.place(order.workload.as_ref())
        } else {
            Err(format!(
                "{MAX_STREAMS} log streams are open on this node already"
            ))
        };
        let (workload, runtime, handle) = match place {
            Ok(place) => place,
            Err(message) => {
                if let Some(workload) = &order.workload {
                    let (command, lines) = (id.clone(), Vec::new());
                    let end = Logs {
                        command,
                        n: 0,
                        lines,
                    };
                    self.sender
                        .post(&self.publisher, Kind::Logs, Some(workload), &end);
                }
                return self.answer(&id, CommandOutcome::failed(message));
            }
        };
        let query = order.logs.unwrap_or_default();
        let (bulk, command) = (self.bulk(), id.clone());
        let task = tokio::spawn(async move {
            let sending = logs::send(
                runtime,
                handle,
                workload,
                command.clone(),
                query,
                bulk.clone(),
            );
            let outcome = sending.await;
            let result = CommandResult {
                id: command,
                outcome,
            };
            bulk.post(Kind::Result, None, &result).await;
        });
        self.recent.streams.insert(id, task.abort_handle());
    }

    fn exec(&mut self, id: String, order: CommandSpec) {
        let begun = self
            .place(order.workload.as_ref())
            .and_then(|(workload, runtime, handle)| {
                self.recent.execs.start(Job {
                    id: id.clone(),
                    workload,
                    runtime,
                    handle,
                    spec: order.exec.unwrap_or_default(),
                    bulk: self.bulk(),
                })
            });
        if let Err(message) = begun {
            if let Some(workload) = &order.workload {
                let end = Stream {
                    command: id.clone(),
                    n: 0,
                    stream: LogStream::Stdout,
                    data: String::new(),
                };
                self.sender
                    .post(&self.publisher, Kind::Stream, Some(workload), &end);
            }
            self.answer(&id, CommandOutcome::failed(message));
        }
    }

    fn input(&mut self, id: String, order: CommandSpec) {
        let input = order.input.unwrap_or_default();
        // Who listened to log lines has gone.
        if input.kill
            && let Some(task) = self.recent.streams.remove(&input.session)
        {
            task.abort();
            return;
        }
        let unanswered = input.kill || input.taken.is_some();
        if !self.recent.execs.input(id.clone(), input) && !unanswered {
            // Not kept: that it does not run is as true the next time.
            let outcome = CommandOutcome::failed("it does not run any more");
            self.say(Kind::Result, &CommandResult { id, outcome });
        }
    }

    /// Tells the containers that run here without the fleet, as many as one result can carry.
    fn discover(&mut self, id: String) {
        let engines = &self.core.engines;
        let runtimes: Vec<_> = engines
            .kinds()
            .into_iter()
            .filter_map(|k| engines.get(k))
            .collect();
        let bulk = self.bulk();
        tokio::spawn(async move {
            let (mut found, mut trouble) = (Vec::new(), Vec::new());
            for runtime in runtimes {
                match runtime.unmanaged(true).await {
                    Ok(mut more) => found.append(&mut more),
                    Err(error) => trouble.push(error.to_string()),
                }
            }
            let cut = bounded(&mut found);
            if cut > 0 {
                trouble.push(format!("{cut} more containers are not shown"));
            }
            let outcome = CommandOutcome {
                ok: trouble.is_empty() || !found.is_empty(),
                message: (!trouble.is_empty()).then(|| trouble.join("; ")),
                unmanaged: found,
                ..CommandOutcome::done()
            };
            let result = CommandResult { id, outcome };
            bulk.post(Kind::Result, None, &result).await;
        });
    }
}

/// Takes away what is more than [`MAX_FOUND`] bytes; how many.
fn bounded(found: &mut Vec<Unmanaged>) -> usize {
    let mut bytes = 0;
    let weight = |one: &Unmanaged| serde_json::to_vec(one).map_or(MAX_FOUND, |v| v.len() + 1);
    let fit = found.iter().take_while(|one| {
        bytes += weight(one);
        bytes <= MAX_FOUND
    });
    let fit = fit.count();
    let cut = found.len() - fit;
    found.truncate(fit);
    cut
}
