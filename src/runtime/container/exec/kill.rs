//! The end of a program that was run in a container, when nobody waits for it any more.

use super::super::{CALL_LIMIT, connect, fault::Fault, limited};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// A program that was to be started shows up within this, or never ran.
const SHOWS_UP: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Kills a program when it is dropped, unless it is disarmed.
#[derive(Debug)]
pub(super) struct Killer {
    /// Socket and id; `None`: disarmed.
    program: Option<(PathBuf, String)>,
}

impl Killer {
    pub(super) fn new(socket: &Path, id: &str) -> Killer {
        Killer {
            program: Some((socket.to_owned(), id.to_owned())),
        }
    }

    /// It has ended.
    pub(super) fn disarm(mut self) {
        self.program = None;
    }

    /// Kills it now, as well as can be.
    pub(super) async fn kill(mut self) {
        if let Some((socket, id)) = self.program.take() {
            kill(&socket, &id).await;
        }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        let Some((socket, id)) = self.program.take() else {
            return;
        };
        // Without a runtime the agent itself is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { kill(&socket, &id).await });
        }
    }
}

async fn kill(socket: &Path, id: &str) {
    match timeout(SHOWS_UP + 3 * CALL_LIMIT, killed(socket, id)).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(exec = id, ?fault, "program not killed"),
        Err(_) => tracing::debug!(exec = id, "program not killed in time"),
    }
}

async fn killed(socket: &Path, id: &str) -> Result<(), Fault> {
    let tries = SHOWS_UP.as_millis() / ASK_EVERY.as_millis();
    for _ in 0..tries {
        let Some(pid) = pid_of(socket, id).await? else {
            // Not started yet, or ended.
            if has_ended(socket, id).await? {
                return Ok(());
            }
            sleep(ASK_EVERY).await;
            continue;
        };
        let failed = |error: rustix::io::Errno| Fault::said(error.to_string());
        // Held before it is asked again: a pid that still belongs to the program now is the one
        // that the descriptor stands for, whatever becomes of the number.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if pid_of(socket, id).await? != Some(pid) {
            return Ok(());
        }
        // Engines give each program a session of its own; its children go with it.
        if getpgid(Some(pid)) == Ok(pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        return match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(failed(error)),
        };
    }
    Ok(())
}

/// On the node; `None` when it does not run.
async fn pid_of(socket: &Path, id: &str) -> Result<Option<Pid>, Fault> {
    let engine = connect(socket)?;
    let inspected = limited(CALL_LIMIT, engine.inspect_exec(id)).await?;
    if inspected.running != Some(true) {
        return Ok(None);
    }
    let pid = inspected.pid.and_then(|pid| i32::try_from(pid).ok());
    // 1 would be the node's init, and cannot be.
    Ok(pid.filter(|pid| *pid > 1).and_then(Pid::from_raw))
}

/// Docker tells an exit code once there is one; Podman always does, so it is asked for longer.
async fn has_ended(socket: &Path, id: &str) -> Result<bool, Fault> {
    let engine = connect(socket)?;
    let inspected = limited(CALL_LIMIT, engine.inspect_exec(id)).await?;
    Ok(inspected.running != Some(true) && inspected.exit_code.is_some_and(|code| code != 0))
}
