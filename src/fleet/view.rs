//! What people and programs see: made of the fleet on demand, never stored.

use super::{
    Approval, DrainView, Fleet, NodeRecord, Reading, ReportedConfig, Reserved, RolloutSummary,
    WorkloadRecord, rollout::hash_on, upgrade::is_agent,
};
use crate::model::{
    Desired, EngineFact, HealthStatus, Heartbeat, InstanceState, Metric, Name, NodeFacts,
    ObservedInstance, Presence, Run, Trial, UnixMs, Unmanaged, Workload,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A node, as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// `online`, `silent` or `offline`.
    pub state: Presence,
    /// Why it is not online; empty when it is.
    #[serde(default)]
    pub reason: String,
    /// Since when it is in that state, controller's clock.
    pub since_ms: UnixMs,
    /// Whether it may take part.
    pub approval: Approval,
    /// Labels in effect.
    pub labels: BTreeMap<String, String>,
    /// What it is; null until it said so.
    pub facts: Option<NodeFacts>,
    /// Its runtimes, as reported last.
    pub engines: Vec<EngineFact>,
    /// Generation of its assignment.
    pub generation: u64,
    /// Generation that it has in effect.
    pub observed_generation: u64,
    /// Instances placed on it.
    pub instances: usize,
    /// Of these, as wanted: running, waiting for their time, or completed. 0 while it is not online:
    /// nobody knows.
    pub running: usize,
    /// Fingerprint of its key: the first 16 characters.
    pub key: String,
    /// When it joined.
    pub joined_ms: UnixMs,
    /// How it does right now; null when nothing was heard since the controller's start.
    pub heartbeat: Option<Heartbeat>,
    /// What it measured last, by metric; only where one node is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub telemetry: BTreeMap<Metric, Reading>,
    /// The configuration that it has in effect; only where one node is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cfg: Option<ReportedConfig>,
    /// Containers of others that have the label `fleetctl.discover=true`; only where one node is
    /// asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<Unmanaged>,
    /// It takes nothing new.
    #[serde(default)]
    pub cordoned: bool,
    /// How far its drain has come; null when it is not drained.
    #[serde(default)]
    pub drain: Option<DrainView>,
    /// It was not heard for so long that what could move was placed elsewhere.
    #[serde(default)]
    pub lost: bool,
    /// It has come and gone too often: it takes nothing new for a while.
    #[serde(default)]
    pub damped: bool,
    /// What of it is not for instances.
    #[serde(default)]
    pub reserved: Reserved,
    /// 0-100: how much of what can be placed on it is taken.
    #[serde(default)]
    pub load: u8,
    /// It speaks HTTP instead of MQTT.
    #[serde(default)]
    pub http: bool,
}

/// An instance, as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// The workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The node; null for a replica that no node can take.
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// Where it stands. `unknown` when its node cannot be heard: never a stale green.
    pub state: InstanceState,
    /// What executes it; empty as long as that is open.
    pub runtime: String,
    /// The version that runs.
    pub version: String,
    /// Times that it was started again, since its agent started.
    pub restarts: u32,
    /// Why it is in this state; empty when all is well.
    pub reason: String,
    /// It runs the version and settings that are wanted.
    pub up_to_date: bool,
    /// Things that work less well than asked for.
    pub warnings: Vec<String>,
    /// Of its last end.
    pub exit_code: Option<i32>,
    /// Container id or process id.
    pub handle: Option<String>,
    /// Since when, node's clock; 0 when unknown.
    pub since_ms: UnixMs,
    /// Pull progress, percent.
    pub progress: Option<u8>,
    /// While it runs: whether it works.
    #[serde(default)]
    pub health: Option<HealthStatus>,
    /// Runs begun, for `schedule` and `max_runs`.
    #[serde(default)]
    pub runs: Option<u32>,
    /// When its schedule lets it run next, node's clock.
    #[serde(default)]
    pub next_run_ms: Option<UnixMs>,
    /// What went wrong last: a sentence, or for Python the traceback.
    #[serde(default)]
    pub last_error: Option<String>,
    /// The last lines that it wrote before it failed.
    #[serde(default)]
    pub last_output: Vec<String>,
    /// The revision that its node is assigned; 0 where nobody wants it any more.
    #[serde(default)]
    pub revision: u64,
    /// What its agent says of the last guarded change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// How many it stands for: all replicas of a workload that wait for a node are one.
    #[serde(default = "one")]
    pub count: u32,
    /// It is on its way to another node, or from one: which, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<String>,
}

