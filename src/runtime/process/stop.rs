//! Ends a program: asks it, waits, and then does not ask any more.

use super::directory::InstanceDir;
use super::record::State;
use super::standing::Standing;
use crate::runtime::RuntimeError;
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How long the shim may take to write the ending after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// SIGTERM to the program's group, SIGKILL to all of its cgroup after `timeout`. Returns when the ending is written.
/// With a timeout of zero it is killed at once.
pub(super) async fn stop(dir: &InstanceDir, timeout: Duration) -> Result<(), RuntimeError> {
    // Without a plan there never was a shim; an ended program may have a shim that still writes.
    let Some(state) = dir.state().filter(State::is_live) else {
        // Settles what a killed shim left behind.
        let _ = Standing::of(dir);
        return Ok(());
    };
    let Some(shim) = open(&state)? else {
        return Ok(());
    };
    if !timeout.is_zero() {
        state.child.signal_group(Signal::TERM);
        // One that was stopped by a signal could not follow the first.
        state.child.signal_group(Signal::CONT);
        if tokio::time::timeout(timeout, shim.readable()).await.is_ok() {
            return Ok(());
        }
    }
    // Both: a program that has just been started may be on its way into the cgroup.
    state.child.signal_group(Signal::KILL);
    if let Some(cgroup) = state.cgroup() {
        cgroup.kill();
    }
    if tokio::time::timeout(KILL_LIMIT, shim.readable())
        .await
        .is_ok()
    {
        return Ok(());
    }
    Err(RuntimeError::Failed(format!(
        "`{}` (pid {}) did not end even after SIGKILL; it may hang in a device driver or on a \
         dead network disk",
        dir.handle(),
        state.child.pid
    )))
}

/// Something that becomes readable when the shim ends; `None` when it has.
fn open(state: &State) -> Result<Option<AsyncFd<OwnedFd>>, RuntimeError> {
    state
        .shim
        .open()
        .and_then(|fd| fd.map(super::readable::readable).transpose())
        .map_err(|error| {
            RuntimeError::Failed(format!(
                "the supervising process cannot be watched: {error}"
            ))
        })
}
