//! A move on its way: what follows for it from what is reported, and from time.

use super::{Move, MovePhase, end::End};
use crate::{
    fleet::{Approval, Effect, Fleet, WorkloadRecord},
    model::{Desired, HealthStatus, InstanceState, Name, PlacementMode, Presence, UnixMs, Update},
};
use std::collections::BTreeSet;

impl Fleet {
    /// What follows for the moves of one workload from how its nodes are now.
    pub(in crate::fleet) fn advance_moves(
        &mut self,
        name: &Name,
        at: UnixMs,
        touched: &mut BTreeSet<Name>,
    ) -> Vec<Effect> {
        let Some(w) = self.workloads.get(name) else {
            return Vec::new();
        };
        let sources: Vec<Name> = w.moves.keys().cloned().collect();
        let mut effects = Vec::new();
        for from in sources {
            let arrived = self.arrived(name, &from);
            let Some(w) = self.workloads.get_mut(name) else {
                break;
            };
            let Some(m) = w.moves.get_mut(&from) else {
                continue;
            };
            if m.phase == MovePhase::Starting {
                m.healthy_since_ms = match arrived {
                    true => m.healthy_since_ms.or(Some(at)),
                    false => None,
                };
            }
            if let Some(end) = self.end_of(name, &from, at) {
                effects.extend(self.end_move(name, &from, end, at, touched));
            }
        }
        effects
    }

    /// When [`Fleet::advance_moves`] of this workload is due next, though nothing is reported.
    pub(in crate::fleet) fn moves_deadline(&self, name: &Name) -> Option<UnixMs> {
        let w = self.workloads.get(name)?;
        w.moves.values().map(|m| due(w, m)).min()
    }

    /// The new one works on its node, as far as it says.
    fn arrived(&self, name: &Name, from: &Name) -> bool {
        let arrived = || {
            let w = self.workloads.get(name)?;
            let to = &w.moves.get(from)?.to;
            let node = self.nodes.get(to)?;
            if w.desired == Desired::Stopped {
                // There is nothing that could become healthy, and nothing that could stand still.
                return Some(true);
            }
            let o = node.observed.get(name)?;
            let healthy = matches!(o.health, None | Some(HealthStatus::Healthy));
            Some(
                node.presence == Presence::Online
                    && o.state.is_well()
                    && healthy
                    && o.spec_hash == self.spec_hash_on(w, to.as_str(), node),
            )
        };
        arrived().unwrap_or(false)
    }

    /// How the move ends now; `None`: it goes on.
    fn end_of(&self, name: &Name, from: &Name, at: UnixMs) -> Option<End> {
        let w = self.workloads.get(name)?;
        let m = w.moves.get(from)?;
        let to = &m.to;
        if w.spec.placement.mode == PlacementMode::Every || !w.placed.contains(to) {
            // It was changed meanwhile, and placed anew.
            return Some(End::Overtaken);
        }
        let here = |n: &Name| {
            let node = self
                .nodes
                .get(n)
                .filter(|n| n.approval == Approval::Approved);
            node.filter(|n| !n.lost)
        };
        let (Some(source), Some(target)) = (here(from), here(to)) else {
            return Some(match here(to) {
                Some(_) => End::Done(format!("{from} is not there any more")),
                None => End::Undone(format!("{to} is not there any more")),
            });
        };
        let over = at >= due(w, m);
        match m.phase {
            MovePhase::Starting => {
                let now = target.observed.get(name);
                let current =
                    now.filter(|o| o.spec_hash == self.spec_hash_on(w, to.as_str(), target));
                let said = now.and_then(|o| o.reason.as_deref()).unwrap_or_default();
                let said = match said {
                    "" => String::new(),
                    said => format!(": {said}"),
                };
                match m.healthy_since_ms {
                    Some(_) if over || w.desired == Desired::Stopped => {
                        Some(End::Done(format!("it is healthy on {to}")))
                    }
                    Some(_) => None,
                    None if current.is_some_and(|o| o.state == InstanceState::Failed) => {
                        Some(End::Undone(format!("it failed on {to}{said}")))
                    }
                    None if over => {
                        let time = deadline(w) / 1000;
                        let is = now.map_or(String::new(), |o| format!(" (it is {})", o.state));
                        Some(End::Undone(format!(
                            "it did not become healthy on {to} within {time} s{is}{said}"
                        )))
                    }
                    None => None,
                }
            }
            MovePhase::Stopping => {
                let told = m.told.is_none_or(|told| source.observed_generation >= told);
                if told && !source.observed.contains_key(name) {
                    return Some(End::Done(format!("it was stopped on {from}")));
                }
                over.then(|| End::Undone(format!("{from} did not stop it in time")))
            }
        }
    }
}

/// When something follows for a move from time alone.
fn due(w: &WorkloadRecord, m: &Move) -> UnixMs {
    match (m.phase, m.healthy_since_ms) {
        (MovePhase::Starting, Some(since)) => {
            since.saturating_add(w.spec.min_healthy_time_ms().max(1))
        }
        (MovePhase::Starting, None) => m.since_ms.saturating_add(deadline(w)),
        (MovePhase::Stopping, _) => {
            let stopped = deadline(w).saturating_add(w.spec.stop_timeout_ms);
            m.since_ms.saturating_add(stopped)
        }
    }
}

/// So long an instance may take until it is healthy on its new node.
fn deadline(w: &WorkloadRecord) -> u64 {
    let update = w.spec.update.as_ref();
    let written = update.map(|u| u.healthy_deadline_ms);
    written
        .unwrap_or_else(|| Update::default().healthy_deadline_ms)
        .max(1)
}
