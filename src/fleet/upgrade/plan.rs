//! What an upgrade would do, and which one is refused before it does anything.

use super::super::{
    Approval, Change, Entry, Fleet, NodeRecord, Plan, PlannedWorkload, Refusal, RolloutPhase,
    plan::rolled_out,
};
use super::{Upgrade, arch_of};
use crate::model::{AGENT_WORKLOAD, Name};
use std::cmp::Ordering;

/// Names of nodes in a sentence.
const NAMES: usize = 5;

impl Upgrade {
    /// It says which nodes it is for.
    fn chooses(&self) -> bool {
        !self.requires.is_empty() || !self.nodes.is_empty()
    }

    /// This node is one of those that it is for.
    fn means(&self, name: &Name, node: &NodeRecord) -> bool {
        let has = node.properties();
        node.approval == Approval::Approved
            && (self.nodes.is_empty() || self.nodes.contains(name))
            && self.requires.iter().all(|r| r.is_met_by(&has))
    }
}

impl Fleet {
    /// What an upgrade would do now.
    ///
    /// # Errors
    /// As [`Fleet::upgrade_changes`]; or the first step would be refused; or it goes nowhere; or it
    /// would take nodes back that it is not for.
    pub fn plan_upgrade(&self, upgrade: &Upgrade) -> Result<Plan, Refusal> {
        let mut changes = self.upgrade_changes(upgrade)?;
        let Some(last) = changes.pop() else {
            return Ok(Plan::default());
        };
        let mut before = self.sketch();
        let latest = self.workloads.values().map(|w| w.applied_ms).max();
        for change in &changes {
            before.apply(&Entry {
                at_ms: latest.unwrap_or(0),
                by: None,
                change: change.clone(),
            })?;
        }
        let Change::WorkloadsApplied { workloads, .. } = last else {
            return Ok(Plan::default());
        };
        let mut plan = before.plan(&workloads, false);
        plan.version = self.version;
        for planned in plan.added.iter_mut().chain(&mut plan.changed) {
            self.check_goes_somewhere(upgrade, planned)?;
            self.check_leaves_nobody_behind(planned)?;
            let placed = planned.nodes.iter().filter(|n| n.placed).count();
            if planned.replaces
                && let Some(workload) = workloads.first()
            {
                // Those that it leaves out have no part in it.
                planned.rollout = rolled_out(workload, placed);
            }
            self.explain(upgrade, planned);
        }
        Ok(plan)
    }

    /// Says of each node why it is meant, and where the release is older than what runs.
    fn explain(&self, upgrade: &Upgrade, planned: &mut PlannedWorkload) {
        let mut older = 0;
        for here in planned.nodes.iter_mut().filter(|n| n.placed) {
            // That its agent runs there already is no reason for this one.
            let facts = self.nodes.get(&here.node).and_then(|n| n.facts.as_ref());
            here.reason = format!("there is a binary for {}", arch_of(facts));
            let runs = facts.map_or("", |f| f.agent_version.as_str());
            if is_older(&upgrade.version, runs) {
                older += 1;
                here.reason += &format!("; older than {runs}, which runs there");
            }
        }
        let on = match older {
            0 => return,
            1 => "1 node".to_owned(),
            n => format!("{n} nodes"),
        };
        let back = format!(
            "a step back: {} is older than what runs on {on}",
            upgrade.version
        );
        planned.rollout = Some(match planned.rollout.take() {
            Some(how) => format!("{back}; {how}"),
            None => back,
        });
    }

    /// Refuses one for certain nodes that none of them can have.
    fn check_goes_somewhere(
        &self,
        upgrade: &Upgrade,
        planned: &PlannedWorkload,
    ) -> Result<(), Refusal> {
        if !upgrade.chooses() || planned.nodes.iter().any(|n| n.placed) {
            return Ok(());
        }
        let mut meant = self.nodes.iter().filter(|(name, n)| upgrade.means(name, n));
        let Some((first, _)) = meant.next() else {
            let asked: Vec<String> = upgrade.requires.iter().map(ToString::to_string).collect();
            return Err(Refusal::Invalid(format!(
                "no node matches {}: nothing is upgraded (`fleetctl node ls -o wide` shows their \
                 labels)",
                asked.join(", ")
            )));
        };
        let why = planned.nodes.iter().find(|n| n.node == *first);
        let why = why.map_or("it is not known why", |n| n.reason.as_str());
        Err(Refusal::Invalid(format!(
            "no node that is meant can have {}: {first}: {why}",
            upgrade.version
        )))
    }

    /// Refuses one that leaves out nodes of a rollout which is not finished: if it fails, all go
    /// back to what is known to work, those nodes with it.
    fn check_leaves_nobody_behind(&self, planned: &PlannedWorkload) -> Result<(), Refusal> {
        let Some(record) = self.agent_record() else {
            return Ok(());
        };
        let Some(rollout) = record.rollout_summary() else {
            return Ok(());
        };
        let stuck = matches!(rollout.phase, RolloutPhase::Failed | RolloutPhase::Aborted);
        let how = match rollout.phase {
            phase if phase.is_active() => "is not finished",
            _ if stuck && !record.at.is_empty() => "ended halfway",
            _ => return Ok(()),
        };
        let left = planned
            .nodes
            .iter()
            .filter(|n| !n.placed && record.placed.contains(&n.node));
        let left: Vec<&str> = left.map(|n| n.node.as_str()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let more = left.len().saturating_sub(NAMES);
        let mut who = left[..left.len() - more].join(", ");
        if more > 0 {
            who += &format!(" and {more} more");
        }
        Err(Refusal::Conflict(format!(
            "the rollout of {AGENT_WORKLOAD} to {} {how}, and this upgrade leaves out nodes of it \
             ({who}), which would be taken back with it if it failed: let that one finish first \
             (`fleetctl rollout show|promote|resume {AGENT_WORKLOAD}`), or take it back (`fleetctl \
             upgrade rollback`)",
            rollout.to_version
        )))
    }
}

/// One release is older than another; `false` where that cannot be told.
fn is_older(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (parts(one), parts(other)) else {
        return false;
    };
    let by_number = one.0.cmp(&other.0);
    // What has something behind its number comes before the release itself.
    let by_rest = match (one.1, other.1) {
        ("", "") => Ordering::Equal,
        ("", _) => Ordering::Greater,
        (_, "") => Ordering::Less,
        (a, b) => a.cmp(b),
    };
    by_number.then(by_rest) == Ordering::Less
}

/// Its number, and what is behind it.
fn parts(version: &str) -> Option<([u64; 3], &str)> {
    let version = version.split('+').next().unwrap_or_default();
    let (numbers, rest) = version.split_once('-').unwrap_or((version, ""));
    let mut all = [0; 3];
    for (n, text) in numbers.split('.').enumerate() {
        *all.get_mut(n)? = text.parse().ok()?;
    }
    Some((all, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_older_by_its_number_and_not_by_its_letters() {
        for (old, new) in [
            ("0.9.0", "0.10.0"),
            ("0.4.0-rc1", "0.4.0"),
            ("0.4", "0.4.1"),
            ("1.0.0-a", "1.0.0-b"),
        ] {
            assert!(is_older(old, new) && !is_older(new, old), "{old} {new}");
        }
        for (one, other) in [("0.4.0", "0.4.0+build"), ("installed", "0.4.0"), ("", "1")] {
            assert!(!is_older(one, other) && !is_older(other, one), "{one}");
        }
    }
}
