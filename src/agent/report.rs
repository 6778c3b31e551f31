//! When the observed state is published: at once when it changed, but on average not more often
//! than every 100 ms, and a large one less often still (4 ms more for each KiB), so that a burst of
//! changes is one message.

use crate::{contract::State, identity::sha256_hex};
use std::collections::VecDeque;

const GAP_MS: u64 = 100;
/// A few in a row go at once: a start is `starting` and `running` within a moment, and somebody
/// waits for the second.
const BURST: usize = 4;
/// Above so many bytes nothing goes at once.
const LARGE: usize = 16 * 1024;

/// Holds back and compares.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    published: Option<State>,
    /// When the last ones were published, oldest first; at most [`BURST`].
    times: VecDeque<u64>,
    wanted: bool,
    digest: String,
    /// Bytes of what was published last.
    size: usize,
}

impl Reporter {
    /// The state may have changed.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Everything is to be published again: a new session.
    pub(super) fn forget(&mut self) {
        self.published = None;
        self.times.clear();
        self.wanted = true;
    }

    /// When [`Reporter::take`] is worth calling, `None` when nothing is wanted.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let gap = GAP_MS + self.size as u64 / 256;
        let due = match (self.times.front(), self.times.back()) {
            (_, Some(last)) if self.size > LARGE => last + gap,
            (Some(first), _) if self.times.len() >= BURST => first + gap * BURST as u64,
            _ => 0,
        };
        self.wanted.then_some(due)
    }

    /// The state to publish at `now`, when it is time and something differs.
    pub(super) fn take(&mut self, now: u64, state: impl FnOnce() -> State) -> Option<State> {
        if self.due_ms().is_none_or(|due| now < due) {
            return None;
        }
        self.wanted = false;
        let state = state();
        if self.published.as_ref() == Some(&state) {
            return None;
        }
        (self.digest, self.size) = digest(&state);
        self.published = Some(state.clone());
        if self.times.len() >= BURST {
            self.times.pop_front();
        }
        self.times.push_back(now);
        Some(state)
    }

    /// Digest of what was published last.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Digest and size.
fn digest(state: &State) -> (String, usize) {
    let text = serde_json_canonicalizer::to_vec(state).unwrap_or_default();
    let mut hex = sha256_hex(&text);
    hex.truncate(8);
    (hex, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_go_at_once_then_a_burst_is_one_message_and_the_last_word_is_said() {
        let mut r = Reporter::default();
        let state = |generation| State {
            generation,
            ..State::default()
        };
        for n in 0..4 {
            r.want();
            assert!(r.take(1_000 + n, || state(n)).is_some());
            assert_eq!(r.due_ms(), None);
        }
        r.want();
        assert!(r.take(1_010, || state(5)).is_none());
        r.want();
        assert_eq!(r.due_ms(), Some(1_400));
        assert_eq!(r.take(1_400, || state(6)).unwrap().generation, 6);
        r.want();
        assert!(r.take(2_300, || state(6)).is_none(), "nothing differs");
        r.forget();
        assert!(r.take(2_301, || state(6)).is_some());
    }
}
