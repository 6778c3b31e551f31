//! A process named so that it is never mistaken for another one.
//!
//! The kernel gives a pid away again after its process ended. A pid together with the moment at
//! which the process started (clock ticks since boot, field 22 of `/proc/<pid>/stat`) names one
//! process of this boot, and the boot has an id of its own. See proc(5), pidfd_open(2).

use rustix::process::pidfd_send_signal;
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
        let start = Stat::of(pid)?.start;
        Some(ProcessId { pid, start })
    }

    /// This process, which must be the leader of its threads.
    ///
    /// Read from its first thread, which started with it: an emulator of another processor (qemu-user,
    /// as in a container of another architecture) answers for `/proc/self/stat` by itself, with a
    /// time that is some ticks beside what everybody else reads.
    pub fn own() -> Option<ProcessId> {
        let pid = rustix::process::getpid().as_raw_pid();
        let stat = fs::read(format!("/proc/self/task/{pid}/stat")).ok()?;
        let start = Stat::parse(&stat)?.start;
        Some(ProcessId { pid, start })
    }

    /// It runs: it is there, it is the same one, and it has not ended.
    pub fn is_running(self) -> bool {
        Stat::of(self.pid)
            .is_some_and(|stat| stat.start == self.start && !matches!(stat.state, b'Z' | b'X'))
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

    /// Sends `signal` to this one process alone, if it still runs.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        match self.open()? {
            Some(fd) => match pidfd_send_signal(&fd, signal) {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::SRCH) => Ok(false),
                Err(error) => Err(error.into()),
            },
            None => Ok(false),
        }
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

/// Most children of one process that are looked at.
const CHILDREN_MAX: usize = 10_000;

/// Those that a process has made and that are there. Of all its threads: the kernel lists each
/// child at the thread that made it. Needs a kernel with CONFIG_PROC_CHILDREN, as all
/// distributions have it; without there are none.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut children = Vec::new();
    for thread in threads.flatten().take(CHILDREN_MAX) {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let pids = text.split_ascii_whitespace();
        children.extend(pids.filter_map(|pid| pid.parse::<i32>().ok()));
        if children.len() > CHILDREN_MAX {
            break;
        }
    }
    children
}

/// What `/proc/<pid>/stat` says, as far as it is needed here. Times are clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// One letter, as in proc(5).
    pub state: u8,
    /// The process that made it, or took it over.
    pub parent: i32,
    /// Session, which is the pid of the process that began it.
    pub session: i32,
    /// Its own processor time.
    pub own_time: u64,
    /// That of its children which ended and were waited for.
    pub children_time: u64,
    /// When it started, since boot.
    pub start: u64,
    /// Pages of memory that it holds.
    pub pages: u64,
}

impl Stat {
    /// `None` when there is no such process.
    pub fn of(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses and may hold anything, also spaces,
    /// parentheses and bytes that are not UTF-8; hence fields are counted from the last `)`.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let close = stat.iter().rposition(|b| *b == b')')?;
        let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
        // The first of these is the third field of proc(5).
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let mut times = [0_u64; 4];
        let mut rest = fields.skip(7);
        for time in &mut times {
            // The last two may be negative on odd kernels.
            *time = rest.next()?.parse().unwrap_or(0);
        }
        let start = rest.nth(4)?.parse().ok()?;
        let pages = rest.nth(1)?.parse().unwrap_or(0);
        Some(Stat {
            state,
            parent,
            session,
            own_time: times[0].saturating_add(times[1]),
            children_time: times[2].saturating_add(times[3]),
            start,
            pages,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_as_others_know_it() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(ProcessId::own(), ProcessId::of(pid));
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let mut stat = b"42 (a) R 9 (\xff) S 1 42 43 0 -1 4194560 1 2 3 4 5 6 7 8 ".to_vec();
        stat.extend_from_slice(b"20 0 1 0 98765 1000 200\n");
        let parsed = Stat {
            state: b'S',
            parent: 1,
            session: 43,
            own_time: 11,
            children_time: 15,
            start: 98765,
            pages: 200,
        };
        assert_eq!(Stat::parse(&stat), Some(parsed));
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b"42 (a)"), None);
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
