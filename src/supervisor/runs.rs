//! Runs of workloads that do not run for ever: by the clock, or so many times.
//!
//! ```text
//!            its time comes, or the delay is over      counted, and that is on the disk
//!   between ─────────────────────────────────────► due ─────────────────────────────► owed
//!      ▲                                                                               │
//!      └────────────────────────── it ends ◄─────────── going ◄───────── it begins ────┘
//! ```
//!
//! A run is counted, durably, before it begins: so there is never one too many, whenever the agent
//! is killed. After that, and after an answer that was lost, it is unclear how far the last one has
//! come; what is found then says so: what runs is that run, what has ended was that run, and where
//! there is nothing it has not begun (for a schedule: it is given up, as a time that has passed).
//!
//! Here is what the runs of one instance have come to, without any engine in sight; what follows is
//! decided in [`super::decide`].

use super::{Now, RunRecord, timetable::Moment, timetable::Timetable};
use crate::model::{Cron, Overlap, RunMode, UnixMs};

/// How often a clock is looked at, so that a change of it is noticed.
const LOOK_EVERY_MS: u64 = 60_000;

/// The runs of one instance.
#[derive(Debug)]
pub(super) struct Runs {
    /// Counted so far; what is on the disk is a copy of an earlier moment.
    pub record: RunRecord,
    /// A run is wanted that has not been counted.
    pub due: bool,
    /// How far the run that was counted last has come.
    pub phase: Phase,
    /// The schedule cannot be understood: one sentence.
    pub broken: Option<String>,
    /// The clock shows a date that cannot be: one sentence.
    pub clock_unset: Option<String>,
    /// The record must be on the disk before anything else is done.
    pub keep: bool,
    /// When the clock must be looked at again; monotonic.
    pub wake_ms: Option<u64>,
    mode: RunMode,
    timetable: Option<Timetable>,
}

/// How far the run that was counted last has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// What is found says so; `owed`: where there is nothing, it has not begun.
    Unclear { owed: bool },
    /// It is over.
    Between,
    /// It has not begun.
    Owed,
    /// It runs.
    Going,
}

/// What a runtime has of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing, or something that was never started.
    Nothing,
    Running,
    Ended,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs {
            record: RunRecord::default(),
            due: false,
            phase: Phase::Between,
            broken: None,
            clock_unset: None,
            keep: false,
            wake_ms: None,
            mode: RunMode::Forever,
            timetable: None,
        }
    }
}

impl Runs {
    /// Takes a mode. The same one as before keeps everything, `stored` too is only of use where it
    /// is of this mode; another one begins anew.
    pub(super) fn set(&mut self, mode: &RunMode, stored: Option<&RunRecord>) {
        if *mode == RunMode::Forever {
            *self = Runs::default();
            return;
        }
        let text = serde_json::to_string(mode).unwrap_or_default();
        if self.record.mode == text {
            return;
        }
        let stored = stored.filter(|record| record.mode == text).cloned();
        let record = stored.unwrap_or(RunRecord {
            mode: text,
            ..RunRecord::default()
        });
        let counts = matches!(mode, RunMode::NTimes { .. });
        let owed = counts && record.runs > 0 && record.finished.is_none();
        *self = Runs {
            phase: Phase::Unclear { owed },
            mode: mode.clone(),
            record,
            ..Runs::default()
        };
        if let RunMode::Schedule(schedule) = mode {
            match Cron::new(schedule) {
                Ok(cron) => {
                    let handled_ms = self.record.handled_ms;
                    self.timetable = Some(Timetable::new(cron, schedule.missed, handled_ms));
                }
                Err(error) => self.broken = Some(error.to_string()),
            }
        }
    }

    /// It runs by the clock, or so many times.
    pub(super) fn counts(&self) -> bool {
        self.mode != RunMode::Forever
    }

    pub(super) fn is_schedule(&self) -> bool {
        matches!(self.mode, RunMode::Schedule(_))
    }

