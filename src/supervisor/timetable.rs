//! The times of a schedule, by the node's wall clock, which may jump.
//!
//! One number is kept: up to when every time has been dealt with (`handled_ms`). A time that comes
//! moves it to now, so however many times lie between, they are dealt with at once: a clock that
//! jumps ahead by years makes at most one run. The rest follows from comparing it with the clock:
//!
//! - the clock shows a date that cannot be (before [`CLOCK_SET_MS`]): nothing comes;
//! - `handled_ms` lies more than an hour ahead: the clock was set back by much, and the timetable
//!   begins anew from now. Less: what was dealt with stays so, and does not run twice;
//! - a time lies more than two minutes back, or passed while nobody looked: it was missed, and the
//!   user has said what becomes of that.

use crate::model::{CLOCK_SET_MS, Cron, MissedRun, UnixMs};

/// A clock set back by less does not make anything run twice.
const SMALL_JUMP_MS: u64 = 3_600_000;
/// A time that is noticed so much later has not been missed: steps of a clock that is being
/// corrected, and a machine that is very busy.
const LATE_MS: u64 = 120_000;

/// The times of one schedule.
#[derive(Debug)]
pub(super) struct Timetable {
    cron: Cron,
    missed: MissedRun,
    /// Every time up to this one has been dealt with; 0: it has never been looked at.
    handled_ms: UnixMs,
    /// The first time after it.
    next_ms: Option<UnixMs>,
    /// It was looked at without a gap since.
    attended: bool,
}

/// What a look at the clock came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The clock shows a date that cannot be.
    Unset,
    /// It begins (anew) now; nothing runs.
    Begins,
    /// Nothing to do.
    Waits,
    /// A run is due.
    Comes,
}

impl Timetable {
    /// With what is known of earlier, 0 for nothing.
    pub(super) fn new(cron: Cron, missed: MissedRun, handled_ms: UnixMs) -> Timetable {
        let mut timetable = Timetable {
            cron,
            missed,
            handled_ms: 0,
            next_ms: None,
            attended: false,
        };
        timetable.handle(handled_ms);
        timetable
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self, unix_ms: UnixMs) -> Moment {
        if unix_ms < CLOCK_SET_MS {
            self.attended = false;
            return Moment::Unset;
        }
        let set_back = self.handled_ms > unix_ms.saturating_add(SMALL_JUMP_MS);
        if self.handled_ms == 0 || set_back {
            self.attended = true;
            self.handle(unix_ms);
            return Moment::Begins;
        }
        let attended = std::mem::replace(&mut self.attended, true);
        let Some(next) = self.next_ms.filter(|next| *next <= unix_ms) else {
            return Moment::Waits;
        };
        self.handle(unix_ms);
        let missed = !attended || unix_ms - next > LATE_MS;
        match self.missed {
            MissedRun::Skip if missed => Moment::Waits,
            _ => Moment::Comes,
        }
    }

    /// Nobody looks at it for now: what passes meanwhile is missed.
    pub(super) fn leave(&mut self) {
        self.attended = false;
    }

    /// Up to when every time has been dealt with.
    pub(super) fn handled_ms(&self) -> UnixMs {
        self.handled_ms
    }

    /// The next time.
    pub(super) fn next_ms(&self) -> Option<UnixMs> {
        self.next_ms
    }

    /// What was missed is made up for: how far it has come must outlive the agent.
    pub(super) fn makes_up(&self) -> bool {
        self.missed == MissedRun::RunOnce
    }

    fn handle(&mut self, unix_ms: UnixMs) {
        self.handled_ms = unix_ms;
        self.next_ms = Some(unix_ms)
            .filter(|at| *at > 0)
            .and_then(|at| self.cron.next_after(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Schedule;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const YEAR: u64 = 365 * 24 * HOUR;
    /// A whole hour, long after clocks were set.
    const T0: u64 = 500_000 * HOUR;

    fn hourly(missed: MissedRun, handled_ms: u64) -> Timetable {
        let cron = Cron::new(&Schedule {
            cron: "0 * * * *".into(),
            ..Schedule::default()
        });
        Timetable::new(cron.unwrap(), missed, handled_ms)
    }

    #[test]
    fn it_begins_without_a_run_and_each_time_comes_once() {
        let mut table = hourly(MissedRun::Skip, 0);
        assert_eq!(table.look(T0 + 1), Moment::Begins);
        assert_eq!(table.next_ms(), Some(T0 + HOUR));
        assert_eq!(table.look(T0 + HOUR - 1), Moment::Waits);
        assert_eq!(table.look(T0 + HOUR), Moment::Comes);
        assert_eq!(table.look(T0 + HOUR), Moment::Waits);
        assert_eq!(table.look(T0 + HOUR + 1), Moment::Waits);
        assert_eq!(table.look(T0 + 2 * HOUR + MINUTE), Moment::Comes);
    }

    #[test]
    fn what_was_missed_follows_the_users_word() {
        for (missed, then) in [
            (MissedRun::Skip, Moment::Waits),
            (MissedRun::RunOnce, Moment::Comes),
        ] {
            // The node was off, the node was told to stop it, the clock jumped ahead.
            let mut off = hourly(missed, T0);
            assert_eq!(off.look(T0 + 5 * HOUR), then);
            let mut stopped = hourly(missed, T0);
            stopped.look(T0 + 1);
            stopped.leave();
            assert_eq!(stopped.look(T0 + HOUR), then);
            let mut jumped = hourly(missed, T0);
            jumped.look(T0 + 1);
            assert_eq!(jumped.look(T0 + 10 * YEAR + 5 * MINUTE), then);
            for table in [&mut off, &mut stopped, &mut jumped] {
                let now = table.handled_ms();
                assert_eq!(table.look(now), Moment::Waits);
            }
        }
    }

    #[test]
    fn a_small_jump_back_repeats_nothing_and_a_large_one_begins_anew() {
        let mut table = hourly(MissedRun::RunOnce, T0);
        table.look(T0 + 1);
        assert_eq!(table.look(T0 + HOUR), Moment::Comes);
        assert_eq!(table.look(T0 + HOUR - 30 * MINUTE), Moment::Waits);
        assert_eq!(table.look(T0 + HOUR + 1), Moment::Waits);
        assert_eq!(table.look(T0 + HOUR - YEAR), Moment::Begins);
        assert_eq!(table.look(T0 + 2 * HOUR - YEAR), Moment::Comes);
    }

    #[test]
    fn a_clock_that_is_not_set_lets_nothing_come() {
        let mut table = hourly(MissedRun::Skip, 0);
        assert_eq!(table.look(5), Moment::Unset);
        assert_eq!(table.look(10 * HOUR), Moment::Unset);
        assert_eq!(table.look(T0), Moment::Begins);
        // Back to 1970 and forth again: what passed meanwhile was missed.
        assert_eq!(table.look(5), Moment::Unset);
        assert_eq!(table.look(T0 + HOUR), Moment::Waits);
    }

    proptest! {
        #[test]
        fn never_more_runs_than_looks_and_the_next_time_lies_ahead(
            looks in prop::collection::vec(0u64..YEAR * 3, 1..50),
        ) {
            let mut table = hourly(MissedRun::RunOnce, 0);
            for at in looks {
                let now = T0 + at;
                table.look(now);
                prop_assert!(table.look(now) == Moment::Waits);
                prop_assert!(table.next_ms().is_some_and(|next| next > now));
            }
        }
    }
}
