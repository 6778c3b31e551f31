//! What people and programs see of alerts.

use super::{
    Alerts, Rule, Silence, Subject,
    engine::{Alert, Ended, Silences},
};
use crate::{
    model::{Name, UnixMs},
    notify::Severity,
};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// How an alert stands, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It is so, and for long enough.
    Firing,
    /// The same, and somebody does not want to be told.
    Silenced,
    /// It is so, and not for long enough.
    Pending,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// All of them, in the order in which they are listed.
    pub const ALL: [AlertState; 4] = [
        AlertState::Firing,
        AlertState::Silenced,
        AlertState::Pending,
        AlertState::Resolved,
    ];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Firing => "firing",
            AlertState::Silenced => "silenced",
            AlertState::Pending => "pending",
            AlertState::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An alert, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Rule and subject, as in `disk.pi-3`.
    pub id: String,
    /// Which rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// About what; empty: the controller itself.
    pub subject: Subject,
    /// One sentence; may hold anything that a node says.
    pub message: String,
    /// How it stands.
    pub state: AlertState,
    /// When it began: the first bad sample.
    pub since_ms: UnixMs,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_ms: Option<UnixMs>,
    /// Somebody does not want to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<SilencedBy>,
    /// When others were told too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_ms: Option<UnixMs>,
}

/// Who silenced an alert, until when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilencedBy {
    /// Until when.
    pub until_ms: UnixMs,
    /// Why.
    pub comment: String,
    /// Who: name of the API token.
    pub by: String,
}

/// A rule, as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// It is looked for.
    pub enabled: bool,
    /// What is looked for: the word behind `when`.
    pub when: String,
    /// How bad it is.
    pub severity: Severity,
    /// Bad samples in a row before it fires.
    pub samples: u32,
    /// Bad is what is more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Bad is what is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Only nodes that are all of this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Only these workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub workloads: Vec<Name>,
    /// Who is told.
    #[schema(value_type = Vec<String>)]
    pub notify: Vec<Name>,
    /// Told again after so long, milliseconds; 0: never.
    pub repeat_ms: u64,
    /// When it fires for so long, others are told too, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after_ms: Option<u64>,
    /// Who that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub escalate_to: Vec<Name>,
    /// Its alerts that fire, without those that are silenced.
    pub firing: usize,
    /// Its alerts that fire and are silenced.
    #[serde(default)]
    pub silenced: usize,
    /// What is looked for, written out: `disk above 90 %`.
    #[serde(default)]
    pub condition: String,
    /// Why it may never find anything, one sentence; empty: nothing is known against it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Alerts {
    /// Every alert, those that fire first, of these the worst first, then the newest.
    pub fn views(&self, silences: &BTreeMap<String, Silence>, now: UnixMs) -> Vec<AlertView> {
        let silences = Silences::at(silences, now);
        let mut all = Vec::with_capacity(self.count() + self.resolved.len());
        for (rule, own) in &self.alive {
            let view = |(subject, alert)| alive(rule, subject, alert, &silences);
            all.extend(own.iter().map(view));
        }
        all.extend(self.resolved.iter().map(ended));
        all.sort_by(|a, b| a.place().cmp(&b.place()));
        all
    }

    /// Every rule.
    pub fn rule_views(&self, silences: &BTreeMap<String, Silence>, now: UnixMs) -> Vec<RuleView> {
        let silences = Silences::at(silences, now);
        let rules = self.rules().iter();
        rules.map(|rule| self.rule_view(rule, &silences)).collect()
    }

    fn rule_view(&self, rule: &Rule, silences: &Silences) -> RuleView {
        let own = self.alive.get(&rule.name).into_iter().flatten();
        let own = own.filter(|(_, a)| a.is_firing());
        let is_silenced = |s: &Subject| silences.of(&rule.id(s), &rule.name, s).is_some();
        let (silenced, firing): (Vec<&Subject>, Vec<&Subject>) =
            own.map(|(s, _)| s).partition(|s| is_silenced(s));
        let limit = rule.when.limit();
        let above = limit.filter(|l| matches!(l, super::Limit::Above(_)));
        let below = limit.filter(|l| matches!(l, super::Limit::Below(_)));
        RuleView {
            name: rule.name.clone(),
            enabled: rule.enabled,
            when: rule.when.word().to_owned(),
            severity: rule.severity,
            samples: rule.samples,
            above: above.map(super::Limit::number),
            below: below.map(super::Limit::number),
            nodes: rule.nodes.iter().map(ToString::to_string).collect(),
            workloads: rule.workloads.clone(),
            notify: self.told_by(rule).to_vec(),
            repeat_ms: self.repeat_ms(rule),
            escalate_after_ms: rule.escalate_after_ms,
            escalate_to: rule.escalate_to.clone(),
            firing: firing.len(),
            silenced: silenced.len(),
            condition: rule.when.to_string(),
            note: String::new(),
        }
    }

    /// How many there are of each severity and state.
    pub fn counts(
        &self,
        silences: &BTreeMap<String, Silence>,
        now: UnixMs,
    ) -> BTreeMap<(Severity, AlertState), usize> {
        let silences = Silences::at(silences, now);
        let mut counts = BTreeMap::new();
        for (rule, own) in &self.alive {
            for (subject, alert) in own {
                let silenced = silences.of(&subject.id(rule), rule, subject).is_some();
                *counts
                    .entry((alert.severity, state(alert, silenced)))
                    .or_default() += 1;
            }
        }
        counts
    }
}

