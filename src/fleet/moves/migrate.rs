//! A person wants an instance on another node.

use super::{MoveWhy, stays::local_state, target::NoTarget};
use crate::{
    fleet::{Effect, Fleet, Refusal, event::emit},
    model::{Name, Presence, TraceContext, UnixMs},
};
use std::collections::BTreeSet;

impl Fleet {
    /// One instance is to go to another node.
    pub(in crate::fleet) fn migrate(
        &mut self,
        workload: &Name,
        from: &Name,
        to: Option<&Name>,
        force: bool,
        trace: Option<TraceContext>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let w = self
            .workloads
            .get(workload)
            .ok_or_else(|| Refusal::no_workload(workload))?;
        self.refuse_agent(workload, "moved")?;
        if !self.nodes.contains_key(from) {
            return Err(Refusal::no_node(from));
        }
        if !w.placed.contains(from) && !w.moves.contains_key(from) {
            let on: Vec<&str> = w.placed.iter().take(8).map(Name::as_str).collect();
            let on = match on.is_empty() {
                true => "no node".into(),
                false => on.join(", "),
            };
            return Err(Refusal::Conflict(format!(
                "{workload} is not on {from}; it is on {on}"
            )));
        }
        if let Some(reason) = self.held(workload, from, force) {
            return Err(Refusal::Conflict(reason));
        }
        let to = self.migration_target(workload, from, to)?;
        let mut touched = BTreeSet::new();
        let gave_up = local_state(&w.spec);
        let offline = self.nodes.get(from).map(|n| n.presence) == Some(Presence::Offline);
        let mut effects = if offline {
            // By force: it cannot be told to stop before it is heard again.
            self.take_off(workload, from, format!("it went to {to}"), &mut touched);
            let reason = format!("it took over from {from}, which is offline");
            self.place_on(workload, &to, reason, &mut touched);
            let message = format!("{workload} went from {from}, which is offline, to {to}");
            let event = emit(at, "instance_migrated", message).about_node(from);
            vec![event.about_workload(workload).effect()]
        } else {
            self.begin_move(workload, from, &to, MoveWhy::Migrated, at, &mut touched)
        };
        self.moved_by(workload, &to, trace);
        if let Some(state) = gave_up {
            let message = format!("{workload} leaves its local state in {state} on {from} behind");
            let event = emit(at, "local_state_left_behind", message).about_node(from);
            effects.push(event.about_workload(workload).effect());
        }
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    fn migration_target(
        &self,
        workload: &Name,
        from: &Name,
        to: Option<&Name>,
    ) -> Result<Name, Refusal> {
        let Some(to) = to else {
            let target = self.target(workload, from);
            let none = |none: NoTarget| Refusal::Conflict(none.reason);
            return target.map(|(to, _)| to).map_err(none);
        };
        if !self.nodes.contains_key(to) {
            return Err(Refusal::no_node(to));
        }
        if to == from {
            let message = format!("{workload} is on {from} already: name another node");
            return Err(Refusal::Invalid(message));
        }
        let w = self.workloads.get(workload);
        if w.is_some_and(|w| w.placed.contains(to) || w.moves_at(to)) {
            return Err(Refusal::Conflict(format!(
                "{workload} is on {to} too: a node runs one instance of it"
            )));
        }
        match self.obstacle_on(workload, to) {
            Some(reason) => Err(Refusal::Conflict(format!(
                "{to} cannot take {workload}: {reason}"
            ))),
            None => Ok(to.clone()),
        }
    }
}
