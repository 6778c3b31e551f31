//! Tests of the rules, from looks to what is said.
//!
//! | module | about |
//! |---|---|
//! | [`life`] | how an alert begins, goes on and ends |
//! | [`telling`] | who is told, when, and who is not |
//! | [`random`] | whatever is seen: counts, order, bounds |

mod life;
mod random;
mod telling;

use super::*;
use crate::{
    model::{InstanceState, Name, Presence},
    notify::Severity,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const START: u64 = 1_800_000_000_000;
pub(super) const STEP: u64 = 15_000;

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A fleet that is looked at, and what was said of it.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) alerts: Alerts,
    pub(super) seen: Observation,
    pub(super) said: Vec<Transition>,
}

impl World {
    /// With two nodes, `a` and `b`, that are well.
    pub(super) fn new(rules: Vec<Rule>) -> World {
        let mut world = World {
            now: START,
            alerts: Alerts::new(rules, vec![name("ops")], 3_600_000),
            seen: Observation::default(),
            said: Vec::new(),
        };
        for node in ["a", "b"] {
            world.seen.nodes.insert(name(node), online());
        }
        world
    }

    pub(super) fn node(&mut self, node: &str) -> &mut NodeSeen {
        self.seen.nodes.get_mut(node).unwrap()
    }

    /// A value that was measured just now.
    pub(super) fn measure(&mut self, node: &str, of: ValueOf, value: f64) {
        let heard_ms = self.now + 1;
        let measured = Measured { value, heard_ms };
        self.node(node).values.insert(of, measured);
    }

    pub(super) fn instance(&mut self, workload: &str, state: InstanceState, restarts: u32) {
        let seen = InstanceSeen {
            state,
            restarts,
            exit_code: Some(1),
            reason: "it does not answer".into(),
        };
        self.node("a").instances.insert(name(workload), seen);
    }

    pub(super) fn silence(&mut self, alert: &str, until_ms: u64) {
        let silence = Silence {
            until_ms,
            comment: "quiet".into(),
            by: "ann".into(),
            since_ms: self.now,
        };
        let silences = Arc::make_mut(&mut self.seen.silences);
        silences.insert(alert.to_owned(), silence);
    }

    /// One look, later; what is said at it, in short.
    pub(super) fn look(&mut self) -> Vec<String> {
        self.now += STEP;
        let said = self.alerts.observe(self.now, &self.seen);
        let short = said.iter().map(short).collect();
        self.said.extend(said);
        short
    }

    pub(super) fn states(&self) -> Vec<(String, AlertState)> {
        let all = self.alerts.views(&self.seen.silences, self.now);
        all.into_iter().map(|a| (a.id, a.state)).collect()
    }

    pub(super) fn message(&self) -> String {
        let all = self.alerts.views(&self.seen.silences, self.now);
        all[0].message.clone()
    }
}

pub(super) fn online() -> NodeSeen {
    NodeSeen {
        presence: Presence::Online,
        presence_ms: START,
        reason: String::new(),
        heard_ms: START,
        properties: BTreeMap::new(),
        values: BTreeMap::new(),
        instances: BTreeMap::new(),
    }
}

fn short(transition: &Transition) -> String {
    match transition {
        Transition::Fired(n) => format!("fired {}", n.id),
        Transition::Resolved(n) => format!("resolved {}", n.id),
        Transition::Notify { to, notification } => {
            let to: Vec<&str> = to.iter().map(Name::as_str).collect();
            let occasion = format!("{:?}", notification.occasion).to_lowercase();
            format!("tell {} {occasion} {}", to.join(","), notification.id)
        }
        Transition::Full { dropped } => format!("full {dropped}"),
    }
}

pub(super) fn disk() -> Rule {
    Rule::new(
        "disk",
        Severity::Warning,
        Condition::Disk(Limit::Above(90.0)),
    )
}

/// Nothing was said.
pub(super) const NOTHING: [&str; 0] = [];

#[test]
fn ids_are_safe_in_an_address_and_say_what_they_are_about() {
    let (web, pi) = (name("web"), name("pi-3"));
    for (subject, rule, expected) in [
        (Subject::node(&pi), "disk", "disk.pi-3"),
        (
            Subject::instance(&web, &pi),
            "crashloop",
            "crashloop.web.pi-3",
        ),
        (
            Subject::workload(&web),
            "rollout_failed",
            "rollout_failed.web",
        ),
        (Subject::default(), "journal", "journal"),
    ] {
        assert_eq!(subject.id(rule), expected);
        assert_eq!(
            Matcher::parse(expected),
            Ok(Matcher::Alert(expected.into()))
        );
    }
}
