//! Colours, or none (`NO_COLOR`), or only grey because nobody knows how things stand now.
//!
//! Whatever a colour says is also said by a word beside it.

use super::table::Tone;
use ratatui::style::{Color, Modifier, Style};

/// How things are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theme {
    pub(super) colours: bool,
    /// What is shown is old.
    pub(super) stale: bool,
}

impl Theme {
    pub(super) fn of(self, tone: Tone) -> Style {
        let plain = Style::new();
        if self.stale {
            return self.dim();
        }
        match (tone, self.colours) {
            (Tone::Plain, _) => plain,
            (Tone::Dim, _) => self.dim(),
            (Tone::Good, true) => plain.fg(Color::Green),
            (Tone::Good, false) => plain,
            (Tone::Warn, true) => plain.fg(Color::Yellow),
            (Tone::Warn, false) => plain,
            (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD),
        }
    }

    fn dim(self) -> Style {
        match self.colours {
            true => Style::new().fg(Color::DarkGray),
            false => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// Heads of columns, titles.
    pub(super) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Of little weight, whether or not it is old.
    pub(super) fn quiet(self) -> Style {
        self.dim()
    }

    /// The line that says that the controller is lost.
    pub(super) fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        match self.colours {
            true => style.fg(Color::White).bg(Color::Red),
            false => style.add_modifier(Modifier::REVERSED),
        }
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The view that is open, and hits of a search.
    pub(super) fn marked(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
        match self.colours {
            true => style.fg(Color::Cyan),
            false => style,
        }
    }
}
