//! Which nodes run a workload, with a reason for each node.
//!
//! ```text
//!  nodes ─► obstacle? ──yes──► a reason, no instance
//!             │ no
//!             ├─ it runs there already ─► it stays (or, of too many, the worst one leaves)
//!             ├─ on = "every" ──────────► it runs there
//!             └─ on = "any" ─► spread ─► preferences ─► strategy ─► name ─► up to `replicas`
//! ```
//!
//! Pure, and independent of the order of its inputs: ties break by name. What already runs
//! somewhere stays there while it may; a node that cannot be heard, or is closed, keeps what it
//! has, and gets nothing new (except, while it is merely away, from `on = "every"`).
//!
//! | module | about |
//! |---|---|
//! | [`mod@obstacle`] | why a node cannot run it |
//! | [`strategy`] | which of two nodes is the better one |
//! | [`choose`] | so many of the best; so many of the worst |
//! | [`decide`] | the decision over a whole fleet |
//! | [`why`] | the same, told to people in full |
//! | [`candidate`] | a node as all of these see it |
//! | [`index`], [`orders`], [`watched`] | what keeps a decision cheap in a large fleet |

mod candidate;
mod choose;
mod decide;
mod index;
mod obstacle;
mod orders;
mod strategy;
mod watched;
mod why;

pub use candidate::{Candidate, Closed, Others};
pub use index::Taken;
pub use strategy::ScoreParts;
pub use why::{Why, WhyNode};

pub(in crate::fleet) use decide::OnTheWay;
pub(in crate::fleet) use index::Index;
#[cfg(test)]
pub(in crate::fleet) use obstacle::LOOKS;
pub(in crate::fleet) use obstacle::{MAX_ASSIGNED, Obstacle, obstacle};
pub(in crate::fleet) use watched::Watched;

use crate::model::{Name, PlacementMode, Workload};
use choose::{NONE_ASKED, Pool, Tally, grow, passed_over, shrink};
use std::collections::{BTreeMap, BTreeSet};

/// A workload as placement sees it; made once for a decision.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) struct Wish<'a> {
    pub workload: &'a Workload,
    /// Bytes of it in an assignment.
    pub bytes: usize,
    /// Names in its templates.
    pub names: &'a BTreeSet<String>,
    /// What an agent must know to run it.
    pub features: u32,
    /// One on every match.
    pub every: bool,
    /// Bytes that it asks for.
    pub memory: u64,
    /// Thousandths of cores that it asks for.
    pub cpu: u64,
    /// Round robin goes on after this node.
    pub last: Option<&'a Name>,
    /// Workloads that do not want it beside them.
    pub shunned: &'a [&'a Name],
}

impl<'a> Wish<'a> {
    pub(in crate::fleet) fn new(
        workload: &'a Workload,
        bytes: usize,
        names: &'a BTreeSet<String>,
    ) -> Wish<'a> {
        // What is left to the agent of a template, an old one would take literally.
        let templates = if names.is_empty() { 1 } else { 2 };
        Wish {
            workload,
            bytes,
            names,
            features: workload.needs_features().max(templates),
            every: workload.placement.mode == PlacementMode::Every,
            memory: workload.resources.memory.unwrap_or(0),
            cpu: index::cpu_of(workload),
            last: None,
            shunned: &[],
        }
    }
}

/// Where a workload goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The nodes.
    pub nodes: BTreeSet<Name>,
    /// Replicas that no node could take.
    pub missing: u32,
    /// Why each node was taken, and why others were passed over, one sentence each; of those not
    /// more than are of use: 64 while replicas wait, else 16.
    pub reasons: BTreeMap<Name, String>,
    /// The node that was chosen last, where one was.
    pub last: Option<Name>,
}

/// Nodes that were passed over whose reasons are kept, while replicas wait for a node.
pub(in crate::fleet) const MAX_PASSED: usize = 64;
/// The same where nothing waits: of interest to few, and there may be thousands of workloads.
pub(in crate::fleet) const MAX_PASSED_AT_REST: usize = 16;

/// Why a node that runs it goes on to.
pub(in crate::fleet) const KEPT: &str = "it runs there already";

/// Why a node runs what every match runs.
pub(in crate::fleet) const MATCHES: &str = "it matches, and every match runs it";

