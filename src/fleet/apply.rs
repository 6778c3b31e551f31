//! `Fleet::apply`: one entry in, effects out.

use super::placement::{KEPT, MATCHES, MAX_ASSIGNED, obstacle, passed_over};
use super::{
    Approval, Candidate, Change, Decision, Effect, Entry, Fleet, FleetEvent, NodeRecord, Refusal,
    WorkloadRecord, place,
};
use crate::{
    contract::MAX_INSTANCES,
    model::{
        AssignedInstance, Assignment, Desired, EngineFact, Name, NodeFacts, ObservedInstance,
        PlacementMode, Presence, UnixMs, Workload,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Workloads in a fleet.
const MAX_WORKLOADS: usize = 10_000;
/// Generations that are believed: JSON numbers are exact below 2^53.
const MAX_GENERATION: u64 = 1 << 53;
/// Bytes of one workload in an assignment.
const MAX_SPEC: usize = 128 * 1024;
/// Labels of a node.
const MAX_LABELS: usize = 64;

impl Fleet {
    /// Applies one entry.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed, and the entry must not be journaled.
    pub fn apply(&mut self, entry: &Entry) -> Result<Vec<Effect>, Refusal> {
        let at = entry.at_ms;
        let effects = match &entry.change {
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
            } => self.enroll(node, key, token, hostname, *approve, at)?,
            Change::NodeApproved { node } => self.approve(node, at)?,
            Change::NodeRevoked { node } => self.revoke(node, at)?,
            Change::NodeRemoved { node } => self.remove_node(node, at)?,
            Change::NodeLabelled { node, labels } => self.label(node, labels)?,
            Change::NodeDescribed { node, facts } => self.describe(node, facts)?,
            Change::NodePresenceChanged {
                node,
                presence,
                session,
                reason,
            } => {
                let record = self.member_mut(node)?;
                if record.presence == *presence && record.session == *session {
                    return Err(Refusal::Unchanged);
                }
                record.presence = *presence;
                record.session = *session;
                record.presence_reason = reason.clone();
                record.presence_ms = at;
                let message = match presence {
                    Presence::Online => format!("{node} is online"),
                    _ => format!("{node} is {presence}: {reason}"),
                };
                let mut effects = vec![
                    emit(at, &format!("node_{presence}"), message)
                        .about_node(node)
                        .effect(),
                ];
                if *presence == Presence::Online {
                    effects.extend(self.place_waiting());
                }
                effects
            }
            Change::StateReported {
                node,
                generation,
                instances,
                engines,
            } => self.report(node, *generation, instances, engines, at)?,
            Change::WorkloadsApplied { workloads } => self.apply_workloads(workloads, at)?,
            Change::WorkloadsRemoved { workloads } => self.remove_workloads(workloads, at)?,
            Change::WorkloadDesired { workload, desired } => {
                self.change_workload(workload, at, |record| {
                    if record.desired == *desired {
                        return None;
                    }
                    record.desired = *desired;
                    Some(match desired {
                        Desired::Running => ("workload_started", format!("{workload} is started")),
                        Desired::Stopped => ("workload_stopped", format!("{workload} is stopped")),
                    })
                })?
            }
            Change::WorkloadRestarted { workload } => {
                self.change_workload(workload, at, |record| {
                    record.restart_count += 1;
                    Some(("workload_restarted", format!("{workload} is restarted")))
                })?
            }
            Change::TokenCreated {
                id,
                name,
                grant,
                expires_ms,
            } => self.create_token(id, name, grant, at, *expires_ms)?,
            Change::TokenRevoked { id } => self.revoke_token(id)?,
            Change::CommandIssued {
                id,
                node,
                order,
                deadline_ms,
            } => self.issue_command(id, node, order, at, *deadline_ms)?,
            Change::CommandFinished { id, outcome } => self.finish_command(id, outcome)?,
        };
        self.version += 1;
        Ok(effects)
    }

    /// What a node must run.
    pub fn assignment(&self, node: &str) -> Option<Assignment> {
        let record = self
            .nodes
            .get(node)
            .filter(|n| n.approval == Approval::Approved)?;
        let assigned = |name: &Name| {
            let w = self.workloads.get(name)?;
            Some(AssignedInstance {
                workload: w.spec.clone(),
                desired: w.desired,
                restart_count: w.restart_count,
            })
        };
        Some(Assignment {
            generation: record.generation,
            instances: record.placed.iter().filter_map(assigned).collect(),
            cfg: self.node_config.clone(),
        })
    }

    pub(super) fn member_mut(&mut self, node: &Name) -> Result<&mut NodeRecord, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .filter(|n| n.approval == Approval::Approved);
        record.ok_or_else(|| Refusal::no_node(node))
    }

    fn enroll(
        &mut self,
        node: &Name,
        key: &str,
        token: &str,
        hostname: &str,
        approve: bool,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        if self.revoked_keys.contains(key) {
            return Err(Refusal::Conflict(format!("the key of {node} was revoked")));
        }
        let twin = self
            .nodes
            .iter()
            .find(|(name, n)| n.key == key && *name != node);
        if let Some((name, _)) = twin {
            return Err(Refusal::Conflict(format!(
                "this machine is {name} already; remove it first (`fleetctl node rm {name}`)"
            )));
        }
        if let Some(known) = self.nodes.get(node) {
            return Err(if known.key == key {
                Refusal::Unchanged
            } else {
                Refusal::Conflict(format!(
                    "the name {node} is taken by another machine; choose another with --name, or \
                     remove that one first (`fleetctl node rm {node}`)"
                ))
            });
        }
        let record = NodeRecord::enrolled(key.into(), token.into(), hostname.into(), at);
        self.nodes.insert(node.clone(), record);
        if approve {
            return self.approve(node, at);
        }
        let message = format!("{node} asks to join: `fleetctl node approve {node}`");
        Ok(vec![
            Effect::PublishWelcome(node.clone()),
            emit(at, "node_waiting", message).about_node(node).effect(),
        ])
    }

    fn approve(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        match record.approval {
            Approval::Approved => return Err(Refusal::Unchanged),
            Approval::Revoked => {
                return Err(Refusal::Conflict(format!(
                    "{node} was revoked and its key is not taken again; remove it \
                     (`fleetctl node rm {node}`), delete its key on the board, and let it join anew"
                )));
            }
            Approval::Pending => record.approval = Approval::Approved,
        }
        let mut effects = vec![
            Effect::PublishWelcome(node.clone()),
            emit(at, "node_joined", format!("{node} joined"))
                .about_node(node)
                .effect(),
        ];
        effects.extend(self.reassign(&BTreeSet::from([node.clone()])));
        Ok(effects)
    }

    fn revoke(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        if record.approval == Approval::Revoked {
            return Err(Refusal::Unchanged);
        }
        record.approval = Approval::Revoked;
        record.presence = Presence::Offline;
        record.presence_reason = "it was revoked".into();
        record.presence_ms = at;
        let (key, placed) = (record.key.clone(), std::mem::take(&mut record.placed));
        self.revoke_key(key);
        let mut effects = vec![
            Effect::PublishAccess,
            Effect::PublishWelcome(node.clone()),
            emit(at, "node_revoked", format!("{node} was revoked"))
                .about_node(node)
                .effect(),
        ];
        effects.extend(self.leave(node, &placed));
        Ok(effects)
    }

    fn remove_node(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .remove(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        self.revoke_key(record.key);
        let mut effects = vec![
            Effect::PublishAccess,
            Effect::ClearRetained(node.clone()),
            emit(at, "node_removed", format!("{node} was removed"))
                .about_node(node)
                .effect(),
        ];
        effects.extend(self.leave(node, &record.placed));
        Ok(effects)
    }

    /// Workloads lost a node.
    fn leave(&mut self, node: &Name, placed: &BTreeSet<Name>) -> Vec<Effect> {
        for name in placed {
            if let Some(w) = self.workloads.get_mut(name) {
                w.placed.remove(node);
            }
        }
        self.place_all(placed.clone())
    }

    fn label(
        &mut self,
        node: &Name,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        let mut next = record.labels.clone();
        for (key, value) in labels {
            match value {
                Some(value) => next.insert(key.clone(), value.clone()),
                None => next.remove(key),
            };
        }
        if next == record.labels {
            return Err(Refusal::Unchanged);
        }
        if next.len() > MAX_LABELS {
            return Err(Refusal::Invalid(format!(
                "a node has at most {MAX_LABELS} labels"
            )));
        }
        record.labels = next;
        Ok(self.reconsider(node))
    }

    fn describe(&mut self, node: &Name, facts: &NodeFacts) -> Result<Vec<Effect>, Refusal> {
        let record = self.member_mut(node)?;
        if record.facts.as_ref() == Some(facts) {
            return Err(Refusal::Unchanged);
        }
        record.facts = Some(facts.clone());
        Ok(self.reconsider(node))
    }

    fn report(
        &mut self,
        node: &Name,
        generation: u64,
        instances: &[ObservedInstance],
        engines: &[EngineFact],
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        if instances.len() > MAX_INSTANCES {
            return Err(Refusal::Invalid(format!(
                "{node} reports too many instances"
            )));
        }
        let record = self.member_mut(node)?;
        let next: BTreeMap<Name, ObservedInstance> = instances
            .iter()
            .map(|i| (i.workload.clone(), i.clone()))
            .collect();
        if record.observed == next
            && record.observed_generation == generation
            && record.engines == engines
        {
            return Err(Refusal::Unchanged);
        }
        let mut effects = Vec::new();
        for (name, now) in &next {
            let before = record.observed.get(name).map(|o| o.state);
            if before != Some(now.state) {
                let why = now
                    .reason
                    .as_ref()
                    .map(|r| format!(": {r}"))
                    .unwrap_or_default();
                let message = format!("{name} on {node} is {}{why}", now.state);
                let event = emit(at, &format!("instance_{}", now.state), message);
                effects.push(event.about_node(node).about_workload(name).effect());
            }
        }
        for name in record.observed.keys().filter(|n| !next.contains_key(*n)) {
            let event = emit(
                at,
                "instance_removed",
                format!("{name} was removed from {node}"),
            );
            effects.push(event.about_node(node).about_workload(name).effect());
        }
        record.observed = next;
        record.observed_generation = generation;
        record.engines = engines.to_vec();
        record.observed_ms = at;
        // The node obeyed assignments that this fleet does not remember, as after a restore of an
        // older backup. It refuses lower generations, so the next one must be higher.
        if (record.generation + 1..MAX_GENERATION).contains(&generation) {
            record.generation = generation + 1;
            effects.push(Effect::PublishAssignment(node.clone()));
        }
        Ok(effects)
    }

    fn apply_workloads(
        &mut self,
        workloads: &[Workload],
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
            return Err(Refusal::Invalid(format!(
                "a fleet has at most {MAX_WORKLOADS} workloads"
            )));
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
                desired: Desired::Running,
                restart_count: 0,
                revision: 0,
                applied_ms: at,
                placed: BTreeSet::new(),
                missing: 0,
                reasons: BTreeMap::new(),
            });
            record.spec = Arc::new(workload.clone());
            record.spec_hash = workload.spec_hash();
            record.encoded_len = workload.encoded_len();
            record.revision += 1;
            record.applied_ms = at;
            touched.extend(record.placed.iter().cloned());
            self.workloads.insert(name.clone(), record);
            let verb = if known { "changed to" } else { "added as" };
            let message = format!("{name} was {verb} {}", workload.version);
            effects.push(
                emit(at, "workload_applied", message)
                    .about_workload(&name)
                    .effect(),
            );
            names.insert(name);
        }
        touched.extend(self.decide(names));
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    fn remove_workloads(&mut self, names: &[Name], at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        if let Some(unknown) = names.iter().find(|n| !self.workloads.contains_key(*n)) {
            return Err(Refusal::no_workload(unknown));
        }
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
        Ok(effects)
    }

    fn change_workload(
        &mut self,
        name: &Name,
        at: UnixMs,
        change: impl FnOnce(&mut WorkloadRecord) -> Option<(&'static str, String)>,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .workloads
            .get_mut(name)
            .ok_or_else(|| Refusal::no_workload(name))?;
        let (event, message) = change(record).ok_or(Refusal::Unchanged)?;
        let touched = record.placed.clone();
        let mut effects = vec![emit(at, event, message).about_workload(name).effect()];
        effects.extend(self.reassign(&touched));
        Ok(effects)
    }

    /// Decides anew for what waits for a node.
    fn place_waiting(&mut self) -> Vec<Effect> {
        let waiting = self.workloads.iter().filter(|(_, w)| w.missing > 0);
        let names = waiting.map(|(name, _)| name.clone()).collect();
        self.place_all(names)
    }

    /// One node has changed: decides anew only where that can change something, so that it costs
    /// the same however many other nodes there are.
    fn reconsider(&mut self, node: &Name) -> Vec<Effect> {
        let Some(candidate) = self.candidate(node) else {
            return Vec::new();
        };
        let mut whole = BTreeSet::new();
        let mut here = Vec::new();
        for (name, w) in &self.workloads {
            let kept = w.placed.contains(node);
            let every = w.spec.placement.mode == PlacementMode::Every;
            match (obstacle(&w.spec, w.encoded_len, &candidate, kept), kept) {
                (None, true) => here.push((name.clone(), true, KEPT.to_owned())),
                (None, false) if every => here.push((name.clone(), true, MATCHES.to_owned())),
                (None, false) if w.missing == 0 => {
                    here.push((name.clone(), false, passed_over(&candidate)));
                }
                (Some(reason), _) if every || !kept => here.push((name.clone(), false, reason)),
                _ => {
                    whole.insert(name.clone());
                }
            }
        }
        let mut touched = self.decide(whole);
        for (name, placed, reason) in here {
            let Some(w) = self.workloads.get_mut(&name) else {
                continue;
            };
            w.reasons.insert(node.clone(), reason);
            let moved = if placed {
                w.placed.insert(node.clone())
            } else {
                w.placed.remove(node)
            };
            let Some(n) = self.nodes.get_mut(node).filter(|_| moved) else {
                continue;
            };
            if placed {
                n.placed.insert(name);
            } else {
                n.placed.remove(&name);
            }
            touched.insert(node.clone());
        }
        self.reassign(&touched)
    }

    fn place_all(&mut self, names: BTreeSet<Name>) -> Vec<Effect> {
        let touched = self.decide(names);
        self.reassign(&touched)
    }

    /// Decides where `names` go; the nodes for which that changed something.
    fn decide(&mut self, names: BTreeSet<Name>) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for name in names {
            let Some(record) = self.workloads.get(&name) else {
                continue;
            };
            let decision = place(&record.spec, &record.placed, &self.candidates());
            touched.extend(self.settle(&name, decision));
        }
        touched
    }

    fn settle(&mut self, name: &Name, decision: Decision) -> BTreeSet<Name> {
        let Some(record) = self.workloads.get_mut(name) else {
            return BTreeSet::new();
        };
        let differ: BTreeSet<Name> = record
            .placed
            .symmetric_difference(&decision.nodes)
            .cloned()
            .collect();
        for node in &differ {
            if let Some(n) = self.nodes.get_mut(node) {
                if decision.nodes.contains(node) {
                    n.placed.insert(name.clone());
                } else {
                    n.placed.remove(name);
                }
            }
        }
        record.placed = decision.nodes;
        record.missing = decision.missing;
        record.reasons = decision.reasons;
        differ
    }

    /// The approved nodes as placement sees them.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        self.nodes
            .keys()
            .filter_map(|name| self.candidate(name))
            .collect()
    }

    /// One of them.
    fn candidate(&self, node: &Name) -> Option<Candidate<'_>> {
        let (name, n) = self.nodes.get_key_value(node)?;
        let placed = n.placed.iter().filter_map(|w| self.workloads.get(w));
        let reserved = placed.filter_map(|w| w.spec.resources.memory).sum();
        (n.approval == Approval::Approved).then(|| Candidate {
            name,
            presence: n.presence,
            properties: n.properties(),
            described: n.facts.is_some(),
            instances: n.placed.len(),
            memory_reserved: reserved,
            memory_total: n.facts.as_ref().map_or(0, |f| f.memory_total),
            assigned_bytes: self.assigned_bytes(n),
        })
    }

    fn assigned_bytes(&self, node: &NodeRecord) -> usize {
        let placed = node.placed.iter().filter_map(|w| self.workloads.get(w));
        placed.map(|w| w.encoded_len).sum()
    }

    /// Nothing may be accepted that its nodes could not be told.
    fn check_sizes(&self, changed: &[&Workload]) -> Result<(), Refusal> {
        let mut grown: BTreeMap<&Name, usize> = BTreeMap::new();
        for workload in changed {
            let len = workload.encoded_len();
            if len > MAX_SPEC {
                return Err(Refusal::Invalid(format!(
                    "{} is too large ({len} bytes; at most {MAX_SPEC} are taken): put what is \
                     large into the image or a volume",
                    workload.name
                )));
            }
            let Some(record) = self.workloads.get(&workload.name) else {
                continue;
            };
            for node in &record.placed {
                let more = len.saturating_sub(record.encoded_len);
                *grown.entry(node).or_default() += more;
            }
        }
        for (name, more) in grown {
            let now = self.nodes.get(name).map_or(0, |n| self.assigned_bytes(n));
            if more > 0 && now + more > MAX_ASSIGNED {
                return Err(Refusal::Invalid(format!(
                    "the assignment of {name} would become too large for one message"
                )));
            }
        }
        Ok(())
    }

    /// The assignments of `nodes` have changed.
    fn reassign(&mut self, nodes: &BTreeSet<Name>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in nodes {
            if let Ok(node) = self.member_mut(name) {
                node.generation += 1;
                effects.push(Effect::PublishAssignment(name.clone()));
            }
        }
        effects
    }
}

/// An event under construction.
fn emit(at: UnixMs, event: &str, message: String) -> FleetEvent {
    FleetEvent {
        at,
        event: event.to_owned(),
        node: None,
        workload: None,
        message,
    }
}

impl FleetEvent {
    fn about_node(mut self, node: &Name) -> Self {
        self.node = Some(node.clone());
        self
    }

    fn about_workload(mut self, workload: &Name) -> Self {
        self.workload = Some(workload.clone());
        self
    }

    fn effect(self) -> Effect {
        Effect::Emit(self)
    }
}
