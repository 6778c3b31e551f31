//! The log of one instance, followed.
//!
//! ```text
//!            key up, p            End, p
//! following ──────────► paused ──────────► following
//!  newest line shown     lines still come and are counted; the view stands
//! ```

use super::{
    news::Key,
    text::{cut, plain},
};
use crate::model::{LogLine, LogStream, Name};
use std::collections::VecDeque;

/// Lines that are kept; the oldest go first.
pub(super) const KEPT: usize = 5_000;
/// Characters of a line that are kept.
const WIDEST: usize = 2_000;

/// One line as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) time_ms: u64,
    pub(super) text: String,
    /// Of standard error, or of ours about the log itself.
    pub(super) other: bool,
}

/// What is known of the log, and which part of it is looked at.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) workload: Name,
    pub(super) node: Name,
    /// Which look at it this is: lines for an earlier one are not for this one.
    pub(super) number: u64,
    pub(super) lines: VecDeque<Line>,
    /// Lines after the last one that is visible; not counted while following.
    pub(super) below: usize,
    pub(super) paused: bool,
    /// Lines that came while it was paused.
    pub(super) waiting: usize,
    /// What is searched for.
    pub(super) search: String,
}

impl Log {
    pub(super) fn new(workload: Name, node: Name, number: u64) -> Log {
        Log {
            workload,
            node,
            number,
            lines: VecDeque::new(),
            below: 0,
            paused: false,
            waiting: 0,
            search: String::new(),
        }
    }

    pub(super) fn add(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            self.push(Line {
                time_ms: line.time_ns / 1_000_000,
                text: cut(&line.text.replace('\t', "    "), WIDEST),
                other: line.stream == LogStream::Stderr,
            });
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let text = format!("── {}", plain(text));
        // Said once, however often it is tried.
        if self.lines.back().is_none_or(|l| l.text != text) {
            self.push(Line {
                time_ms: 0,
                text,
                other: true,
            });
        }
    }

    fn push(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.paused {
            self.waiting += 1;
            self.below += 1;
        }
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
        self.below = self.below.min(self.lines.len().saturating_sub(1));
    }

    /// `true`: the key was for the log. `page`: lines that are visible.
    pub(super) fn press(&mut self, key: Key, page: usize) -> bool {
        let page = page.max(2) - 1;
        match key {
            Key::Up | Key::Char('k') => self.back(1),
            Key::PageUp => self.back(page),
            Key::Home => self.back(KEPT),
            Key::Down | Key::Char('j') => self.on(1),
            Key::PageDown => self.on(page),
            Key::End => self.follow(),
            Key::Char('p' | ' ') if self.paused => self.follow(),
            Key::Char('p' | ' ') => self.paused = true,
            Key::Char('n') => self.find(false),
            Key::Char('N') => self.find(true),
            _ => return false,
        }
        true
    }

    fn back(&mut self, by: usize) {
        self.paused = true;
        self.below = (self.below + by).min(self.lines.len().saturating_sub(1));
    }

    fn on(&mut self, by: usize) {
        self.below = self.below.saturating_sub(by);
    }

    fn follow(&mut self) {
        (self.paused, self.below, self.waiting) = (false, 0, 0);
    }

    pub(super) fn found(&self, line: &Line) -> bool {
        !self.search.is_empty()
            && line
                .text
                .to_lowercase()
                .contains(&self.search.to_lowercase())
    }

    /// Puts the next line with what is searched for at the bottom: above what is there now, or below.
    pub(super) fn find(&mut self, downwards: bool) {
        let last = self.lines.len().saturating_sub(1);
        let here = last.saturating_sub(self.below);
        let hit = |at: &usize| self.lines.get(*at).is_some_and(|l| self.found(l));
        let next = match downwards {
            true => (here + 1..self.lines.len()).find(hit),
            false => (0..here).rev().find(hit),
        };
        if let Some(at) = next {
            self.paused = true;
            self.below = last - at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log::new("web".parse().unwrap(), "pi-1".parse().unwrap(), 1)
    }

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        let line = |text: &&str| LogLine {
            time_ns: 1,
            stream: LogStream::Stdout,
            text: (*text).to_owned(),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn what_is_looked_at_stands_still_while_paused() {
        let mut log = log();
        log.add(lines(&["a", "b", "c"]));
        log.press(Key::Up, 10);
        assert_eq!((log.paused, log.below), (true, 1));
        log.add(lines(&["d", "e"]));
        assert_eq!((log.below, log.waiting), (3, 2), "b is at the bottom still");
        log.press(Key::End, 10);
        assert_eq!((log.paused, log.below, log.waiting), (false, 0, 0));
    }

    #[test]
    fn a_search_goes_up_and_down_over_the_hits() {
        let mut log = log();
        log.add(lines(&["one", "ERROR a", "two", "error b", "three"]));
        log.search = "error".into();
        log.find(false);
        assert_eq!(log.below, 1);
        log.find(false);
        assert_eq!(log.below, 3);
        log.find(false);
        assert_eq!(log.below, 3, "there is none above");
        log.find(true);
        assert_eq!(log.below, 1);
    }

    #[test]
    fn what_is_kept_has_an_end_and_cannot_drive_a_terminal() {
        let mut log = log();
        let long = "x".repeat(1 << 20);
        log.add(lines(&[long.as_str(), "a\u{1b}[2Jb\tc"]));
        assert!(log.lines[0].text.len() < WIDEST + 8);
        assert_eq!(log.lines[1].text, "a [2Jb    c");
        for _ in 0..KEPT {
            log.add(lines(&["y", "z"]));
        }
        assert_eq!(log.lines.len(), KEPT);
        log.note("gone");
        log.note("gone");
        assert_eq!(log.lines[KEPT - 2].text, "z");
    }
}
