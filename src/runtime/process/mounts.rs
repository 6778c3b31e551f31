//! Where the agent sees the machine's file systems otherwise than its workloads are to.
//!
//! Under systemd the agent runs with `ProtectSystem=strict`: for it the machine is read-only but for
//! its own directory. That is a mount namespace, and children inherit it; a supervisor whose
//! workloads could write nowhere would be none. So what runs for a workload goes back to the
//! namespace of the machine, the one of process 1:
//!
//! ```text
//! systemd ─► agent (its own view: read-only) ──┬─► shim ─► program    (the machine's view)
//!                                              ├─► exec               (the machine's view)
//!                                              └─► thread that places files (the machine's view)
//! ```
//!
//! Only the unit asks for it, by [`VARIABLE`]: elsewhere (a terminal, OpenRC, a container with the
//! host's processes in sight) the agent's own view is what workloads are to have, and nothing here
//! does anything.

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::Path,
    process::Command,
    sync::OnceLock,
};

/// Set to `host` by the agent's unit.
const VARIABLE: &str = "FLEETCTL_WORKLOAD_MOUNTS";

/// The machine's mount namespace, where it is wanted and another one than ours.
fn machine() -> Option<BorrowedFd<'static>> {
    static MACHINE: OnceLock<Option<File>> = OnceLock::new();
    let found = MACHINE.get_or_init(|| {
        if std::env::var_os(VARIABLE).is_none_or(|value| value != "host") {
            return None;
        }
        match find() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the machine's mount namespace cannot be entered: native workloads can write \
                     only where this agent can"
                );
                None
            }
        }
    });
    found.as_ref().map(File::as_fd)
}

fn find() -> io::Result<Option<File>> {
    let (theirs, own) = ("/proc/1/ns/mnt", "/proc/self/ns/mnt");
    if std::fs::read_link(theirs)? == std::fs::read_link(own)? {
        return Ok(None);
    }
    File::open(theirs).map(Some)
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount)).map_err(io::Error::from)
}

/// The command runs with the machine's view, in `place`. To be called before other `pre_exec`s: it
/// needs the agent's own rights.
pub(super) fn of_the_machine(command: &mut Command, place: &Path) {
    let Some(namespace) = machine() else {
        return;
    };
    // Whoever enters begins at its root again.
    let place = CString::new(place.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: between fork and exec only system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            enter(namespace)?;
            rustix::process::chdir(place.as_c_str()).map_err(io::Error::from)
        });
    }
}

/// Does something with the machine's view: on a thread of its own where that is another one than
/// ours. Blocks.
///
/// # Errors
/// No thread could be started, or it may not enter the namespace.
pub(super) fn with_the_machines<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(namespace) = machine() else {
        return Ok(work());
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("files".into())
            .stack_size(256 << 10)
            .spawn_scoped(scope, move || {
                // Threads share root and working directory; who does not may change its namespace.
                // SAFETY: this thread ends with the work and shares nothing that is unshared here.
                unsafe { unshare_unsafe(UnshareFlags::FS) }?;
                enter(namespace)?;
                Ok(work())
            })?;
        thread
            .join()
            .map_err(|_| io::Error::other("the thread that does it broke off"))?
    })
}
