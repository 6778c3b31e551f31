//! A terminal for a program: a pair of ends, of which the program has the other one.

use super::super::readable;
use crate::model::TerminalSize;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Our end.
pub(super) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Ours, and the program's, which belongs to user `uid` where the agent may give it away.
    pub fn open(size: TerminalSize, uid: u32) -> io::Result<(Terminal, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        unlockpt(&ours)?;
        let programs = ioctl_tiocgptpeer(&ours, flags)?;
        let _ = std::os::unix::fs::fchown(&programs, Some(uid), None);
        rustix::io::ioctl_fionbio(&ours, true)?;
        let terminal = Terminal(readable::both(ours)?);
        terminal.resize(size);
        Ok((terminal, programs))
    }

    /// To be read and written.
    pub fn fd(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }

    /// Tells it its size; the kernel tells the program.
    pub fn resize(&self, size: TerminalSize) {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let _ = tcsetwinsize(self.0.get_ref(), size);
    }
}
