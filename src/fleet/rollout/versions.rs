//! Which version of what runs where, and what was before: made on demand, never stored.

use super::super::{
    Fleet, WorkloadRecord,
    plan::{FieldChange, differences},
};
use super::{RevisionVerdict, RolloutPhase, StepState, advance::count};
use crate::model::{Desired, Name, Presence, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Versions of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionsView {
    /// Which.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The version that is wanted.
    pub wanted: String,
    /// Its revision.
    pub revision: u64,
    /// Nodes that are to run some version of it.
    pub nodes: usize,
    /// What nodes said last that they run, by version.
    pub running: Vec<RunningVersion>,
    /// Nodes that are to run it, and have said nothing of it yet.
    #[schema(value_type = Vec<String>)]
    pub unknown: Vec<Name>,
}

/// One version of a workload, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningVersion {
    /// The version.
    pub version: String,
    /// It is the one that is wanted, with all of its settings.
    pub wanted: bool,
    /// Nodes that run it, as far as was heard.
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<Name>,
    /// Those of them that cannot be heard now.
    #[schema(value_type = Vec<String>)]
    pub unheard: Vec<Name>,
    /// Why no node runs it; only of the wanted version, where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One revision of a workload, with what it changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Grows with each apply that changed something.
    pub revision: u64,
    /// The user's word for it.
    pub version: String,
    /// When it was applied.
    pub applied_ms: UnixMs,
    /// By whom: name of the API token; null where it was by itself, or is not known.
    #[serde(default)]
    pub by: Option<String>,
    /// Whether it is known to work.
    pub verdict: RevisionVerdict,
    /// It is the wanted one.
    pub wanted: bool,
    /// Nodes that are assigned it.
    pub nodes: usize,
    /// Field by field what it changed of the one before; empty for the first one that is kept.
    pub fields: Vec<FieldChange>,
}

/// How the rollout of a workload stands, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutSummary {
    /// The revision that it leads to.
    pub to: u64,
    /// Its version.
    pub to_version: String,
    /// The revision that it goes back to.
    pub from: u64,
    /// How it stands.
    pub phase: RolloutPhase,
    /// It is held.
    pub paused: bool,
    /// One sentence: what it waits for, or how it ended.
    pub reason: String,
    /// Nodes that it is about.
    pub nodes: usize,
    /// Of these, healthy on the new version.
    pub healthy: usize,
    /// Of these, told to change and not yet known to be healthy.
    pub changing: usize,
}

/// Why the wanted version runs on no node. `unknown`: nodes that have said nothing of it.
fn why_nowhere(w: &WorkloadRecord, unknown: usize) -> String {
    let rollout = w.rollout.as_ref();
    if w.desired == Desired::Stopped {
        return "the workload is stopped".into();
    }
    if w.placed.is_empty() {
        return match w.missing {
            0 => "no node is to run it".into(),
            _ => "it waits for a node that can take it".into(),
        };
    }
    match rollout.filter(|r| r.phase.is_active() || !w.at.is_empty()) {
        Some(rollout) => rollout.reason.clone(),
        None if unknown > 0 => "its nodes have said nothing of it yet".into(),
        None => "its nodes have not changed to it yet".into(),
    }
}

impl WorkloadRecord {
    /// Its rollout in short.
    pub fn rollout_summary(&self) -> Option<RolloutSummary> {
        let rollout = self.rollout.as_ref()?;
        Some(RolloutSummary {
            to: rollout.to,
            to_version: super::begin::version_of(self, rollout.to),
            from: rollout.from,
            phase: rollout.phase,
            paused: rollout.paused,
            reason: rollout.reason.clone(),
            nodes: rollout.steps.len(),
            healthy: count(rollout, StepState::Healthy),
            changing: count(rollout, StepState::Changing),
        })
    }
}

impl Fleet {
    /// Which version of what runs where, by workload.
    pub fn versions(&self) -> Vec<VersionsView> {
        let of = |(name, w): (&Name, &WorkloadRecord)| self.versions_of(name, w);
        self.workloads.iter().map(of).collect()
    }

    fn versions_of(&self, name: &Name, w: &WorkloadRecord) -> VersionsView {
        let mut running: BTreeMap<(bool, String), RunningVersion> = BTreeMap::new();
        let mut unknown = Vec::new();
        for node in &w.placed {
            let record = self.nodes.get(node);
            let Some((record, o)) = record.and_then(|r| Some((r, r.observed.get(name)?))) else {
                unknown.push(node.clone());
                continue;
            };
            let wanted = o.spec_hash == super::hash_on(w, w.revision, node, record);
            let entry = running
                .entry((!wanted, o.version.clone()))
                .or_insert_with(|| RunningVersion {
                    version: o.version.clone(),
                    wanted,
                    nodes: Vec::new(),
                    unheard: Vec::new(),
                    reason: None,
                });
            entry.nodes.push(node.clone());
            if record.presence != Presence::Online {
                entry.unheard.push(node.clone());
            }
        }
        let nowhere = !running.keys().any(|(unwanted, _)| !unwanted);
        let reason = nowhere.then(|| why_nowhere(w, unknown.len()));
        if let Some(reason) = reason {
            let wanted = RunningVersion {
                version: w.spec.version.clone(),
                wanted: true,
                nodes: Vec::new(),
                unheard: Vec::new(),
                reason: Some(reason),
            };
            running.insert((false, w.spec.version.clone()), wanted);
        }
        VersionsView {
            workload: name.clone(),
            wanted: w.spec.version.clone(),
            revision: w.revision,
            nodes: w.placed.len(),
            running: running.into_values().collect(),
            unknown,
        }
    }

    /// The revisions of a workload that are remembered, oldest first.
    pub fn history(&self, name: &str) -> Option<Vec<RevisionView>> {
        let w = self.workloads.get(name)?;
        let mut before = None;
        let mut all = Vec::new();
        for r in &w.history {
            all.push(RevisionView {
                revision: r.revision,
                version: r.spec.version.clone(),
                applied_ms: r.applied_ms,
                by: r.by.clone(),
                verdict: r.verdict,
                wanted: r.revision == w.revision,
                nodes: w
                    .placed
                    .iter()
                    .filter(|n| w.revision_on(n.as_str()) == r.revision)
                    .count(),
                fields: before.map(|b| differences(b, &r.spec)).unwrap_or_default(),
            });
            before = Some(&*r.spec);
        }
        Some(all)
    }
}
