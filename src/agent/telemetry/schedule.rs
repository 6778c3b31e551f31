//! **Pure**: which metrics are due, and whether a measurement is worth sending.

use super::super::machine::Values;
use crate::model::{Metric, MetricConfig};
use std::{collections::BTreeMap, time::Duration};

/// So many measurements in a row are left out at most: every tenth is sent anyway.
const LEFT_OUT: u32 = 9;
/// What nobody may fall below, whatever the settings say.
const SHORTEST_MS: u64 = 1_000;
/// A metric that needs a second reading gets it this soon.
const SECOND_READING_MS: u64 = 1_000;

/// When each metric is measured, and what was sent of it. Times are monotonic milliseconds.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    metrics: BTreeMap<Metric, Turn>,
}

#[derive(Debug)]
struct Turn {
    config: MetricConfig,
    due: u64,
    sent: Option<Values>,
    left_out: u32,
    /// It had its second reading soon after the first.
    hurried: bool,
}

impl Schedule {
    /// Other settings. What is the same goes on in its rhythm; what is new is measured at once.
    pub(super) fn configure(&mut self, config: &BTreeMap<Metric, MetricConfig>, now: u64) {
        self.metrics
            .retain(|metric, turn| config.get(metric) == Some(&turn.config));
        for (metric, config) in config.iter().filter(|(_, c)| c.enabled) {
            self.metrics.entry(*metric).or_insert(Turn {
                config: *config,
                due: now,
                sent: None,
                left_out: 0,
                hurried: false,
            });
        }
        self.metrics.retain(|_, turn| turn.config.enabled);
    }

    /// A reader may know nothing: everything is measured at once and sent.
    pub(super) fn begin_session(&mut self, now: u64) {
        for turn in self.metrics.values_mut() {
            turn.due = now;
            turn.sent = None;
            turn.left_out = 0;
        }
    }

    /// When the next measurement is due; `None` when nothing is measured.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.metrics.values().map(|turn| turn.due).min()
    }

    /// What is to be measured at `now`. Each has its next turn one interval later; turns that were
    /// missed, as by a machine that slept, are not made up for.
    pub(super) fn due(&mut self, now: u64) -> Vec<Metric> {
        let mut due = Vec::new();
        for (metric, turn) in &mut self.metrics {
            if turn.due > now {
                continue;
            }
            due.push(*metric);
            let interval = turn.config.interval_ms.max(SHORTEST_MS);
            let next = turn.due.saturating_add(interval);
            turn.due = if next > now {
                next
            } else {
                now.saturating_add(interval)
            };
        }
        due
    }

    /// Something of it was sent in this session.
    pub(super) fn has_sent(&self, metric: Metric) -> bool {
        self.metrics.get(&metric).is_some_and(|t| t.sent.is_some())
    }

    /// A metric had nothing to tell yet: it is measured again soon rather than an interval later,
    /// once.
    pub(super) fn again_soon(&mut self, metric: Metric, now: u64) {
        if let Some(turn) = self.metrics.get_mut(&metric).filter(|t| !t.hurried) {
            turn.hurried = true;
            turn.due = turn.due.min(now.saturating_add(SECOND_READING_MS));
        }
    }

    /// Whether `values` are worth sending: some value moved by the threshold since it was sent, or
    /// came or went, or this is the tenth measurement.
    pub(super) fn is_news(&mut self, metric: Metric, values: &Values) -> bool {
        let Some(turn) = self.metrics.get_mut(&metric) else {
            return false;
        };
        let threshold = turn.config.change_threshold;
        let news = match &turn.sent {
            Some(sent) if turn.left_out < LEFT_OUT => {
                sent.len() != values.len()
                    || values.iter().any(|(name, now)| {
                        sent.get(name)
                            .is_none_or(|before| (now - before).abs() >= threshold)
                    })
            }
            _ => true,
        };
        if !news {
            turn.left_out += 1;
        }
        news
    }

    /// They were sent.
    pub(super) fn sent(&mut self, metric: Metric, values: Values) {
        if let Some(turn) = self.metrics.get_mut(&metric) {
            turn.sent = Some(values);
            turn.left_out = 0;
        }
    }
}

