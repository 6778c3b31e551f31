//! The time that entries carry: the wall clock, which for them never goes back.
//!
//! Deadlines of rollouts and moves are compared with it. Were it to stand still until the wall
//! clock has caught up with where it was, nothing would ever be due meanwhile: behind a clock that
//! was set back it goes on at the pace of the machine.

use crate::{fleet::Fleet, model::UnixMs};

/// The time of the last entry, and when that was in milliseconds since the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryClock {
    at: UnixMs,
    ticked: u64,
}

impl EntryClock {
    /// For a fleet as the journal has it; at the start, when the wall clock shows `wall`.
    pub(super) fn after(fleet: &Fleet, wall: UnixMs) -> EntryClock {
        EntryClock {
            at: latest(fleet).max(wall),
            ticked: 0,
        }
    }

    /// The time `now` milliseconds after the start.
    pub(super) fn now(&self, now: u64, wall: UnixMs) -> UnixMs {
        let went_on = self.at.saturating_add(now.saturating_sub(self.ticked));
        went_on.max(wall)
    }

    /// The same, for entries: no later one has an earlier time.
    pub(super) fn tick(&mut self, now: u64, wall: UnixMs) -> UnixMs {
        self.at = self.now(now, wall);
        self.ticked = self.ticked.max(now);
        self.at
    }
}

/// The latest time that a fleet remembers.
fn latest(fleet: &Fleet) -> UnixMs {
    let nodes = fleet
        .nodes()
        .flat_map(|(_, n)| [n.joined_ms, n.presence_ms, n.observed_ms]);
    let workloads = fleet.workloads().flat_map(|(_, w)| {
        let rollout = w.rollout.as_ref();
        let rollout = rollout.map_or(0, |r| r.progress_ms.max(r.ended_ms.unwrap_or(0)));
        let moves = w.moves.values().map(|m| m.since_ms).max();
        [w.applied_ms, rollout, moves.unwrap_or(0)]
    });
    nodes.chain(workloads).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Change, Entry};

    #[test]
    fn it_follows_the_wall_clock_forwards() {
        let mut clock = EntryClock::after(&Fleet::new(), 1_000);
        assert_eq!(clock.tick(5, 1_005), 1_005);
        assert_eq!(clock.tick(10, 9_000), 9_000);
    }

    #[test]
    fn behind_a_clock_that_was_set_back_it_goes_on_at_the_pace_of_the_machine() {
        let mut clock = EntryClock::after(&Fleet::new(), 1_000_000);
        assert_eq!(clock.tick(100, 1_000_100), 1_000_100);
        assert_eq!(clock.tick(200, 40), 1_000_200);
        assert_eq!(clock.now(700, 540), 1_000_700);
        assert_eq!(clock.tick(700, 540), 1_000_700);
    }

    #[test]
    fn what_the_journal_has_is_never_later() {
        let mut fleet = Fleet::new();
        let text = "[workload.a]\ncommand = [\"/bin/true\"]\n";
        let source = crate::manifest::Source::new("a.toml", text);
        let read = crate::manifest::parse_many_with(&[source], &Default::default());
        let workloads = read.unwrap().manifests.into_iter().map(|m| m.workload);
        let change = Change::WorkloadsApplied {
            workloads: workloads.collect(),
            removed: Vec::new(),
        };
        let entry = Entry {
            at_ms: 50_000,
            by: None,
            change,
        };
        fleet.apply(&entry).unwrap();
        let mut clock = EntryClock::after(&fleet, 10);
        assert_eq!(clock.tick(1, 11), 50_001);
    }
}
