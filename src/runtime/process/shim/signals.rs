//! The shim's place in the system: detached from the agent, and signals as something to read.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The signals that the shim reads in place of dying of them.
const READ: [libc::c_int; 5] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
];

/// Leaves the agent's session and directory, closes what was inherited, takes over the orphans
/// of the program, and takes a name that `ps` shows.
///
/// Each of these may fail without harm to the program, so none is an error.
pub(super) fn detach() {
    close_inherited();
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    // SAFETY: both take plain values; the name is NUL-terminated and copied by the kernel.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"fleetctl-shim".as_ptr());
    }
}

/// Closes descriptors beyond 2: one that stays open would keep a port or a pipe of the agent.
fn close_inherited() {
    // SAFETY: nothing in this process has opened a descriptor yet.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 {
        return;
    }
    // Linux before 5.9.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<libc::c_int> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // SAFETY: as above; the listing's own descriptor is closed by now and gives EBADF.
        unsafe { libc::close(fd) };
    }
}

/// Puts `/dev/null` in the place of standard output, whose reader has heard what there is.
pub(super) fn close_stdout() {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null");
    // SAFETY: dup2 onto a descriptor that std treats as always open, which it stays.
    unsafe {
        match null {
            Ok(null) => libc::dup2(null.as_raw_fd(), 1),
            Err(_) => libc::dup2(0, 1),
        };
    }
}

/// Lets a program begin with no signal blocked and none ignored, whatever the agent was started
/// under (`nohup`, a shell's background job). To be called between fork and exec.
pub(in crate::runtime::process) fn reset() {
    // SAFETY: async-signal-safe calls on a set of our own.
    unsafe {
        let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        for signal in READ.into_iter().chain([libc::SIGPIPE]) {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// A descriptor from which signals are read. Also the guard of an upgrade reads its own so.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals and opens the descriptor.
    pub fn new() -> io::Result<Signals> {
        // SAFETY: the set is initialised before it is used, and the descriptor that signalfd
        // gives belongs to nobody else.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigemptyset(set.as_mut_ptr());
            for signal in READ {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Lets a child begin without what is blocked here: it is to be asked to end like any other.
    pub fn spare(command: &mut Command) -> &mut Command {
        // SAFETY: between fork and exec only system calls are made and nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                reset();
                Ok(())
            })
        }
    }

    /// Reads what has come; somebody asked the shim to end.
    ///
    /// SIGCHLD only wakes it up, and a hangup or a quit is meant for terminals.
    pub fn asked_to_end(&self) -> bool {
        let numbers = self.take();
        numbers.contains(&libc::SIGTERM) || numbers.contains(&libc::SIGINT)
    }

    /// Reads what has come: the numbers of signals, SIGCHLD among them.
    pub fn take(&self) -> Vec<libc::c_int> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut numbers = Vec::new();
        let mut buffer = [0_u8; SIZE];
        // As many as there are kinds; the kernel merges those of one kind.
        for _ in 0..=READ.len() {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(SIZE) => {
                    // The signal's number is the record's first field.
                    let number = [buffer[0], buffer[1], buffer[2], buffer[3]];
                    numbers.push(i32::from_ne_bytes(number));
                }
                _ => break,
            }
        }
        numbers
    }

    /// Signals do again what they did before.
    pub fn release(self) {
        // SAFETY: the set is our own and initialised.
        unsafe {
            let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