/// State, how bad, since when, id, when it was over: what the list of alerts is ordered by.
pub type AlertPlace<'a> = (
    AlertState,
    Reverse<u8>,
    Reverse<UnixMs>,
    &'a str,
    Reverse<UnixMs>,
);

impl AlertView {
    /// Where it stands in the list; no two have the same.
    pub fn place(&self) -> AlertPlace<'_> {
        let resolved = Reverse(self.resolved_ms.unwrap_or(0));
        let since = Reverse(self.since_ms);
        (
            self.state,
            Reverse(self.weight()),
            since,
            &self.id,
            resolved,
        )
    }

    /// The worse, the more; of those that are over all are alike: they are history.
    pub fn weight(&self) -> u8 {
        match (self.state, self.severity) {
            (AlertState::Resolved, _) | (_, Severity::Info) => 0,
            (_, Severity::Warning) => 1,
            (_, Severity::Critical) => 2,
        }
    }
}

fn state(alert: &Alert, silenced: bool) -> AlertState {
    match (alert.is_firing(), silenced) {
        (false, _) => AlertState::Pending,
        (true, true) => AlertState::Silenced,
        (true, false) => AlertState::Firing,
    }
}

fn alive(rule: &str, subject: &Subject, alert: &Alert, silences: &Silences) -> AlertView {
    let id = subject.id(rule);
    let silence = silences.of(&id, rule, subject);
    AlertView {
        rule: rule.to_owned(),
        severity: alert.severity,
        subject: subject.clone(),
        message: alert.message.clone(),
        state: state(alert, silence.is_some()),
        since_ms: alert.since_ms,
        resolved_ms: None,
        silenced: silence.map(|s| SilencedBy {
            until_ms: s.until_ms,
            comment: s.comment.clone(),
            by: s.by.clone(),
        }),
        escalated_ms: alert.escalated_ms,
        id,
    }
}

fn ended(ended: &Ended) -> AlertView {
    AlertView {
        id: ended.subject.id(&ended.rule),
        rule: ended.rule.clone(),
        severity: ended.severity,
        subject: ended.subject.clone(),
        message: ended.message.clone(),
        state: AlertState::Resolved,
        since_ms: ended.since_ms,
        resolved_ms: Some(ended.resolved_ms),
        silenced: None,
        escalated_ms: ended.escalated_ms,
    }
}
