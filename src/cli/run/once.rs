//! The run itself: launch, pass on what it writes, stop, take away.

use super::super::Failure;
use crate::{
    manifest::quantity::duration_text,
    model::{LogLine, LogQuery, LogStream, Name, RuntimeKind},
    runtime::{Exit, FoundStatus, Launch, Progress, Runtime, RuntimeError},
};
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{self, Instant},
};

/// Between two looks at it, beside the runtime's own word.
const LOOK: Duration = Duration::from_millis(500);
/// How long a launch that is under way is waited for when somebody gives up.
const LAUNCH_ENDS: Duration = Duration::from_secs(30);
/// A container's last lines have come when nothing came for so long.
const QUIET: Duration = Duration::from_millis(300);
/// As long as anybody watches.
const FOLLOW_MS: u64 = 30 * 24 * 3_600_000;
/// As `timeout(1)` has it.
const TIMED_OUT: u8 = 124;

/// SIGINT, SIGTERM and SIGHUP.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn catch() -> io::Result<Signals> {
        let caught = |kind: SignalKind| -> io::Result<(Signal, u8)> {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            Ok((signal(kind)?, number))
        };
        Ok(Signals([
            caught(SignalKind::interrupt())?,
            caught(SignalKind::terminate())?,
            caught(SignalKind::hangup())?,
        ]))
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let [(one, a), (two, b), (three, c)] = &mut self.0;
        tokio::select! {
            _ = one.recv() => *a,
            _ = two.recv() => *b,
            _ = three.recv() => *c,
        }
    }
}

/// Why it is being stopped: the exit code that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopped(u8);

/// One run.
pub(super) struct Once {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) launch: Launch,
    pub(super) timeout_ms: Option<u64>,
}

