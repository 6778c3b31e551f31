//! The terminal of `exec -t`: raw while the program has it, and given back as it was.

use super::Failure;
use crate::model::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal};

/// A terminal without its own echo, line editing and signals; as before when dropped.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes standard input's terminal raw.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn begin() -> Result<Raw, Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "-t needs a terminal, and standard input is none; leave -t out",
            ));
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// How large the terminal is; 80 by 24 when nobody knows.
pub(super) fn size() -> TerminalSize {
    let asked = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
    match asked {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => TerminalSize {
            columns: size.ws_col,
            rows: size.ws_row,
        },
        _ => TerminalSize {
            columns: 80,
            rows: 24,
        },
    }
}
