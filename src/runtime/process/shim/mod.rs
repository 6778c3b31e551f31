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
//! The program and all that it starts live in a cgroup of their own where that can be had (see
//! [`super::cgroup`]); the shim stays outside. SIGTERM to the shim is passed on to the program's group. SIGKILL to the shim loses the exit
//! code; the agent then kills the program (see [`super::standing`]).

mod child;
mod limits;
mod log;
mod output;
mod signals;
mod strays;

pub(crate) use signals::Signals;
pub(super) use signals::reset as reset_signals;

use self::log::LogWriter;
use super::cgroup::{Cgroup, KILL_LIMIT};
use super::directory::{InstanceDir, Lock};
use super::process_id::{ProcessId, boot_id};
use super::program::NotStarted;
use super::record::{End, Ending, State, now_ms};
use crate::support::memory::release_code;
use child::Program;
use output::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use rustix::process::{kill_process_group, wait, waitid};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
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
/// The variable by which the agent says where the program's cgroup is to be.
pub(super) const CGROUP_VARIABLE: &str = "FLEETCTL_CGROUP";

/// How long output is waited for after the program and all that it has started is gone: somebody
/// else may hold its pipes.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// How long what it has left behind is killed over and over, should that make more of itself.
const STRAYS_LIMIT: Duration = Duration::from_secs(5);
/// How long after some output its buffers are given back.
const QUIET: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
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
    let cgroup = std::env::var_os(CGROUP_VARIABLE).map(PathBuf::from);
    // A program whose state could not be written down would have to be killed at once: then it is
    // rather not begun.
    let started = dir
        .keep_room()
        .map_err(|error| NotStarted {
            message: format!("its state cannot be written down, so it is not started: {error}"),
            may_pass: true,
        })
        .and_then(|()| child::start(dir, cgroup));
    let mut program = match started {
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
        kill_all(&program);
        if let Some(cgroup) = &program.cgroup {
            cgroup.remove(KILL_LIMIT);
        }
        return Err(error);
    }
    tell(answer::RUNS);
    let _ = dir.keep_room();
    // From here on it waits, beside every program there is.
    release_code();

    let end = look_after(dir, &mut program, &signals);
    let ending = child::ending(dir, &program, end, out_of_memory_kills() > kills_before);
    // Before the ending: once that is there, the next run may begin.
    if let Some(cgroup) = &program.cgroup {
        cgroup.remove(KILL_LIMIT);
    }
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
    dir.write_state(&State {
        shim: ProcessId::own().ok_or_else(gone)?,
        // It may have ended, but not vanished: its parent has not asked for its status yet.
        child: ProcessId::of(program.pid.as_raw_pid()).ok_or_else(gone)?,
        boot_id: boot_id().ok_or_else(gone)?,
        started_ms: now_ms(),
        warnings: std::mem::take(&mut program.warnings),
        cgroup: program
            .cgroup
            .as_ref()
            .map(|cgroup| cgroup.path().to_owned()),
    })
}

/// Writes one byte to standard output and closes it.
fn tell(byte: u8) {
    let _ = rustix::io::write(io::stdout().as_fd(), &[byte]);
    signals::close_stdout();
}

/// Until the program has ended and its last words are written.
fn look_after(dir: &InstanceDir, program: &mut Program, signals: &Signals) -> End {
    let mut log = LogWriter::open(dir, &program.logs);
    let mut outputs = [
        Output::new(program.stdout.take(), crate::model::LogStream::Stdout),
        Output::new(program.stderr.take(), crate::model::LogStream::Stderr),
    ];
    let mut ended: Option<(End, Instant)> = None;
    let mut busy = false;
    loop {
        let limit = match (ended, busy) {
            (Some(_), _) => Some(&DRAIN_TICK),
            (None, true) => Some(&QUIET),
            (None, false) => None,
        };
        busy = wait_for(signals, &outputs, limit);
        if !busy {
            // Nothing for a while: a shim that has little to do is to be small.
            log.rest();
            outputs.iter_mut().for_each(Output::rest);
        }
        if signals.asked_to_end() && ended.is_none() {
            let _ = kill_process_group(program.pid, Signal::TERM);
        }
        if ended.is_none() && has_ended(program.pid) {
            // While its status is not asked for its pid, and with it the group's number, cannot
            // be given to anybody else.
            kill_all(program);
        }
        let childless = reap(program.pid, &mut ended);
        for output in &mut outputs {
            output.pump(&mut log);
        }
        log.flush();

        if let Some((end, since)) = ended {
            let alone = childless && is_empty(program.cgroup.as_ref());
            if !alone {
                strays::kill(program.cgroup.as_ref());
            }
            let silent = outputs.iter().all(|output| output.pipe().is_none());
            let limit = if alone { DRAIN_LIMIT } else { STRAYS_LIMIT };
            if (alone && silent) || since.elapsed() > limit {
                for output in &mut outputs {
                    output.finish(&mut log);
                }
                log.finish();
                return end;
            }
        }
    }
}

/// Until there is a signal or some output; whether there was either within the limit.
fn wait_for(signals: &Signals, outputs: &[Output; 2], limit: Option<&Timespec>) -> bool {
    let mut descriptors = Vec::with_capacity(3);
    descriptors.push(PollFd::new(signals, PollFlags::IN));
    for pipe in outputs.iter().filter_map(Output::pipe) {
        descriptors.push(PollFd::new(pipe, PollFlags::IN));
    }
    poll(&mut descriptors, limit).is_ok_and(|ready| ready > 0)
}

/// Asks for the status of everybody who has ended: as their subreaper the shim is also asked for
/// that of the orphans. Whether there is nobody left.
fn reap(program: Pid, ended: &mut Option<(End, Instant)>) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                let end = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => End::Code(code),
                    (None, Some(signal)) => End::Signal(signal),
                    (None, None) => End::Unseen,
                };
                *ended = Some((end, Instant::now()));
            }
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn is_empty(cgroup: Option<&Cgroup>) -> bool {
    cgroup.is_none_or(|cgroup| !cgroup.is_populated())
}

/// Kills the program's group and its cgroup. Only while its status has not been asked for.
fn kill_all(program: &Program) {
    let _ = kill_process_group(program.pid, Signal::KILL);
    if let Some(cgroup) = &program.cgroup {
        cgroup.kill();
    }
}

/// It has ended; its status stays to be asked for.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Processes that the kernel has killed for want of memory since the machine started.
fn out_of_memory_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
