//! A process named so that it is never mistaken for another one.
//!
//! The kernel gives a pid away again after its process ended. A pid together with the moment at
//! which the process started (clock ticks since boot, field 22 of `/proc/<pid>/stat`) names one
//! process of this boot, and the boot has an id of its own. See proc(5), pidfd_open(2).

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::{fs, io};

/// Pid and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ProcessId {
    /// Of the process; its group has the same number where the process leads one.
    pub pid: i32,
    /// Clock ticks since boot.
    pub start: u64,
}

impl ProcessId {
    /// The process that has `pid` now, also where it ended and nobody has asked for its status.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let (_, start) = read_stat(pid)?;
        Some(ProcessId { pid, start })
    }

    /// It runs: it is there, it is the same one, and it has not ended.
    pub fn is_running(self) -> bool {
        read_stat(self.pid)
            .is_some_and(|(state, start)| start == self.start && !matches!(state, b'Z' | b'X'))
    }

    /// A descriptor that becomes readable when it ends; `None` when it has ended already.
    ///
    /// Fails where the kernel is older than 5.3 or descriptors run out.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.raw() else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Only now is it certain that the descriptor stands for the same process.
            Ok(fd) => Ok(self.is_running().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends `signal` to the group that it leads, if it is still the same process.
    pub fn signal_group(self, signal: Signal) -> bool {
        let same = ProcessId::of(self.pid) == Some(self);
        same && self
            .raw()
            .is_some_and(|pid| kill_process_group(pid, signal).is_ok())
    }

    /// `None` for 0, 1 and less: a signal to such a "group" would reach half the machine.
    fn raw(self) -> Option<Pid> {
        if self.pid > 1 {
            Pid::from_raw(self.pid)
        } else {
            None
        }
    }
}

/// The id of this boot.
pub(super) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// State letter and start time.
fn read_stat(pid: i32) -> Option<(u8, u64)> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses and may hold anything, also spaces,
/// parentheses and bytes that are not UTF-8; hence fields are counted from the last `)`.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    let close = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let mut stat = b"42 (a) R 9 (\xff) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 ".to_vec();
        stat.extend_from_slice(b"20 0 1 0 98765 1000 200\n");
        assert_eq!(parse_stat(&stat), Some((b'S', 98765)));
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a)"), None);
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessId::of(std::process::id() as i32).expect("this process has an entry");
        assert!(me.is_running());
        let other = ProcessId {
            start: me.start + 1,
            ..me
        };
        assert!(!other.is_running());
        assert!(!other.signal_group(Signal::KILL));
        assert!(!ProcessId { pid: 1, start: 0 }.signal_group(Signal::KILL));
    }
}
