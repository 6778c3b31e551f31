//! The fleet as a whole, in numbers, and where its nodes stand by a label. Made on demand.

use super::{Approval, Fleet, NodeRecord, moves::Room};
use crate::model::{InstanceState, Name, Presence, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The fleet as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// Entries applied so far.
    pub version: u64,
    /// Nodes, by how they stand.
    pub nodes: CountedNodes,
    /// Instances, by how they stand.
    pub instances: CountedInstances,
    /// Workloads.
    pub workloads: usize,
    /// Rollouts that go on.
    pub rollouts: usize,
    /// Instances on their way to another node.
    pub moves: usize,
    /// Bytes of memory of all approved nodes, as far as they said.
    pub memory_total: u64,
    /// Bytes of it that instances may use, as far as they say.
    pub memory_placed: u64,
    /// Bytes of it that are not for instances.
    pub memory_reserved: u64,
    /// Cores of all approved nodes.
    pub cpus_total: f64,
    /// Cores that instances may use, as far as they say.
    pub cpus_placed: f64,
    /// Cores that are not for instances.
    pub cpus_reserved: f64,
}

/// Nodes, by how they stand. Pending and revoked ones are in no other number than `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedNodes {
    /// All.
    pub all: usize,
    /// They wait for somebody's approval.
    pub pending: usize,
    /// They were cut off.
    pub revoked: usize,
    /// They are heard.
    pub online: usize,
    /// They are connected, and not heard.
    pub silent: usize,
    /// They are not heard.
    pub offline: usize,
    /// Of the offline ones: for so long that what could move was placed elsewhere.
    pub lost: usize,
    /// They come and go too often.
    pub damped: usize,
    /// They take nothing new.
    pub cordoned: usize,
    /// They are being emptied.
    pub draining: usize,
    /// They speak HTTP instead of MQTT.
    pub http: usize,
}

/// Instances, by how they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedInstances {
    /// All that are wanted.
    pub wanted: usize,
    /// Of these, without a node that could take them.
    pub missing: usize,
    /// All that are there or wanted, by state. `unknown`: their node cannot be heard.
    pub by_state: BTreeMap<String, usize>,
}

/// Where the nodes stand, by the values of a label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Topology {
    /// The label; null: all nodes are one group.
    pub label: Option<String>,
    /// By value; nodes without the label come last.
    pub groups: Vec<TopologyGroup>,
}

/// Nodes with the same value of a label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopologyGroup {
    /// The value; null: they do not have the label.
    pub value: Option<String>,
    /// Of these, how many are heard.
    pub online: usize,
    /// Instances on them.
    pub instances: usize,
    /// By name.
    pub nodes: Vec<TopologyNode>,
}

/// A node in a [`Topology`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopologyNode {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// Whether it can be heard.
    pub presence: Presence,
    /// Since when, controller's clock.
    pub since_ms: UnixMs,
    /// 0–100: how much of what can be placed on it is taken.
    pub load: u8,
    /// Workloads placed on it.
    #[schema(value_type = Vec<String>)]
    pub instances: Vec<Name>,
    /// What it can do.
    pub capabilities: BTreeMap<String, String>,
    /// It takes nothing new, for whatever reason.
    pub closed: bool,
}

impl Fleet {
    /// The fleet as a whole.
    pub fn cluster_status(&self) -> ClusterStatus {
        let mut status = ClusterStatus {
            version: self.version,
            workloads: self.workloads.len(),
            ..ClusterStatus::default()
        };
        let (mut cores, mut cores_placed, mut cores_reserved) = (0, 0, 0);
        for (name, node) in &self.nodes {
            count_node(&mut status.nodes, node);
            let Some(room) = self.room(name).filter(|_| is_member(node)) else {
                continue;
            };
            let facts = node.facts.as_ref();
            status.memory_total += facts.map_or(0, |f| f.memory_total);
            let reserved = Room::empty(node);
            status.memory_placed += room.memory - reserved.memory;
            status.memory_reserved += reserved.memory;
            cores += room.millicpus_total;
            cores_placed += room.millicpus - reserved.millicpus;
            cores_reserved += reserved.millicpus;
        }
        let whole = |millis: u64| millis as f64 / 1000.0;
        status.cpus_total = whole(cores);
        status.cpus_placed = whole(cores_placed);
        status.cpus_reserved = whole(cores_reserved);
        for w in self.workloads.values() {
            let missing = w.missing as usize;
            let leaving = w.leaving().count();
            status.instances.missing += missing;
            status.instances.wanted += w.placed.len() + missing - leaving;
            status.moves += w.moves.len();
            let active = w.rollout.as_ref().is_some_and(|r| r.phase.is_active());
            status.rollouts += usize::from(active);
        }
        status.instances.by_state = self.counted_states();
        status
    }

    /// Where the nodes stand, by the values of a label.
    pub fn topology(&self, label: Option<&str>) -> Topology {
        let mut groups: BTreeMap<(bool, Option<String>), TopologyGroup> = BTreeMap::new();
        for (name, node) in self.nodes.iter().filter(|(_, n)| is_member(n)) {
            let value = label.and_then(|label| node.all_labels().remove(label));
            let group = groups
                .entry((value.is_none(), value.clone()))
                .or_insert_with(|| TopologyGroup {
                    value,
                    ..TopologyGroup::default()
                });
            group.online += usize::from(node.presence == Presence::Online);
            group.instances += node.placed.len();
            group.nodes.push(TopologyNode {
                name: name.clone(),
                presence: node.presence,
                since_ms: node.presence_ms,
                load: self.room(name).map_or(0, |room| room.percent()),
                instances: node.placed.iter().cloned().collect(),
                capabilities: node
                    .facts
                    .as_ref()
                    .map_or_else(BTreeMap::new, |f| f.capabilities.clone()),
                closed: node.cordoned || node.drain.is_some() || node.lost || node.flaps.damped,
            });
        }
        Topology {
            label: label.map(str::to_owned),
            groups: groups.into_values().collect(),
        }
    }

    fn counted_states(&self) -> BTreeMap<String, usize> {
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = |state: InstanceState, n: usize| {
            if n > 0 {
                *states.entry(state.to_string()).or_default() += n;
            }
        };
        for node in self.nodes.values() {
            let heard = node.presence == Presence::Online && is_member(node);
            for observed in node.observed.values() {
                count(
                    if heard {
                        observed.state
                    } else {
                        InstanceState::Unknown
                    },
                    1,
                );
            }
            let silent = node
                .placed
                .iter()
                .filter(|w| !node.observed.contains_key(*w));
            count(InstanceState::Pending, silent.count());
        }
        let missing = self.workloads.values().map(|w| w.missing as usize).sum();
        count(InstanceState::Pending, missing);
        states
    }
}

fn is_member(node: &NodeRecord) -> bool {
    node.approval == Approval::Approved
}

fn count_node(nodes: &mut CountedNodes, node: &NodeRecord) {
    nodes.all += 1;
    match node.approval {
        Approval::Pending => nodes.pending += 1,
        Approval::Revoked => nodes.revoked += 1,
        Approval::Approved => {
            match node.presence {
                Presence::Online => nodes.online += 1,
                Presence::Silent => nodes.silent += 1,
                Presence::Offline => nodes.offline += 1,
            }
            let draining = node.drain.as_ref().is_some_and(|d| d.done_ms.is_none());
            nodes.lost += usize::from(node.lost);
            nodes.damped += usize::from(node.flaps.damped);
            nodes.cordoned += usize::from(node.cordoned || node.drain.is_some());
            nodes.draining += usize::from(draining);
            nodes.http += usize::from(node.http);
        }
    }
}
