//! Delays before the next try: exponential, bounded, jittered.

use crate::model::Restart;

/// Tries that fail before it has run for so long count as a row; afterwards the row begins anew.
/// Twice the delay, within 1 s and 60 s.
pub(super) fn stable_after_ms(restart: &Restart) -> u64 {
    (restart.delay_ms.saturating_mul(2)).clamp(1_000, 60_000)
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
    /// most `max`, plus up to a fifth. A zero base means at once the first time; after that 100 ms
    /// and doubling, since a program that ends at once, for ever, must not take a core.
    pub fn delay_ms(&mut self, failures: u32, base: u64, max: u64) -> u64 {
        if failures == 0 {
            return 0;
        }
        let (base, doublings) = match (base, failures) {
            (0, 1) => return 0,
            (0, n) => (100, n - 2),
            (base, n) => (base, n - 1),
        };
        let delay = base
            .saturating_mul(1 << doublings.min(30))
            .min(max.max(base));
        delay + self.next() % (delay / 5 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_at_once_the_first_time_only() {
        let mut b = Backoff::new(1);
        assert_eq!(b.delay_ms(1, 0, 60_000), 0);
        assert!((100..=120).contains(&b.delay_ms(2, 0, 60_000)));
        assert!((200..=240).contains(&b.delay_ms(3, 0, 60_000)));
    }

    proptest! {
        #[test]
        fn delays_are_bounded(seed: u64, failures in 0u32..10_000, base in 0u64..1_000_000, max in 0u64..10_000_000) {
            let d = Backoff::new(seed).delay_ms(failures, base, max);
            let cap = max.max(base).max(100);
            prop_assert!(d <= cap + cap / 5);
        }
    }
}
