//! Kills what a program left behind outside of its process group.
//!
//! With a cgroup that is one write. Without, the shim looks for its descendants: as a subreaper
//! it has become the parent of the orphans, and so nobody is out of its sight. A program that
//! makes more of itself as fast as it is killed would win, so everybody is stopped first, until
//! nobody is left to be stopped, and only then killed.

use super::super::cgroup::Cgroup;
use super::super::process_id::{ProcessId, Stat, children};
use rustix::process::Signal;
use std::collections::BTreeSet;

/// Most processes that are killed at once; the rest in the next round.
const PROCESSES_MAX: usize = 4096;
/// How often they are looked for until they are killed.
const LOOKS: u32 = 50;

/// One round. What is killed is gone only when the shim has asked for its status.
pub(super) fn kill(cgroup: Option<&Cgroup>) {
    if let Some(cgroup) = cgroup {
        cgroup.kill();
    }
    let Ok(me) = i32::try_from(std::process::id()) else {
        return;
    };
    let mut stopped = BTreeSet::new();
    for _ in 0..LOOKS {
        let known = stopped.len();
        stop_below(me, &mut stopped);
        if stopped.len() == known {
            break;
        }
    }
    for process in stopped {
        let _ = process.signal(Signal::KILL);
    }
}

/// Stops all descendants of `shim` that are not in `stopped`, and adds them.
fn stop_below(shim: i32, stopped: &mut BTreeSet<ProcessId>) {
    let mut parents = vec![shim];
    while let Some(parent) = parents.pop() {
        for pid in children(parent) {
            if stopped.len() >= PROCESSES_MAX {
                return;
            }
            // Somebody who ended and was asked for his status meanwhile has given his number away.
            let Some(stat) = Stat::of(pid).filter(|stat| stat.parent == parent) else {
                continue;
            };
            let process = ProcessId {
                pid,
                start: stat.start,
            };
            if !stopped.contains(&process) {
                match process.signal(Signal::STOP) {
                    Ok(true) => stopped.insert(process),
                    // It has ended, but may have children that have not been given away yet.
                    _ => continue,
                };
            }
            parents.push(pid);
        }
    }
}
