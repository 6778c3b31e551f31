//! What an instance on its way waits for, in a sentence: nobody shall have to guess why it hangs.

use super::MovePhase;
use crate::{
    fleet::Fleet,
    model::{HealthStatus, Name, Presence},
};

impl Fleet {
    /// What the move of a workload from this node waits for.
    pub(in crate::fleet) fn waits_for(&self, workload: &Name, from: &Name) -> Option<String> {
        let w = self.workloads.get(workload)?;
        let m = w.moves.get(from)?;
        let to = &m.to;
        let (node, sentence) = match m.phase {
            MovePhase::Starting => (to, None),
            MovePhase::Stopping => (
                from,
                Some(format!("{from} is to stop it before it starts on {to}")),
            ),
        };
        let record = self.nodes.get(node)?;
        if record.presence != Presence::Online {
            let missing = format!("{node} is {} and says nothing", record.presence);
            return Some(sentence.map_or(missing.clone(), |s| format!("{s}; {missing}")));
        }
        if record.observed_generation < record.generation {
            let (has, wanted) = (record.observed_generation, record.generation);
            let behind =
                format!("{node} has not reported its assignment yet: generation {has} of {wanted}");
            return Some(sentence.map_or(behind.clone(), |s| format!("{s}; {behind}")));
        }
        if sentence.is_some() {
            return sentence;
        }
        if m.healthy_since_ms.is_some() {
            let seconds = w.spec.min_healthy_time_ms().div_ceil(1000);
            return Some(format!(
                "it is healthy on {to}, and is to stay so for {seconds} s"
            ));
        }
        let Some(o) = record.observed.get(workload) else {
            return Some(format!("{to} has not reported it yet"));
        };
        let how = match o.health {
            Some(health) if health != HealthStatus::Healthy => {
                format!("{}, {health}", o.state)
            }
            _ => o.state.to_string(),
        };
        let said = o.reason.as_deref().unwrap_or_default();
        let said = match said {
            "" => String::new(),
            said => format!(": {said}"),
        };
        Some(format!("it is not healthy on {to} yet ({how}{said})"))
    }

    /// Of an instance on this node that is on its way: where from or to, and what it waits for.
    pub(in crate::fleet) fn on_the_move(&self, workload: &Name, node: &Name) -> Option<String> {
        let w = self.workloads.get(workload)?;
        if let Some(m) = w.moves.get(node) {
            let waits = self.waits_for(workload, node)?;
            return Some(format!("it goes to {}: {waits}", m.to));
        }
        let (from, _) = w.moves.iter().find(|(_, m)| m.to == *node)?;
        let waits = self.waits_for(workload, from)?;
        Some(format!("it comes from {from}: {waits}"))
    }
}
