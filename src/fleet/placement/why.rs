//! `fleetctl workload why NAME`: the reason for every node, in full, made on demand.

use super::{
    Candidate, ScoreParts, Wish,
    choose::{Tally, passed_over},
    obstacle::obstacles,
    strategy,
};
use crate::{
    fleet::Fleet,
    model::{Name, PlacementMode},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Why a workload is where it is, and nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// Which.
    #[schema(value_type = String)]
    pub workload: Name,
    /// [`Fleet::version`] of which this is true.
    pub version: u64,
    /// Instances that are wanted; `None`: on every match.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// Replicas that no node can take now.
    pub missing: u32,
    /// Every approved node, by name.
    pub nodes: Vec<WhyNode>,
    /// How many nodes there are of each kind of reason.
    pub counts: BTreeMap<String, u32>,
}

/// The same for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyNode {
    /// Which.
    #[schema(value_type = String)]
    pub node: Name,
    /// It is assigned to it.
    pub placed: bool,
    /// It is on its way from here to another node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// One sentence: why it was chosen; or what is in the way now, if anything is.
    pub reason: String,
    /// What it is judged by.
    pub score: ScoreParts,
}

/// Obstacles of one node that are named.
const MAX_OBSTACLES: usize = 6;

/// Everything that is in the way on a node: who removes the one shall not only then hear of the
/// other.
fn all_of(wish: &Wish<'_>, node: &Candidate<'_>) -> String {
    let all = obstacles(wish, node);
    let named = all.iter().take(MAX_OBSTACLES).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join("; ");
    if let more @ 1.. = all.len().saturating_sub(MAX_OBSTACLES) {
        text += &format!("; and {more} more");
    }
    text
}

impl Fleet {
    /// Why a workload is where it is.
    pub fn why(&self, workload: &str) -> Option<Why> {
        let (name, record) = self.workloads.get_key_value(workload)?;
        let shunned = self.shunning(name);
        let wish = Fleet::wish(record, &shunned);
        let way = self.on_the_way(&wish, record);
        let stays = record.placed.iter().filter(|n| !way.leaving.contains(*n));
        let kept: Vec<Candidate<'_>> = stays.filter_map(|n| self.candidate(n)).collect();
        let tally = Tally::of(&wish, &kept);
        let replicas = match record.spec.placement.mode {
            PlacementMode::Any { replicas } => Some(replicas),
            PlacementMode::Every => None,
        };
        let mut nodes = Vec::new();
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for node in self.candidates() {
            let placed = record.placed.contains(node.name);
            let leaving = way.leaving.contains(node.name);
            let (reason, kind) = if leaving {
                let moving = record.moves.get(node.name);
                let to = moving.map(|m| m.to.to_string()).unwrap_or_default();
                let reason = format!("it is on its way from here to {to}");
                (reason, "on its way".to_owned())
            } else if placed {
                let kept = || super::KEPT.to_owned();
                let reason = record.reasons.get(node.name).cloned();
                (reason.unwrap_or_else(kept), "runs it".to_owned())
            } else {
                let wanted = replicas.unwrap_or(0) as usize;
                let (reason, obstacle) = passed_over(&wish, &node, wanted, &tally);
                match obstacle {
                    Some(first) => (all_of(&wish, &node), first.kind()),
                    None if replicas == Some(0) => (reason, "none is asked for".to_owned()),
                    None => (reason, "enough others".to_owned()),
                }
            };
            *counts.entry(kind).or_default() += 1;
            nodes.push(WhyNode {
                node: node.name.clone(),
                placed,
                leaving,
                reason,
                score: strategy::parts(&wish, &node),
            });
        }
        Some(Why {
            workload: name.clone(),
            version: self.version,
            replicas,
            missing: record.missing,
            nodes,
            counts,
        })
    }
}
