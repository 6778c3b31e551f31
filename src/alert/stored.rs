//! What of the alerts survives a restart of the controller: those that fire, and who was told.

use super::{
    Alerts, MAX_ALIVE, Subject,
    engine::{Alert, Phase},
    is_rule_name,
    sentence::short,
};
use crate::{
    model::{Name, UnixMs},
    notify::Severity,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The alerts that fire. Stored: fields are only ever added, with defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAlerts {
    /// Form of this: 1.
    v: u32,
    firing: Vec<StoredAlert>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredAlert {
    rule: String,
    #[serde(default)]
    subject: Subject,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    message: String,
    since_ms: UnixMs,
    #[serde(default)]
    fired_ms: UnixMs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told: BTreeSet<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_ms: Option<UnixMs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    escalated_ms: Option<UnixMs>,
}

impl Alerts {
    /// What is to be kept.
    pub fn stored(&self) -> StoredAlerts {
        let mut firing = Vec::new();
        for (rule, own) in &self.alive {
            let own = own.iter().filter(|(_, a)| a.is_firing());
            firing.extend(own.map(|(subject, a)| StoredAlert {
                rule: rule.clone(),
                subject: subject.clone(),
                severity: a.severity,
                message: a.message.clone(),
                since_ms: a.since_ms,
                fired_ms: a.fired_ms,
                mark: a.mark,
                told: a.told.clone(),
                told_ms: a.told_ms,
                escalated_ms: a.escalated_ms,
            }));
        }
        StoredAlerts { v: 1, firing }
    }

    /// Goes on from what was kept. What does not fire any more is found by the next looks.
    pub fn restore(&mut self, stored: StoredAlerts) {
        let all = stored.firing.into_iter().take(MAX_ALIVE);
        for a in all.filter(|a| is_rule_name(&a.rule)) {
            let alert = Alert {
                phase: Phase::Firing { good: 0 },
                severity: a.severity,
                message: short(&a.message),
                since_ms: a.since_ms,
                fired_ms: a.fired_ms,
                mark: a.mark,
                told: a.told,
                told_ms: a.told_ms,
                escalated_ms: a.escalated_ms,
            };
            self.alive
                .entry(a.rule)
                .or_default()
                .insert(a.subject, alert);
        }
    }
}
