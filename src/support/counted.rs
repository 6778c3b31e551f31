//! Counting what is refused, and logging it once per kind and minute.

use std::collections::BTreeMap;

const MINUTE_MS: u64 = 60_000;

/// Counters by kind.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    kinds: BTreeMap<&'static str, (u64, u64)>,
}

impl Counted {
    /// Counts one of `kind` at `now` (monotonic milliseconds), and calls `log` when the last one
    /// of its kind was logged more than a minute ago.
    pub fn count(&mut self, kind: &'static str, now: u64, log: impl FnOnce()) {
        match self.kinds.get_mut(kind) {
            None => {
                self.kinds.insert(kind, (1, now));
                log();
            }
            Some((count, logged)) => {
                *count += 1;
                if now.saturating_sub(*logged) >= MINUTE_MS {
                    *logged = now;
                    log();
                }
            }
        }
    }

    /// The counts, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.kinds.iter().map(|(kind, (count, _))| (*kind, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_kind_and_minute() {
        let mut counted = Counted::default();
        let mut lines = 0;
        for now in [0, 1, 59_999, 60_000, 60_001] {
            counted.count("a", now, || lines += 1);
        }
        counted.count("b", 2, || lines += 1);
        assert_eq!(lines, 3);
        assert_eq!(counted.iter().collect::<Vec<_>>(), [("a", 5), ("b", 1)]);
    }
}
