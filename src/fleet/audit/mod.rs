//! What a person's change changes, field by field, for the audit trail: pure, and computed from the
//! fleet as it is before the change.
//!
//! It says what was asked for, not everything that follows from it: of an apply the fields of the
//! workloads that differ, not the nodes that they then go to. Secrets are not in it: of tokens
//! neither secret nor digest, of what lies under a name like `DB_PASSWORD` only the first 8 hex
//! digits of its SHA-256, so that a change shows.

#[cfg(test)]
mod tests;
mod text;

use super::{
    Approval, Change, Drain, Fleet, NodeRecord, RolloutOrder, RolloutPhase, TokenGrant,
    TokenRecord, WorkloadRecord, plan::differences,
};
use crate::{
    alert::{Matcher, Silence},
    model::{Artifact, Name, NodeConfig, UnixMs, Workload},
    support::utc,
};
use serde_json::Value;
use text::{Fields, Text, leaves, leaves_of};

impl Fleet {
    /// What `change` changes, where it is taken now. `None`: nothing that could be said.
    pub fn what_changes(&self, change: &Change) -> Option<String> {
        let mut text = Text::default();
        self.say(change, &mut text);
        text.finish()
    }

    fn say(&self, change: &Change, text: &mut Text) {
        let node = |node: &Name| self.node(node.as_str());
        match change {
            Change::Configured { node_config } => {
                text.section("settings of all nodes");
                text.things(&self.node_config, node_config);
            }
            Change::FleetConfigured { config } => {
                text.section("how the fleet is run");
                text.things(&self.config, config);
            }
            Change::NodeEnrolled {
                node,
                token,
                hostname,
                approve,
                http,
                key: _,
            } => {
                let approval = match approve {
                    true => Approval::Approved,
                    false => Approval::Pending,
                };
                text.section(format!("node {node}"));
                added(text, "hostname", hostname);
                added(text, "approval", approval);
                added(text, "joined_with", token);
                added(text, "http", http);
            }
            Change::NodeApproved { node: name } => {
                approval(text, name, node(name), Approval::Approved);
            }
            Change::NodeRevoked { node: name } => {
                approval(text, name, node(name), Approval::Revoked);
            }
            Change::NodeRemoved { node: name } => {
                if let Some(record) = node(name) {
                    text.section(format!("node {name}"));
                    text.fields(&whole_node(record), &Fields::new());
                }
            }
            Change::NodeLabelled { node: name, labels } => {
                text.section(format!("node {name}"));
                let known = node(name).map(|n| &n.labels);
                for (key, value) in labels {
                    let before = known.and_then(|labels| labels.get(key));
                    text.field(&format!("labels.{key}"), before, value);
                }
            }
            Change::NodeConfigured { node: name, config } => {
                let own = node(name).and_then(|n| n.config.as_ref());
                text.section(format!("node {name}"));
                self.say_settings(text, own, config.as_ref());
            }
            Change::WorkloadsApplied { workloads, removed } => {
                self.say_applied(text, workloads);
                self.say_removed(text, removed);
            }
            Change::WorkloadsRemoved { workloads } => self.say_removed(text, workloads),
            Change::WorkloadDesired { workload, desired } => {
                if let Some(record) = self.of_workload(text, workload) {
                    text.field("desired", record.desired, desired);
                }
            }
            Change::WorkloadRestarted { workload } => {
                if let Some(record) = self.of_workload(text, workload) {
                    let count = record.restart_count;
                    text.field("restarts_ordered", count, count.saturating_add(1));
                }
            }
            Change::NodeCordoned {
                node: name,
                cordoned,
            } => {
                text.section(format!("node {name}"));
                let before = node(name).is_some_and(|n| n.cordoned);
                text.field("cordoned", before, cordoned);
            }
            Change::NodeDrained { node: name, drain } => {
                text.section(format!("node {name}"));
                let before = node(name).and_then(|n| n.drain.as_ref());
                text.field("draining", before.is_some(), drain.is_some());
                text.field("draining_by_force", before.map(|d: &Drain| d.force), drain);
            }
            Change::NodeReserved {
                node: name,
                reserved,
            } => {
                text.section(format!("node {name}"));
                let before = node(name).map(|n| n.reserved).unwrap_or_default();
                text.field("reserved", before, reserved);
            }
            Change::InstanceMigrated {
                workload,
                from,
                to,
                force,
            } => {
                text.section(format!("workload {workload}"));
                let to = to.as_ref().map_or("the best of the others", Name::as_str);
                text.field("node", from, to);
                text.field("force", None::<bool>, force.then_some(true));
            }
            Change::Rebalanced { moves } => {
                for one in moves {
                    text.section(format!("workload {}", one.workload));
                    text.field("node", &one.from, &one.to);
                    if text.is_full() {
                        return;
                    }
                }
            }
            Change::RolloutOrdered { workload, order } => {
                if let Some(record) = self.of_workload(text, workload) {
                    say_order(text, record, order);
                }
            }
            Change::TokenCreated {
                id,
                name,
                grant,
                expires_ms,
                ..
            } => {
                text.section(format!("token {id}"));
                text.fields(&Fields::new(), &token(name, grant, *expires_ms));
            }
            Change::TokenRevoked { id } => {
                if let Some(record) = self.tokens.get(id) {
                    let TokenRecord {
                        name,
                        grant,
                        expires_ms,
                        ..
                    } = record;
                    text.section(format!("token {id}"));
                    text.fields(&token(name, grant, *expires_ms), &Fields::new());
                }
            }
            Change::CommandIssued { node, order, .. } => {
                text.section(format!("node {node}"));
                text.field("", None::<bool>, order);
            }
            Change::AlertSilenced {
                alert,
                until_ms,
                comment,
            } => {
                let before = self.say_silence(text, alert);
                text.field("until", before.map(|s| time(s.until_ms)), time(*until_ms));
                let comment = Some(comment).filter(|c| !c.is_empty());
                text.field("comment", before.map(|s| &s.comment), comment);
            }
            Change::AlertUnsilenced { alert } => {
                if let Some(before) = self.say_silence(text, alert) {
                    text.field("until", time(before.until_ms), None::<String>);
                    text.field("comment", &before.comment, None::<String>);
                }
            }
            Change::ArtifactAdded { artifact } => {
                let id = artifact.id();
                let before = self.artifacts().get(&id).map(|r| &r.artifact);
                text.section(id);
                text.field("", before, Some(artifact));
            }
            Change::ArtifactRemoved { id } => {
                text.section(id.clone());
                let before = self.artifacts().get(id).map(|r| &r.artifact);
                text.field("", before, None::<&Artifact>);
            }
            // What nobody orders: the audit trail has none of it.
            Change::NodeDescribed { .. }
            | Change::NodePresenceChanged { .. }
            | Change::StateReported { .. }
            | Change::StateChanged { .. }
            | Change::CommandFinished { .. }
            | Change::TimePassed {} => {}
        }
    }

