//! What an apply would do, before it does it.

use super::{Change, Entry, Fleet, NodeRecord, RolloutPhase, WorkloadRecord, upgrade::is_agent};
use crate::model::{Name, Share, Workload};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Of a workload that is new, and has `[update]`.
const FIRST: &str = "at once and unguarded, since there is no version yet to go back to: [update] \
                     guards the changes after it";

/// What an apply would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// [`Fleet::version`] that it was made from.
    pub version: u64,
    /// Workloads that are new.
    pub added: Vec<PlannedWorkload>,
    /// Workloads that change.
    pub changed: Vec<PlannedWorkload>,
    /// Workloads that are as they should be.
    #[schema(value_type = Vec<String>)]
    pub unchanged: Vec<Name>,
    /// Of these, rollouts that are under way: how each stands, one sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub under_way: BTreeMap<Name, String>,
    /// Workloads that are taken away, because they are in no manifest that was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub removed: Vec<Name>,
    /// In the answer to an apply: the revision that each workload got, or has had. What has a later
    /// one by now was changed by somebody else since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub revisions: BTreeMap<Name, u64>,
}

/// One workload of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedWorkload {
    /// Which.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The version that it gets.
    pub version: String,
    /// Field by field what differs (only for a changed one).
    pub fields: Vec<FieldChange>,
    /// Its running instances are replaced.
    pub replaces: bool,
    /// Where it goes, and why each other node was passed over.
    pub nodes: Vec<PlannedInstance>,
    /// Replicas that no node can take now; they wait.
    pub missing: u32,
    /// How the change reaches its nodes, one sentence; where instances are replaced, and where a new
    /// one cannot be guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Path in the workload, as in `resources.memory`.
    pub field: String,
    /// Before, as JSON; null when it was not there.
    pub from: Value,
    /// After, as JSON; null when it is not there any more.
    pub to: Value,
}

