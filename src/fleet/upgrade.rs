//! The agent as a workload: what an upgrade makes of it, and what nobody may do with it.
//!
//! ```text
//!  first upgrade to 0.4.0          [AGENT_WORKLOAD]
//!  ──────────────────────►  revision 1  "as installed", without binaries: works by definition
//!                           revision 2  0.4.0, with a binary for each architecture
//!                                │ a rollout like any other: canary, batches, windows
//!                                ▼
//!                      each node: on trial, with revision 1 to go back to
//! ```
//!
//! It is placed on every node that can put another release in its agent's place and that there is a
//! binary for; cordons and drains are for what moves, and it does not. A node that leaves the
//! workload, and every node once the workload is removed, keeps the release that it has. Unlike any
//! other workload it is guarded wherever it comes: what works on one board may not on the next, and
//! a board whose agent does not start is lost.
//!
//! It is listed among the instances, as what it is; the counts of a node leave it out, since there
//! an instance is what people have put there.

mod plan;

use super::{Change, Fleet, NodeRecord, Refusal, StepState, WorkloadRecord};
use crate::model::{
    AGENT_WORKLOAD, Artifact, Binary, Name, NodeFacts, Placement, PlacementMode, Presence,
    Requirement, Restart, RestartPolicy, Run, UnixMs, Update, Workload,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Version of the revision that leaves the boards as they are.
pub const AS_INSTALLED: &str = "installed";
/// So long after a change of its agent a node may return once more: the release that has proved
/// itself takes the place of the one that watched it, which costs another session.
const SETTLES_MS: u64 = 60_000;

/// A release, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// As `fleetctl --version` says it.
    pub version: String,
    /// Its program for each architecture.
    pub binaries: BTreeMap<String, Binary>,
    /// What a node must have.
    pub requires: Vec<Requirement>,
    /// Only these nodes, where not empty.
    pub nodes: Vec<Name>,
    /// In which steps.
    pub update: Update,
}

impl Upgrade {
    /// The workload that brings it.
    ///
    /// # Errors
    /// Never with the name as it is.
    pub fn workload(&self) -> Result<Workload, Refusal> {
        self.edition(self.version.clone(), self.binaries.clone())
    }

    /// The same before any upgrade: each board has what was installed on it.
    fn as_installed(&self) -> Result<Workload, Refusal> {
        self.edition(AS_INSTALLED.to_owned(), BTreeMap::new())
    }

    fn edition(
        &self,
        version: String,
        binaries: BTreeMap<String, Binary>,
    ) -> Result<Workload, Refusal> {
        let name: Name = AGENT_WORKLOAD
            .parse()
            .map_err(|e: crate::model::NameError| Refusal::Invalid(e.to_string()))?;
        let mut workload = Workload::new(name, Run::Agent { binaries });
        workload.version = version;
        // Its agent says whether it is well; nothing is to be learnt from how long it has been up.
        workload.min_healthy_time_ms = Some(0);
        workload.placement = Placement {
            mode: PlacementMode::Every,
            requires: self.requires.clone(),
            nodes: self.nodes.clone(),
            ..Placement::default()
        };
        workload.restart = Restart {
            policy: RestartPolicy::Always,
            ..workload.restart
        };
        workload.update = Some(self.update.clone());
        Ok(workload)
    }
}

/// Whether this is the agent itself.
pub(super) fn is_agent(spec: &Workload) -> bool {
    matches!(spec.run, Run::Agent { .. })
}

/// It leaves each board what was installed on it, which needs no proof.
pub(super) fn is_as_installed(spec: &Workload) -> bool {
    matches!(&spec.run, Run::Agent { binaries } if binaries.is_empty())
}

/// How a node stands to the release that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeNode {
    /// Its name.
    #[schema(value_type = String)]
    pub node: Name,
    /// Whether it can be heard.
    pub presence: Presence,
    /// The release that runs there, as its agent said last; empty where it never did.
    pub version: String,
    /// Architecture of its agent; empty where that was never said.
    pub arch: String,
    /// How it stands.
    pub standing: UpgradeStanding,
    /// Version that it is told to have; none where the fleet decides nothing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// Why; empty where there is nothing to say.
    #[serde(default)]
    pub reason: String,
}

/// How a node stands to the release that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeStanding {
    /// It has what is wanted.
    Current,
    /// Its turn has not come.
    Waiting,
    /// It was told to change, and is not known to be well.
    Changing,
    /// It went back by itself, or could not change.
    Failed,
    /// It was told to go back, and has not said that it is.
    Returning,
    /// The fleet decides nothing there: it keeps what it has.
    LeftOut,
}

