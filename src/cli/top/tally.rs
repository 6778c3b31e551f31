//! How the instances of the fleet stand, counted: those without a node are wanted too, and one that
//! waits for its time does not run.

use crate::{
    fleet::InstanceView,
    model::{InstanceState, Name},
};
use std::collections::BTreeMap;

/// Instances that somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All of them.
    pub(super) wanted: usize,
    pub(super) running: usize,
    /// They do not run, and need not: each state with how many there are.
    resting: Vec<(InstanceState, usize)>,
    /// Of each workload, those that wait for their time.
    scheduled: BTreeMap<Name, usize>,
}

impl Tally {
    pub(super) fn of(instances: &[InstanceView]) -> Tally {
        let mut tally = Tally {
            resting: [
                InstanceState::Scheduled,
                InstanceState::Completed,
                InstanceState::Stopped,
            ]
            .map(|state| (state, 0))
            .to_vec(),
            ..Tally::default()
        };
        // One with no revision is still there, and nobody wants it any more.
        for i in instances.iter().filter(|i| i.revision > 0) {
            let count = i.count as usize;
            tally.wanted += count;
            if i.state.is_up() {
                tally.running += count;
            }
            let mut resting = tally.resting.iter_mut();
            if let Some((_, n)) = resting.find(|(state, _)| *state == i.state) {
                *n += count;
            }
            if i.state == InstanceState::Scheduled {
                *tally.scheduled.entry(i.workload.clone()).or_default() += count;
            }
        }
        tally
    }

    /// None is missing.
    pub(super) fn is_well(&self) -> bool {
        let resting: usize = self.resting.iter().map(|(_, n)| n).sum();
        self.running + resting >= self.wanted
    }

    /// Of a workload, how many wait for their time.
    pub(super) fn scheduled(&self, workload: &Name) -> usize {
        self.scheduled.get(workload).copied().unwrap_or(0)
    }

    /// `12 of 14 run, 1 scheduled`.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{} of {} run", self.running, self.wanted);
        for (state, n) in self.resting.iter().filter(|(_, n)| *n > 0) {
            text.push_str(&format!(", {n} {state}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(workload: &str, state: &str, count: u32, revision: u64) -> InstanceView {
        let json = serde_json::json!({
            "workload": workload, "node": null, "state": state, "runtime": "", "version": "1",
            "restarts": 0, "reason": "", "up_to_date": true, "warnings": [], "exit_code": null,
            "handle": null, "since_ms": 0, "progress": null, "count": count,
            "revision": revision,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_has_no_node_is_wanted_and_what_waits_for_its_time_does_not_run() {
        let mut all = vec![
            instance("web", "running", 1, 2),
            instance("web", "unhealthy", 1, 2),
            instance("job", "scheduled", 1, 1),
            instance("job", "completed", 1, 1),
            instance("old", "running", 1, 0),
        ];
        let tally = Tally::of(&all);
        assert!(tally.is_well());
        assert_eq!(tally.text(), "2 of 4 run, 1 scheduled, 1 completed");
        assert_eq!(tally.scheduled(&"job".parse().unwrap()), 1);
        all.push(instance("db", "pending", 7, 1));
        let tally = Tally::of(&all);
        assert!(!tally.is_well());
        assert_eq!(tally.text(), "2 of 11 run, 1 scheduled, 1 completed");
        assert!(!Tally::of(&[instance("web", "unknown", 1, 1)]).is_well());
        assert_eq!(Tally::of(&[]).text(), "0 of 0 run");
    }
}
