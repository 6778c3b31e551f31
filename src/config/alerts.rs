//! `[controller.alerts]`: what is looked for, and who is told. The rules in
//! [`crate::alert::built_in`] exist without it; a table `[controller.alerts.rule.<name>]` changes
//! one of them, or adds one.

use super::receivers::{self, Written};
use crate::{
    alert::{Condition, Limit, MAX_SAMPLES, Rule, built_in, is_rule_name},
    manifest::{
        Flaw,
        quantity::duration_text,
        render::{line, quote, quote_list},
        table::{Table, listed},
    },
    model::{Metric, Name, Requirement, shown},
    notify::{Receiver, Severity},
};
use std::{collections::BTreeMap, ops::RangeInclusive};

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;
/// How often may be looked.
const INTERVAL: RangeInclusive<u64> = SECOND..=600 * SECOND;
/// After what may be told again: 0 for never, or this.
const REPEAT: RangeInclusive<u64> = 0..=30 * DAY;
/// The most rules beside those that are built in.
const MAX_RULES: usize = 200;
/// Bytes of the name of a value.
const MAX_VALUE_NAME: usize = 128;

/// What is looked for, and who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertsConfig {
    /// `enabled`: it is looked for at all.
    pub enabled: bool,
    /// `interval`: how often, milliseconds.
    pub interval_ms: u64,
    /// `repeat`: what still fires is told again after so long, milliseconds; 0: never.
    pub repeat_ms: u64,
    /// `notify`: receivers of what a rule does not send elsewhere; all of them unless it is written.
    pub notify: Vec<Name>,
    /// Those that are built in, as they are changed, and then the others.
    pub rules: Vec<Rule>,
    /// `[controller.alerts.receiver.<name>]`.
    pub receivers: BTreeMap<Name, Receiver>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        AlertsConfig {
            enabled: true,
            interval_ms: 15 * SECOND,
            repeat_ms: 4 * 3_600 * SECOND,
            notify: Vec::new(),
            rules: built_in(),
            receivers: BTreeMap::new(),
        }
    }
}

/// The table, which may be absent.
pub(super) fn read(mut table: Table<'_>) -> AlertsConfig {
    let mut config = AlertsConfig::default();
    if !table.is_present() {
        return config;
    }
    config.enabled = table.bool("enabled").unwrap_or(config.enabled);
    let interval_ms = table.ms_within("interval", INTERVAL);
    config.interval_ms = interval_ms.unwrap_or(config.interval_ms);
    config.repeat_ms = read_repeat(&mut table).unwrap_or(config.repeat_ms);
    let all = table.table("receiver");
    config.receivers = receivers::read(&all);
    let known = Written {
        is_unreadable: table.has("receiver") && !all.is_present(),
        table: all,
    };
    let written = read_names(&mut table, "notify", &known);
    config.notify = written.unwrap_or_else(|| config.receivers.keys().cloned().collect());
    let rules = table.table("rule");
    for (count, (name, span, own)) in rules.tables().into_iter().enumerate() {
        if count >= MAX_RULES {
            let flaw = Flaw::new(format!("there are more than {MAX_RULES} rules"));
            rules.refuse_at(span, flaw);
            break;
        }
        if !is_rule_name(name) {
            let flaw = Flaw::new(format!("`{}` is no name for a rule", shown(name)))
                .hint("1 to 63 of a-z, 0-9, `-` and `_`, beginning with a letter");
            rules.refuse_at(span, flaw);
            continue;
        }
        let place = config.rules.iter().position(|r| r.name == name);
        let base = place.map(|at| config.rules[at].clone());
        match (read_rule(name, own, base, &known), place) {
            (Some(rule), Some(at)) => config.rules[at] = rule,
            (Some(rule), None) => config.rules.push(rule),
            (None, _) => {}
        }
    }
    table.finish();
    config
}

fn read_repeat(table: &mut Table<'_>) -> Option<u64> {
    let repeat = table.ms_within("repeat", REPEAT)?;
    if (1..60 * SECOND).contains(&repeat) {
        let flaw = Flaw::new("`repeat` must be 1m or more").hint("\"0s\" never tells it again");
        table.refuse("repeat", flaw);
    }
    Some(repeat)
}

/// Names of receivers that are written, each once; `None` where one of them is not.
fn read_names(table: &mut Table<'_>, key: &'static str, known: &Written<'_>) -> Option<Vec<Name>> {
    let mut names: Vec<String> = Vec::new();
    let mut flawed = false;
    let mut read = |text: &str| {
        if !known.has(text) {
            let flaw = Flaw::new(format!("there is no receiver `{}`", shown(text)));
            let all = known.names();
            return Err(match all.is_empty() {
                true => flaw.hint("write a table `[controller.alerts.receiver.<name>]` for it"),
                false => flaw.hint(format!("there are {}", listed(&all))),
            });
        }
        if names.iter().any(|name| name == text) {
            let text = shown(text);
            return Err(Flaw::new(format!("receiver `{text}` is named twice")));
        }
        names.push(text.to_owned());
        Ok(())
    };
    table.parsed_list(key, |text| {
        let read = read(text);
        flawed |= read.is_err();
        read
    })?;
    // What is no name was refused where its table is.
    let names = names.iter().filter_map(|name| name.parse().ok());
    (!flawed).then(|| names.collect())
}