impl Once {
    /// Our exit code.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let mut signals = Signals::catch()?;
        let ended = self.attempt(&mut signals).await;
        self.clean_up().await;
        let _ = io::stdout().flush();
        ended
    }

    async fn attempt(&self, signals: &mut Signals) -> Result<u8, Failure> {
        let name = &self.launch.workload.name;
        let failed = |error: RuntimeError| Failure::new(format!("{name} cannot start: {error}"));
        // What may take minutes comes first, since it can be given up at any time.
        tokio::select! {
            prepared = self.runtime.prepare(&self.launch, tell_pull(name)) => {
                prepared.map_err(failed)?;
            }
            number = signals.next() => return Ok(128 + number),
        }
        let mut launching = self.runtime.launch(&self.launch, tell_pull(name));
        let launched = tokio::select! {
            launched = &mut launching => launched.map_err(failed)?,
            number = signals.next() => {
                // Half a container would be left behind.
                let _ = time::timeout(LAUNCH_ENDS, launching).await;
                return Ok(128 + number);
            }
        };
        for warning in &launched.warnings {
            eprintln!("warning: {warning}");
        }
        self.attend(&launched.handle, signals).await
    }

    /// Passes on what it writes until it has ended.
    async fn attend(&self, handle: &str, signals: &mut Signals) -> Result<u8, Failure> {
        let mut output = Output::default();
        let (written, mut lines) = mpsc::channel::<LogLine>(256);
        let query = LogQuery {
            follow_ms: Some(FOLLOW_MS),
            ..LogQuery::default()
        };
        let (runtime, of) = (self.runtime.clone(), handle.to_owned());
        let following = tokio::spawn(async move {
            // What it does not give, the reading after the end does.
            let _ = runtime.logs(&of, &query, written).await;
        });
        let (told, mut events) = mpsc::channel(16);
        let runtime = self.runtime.clone();
        let watching = tokio::spawn(async move { runtime.watch(told).await });
        let mut look = time::interval(LOOK);
        let far = Instant::now() + Duration::from_millis(FOLLOW_MS);
        let limit = self.timeout_ms.map(Duration::from_millis);
        let deadline = limit.map_or(far, |limit| Instant::now() + limit);
        let mut stopped: Option<Stopped> = None;
        let exit = loop {
            tokio::select! {
                Some(line) = lines.recv() => {
                    if output.write(&line).is_err() && stopped.is_none() {
                        // 128 + SIGPIPE: nobody reads it any more.
                        stopped = Some(Stopped(141));
                        self.stop(handle, self.launch.workload.stop_timeout_ms);
                    }
                    continue;
                }
                number = signals.next() => {
                    // Asked again, it is not asked nicely any more.
                    let grace = match stopped {
                        None => self.launch.workload.stop_timeout_ms,
                        Some(_) => 0,
                    };
                    stopped.get_or_insert(Stopped(128 + number));
                    self.stop(handle, grace);
                }
                () = time::sleep_until(deadline), if stopped.is_none() && limit.is_some() => {
                    eprintln!(
                        "{} ran longer than its timeout of {} and is stopped",
                        self.launch.workload.name,
                        duration_text(self.timeout_ms.unwrap_or_default())
                    );
                    stopped = Some(Stopped(TIMED_OUT));
                    self.stop(handle, self.launch.workload.stop_timeout_ms);
                }
                Some(_) = events.recv() => {}
                _ = look.tick() => {}
            }
            match self.runtime.inspect(handle).await {
                Ok(found) => {
                    if let FoundStatus::Exited(exit) = found.status {
                        break exit;
                    }
                }
                Err(RuntimeError::NotFound(_)) => {
                    break Exit {
                        message: Some("somebody removed it".to_owned()),
                        ..Exit::default()
                    };
                }
                // In trouble for a moment; the next look tells.
                Err(_) => {}
            }
        };
        watching.abort();
        // The times of a process's lines tell exactly where to go on; an engine's may be equal.
        if self.runtime.kind() != RuntimeKind::Process {
            while let Ok(Some(line)) = time::timeout(QUIET, lines.recv()).await {
                let _ = output.write(&line);
            }
        }
        following.abort();
        while let Some(line) = lines.recv().await {
            let _ = output.write(&line);
        }
        self.rest(handle, &mut output).await;
        Ok(self.exit_code(stopped, &exit))
    }

    /// Lines that were written, and not followed any more.
    async fn rest(&self, handle: &str, output: &mut Output) {
        let (written, mut lines) = mpsc::channel::<LogLine>(256);
        let query = LogQuery {
            since_ns: output.last_ns,
            ..LogQuery::default()
        };
        let reading = self.runtime.logs(handle, &query, written);
        let writing = async {
            while let Some(line) = lines.recv().await {
                let _ = output.write(&line);
            }
        };
        let (read, ()) = tokio::join!(reading, writing);
        match read {
            Ok(()) | Err(RuntimeError::NotFound(_)) => {}
            Err(error) => eprintln!("warning: its last lines cannot be read: {error}"),
        }
    }

    fn exit_code(&self, stopped: Option<Stopped>, exit: &Exit) -> u8 {
        if let Some(Stopped(code)) = stopped {
            return code;
        }
        if exit.out_of_memory {
            eprintln!("{} was ended for want of memory", self.launch.workload.name);
        } else if let Some(message) = exit.message.as_ref().filter(|_| exit.code != Some(0)) {
            eprintln!("{}: {message}", self.launch.workload.name);
        }
        let code = exit.code.unwrap_or(1);
        // What fits no exit code must not look like success.
        u8::try_from(code).unwrap_or(1)
    }

    /// Begins to stop it; its end is seen like any other.
    fn stop(&self, handle: &str, grace_ms: u64) {
        let (runtime, handle) = (self.runtime.clone(), handle.to_owned());
        tokio::spawn(async move {
            if let Err(error) = runtime.stop(&handle, grace_ms).await {
                eprintln!("it cannot be stopped: {error}");
            }
        });
    }

    /// Takes away everything that carries the name of this run's node.
    async fn clean_up(&self) {
        let removed = async {
            for found in self.runtime.list(&self.launch.node).await? {
                self.runtime.remove(&found.handle).await?;
            }
            Ok::<(), RuntimeError>(())
        };
        if let Err(error) = removed.await {
            eprintln!(
                "warning: something of it may be left behind, with the label io.fleetctl.node={}: \
                 {error}",
                self.launch.node
            );
        }
    }
}

/// Says once that an image is being fetched.
fn tell_pull(name: &Name) -> mpsc::UnboundedSender<Progress> {
    let (progress, mut steps) = mpsc::unbounded_channel();
    let name = name.clone();
    tokio::spawn(async move {
        let mut told = false;
        while let Some(step) = steps.recv().await {
            if matches!(step, Progress::Pulling(_)) && !std::mem::replace(&mut told, true) {
                eprintln!("the image of {name} is being fetched");
            }
        }
    });
    progress
}

/// Our own output.
#[derive(Default)]
struct Output {
    /// Time of the last line that was passed on.
    last_ns: Option<u64>,
}

impl Output {
    fn write(&mut self, line: &LogLine) -> io::Result<()> {
        self.last_ns = self.last_ns.max(Some(line.time_ns));
        let mut bytes = Vec::with_capacity(line.text.len() + 1);
        bytes.extend_from_slice(line.text.as_bytes());
        bytes.push(b'\n');
        match line.stream {
            LogStream::Stdout => io::stdout().lock().write_all(&bytes),
            LogStream::Stderr => io::stderr().lock().write_all(&bytes),
        }
    }
}
