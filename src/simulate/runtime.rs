//! A runtime that only says that it runs things: the engine of a simulated node.
//!
//! ```text
//!            start time            poison, crash, the end of a run
//!  launch ────────────► running ──────────────────────────────────► exited ── start ─► running
//!     └── fails, by chance     └───────────── stop ────────────────►   └── remove ─► gone
//! ```
//!
//! What a real engine forgets at no restart of an agent, it does not either: it lives as long as
//! its node. A service runs until something ends it; what has runs (a schedule, `max_runs`) ends
//! well after a while. Each look, event and outcome goes the same way as a real engine's.

use super::{
    dice::Dice,
    profile::{Share, Span},
    tally::Tally,
};
use crate::{
    model::{
        ExecSpec, LogLine, LogQuery, LogStream, Name, RunMode, RuntimeKind, Unmanaged, Workload,
    },
    runtime::{
        ExecFeed, ExecOutput, Exit, Found, FoundStatus, Launch, Launched, Progress, Runtime,
        RuntimeError, RuntimeEvent, Usage,
    },
    support::clock,
};
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time};

/// How soon an instance of the poisoned version ends.
const POISON: Span = Span {
    from_ms: 20,
    to_ms: 200,
};
/// How long a run takes that has an end.
const RUN: Span = Span {
    from_ms: 200,
    to_ms: 2_000,
};
/// How long a stop takes.
const STOP: Span = Span {
    from_ms: 5,
    to_ms: 50,
};
/// Lines that are kept of each instance.
const MAX_LINES: usize = 8;
/// What an instance is said to use.
const MEMORY: u64 = 24 << 20;

/// How it behaves.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) start_time: Span,
    pub(super) fail: Share,
    pub(super) poison: Option<String>,
}

/// The engine of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct FakeRuntime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: RuntimeKind,
    manner: Manner,
    tally: Arc<Tally>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    instances: BTreeMap<String, Made>,
    events: Option<mpsc::Sender<RuntimeEvent>>,
}

/// An instance.
#[derive(Debug)]
struct Made {
    workload: Arc<Workload>,
    spec_hash: String,
    status: FoundStatus,
    /// Counts its starts: an end that was meant for another run does not end this one.
    run: u64,
    lines: Vec<LogLine>,
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Crash,
    Poison,
    Done,
}

impl FakeRuntime {
    pub(super) fn new(
        kind: RuntimeKind,
        manner: Manner,
        tally: Arc<Tally>,
        dice: Dice,
    ) -> FakeRuntime {
        let state = State {
            dice,
            instances: BTreeMap::new(),
            events: None,
        };
        FakeRuntime(Arc::new(Inner {
            kind,
            manner,
            tally,
            state: Mutex::new(state),
        }))
    }

    /// How many instances run.
    pub(super) fn running(&self) -> usize {
        let state = self.lock();
        let runs = |m: &&Made| matches!(m.status, FoundStatus::Running { .. });
        state.instances.values().filter(runs).count()
    }

