//! Makes an [`Observation`]: copies what rules need out of the fleet, and then out of what nodes
//! said last. Neither lock is held while the other is, nor for longer than the copying takes.

use super::super::{Controller, Live};
use crate::{
    alert::{
        CertificateSeen, Condition, InstanceSeen, Measured, NodeSeen, Observation, RolloutSeen,
        Rule, ValueOf,
    },
    fleet::{Approval, Fleet, NodeRecord, Rollout, RolloutPhase, WorkloadRecord},
    identity,
    model::{Heartbeat, InstanceState, Metric, Name, ObservedInstance},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What rules need of a look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    /// Labels and capabilities of nodes.
    properties: bool,
    /// What is on nodes.
    instances: bool,
    /// Values of the heartbeat.
    heartbeats: bool,
    /// Values of telemetry.
    telemetry: BTreeSet<(Metric, String)>,
}

impl Asked {
    pub(super) fn by(rules: &[Rule]) -> Asked {
        let mut asked = Asked::default();
        for rule in rules.iter().filter(|r| r.enabled) {
            asked.properties |= !rule.nodes.is_empty();
            asked.instances |= rule.when.is_about_instances();
            match &rule.when {
                Condition::Telemetry { metric, value, .. } => {
                    asked.telemetry.insert((*metric, value.clone()));
                }
                when => asked.heartbeats |= when.limit().is_some(),
            }
        }
        asked
    }
}

/// How everything is now, beside the journal.
pub(super) fn look(c: &Controller, asked: &Asked) -> Observation {
    let mut seen = of_fleet(&c.fleet(), asked);
    of_live(&c.live, asked, &mut seen.nodes);
    seen.certificates = certificates(c);
    seen
}

/// What the fleet remembers.
pub(super) fn of_fleet(fleet: &Fleet, asked: &Asked) -> Observation {
    let mut seen = Observation::default();
    for (name, record) in fleet.nodes() {
        if record.approval != Approval::Approved {
            continue;
        }
        let instances = match asked.instances {
            true => instances(fleet, record),
            false => BTreeMap::new(),
        };
        let node = NodeSeen {
            presence: record.presence,
            presence_ms: record.presence_ms,
            reason: record.presence_reason.clone(),
            heard_ms: 0,
            properties: match asked.properties {
                true => properties(record),
                false => BTreeMap::new(),
            },
            values: BTreeMap::new(),
            instances,
        };
        seen.nodes.insert(name.clone(), node);
    }
    for (name, record) in fleet.workloads() {
        seen.workloads.insert(name.clone());
        let rollout = record.rollout.as_ref().map(|r| rollout(record, r));
        seen.rollouts.extend(rollout.map(|r| (name.clone(), r)));
    }
    seen.silences = Arc::new(fleet.silences().clone());
    seen
}

/// What placement may ask for, and what it knows of every node beside that.
fn properties(record: &NodeRecord) -> BTreeMap<String, String> {
    let mut all = record.properties();
    if let Some(facts) = &record.facts {
        for (key, value) in [
            ("memory", facts.memory_total.to_string()),
            ("cpus", facts.cpus.to_string()),
            ("kernel", facts.kernel.clone()),
            ("os", facts.os.clone()),
            ("arch", facts.arch.clone()),
            ("agent", facts.agent_version.clone()),
        ] {
            all.entry(key.to_owned()).or_insert(value);
        }
    }
    all
}

/// What is placed on a node, or still there though it is placed elsewhere now. What was removed
/// from the fleet is nobody's concern any more.
fn instances(fleet: &Fleet, record: &NodeRecord) -> BTreeMap<Name, InstanceSeen> {
    let observed = record.observed.iter();
    let observed = observed.filter(|(w, _)| fleet.workload(w.as_str()).is_some());
    let mut all: BTreeMap<Name, InstanceSeen> =
        observed.map(|(w, o)| (w.clone(), instance(o))).collect();
    for workload in record
        .placed
        .iter()
        .filter(|w| !record.observed.contains_key(*w))
    {
        let pending = InstanceSeen {
            state: InstanceState::Pending,
            restarts: 0,
            exit_code: None,
            reason: String::new(),
        };
        all.insert(workload.clone(), pending);
    }
    all
}