    fn of_workload(&self, text: &mut Text, name: &Name) -> Option<&WorkloadRecord> {
        text.section(format!("workload {name}"));
        self.workload(name.as_str())
    }

    fn say_silence(&self, text: &mut Text, alert: &str) -> Option<&Silence> {
        // As the fleet writes it.
        let of = Matcher::parse(alert).map_or_else(|_| alert.to_owned(), |m| m.to_string());
        text.section(format!("silence of {of}"));
        self.silences().get(&of)
    }

    fn say_settings(&self, text: &mut Text, own: Option<&NodeConfig>, other: Option<&NodeConfig>) {
        let whose = |config: Option<&NodeConfig>| match config {
            Some(_) => "its own",
            None => "the fleet's",
        };
        text.field("settings", whose(own), whose(other));
        let effective =
            |config| leaves_json("config", Option::unwrap_or(config, &self.node_config));
        text.fields(&effective(own), &effective(other));
    }

    fn say_applied(&self, text: &mut Text, workloads: &[Workload]) {
        for workload in workloads {
            let known = self.workload(workload.name.as_str());
            if known.is_some_and(|r| *r.spec == *workload) {
                continue;
            }
            text.section(format!("workload {}", workload.name));
            match known {
                Some(record) => say_differences(text, &record.spec, workload),
                None => text.fields(&Fields::new(), &whole(workload)),
            }
            if text.is_full() {
                return;
            }
        }
    }

