//! What a simulation says: how it stands while it goes on, and everything at its end.

use super::{
    node::Condition,
    tally::{Faults, Summary, Tally},
};
use serde::Serialize;
use std::fmt;

/// Reasons of troubles that are told.
const MAX_TROUBLES: usize = 5;

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Nodes in all.
    pub(crate) nodes: usize,
    /// Nodes that have been in the fleet.
    pub(crate) joined: usize,
    /// Nodes that are connected.
    pub(crate) connected: usize,
    /// Instances that are to run.
    pub(crate) wanted: usize,
    /// Of these, as they are wanted.
    pub(crate) well: usize,
    /// Instances that run.
    pub(crate) running: usize,
    /// Instances that fail.
    pub(crate) failed: usize,
    /// Messages so far, both ways.
    pub(crate) messages: u64,
    /// Why agents cannot run, each reason once.
    pub(crate) troubles: Vec<String>,
}

impl Progress {
    /// Of all nodes.
    pub(super) fn of(all: impl Iterator<Item = Condition>, tally: &Tally) -> Progress {
        let mut sum = Progress {
            messages: tally.sent.get() + tally.received.get(),
            ..Progress::default()
        };
        for one in all {
            sum.nodes += 1;
            sum.joined += usize::from(one.joined);
            sum.connected += usize::from(one.connected);
            sum.wanted += one.wanted;
            sum.well += one.well;
            sum.running += one.up;
            sum.failed += one.bad;
            if let Some(trouble) = one.trouble
                && sum.troubles.len() < MAX_TROUBLES
                && !sum.troubles.contains(&trouble)
            {
                sum.troubles.push(trouble);
            }
        }
        sum
    }

    /// Every node is there, and runs what it was told to.
    pub(crate) fn is_settled(&self) -> bool {
        self.connected == self.nodes && self.well == self.wanted
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.wanted.saturating_sub(self.well + self.failed);
        write!(
            f,
            "nodes {} of {} connected ({} joined), instances {} of {} running, {pending} pending, \
             {} failed",
            self.connected, self.nodes, self.joined, self.well, self.wanted, self.failed
        )
    }
}

/// Everything, at the end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Simulated nodes.
    pub(crate) nodes: usize,
    /// Of these, how many have been in the fleet.
    pub(crate) joined: usize,
    /// How many were connected at the end.
    pub(crate) connected: usize,
    /// From the start of an agent to its first session: key, joining, session.
    pub(crate) joined_in: Summary,
    /// Sessions after the first one.
    pub(crate) reconnects: u64,
    /// Assignments that came.
    pub(crate) assignments: u64,
    /// From an assignment to its instance being up, as its agent saw it.
    pub(crate) running_in: Summary,
    /// Instances that were to run at the end.
    pub(crate) instances_wanted: usize,
    /// Of these, as they were wanted.
    pub(crate) instances_running: usize,
    /// Heartbeats that were sent.
    pub(crate) heartbeats: u64,
    /// Messages that were sent, heartbeats among them.
    pub(crate) messages_sent: u64,
    /// Messages that came.
    pub(crate) messages_received: u64,
    /// What went wrong by intention.
    pub(crate) faults: Faults,
    /// Why agents could not run at the end.
    pub(crate) troubles: Vec<String>,
    /// Seconds that it took in all.
    pub(crate) took_s: f64,
    /// This process.
    pub(crate) process: ProcessUse,
    /// What the controller said at the end.
    pub(crate) controller: Verdict,
    /// Everything was as it should be at the end.
    pub(crate) converged: bool,
    /// To run it again.
    pub(crate) seed: u64,
}

/// What the controller says of the simulated nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// It was asked, and answered.
    pub(crate) reachable: bool,
    /// All of them are as it wants them; null when nobody knows.
    pub(crate) converged: Option<bool>,
    /// What is not, the first few.
    pub(crate) problems: Vec<String>,
}

/// What this process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct ProcessUse {
    /// Bytes of memory now.
    pub(crate) rss: u64,
    /// The most that it was.
    pub(crate) rss_max: u64,
    /// Seconds of processor time.
    pub(crate) cpu_s: f64,
}

impl ProcessUse {
    /// Now; zeros where the kernel does not tell.
    pub(super) fn now() -> ProcessUse {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let ticks = rustix::param::clock_ticks_per_second();
        ProcessUse::read(
            &text("/proc/self/status"),
            &text("/proc/self/stat"),
            ticks as f64,
        )
    }

    fn read(status: &str, stat: &str, ticks_per_second: f64) -> ProcessUse {
        let kib = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key));
            let number = line.and_then(|l| l.split_whitespace().next());
            number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        // After the name, which may hold anything: state is the first field, utime the twelfth.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<f64>().ok())
            .sum();
        ProcessUse {
            rss: kib("VmRSS:"),
            rss_max: kib("VmHWM:"),
            cpu_s: (100.0 * ticks / ticks_per_second.max(1.0)).round() / 100.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_uses_is_read_from_the_kernel() {
        let status = "Name:\tfleetctl\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "7 (a) b)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        let used = ProcessUse::read(status, stat, 100.0);
        assert_eq!((used.rss, used.rss_max), (1 << 20, 2 << 20));
        assert!((used.cpu_s - 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(ProcessUse::read("", "", 100.0), ProcessUse::default());
        assert!(ProcessUse::now().rss > 0);
    }

    #[test]
    fn the_sum_of_nodes_and_its_sentence() {
        let here = Condition {
            joined: true,
            connected: true,
            wanted: 3,
            well: 1,
            up: 1,
            bad: 1,
            trouble: None,
        };
        let outside = Condition {
            trouble: Some("refused".into()),
            ..Condition::default()
        };
        let all = [here.clone(), outside.clone(), outside];
        let sum = Progress::of(all.into_iter(), &Tally::default());
        assert_eq!(
            sum.to_string(),
            "nodes 1 of 3 connected (1 joined), instances 1 of 3 running, 1 pending, 1 failed"
        );
        assert_eq!(sum.troubles, ["refused"]);
        assert!(!sum.is_settled());
        let well = Condition { well: 3, ..here };
        assert!(Progress::of([well].into_iter(), &Tally::default()).is_settled());
    }
}
