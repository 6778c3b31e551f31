//! What an apply would do, before it does it.

use super::{Candidate, Decision, Fleet, place};
use crate::model::{Name, Workload};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::ToSchema;

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
    /// Workloads that are taken away, because they are in no manifest that was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub removed: Vec<Name>,
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
            let named = |n: &&Name| workloads.iter().any(|w| w.name == **n);
            let gone = self.workloads.keys().filter(|n| !named(n));
            plan.removed = gone.cloned().collect();
        }
        let mut candidates = self.candidates();
        // In the order of names, as applying decides.
        let mut sorted: Vec<&Workload> = workloads.iter().collect();
        sorted.sort_by_key(|w| &w.name);
        self.note_new_limits(&mut candidates, &sorted);
        for workload in sorted {
            let known = self.workloads.get(&workload.name);
            if known.is_some_and(|r| *r.spec == *workload) {
                plan.unchanged.push(workload.name.clone());
                continue;
            }
            let current = known.map(|r| r.placed.clone()).unwrap_or_default();
            let decision = place(workload, &current, &candidates);
            note_load(&mut candidates, workload, &current, &decision);
            let planned = PlannedWorkload {
                workload: workload.name.clone(),
                version: workload.version.clone(),
                fields: known
                    .map(|r| differences(&r.spec, workload))
                    .unwrap_or_default(),
                replaces: known.is_some_and(|r| r.spec_hash != workload.spec_hash()),
                missing: decision.missing,
                nodes: decision
                    .reasons
                    .into_iter()
                    .map(|(node, reason)| PlannedInstance {
                        placed: decision.nodes.contains(&node),
                        node,
                        reason,
                    })
                    .collect(),
            };
            if known.is_some() {
                plan.changed.push(planned)
            } else {
                plan.added.push(planned)
            }
        }
        plan
    }

    /// Applying takes all the new specs before it decides upon the first, so that what stays
    /// where it is already counts with its new memory.
    fn note_new_limits(&self, candidates: &mut [Candidate<'_>], workloads: &[&Workload]) {
        for workload in workloads {
            let Some(record) = self.workloads.get(&workload.name) else {
                continue;
            };
            let memory = |w: &Workload| w.resources.memory.unwrap_or(0);
            for c in candidates.iter_mut() {
                if record.placed.contains(c.name) {
                    let others = c.memory_reserved.saturating_sub(memory(&record.spec));
                    c.memory_reserved = others + memory(workload);
                }
            }
        }
    }
}

/// The next workload of the same plan sees what this one takes, as it will when it is applied.
fn note_load(
    candidates: &mut [Candidate<'_>],
    workload: &Workload,
    before: &BTreeSet<Name>,
    decision: &Decision,
) {
    for c in candidates.iter_mut() {
        let memory = workload.resources.memory.unwrap_or(0);
        match (before.contains(c.name), decision.nodes.contains(c.name)) {
            (false, true) => {
                c.instances += 1;
                c.assigned_bytes = c.assigned_bytes.saturating_add(workload.encoded_len());
                c.memory_reserved += memory;
            }
            (true, false) => {
                c.instances = c.instances.saturating_sub(1);
                c.memory_reserved = c.memory_reserved.saturating_sub(memory);
            }
            _ => {}
        }
    }
}

fn differences(from: &Workload, to: &Workload) -> Vec<FieldChange> {
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
