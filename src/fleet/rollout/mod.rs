//! The guarded change of a workload from one version to another.
//!
//! ```text
//!  apply that replaces, with `update`
//!        │
//!        ▼          all canaries healthy
//!   ┌─ Canary ─────────────────────────────► AwaitingPromotion
//!   │    │  auto_promote                          │ promote
//!   │    └──────────────► Rolling ◄───────────────┘
//!   │ a failure,           │   │ every node that can be heard is healthy
//!   │ or `rollback`        │   └──────────────► Succeeded: the others get it on trial
//!   ▼                      ▼
//!  RollingBack ◄───────────┘        without `auto_rollback`: held (`paused`) until somebody
//!   │ all are back, or have been waited for               resumes or takes it back
//!   ▼
//!  RolledBack        Failed: cannot be taken back    Aborted, Superseded: left as it is
//! ```
//!
//! One node (a [`Step`]):
//!
//! ```text
//!                    its turn       its agent says that it was healthy for min_healthy_time
//!  Waiting (has `from`) ────► Changing ───────────────────────────────────────► Healthy
//!                              │  (on trial: its agent goes back by itself)
//!                              │ its own verdict, crash loop, healthy_deadline
//!                              ▼
//!                            Failed                    the way back: see [`back`]
//! ```
//!
//! - A turn comes while fewer than `max_parallel` nodes are Changing, a window is open, the `budget`
//!   of its group allows it, nobody has paused it, and all before it in the `sequence` are done.
//! - Nodes that cannot be heard are passed over. One that falls silent in the middle counts as
//!   Changing; its time stands still, and runs anew when it is back.
//! - `from` is the newest revision that is known to work; `from == to` says that there is nothing to
//!   go back to (a person took something back, and no third version is known to work): a failure is
//!   then held for a person.
//! - What has not been shown to work stays on trial, wherever it is placed, also after its rollout.
//! - Everything is in the record ([`Rollout`], `at`, `on_trial`), so that a controller that starts
//!   anew goes on where it was.
//!
//! | module | about |
//! |---|---|
//! | [`begin`] | a workload gets another spec |
//! | [`advance`] | what follows from reports and from time |
//! | [`end`] | how it ends |
//! | [`batch`] | who changes next |
//! | [`judge`] | what a report says of a revision |
//! | [`back`] | the way back |
//! | [`straggler`] | single nodes, whom no rollout waits for |
//! | [`orders`] | what people order |
//! | [`windows`] | maintenance windows |
//! | [`revisions`], [`versions`] | what is remembered, and shown |
//! | [`tell`] | what nodes are told |

mod advance;
mod back;
mod batch;
mod begin;
mod end;
mod judge;
mod orders;
mod record;
mod revisions;
mod say;
mod straggler;
mod tell;
mod versions;
mod windows;

pub use record::{
    OpenWindows, Revision, RevisionVerdict, Rollout, RolloutOrder, RolloutPhase, Step, StepState,
    Verdict,
};
pub use versions::{RevisionView, RolloutSummary, RunningVersion, VersionsView};

pub(super) use advance::News;
pub(super) use begin::{Doer, Person, take_spec};
pub(super) use judge::hash_on;
pub(super) use windows::check_windows;

use super::{Fleet, WorkloadRecord};
use crate::model::{Desired, Name, Presence, UnixMs, Update};
use std::collections::BTreeSet;

impl Fleet {
    /// When [`Fleet::advance_rollout`] of this workload is due next, though nothing is reported.
    pub(super) fn rollout_deadline(&self, name: &Name) -> Option<UnixMs> {
        let record = self.workloads.get(name)?;
        let rollout = record.rollout.as_ref();
        let rollout = rollout.filter(|r| r.phase.is_active() || r.phase.is_back())?;
        if record.desired == Desired::Stopped {
            return None;
        }
        let update = record.update_of(rollout);
        if rollout.phase.is_back() {
            return self.way_back_deadline(record, rollout, &update);
        }
        let changing = rollout
            .steps
            .iter()
            .filter(|(_, s)| s.state == StepState::Changing);
        let due = changing.filter_map(|(node, step)| match step.healthy_since_ms {
            Some(_) => advance::well_until(step, &update),
            None if rollout.paused => None,
            None => {
                let guarded = record.on_trial.contains_key(node);
                advance::healthy_by(step, &update, &record.spec, guarded)
            }
        });
        due.chain(advance::progress_by(rollout, &update))
            .chain(rollout.windows.next_ms)
            .min()
    }

    /// The same on the way back: of those that were told to go; else of the budget that holds back
    /// those who wait and can be heard.
    fn way_back_deadline(
        &self,
        record: &WorkloadRecord,
        rollout: &Rollout,
        update: &Update,
    ) -> Option<UnixMs> {
        let going = rollout.steps.values();
        let going = going.filter(|s| s.state == StepState::Returning);
        let due = going.filter_map(|s| advance::healthy_by(s, update, &record.spec, false));
        let heard = |node: &Name| {
            let node = self.nodes.get(node);
            node.is_some_and(|n| n.presence == Presence::Online)
        };
        let mut waiting = rollout
            .steps
            .iter()
            .filter(|(n, s)| s.state == StepState::Waiting && record.placed.contains(*n));
        due.min().or_else(|| {
            let held = waiting.any(|(n, _)| heard(n));
            held.then(|| back::budget_until(rollout, update))
        })
    }

    /// Workloads whose rollout does not know yet which nodes came and went: whatever changes
    /// placement calls this last.
    pub(super) fn advance_misplaced(&mut self, at: UnixMs) -> Vec<super::Effect> {
        let differs = |name: &&Name| {
            self.workloads.get(*name).is_some_and(|w| {
                let active = w.rollout.as_ref().filter(|r| r.phase.is_active());
                !are_among(w.at.keys(), &w.placed)
                    || !are_among(w.on_trial.keys(), &w.placed)
                    || active.is_some_and(|r| !r.steps.keys().eq(w.placed.iter()))
            })
        };
        let names: BTreeSet<Name> = self.active.iter().filter(differs).cloned().collect();
        if names.is_empty() {
            return Vec::new();
        }
        self.advance(&names, at)
    }

    /// A stopped workload was started again: its rollout does not hold against it the time that it
    /// stood still.
    pub(super) fn restart_rollout_times(&mut self, name: &Name, at: UnixMs) {
        let rollout = self
            .workloads
            .get_mut(name)
            .and_then(|w| w.rollout.as_mut());
        if let Some(rollout) = rollout.filter(|r| tell::goes_forward(r.phase) && !r.paused) {
            orders::restart_times(rollout, at);
        }
    }
}

/// Whether all of `names`, which are in order, are among `all`. Both are walked side by side: looked
/// up one by one, a thousand names would cost ten times as much, for each entry.
fn are_among<'a>(names: impl Iterator<Item = &'a Name>, all: &BTreeSet<Name>) -> bool {
    let mut all = all.iter();
    let mut names = names;
    names.all(|name| all.any(|one| one == name))
}

fn nodes_text(nodes: usize) -> String {
    match nodes {
        1 => "1 node".into(),
        n => format!("{n} nodes"),
    }
}
