//! Chance, from a seed: the same seed rolls the same numbers. What they meet depends on the
//! network all the same, so that a run is alike another one with its seed, and not equal to it.

use super::profile::{Share, Span};
use crate::supervisor::Backoff;
use std::time::Duration;

/// So many parts are a whole.
const WHOLE: u64 = 1 << 32;

/// Rolls.
#[derive(Debug, Clone)]
pub(super) struct Dice(Backoff);

impl Dice {
    /// One of many of the same seed.
    pub(super) fn new(seed: u64, which: u64) -> Dice {
        let mut mixed = Backoff::new(seed ^ which.wrapping_mul(0xff51_afd7_ed55_8ccd));
        Dice(Backoff::new(mixed.below(u64::MAX)))
    }

    /// A number below `limit`; 0 when that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0.below(limit)
    }

    /// It happens.
    pub(super) fn happens(&mut self, share: Share) -> bool {
        (self.below(WHOLE) as f64) < share.0 * WHOLE as f64
    }

    /// Any length within `span`.
    pub(super) fn within(&mut self, span: Span) -> Duration {
        let more = self.below(span.to_ms.saturating_sub(span.from_ms) + 1);
        Duration::from_millis(span.from_ms + more)
    }

    /// How many of a number that is expected on average: its whole part, and one more by chance.
    pub(super) fn about(&mut self, expected: f64) -> usize {
        let whole = expected.max(0.0).floor();
        let more = self.happens(Share(expected.max(0.0) - whole));
        whole as usize + usize::from(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_and_another_one_does_not() {
        let rolls = |seed, which| {
            let mut dice = Dice::new(seed, which);
            [0; 8].map(|_: u64| dice.below(1_000_000))
        };
        assert_eq!(rolls(1, 2), rolls(1, 2));
        assert_ne!(rolls(1, 2), rolls(1, 3));
        assert_ne!(rolls(1, 2), rolls(2, 2));
    }

    #[test]
    fn shares_and_numbers_come_out_as_expected() {
        let mut dice = Dice::new(7, 0);
        let tenth = (0..10_000).filter(|_| dice.happens(Share(0.1))).count();
        assert!((800..1_200).contains(&tenth), "{tenth}");
        assert!(!(0..1_000).any(|_| dice.happens(Share(0.0))));
        assert!((0..1_000).all(|_| dice.happens(Share(1.0))));
        let sum: usize = (0..1_000).map(|_| dice.about(2.25)).sum();
        assert!((2_150..2_350).contains(&sum), "{sum}");
        let span = Span {
            from_ms: 5,
            to_ms: 9,
        };
        let all: Vec<u128> = (0..1_000).map(|_| dice.within(span).as_millis()).collect();
        assert_eq!(all.iter().min(), Some(&5));
        assert_eq!(all.iter().max(), Some(&9));
    }
}
