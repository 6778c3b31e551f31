//! What is said of an alert that is over: why it is, not what was wrong.

use super::{
    Condition, Limit, NodeSeen, Observation, Rule, Subject,
    judge::asked,
    sentence::{short, span_text, truly},
};
use crate::model::{InstanceState, Name, UnixMs};

/// Why the alert of the rule called `name` about `subject` is over; `rule`: if it still exists.
pub(super) fn ending(
    name: &str,
    rule: Option<&Rule>,
    subject: &Subject,
    seen: &Observation,
    now: UnixMs,
) -> String {
    let Some(rule) = rule.filter(|r| r.enabled) else {
        let about = about(subject);
        return format!("the rule `{name}` is off or gone: it does not look at {about} any more");
    };
    let workload = subject.workload.as_ref();
    match (&subject.node, workload) {
        (Some(node), workload) => on_node(rule, node, workload, seen),
        (None, Some(workload)) => rollout(rule, workload, seen),
        (None, None) => own(rule, subject, seen, now),
    }
}

/// What a rule looks at.
fn about(subject: &Subject) -> String {
    let names = [&subject.workload, &subject.node, &subject.certificate];
    let names: Vec<&str> = names.into_iter().flatten().map(Name::as_str).collect();
    match names.is_empty() {
        true => "the controller".to_owned(),
        false => names.join(" on "),
    }
}

fn on_node(rule: &Rule, name: &Name, workload: Option<&Name>, seen: &Observation) -> String {
    let Some(node) = seen.nodes.get(name) else {
        return format!("{name} is no node of the fleet any more");
    };
    if !rule.is_about_node(node) || workload.is_some_and(|w| !rule.is_about_workload(w)) {
        let what = workload.map_or_else(|| name.to_string(), |w| format!("{w} on {name}"));
        return format!("the rule `{}` is not about {what} any more", rule.name);
    }
    if let Some(workload) = workload {
        return match node.instances.get(workload).map(|i| i.state) {
            None if !seen.workloads.contains(workload) => format!("{workload} was removed"),
            None => format!("{workload} is not on {name} any more"),
            Some(InstanceState::Stopped) => format!("{workload} on {name} is stopped"),
            Some(_) => format!("{workload} on {name} is well again"),
        };
    }
    match &rule.when {
        Condition::NodeLost { .. } => format!("{name} is heard again"),
        when => value(when, name, node),
    }
}

fn value(when: &Condition, name: &Name, node: &NodeSeen) -> String {
    let known = asked(when).and_then(|(which, limit)| Some((node.values.get(&which)?, limit)));
    let Some((measured, limit)) = known else {
        return format!("{} of {name} is as it should be again", when.word());
    };
    let value = measured.value;
    let n = truly(value, |n| !limit.is_passed_by(n));
    let within = |unit: &str| match limit {
        Limit::Above(limit) if value < limit => format!("(below {limit}{unit})"),
        Limit::Above(limit) => format!("(not above {limit}{unit})"),
        Limit::Below(limit) if value > limit => format!("(above {limit}{unit})"),
        Limit::Below(limit) => format!("(not below {limit}{unit})"),
    };
    match when {
        Condition::Disk(_) => format!("disk of {name} is {n} % full again {}", within(" %")),
        Condition::Memory(_) => format!("memory of {name} is {n} % used again {}", within(" %")),
        Condition::Cpu(_) => format!("processor of {name} is {n} % busy again {}", within(" %")),
        Condition::Temperature(_) => format!("{name} is at {n} °C again {}", within(" °C")),
        Condition::Telemetry { metric, value, .. } => {
            format!("{metric} {value} of {name} is {n} again {}", within(""))
        }
        _ => format!("{name} is well again"),
    }
}

fn rollout(rule: &Rule, workload: &Name, seen: &Observation) -> String {
    if !rule.is_about_workload(workload) {
        return format!("the rule `{}` is not about {workload} any more", rule.name);
    }
    match seen.rollouts.get(workload) {
        None if !seen.workloads.contains(workload) => format!("{workload} was removed"),
        None => format!("the failed rollout of {workload} is history"),
        Some(r) => {
            let version = short(&r.version);
            match r.failed {
                // That is another alert.
                true => format!("another rollout of {workload} took its place, to {version}"),
                false => format!("the rollout of {workload} to {version} has not failed"),
            }
        }
    }
}

fn own(rule: &Rule, subject: &Subject, seen: &Observation, now: UnixMs) -> String {
    if !matches!(rule.when, Condition::Certificate { .. }) {
        return "the controller keeps what happens again".to_owned();
    }
    let mut all = seen.certificates.iter();
    match all.find(|c| Some(&c.name) == subject.certificate.as_ref()) {
        Some(c) => {
            let left = span_text(c.not_after_ms.saturating_sub(now));
            format!("{} was renewed: it ends in {left}", c.title)
        }
        None => format!("the certificate {} is not used any more", about(subject)),
    }
}