    fn say_removed(&self, text: &mut Text, names: &[Name]) {
        for name in names {
            if text.is_full() {
                return;
            }
            if let Some(record) = self.of_workload(text, name) {
                text.fields(&whole(&record.spec), &Fields::new());
            }
        }
    }
}

fn added(text: &mut Text, path: &str, value: impl serde::Serialize) {
    text.field(path, None::<bool>, value);
}

fn approval(text: &mut Text, name: &Name, record: Option<&NodeRecord>, to: Approval) {
    text.section(format!("node {name}"));
    text.field("approval", record.map(|n| n.approval), to);
}

fn say_order(text: &mut Text, record: &WorkloadRecord, order: &RolloutOrder) {
    let rollout = record.rollout.as_ref();
    let phase = rollout.map(|r| r.phase);
    match order {
        RolloutOrder::Pause => text.field("rollout.paused", false, true),
        RolloutOrder::Resume if phase == Some(RolloutPhase::Aborted) => {
            text.field("rollout.phase", phase, RolloutPhase::Canary);
        }
        RolloutOrder::Resume => text.field("rollout.paused", true, false),
        RolloutOrder::Promote => text.field("rollout.phase", phase, RolloutPhase::Rolling),
        RolloutOrder::Abort => text.field("rollout.phase", phase, RolloutPhase::Aborted),
        RolloutOrder::Rollback { to } => {
            let Some(target) = record.back_to(*to) else {
                return;
            };
            text.field("revision", record.revision, target);
            say_differences(text, &record.spec, record.spec_at(target));
        }
    }
}

/// Field by field, as the plan finds them.
fn say_differences(text: &mut Text, from: &Workload, to: &Workload) {
    let (mut before, mut after) = (Fields::new(), Fields::new());
    for field in differences(from, to) {
        leaves(&field.field, &field.from, &mut before);
        leaves(&field.field, &field.to, &mut after);
    }
    text.fields(&before, &after);
}

/// Every field of a workload that somebody has said something in.
fn whole(workload: &Workload) -> Fields {
    let unsaid = Workload::new(workload.name.clone(), workload.run.clone());
    let unsaid = leaves_json("", &unsaid);
    let mut fields = leaves_json("", workload);
    fields.retain(|path, value| {
        path.starts_with("run.") || path == "version" || unsaid.get(path) != Some(value)
    });
    fields
}

fn leaves_json(path: &str, value: &impl serde::Serialize) -> Fields {
    leaves_of(path, &serde_json::to_value(value).unwrap_or_default())
}

/// What goes with a node.
fn whole_node(record: &NodeRecord) -> Fields {
    let mut fields = Fields::new();
    let mut put = |path: &str, value: Result<Value, serde_json::Error>| {
        leaves(path, &value.unwrap_or_default(), &mut fields);
    };
    put("hostname", serde_json::to_value(&record.hostname));
    put("approval", serde_json::to_value(record.approval));
    put("labels", serde_json::to_value(&record.labels));
    put("config", serde_json::to_value(&record.config));
    put("placed", serde_json::to_value(&record.placed));
    if record.cordoned {
        put("cordoned", Ok(Value::Bool(true)));
    }
    if record.reserved != super::Reserved::default() {
        put("reserved", serde_json::to_value(record.reserved));
    }
    fields
}

/// As people read it.
fn time(unix_ms: UnixMs) -> String {
    format!("{} UTC", utc(unix_ms))
}

/// What everybody may know of a token.
fn token(name: &str, grant: &TokenGrant, expires_ms: UnixMs) -> Fields {
    let mut fields = Fields::new();
    let mut put = |path: &str, value: Value| fields.insert(path.to_owned(), value);
    match grant {
        TokenGrant::Join => {
            put("kind", "join".into());
        }
        TokenGrant::Api { role, digest: _ } => {
            put("kind", "api".into());
            put("role", role.to_string().into());
        }
    }
    if !name.is_empty() {
        put("name", name.into());
    }
    let expires = match expires_ms {
        0 => Value::from("never"),
        ms => Value::from(time(ms)),
    };
    put("expires", expires);
    fields
}