    /// Every run that it may have has been counted.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.mode, RunMode::NTimes { max_runs } if self.record.runs >= max_runs)
    }

    /// The runs that it may have.
    pub(super) fn max_runs(&self) -> Option<u32> {
        match self.mode {
            RunMode::NTimes { max_runs } => Some(max_runs),
            _ => None,
        }
    }

    /// When its schedule lets it run next.
    pub(super) fn next_ms(&self) -> Option<UnixMs> {
        let unset = self.clock_unset.is_some();
        self.timetable
            .as_ref()
            .and_then(Timetable::next_ms)
            .filter(|_| !unset)
    }

    /// Looks at the clock; `true` when a time has come just now.
    pub(super) fn look(&mut self, now: Now, wanted: bool) -> bool {
        self.wake_ms = None;
        let Some(timetable) = &mut self.timetable else {
            return false;
        };
        if !wanted {
            timetable.leave();
            self.due = false;
            return false;
        }
        let moment = timetable.look(now.unix_ms);
        let pause = timetable
            .next_ms()
            .filter(|next| moment != Moment::Unset && *next > now.unix_ms)
            .map_or(LOOK_EVERY_MS, |next| next - now.unix_ms);
        self.wake_ms = Some(now.mono_ms.saturating_add(pause.min(LOOK_EVERY_MS)));
        self.clock_unset = (moment == Moment::Unset).then(|| clock_unset(now.unix_ms));
        match moment {
            Moment::Unset | Moment::Waits => false,
            Moment::Begins => {
                self.record.handled_ms = timetable.handled_ms();
                self.keep |= timetable.makes_up();
                false
            }
            Moment::Comes => {
                self.due = match self.phase {
                    Phase::Going => self.overlap() != Overlap::Skip,
                    Phase::Owed => false,
                    Phase::Between | Phase::Unclear { .. } => true,
                };
                true
            }
        }
    }

    fn overlap(&self) -> Overlap {
        match &self.mode {
            RunMode::Schedule(schedule) => schedule.overlap,
            _ => Overlap::Skip,
        }
    }

    /// The run that goes on must make room for the next one.
    pub(super) fn makes_room(&self) -> bool {
        self.due && self.phase == Phase::Going && self.overlap() == Overlap::Replace
    }

    /// What a runtime has of it; what is not known yet must not be told.
    pub(super) fn see(&mut self, seen: Seen) {
        let next = match (self.phase, seen) {
            (_, Seen::Running) => Phase::Going,
            (Phase::Unclear { owed: true }, Seen::Nothing) => Phase::Owed,
            (Phase::Unclear { .. } | Phase::Going, _) => Phase::Between,
            (phase, _) => phase,
        };
        if self.phase != next && next == Phase::Going && self.overlap() == Overlap::Skip {
            // It came while the one that was found goes on.
            self.due = false;
        }
        self.phase = next;
    }

    /// A run is about to begin: counts it, once.
    pub(super) fn count(&mut self) {
        if !self.counts() || self.phase == Phase::Owed {
            return;
        }
        self.phase = Phase::Owed;
        self.due = false;
        self.record.runs = self.record.runs.saturating_add(1);
        self.record.finished = None;
        if let Some(timetable) = &self.timetable {
            self.record.handled_ms = timetable.handled_ms();
            self.keep |= timetable.makes_up();
        } else {
            self.keep = true;
        }
    }

    /// A person wants a run now; of one that counts, all of them.
    pub(super) fn begin_anew(&mut self) {
        if self.is_schedule() {
            self.due |= self.phase != Phase::Owed;
        } else if self.counts() {
            self.record.runs = 0;
            self.record.finished = None;
            self.phase = Phase::Between;
        }
    }

    /// A run that was counted has not begun after all, and is not tried again before its time.
    pub(super) fn give_up(&mut self) {
        if self.phase == Phase::Owed {
            self.phase = Phase::Between;
        }
    }

    /// The answer to its start was lost.
    pub(super) fn lose_sight(&mut self, was_there: bool) {
        if self.phase == Phase::Owed && !(was_there && self.is_schedule()) {
            self.phase = Phase::Unclear { owed: true };
        }
    }

    /// The last of all runs is over.
    pub(super) fn finish(&mut self, well: bool) {
        if self.record.finished.is_none() {
            self.record.finished = Some(well);
            self.keep = true;
        }
    }
}