fn one() -> u32 {
    1
}

/// A workload, as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// The version that is wanted.
    pub version: String,
    /// `running` or `stopped`.
    pub desired: Desired,
    /// Instances that are wanted.
    pub wanted: usize,
    /// Of these, as wanted: running the wanted version, waiting for their time, or completed.
    pub running: usize,
    /// Replicas that no node can take.
    pub missing: u32,
    /// Grows with each change.
    pub revision: u64,
    /// When it was applied last.
    pub applied_ms: UnixMs,
    /// As applied.
    pub spec: Workload,
    /// Why each node was taken or passed over.
    #[schema(value_type = BTreeMap<String, String>)]
    pub reasons: BTreeMap<Name, String>,
    /// Its rollout, under way or the last one; null where there was none.
    #[serde(default)]
    pub rollout: Option<RolloutSummary>,
    /// Revisions that are remembered.
    #[serde(default)]
    pub revisions: usize,
    /// Nodes that are assigned another revision than the wanted one.
    #[serde(default)]
    pub behind: usize,
}

impl Fleet {
    /// A node for showing.
    pub fn node_view(&self, name: &Name, heartbeat: Option<Heartbeat>) -> Option<NodeView> {
        let n = self.nodes.get(name)?;
        let heard = n.presence == Presence::Online;
        let running = |placed: &&Name| {
            let observed = n.observed.get(*placed).filter(|_| heard);
            observed.is_some_and(|o| o.state.is_well())
        };
        // The agent itself is none that people have put there.
        let counts = |placed: &&Name| {
            let w = self.workloads.get(*placed);
            !w.is_some_and(|w| is_agent(&w.spec))
        };
        Some(NodeView {
            name: name.clone(),
            state: n.presence,
            reason: n.presence_reason.clone(),
            since_ms: n.presence_ms,
            approval: n.approval,
            labels: n.all_labels(),
            facts: n.facts.clone(),
            engines: n.engines.clone(),
            generation: n.generation,
            observed_generation: n.observed_generation,
            instances: n.placed.iter().filter(counts).count(),
            running: n.placed.iter().filter(counts).filter(running).count(),
            key: n.key.chars().take(16).collect(),
            joined_ms: n.joined_ms,
            heartbeat,
            telemetry: BTreeMap::new(),
            cfg: None,
            discovered: Vec::new(),
            cordoned: n.cordoned,
            drain: self.drain_view(name),
            lost: n.lost,
            damped: n.flaps.damped,
            reserved: n.reserved,
            load: self.room(name).map_or(0, |room| room.percent()),
            http: n.http,
        })
    }

    /// A workload for showing.
    pub fn workload_view(&self, name: &Name) -> Option<WorkloadView> {
        let w = self.workloads.get(name)?;
        let runs = |node: &&Name| {
            let observed = self
                .nodes
                .get(*node)
                .filter(|n| n.presence == Presence::Online);
            observed.is_some_and(|n| {
                let hash = self.spec_hash_on(w, node.as_str(), n);
                let runs = |o: &&ObservedInstance| o.state.is_well() && o.spec_hash == hash;
                n.observed.get(name).filter(runs).is_some()
            })
        };
        Some(WorkloadView {
            name: name.clone(),
            version: w.spec.version.clone(),
            desired: w.desired,
            wanted: w.placed.len() + w.missing as usize,
            running: w.placed.iter().filter(runs).count(),
            missing: w.missing,
            revision: w.revision,
            applied_ms: w.applied_ms,
            spec: (*w.spec).clone(),
            reasons: w.reasons.clone(),
            rollout: w.rollout_summary(),
            revisions: w.history.len(),
            behind: w.at.len(),
        })
    }

    /// All instances: those that are wanted, those that wait for a node (one for all of a
    /// workload), and those that are still there though nobody wants them any more. By workload,
    /// then node.
    pub fn instances(&self) -> Vec<InstanceView> {
        let mut all = Vec::new();
        for (name, w) in &self.workloads {
            for node in &w.placed {
                if let Some(record) = self.nodes.get(node) {
                    let hash = hash_on(w, w.revision, node, record);
                    let moving = self.on_the_move(name, node);
                    let view = wanted_instance(name, w, &hash, node, record);
                    all.push(InstanceView { moving, ..view });
                }
            }
            all.extend((w.missing > 0).then(|| self.waiting_instances(name, w)));
        }
        for (node, record) in &self.nodes {
            for (name, observed) in &record.observed {
                if !record.placed.contains(name) {
                    let mut view = observed_instance(name, node, record, observed, false);
                    view.moving = self.on_the_move(name, node);
                    if record.approval == Approval::Revoked {
                        view.reason = "its node was revoked; it may still run there".into();
                        view.state = InstanceState::Unknown;
                    }
                    all.push(view);
                }
            }
        }
        all.sort_by(|a, b| (&a.workload, &a.node).cmp(&(&b.workload, &b.node)));
        all
    }

