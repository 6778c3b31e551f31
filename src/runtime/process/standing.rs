//! How an instance stands, read from its directory and from the kernel.
//!
//! ```text
//! exit.json             → Ended
//! state.json, shim runs → Running
//! state.json, shim gone → what it left behind is killed, exit.json is written → Ended
//! neither               → Created
//! ```

use super::directory::InstanceDir;
use super::record::{End, Ending, State};
use crate::runtime::FoundStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

/// How often the directory is read anew when it changes under the reader.
const READS: u32 = 3;

/// How an instance stands.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// Made, never started, or being started at this moment.
    Created,
    /// Runs.
    Running(State),
    /// Ended.
    Ended(Ending),
}

impl Standing {
    /// Looks, and settles what a killed shim left behind: a program that nobody looks after is
    /// killed before anybody may start it a second time.
    pub fn of(dir: &InstanceDir) -> Standing {
        for _ in 0..READS {
            // Before the ending: a shim writes that before it goes, so that a shim which is
            // gone by now and left no ending did not get to it.
            let state = dir.state();
            let live = state.as_ref().is_some_and(State::is_live);
            if let Some(ending) = dir.ending() {
                return Standing::Ended(ending);
            }
            match state {
                None => return Standing::Created,
                Some(state) if live => return Standing::Running(state),
                Some(_) => {}
            }
            if let Some(ending) = settle(dir) {
                return Standing::Ended(ending);
            }
        }
        // Another shim is on its way up.
        Standing::Created
    }

    /// In the words of the runtime's trait.
    pub fn status(&self) -> FoundStatus {
        match self {
            Standing::Created => FoundStatus::Created,
            Standing::Running(state) => FoundStatus::Running {
                started_ms: state.started_ms,
                pid: u32::try_from(state.child.pid).ok(),
            },
            Standing::Ended(ending) => FoundStatus::Exited(ending.exit()),
        }
    }
}

/// Ends the run of a shim that is gone. `None` when somebody else holds the directory, or when
/// there is nothing to settle any more.
fn settle(dir: &InstanceDir) -> Option<Ending> {
    let _lock = dir.try_lock().ok().flatten()?;
    // With the lock, what is read stays true.
    if let Some(ending) = dir.ending() {
        return Some(ending);
    }
    let state = dir.state()?;
    let message = if state.is_of_this_boot() {
        kill(&state);
        "its supervising process was killed; exit code unknown"
    } else {
        "the node was restarted while it ran; exit code unknown"
    };
    let ending = Ending::now(End::Unseen, Some(message.to_owned()));
    if let Err(error) = dir.write_ending(&ending) {
        // It is found out again at the next look.
        tracing::warn!(handle = dir.handle(), %error, "the end of an instance cannot be noted");
    }
    Some(ending)
}

/// Kills the program's group and waits until its leader is gone, for a fifth of a second at
/// most: only a process that hangs in the kernel takes longer, and that one runs no more code.
fn kill(state: &State) {
    let gone = state.child.open();
    if !state.child.signal_group(Signal::KILL) {
        return;
    }
    tracing::warn!(
        pid = state.child.pid,
        "killed a program whose shim was gone"
    );
    if let Ok(Some(fd)) = gone {
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    }
}