    /// Ends the instance that is `nth` of those that run.
    pub(super) fn crash(&self, nth: usize) {
        let chosen = {
            let state = self.lock();
            let runs = |m: &Made| matches!(m.status, FoundStatus::Running { .. });
            let mut up = state.instances.iter().filter(|(_, m)| runs(m));
            up.nth(nth).map(|(handle, m)| (handle.clone(), m.run))
        };
        if let Some((handle, run)) = chosen
            && self.end(&handle, run, Cause::Crash)
        {
            self.0.tally.faults.crashes.add();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// It runs from now on, and what ends it by itself is on its way.
    fn begin(&self, state: &mut State, handle: &str) -> Result<Launched, RuntimeError> {
        let State {
            dice, instances, ..
        } = state;
        let gone = || RuntimeError::NotFound(handle.to_owned());
        let made = instances.get_mut(handle).ok_or_else(gone)?;
        made.run += 1;
        made.status = FoundStatus::Running {
            started_ms: clock::unix_ms(),
            pid: None,
        };
        made.write(
            LogStream::Stdout,
            format!("started {}", made.workload.version),
        );
        let poisoned = self.0.manner.poison.as_ref() == Some(&made.workload.version);
        let ends = if poisoned {
            Some((Cause::Poison, dice.within(POISON)))
        } else if made.workload.mode != RunMode::Forever {
            Some((Cause::Done, dice.within(RUN)))
        } else {
            None
        };
        if let Some((cause, after)) = ends {
            let (runtime, handle, run) = (self.clone(), handle.to_owned(), made.run);
            tokio::spawn(async move {
                time::sleep(after).await;
                if runtime.end(&handle, run, cause) && cause == Cause::Poison {
                    runtime.0.tally.faults.poisoned.add();
                }
            });
        }
        state.tell(handle);
        Ok(Launched {
            handle: handle.to_owned(),
            pid: None,
            warnings: Vec::new(),
        })
    }

    /// Ends a run; `false` when it has ended already.
    fn end(&self, handle: &str, run: u64, cause: Cause) -> bool {
        let mut state = self.lock();
        let up = |m: &&mut Made| m.run == run && matches!(m.status, FoundStatus::Running { .. });
        let Some(made) = state.instances.get_mut(handle).filter(up) else {
            return false;
        };
        let (code, words) = match cause {
            Cause::Crash => (139, "simulated crash: going down"),
            Cause::Poison => (1, "simulated poison: this version cannot work, giving up"),
            Cause::Done => (0, "done"),
        };
        made.write(LogStream::Stderr, words.to_owned());
        made.status = FoundStatus::Exited(Exit {
            code: Some(code),
            ..Exit::default()
        });
        state.tell(handle);
        true
    }

    fn chance(&self, what: impl FnOnce(&mut Dice) -> Duration) -> Duration {
        what(&mut self.lock().dice)
    }

    async fn launched(
        &self,
        launch: &Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> Result<Launched, RuntimeError> {
        let _ = progress.send(Progress::Starting);
        let takes = self.chance(|dice| dice.within(self.0.manner.start_time));
        time::sleep(takes).await;
        let mut state = self.lock();
        if !self.0.tally.is_calm() && state.dice.happens(self.0.manner.fail) {
            self.0.tally.faults.launches.add();
            let why = format!(
                "`{}` was not started: simulated fault",
                launch.workload.name
            );
            return Err(RuntimeError::Failed(why));
        }
        let handle = launch.container_name();
        let stands = state.instances.get(&handle);
        if stands.is_some_and(|m| matches!(m.status, FoundStatus::Running { .. })) {
            return Ok(Launched {
                handle,
                pid: None,
                warnings: Vec::new(),
            });
        }
        // An instance that is made anew goes on counting its runs.
        let made = Made {
            workload: launch.workload.clone(),
            spec_hash: launch.spec_hash.clone(),
            status: FoundStatus::Created,
            run: stands.map_or(0, |m| m.run),
            lines: Vec::new(),
        };
        state.instances.insert(handle.clone(), made);
        self.begin(&mut state, &handle)
    }
}

impl State {
    /// A hint: where the queue is full the agent's own listing tells later.
    fn tell(&self, handle: &str) {
        if let Some(events) = &self.events {
            let _ = events.try_send(RuntimeEvent::Changed {
                handle: handle.to_owned(),
            });
        }
    }

    fn found(&self, handle: &str) -> Result<Found, RuntimeError> {
        let gone = || RuntimeError::NotFound(handle.to_owned());
        let made = self.instances.get(handle).ok_or_else(gone)?;
        Ok(Found {
            handle: handle.to_owned(),
            workload: made.workload.name.clone(),
            version: made.workload.version.clone(),
            spec_hash: made.spec_hash.clone(),
            status: made.status.clone(),
            health: None,
        })
    }
}

impl Made {
    fn write(&mut self, stream: LogStream, text: String) {
        let now_ns = clock::unix_ms().saturating_mul(1_000_000);
        let after = self.lines.last().map_or(0, |l| l.time_ns + 1);
        self.lines.push(LogLine {
            time_ns: now_ns.max(after),
            stream,
            text,
        });
        let surplus = self.lines.len().saturating_sub(MAX_LINES);
        self.lines.drain(..surplus);
    }

    /// The lines that are asked for, oldest first.
    fn lines(&self, query: &LogQuery) -> Vec<LogLine> {
        let wanted = |l: &&LogLine| {
            query.since_ns.is_none_or(|since| l.time_ns > since)
                && query.until_ns.is_none_or(|until| l.time_ns < until)
                && query.stream.is_none_or(|stream| l.stream == stream)
        };
        let all: Vec<LogLine> = self.lines.iter().filter(wanted).cloned().collect();
        let tail = query.tail.map_or(all.len(), |n| n as usize);
        all[all.len().saturating_sub(tail)..].to_vec()
    }
}

impl Runtime for FakeRuntime {
    fn kind(&self) -> RuntimeKind {
        self.0.kind
    }

    fn version(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async { Ok(format!("simulated-{}", crate::support::release::version())) })
    }

    fn list<'a>(&'a self, _node: &'a Name) -> BoxFuture<'a, Result<Vec<Found>, RuntimeError>> {
        Box::pin(async {
            let state = self.lock();
            state.instances.keys().map(|h| state.found(h)).collect()
        })
    }

    fn inspect<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Found, RuntimeError>> {
        Box::pin(async move { self.lock().found(handle) })
    }

    fn prepare<'a>(
        &'a self,
        _launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let _ = progress.send(Progress::Pulling(None));
            let takes = self.chance(|dice| dice.within(self.0.manner.start_time));
            time::sleep(takes).await;
            Ok(())
        })
    }

    fn launch<'a>(
        &'a self,
        launch: &'a Launch,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(self.launched(launch, progress))
    }

    fn start<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Launched, RuntimeError>> {
        Box::pin(async move {
            let takes = self.chance(|dice| dice.within(self.0.manner.start_time));
            time::sleep(takes).await;
            let mut state = self.lock();
            let found = state.found(handle)?;
            match found.status {
                FoundStatus::Running { .. } => Ok(Launched {
                    handle: handle.to_owned(),
                    pid: None,
                    warnings: Vec::new(),
                }),
                _ => self.begin(&mut state, handle),
            }
        })
    }

    fn stop<'a>(
        &'a self,
        handle: &'a str,
        timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let takes = self.chance(|dice| dice.within(STOP));
            time::sleep(takes.min(Duration::from_millis(timeout_ms))).await;
            let mut state = self.lock();
            if let Some(made) = state.instances.get_mut(handle)
                && matches!(made.status, FoundStatus::Running { .. })
            {
                made.status = FoundStatus::Exited(Exit {
                    code: Some(143),
                    ..Exit::default()
                });
                state.tell(handle);
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let mut state = self.lock();
            if state.instances.remove(handle).is_some() {
                state.tell(handle);
            }
            Ok(())
        })
    }

    fn logs<'a>(
        &'a self,
        handle: &'a str,
        query: &'a LogQuery,
        lines: mpsc::Sender<LogLine>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let known = self.lock().instances.get(handle).map(|m| m.lines(query));
            let known = known.ok_or_else(|| RuntimeError::NotFound(handle.to_owned()))?;
            for line in known {
                if lines.send(line).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(ms) = query.follow_ms {
                // It writes next to nothing: whoever follows hears of it with the next look.
                let _ = time::timeout(Duration::from_millis(ms), lines.closed()).await;
            }
            Ok(())
        })
    }

    /// Nothing is run: hooks and checks of simulated instances find that all is well.
    fn exec<'a>(
        &'a self,
        handle: &'a str,
        exec: &'a ExecSpec,
        output: mpsc::Sender<ExecOutput>,
        _feed: Option<mpsc::Receiver<ExecFeed>>,
    ) -> BoxFuture<'a, Result<i32, RuntimeError>> {
        Box::pin(async move {
            self.lock().found(handle)?;
            let program = exec.command.first().map_or("", String::as_str);
            let said = format!("this node is simulated: `{program}` was not run\n");
            let _ = output
                .send(ExecOutput {
                    stream: LogStream::Stdout,
                    data: said.into(),
                })
                .await;
            Ok(0)
        })
    }

    fn probe_image<'a>(
        &'a self,
        handle: &'a str,
        _timeout_ms: u64,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let state = self.lock();
            let made = state.instances.get(handle);
            match made {
                Some(made) if self.0.manner.poison.as_ref() == Some(&made.workload.version) => {
                    Err("simulated poison: this version is never healthy".into())
                }
                Some(made) if matches!(made.status, FoundStatus::Running { .. }) => Ok(()),
                _ => Err("it does not run".into()),
            }
        })
    }

    fn reload<'a>(
        &'a self,
        handle: &'a str,
        launch: &'a Launch,
    ) -> BoxFuture<'a, Result<bool, RuntimeError>> {
        Box::pin(async move {
            let mut state = self.lock();
            let gone = || RuntimeError::NotFound(handle.to_owned());
            let made = state.instances.get_mut(handle).ok_or_else(gone)?;
            let changed = made.workload.files != launch.workload.files;
            made.workload = launch.workload.clone();
            Ok(changed)
        })
    }

    fn usage<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Option<Usage>> {
        Box::pin(async move {
            let state = self.lock();
            match state.instances.get(handle)?.status {
                FoundStatus::Running { started_ms, .. } => Some(Usage {
                    // A hundredth of a core.
                    cpu_us: clock::unix_ms().saturating_sub(started_ms) * 10,
                    memory: MEMORY,
                }),
                _ => None,
            }
        })
    }

    fn unmanaged<'a>(
        &'a self,
        _whole: bool,
    ) -> BoxFuture<'a, Result<Vec<Unmanaged>, RuntimeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn watch(&self, events: mpsc::Sender<RuntimeEvent>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.lock().events = Some(events.clone());
            if events.send(RuntimeEvent::Connected).await.is_ok() {
                events.closed().await;
            }
        })
    }
}

#[cfg(test)]
mod tests;
