//! Counting how long things take, for `/metrics`: atomics, so that nobody waits for the counting.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, seconds. What takes longer is only in the total.
pub const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Durations, counted by bucket.
#[derive(Debug, Default)]
pub struct Durations {
    /// Of each bucket, without those of the smaller ones; the last one has no bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// One reading of [`Durations`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DurationCounts {
    /// How many took at most the bound of the same place in [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Seconds, all together.
    pub sum: f64,
}

impl Durations {
    /// One more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted. The total is that of the buckets read here, so that the two agree also
    /// while others count.
    pub fn read(&self) -> DurationCounts {
        let mut counts = DurationCounts::default();
        let mut so_far = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            so_far += bucket.load(Ordering::Relaxed);
            if let Some(within) = counts.within.get_mut(at) {
                *within = so_far;
            }
        }
        counts.count = so_far;
        counts.sum = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_took_at_most_so_long() {
        let durations = Durations::default();
        for us in [0, 500, 501, 10_000, 60_000_000] {
            durations.observe(Duration::from_micros(us));
        }
        let read = durations.read();
        assert_eq!(read.within[..5], [2, 3, 3, 3, 4]);
        assert_eq!((read.within[11], read.count), (4, 5));
        assert!((read.sum - 60.011_001).abs() < 1e-9, "{}", read.sum);
    }
}