/// Decides for one workload, of which `current` says where it is now.
pub fn place(workload: &Workload, current: &BTreeSet<Name>, candidates: &[Candidate]) -> Decision {
    let names = workload.template_names();
    let wish = Wish::new(workload, workload.encoded_len(), &names);
    let all = candidates.iter().copied();
    let (kept, free): (Vec<Candidate>, Vec<Candidate>) =
        all.partition(|c| current.contains(c.name));
    let mut all: Vec<&Candidate> = candidates.iter().collect();
    all.sort_by_key(|c| c.name);
    let task = Task {
        wish,
        kept,
        pending: 0,
    };
    let pool = Pool::Any(Box::new(free.into_iter()));
    task.decide(pool, &|_| true, all.into_iter().copied())
}

/// All that a decision is made from, beside the nodes that are free.
struct Task<'a> {
    wish: Wish<'a>,
    /// Where it is, and may stay.
    kept: Vec<Candidate<'a>>,
    /// Replicas that are between two nodes: the old one is to be gone before the new one starts.
    pending: usize,
}

impl<'a> Task<'a> {
    /// `free`: those of `pool` where it is not. `all`: in the order of names, for the reasons.
    fn decide(
        self,
        pool: Pool<'a>,
        free: &dyn Fn(&Candidate<'a>) -> bool,
        all: impl Iterator<Item = Candidate<'a>>,
    ) -> Decision {
        let wish = &self.wish;
        let mut out = Decision::default();
        let mut kept = Vec::with_capacity(self.kept.len());
        for node in self.kept {
            let reason = match obstacle(wish, &node, true) {
                Some(obstacle) => obstacle.to_string(),
                None => {
                    kept.push(node);
                    out.nodes.insert(node.name.clone());
                    KEPT.to_owned()
                }
            };
            out.reasons.insert(node.name.clone(), reason);
        }
        let mut tally = Tally::of(wish, &kept);
        let mut replicas = 0;
        match wish.workload.placement.mode {
            PlacementMode::Every => {
                let may = |n: &Candidate<'a>| free(n) && obstacle(wish, n, false).is_none();
                for node in pool.all().filter(may) {
                    out.nodes.insert(node.name.clone());
                    out.reasons.insert(node.name.clone(), MATCHES.to_owned());
                }
            }
            PlacementMode::Any { replicas: said } => {
                replicas = said as usize;
                let wanted = replicas.saturating_sub(self.pending);
                let surplus = kept.len().saturating_sub(wanted);
                for name in shrink(wish, surplus, &kept, &mut tally) {
                    out.nodes.remove(name);
                    let reason = match replicas {
                        0 => NONE_ASKED.to_owned(),
                        1 => "1 replica is enough".to_owned(),
                        _ => format!("{replicas} replicas are enough"),
                    };
                    out.reasons.insert(name.clone(), reason);
                }
                let more = wanted.saturating_sub(kept.len());
                let chosen = grow(wish, more, replicas, &mut tally, pool, free);
                out.last = chosen.nodes.last().map(|(node, _)| node.name.clone());
                for (node, reason) in chosen.nodes {
                    out.nodes.insert(node.name.clone());
                    out.reasons.insert(node.name.clone(), reason);
                }
                let missing = wanted.saturating_sub(out.nodes.len());
                out.missing = u32::try_from(missing).unwrap_or(u32::MAX);
            }
        }
        let room = match out.missing {
            0 => MAX_PASSED_AT_REST,
            _ => MAX_PASSED,
        };
        let mut others = 0;
        for node in all {
            if others >= room {
                break;
            }
            if !out.nodes.contains(node.name) {
                others += 1;
                if !out.reasons.contains_key(node.name) {
                    let (reason, _) = passed_over(wish, &node, replicas, &tally);
                    out.reasons.insert(node.name.clone(), reason);
                }
            }
        }
        out
    }
}

/// Bytes, for people: `12 MiB`.
pub(in crate::fleet) fn amount(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                tenth => format!("{}.{tenth} {name}", tenths / 10),
            };
        }
    }
    format!("{bytes} B")
}

/// Thousandths of cores, for people: `0.5`.
pub(super) fn cores(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
