//! `Fleet::apply`: one entry in, effects out.

use super::{
    Actor, Approval, Change, Effect, Entry, Fleet, NodeRecord, Refusal, WorkloadRecord,
    event::emit,
    report::Difference,
    rollout::{Doer, News, Person, check_windows, take_spec},
};
use crate::model::{Assignment, Desired, Name, TraceContext, UnixMs, Workload};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Workloads in a fleet.
const MAX_WORKLOADS: usize = 10_000;

impl Fleet {
    /// Applies one entry.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed, and the entry must not be journaled.
    pub fn apply(&mut self, entry: &Entry) -> Result<Vec<Effect>, Refusal> {
        let at = entry.at_ms;
        let trace = entry.by.as_ref().and_then(|actor| actor.trace);
        let mut effects = match &entry.change {
            Change::Configured { node_config } => {
                if self.node_config == *node_config {
                    return Err(Refusal::Unchanged);
                }
                self.node_config = node_config.clone();
                let members = self
                    .nodes
                    .iter()
                    .filter(|(_, n)| n.approval == Approval::Approved);
                let members: BTreeSet<Name> = members.map(|(name, _)| name.clone()).collect();
                self.reassign(&members)
            }
            Change::NodeEnrolled {
                node,
                key,
                token,
                hostname,
                approve,
                http,
            } => {
                let effects = self.enroll(node, key, token, hostname, *approve, at)?;
                if let Some(record) = self.nodes.get_mut(node) {
                    record.http = *http;
                }
                effects
            }
            Change::NodeApproved { node } => self.approve(node, at)?,
            Change::NodeRevoked { node } => self.revoke(node, at)?,
            Change::NodeRemoved { node } => self.remove_node(node, at)?,
            Change::NodeLabelled { node, labels } => self.label(node, labels)?,
            Change::NodeConfigured { node, config } => {
                self.configure_node(node, config.as_ref())?
            }
            Change::NodeDescribed { node, facts } => self.describe(node, facts, at)?,
            Change::NodePresenceChanged {
                node,
                presence,
                session,
                reason,
            } => self.presence_changed(node, *presence, *session, reason, at)?,
            Change::StateReported {
                node,
                generation,
                instances,
                engines,
            } => {
                let mut effects = self.report(node, *generation, instances, engines, at)?;
                effects.extend(self.advance_on(node, at));
                effects
            }
            Change::StateChanged {
                node,
                generation,
                changed,
                gone,
                engines,
            } => {
                let difference = Difference {
                    generation: *generation,
                    changed: changed.iter().collect(),
                    gone: gone.clone(),
                    engines: engines.as_deref(),
                };
                let mut effects = self.take_difference(node, &difference, at)?;
                effects.extend(self.advance_on(node, at));
                effects
            }
            Change::WorkloadsApplied { workloads, removed } => {
                self.apply_and_remove(workloads, removed, entry.by.as_ref(), at)?
            }
            Change::WorkloadsRemoved { workloads } => self.remove_workloads(workloads, at)?,
            Change::WorkloadDesired { workload, desired } => {
                let what = match desired {
                    Desired::Running => "started",
                    Desired::Stopped => "stopped",
                };
                self.refuse_agent(workload, what)?;
                let mut effects = self.change_workload(workload, trace, at, |record| {
                    if record.desired == *desired {
                        return None;
                    }
                    record.desired = *desired;
                    Some(match desired {
                        Desired::Running => ("workload_started", format!("{workload} is started")),
                        Desired::Stopped => ("workload_stopped", format!("{workload} is stopped")),
                    })
                })?;
                self.restart_rollout_times(workload, at);
                if self.active.contains(workload) {
                    effects.extend(self.advance(&BTreeSet::from([workload.clone()]), at));
                }
                effects
            }
            Change::WorkloadRestarted { workload } => {
                self.refuse_agent(workload, "restarted by the fleet")?;
                self.change_workload(workload, trace, at, |record| {
                    record.restart_count += 1;
                    Some(("workload_restarted", format!("{workload} is restarted")))
                })?
            }
            Change::FleetConfigured { config } => {
                if self.config == *config {
                    return Err(Refusal::Unchanged);
                }
                self.config = config.clone();
                Vec::new()
            }
            Change::NodeCordoned { node, cordoned } => self.cordon(node, *cordoned, at)?,
            Change::NodeDrained { node, drain } => self.drain(node, *drain, at)?,
            Change::NodeReserved { node, reserved } => self.reserve(node, *reserved)?,
            Change::InstanceMigrated {
                workload,
                from,
                to,
                force,
            } => self.migrate(workload, from, to.as_ref(), *force, trace, at)?,
            Change::Rebalanced { moves } => self.rebalance(moves, trace, at)?,
            Change::RolloutOrdered { workload, order } => {
                let by = Person::of(entry.by.as_ref());
                self.order_rollout(workload, order, by, at)?
            }
            Change::TimePassed {} => self.time_passed(at)?,
            Change::TokenCreated {
                id,
                name,
                grant,
                expires_ms,
                uses,
            } => self.create_token(id, name, grant, at, *expires_ms, *uses)?,
            Change::TokenRevoked { id } => self.revoke_token(id, at)?,
            Change::CommandIssued {
                id,
                node,
                order,
                deadline_ms,
            } => self.issue_command(id, node, order, trace, at, *deadline_ms)?,
            Change::CommandFinished { id, outcome } => self.finish_command(id, outcome)?,
            Change::AlertSilenced {
                alert,
                until_ms,
                comment,
            } => self.silence(alert, *until_ms, comment, entry.by.as_ref(), at)?,
            Change::AlertUnsilenced { alert } => self.unsilence(alert, at)?,
            Change::ArtifactAdded { artifact } => {
                self.add_artifact(artifact, entry.by.as_ref(), at)?
            }
            Change::ArtifactRemoved { id } => self.remove_artifact(id)?,
        };
        effects.extend(self.look_after(&entry.change, at));
        effects.extend(self.advance_misplaced(at));
        self.version += 1;
        Ok(effects)
    }

