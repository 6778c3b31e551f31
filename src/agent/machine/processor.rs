//! Processor use, from `/proc/stat`: per cent of the time since the last reading.

use super::{Values, percent};
use std::collections::BTreeMap;

/// Processor time, in the kernel's ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Remembers the last reading.
#[derive(Debug, Default)]
pub(super) struct Processor {
    last: BTreeMap<String, Ticks>,
}

impl Processor {
    /// `total`, and `core.0` and so on; empty the first time.
    pub(super) fn measure(&mut self, stat: &str) -> Values {
        let now: BTreeMap<String, Ticks> = stat.lines().map_while(read).collect();
        let used = |(name, now): (&String, &Ticks)| {
            let before = self.last.get(name)?;
            // A processor that was taken away and came back counts from nothing again.
            let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
            let busy = now.busy.saturating_sub(before.busy);
            Some((name.clone(), percent(busy as f64, all as f64)))
        };
        let values = now.iter().filter_map(used).collect();
        self.last = now;
        values
    }
}

/// One line; `None` after the last one about processors, which stand first.
fn read(line: &str) -> Option<(String, Ticks)> {
    let mut words = line.split_ascii_whitespace();
    let name = match words.next()?.strip_prefix("cpu")? {
        "" => "total".to_owned(),
        number => format!("core.{}", number.parse::<u32>().ok()?),
    };
    // user nice system idle iowait irq softirq steal; guests are in user and nice already.
    let ticks: Vec<u64> = words.take(8).map_while(|w| w.parse().ok()).collect();
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4).unwrap_or(&0));
    let all = ticks.iter().fold(0u64, |sum, t| sum.saturating_add(*t));
    let busy = all.saturating_sub(idle);
    Some((name, Ticks { busy, all }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_time_in_between() {
        let mut p = Processor::default();
        let first = "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 50 0 50 400 0 0 0 0 0 0\n\
                     cpu1 50 0 50 400 0 0 0 0 0 0\nintr 1 2 3\n";
        assert!(p.measure(first).is_empty());
        let second = "cpu  150 10 120 850 10 5 5 0 99 0\ncpu0 100 0 50 400 0 0 0 0 0 0\n\
                      cpu1 50 0 50 500 0 0 0 0 0 0\ncpu2 1 1 1 1 0 0 0 0 0 0\nintr 1 2 3\n";
        let values = p.measure(second);
        let expected = [("core.0", 100.0), ("core.1", 0.0), ("total", 60.0)];
        let expected: Values = expected.map(|(k, v)| (k.to_owned(), v)).into();
        assert_eq!(values, expected);
        assert!(p.measure(second).is_empty(), "no time has passed");
    }

    #[test]
    fn counters_that_go_back_and_texts_that_are_cut_off_give_nothing() {
        let mut p = Processor::default();
        p.measure("cpu 500 0 0 500");
        assert!(p.measure("cpu 10 0 0 10").is_empty());
        for text in [
            "",
            "cpu",
            "cpu 1 2",
            "cpux 1 2 3 4",
            "intr 5",
            "cpu a b c d",
        ] {
            assert!(p.measure(text).is_empty(), "{text}");
        }
    }
}
