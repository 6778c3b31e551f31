//! Which of two nodes that could both run it is the better one.
//!
//! ```text
//! spread (fewest of its replicas among nodes of the same value)
//!   └─ preferences (sum of the weights that are met)
//!        └─ strategy
//!             └─ name
//! ```

use super::{Candidate, Wish, amount, cores};
use crate::model::{Preference, Requirement, Strategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a node is judged by. The smaller one is the better one, field by field; the name comes
/// last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Preferences, turned round.
    unwanted: i64,
    /// What the strategy looks at first, and then.
    by: (u64, u64, u64),
}

/// The parts of a node's score, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScoreParts {
    /// Sum of the weights of the preferences that it meets.
    pub preference: i64,
    /// How full it is, percent, of the fuller of cpu and memory; 0 where that is not known.
    pub load: u32,
    /// Instances on it.
    pub instances: usize,
    /// Capabilities and labels that the workload does not ask for.
    pub unused: usize,
    /// Value of the label over which the replicas are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
}

impl Score {
    pub(super) fn of(wish: &Wish<'_>, node: &Candidate<'_>) -> Score {
        let load = (u64::from(node.fullness()), node.taken.instances as u64);
        let by = match wish.workload.placement.strategy {
            Strategy::LeastLoaded => (load.0, load.1, 0),
            Strategy::RoundRobin => {
                let before = wish.last.is_some_and(|last| node.name <= last);
                (u64::from(before), 0, 0)
            }
            Strategy::CapabilityMatch => (unused(wish, node) as u64, load.0, load.1),
            Strategy::ResourceOptimal => (left(wish, node), load.1, 0),
        };
        Score {
            unwanted: -preference(wish, node),
            by,
        }
    }
}

/// For people.
pub(super) fn parts(wish: &Wish<'_>, node: &Candidate<'_>) -> ScoreParts {
    let label = wish.workload.placement.spread.as_ref();
    ScoreParts {
        preference: preference(wish, node),
        load: node.fullness() / 10,
        instances: node.taken.instances,
        unused: unused(wish, node),
        spread: label.map(|l| node.label(l).cloned().unwrap_or_default()),
    }
}

fn preference(wish: &Wish<'_>, node: &Candidate<'_>) -> i64 {
    sum(&wish.workload.placement.prefers, node)
}

/// The weights of what a node meets.
pub(super) fn sum(prefers: &[Preference], node: &Candidate<'_>) -> i64 {
    let met = prefers.iter().filter(|p| {
        p.requirement
            .holds(node.property(&p.requirement.key).as_deref())
    });
    met.map(|p| i64::from(p.weight)).sum()
}

/// Capabilities and labels that were not asked for.
fn unused(wish: &Wish<'_>, node: &Candidate<'_>) -> usize {
    let placement = &wish.workload.placement;
    let asked = |r: &Requirement| r.holds(node.property(&r.key).as_deref()) && node.has(&r.key);
    let preferred = placement.prefers.iter().filter(|p| p.weight > 0);
    let mut keys: Vec<&str> = placement
        .requires
        .iter()
        .chain(preferred.map(|p| &p.requirement))
        .filter(|r| asked(r))
        .map(|r| r.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    node.properties() - keys.len()
}

/// What would be left of it: a core counts as much as a GiB. A node that did not say what it has
/// comes last.
fn left(wish: &Wish<'_>, node: &Candidate<'_>) -> u64 {
    match (node.free_memory(), node.free_cpu()) {
        (None, None) => u64::MAX,
        (memory, cpu) => {
            let memory = memory.map_or(0, |m| m.saturating_sub(wish.memory) >> 20);
            let cpu = cpu.map_or(0, |c| c.saturating_sub(wish.cpu) * 1_024 / 1_000);
            memory.saturating_add(cpu)
        }
    }
}

/// Why the strategy took it: one sentence.
pub(super) fn why(wish: &Wish<'_>, node: &Candidate<'_>) -> String {
    let mut text = match wish.workload.placement.strategy {
        Strategy::LeastLoaded => {
            let count = count(node.taken.instances);
            match node.fullness() / 10 {
                0 => format!("least loaded: it has {count}"),
                percent => format!("least loaded: {percent}% of it is taken, it has {count}"),
            }
        }
        Strategy::RoundRobin => match wish.last {
            Some(last) if node.name > last => format!("its turn: it comes after {last}"),
            Some(last) => format!("its turn: after {last} it begins anew"),
            None => "its turn: it comes first by name".into(),
        },
        Strategy::CapabilityMatch => match unused(wish, node) {
            0 => "it has nothing that is not asked for".into(),
            1 => "it has the least that is not asked for: 1 capability or label".into(),
            n => format!("it has the least that is not asked for: {n} capabilities and labels"),
        },
        Strategy::ResourceOptimal => match (node.free_memory(), node.free_cpu()) {
            (None, None) => "no better fit has said what it has".into(),
            (memory, cpu) => {
                let memory = memory.map(|m| amount(m.saturating_sub(wish.memory)));
                let cpu = cpu.map(|c| format!("{} cpus", cores(c.saturating_sub(wish.cpu))));
                let all: Vec<String> = memory.into_iter().chain(cpu).collect();
                format!("best fit: {} would be left of it", all.join(" and "))
            }
        },
    };
    let preference = preference(wish, node);
    if preference != 0 {
        let met = wish.workload.placement.prefers.iter();
        let met = met.filter(|p| {
            p.requirement
                .holds(node.property(&p.requirement.key).as_deref())
        });
        let met: Vec<String> = met
            .take(4)
            .map(|p| format!("`{}` {:+}", p.requirement, p.weight))
            .collect();
        text = format!("preferred by {preference:+} ({}); {text}", met.join(", "));
    }
    text
}

pub(super) fn count(instances: usize) -> String {
    if instances == 1 {
        "1 instance".into()
    } else {
        format!("{instances} instances")
    }
}