    /// The replicas that no node can take.
    fn waiting_instances(&self, name: &Name, w: &WorkloadRecord) -> InstanceView {
        let (count, them) = match w.missing {
            1 => ("1 instance waits".to_owned(), "it"),
            n => (format!("{} instances wait", thousands(n)), "them"),
        };
        let why = format!("`fleetctl workload why {name}` says why");
        let drained = w.reasons.keys().find(|node| {
            let record = self.nodes.get(*node).filter(|n| n.drain.is_some());
            record.is_some() && !w.placed.contains(*node)
        });
        let drained = drained.map(|node| format!(" ({node} is drained)"));
        let reason = match w.reasons.len() {
            0 => format!("{count}: there is no node that could take {them}"),
            _ => format!(
                "{count}: no further node can take {them}{}: {why}",
                drained.unwrap_or_default()
            ),
        };
        InstanceView {
            reason,
            count: w.missing,
            ..pending_instance(name, w)
        }
    }
}

/// `9,997`.
fn thousands(n: u32) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn wanted_instance(
    name: &Name,
    w: &WorkloadRecord,
    spec_hash: &str,
    node: &Name,
    record: &NodeRecord,
) -> InstanceView {
    match record.observed.get(name) {
        Some(observed) => {
            let current = observed.spec_hash == spec_hash;
            InstanceView {
                revision: w.revision_on(node.as_str()),
                ..observed_instance(name, node, record, observed, current)
            }
        }
        None => InstanceView {
            node: Some(node.clone()),
            reason: match record.presence {
                Presence::Online => String::new(),
                other => format!("{node} is {other}"),
            },
            version: w.spec_at(w.revision_on(node.as_str())).version.clone(),
            revision: w.revision_on(node.as_str()),
            ..pending_instance(name, w)
        },
    }
}

/// One that nothing is known of yet.
fn pending_instance(name: &Name, w: &WorkloadRecord) -> InstanceView {
    InstanceView {
        workload: name.clone(),
        node: None,
        state: InstanceState::Pending,
        runtime: match &w.spec.run {
            Run::Process { .. } | Run::Python { .. } => "process".into(),
            Run::Agent { .. } => "agent".into(),
            Run::Container { engine, .. } => engine.map(|e| e.to_string()).unwrap_or_default(),
        },
        version: w.spec.version.clone(),
        restarts: 0,
        reason: String::new(),
        up_to_date: false,
        warnings: Vec::new(),
        exit_code: None,
        handle: None,
        since_ms: 0,
        progress: None,
        health: None,
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        revision: w.revision,
        trial: None,
        count: 1,
        moving: None,
    }
}

/// What was reported, unless its node cannot be heard any more.
fn observed_instance(
    name: &Name,
    node: &Name,
    record: &NodeRecord,
    o: &ObservedInstance,
    up_to_date: bool,
) -> InstanceView {
    let (state, reason) = match record.presence {
        Presence::Online => (o.state, o.reason.clone().unwrap_or_default()),
        lost => (
            InstanceState::Unknown,
            format!("{node} is {lost}; it was {} before", o.state),
        ),
    };
    InstanceView {
        workload: name.clone(),
        node: Some(node.clone()),
        state,
        runtime: o.runtime.to_string(),
        version: o.version.clone(),
        restarts: o.restarts,
        reason,
        up_to_date,
        warnings: o.warnings.clone(),
        exit_code: o.exit_code,
        handle: o.handle.clone(),
        since_ms: o.since_ms,
        progress: o.progress,
        health: o.health.filter(|_| record.presence == Presence::Online),
        runs: o.runs,
        next_run_ms: o.next_run_ms,
        last_error: o.last_error.clone(),
        last_output: o.last_output.clone(),
        revision: 0,
        trial: o.trial.as_deref().cloned(),
        count: 1,
        moving: None,
    }
}
