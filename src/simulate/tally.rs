//! What is counted: by all nodes together, in constant memory however long it goes on.

use serde::Serialize;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counts of all nodes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) heartbeats: Counter,
    pub(super) assignments: Counter,
    pub(super) reconnects: Counter,
    pub(super) faults: FaultCounters,
    /// From the start of a node's agent to its first session.
    pub(super) joined_in: Times,
    /// From an assignment to what it asks for being up.
    pub(super) running_in: Times,
    /// Nothing goes wrong by intention any more.
    pub(super) calm: AtomicBool,
}

impl Tally {
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }
}

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went wrong by intention.
#[derive(Debug, Default)]
pub(super) struct FaultCounters {
    pub(super) launches: Counter,
    pub(super) crashes: Counter,
    pub(super) poisoned: Counter,
    pub(super) cut_off: Counter,
    pub(super) frozen: Counter,
}

/// The same as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Launches that failed.
    pub(crate) launches_failed: u64,
    /// Instances that ended by themselves.
    pub(crate) crashes: u64,
    /// Instances of the poisoned version that ended.
    pub(crate) poisoned: u64,
    /// Connections that were broken.
    pub(crate) cut_off: u64,
    /// Agents that hung for a while.
    pub(crate) frozen: u64,
}

impl FaultCounters {
    pub(super) fn get(&self) -> Faults {
        Faults {
            launches_failed: self.launches.get(),
            crashes: self.crashes.get(),
            poisoned: self.poisoned.get(),
            cut_off: self.cut_off.get(),
            frozen: self.frozen.get(),
        }
    }
}

/// Below so many milliseconds each has a bucket of its own; above, so many share a doubling, so
/// that what is told is at most a thirty-second off.
const FINE: u64 = 32;
/// Up to 2^37 ms, which is four years.
const BUCKETS: usize = FINE as usize * 33;

/// Times, as a histogram.
#[derive(Debug, Default)]
pub(super) struct Times(Mutex<Histogram>);

#[derive(Debug)]
struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; BUCKETS].into(),
            total: 0,
            max: 0,
        }
    }
}

/// What is told of times, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// How many were measured.
    pub(crate) count: u64,
    /// Half of them took no longer.
    pub(crate) p50_ms: u64,
    /// 99 of 100 took no longer.
    pub(crate) p99_ms: u64,
    /// The longest.
    pub(crate) max_ms: u64,
}

impl Times {
    pub(super) fn add(&self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.counts[bucket(ms)] += 1;
        all.total += 1;
        all.max = all.max.max(ms);
    }

    pub(super) fn summary(&self) -> Summary {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            count: all.total,
            p50_ms: all.quantile(50),
            p99_ms: all.quantile(99),
            max_ms: all.max,
        }
    }
}

impl Histogram {
    /// The upper end of the bucket in which that percentage of all lies.
    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && wanted > 0 {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(ms: u64) -> usize {
    if ms < FINE {
        return ms as usize;
    }
    let doubling = u64::from(ms.ilog2()) - u64::from(FINE.ilog2());
    let part = (ms >> doubling) - FINE;
    let at = FINE + doubling * FINE + part;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

fn upper(at: usize) -> u64 {
    let at = at as u64;
    if at < FINE {
        return at;
    }
    let (doubling, part) = ((at - FINE) / FINE, (at - FINE) % FINE);
    ((FINE + part + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket_and_not_far_from_its_end() {
        let mut last = 0;
        for ms in (0..5_000).chain([10_000, 123_456, 7_654_321, 1 << 36]) {
            let at = bucket(ms);
            assert!(at >= last, "{ms}");
            last = at;
            let end = upper(at);
            assert!(end >= ms && end <= ms + ms / 31 + 1, "{ms} {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_summary_of_nothing_and_of_a_hundred() {
        let times = Times::default();
        assert_eq!(times.summary(), Summary::default());
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        let told = times.summary();
        assert_eq!((told.count, told.max_ms), (100, 100));
        assert!((50..=51).contains(&told.p50_ms), "{told:?}");
        assert!((99..=100).contains(&told.p99_ms), "{told:?}");
    }
}
