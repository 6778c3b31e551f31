//! Nodes that come and go: whoever returns again and again gets nothing new for a while.
//!
//! ```text
//!               3 returns within 5 minutes
//!    steady ───────────────────────────────► damped: nothing new is placed there
//!       ▲                                      │
//!       └──── the penalty has fallen ◄─────────┘
//! ```
//!
//! The penalty halves in whole steps, so that it is the same however often it is looked at.

use super::Flaps;
use crate::model::UnixMs;

/// Of one return.
const PENALTY: u32 = 1_000;
/// From here on a node is damped, …
const DAMPED: u32 = 3_000;
/// … until it has less than this.
const FORGIVEN: u32 = 1_000;
/// However often it returns: it is forgiven at most 20 minutes after it has become steady.
const MOST: u32 = 12_000;
/// It halves within this.
const HALF_LIFE_MS: u64 = 5 * 60_000;

impl Flaps {
    /// The node has returned.
    pub(in crate::fleet) fn returned(&mut self, at: UnixMs) {
        self.decay(at);
        if self.penalty == 0 {
            self.at_ms = at;
        }
        self.penalty = (self.penalty + PENALTY).min(MOST);
        self.damped |= self.penalty >= DAMPED;
    }

    /// A return had a good reason, as is known now.
    pub(in crate::fleet) fn excuse(&mut self) {
        if !self.damped {
            self.penalty = self.penalty.saturating_sub(PENALTY);
        }
    }

    /// Time has passed.
    pub(super) fn decay(&mut self, at: UnixMs) {
        let steps = at.saturating_sub(self.at_ms) / HALF_LIFE_MS;
        self.at_ms += steps * HALF_LIFE_MS;
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.penalty = self.penalty.checked_shr(steps).unwrap_or(0);
        self.damped &= self.penalty >= FORGIVEN;
    }

    /// When it will be forgiven, if it holds still; `None`: it is not damped.
    pub(super) fn forgiven_ms(&self) -> Option<UnixMs> {
        let steps = (0..u32::BITS).find(|s| self.penalty >> s < FORGIVEN)?;
        let after = u64::from(steps) * HALF_LIFE_MS;
        self.damped.then(|| self.at_ms.saturating_add(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn returns(n: u64, every_ms: u64) -> Flaps {
        let mut flaps = Flaps::default();
        for i in 0..n {
            flaps.returned(1_000_000 + i * every_ms);
        }
        flaps
    }

    #[test]
    fn three_returns_in_a_row_damp_a_node_and_two_do_not() {
        assert!(!returns(2, 1_000).damped);
        assert!(returns(3, 1_000).damped);
        // One a day is nobody's business.
        assert!(!returns(1_000, 86_400_000).damped);
    }

    #[test]
    fn a_node_is_forgiven_when_it_was_said_to_be_and_not_a_millisecond_earlier() {
        for n in [3, 4, 7, 20, 1_000] {
            let flaps = returns(n, 1_000);
            let due = flaps.forgiven_ms().expect("it is damped");
            let last = 1_000_000 + (n - 1) * 1_000;
            assert!(due > last && due <= last + 20 * 60_000, "{n}: {due}");
            let (mut before, mut then) = (flaps, flaps);
            before.decay(due - 1);
            assert!(before.damped, "{n}");
            then.decay(due);
            assert!(!then.damped && then.forgiven_ms().is_none(), "{n}");
        }
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_often_one_looks(
            n in 1u64..9,
            looks in prop::collection::vec(0u64..2_000_000, 0..20),
            end in 0u64..4_000_000,
        ) {
            let (mut often, mut once) = (returns(n, 7_000), returns(n, 7_000));
            let mut at = 1_100_000;
            for look in looks {
                at += look;
                often.decay(at);
            }
            often.decay(at + end);
            once.decay(at + end);
            prop_assert_eq!(often.penalty, once.penalty);
            prop_assert_eq!(often.damped, once.damped);
        }
    }
}
