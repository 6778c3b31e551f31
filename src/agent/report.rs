//! When the observed state is published: at once when it changed, but not more often than every
//! 100 ms, and a large one less often still (4 ms more for each KiB), so that a burst of changes is
//! one message.

use crate::{contract::State, identity::sha256_hex};

const GAP_MS: u64 = 100;

/// Holds back and compares.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    published: Option<State>,
    published_ms: Option<u64>,
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
        self.published_ms = None;
        self.wanted = true;
    }

    /// When [`Reporter::take`] is worth calling, `None` when nothing is wanted.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.wanted.then(|| {
            self.published_ms
                .map_or(0, |at| at + GAP_MS + self.size as u64 / 256)
        })
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
        self.published_ms = Some(now);
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
    fn a_burst_is_one_message_and_the_last_word_is_said() {
        let mut r = Reporter::default();
        let state = |generation| State {
            generation,
            ..State::default()
        };
        r.want();
        assert!(r.take(1_000, || state(1)).is_some());
        assert_eq!(r.due_ms(), None);
        r.want();
        assert!(r.take(1_001, || state(2)).is_none());
        r.want();
        let due = r.due_ms().unwrap();
        assert!((1_100..1_110).contains(&due));
        assert_eq!(r.take(due, || state(3)).unwrap().generation, 3);
        r.want();
        assert!(r.take(1_300, || state(3)).is_none(), "nothing differs");
        r.forget();
        assert!(r.take(1_301, || state(3)).is_some());
    }
}
