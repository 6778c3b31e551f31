//! One more program beside an instance: with its user, its directory, its environment and its
//! cgroup, but a child of the agent, since it ends with whoever asked for it.
//!
//! ```text
//! feed ──► stdin │ terminal        Dropping the future kills the program's group.
//! output ◄── stdout, stderr │ terminal
//! ```
//!
//! It has a session of its own, and with it a process group: what it leaves behind there is
//! killed when it has ended.

mod stream;
mod terminal;

use super::directory::InstanceDir;
use super::process_id::ProcessId;
use super::program::{NotStarted, Setting, explain};
use super::record::{Plan, State};
use super::{mounts, readable, shim, spawn};
use crate::model::{ExecSpec, LogStream};
use crate::runtime::{ExecFeed, ExecOutput, RuntimeError};
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::Duration;
use stream::{Ended, Sink};
use terminal::Terminal;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

/// The longest that a program may run.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long its status is waited for once its descriptor says that it has ended.
const REAP_TRIES: u32 = 100;

/// Runs it and gives its exit code, 128 + n for signal n.
pub(super) async fn exec(
    dir: &InstanceDir,
    exec: &ExecSpec,
    output: mpsc::Sender<ExecOutput>,
    feed: Option<mpsc::Receiver<ExecFeed>>,
) -> Result<i32, RuntimeError> {
    let gone = || RuntimeError::NotFound(dir.handle());
    let plan = dir.plan().ok_or_else(gone)?;
    let Some(state) = dir.state().filter(State::is_live) else {
        return Err(RuntimeError::Failed(format!(
            "`{}` does not run, so nothing can be run beside it; start it first",
            plan.workload
        )));
    };
    let running = start(dir, &plan, &state, exec)?;
    let limit_ms = exec.timeout_ms.unwrap_or(DAY_MS).min(DAY_MS);
    match tokio::time::timeout(Duration::from_millis(limit_ms), running.run(output, feed)).await {
        Ok(code) => code.map_err(|error| {
            RuntimeError::Failed(format!("the command was lost sight of and killed: {error}"))
        }),
        Err(_) => Err(RuntimeError::Failed(format!(
            "the command did not end within {} s and was killed",
            limit_ms as f64 / 1000.0
        ))),
    }
}

/// A program that runs; dropping it kills it.
struct Running {
    program: Leader,
    ended: Option<AsyncFd<OwnedFd>>,
    streams: Streams,
}

enum Streams {
    Pipes {
        stdin: Option<AsyncFd<OwnedFd>>,
        stdout: AsyncFd<OwnedFd>,
        stderr: AsyncFd<OwnedFd>,
    },
    /// `true`: nothing is sent to it.
    Terminal(Terminal, bool),
}

/// The leader of the program's group.
struct Leader {
    id: ProcessId,
    child: Option<Child>,
}

impl Drop for Leader {
    fn drop(&mut self) {
        // While nobody has asked for its status its number stays its own.
        let Some(mut child) = self.child.take() else {
            return;
        };
        self.id.signal_group(Signal::KILL);
        match tokio::runtime::Handle::try_current() {
            Ok(_) => {
                let _ = spawn::reap(child);
            }
            Err(_) => {
                let _ = child.try_wait();
            }
        }
    }
}

