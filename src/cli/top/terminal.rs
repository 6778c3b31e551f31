//! The terminal: taken for the screen, and given back on every way out.
//!
//! ```text
//!  as it was ──enter──► raw, alternate screen, no cursor ──leave──► as it was
//!                              │ Ctrl-Z: leave, stop, and enter again after `fg`
//! ```
//!
//! A panic ends a release build at once, without anything being dropped: the terminal is given back
//! by the hook that runs before.

use super::news::Key;
use ratatui::{
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use std::{
    io::{self, Stdout, stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::mpsc;

/// It is ours just now.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// What somebody does at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Key(Key),
    Resized,
    /// There is nobody any more.
    Gone,
}

/// The screen, ours until it is dropped.
pub(super) struct Screen {
    terminal: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Screen> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                leave();
                before(info);
            }));
        });
        take()?;
        let terminal = ratatui::Terminal::new(CrosstermBackend::new(stdout()));
        if terminal.is_err() {
            leave();
        }
        Ok(Screen {
            terminal: terminal?,
        })
    }

    /// Draws; what is on the screen already is not written again.
    pub(super) fn draw(
        &mut self,
        render: impl FnOnce(&mut ratatui::buffer::Buffer),
    ) -> io::Result<()> {
        self.terminal.draw(|frame| render(frame.buffer_mut()))?;
        Ok(())
    }

    /// What is on the screen is not known any more.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        // `clear` would ask the terminal where its cursor is, and the answer comes where keys come
        // from, which another thread reads.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Ctrl-Z: gives the terminal to the shell until `fg`.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // SIGSTOP would be as good for us, but a shell tells SIGTSTP from it.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        take()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let taken = execute!(stdout(), EnterAlternateScreen, Hide);
    if taken.is_err() {
        leave();
    }
    taken
}

/// Gives it back; once, whoever comes first.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Reads keys on a thread of its own, until nobody takes them.
pub(super) fn inputs() -> mpsc::Receiver<Input> {
    let (to, from) = mpsc::channel(64);
    std::thread::spawn(move || {
        loop {
            let input = match read() {
                Ok(Event::Key(key)) => key_of(key).map(Input::Key),
                Ok(Event::Resize(..)) => Some(Input::Resized),
                Ok(_) => None,
                Err(_) => Some(Input::Gone),
            };
            let Some(input) = input else { continue };
            if to.blocking_send(input).is_err() || input == Input::Gone {
                return;
            }
        }
    });
    from
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char(c) if control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
