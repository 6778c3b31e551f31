//! The order of what an exec is given.

use crate::model::ExecInput;
use std::collections::BTreeMap;

/// Inputs that may wait for an earlier one.
const MAX_EARLY: usize = 64;

/// Too many inputs wait for one that does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyEarly;

/// Hands inputs on by number, each once.
#[derive(Debug, Default)]
pub(super) struct Order {
    next: u64,
    early: BTreeMap<u64, (String, ExecInput)>,
}

impl Order {
    /// It waits for an input while later ones are there.
    pub(super) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// It was handed on before.
    pub(super) fn is_old(&self, n: u64) -> bool {
        n < self.next
    }

    /// Takes an input and gives what can go on now. One that was handed on before gives nothing.
    ///
    /// # Errors
    /// [`TooManyEarly`].
    pub(super) fn take(
        &mut self,
        id: String,
        input: ExecInput,
    ) -> Result<Vec<(String, ExecInput)>, TooManyEarly> {
        if self.is_old(input.n) {
            return Ok(Vec::new());
        }
        self.early.insert(input.n, (id, input));
        let mut ready = Vec::new();
        while let Some(input) = self.early.remove(&self.next) {
            self.next += 1;
            ready.push(input);
        }
        if self.early.len() > MAX_EARLY {
            return Err(TooManyEarly);
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(order: &mut Order, n: u64) -> Result<Vec<u64>, TooManyEarly> {
        let input = ExecInput {
            n,
            ..ExecInput::default()
        };
        let ready = order.take(format!("x.{n}"), input)?;
        Ok(ready.into_iter().map(|(_, i)| i.n).collect())
    }

    #[test]
    fn inputs_wait_for_earlier_ones_and_are_handed_on_once() {
        let mut order = Order::default();
        assert_eq!(take(&mut order, 1), Ok(vec![]));
        assert!(order.has_gap());
        assert_eq!(take(&mut order, 0), Ok(vec![0, 1]));
        assert!(!order.has_gap());
        assert_eq!(take(&mut order, 1), Ok(vec![]));
        assert!(order.is_old(1));
        assert_eq!(take(&mut order, 2), Ok(vec![2]));
    }

    #[test]
    fn those_that_wait_are_bounded() {
        let mut order = Order::default();
        for n in 1..=MAX_EARLY as u64 {
            assert_eq!(take(&mut order, n), Ok(vec![]));
        }
        assert_eq!(take(&mut order, 1 + MAX_EARLY as u64), Err(TooManyEarly));
    }

    proptest! {
        #[test]
        fn whatever_the_order_all_come_out_in_order(mut all in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(), again in 0..40_u64) {
            all.push(again);
            let mut order = Order::default();
            let mut out = Vec::new();
            for n in all {
                out.extend(take(&mut order, n).unwrap());
            }
            prop_assert_eq!(out, (0..40).collect::<Vec<_>>());
        }
    }
}
