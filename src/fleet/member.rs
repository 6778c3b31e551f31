//! Changes to nodes: who takes part, and what a node is.

use super::{Approval, Effect, Fleet, NodeRecord, Refusal, event::emit};
use crate::{
    contract::Seq,
    model::{Name, NodeFacts, Presence, UnixMs},
    planted::{self, Bug},
};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of a node.
const MAX_LABELS: usize = 64;

impl Fleet {
    pub(super) fn enroll(
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
        self.use_token(token)?;
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

    pub(super) fn approve(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        match record.approval {
            Approval::Approved => return Err(Refusal::Unchanged),
            Approval::Revoked => {
                return Err(Refusal::Conflict(format!(
                    "{node} was revoked and its key is not taken again; remove it \
                     (`fleetctl node rm {node}`), delete fleet.json and node.key in its data \
                     directory, and let it join anew with --join"
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

    pub(super) fn revoke(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
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
        let message = format!("{node} was revoked{}", self.lost_with(&placed));
        let mut effects = vec![
            Effect::PublishAccess,
            Effect::PublishWelcome(node.clone()),
            emit(at, "node_revoked", message).about_node(node).effect(),
        ];
        effects.extend(self.leave(node, &placed, at));
        Ok(effects)
    }

    pub(super) fn remove_node(&mut self, node: &Name, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .remove(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        self.revoke_key(record.key);
        let message = format!("{node} was removed{}", self.lost_with(&record.placed));
        let mut effects = vec![
            Effect::PublishAccess,
            Effect::ClearRetained(node.clone()),
            emit(at, "node_removed", message).about_node(node).effect(),
        ];
        effects.extend(self.leave(node, &record.placed, at));
        Ok(effects)
    }

    /// Workloads lost a node for good: moves from there are done, moves to there undone, and what
    /// was there is placed elsewhere.
    fn leave(&mut self, node: &Name, placed: &BTreeSet<Name>, at: UnixMs) -> Vec<Effect> {
        let mut touched = BTreeSet::new();
        let mut effects = Vec::new();
        let moving: Vec<Name> = self.active.iter().cloned().collect();
        for name in moving {
            if self.workloads.get(&name).is_some_and(|w| w.moves_at(node)) {
                effects.extend(self.advance_moves(&name, at, &mut touched));
            }
        }
        for name in placed {
            if let Some(w) = self.workloads.get_mut(name) {
                w.placed.remove(node);
                w.reasons.remove(node);
                w.forget_node(node);
            }
        }
        if !planted::is(Bug::LeavesNothingElsewhere) {
            touched.extend(self.decide(placed.clone()));
        }
        effects.extend(self.reassign(&touched));
        effects
    }

    /// A node came, fell silent, or left.
    pub(super) fn presence_changed(
        &mut self,
        node: &Name,
        presence: Presence,
        session: Seq,
        reason: &str,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let others = self.nodes.len() > 1;
        let ordered = self.changes_agent(node, at);
        let record = self.member_mut(node)?;
        // One that speaks HTTP may leave before it was ever heard, or after it fell silent.
        let leaves = record.http && presence == Presence::Offline;
        let left = leaves && record.presence_reason != reason;
        if record.presence == presence && record.session == session && !left {
            return Err(Refusal::Unchanged);
        }
        let online = presence == Presence::Online;
        // Its first session is no return.
        let returned =
            online && record.presence == Presence::Offline && record.session != Seq::default();
        // Another last will of a node that is offline already makes it no less long offline.
        if record.presence != presence || online {
            record.presence_ms = at + planted::chance(Bug::DecidesByChance);
        }
        record.presence = presence;
        record.session = session;
        record.presence_reason = reason.to_owned();
        let was_damped = record.flaps.damped;
        // Where there is no other node, nothing is gained by sparing this one. What the fleet has
        // ordered is no fault of the node.
        if returned && others && !ordered {
            record.flaps.returned(at);
        }
        let damped = record.flaps.damped && !was_damped;
        let message = match presence {
            Presence::Online => format!("{node} is online"),
            _ => format!("{node} is {presence}: {reason}"),
        };
        let event = emit(at, &format!("node_{presence}"), message);
        let mut effects = vec![event.about_node(node).effect()];
        if damped {
            let message = format!(
                "{node} has come and gone too often: it is given nothing new until it has held \
                 still for a while"
            );
            effects.push(emit(at, "node_damped", message).about_node(node).effect());
        }
        if online {
            effects.extend(self.back(node, at));
            effects.extend(self.place_waiting_on(node));
        }
        effects.extend(self.advance_on(node, at));
        Ok(effects)
    }

    pub(super) fn label(
        &mut self,
        node: &Name,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<Effect>, Refusal> {
        let record = self
            .nodes
            .get_mut(node)
            .ok_or_else(|| Refusal::no_node(node))?;
        let facts = record.facts.iter().flat_map(|f| f.capabilities.keys());
        if let Some(key) = facts
            .into_iter()
            .find(|k| matches!(labels.get(*k), Some(Some(_))))
        {
            return Err(Refusal::Invalid(format!(
                "`{key}` is something that the agent finds out about {node}; choose another key"
            )));
        }
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

    pub(super) fn describe(
        &mut self,
        node: &Name,
        facts: &NodeFacts,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let ordered = self.changes_agent(node, at);
        let record = self.member_mut(node)?;
        if record.facts.as_ref() == Some(facts) {
            return Err(Refusal::Unchanged);
        }
        let before = record.facts.replace(facts.clone());
        let other_agent = before
            .as_ref()
            .is_some_and(|b| b.agent_version != facts.agent_version);
        if other_agent && !ordered {
            // Somebody put another release there: that it went and came is no flap either.
            record.flaps.excuse();
        }
        let mut effects = self.reconsider(node);
        let told = effects.contains(&Effect::PublishAssignment(node.clone()));
        // What it knows decides which settings it is told.
        let features = before.map_or(1, |f| f.features);
        let record = self.nodes.get(node);
        let config = record.map(|record| self.wanted_config(record));
        if !told && config.is_some_and(|c| c.differs_between(features, facts.features)) {
            effects.extend(self.reassign(&BTreeSet::from([node.clone()])));
        }
        Ok(effects)
    }
}