/// What a plan says about one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedInstance {
    /// Which.
    #[schema(value_type = String)]
    pub node: Name,
    /// It runs there afterwards.
    pub placed: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Plan {
    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Fleet {
    /// What applying `workloads` would do now. `prune`: what is not among them is taken away.
    pub fn plan(&self, workloads: &[Workload], prune: bool) -> Plan {
        let mut plan = Plan {
            version: self.version,
            ..Plan::default()
        };
        if prune {
            let named: BTreeSet<&Name> = workloads.iter().map(|w| &w.name).collect();
            let gone = self.workloads.iter().filter(|(n, w)| {
                // No manifest can have the agent itself in it.
                !named.contains(n) && !is_agent(&w.spec)
            });
            plan.removed = gone.map(|(n, _)| n.clone()).collect();
        }
        let change = Change::WorkloadsApplied {
            workloads: workloads.to_vec(),
            removed: plan.removed.clone(),
        };
        let mut after = self.sketch();
        // What is refused as a whole places nothing; who applies it hears why.
        let latest = self.workloads.values().map(|w| w.applied_ms).max();
        let refused = after.apply(&Entry {
            at_ms: latest.unwrap_or(0),
            by: None,
            change,
        });
        let decided = refused.is_ok();
        // In the order of names, as applying decides.
        let mut sorted: Vec<&Workload> = workloads.iter().collect();
        sorted.sort_by_key(|w| &w.name);
        for workload in sorted {
            let known = self.workloads.get(&workload.name);
            if known.is_some_and(|r| *r.spec == *workload) {
                plan.unchanged.push(workload.name.clone());
                if let Some(text) = known.and_then(under_way) {
                    plan.under_way.insert(workload.name.clone(), text);
                }
                continue;
            }
            let record = after.workloads.get(&workload.name).filter(|_| decided);
            let planned = planned(known, workload, record);
            if known.is_some() {
                plan.changed.push(planned)
            } else {
                plan.added.push(planned)
            }
        }
        plan
    }

    /// The fleet as far as placement looks at it: to try something out on.
    pub(super) fn sketch(&self) -> Fleet {
        let mut sketch = Fleet {
            config: self.config.clone(),
            ..Fleet::default()
        };
        for (name, node) in &self.nodes {
            let mut bare =
                NodeRecord::enrolled(String::new(), String::new(), String::new(), node.joined_ms);
            bare.approval = node.approval;
            bare.labels = node.labels.clone();
            bare.facts = node.facts.clone();
            bare.presence = node.presence;
            bare.placed = node.placed.clone();
            bare.cordoned = node.cordoned;
            bare.drain = node.drain.clone();
            bare.reserved = node.reserved;
            bare.lost = node.lost;
            bare.flaps = node.flaps;
            sketch.nodes.insert(name.clone(), bare);
        }
        for (name, record) in &self.workloads {
            sketch.workloads.insert(name.clone(), record.clone());
        }
        sketch
    }
}

/// How the rollout of what is wanted already stands, where it is not over.
fn under_way(record: &WorkloadRecord) -> Option<String> {
    let rollout = record.rollout_summary()?;
    let (to, reason) = (&rollout.to_version, &rollout.reason);
    let name = &record.spec.name;
    let left = record.at.len();
    if rollout.phase == RolloutPhase::Aborted && left > 0 {
        let nodes = match left {
            1 => "1 node has".to_owned(),
            n => format!("{n} nodes have"),
        };
        return Some(format!(
            "the rollout to {to} was aborted, and {nodes} another version: `fleetctl rollout resume \
             {name}` takes it up again"
        ));
    }
    if !rollout.phase.is_active() {
        return None;
    }
    Some(match rollout.phase {
        RolloutPhase::RollingBack => format!("the rollout to {to} is being taken back: {reason}"),
        _ => format!("the rollout to {to} is under way: {reason}"),
    })
}

fn is_rolled_out(record: &WorkloadRecord) -> bool {
    record.rollout.as_ref().is_some_and(|r| r.phase.is_active())
}

/// `after`: as it would be.
fn planned(
    known: Option<&WorkloadRecord>,
    workload: &Workload,
    after: Option<&WorkloadRecord>,
) -> PlannedWorkload {
    let replaces = known.is_some_and(|r| r.spec_hash != workload.spec_hash());
    let reasons = after.into_iter().flat_map(|r| &r.reasons);
    let placed = |node: &Name| after.is_some_and(|r| r.placed.contains(node));
    let fields = known.map(|r| differences(&r.spec, workload));
    let running = known.map_or(0, |r| r.placed.len());
    PlannedWorkload {
        workload: workload.name.clone(),
        version: workload.version.clone(),
        fields: fields.unwrap_or_default(),
        replaces,
        missing: after.map_or(0, |r| r.missing),
        nodes: reasons
            .map(|(node, reason)| PlannedInstance {
                node: node.clone(),
                placed: placed(node),
                reason: reason.clone(),
            })
            .collect(),
        rollout: match known {
            None if workload.update.is_some() => Some(FIRST.to_owned()),
            // Other settings alone, but nodes may change by them at once.
            Some(known) if !replaces && is_rolled_out(known) => {
                under_way(known).map(|text| format!("{text}; it goes on by these settings"))
            }
            _ => rolled_out(workload, running).filter(|_| replaces),
        },
    }
}

/// How a change reaches `nodes` nodes; `None` where there is nothing to choose.
pub(super) fn rolled_out(workload: &Workload, nodes: usize) -> Option<String> {
    let Some(update) = &workload.update else {
        return match nodes {
            0 => None,
            1 => Some("at once, unguarded: write [update] to have it come back by itself".into()),
            _ => Some(format!(
                "all {nodes} nodes at once: write [update] to go in batches"
            )),
        };
    };
    if nodes == 0 {
        return None;
    }
    let canary = usize::try_from(update.canary)
        .unwrap_or(usize::MAX)
        .min(nodes);
    let mut parts = Vec::new();
    match canary {
        0 => {}
        1 => parts.push("1 canary".to_owned()),
        n => parts.push(format!("{n} canaries")),
    }
    if canary > 0 && canary < nodes && !update.auto_promote {
        parts.push("then it waits for `fleetctl rollout promote`".into());
    }
    if canary < nodes {
        let then = if parts.is_empty() { "" } else { "then " };
        parts.push(match update.max_parallel {
            all if all.of(nodes) >= nodes - canary => match nodes - canary {
                1 => format!("{then}1 node"),
                left => format!("{then}{left} nodes at once"),
            },
            Share::Count(count) => format!("{then}{count} of {nodes} at a time"),
            percent @ Share::Percent(_) => format!("{then}{percent} of {nodes} at a time"),
        });
    }
    let mut text = parts.join(", ");
    if let Some(label) = &update.sequence {
        text += &format!(", one {label} after the other");
    }
    if !update.windows.is_empty() {
        text += ", only while a window is open";
    }
    text += match update.auto_rollback {
        true => "; rolls back by itself",
        false => "; stops at the first failure",
    };
    Some(text)
}

pub(super) fn differences(from: &Workload, to: &Workload) -> Vec<FieldChange> {
    let json = |w: &Workload| serde_json::to_value(w).unwrap_or_default();
    let mut out = Vec::new();
    compare("", &json(from), &json(to), &mut out);
    out
}

fn compare(path: &str, from: &Value, to: &Value, out: &mut Vec<FieldChange>) {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let get =
                    |m: &serde_json::Map<String, Value>| m.get(key).cloned().unwrap_or_default();
                compare(&below, &get(a), &get(b), out);
            }
        }
        _ if from != to => {
            out.push(FieldChange {
                field: path.to_owned(),
                from: from.clone(),
                to: to.clone(),
            });
        }
        _ => {}
    }
}