/// One rule; `base`: the one that is built in under this name.
fn read_rule(
    name: &str,
    mut table: Table<'_>,
    base: Option<Rule>,
    receivers: &Written<'_>,
) -> Option<Rule> {
    let when = read_condition(name, &mut table, base.as_ref());
    let severity = table.choice(
        "severity",
        &[
            ("info", Severity::Info),
            ("warning", Severity::Warning),
            ("critical", Severity::Critical),
        ],
    );
    let enabled = table.bool("enabled").unwrap_or(true);
    let samples = table.count_within("samples", 1..=MAX_SAMPLES);
    let asks = |about: fn(&Condition) -> bool| when.as_ref().is_none_or(about);
    let mut nodes = None;
    if asks(Condition::is_about_nodes) {
        nodes = table.parsed_list("nodes", |text| {
            Requirement::try_from(text.to_owned()).map_err(Flaw::new)
        });
    }
    let mut workloads = None;
    if asks(Condition::is_about_workloads) {
        workloads = table.parsed_list("workloads", super::parse_name);
    }
    let notify = read_names(&mut table, "notify", receivers);
    let repeat_ms = read_repeat(&mut table);
    let escalate_after_ms = table.ms_within("escalate_after", SECOND..=30 * DAY);
    let escalate_to = read_names(&mut table, "escalate_to", receivers);
    if table.has("escalate_after") != table.has("escalate_to") {
        let (there, missing) = match table.has("escalate_after") {
            true => ("escalate_after", "escalate_to"),
            false => ("escalate_to", "escalate_after"),
        };
        let flaw = Flaw::new(format!("`{there}` has no effect without `{missing}`"));
        table.refuse(there, flaw);
    }
    if escalate_to.as_ref().is_some_and(Vec::is_empty) && table.has("escalate_after") {
        let flaw = Flaw::new("`escalate_to` names nobody, so `escalate_after` has no effect");
        table.refuse(
            "escalate_to",
            flaw.hint("name a receiver, or leave both out"),
        );
    }
    table.finish();
    let when = when?;
    let default = base.map_or(Severity::Warning, |b| b.severity);
    let plain = Rule::new(name, severity.unwrap_or(default), when);
    Some(Rule {
        enabled,
        samples: samples.unwrap_or(plain.samples),
        nodes: nodes.unwrap_or_default(),
        workloads: workloads.unwrap_or_default(),
        notify,
        repeat_ms,
        escalate_after_ms,
        escalate_to: escalate_to.unwrap_or_default(),
        ..plain
    })
}

/// The words behind `when`.
const WORDS: [&str; 12] = [
    "node_lost",
    "crashloop",
    "unhealthy",
    "failed",
    "disk",
    "memory",
    "cpu",
    "temperature",
    "telemetry",
    "rollout_failed",
    "certificate",
    "journal",
];

/// `when`, and the keys that go with it.
fn read_condition(name: &str, table: &mut Table<'_>, base: Option<&Rule>) -> Option<Condition> {
    let written = table.choice("when", &WORDS.map(|word| (word, word)));
    let word = match (base, written) {
        (Some(base), written) => {
            let own = base.when.word();
            if written.is_some_and(|word| word != own) {
                let flaw = Flaw::new(format!("the rule `{name}` is built in, for \"{own}\""))
                    .hint("give a rule for something else another name");
                table.refuse("when", flaw);
            }
            own
        }
        (None, Some(word)) => word,
        (None, None) => {
            if !table.has("when") {
                let known = format!("one of \"{}\"", WORDS.join("\", \""));
                let flaw = Flaw::new(format!("the rule `{name}` does not say `when`")).hint(known);
                table.missing(flaw);
            }
            // Of what it is about nothing is known, so that no other key can be wrong.
            for key in ["after", "above", "below", "metric", "value", "before"] {
                table.refuse_key(key, Flaw::new(format!("`{key}` needs `when`")));
            }
            return None;
        }
    };
    let pre_set = base.and_then(|b| b.when.limit());
    let percent = |table: &mut Table<'_>, default| {
        let limit = pre_set.unwrap_or(Limit::Above(default));
        Some(read_above(table, 0.0..=100.0).unwrap_or(limit))
    };
    Some(match word {
        "node_lost" => Condition::NodeLost {
            after_ms: table.ms_within("after", 0..=30 * DAY).unwrap_or(0),
        },
        "crashloop" => Condition::Crashloop,
        "unhealthy" => Condition::Unhealthy,
        "failed" => Condition::Failed,
        "disk" => Condition::Disk(percent(table, 90.0)?),
        "memory" => Condition::Memory(percent(table, 95.0)?),
        "cpu" => Condition::Cpu(percent(table, 95.0)?),
        "temperature" => {
            let limit = read_above(table, -273.0..=1_000.0);
            Condition::Temperature(limit.or(pre_set).unwrap_or(Limit::Above(80.0)))
        }
        "telemetry" => read_telemetry(name, table)?,
        "rollout_failed" => Condition::RolloutFailed,
        "certificate" => Condition::Certificate {
            before_ms: table
                .ms_within("before", 60 * SECOND..=3_650 * DAY)
                .unwrap_or(14 * DAY),
        },
        _ => Condition::Journal,
    })
}

