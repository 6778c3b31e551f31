//! The shim: one small process between the agent and each native program.
//!
//! It is this same binary, started as `fleetctl shim <directory>`. It exists so that a program
//! outlives its agent: the shim, not the agent, is the program's parent, holds the other ends of
//! its pipes and learns its exit code. It is one thread without an async runtime, and it decides
//! nothing: it runs one program once and writes down what became of it.
//!
//! ```text
//! agent ──start──► shim ──start──► program (its own process group)
//!   ◄──one byte on the shim's stdout: R runs, X has an ending, B another shim is at work
//!                    │ ◄── stdout, stderr ── program
//!                    └──► log, log.1 …   state.json   exit.json
//! ```
//!
//! SIGTERM to the shim is passed on to the program's group. SIGKILL to the shim loses the exit
//! code; the agent then kills the program (see [`super::standing`]).

mod account;
mod child;
mod log;
mod output;
mod signals;

use self::log::LogWriter;
use super::directory::{InstanceDir, Lock};
use super::process_id::{ProcessId, boot_id};
use super::record::{End, Ending, State, now_ms};
use child::{NotStarted, Program};
use output::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process};
use rustix::process::{kill_process_group, wait, waitid};
use signals::Signals;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the shim tells the agent, as one byte on its standard output.
pub(super) mod answer {
    /// The program runs; `state.json` is there.
    pub const RUNS: u8 = b'R';
    /// It could not be started; `exit.json` says why.
    pub const ENDED: u8 = b'X';
    /// Another shim holds the directory.
    pub const BUSY: u8 = b'B';
}

/// How long the shim tries for the lock, which an agent may hold for a moment.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
/// How long output and stray processes are waited for after the program has ended.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// Between two looks while draining.
const DRAIN_TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// What `fleetctl shim <dir>` does. To be called first thing in `main`: before any thread, any
/// async runtime and any tracing, since it closes every inherited descriptor beyond 2.
///
/// Ends when the program has ended. Fails when there is nothing to run or nothing can be
/// written to `dir`.
pub fn shim_main(dir: &Path) -> ExitCode {
    match run(&InstanceDir::new(dir.to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads it when the agent started the shim; somebody does by hand.
            eprintln!("fleetctl shim: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &InstanceDir) -> io::Result<()> {
    signals::detach();
    let Some(_lock) = take_lock(dir)? else {
        tell(answer::BUSY);
        return Ok(());
    };
    dir.forget_run()?;
    // Before the program starts, or its end could be missed.
    let signals = Signals::new()?;
    let mut program = match child::start(dir) {
        Ok(program) => program,
        Err(NotStarted { message, may_pass }) => {
            let ending = Ending::now(End::NotStarted { may_pass }, Some(message));
            dir.write_ending(&ending)?;
            tell(answer::ENDED);
            return Ok(());
        }
    };
    let kills_before = out_of_memory_kills();
    if let Err(error) = note_state(dir, &mut program) {
        // Unseen by the agent it would be started a second time.
        let _ = kill_process_group(program.pid, Signal::KILL);
        return Err(error);
    }
    tell(answer::RUNS);

    let end = look_after(dir, &mut program, &signals);
    let mut ending = Ending::now(end, child::last_words(end, &program.resources));
    ending.out_of_memory =
        end == End::Signal(libc::SIGKILL) && out_of_memory_kills() > kills_before;
    dir.write_ending(&ending)
}

/// `None` when another shim runs the program.
fn take_lock(dir: &InstanceDir) -> io::Result<Option<Lock>> {
    let begun = Instant::now();
    loop {
        if let Some(lock) = dir.try_lock()? {
            return Ok(Some(lock));
        }
        // One that has written its ending is on its way out, and frees the lock in a moment.
        let runs = dir.ending().is_none() && dir.state().is_some_and(|state| state.is_live());
        if runs || begun.elapsed() > LOCK_LIMIT {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn note_state(dir: &InstanceDir, program: &mut Program) -> io::Result<()> {
    let gone = || io::Error::other("the process table cannot be read (is /proc mounted?)");
    let me = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    dir.write_state(&State {
        shim: ProcessId::of(me).ok_or_else(gone)?,
        // It may have ended, but not vanished: its parent has not asked for its status yet.
        child: ProcessId::of(program.pid.as_raw_pid()).ok_or_else(gone)?,
        boot_id: boot_id().ok_or_else(gone)?,
        started_ms: now_ms(),
        warnings: std::mem::take(&mut program.warnings),
    })
}

/// Writes one byte to standard output and closes it.
fn tell(byte: u8) {
    let _ = rustix::io::write(io::stdout().as_fd(), &[byte]);
    signals::close_stdout();
}

/// Until the program has ended and its last words are written.
fn look_after(dir: &InstanceDir, program: &mut Program, signals: &Signals) -> End {
    let mut log = LogWriter::open(dir);
    let mut outputs = [
        Output::new(program.stdout.take(), crate::model::LogStream::Stdout),
        Output::new(program.stderr.take(), crate::model::LogStream::Stderr),
    ];
    let mut ended: Option<(End, Instant)> = None;
    loop {
        let mut descriptors = Vec::with_capacity(3);
        descriptors.push(PollFd::new(signals, PollFlags::IN));
        for pipe in outputs.iter().filter_map(Output::pipe) {
            descriptors.push(PollFd::new(pipe, PollFlags::IN));
        }
        let limit = ended.is_some().then_some(&DRAIN_TICK);
        let _ = poll(&mut descriptors, limit);
        drop(descriptors);

        let mut childless = false;
        if signals.asked_to_end() && ended.is_none() {
            let _ = kill_process_group(program.pid, Signal::TERM);
        }
        if ended.is_none() && has_ended(program.pid) {
            // While its status is not asked for its pid, and with it the group's number, cannot
            // be given to anybody else.
            let _ = kill_process_group(program.pid, Signal::KILL);
        }
        // Also the orphans: as their subreaper the shim is asked for their status.
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == program.pid => {
                    let end = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => End::Code(code),
                        (None, Some(signal)) => End::Signal(signal),
                        (None, None) => End::Unseen,
                    };
                    ended = Some((end, Instant::now()));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    childless = true;
                    break;
                }
            }
        }
        for output in &mut outputs {
            output.pump(&mut log);
        }
        log.flush();

        if let Some((end, since)) = ended {
            kill_strays();
            let silent = outputs.iter().all(|output| output.pipe().is_none());
            if (childless && silent) || since.elapsed() > DRAIN_LIMIT {
                for output in &mut outputs {
                    output.finish(&mut log);
                }
                log.flush();
                return end;
            }
        }
    }
}

/// It has ended; its status stays to be asked for.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Kills what the program left behind outside of its group: as a subreaper the shim has become
/// the parent of it. Needs a kernel with CONFIG_PROC_CHILDREN, as all distributions have it.
fn kill_strays() {
    let Ok(children) = std::fs::read_to_string("/proc/thread-self/children") else {
        return;
    };
    for pid in children
        .split_ascii_whitespace()
        .filter_map(|text| text.parse().ok())
    {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Processes that the kernel has killed for want of memory since the machine started.
fn out_of_memory_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
