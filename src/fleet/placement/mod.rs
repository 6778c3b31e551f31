//! Which nodes run a workload, with a reason for each node.
//!
//! Pure and independent of the order of its inputs: ties break by name. What already runs
//! somewhere stays there while it may; a node that cannot be heard keeps what it has, and gets
//! nothing new except from `on = "every"`.

use super::NodeNames;
use crate::contract::MAX_INSTANCES;
use crate::model::{
    Name, PlacementMode, Presence, Requirement, Run, RuntimeKind, Workload, template::Lookup,
};
use std::collections::{BTreeMap, BTreeSet};

/// A node as placement sees it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Whether it can be heard.
    pub presence: Presence,
    /// Capabilities and labels.
    pub properties: BTreeMap<String, String>,
    /// It said what it is.
    pub described: bool,
    /// Instances placed there already, other workloads' included.
    pub instances: usize,
    /// Bytes that those may use, as far as they say.
    pub memory_reserved: u64,
    /// Bytes that it has.
    pub memory_total: u64,
    /// Bytes of its assignment.
    pub assigned_bytes: usize,
    /// What its agent knows of workloads, as in [`crate::model::FEATURES`].
    pub features: u32,
    /// What templates may name of it.
    pub names: NodeNames,
}

/// What placement must know of a workload beside its spec; computed once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs<'a> {
    /// Bytes of it in an assignment.
    pub bytes: usize,
    /// Names in its templates.
    pub names: &'a BTreeSet<String>,
}

/// Bytes of specs in one assignment: what the contract allows for a message, less what the
/// envelope and each instance's other fields take.
pub(super) const MAX_ASSIGNED: usize = 768 * 1024;

/// Where a workload goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The nodes.
    pub nodes: BTreeSet<Name>,
    /// Replicas that no node could take.
    pub missing: u32,
    /// Why each candidate was taken or passed over, one sentence each.
    pub reasons: BTreeMap<Name, String>,
}

/// Decides for one workload, of which `current` says where it is now.
pub fn place(workload: &Workload, current: &BTreeSet<Name>, candidates: &[Candidate]) -> Decision {
    let mut decision = Decision::default();
    let mut free: Vec<&Candidate> = Vec::new();
    let names = workload.template_names();
    let needs = Needs {
        bytes: workload.encoded_len(),
        names: &names,
    };
    for node in candidates {
        let kept = current.contains(node.name);
        match obstacle(workload, needs, node, kept) {
            Some(reason) => {
                decision.reasons.insert(node.name.clone(), reason);
            }
            None if kept => {
                decision.nodes.insert(node.name.clone());
                decision.reasons.insert(node.name.clone(), KEPT.to_owned());
            }
            None => free.push(node),
        }
    }
    match workload.placement.mode {
        PlacementMode::Every => {
            for node in free {
                decision.nodes.insert(node.name.clone());
                decision
                    .reasons
                    .insert(node.name.clone(), MATCHES.to_owned());
            }
        }
        PlacementMode::Any { replicas } => choose(workload, replicas, free, &mut decision),
    }
    decision
}

/// Why a node that runs it goes on to.
pub(super) const KEPT: &str = "it runs there already";

/// Why a node runs what every match runs.
pub(super) const MATCHES: &str = "it matches, and every match runs it";

/// Why a node that could run it does not.
pub(super) fn passed_over(node: &Candidate) -> String {
    format!(
        "enough others were chosen (it has {})",
        count(node.instances)
    )
}

/// Why a node cannot run it, `None` when it can.
pub(super) fn obstacle(
    workload: &Workload,
    needs: Needs<'_>,
    node: &Candidate,
    kept: bool,
) -> Option<String> {
    let placement = &workload.placement;
    if !placement.nodes.is_empty() && !placement.nodes.contains(node.name) {
        return Some("it is not among `nodes`".into());
    }
    if !kept && node.instances >= MAX_INSTANCES {
        return Some(format!(
            "it has {MAX_INSTANCES} instances, which is the most"
        ));
    }
    if !kept && node.assigned_bytes.saturating_add(needs.bytes) > MAX_ASSIGNED {
        return Some("its assignment would become too large for one message".into());
    }
    if !node.described {
        return Some("it has not said yet what it is".into());
    }
    // What is left to the agent of a template, an old one would take literally.
    let features = workload
        .needs_features()
        .max(if needs.names.is_empty() { 1 } else { 2 });
    if features > node.features {
        return Some("its agent is too old for this workload: upgrade fleetctl there".into());
    }
    let unknown = |name: &&String| node.names.lookup(name) == Lookup::Unknown;
    if let Some(name) = needs.names.iter().find(unknown) {
        return Some(match name.strip_prefix("label.") {
            Some(label) => format!("it has no label `{label}`, which `{{{{ {name} }}}}` needs"),
            None => format!("`{{{{ {name} }}}}` is not known of it"),
        });
    }
    // An engine that is away for a moment takes nothing from a node that runs it already.
    let engine = |key: &str| matches!(key, "docker" | "podman" | "process");
    let met = |r: &Requirement| (kept && engine(&r.key)) || r.is_met_by(&node.properties);
    if let Some(r) = placement.requires.iter().find(|r| !met(r)) {
        return Some(match node.properties.get(&r.key) {
            Some(has) if !r.value.is_empty() => {
                format!("it has {}={has}, `{r}` is required", r.key)
            }
            _ => format!("it does not meet `{r}`"),
        });
    }
    if !kept && let Some(missing) = missing_runtime(workload, node) {
        return Some(missing);
    }
    None
}

fn missing_runtime(workload: &Workload, node: &Candidate) -> Option<String> {
    let has = |kind: RuntimeKind| node.properties.contains_key(kind.as_str());
    match &workload.run {
        Run::Process { .. } | Run::Python { .. } if !has(RuntimeKind::Process) => {
            Some("it does not run native processes".into())
        }
        Run::Container {
            engine: Some(kind), ..
        } if !has(*kind) => Some(format!("it has no {kind}")),
        Run::Container { engine: None, .. }
            if !has(RuntimeKind::Docker) && !has(RuntimeKind::Podman) =>
        {
            Some("it has neither Docker nor Podman".into())
        }
        _ => None,
    }
}

/// Fills or empties up to `replicas`.
fn choose(workload: &Workload, replicas: u32, mut free: Vec<&Candidate>, out: &mut Decision) {
    let wanted = replicas as usize;
    // Too many: the last names leave first, so that the answer does not depend on history.
    while out.nodes.len() > wanted {
        if let Some(node) = out.nodes.pop_last() {
            out.reasons
                .insert(node, format!("{replicas} replicas are enough"));
        }
    }
    let strategy = workload.placement.strategy;
    free.sort_by_key(|c| match strategy {
        _ => (
            c.presence != Presence::Online,
            c.instances,
            std::cmp::Reverse(c.memory_total.saturating_sub(c.memory_reserved)),
            c.name,
        ),
    });
    for node in free {
        let (name, reason) = (node.name.clone(), &mut out.reasons);
        if out.nodes.len() >= wanted {
            reason.insert(name, passed_over(node));
        } else if node.presence != Presence::Online {
            reason.insert(name, format!("it is {}", node.presence));
        } else {
            reason.insert(
                name.clone(),
                format!("least loaded: it has {}", count(node.instances)),
            );
            out.nodes.insert(name);
        }
    }
    out.missing = replicas.saturating_sub(u32::try_from(out.nodes.len()).unwrap_or(u32::MAX));
}

fn count(instances: usize) -> String {
    if instances == 1 {
        "1 instance".into()
    } else {
        format!("{instances} instances")
    }
}