fn read_above(table: &mut Table<'_>, bounds: RangeInclusive<f64>) -> Option<Limit> {
    let above = table.number("above")?;
    if bounds.contains(&above) {
        return Some(Limit::Above(above));
    }
    let (least, most) = (bounds.start(), bounds.end());
    table.refuse(
        "above",
        Flaw::new(format!("`above` must be from {least} to {most}")),
    );
    None
}

fn read_telemetry(name: &str, table: &mut Table<'_>) -> Option<Condition> {
    let metric = table.choice("metric", &Metric::ALL.map(|m| (m.as_str(), m)));
    let value = table.parsed("value", |text| match text.len() {
        1..=MAX_VALUE_NAME if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Flaw::new(format!(
            "`value` must have 1 to {MAX_VALUE_NAME} bytes and no control characters"
        ))),
    });
    let (above, below) = (table.number("above"), table.number("below"));
    for (key, number) in [("above", above), ("below", below)] {
        if number.is_some_and(|n| !n.is_finite()) {
            table.refuse(key, Flaw::new(format!("`{key}` must be a finite number")));
        }
    }
    for key in ["metric", "value"] {
        if !table.has(key) {
            table.missing(Flaw::new(format!("the rule `{name}` does not say `{key}`")));
        }
    }
    let limit = match (above, below) {
        (Some(above), None) => Limit::Above(above),
        (None, Some(below)) => Limit::Below(below),
        (Some(_), Some(_)) => {
            table.refuse("below", Flaw::new("`above` and `below` exclude each other"));
            return None;
        }
        (None, None) => {
            if !table.has("above") && !table.has("below") {
                let flaw = Flaw::new(format!(
                    "the rule `{name}` says neither `above` nor `below`"
                ));
                table.missing(flaw);
            }
            return None;
        }
    };
    Some(Condition::Telemetry {
        metric: metric?,
        value: value?,
        limit,
    })
}

/// The table as it is read; nothing where everything is as it is by default.
pub(super) fn render(config: &AlertsConfig, text: &mut String) {
    let default = AlertsConfig::default();
    if *config == default {
        return;
    }
    text.push_str("\n[controller.alerts]\n");
    line(text, "enabled", config.enabled.to_string());
    line(text, "interval", quote(&duration_text(config.interval_ms)));
    line(text, "repeat", quote(&duration_text(config.repeat_ms)));
    line(text, "notify", names(&config.notify));
    receivers::render(&config.receivers, text);
    for rule in config.rules.iter().filter(|r| !default.rules.contains(r)) {
        render_rule(rule, text);
    }
}

fn names(names: &[Name]) -> String {
    quote_list(&names.iter().map(Name::to_string).collect::<Vec<_>>())
}

fn render_rule(rule: &Rule, text: &mut String) {
    text.push_str(&format!("\n[controller.alerts.rule.{}]\n", rule.name));
    let duration = |ms: u64| quote(&duration_text(ms));
    line(text, "enabled", rule.enabled.to_string());
    line(text, "when", quote(rule.when.word()));
    match &rule.when {
        Condition::NodeLost { after_ms } => line(text, "after", duration(*after_ms)),
        Condition::Certificate { before_ms } => line(text, "before", duration(*before_ms)),
        Condition::Telemetry { metric, value, .. } => {
            line(text, "metric", quote(metric.as_str()));
            line(text, "value", quote(value));
        }
        _ => {}
    }
    match rule.when.limit() {
        Some(Limit::Above(n)) => line(text, "above", format!("{n:?}")),
        Some(Limit::Below(n)) => line(text, "below", format!("{n:?}")),
        None => {}
    }
    let severity = match rule.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    line(text, "severity", quote(severity));
    line(text, "samples", rule.samples.to_string());
    if !rule.nodes.is_empty() {
        let all: Vec<String> = rule.nodes.iter().map(ToString::to_string).collect();
        line(text, "nodes", quote_list(&all));
    }
    if !rule.workloads.is_empty() {
        line(text, "workloads", names(&rule.workloads));
    }
    if let Some(notify) = &rule.notify {
        line(text, "notify", names(notify));
    }
    if let Some(ms) = rule.repeat_ms {
        line(text, "repeat", duration(ms));
    }
    if let Some(ms) = rule.escalate_after_ms {
        line(text, "escalate_after", duration(ms));
        line(text, "escalate_to", names(&rule.escalate_to));
    }
}

#[cfg(test)]
mod tests;