impl UpgradeStanding {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            UpgradeStanding::Current => "current",
            UpgradeStanding::Waiting => "waiting",
            UpgradeStanding::Changing => "changing",
            UpgradeStanding::Failed => "failed",
            UpgradeStanding::Returning => "returning",
            UpgradeStanding::LeftOut => "left out",
        }
    }
}

impl Fleet {
    /// Every release that binaries were pushed of: by version, then by architecture.
    pub fn releases(&self) -> BTreeMap<String, BTreeMap<String, Binary>> {
        let mut all: BTreeMap<String, BTreeMap<String, Binary>> = BTreeMap::new();
        for record in self.artifacts().values() {
            if let Artifact::Binary {
                version,
                arch,
                binary,
            } = &record.artifact
            {
                let release = all.entry(version.clone()).or_default();
                release.insert(arch.clone(), binary.clone());
            }
        }
        all
    }

    /// The binaries of a release.
    ///
    /// # Errors
    /// None was pushed; what there is, is named.
    pub fn release(&self, version: &str) -> Result<BTreeMap<String, Binary>, Refusal> {
        let mut all = self.releases();
        if let Some(found) = all.remove(version) {
            return Ok(found);
        }
        let known: Vec<String> = all
            .iter()
            .map(|(version, binaries)| {
                let arches: Vec<&str> = binaries.keys().map(String::as_str).collect();
                format!("{version} ({})", arches.join(", "))
            })
            .collect();
        let shown = crate::model::shown(version);
        Err(Refusal::Invalid(match known.is_empty() {
            true => format!(
                "there is no binary of fleetctl {shown} here, nor of any other release: \
                 `fleetctl upgrade push FILE` adds one"
            ),
            false => format!(
                "there is no binary of fleetctl {shown} here; there are {}: `fleetctl upgrade \
                 push FILE` adds one",
                known.join(", ")
            ),
        }))
    }

    /// What brings an upgrade about, in this order: where the workload is not there yet, what is
    /// installed comes before it, so that there is something to go back to.
    ///
    /// # Errors
    /// Something else has the name.
    pub fn upgrade_changes(&self, upgrade: &Upgrade) -> Result<Vec<Change>, Refusal> {
        let mut workloads = Vec::new();
        match self.workload(AGENT_WORKLOAD) {
            None => workloads.push(upgrade.as_installed()?),
            Some(known) if is_agent(&known.spec) => {}
            Some(_) => {
                return Err(Refusal::Conflict(format!(
                    "there is a workload {AGENT_WORKLOAD}, which is the agent's own name: apply it \
                     under another one and remove it first"
                )));
            }
        }
        workloads.push(upgrade.workload()?);
        let change = |workload| Change::WorkloadsApplied {
            workloads: vec![workload],
            removed: Vec::new(),
        };
        Ok(workloads.into_iter().map(change).collect())
    }

    /// How each node stands, by name.
    pub fn upgrade_nodes(&self) -> impl Iterator<Item = UpgradeNode> {
        let record = self.agent_record();
        let members = self
            .nodes
            .iter()
            .filter(|(_, n)| n.approval == super::Approval::Approved);
        members.map(move |(name, node)| standing(record, name, node))
    }

    /// The agent's own workload, where there is one.
    pub fn agent_record(&self) -> Option<&WorkloadRecord> {
        self.workload(AGENT_WORKLOAD).filter(|w| is_agent(&w.spec))
    }

    /// The fleet has ordered that the agent of this node goes and comes, or had until a moment ago:
    /// it is no flap when it does.
    pub(super) fn changes_agent(&self, node: &Name, at: UnixMs) -> bool {
        let Some(w) = self.agent_record() else {
            return false;
        };
        if w.on_trial.contains_key(node) {
            return true;
        }
        let Some(rollout) = &w.rollout else {
            return false;
        };
        let Some(step) = rollout.steps.get(node) else {
            return false;
        };
        let watched = w.spec.update.as_ref().map_or(0, |u| u.min_healthy_time_ms);
        let settles = watched.saturating_add(SETTLES_MS);
        let since = step.healthy_since_ms.max(step.switched_ms);
        match step.state {
            StepState::Changing | StepState::Returning => {
                rollout.phase.is_active() || rollout.phase.is_back()
            }
            StepState::Healthy | StepState::Failed | StepState::Returned => {
                since.is_some_and(|since| at.saturating_sub(since) <= settles)
            }
            StepState::Waiting | StepState::Unchanged => false,
        }
    }

