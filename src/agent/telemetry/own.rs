//! What the agent takes and does itself: the metric `agent`.
//!
//! The counts are added to where things happen and read when it is time; they begin at 0 with the
//! agent's process. Names that end in `_total` only grow.

use super::super::machine::Values;
use crate::{
    model::{Name, ObservedInstance},
    support::ProcessUsage,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The counts of one agent.
#[derive(Debug, Default)]
pub(in super::super) struct Own {
    sessions: AtomicU64,
    assignments: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    operations: AtomicU64,
    restarts: Mutex<Restarts>,
}

/// Instances count their restarts from 0 again when they are made anew.
#[derive(Debug, Default)]
struct Restarts {
    last: BTreeMap<Name, u32>,
    all: u64,
}

impl Own {
    /// A session began.
    pub(super) fn connected(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// An assignment was taken.
    pub(in super::super) fn assigned(&self) {
        self.assignments.fetch_add(1, Ordering::Relaxed);
    }

    /// A message found no room.
    pub(in super::super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were not taken so far, and operations that are under way.
    pub(in super::super) fn note(&self, refused: u64, operations: usize) {
        self.refused.store(refused, Ordering::Relaxed);
        self.operations.store(operations as u64, Ordering::Relaxed);
    }

    /// How the instances are now.
    pub(in super::super) fn observed(&self, instances: &[ObservedInstance]) {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for o in instances {
            let before = restarts.last.get(&o.workload).copied().unwrap_or(0);
            // Fewer than before: it was made anew, and was started again so often since.
            let more = o.restarts.checked_sub(before).unwrap_or(o.restarts);
            restarts.all += u64::from(more);
            now.insert(o.workload.clone(), o.restarts);
        }
        restarts.last = now;
    }

    /// All of it, with what the process takes of the machine.
    pub(super) fn measure(&self) -> Values {
        let usage = ProcessUsage::read();
        let count = |n: &AtomicU64| Some(n.load(Ordering::Relaxed) as f64);
        let restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        let reconnects = self.sessions.load(Ordering::Relaxed).saturating_sub(1);
        let all = [
            ("rss_bytes", usage.resident_bytes.map(|b| b as f64)),
            ("cpu_seconds", usage.cpu_seconds),
            ("open_fds", usage.open_fds.map(|n| n as f64)),
            ("restarts_total", Some(restarts.all as f64)),
            ("reconnects_total", Some(reconnects as f64)),
            ("messages_refused_total", count(&self.refused)),
            ("messages_dropped_total", count(&self.dropped)),
            ("assignments_total", count(&self.assignments)),
            ("operations", count(&self.operations)),
        ];
        let known = all
            .into_iter()
            .filter_map(|(n, v)| Some((n.to_owned(), v?)));
        known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(name: &str, restarts: u32) -> ObservedInstance {
        let instance = serde_json::json!({
            "workload": name, "state": "running", "runtime": "process", "version": "1",
            "spec_hash": "", "restarts": restarts, "since_ms": 0,
        });
        serde_json::from_value(instance).unwrap()
    }

    #[test]
    fn restarts_add_up_over_instances_that_come_and_go() {
        let own = Own::default();
        let restarts = || own.measure()["restarts_total"];
        for (now, expected) in [
            (vec![("a", 0), ("b", 2)], 2.0),
            (vec![("a", 1), ("b", 2)], 3.0),
            // `a` was made anew; `b` is gone, and comes back.
            (vec![("a", 0)], 3.0),
            (vec![("a", 1), ("b", 1)], 5.0),
        ] {
            let all: Vec<_> = now.iter().map(|(n, r)| observed(n, *r)).collect();
            own.observed(&all);
            assert_eq!(restarts(), expected, "{now:?}");
        }
    }

    #[test]
    fn the_first_session_is_no_reconnect() {
        let own = Own::default();
        assert_eq!(own.measure()["reconnects_total"], 0.0);
        own.connected();
        own.connected();
        own.note(4, 2);
        let all = own.measure();
        assert_eq!((all["reconnects_total"], all["operations"]), (1.0, 2.0));
        assert!(all["rss_bytes"] > 0.0 && all["messages_refused_total"] == 4.0);
    }
}