    /// What a node must run.
    pub fn assignment(&self, node: &str) -> Option<Assignment> {
        let record = self
            .nodes
            .get(node)
            .filter(|n| n.approval == Approval::Approved)?;
        let (node, _) = self.nodes.get_key_value(node)?;
        let mut room = self.room_for_guards(node, record);
        let assigned = |name: &Name| {
            let w = self.workloads.get(name)?;
            (!w.held_back_on(node.as_str())).then(|| w.told(node, record, &mut room))
        };
        Some(Assignment {
            generation: record.generation,
            instances: record.placed.iter().filter_map(assigned).collect(),
            cfg: self.told_config(record),
        })
    }

    pub(super) fn member_mut(&mut self, node: &Name) -> Result<&mut NodeRecord, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .filter(|n| n.approval == Approval::Approved);
        record.ok_or_else(|| Refusal::no_node(node))
    }

    /// Both or neither.
    fn apply_and_remove(
        &mut self,
        workloads: &[Workload],
        removed: &[Name],
        by: Option<&Actor>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        workloads.iter().try_for_each(check_windows)?;
        Fleet::check_agent(workloads)?;
        if let Some(unknown) = removed.iter().find(|n| !self.workloads.contains_key(*n)) {
            return Err(Refusal::no_workload(unknown));
        }
        if let Some(both) = workloads.iter().find(|w| removed.contains(&w.name)) {
            let message = format!("{} cannot be applied and removed at once", both.name);
            return Err(Refusal::Invalid(message));
        }
        self.check_order(workloads, removed)?;
        if removed.is_empty() {
            return self.apply_workloads(workloads, by, at);
        }
        // What goes makes room for what comes. Refused by its size, nothing is removed either.
        let changed: Vec<&Workload> = workloads.iter().collect();
        self.check_sizes(&changed)?;
        let added = changed
            .iter()
            .filter(|w| !self.workloads.contains_key(&w.name));
        if self.workloads.len() - removed.len() + added.count() > MAX_WORKLOADS {
            return Err(too_many());
        }
        self.check_removed(removed, workloads)?;
        let mut effects = self.take_away(removed, at);
        match self.apply_workloads(workloads, by, at) {
            Ok(more) => effects.extend(more),
            Err(Refusal::Unchanged) => {}
            Err(other) => return Err(other),
        }
        Ok(effects)
    }

    fn apply_workloads(
        &mut self,
        workloads: &[Workload],
        by: Option<&Actor>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let unchanged = |w: &&Workload| self.workloads.get(&w.name).is_some_and(|r| *r.spec == **w);
        let changed: Vec<&Workload> = workloads.iter().filter(|w| !unchanged(w)).collect();
        if changed.is_empty() {
            return Err(Refusal::Unchanged);
        }
        let added = changed
            .iter()
            .filter(|w| !self.workloads.contains_key(&w.name))
            .count();
        if self.workloads.len() + added > MAX_WORKLOADS {
            return Err(too_many());
        }
        self.check_sizes(&changed)?;
        let mut effects = Vec::new();
        let mut names = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for workload in changed {
            let name = workload.name.clone();
            let before = self.workloads.remove(&name);
            let known = before.is_some();
            let mut record = before.unwrap_or_else(|| WorkloadRecord {
                spec: Arc::new(workload.clone()),
                spec_hash: String::new(),
                encoded_len: 0,
                names: BTreeSet::new(),
                desired: Desired::Running,
                restart_count: 0,
                revision: 0,
                applied_ms: at,
                placed: BTreeSet::new(),
                missing: 0,
                reasons: BTreeMap::new(),
                history: Vec::new(),
                at: BTreeMap::new(),
                on_trial: BTreeMap::new(),
                rollout: None,
                moves: BTreeMap::new(),
                last_chosen: None,
                trace: None,
                traces: BTreeMap::new(),
            });
            let doer = Doer {
                by: Person::of(by),
                guarded: true,
            };
            let spec = Arc::new(workload.clone());
            let begun = take_spec(&self.nodes, &mut record, spec, doer, at, &mut touched);
            self.workloads.insert(name.clone(), record);
            let verb = if known { "changed to" } else { "added as" };
            let message = format!("{name} was {verb} {}", workload.version);
            effects.push(
                emit(at, "workload_applied", message)
                    .about_workload(&name)
                    .effect(),
            );
            effects.extend(begun);
            names.insert(name);
        }
        touched.extend(self.decide(names.clone()));
        names.retain(|n| {
            self.active.contains(n) || self.workloads.get(n).is_some_and(|w| w.goes_on())
        });
        effects.extend(self.advance_all(&names, News::All, at, &mut touched));
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    fn remove_workloads(&mut self, names: &[Name], at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        if let Some(unknown) = names.iter().find(|n| !self.workloads.contains_key(*n)) {
            return Err(Refusal::no_workload(unknown));
        }
        self.check_removal(names, &[])?;
        Ok(self.take_away(names, at))
    }

    fn take_away(&mut self, names: &[Name], at: UnixMs) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut touched = BTreeSet::new();
        for name in names {
            let Some(record) = self.workloads.remove(name) else {
                continue;
            };
            for node in &record.placed {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.placed.remove(name);
                }
            }
            touched.extend(record.placed);
            let event = emit(at, "workload_removed", format!("{name} was removed"));
            effects.push(event.about_workload(name).effect());
        }
        effects.extend(self.reassign(&touched));
        effects
    }

    fn change_workload(
        &mut self,
        name: &Name,
        trace: Option<TraceContext>,
        at: UnixMs,
        change: impl FnOnce(&mut WorkloadRecord) -> Option<(&'static str, String)>,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .workloads
            .get_mut(name)
            .ok_or_else(|| Refusal::no_workload(name))?;
        let (event, message) = change(record).ok_or(Refusal::Unchanged)?;
        record.requested(trace);
        let touched = record.placed.clone();
        let mut effects = vec![emit(at, event, message).about_workload(name).effect()];
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }
}

fn too_many() -> Refusal {
    Refusal::Invalid(format!("a fleet has at most {MAX_WORKLOADS} workloads"))
}
