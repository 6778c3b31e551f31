//! PURE: of what happens over and over, one line a minute.

/// The least between two lines, milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Counts until it may be said again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flood {
    said: Option<u64>,
    /// How often it happened since the last line.
    pub(super) since: u64,
}

impl Flood {
    /// It happened `times` more. `Some`: say now that it happened so often since the last line.
    pub(super) fn count(&mut self, now: u64, times: u64) -> Option<u64> {
        self.since = self.since.saturating_add(times);
        self.due(now)
    }

    /// As [`Flood::count`], of what was not said yet.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        let is_early = self
            .said
            .is_some_and(|said| now.saturating_sub(said) < MINUTE_MS);
        if self.since == 0 || is_early {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_once_a_minute_with_their_count() {
        let mut flood = Flood::default();
        assert_eq!(flood.due(0), None);
        assert_eq!(flood.count(5, 1), Some(1));
        for n in 0..1_000 {
            assert_eq!(flood.count(6 + n, 2), None);
        }
        assert_eq!(flood.due(5 + MINUTE_MS - 1), None);
        assert_eq!(flood.due(5 + MINUTE_MS), Some(2_000));
        assert_eq!(flood.due(5 + 2 * MINUTE_MS), None, "nothing is left");
        assert_eq!(flood.count(5 + 3 * MINUTE_MS, 1), Some(1));
    }
}
