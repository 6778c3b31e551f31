//! What a release that is given up has left behind: processes that it forked. They are killed, so
//! that the board is as it was.
//!
//! ```text
//!  child on trial ─┬─ what it started          its process group: one signal
//!                  ├─ what left that group     known by the variable that was given to the child
//!                  └─ shims of workloads       neither: sessions of their own, and their
//!                                              environment is emptied: they stay
//! ```
//!
//! The variable names the child by its process number, and children inherit it, whatever they become
//! and whoever is their parent by then. What leaves the group *and* empties its environment is not
//! found: that is what a shim does, too, and without cgroups nobody can tell the two apart.

use super::marker::VARIABLE;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use std::{
    fs::{self, File},
    io::Read,
};
use tracing::warn;

/// Processes of the machine that are looked at.
const PROCESSES_MAX: usize = 100_000;
/// Bytes of an environment that are looked at.
const ENVIRONMENT_MAX: u64 = 1 << 20;
/// How often they are looked for: who forks as fast as it is killed is stopped first.
const LOOKS: u32 = 50;

/// The child has ended; its status stays to be asked for, and so its number is still its own.
pub(super) fn has_ended(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // An error: there is no such child any more, and asking for its status says so.
    !matches!(waitid(WaitId::Pid(child), options), Ok(None))
}

/// Kills the group of a child whose status has not been asked for, and whoever else has inherited
/// `marker`. How many of the latter there were.
pub(super) fn kill(child: Pid, marker: Option<&str>) -> usize {
    let _ = kill_process_group(child, Signal::KILL);
    let Some(marker) = marker else {
        return 0;
    };
    let wanted = format!("{VARIABLE}={marker}");
    let mut stopped: Vec<(Pid, rustix::fd::OwnedFd)> = Vec::new();
    for _ in 0..LOOKS {
        let known = stopped.len();
        for pid in processes() {
            if pid == child || pid == getpid() || stopped.iter().any(|(old, _)| *old == pid) {
                continue;
            }
            // Opened before it is looked at: what has this number by then is what is signalled.
            let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            if has_inherited(pid, wanted.as_bytes()) && pidfd_send_signal(&fd, Signal::STOP).is_ok()
            {
                stopped.push((pid, fd));
            }
        }
        if stopped.len() == known {
            break;
        }
    }
    for (_, fd) in &stopped {
        let _ = pidfd_send_signal(fd, Signal::KILL);
    }
    if !stopped.is_empty() {
        let count = stopped.len();
        warn!(count, "killed what the version on trial left running");
    }
    stopped.len()
}

fn processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries.flatten().filter_map(|entry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(number).filter(|_| number > 1)
    });
    numbers.take(PROCESSES_MAX).collect()
}

/// That entry is in the environment with which it began. Empty for one that has ended.
fn has_inherited(pid: Pid, wanted: &[u8]) -> bool {
    let mut bytes = Vec::new();
    let path = format!("/proc/{}/environ", pid.as_raw_pid());
    let read = File::open(path).and_then(|f| f.take(ENVIRONMENT_MAX).read_to_end(&mut bytes));
    read.is_ok() && bytes.split(|b| *b == 0).any(|entry| entry == wanted)
}