fn instance(observed: &ObservedInstance) -> InstanceSeen {
    let reason = observed.reason.as_ref().filter(|_| observed.state.is_bad());
    InstanceSeen {
        state: observed.state,
        restarts: observed.restarts,
        exit_code: observed.exit_code,
        reason: reason.cloned().unwrap_or_default(),
    }
}

fn rollout(record: &WorkloadRecord, rollout: &Rollout) -> RolloutSeen {
    let edition = record.history.iter().find(|r| r.revision == rollout.to);
    let version = edition.map_or_else(
        || format!("revision {}", rollout.to),
        |r| r.spec.version.clone(),
    );
    let back = rollout.phase.is_back();
    let held = rollout.paused && rollout.phase.is_active();
    let verdict = rollout.verdict.as_ref();
    let verdict = verdict.filter(|_| back || held || rollout.phase == RolloutPhase::Failed);
    RolloutSeen {
        to: rollout.to,
        version,
        // A failed one has a verdict, and one that a person took back has none.
        failed: verdict.is_some() || rollout.phase == RolloutPhase::Failed,
        back,
        reason: match verdict {
            Some(v) => match &v.node {
                Some(node) => format!("on {node}, {}: {}", v.check, v.reason),
                None => format!("{}: {}", v.check, v.reason),
            },
            None => rollout.reason.clone(),
        },
    }
}

/// What nodes said last.
pub(super) fn of_live(live: &Live, asked: &Asked, nodes: &mut BTreeMap<Name, NodeSeen>) {
    live.each_heartbeat(|name, heartbeat| {
        if let Some(node) = nodes.get_mut(name) {
            node.heard_ms = heartbeat.heard_ms;
            if asked.heartbeats {
                node.values.extend(values(heartbeat));
            }
        }
    });
    for (metric, value) in &asked.telemetry {
        live.each_of(*metric, value, |name, number, heard_ms| {
            if let Some(node) = nodes.get_mut(name) {
                let which = ValueOf::Telemetry(*metric, value.clone());
                let measured = Measured {
                    value: number,
                    heard_ms,
                };
                node.values.insert(which, measured);
            }
        });
    }
}

fn values(h: &Heartbeat) -> impl Iterator<Item = (ValueOf, Measured)> {
    let measured = |value: f32| Measured {
        value: f64::from(value),
        heard_ms: h.heard_ms,
    };
    let all = [
        (ValueOf::Disk, Some(measured(h.disk))),
        (ValueOf::Memory, Some(measured(h.memory))),
        (ValueOf::Cpu, Some(measured(h.cpu))),
        (ValueOf::Temperature, h.temperature.map(measured)),
    ];
    all.into_iter().filter_map(|(of, m)| Some((of, m?)))
}

/// Certificates that the fleet depends on. Its own ones are made to outlive everybody; somebody
/// may have put others in their place.
fn certificates(c: &Controller) -> Vec<CertificateSeen> {
    let ca = identity::not_after_ms(c.identity.ca.certificate());
    let external = c.join.external_ca.as_deref();
    let all = [
        ("fleet-ca", "the CA of the fleet", ca),
        (
            "server",
            "the controller's server certificate",
            c.identity.ca.server_end_ms(),
        ),
        (
            "broker-ca",
            "the CA of the external broker",
            external.and_then(identity::first_end_ms),
        ),
    ];
    let seen = |(name, title, end): (&str, &'static str, Option<u64>)| {
        Some(CertificateSeen {
            name: name.parse().ok()?,
            title,
            not_after_ms: end?,
        })
    };
    all.into_iter().filter_map(seen).collect()
}

#[cfg(test)]
mod tests;
