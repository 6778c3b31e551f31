//! Numbers that come side by side, each taken once: pure.

use crate::contract::Seq;

/// The highest number so far, and which of the 64 up to it were taken. What is older is not taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    highest: Option<Seq>,
    /// Bit n: the number that is n below the highest.
    taken: u64,
}

impl Window {
    /// `true`: it is taken now, for the first time.
    pub(super) fn take(&mut self, seq: Seq) -> bool {
        let Some(highest) = self.highest.filter(|h| h.start >= seq.start) else {
            // Another start of the node, or the first that is heard of it.
            (self.highest, self.taken) = (Some(seq), 1);
            return true;
        };
        if highest.start > seq.start {
            return false;
        }
        if seq.count > highest.count {
            let ahead = seq.count - highest.count;
            let moved = u32::try_from(ahead)
                .ok()
                .and_then(|n| self.taken.checked_shl(n));
            (self.highest, self.taken) = (Some(seq), moved.unwrap_or(0) | 1);
            return true;
        }
        let behind = highest.count - seq.count;
        let bit = u32::try_from(behind)
            .ok()
            .and_then(|n| 1_u64.checked_shl(n));
        let fresh = bit.is_some_and(|bit| self.taken & bit == 0);
        self.taken |= bit.filter(|_| fresh).unwrap_or(0);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn seq(start: u64, count: u64) -> Seq {
        Seq { start, count }
    }

    #[test]
    fn numbers_may_overtake_each_other_and_none_is_taken_twice() {
        let mut window = Window::default();
        for count in [5, 7, 6, 69] {
            assert!(window.take(seq(1, count)), "{count}");
        }
        for count in [5, 6, 7, 69, 4] {
            assert!(!window.take(seq(1, count)), "{count}");
        }
        assert!(window.take(seq(1, 8)));
        assert!(window.take(seq(2, 1)), "the node has started anew");
        assert!(!window.take(seq(1, 1_000)), "an old start");
        assert!(window.take(seq(2, u64::MAX)) && !window.take(seq(2, 2)));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_taken_twice(said in prop::collection::vec((1..3_u64, 0..200_u64), 0..300)) {
            let (mut window, mut taken) = (Window::default(), BTreeSet::new());
            for (start, count) in said {
                if window.take(seq(start, count)) {
                    prop_assert!(taken.insert((start, count)));
                }
            }
        }
    }
}
