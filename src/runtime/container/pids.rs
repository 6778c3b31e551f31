//! Which process a container's first one is.
//!
//! Its use of the machine is read every few seconds, and an engine need not be asked each time: a
//! process that still has the start time that it had is the same one.

use crate::runtime::{Usage, cgroup_usage};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// More than a node runs.
const KNOWN_LIMIT: usize = 1024;

/// Pid and start time of first processes, by handle.
#[derive(Debug, Default)]
pub(crate) struct Pids(Mutex<HashMap<String, (u32, u64)>>);

impl Pids {
    /// What the container uses, when its process is known and still lives.
    pub(crate) fn usage(&self, handle: &str) -> Option<Usage> {
        let (pid, started) = *self.lock().get(handle)?;
        if start_time(pid) != Some(started) {
            self.lock().remove(handle);
            return None;
        }
        cgroup_usage::of_pid(pid)
    }

    /// The engine has told it.
    pub(crate) fn note(&self, handle: &str, pid: u32) {
        let Some(started) = start_time(pid) else {
            return;
        };
        let mut known = self.lock();
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(handle.to_owned(), (pid, started));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u32, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clock ticks since boot, the 22nd field of `stat`; the second one may have blanks in it.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &stat[stat.rfind(')')? + 1..];
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_forgotten() {
        let pids = Pids::default();
        let this = std::process::id();
        assert!(start_time(this).is_some_and(|ticks| ticks > 0));
        pids.note("a", u32::MAX);
        assert!(pids.lock().is_empty());
        pids.note("a", this);
        assert_eq!(pids.lock()["a"].0, this);
        pids.lock().insert("b".to_owned(), (this, 1));
        assert_eq!(pids.usage("b"), None);
        assert!(!pids.lock().contains_key("b"));
    }
}
