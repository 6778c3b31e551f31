//! Where a reader of an instance's log lines stands, so that it can ask again and neither lose a
//! line nor show one twice. Pure.
//!
//! A line is known by its time and its content. Times may repeat (engines give them so) and lines
//! of two streams may be out of order by a little, so the last second is asked for again each time
//! and what was shown of it is left out, each line as often as it was shown.

use crate::model::{LogLine, LogStream};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// How far back it is asked again.
const OVERLAP_NS: u64 = 1_000_000_000;
/// Lines that are remembered; with more in a second it is asked again from less far back.
const MAX_LINES: usize = 4_096;

/// Lines by time and content, and how often each was shown.
type Lines = BTreeMap<(u64, u64), u32>;

/// Where a reader stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    /// Everything up to here was shown, or is not wanted.
    floor: Option<u64>,
    /// What was shown above it.
    shown: Lines,
    /// What was shown before it was asked again, and has not come again yet.
    again: Lines,
    /// Since it was asked again no line above the floor has come.
    catching_up: bool,
    /// Only the last lines were asked for: what is before the first that comes is not wanted.
    tail: bool,
}

impl Cursor {
    /// A reader that wants only lines after `since`; with `tail`, of these only some of the last.
    pub(crate) fn new(since: Option<u64>, tail: bool) -> Cursor {
        Cursor {
            floor: since,
            tail,
            ..Cursor::default()
        }
    }

    /// Begins to read again, with lines after the time that this gives (all when `None`).
    pub(crate) fn resume(&mut self) -> Option<u64> {
        self.again = self.shown.clone();
        self.catching_up = true;
        self.floor
    }

    /// A line has come: whether it is to be shown.
    pub(crate) fn take(&mut self, line: &LogLine) -> bool {
        if std::mem::take(&mut self.tail) {
            self.floor = self.floor.max(line.time_ns.checked_sub(1));
        }
        let is_below = self.floor.is_some_and(|floor| line.time_ns <= floor);
        // Only until the first new one: after that a clock that was set back tells the times.
        if self.catching_up && is_below {
            return false;
        }
        self.catching_up = false;
        let key = key(line);
        if let Some(count) = self.again.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.again.remove(&key);
            }
            return false;
        }
        if !is_below {
            *self.shown.entry(key).or_default() += 1;
            self.settle();
        }
        true
    }

    /// Forgets what is older than the overlap, or too much.
    fn settle(&mut self) {
        let newest = self.shown.last_key_value().map_or(0, |((t, _), _)| *t);
        let keep_after = newest.saturating_sub(OVERLAP_NS);
        while let Some(((oldest, _), _)) = self.shown.first_key_value() {
            let oldest = *oldest;
            // Lines of one time go together, or the floor would lie.
            let all_at_once = oldest == newest;
            if all_at_once || (oldest > keep_after && self.shown.len() <= MAX_LINES) {
                return;
            }
            self.shown = self.shown.split_off(&(oldest + 1, 0));
            self.floor = Some(oldest);
        }
    }
}

fn key(line: &LogLine) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    (line.stream == LogStream::Stderr, &line.text).hash(&mut hasher);
    (line.time_ns, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;
    use proptest::prelude::*;

    fn line(time_ns: u64, text: &str) -> LogLine {
        LogLine {
            time_ns,
            stream: LogStream::Stdout,
            text: text.to_owned(),
        }
    }

    /// What a node sends: the lines after `since`.
    fn sent(log: &[LogLine], since: Option<u64>) -> impl Iterator<Item = &LogLine> {
        log.iter()
            .filter(move |l| since.is_none_or(|s| l.time_ns > s))
    }

    #[test]
    fn equal_times_and_equal_lines_are_each_shown_once() {
        let log = [line(5, "a"), line(5, "a"), line(5, "b"), line(5, "c")];
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(), None);
        assert!(cursor.take(&log[0]));
        let since = cursor.resume();
        let shown: Vec<&str> = sent(&log, since)
            .filter(|l| cursor.take(l))
            .map(|l| l.text.as_str())
            .collect();
        assert_eq!(shown, ["a", "b", "c"]);
    }

    #[test]
    fn what_is_not_wanted_is_not_shown_and_not_asked_for() {
        let mut cursor = Cursor::new(Some(7), false);
        assert_eq!(cursor.resume(), Some(7));
        assert!(!cursor.take(&line(7, "old")));
        assert!(cursor.take(&line(8, "new")));
        assert_eq!(cursor.resume(), Some(7), "within a second");
        assert!(!cursor.take(&line(8, "new")));
        assert!(cursor.take(&line(3_000_000_000, "later")));
        assert_eq!(cursor.resume(), Some(8), "only the last second");
    }

    #[test]
    fn what_is_before_the_last_lines_is_not_asked_for() {
        let mut cursor = Cursor::new(None, true);
        assert_eq!(cursor.resume(), None);
        assert!(cursor.take(&line(5, "last but one")));
        assert!(cursor.take(&line(6, "last")));
        assert_eq!(cursor.resume(), Some(4));
        assert!(!cursor.take(&line(5, "last but one")));
        assert!(!cursor.take(&line(6, "last")));
        assert!(cursor.take(&line(7, "new")));
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nothing_while_it_is_read() {
        let mut cursor = Cursor::new(Some(1_000), false);
        cursor.resume();
        assert!(cursor.take(&line(5_000_000_000, "before")));
        assert!(cursor.take(&line(500, "after")));
    }

    #[test]
    fn memory_is_bounded() {
        let mut cursor = Cursor::default();
        for n in 0..20_000 {
            assert!(cursor.take(&line(n, "x")));
        }
        assert!(cursor.shown.len() <= MAX_LINES);
        assert_eq!(cursor.resume(), Some(19_999 - MAX_LINES as u64));
    }

    proptest! {
        #[test]
        fn however_often_it_is_asked_again_each_line_is_shown_once(
            steps in prop::collection::vec((0u64..900_000_000, 0u8..3), 1..200),
            breaks in prop::collection::vec(1usize..20, 0..40),
        ) {
            let mut time = 1;
            let log: Vec<LogLine> = steps
                .iter()
                .map(|(step, word)| {
                    // Half of them at the time of the line before.
                    time += step * u64::from(*word != 0);
                    line(time, &word.to_string())
                })
                .collect();
            let mut cursor = Cursor::default();
            let mut shown = Vec::new();
            for reads in breaks.into_iter().chain([usize::MAX]) {
                let since = cursor.resume();
                shown.extend(sent(&log, since).take(reads).filter(|l| cursor.take(l)).cloned());
            }
            prop_assert_eq!(shown, log);
        }
    }
}