    /// Refuses workloads that take the agent's place.
    pub(super) fn check_agent(workloads: &[Workload]) -> Result<(), Refusal> {
        let wrong = |w: &&Workload| is_agent(w) && w.name.as_str() != AGENT_WORKLOAD;
        match workloads.iter().find(wrong) {
            None => Ok(()),
            Some(w) => Err(Refusal::Invalid(format!(
                "{} cannot be the agent itself: only {AGENT_WORKLOAD} is, which `fleetctl upgrade` \
                 makes",
                w.name
            ))),
        }
    }

    /// Refuses what nobody can do with the agent as with other workloads. `what`: as in "stopped".
    pub(super) fn refuse_agent(&self, workload: &Name, what: &str) -> Result<(), Refusal> {
        let known = self.workloads.get(workload);
        if !known.is_some_and(|w| is_agent(&w.spec)) {
            return Ok(());
        }
        Err(Refusal::Conflict(format!(
            "{workload} is the agent itself, which cannot be {what}: `fleetctl upgrade` changes \
             it, and `fleetctl rm {workload}` leaves each board what it has"
        )))
    }
}

/// Architecture of a node's agent, which may be a 32-bit one under a 64-bit kernel.
fn arch_of(facts: Option<&NodeFacts>) -> &str {
    facts.map_or("", NodeFacts::program_arch)
}

fn standing(record: Option<&WorkloadRecord>, name: &Name, node: &NodeRecord) -> UpgradeNode {
    let facts = node.facts.as_ref();
    let view = |standing, told, reason| UpgradeNode {
        node: name.clone(),
        presence: node.presence,
        version: facts.map(|f| f.agent_version.clone()).unwrap_or_default(),
        arch: arch_of(facts).to_owned(),
        standing,
        told,
        reason,
    };
    let verdict = record.and_then(|w| last_verdict(w, name));
    let Some(w) = record.filter(|w| w.placed.contains(name)) else {
        let why = record.and_then(|w| w.reasons.get(name));
        let reason = verdict.or(why.cloned()).unwrap_or_default();
        return view(UpgradeStanding::LeftOut, None, reason);
    };
    let revision = w.revision_on(name.as_str());
    let told = w.spec_at(revision).version.clone();
    let seen = node.observed.get(&w.spec.name);
    let hash = super::rollout::hash_on(w, w.revision, name, node);
    let has_it = seen.is_some_and(|o| o.spec_hash == hash && o.state.is_well());
    let step = w.rollout.as_ref().and_then(|r| r.steps.get(name));
    let on_trial = w.on_trial.contains_key(name);
    // What its agent says of itself is believed rather than what it says of its workload.
    let other = facts.map_or("", |f| f.agent_version.as_str());
    let other = (told != AS_INSTALLED && !other.is_empty() && other != told).then_some(other);
    let is_wanted = has_it && !on_trial && revision == w.revision && other.is_none();
    let standing = match step.map(|s| s.state) {
        Some(StepState::Returning) => UpgradeStanding::Returning,
        // Also where its step had failed: it is well by now, and the verdict is its reason.
        _ if is_wanted => UpgradeStanding::Current,
        Some(StepState::Failed) => UpgradeStanding::Failed,
        _ if revision != w.revision => UpgradeStanding::Waiting,
        _ => UpgradeStanding::Changing,
    };
    let failed = seen.and_then(|o| o.trial.as_ref()).and_then(|t| {
        let failed = t.state == crate::model::TrialState::Failed;
        t.reason.clone().filter(|_| failed)
    });
    let said = seen.and_then(|o| o.reason.clone());
    let unheard =
        (node.presence != Presence::Online).then(|| format!("{name} is {}", node.presence));
    let reason = match standing {
        // It is well, and yet has not what somebody wanted it to have.
        UpgradeStanding::Current => verdict,
        UpgradeStanding::Changing => {
            let other = other.map(|other| format!("its agent says that it is {other}"));
            failed.or(said).or(unheard).or(other)
        }
        _ => verdict.or(failed).or(said).or(unheard),
    };
    view(standing, Some(told), reason.unwrap_or_default())
}

/// Why the last upgrade failed, where it failed on this node.
fn last_verdict(record: &WorkloadRecord, node: &Name) -> Option<String> {
    let verdict = record.rollout.as_ref()?.verdict.as_ref()?;
    let version = record.rollout_summary()?.to_version;
    let here = verdict.node.as_ref() == Some(node);
    here.then(|| format!("{version} failed: {}: {}", verdict.check, verdict.reason))
}
