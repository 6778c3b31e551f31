//! Maintenance windows: whether one is open, and when that changes.
//!
//! A window that opens at `f` is open from `f` on, for its duration: at `t` iff it has opened in
//! `(t - duration, t]`. Cron and time zones are in [`crate::model::Cron`].

use super::super::Refusal;
use crate::model::{Cron, Schedule, UnixMs, Window, Workload};

/// How a set of windows stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    /// One of them is open, or there is none to wait for.
    pub open: bool,
    /// When to look again; always later than now.
    pub next_ms: Option<UnixMs>,
}

/// How `windows` stand at `at`.
pub(super) fn opening(windows: &[Window], at: UnixMs) -> Opening {
    let mut found = Opening {
        open: windows.is_empty(),
        next_ms: None,
    };
    for window in windows {
        // It was understood when it was applied.
        let Ok(cron) = cron(window) else {
            continue;
        };
        let Some(fires) = cron.next_after(at.saturating_sub(window.duration_ms)) else {
            continue;
        };
        let open = fires <= at;
        let next = if open {
            fires.saturating_add(window.duration_ms)
        } else {
            fires
        };
        found.open |= open;
        found.next_ms = Some(found.next_ms.map_or(next, |n| n.min(next)));
    }
    found
}

fn cron(window: &Window) -> Result<Cron, crate::model::CronError> {
    Cron::new(&Schedule {
        cron: window.opens.clone(),
        time_zone: window.time_zone.clone(),
        ..Schedule::default()
    })
}

/// Windows that could never be understood are refused where they are applied.
pub(in crate::fleet) fn check_windows(workload: &Workload) -> Result<(), Refusal> {
    let Some(update) = &workload.update else {
        return Ok(());
    };
    for window in update.windows.iter().chain(&update.download_windows) {
        if let Err(error) = cron(window) {
            let message = format!("a window of {} cannot be: {error}", workload.name);
            return Err(Refusal::Invalid(message));
        }
        if window.duration_ms == 0 {
            return Err(Refusal::Invalid(format!(
                "a window of {} lasts no time: give it a duration",
                workload.name
            )));
        }
    }
    Ok(())
}

/// A time for people, in UTC.
pub(super) fn time_text(at: UnixMs) -> String {
    let stamp = i64::try_from(at)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| format!("{at} ms"), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn daily(hour: u8, hours: u64) -> Window {
        Window {
            opens: format!("0 {hour} * * *"),
            duration_ms: hours * HOUR,
            time_zone: None,
        }
    }

    #[test]
    fn a_window_is_open_from_its_time_on_for_its_duration() {
        let night = [daily(2, 3)];
        for (at, open, next) in [
            (0, false, 2),
            (2, true, 5),
            (4, true, 5),
            (5, false, 26),
            (23, false, 26),
            (26, true, 29),
        ] {
            let expected = Opening {
                open,
                next_ms: Some(next * HOUR),
            };
            let at = at * HOUR + 48 * HOUR;
            let found = opening(&night, at);
            let found = Opening {
                next_ms: found.next_ms.map(|n| n - 48 * HOUR),
                ..found
            };
            assert_eq!(found, expected, "at {at}");
        }
        let long = [daily(2, 3), daily(4, 4)];
        assert!(opening(&long, 53 * HOUR).open);
        assert!(!opening(&long, 56 * HOUR).open);
        assert!(opening(&[], 5).open);
    }
}
