//! What is said of an alert: one sentence.

use super::{Condition, Limit, NodeSeen, Observation, Rule, Subject, judge::asked};
use crate::model::{Name, UnixMs};

/// Bytes of what a node (or a rollout) says of itself in a sentence.
const MAX_REASON: usize = 300;
/// Digits behind the point of a value that is close to its limit.
const MAX_DIGITS: usize = 9;

/// What is wrong with `subject` now.
pub(super) fn sentence(rule: &Rule, subject: &Subject, seen: &Observation, now: UnixMs) -> String {
    let node = subject.node.as_ref();
    let node = node.and_then(|n| seen.nodes.get_key_value(n));
    match (&rule.when, node) {
        (Condition::NodeLost { .. }, Some((name, node))) => lost(name, node, now),
        (Condition::Crashloop | Condition::Unhealthy | Condition::Failed, Some((name, node))) => {
            instance(rule, subject, name, node)
        }
        (when, Some((name, node))) => value(when, name, node),
        (Condition::RolloutFailed, None) => rollout(subject, seen),
        (Condition::Certificate { .. }, None) => certificate(subject, seen, now),
        (Condition::Journal, None) => journal(seen),
        // Of something that is not there nothing is ever said.
        _ => rule.name.clone(),
    }
}

fn lost(name: &Name, node: &NodeSeen, now: UnixMs) -> String {
    if node.reason == "it has not connected yet" {
        let joined = span_text(now.saturating_sub(node.presence_ms));
        return format!("{name} joined {joined} ago and has not connected yet");
    }
    let heard = Some(node.heard_ms).filter(|at| (1..=node.presence_ms).contains(at));
    let since = span_text(now.saturating_sub(heard.unwrap_or(node.presence_ms)));
    // That is what the sentence says already.
    let why = Some(&node.reason).filter(|r| !r.is_empty() && !r.starts_with("nothing was heard"));
    let why = why.map_or_else(String::new, |r| format!(" ({})", short(r)));
    format!("{name} has not been heard for {since}{why}")
}

fn instance(rule: &Rule, subject: &Subject, name: &Name, node: &NodeSeen) -> String {
    let Some(workload) = &subject.workload else {
        return rule.name.clone();
    };
    let what = match rule.when {
        Condition::Crashloop => "restarts over and over",
        Condition::Unhealthy => "is unhealthy",
        _ => "has failed",
    };
    let instance = node.instances.get(workload);
    let why = instance.and_then(|i| match (&rule.when, i.exit_code) {
        (Condition::Crashloop, Some(code)) => Some(format!("exit code {code}")),
        _ => Some(short(&i.reason)).filter(|r| !r.is_empty()),
    });
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    format!("{workload} on {name} {what}{why}")
}

fn value(when: &Condition, name: &Name, node: &NodeSeen) -> String {
    let Some((which, limit)) = asked(when) else {
        return name.to_string();
    };
    let value = node.values.get(&which).map_or(limit.number(), |m| m.value);
    let beyond = |unit: &str| match limit {
        Limit::Above(n) => format!("(above {n}{unit})"),
        Limit::Below(n) => format!("(below {n}{unit})"),
    };
    let n = truly(value, |n| limit.is_passed_by(n));
    match when {
        Condition::Disk(_) => format!("disk of {name} is {n} % full {}", beyond(" %")),
        Condition::Memory(_) => format!("memory of {name} is {n} % used {}", beyond(" %")),
        Condition::Cpu(_) => format!("processor of {name} is {n} % busy {}", beyond(" %")),
        Condition::Temperature(_) => format!("{name} is {n} °C hot {}", beyond(" °C")),
        Condition::Telemetry { metric, value, .. } => {
            format!("{metric} {value} of {name} is {n} {}", beyond(""))
        }
        _ => name.to_string(),
    }
}

fn rollout(subject: &Subject, seen: &Observation) -> String {
    let workload = subject.workload.as_ref();
    let Some((name, r)) = workload.and_then(|w| seen.rollouts.get_key_value(w)) else {
        return "a rollout failed".into();
    };
    let what = match r.back {
        true => "was rolled back",
        false => "failed",
    };
    let why = match r.reason.is_empty() {
        true => String::new(),
        false => format!(": {}", short(&r.reason)),
    };
    format!("the rollout of {name} to {} {what}{why}", short(&r.version))
}

fn certificate(subject: &Subject, seen: &Observation, now: UnixMs) -> String {
    let all = seen.certificates.iter();
    let Some(c) = all
        .into_iter()
        .find(|c| Some(&c.name) == subject.certificate.as_ref())
    else {
        return "a certificate ends".into();
    };
    match c.not_after_ms.checked_sub(now) {
        Some(left) => format!("{} ends in {}", c.title, span_text(left)),
        None => format!("{} ended {} ago", c.title, span_text(now - c.not_after_ms)),
    }
}

fn journal(seen: &Observation) -> String {
    let why = seen.journal.trouble.as_deref().unwrap_or_default();
    format!("the controller cannot keep what happens: {}", short(why))
}

/// No more than a person reads.
pub(super) fn short(text: &str) -> String {
    if text.len() <= MAX_REASON {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_REASON)])
}

/// One digit behind the point, or as many more as it takes for what is written to be what `is`
/// asks for: no value is ever "0 (above 0.01)".
pub(super) fn truly(n: f64, is: impl Fn(f64) -> bool) -> String {
    let mut written = (1..=MAX_DIGITS).map(|digits| rounded(n, digits));
    let fits = |text: &String| text.parse().is_ok_and(&is);
    written.find(fits).unwrap_or_else(|| n.to_string())
}

/// So many digits behind the point, and none that says nothing.
fn rounded(n: f64, digits: usize) -> String {
    let text = format!("{n:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// As in `2 min`.
pub(super) fn span_text(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..90 => format!("{s} s"),
        90..5_400 => format!("{} min", s / 60),
        5_400..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_as_people_say_them() {
        for (n, text) in [
            (93.0, "93"),
            (93.04, "93"),
            (93.06, "93.1"),
            (-0.01, "0"),
            (80.5, "80.5"),
        ] {
            assert_eq!(truly(n, |_| true), text);
        }
        for (n, limit, text) in [
            (0.02, Limit::Above(0.01), "0.02"),
            (0.0149, Limit::Above(0.01), "0.015"),
            (90.04, Limit::Above(90.0), "90.04"),
            (93.04, Limit::Above(90.0), "93"),
            (9.996, Limit::Below(10.0), "9.996"),
            (1e-12, Limit::Above(0.0), "0.000000000001"),
        ] {
            assert_eq!(truly(n, |n| limit.is_passed_by(n)), text);
        }
        for (s, text) in [
            (0, "0 s"),
            (89, "89 s"),
            (120, "2 min"),
            (7_200, "2 h"),
            (864_000, "10 days"),
        ] {
            assert_eq!(span_text(s * 1_000), text);
        }
    }

    #[test]
    fn what_somebody_else_says_is_cut_between_characters() {
        let cut = short(&"é".repeat(1_000));
        assert!(
            cut.len() <= MAX_REASON + 3 && cut.ends_with('…'),
            "{}",
            cut.len()
        );
    }
}