/// From `now` until `at`.
pub(super) fn until(at: u64, now: u64) -> Duration {
    Duration::from_millis(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(all: &[(Metric, bool, u64, f64)]) -> BTreeMap<Metric, MetricConfig> {
        all.iter()
            .map(|(metric, enabled, interval_ms, change_threshold)| {
                let config = MetricConfig {
                    enabled: *enabled,
                    interval_ms: *interval_ms,
                    change_threshold: *change_threshold,
                };
                (*metric, config)
            })
            .collect()
    }

    fn values(all: &[(&str, f64)]) -> Values {
        all.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    /// Takes a measurement as the shell does; whether it was sent.
    fn take(s: &mut Schedule, metric: Metric, now: &Values) -> bool {
        let news = s.is_news(metric, now);
        if news {
            s.sent(metric, now.clone());
        }
        news
    }

    #[test]
    fn nothing_is_due_where_nothing_is_enabled() {
        let mut s = Schedule::default();
        assert_eq!(s.next_due(), None);
        s.configure(&config(&[(Metric::Cpu, false, 1_000, 0.0)]), 5);
        assert_eq!((s.next_due(), s.due(1_000_000)), (None, vec![]));
        s.configure(&config(&[(Metric::Cpu, true, 1_000, 0.0)]), 5);
        assert_eq!(s.next_due(), Some(5));
        s.configure(&config(&[]), 6);
        assert_eq!(s.next_due(), None);
    }

    #[test]
    fn each_in_its_own_rhythm_which_other_settings_do_not_disturb() {
        let mut s = Schedule::default();
        let cpu = (Metric::Cpu, true, 10_000, 0.0);
        s.configure(&config(&[cpu, (Metric::Load, true, 25_000, 0.0)]), 100);
        assert_eq!(s.due(100), [Metric::Cpu, Metric::Load]);
        assert_eq!(s.next_due(), Some(10_100));
        assert_eq!(s.due(10_099), []);
        assert_eq!(s.due(10_105), [Metric::Cpu]);
        assert_eq!(s.next_due(), Some(20_100), "a late turn moves no later one");
        s.configure(&config(&[cpu, (Metric::Load, true, 2_000, 0.0)]), 12_000);
        assert_eq!(s.due(12_000), [Metric::Load]);
        s.configure(&config(&[cpu]), 12_500);
        assert_eq!(s.next_due(), Some(20_100));
        assert_eq!(s.due(500_000), [Metric::Cpu]);
        assert_eq!(
            s.next_due(),
            Some(510_000),
            "what was missed is not made up for"
        );
    }

    #[test]
    fn a_second_reading_comes_soon() {
        let mut s = Schedule::default();
        s.configure(&config(&[(Metric::Cpu, true, 60_000, 0.0)]), 0);
        assert_eq!(s.due(0), [Metric::Cpu]);
        s.again_soon(Metric::Cpu, 0);
        assert_eq!(s.next_due(), Some(1_000));
        assert_eq!(s.due(1_000), [Metric::Cpu]);
        s.again_soon(Metric::Cpu, 1_000);
        assert_eq!(s.next_due(), Some(61_000), "and only once");
    }

    #[test]
    fn what_has_not_moved_is_left_out_nine_times() {
        let mut s = Schedule::default();
        s.configure(&config(&[(Metric::Cpu, true, 1_000, 5.0)]), 0);
        assert!(take(&mut s, Metric::Cpu, &values(&[("total", 50.0)])));
        for n in 0..9 {
            let near = values(&[("total", 50.0 + f64::from(n % 5))]);
            assert!(!take(&mut s, Metric::Cpu, &near), "{n}");
        }
        assert!(take(&mut s, Metric::Cpu, &values(&[("total", 50.0)])));
        assert!(take(&mut s, Metric::Cpu, &values(&[("total", 55.0)])));
        // Compared is with what was sent, so that a slow drift is told as well.
        assert!(!take(&mut s, Metric::Cpu, &values(&[("total", 58.0)])));
        assert!(take(&mut s, Metric::Cpu, &values(&[("total", 60.0)])));
    }

    #[test]
    fn what_comes_and_goes_is_news_and_so_is_everything_without_a_threshold() {
        let mut s = Schedule::default();
        let all = [
            (Metric::Instances, true, 1_000, 1e9),
            (Metric::Load, true, 1_000, 0.0),
        ];
        s.configure(&config(&all), 0);
        let one = values(&[("web.cpu", 1.0)]);
        assert!(take(&mut s, Metric::Instances, &one));
        assert!(!take(&mut s, Metric::Instances, &one));
        assert!(take(&mut s, Metric::Instances, &values(&[("db.cpu", 1.0)])));
        assert!(take(&mut s, Metric::Instances, &values(&[])));
        let load = values(&[("1m", 0.5)]);
        assert!(take(&mut s, Metric::Load, &load) && take(&mut s, Metric::Load, &load));
        assert!(!take(&mut s, Metric::Cpu, &load), "it is not enabled");
    }

    #[test]
    fn a_session_begins_with_everything() {
        let mut s = Schedule::default();
        s.configure(&config(&[(Metric::Cpu, true, 60_000, 5.0)]), 0);
        let same = values(&[("total", 1.0)]);
        assert_eq!(s.due(0), [Metric::Cpu]);
        assert!(take(&mut s, Metric::Cpu, &same) && !take(&mut s, Metric::Cpu, &same));
        s.begin_session(7_000);
        assert_eq!(s.due(7_000), [Metric::Cpu]);
        assert!(take(&mut s, Metric::Cpu, &same));
    }

    proptest! {
        /// Whatever the settings and however late it is asked: never more often than asked for,
        /// never sooner than the interval, and a deadline always lies ahead.
        #[test]
        fn a_turn_is_never_early(interval in 0u64..100_000, steps in prop::collection::vec(1u64..50_000, 1..60)) {
            let mut s = Schedule::default();
            s.configure(&config(&[(Metric::Cpu, true, interval, 0.0)]), 0);
            let (mut now, mut turns) = (0, 0);
            for step in steps {
                turns += u64::from(!s.due(now).is_empty());
                prop_assert!(s.next_due().is_some_and(|at| at > now));
                now += step;
            }
            prop_assert!(turns <= 1 + now / interval.max(1_000));
        }
    }
}