fn clock_unset(unix_ms: UnixMs) -> String {
    let shown = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string());
    format!("waits for the clock: it shows {shown}, which cannot be")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Schedule;

    const T0: u64 = 500_000 * 3_600_000;

    fn n_times(max_runs: u32, stored: Option<RunRecord>) -> Runs {
        let mut runs = Runs::default();
        runs.set(&RunMode::NTimes { max_runs }, stored.as_ref());
        runs
    }

    fn hourly(overlap: Overlap) -> Runs {
        let mut runs = Runs::default();
        let schedule = Schedule {
            cron: "@hourly".into(),
            overlap,
            ..Schedule::default()
        };
        runs.set(&RunMode::Schedule(schedule), None);
        runs
    }

    fn at(ms: u64) -> Now {
        Now {
            mono_ms: ms,
            unix_ms: T0 + ms,
        }
    }

    #[test]
    fn a_run_is_counted_once_before_it_begins() {
        let mut runs = n_times(2, None);
        runs.see(Seen::Nothing);
        runs.count();
        runs.count();
        assert_eq!(
            (runs.record.runs, runs.phase, runs.keep),
            (1, Phase::Owed, true)
        );
        runs.see(Seen::Running);
        runs.see(Seen::Ended);
        assert_eq!((runs.phase, runs.is_spent()), (Phase::Between, false));
        runs.count();
        assert!(runs.is_spent());
    }

    #[test]
    fn after_a_restart_what_is_found_says_how_far_the_last_run_has_come() {
        let mut before = n_times(3, None);
        before.count();
        for (seen, phase) in [
            (Seen::Running, Phase::Going),
            (Seen::Ended, Phase::Between),
            (Seen::Nothing, Phase::Owed),
        ] {
            let mut runs = n_times(3, Some(before.record.clone()));
            runs.see(seen);
            assert_eq!((runs.phase, runs.record.runs), (phase, 1), "{seen:?}");
        }
        let mut none = n_times(3, None);
        none.see(Seen::Nothing);
        assert_eq!(none.phase, Phase::Between);
    }

    #[test]
    fn another_mode_begins_anew_and_the_same_one_keeps_everything() {
        let mut runs = n_times(3, None);
        runs.count();
        runs.set(&RunMode::NTimes { max_runs: 3 }, None);
        assert_eq!((runs.record.runs, runs.phase), (1, Phase::Owed));
        let stored = runs.record.clone();
        runs.set(&RunMode::NTimes { max_runs: 4 }, Some(&stored));
        assert_eq!(runs.record.runs, 0);
        runs.set(&RunMode::Forever, None);
        assert!(!runs.counts());
    }

    #[test]
    fn a_time_that_comes_while_it_runs_is_skipped_queued_or_makes_room() {
        for (overlap, due, makes_room) in [
            (Overlap::Skip, false, false),
            (Overlap::Queue, true, false),
            (Overlap::Replace, true, true),
        ] {
            let mut runs = hourly(overlap);
            runs.look(at(0), true);
            runs.see(Seen::Running);
            assert!(runs.look(at(3_600_000), true));
            assert_eq!((runs.due, runs.makes_room()), (due, makes_room));
        }
    }

    #[test]
    fn the_clock_is_looked_at_every_minute_and_at_the_time_itself() {
        let mut runs = hourly(Overlap::Skip);
        runs.look(at(5), true);
        assert_eq!(runs.wake_ms, Some(60_005));
        runs.look(at(3_599_000), true);
        assert_eq!(runs.wake_ms, Some(3_600_000));
        assert_eq!(runs.next_ms(), Some(T0 + 3_600_000));
        let unset = Now {
            mono_ms: 7,
            unix_ms: 7,
        };
        runs.look(unset, true);
        let sentence = "waits for the clock: it shows 1970-01-01, which cannot be";
        assert_eq!(runs.clock_unset.as_deref(), Some(sentence));
        assert_eq!((runs.next_ms(), runs.wake_ms), (None, Some(60_007)));
        runs.look(at(8), false);
        assert_eq!(runs.wake_ms, None);
    }

    #[test]
    fn a_schedule_that_cannot_be_is_said_and_never_runs() {
        let mut runs = Runs::default();
        let never = Schedule {
            cron: "0 0 30 2 *".into(),
            ..Schedule::default()
        };
        runs.set(&RunMode::Schedule(never), None);
        assert_eq!(runs.broken.as_deref(), Some("`0 0 30 2 *` never comes"));
        assert!(!runs.look(at(0), true) && !runs.due);
    }
}