fn start(
    dir: &InstanceDir,
    plan: &Plan,
    state: &State,
    exec: &ExecSpec,
) -> Result<Running, RuntimeError> {
    let refused = |why: NotStarted| {
        if why.may_pass {
            RuntimeError::Failed(why.message)
        } else {
            RuntimeError::Refused(why.message)
        }
    };
    let failed =
        |error: io::Error| RuntimeError::Failed(format!("the command cannot be started: {error}"));
    let setting = Setting::of(dir, plan).map_err(refused)?;
    let mut command = setting.command(plan, &exec.command).map_err(refused)?;
    let terminal = match exec.terminal {
        Some(size) => {
            if !plan.env.contains_key("TERM") {
                command.env("TERM", "xterm-256color");
            }
            let (terminal, programs) = Terminal::open(size, setting.account.uid).map_err(failed)?;
            let copy = || programs.try_clone().map(Stdio::from);
            command
                .stdin(copy().map_err(failed)?)
                .stdout(copy().map_err(failed)?)
                .stderr(programs);
            Some(terminal)
        }
        None => {
            command
                .stdin(if exec.stdin {
                    Stdio::piped()
                } else {
                    Stdio::null()
                })
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            None
        }
    };
    // Where it cannot get in it runs outside; it ends with whoever asked for it all the same.
    let door = state
        .cgroup()
        .and_then(|cgroup| cgroup.door().ok())
        .map(OwnedFd::from);
    mounts::of_the_machine(&mut command, &setting.place);
    let identity = setting.identity.clone();
    let has_terminal = terminal.is_some();
    // SAFETY: between fork and exec only system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            shim::reset_signals();
            if let Some(door) = &door {
                let _ = rustix::io::write(door, b"0");
            }
            rustix::process::setsid()?;
            if has_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            identity.assume()
        });
    }
    let spawned = command.spawn();
    // It holds the program's ends of pipes and terminal, which only the program is to have.
    drop(command);
    let program = exec.command.first().map_or("", String::as_str);
    let mut child = spawned.map_err(|error| refused(explain(plan, program, &error)))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // It may have ended, but its status is asked for below only.
    let id = i32::try_from(child.id()).ok().and_then(ProcessId::of);
    let Some(id) = id else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(io::Error::other("the process table cannot be read")));
    };
    let program = Leader {
        id,
        child: Some(child),
    };
    let ended = id
        .open()
        .and_then(|fd| fd.map(readable::readable).transpose());
    let streams = match (terminal, stdout, stderr) {
        (Some(terminal), _, _) => Ok(Streams::Terminal(terminal, !exec.stdin)),
        (None, Some(stdout), Some(stderr)) => {
            pipes(stdin.map(OwnedFd::from), stdout.into(), stderr.into())
        }
        _ => Err(io::Error::other("it has no output")),
    };
    Ok(Running {
        program,
        ended: ended.map_err(failed)?,
        streams: streams.map_err(failed)?,
    })
}

fn pipes(stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Streams> {
    for pipe in [stdin.as_ref(), Some(&stdout), Some(&stderr)]
        .into_iter()
        .flatten()
    {
        rustix::io::ioctl_fionbio(pipe.as_fd(), true)?;
    }
    Ok(Streams::Pipes {
        stdin: stdin.map(readable::writable).transpose()?,
        stdout: readable::readable(stdout)?,
        stderr: readable::readable(stderr)?,
    })
}

impl Running {
    async fn run(
        self,
        output: mpsc::Sender<ExecOutput>,
        feed: Option<mpsc::Receiver<ExecFeed>>,
    ) -> io::Result<i32> {
        let Running {
            mut program,
            ended,
            streams,
        } = self;
        let (tell, told) = watch::channel(false);
        let end = async {
            if let Some(ended) = &ended {
                let _ = ended.readable().await?;
            }
            // First what it has left behind, so that the output has an end, too.
            program.id.signal_group(Signal::KILL);
            let _ = tell.send(true);
            Ok::<(), io::Error>(())
        };
        match streams {
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let out = stream::pump(&stdout, LogStream::Stdout, &output, Ended(told.clone()));
                let err = stream::pump(&stderr, LogStream::Stderr, &output, Ended(told));
                let outputs = async { tokio::join!(end, out, err).0 };
                with_feed(outputs, stream::feed(stdin.map(Sink::Pipe), feed)).await?;
            }
            Streams::Terminal(terminal, silent) => {
                let out = stream::pump(terminal.fd(), LogStream::Stdout, &output, Ended(told));
                let outputs = async { tokio::join!(end, out).0 };
                let sink = Sink::Terminal {
                    terminal: &terminal,
                    silent,
                };
                with_feed(outputs, stream::feed(Some(sink), feed)).await?;
            }
        }
        program.status().await
    }
}

/// Until the program has ended; what is fed to it ends before, or is cut off.
async fn with_feed<T>(outputs: impl Future<Output = T>, feed: impl Future<Output = ()>) -> T {
    tokio::pin!(outputs, feed);
    tokio::select! {
        result = &mut outputs => return result,
        () = &mut feed => {}
    }
    outputs.await
}

impl Leader {
    /// Asks for its status, which is there.
    async fn status(&mut self) -> io::Result<i32> {
        for _ in 0..REAP_TRIES {
            let Some(child) = &mut self.child else { break };
            if let Some(status) = child.try_wait()? {
                self.child = None;
                let signal = status.signal().map(|signal| 128_i32.saturating_add(signal));
                return Ok(status.code().or(signal).unwrap_or(-1));
            }
            // Its threads end one by one.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(io::Error::other("its exit code cannot be told"))
    }
}
