//! How an instance stands, read from its directory and from the kernel.
//!
//! ```text
//! exit.json             → Ended
//! state.json, shim runs → Running
//! state.json, shim gone → what it left behind is killed, exit.json is written → Ended
//! neither               → Created
//! ```

use super::directory::InstanceDir;
use super::process_id::{ProcessId, Stat};
use super::record::{End, Ending, State};
use crate::runtime::FoundStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::time::Duration;

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

/// Most processes that are looked at to find those of one session.
const PROCESSES_MAX: usize = 100_000;

/// Kills the program's cgroup, its group and its session, and waits until its leader is gone, for
/// a fifth of a second at most: only a process that hangs in the kernel takes longer, and that
/// one runs no more code.
fn kill(state: &State) {
    let gone = state.child.open();
    let group = state.child.signal_group(Signal::KILL);
    // Also where the leader is gone: its offspring may have sessions of their own.
    let cgroup = state.cgroup().filter(|cgroup| cgroup.is_populated());
    if let Some(cgroup) = &cgroup {
        cgroup.kill();
    }
    let session = kill_session(state.shim.pid);
    if group || session || cgroup.is_some() {
        tracing::warn!(
            pid = state.child.pid,
            "killed a program whose shim was gone"
        );
    }
    if let Ok(Some(fd)) = gone {
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    }
    if let Some(cgroup) = state.cgroup() {
        // Briefly: the agent waits for this. What is left there is gone at the next start.
        cgroup.remove(Duration::from_millis(200));
    }
}

/// Kills what is in the session that a shim began. Its number cannot be given away while anybody
/// is in it, and the shim itself is gone: whoever leads a session of that number is somebody else.
fn kill_session(session: i32) -> bool {
    if session <= 1 || Stat::of(session).is_some() {
        return false;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return false;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut killed = false;
    for pid in pids.take(PROCESSES_MAX) {
        let Some(id) = ProcessId::of(pid) else {
            continue;
        };
        if Stat::of(pid).is_some_and(|stat| stat.session == session && stat.start == id.start) {
            killed |= id.signal(Signal::KILL).unwrap_or(false);
        }
    }
    killed
}
