//! Rules: what is looked for, how bad that is, and whom to tell.

use super::{Condition, Limit, Subject, observation::NodeSeen};
use crate::{
    model::{Name, Requirement},
    notify::Severity,
};

/// Samples in a row that a rule may ask for.
pub const MAX_SAMPLES: u32 = 100;
/// Samples in a row, unless a rule says otherwise.
const SAMPLES: u32 = 2;
const DAY_MS: u64 = 86_400_000;

/// What is looked for, and whom to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name; see [`is_rule_name`].
    pub name: String,
    /// It is looked for.
    pub enabled: bool,
    /// How bad it is.
    pub severity: Severity,
    /// When it is bad.
    pub when: Condition,
    /// Bad samples in a row before it fires, and good ones before that is over; 1 to
    /// [`MAX_SAMPLES`].
    pub samples: u32,
    /// Only nodes that are all of this.
    pub nodes: Vec<Requirement>,
    /// Only these workloads; none: all.
    pub workloads: Vec<Name>,
    /// Who is told; `None`: the default ones.
    pub notify: Option<Vec<Name>>,
    /// Told again after so long, milliseconds; 0: never; `None`: the default.
    pub repeat_ms: Option<u64>,
    /// When it fires for so long, others are told too, milliseconds.
    pub escalate_after_ms: Option<u64>,
    /// Who that is.
    pub escalate_to: Vec<Name>,
}

impl Rule {
    /// A rule with all defaults.
    pub fn new(name: &str, severity: Severity, when: Condition) -> Rule {
        Rule {
            name: name.to_owned(),
            enabled: true,
            severity,
            when,
            samples: SAMPLES,
            nodes: Vec::new(),
            workloads: Vec::new(),
            notify: None,
            repeat_ms: None,
            escalate_after_ms: None,
            escalate_to: Vec::new(),
        }
    }

    /// A node is one of those that it is about.
    pub(super) fn is_about_node(&self, node: &NodeSeen) -> bool {
        self.nodes.iter().all(|r| r.is_met_by(&node.properties))
    }

    /// A workload is one of those that it is about.
    pub(super) fn is_about_workload(&self, workload: &Name) -> bool {
        self.workloads.is_empty() || self.workloads.contains(workload)
    }

    /// Id of its alert about `subject`.
    pub fn id(&self, subject: &Subject) -> String {
        subject.id(&self.name)
    }
}

/// A name of a rule: 1 to 63 of a-z, 0-9, `-` and `_`, beginning with a letter. Not one of the
/// words that stand in its place in an address of the API.
pub fn is_rule_name(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=63).contains(&text.len())
        && text.bytes().all(fine)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !matches!(text, "rules" | "receivers")
}

/// The rules that exist without anybody having written one.
pub fn built_in() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let rule = |severity, when: Condition| Rule::new(when.word(), severity, when);
    let off = |rule: Rule| Rule {
        enabled: false,
        ..rule
    };
    let before_ms = 14 * DAY_MS;
    vec![
        rule(Critical, Condition::NodeLost { after_ms: 0 }),
        rule(Warning, Condition::Crashloop),
        rule(Warning, Condition::Unhealthy),
        rule(Warning, Condition::Failed),
        rule(Warning, Condition::Disk(Limit::Above(90.0))),
        off(rule(Warning, Condition::Memory(Limit::Above(95.0)))),
        off(rule(Warning, Condition::Cpu(Limit::Above(95.0)))),
        rule(Warning, Condition::Temperature(Limit::Above(80.0))),
        rule(Warning, Condition::RolloutFailed),
        rule(Warning, Condition::Certificate { before_ms }),
        rule(Critical, Condition::Journal),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_have_names_of_their_own_that_are_names() {
        let mut names: Vec<String> = built_in().into_iter().map(|r| r.name).collect();
        assert!(names.iter().all(|n| is_rule_name(n)), "{names:?}");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for wrong in ["", "1a", "a.b", "A", "a b", "a/b", "rules", &"x".repeat(64)] {
            assert!(!is_rule_name(wrong), "{wrong}");
        }
    }
}
