//! Delays before the next try: exponential, bounded, jittered.

use crate::model::Restart;

/// So many failures in a row are a crash loop.
pub(super) const CRASH_LOOP: u32 = 3;

/// A run that lasts at least so long is stable: the row of failures before it is over. As long as
/// the delay that came before it, or twice the first delay (at most a minute) where that is more;
/// within 1 s and 10 min.
pub(super) fn stable_after_ms(restart: &Restart, delay_before_ms: u64) -> u64 {
    let twice = restart.delay_ms.saturating_mul(2).min(60_000);
    delay_before_ms.max(twice).clamp(1_000, 600_000)
}

/// A small generator (SplitMix64, Steele et al. 2014) seeded from outside: the jitter must differ
/// between nodes, not be unguessable, and must come out the same in a simulation.
#[derive(Debug, Clone)]
pub struct Backoff {
    state: u64,
}

impl Backoff {
    /// Seeded.
    pub fn new(seed: u64) -> Backoff {
        Backoff { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// The delay after `failures` tries in a row that did not last: `base · 2^(failures-1)`, at
    /// most `max`, less up to a fifth: what a person wrote is the longest that it waits. A zero
    /// base means at once the first time; after that 100 ms and doubling, since a program that ends
    /// at once, for ever, must not take a core.
    pub fn delay_ms(&mut self, failures: u32, base: u64, max: u64) -> u64 {
        let delay = step_ms(failures, base, max);
        if delay == 0 {
            return 0;
        }
        delay - self.next() % (delay / 5 + 1)
    }
}

/// The same without the jitter: what is told to people.
pub(super) fn step_ms(failures: u32, base: u64, max: u64) -> u64 {
    let (base, doublings) = match (base, failures) {
        (_, 0) | (0, 1) => return 0,
        (0, n) => (100, n - 2),
        (base, n) => (base, n - 1),
    };
    base.saturating_mul(1 << doublings.min(30))
        .min(max.max(base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_at_once_the_first_time_only() {
        let mut b = Backoff::new(1);
        assert_eq!(b.delay_ms(1, 0, 60_000), 0);
        assert!((80..=100).contains(&b.delay_ms(2, 0, 60_000)));
        assert!((160..=200).contains(&b.delay_ms(3, 0, 60_000)));
    }

    #[test]
    fn a_run_is_stable_when_it_outlasts_the_delay_before_it() {
        let restart = |delay_ms| Restart {
            delay_ms,
            ..Restart::default()
        };
        for (delay_ms, before, stable) in [
            (0, 0, 1_000),
            (100, 0, 1_000),
            (1_000, 0, 2_000),
            (1_000, 40_000, 40_000),
            (5_000, 6_000, 10_000),
            (3_600_000, 0, 60_000),
            (5_000, 3_600_000, 600_000),
        ] {
            assert_eq!(stable_after_ms(&restart(delay_ms), before), stable);
        }
    }

    proptest! {
        #[test]
        fn delays_are_bounded(seed: u64, failures in 0u32..10_000, base in 0u64..1_000_000, max in 0u64..10_000_000) {
            let d = Backoff::new(seed).delay_ms(failures, base, max);
            let cap = max.max(base).max(100);
            prop_assert!(d <= cap);
        }
    }
}
