//! One rule, one subject, one look: bad, good, or nobody knows.

use super::{
    Condition, Limit, NodeSeen, Observation, Rule, Subject, ValueOf, observation::InstanceSeen,
};
use crate::model::{InstanceState, Name, Presence, UnixMs};
use std::collections::BTreeSet;

/// What a look says of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as the rule says that it must not be.
    Bad(Mark),
    /// It is not.
    Good(Mark),
    /// Nobody knows, or it is in between.
    Unknown,
    /// There is no such thing any more, or the rule is not about it.
    Gone,
}

/// What tells one sample of a subject from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Every look is a sample.
    Look,
    /// A sample is one only with another time than before.
    Measured(UnixMs),
    /// A good sample is one only with as many restarts as before: between two ends of a crash loop
    /// it runs too.
    Restarts(u32),
    /// With another revision than before it is about something else.
    Revision(u64),
}

impl Mark {
    /// As it is remembered.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Mark::Look => None,
            Mark::Measured(at) => Some(at),
            Mark::Restarts(count) => Some(u64::from(count)),
            Mark::Revision(revision) => Some(revision),
        }
    }
}

/// A look, and what is known of it so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) now: UnixMs,
    pub(super) seen: &'a Observation,
    /// Nodes that an alert says are lost.
    pub(super) lost: &'a BTreeSet<Name>,
}

impl Look<'_> {
    /// Every subject of which the rule says that it is bad.
    pub(super) fn bad(self, rule: &Rule) -> Vec<Subject> {
        let mut bad = Vec::new();
        if rule.when.is_about_nodes() {
            let instances = rule.when.is_about_instances();
            for (name, node) in &self.seen.nodes {
                if !rule.is_about_node(node) {
                    continue;
                }
                if instances {
                    let own = node.instances.iter();
                    let own = own.filter(|(_, i)| is(Self::instance(rule, node, i)));
                    let own = own.filter(|(w, _)| rule.is_about_workload(w));
                    bad.extend(own.map(|(w, _)| Subject::instance(w, name)));
                } else if is(self.node(rule, node)) {
                    bad.push(Subject::node(name));
                }
            }
            if !matches!(rule.when, Condition::NodeLost { .. }) {
                bad.retain(|s| s.node.as_ref().is_none_or(|n| !self.lost.contains(n)));
            }
            return bad;
        }
        match rule.when {
            Condition::RolloutFailed => {
                let all = self.seen.rollouts.iter();
                let failed = all.filter(|(w, r)| r.failed && rule.is_about_workload(w));
                bad.extend(failed.map(|(w, _)| Subject::workload(w)));
            }
            Condition::Certificate { .. } => {
                let all = self.seen.certificates.iter();
                let all = all.map(|c| Subject::certificate(&c.name));
                bad.extend(all.filter(|s| is(self.of(rule, s))));
            }
            Condition::Journal => {
                bad.extend(
                    self.seen
                        .journal
                        .trouble
                        .as_ref()
                        .map(|_| Subject::default()),
                );
            }
            _ => {}
        }
        bad
    }

    /// What the rule says of `subject`.
    pub(super) fn of(self, rule: &Rule, subject: &Subject) -> Verdict {
        if rule.when.is_about_nodes() {
            let name = subject.node.as_ref();
            let Some((name, node)) = name.and_then(|n| self.seen.nodes.get_key_value(n)) else {
                return Verdict::Gone;
            };
            if !rule.is_about_node(node) {
                return Verdict::Gone;
            }
            if matches!(rule.when, Condition::NodeLost { .. }) {
                return self.node(rule, node);
            }
            let workload = subject.workload.as_ref();
            if rule.when.is_about_instances() {
                let instance = workload.and_then(|w| node.instances.get_key_value(w));
                return match instance {
                    Some((w, _)) if !rule.is_about_workload(w) => Verdict::Gone,
                    None => Verdict::Gone,
                    _ if self.lost.contains(name) => Verdict::Unknown,
                    Some((_, instance)) => Self::instance(rule, node, instance),
                };
            }
            return match self.lost.contains(name) {
                true => Verdict::Unknown,
                false => self.node(rule, node),
            };
        }
        match rule.when {
            Condition::RolloutFailed => {
                let workload = subject.workload.as_ref();
                let workload = workload.filter(|w| rule.is_about_workload(w));
                match workload.and_then(|w| self.seen.rollouts.get(w)) {
                    None => Verdict::Gone,
                    Some(r) if r.failed => Verdict::Bad(Mark::Revision(r.to)),
                    Some(r) => Verdict::Good(Mark::Revision(r.to)),
                }
            }
            Condition::Certificate { before_ms } => {
                let all = &self.seen.certificates;
                let own = all
                    .iter()
                    .find(|c| Some(&c.name) == subject.certificate.as_ref());
                match own {
                    None => Verdict::Gone,
                    Some(c) if c.not_after_ms < self.now.saturating_add(before_ms) => {
                        Verdict::Bad(Mark::Look)
                    }
                    Some(_) => Verdict::Good(Mark::Look),
                }
            }
            Condition::Journal => match self.seen.journal.trouble {
                Some(_) => Verdict::Bad(Mark::Look),
                None => Verdict::Good(Mark::Look),
            },
            _ => Verdict::Gone,
        }
    }

    /// Of a node itself, or of one of its values.
    fn node(self, rule: &Rule, node: &NodeSeen) -> Verdict {
        let Condition::NodeLost { after_ms } = rule.when else {
            return match asked(&rule.when) {
                Some((value, limit)) => Self::value(node, &value, limit),
                None => Verdict::Unknown,
            };
        };
        let offline_ms = self.now.saturating_sub(node.presence_ms);
        match node.presence {
            _ if self.seen.is_early => Verdict::Unknown,
            Presence::Online => Verdict::Good(Mark::Look),
            Presence::Offline if offline_ms >= after_ms => Verdict::Bad(Mark::Look),
            Presence::Offline | Presence::Silent => Verdict::Unknown,
        }
    }

    fn value(node: &NodeSeen, value: &ValueOf, limit: Limit) -> Verdict {
        match node.values.get(value) {
            Some(m) if limit.is_passed_by(m.value) => Verdict::Bad(Mark::Measured(m.heard_ms)),
            Some(m) if limit.is_kept_by(m.value) => Verdict::Good(Mark::Measured(m.heard_ms)),
            _ => Verdict::Unknown,
        }
    }

    fn instance(rule: &Rule, node: &NodeSeen, instance: &InstanceSeen) -> Verdict {
        if node.presence != Presence::Online {
            return Verdict::Unknown;
        }
        let bad = match rule.when {
            Condition::Crashloop => InstanceState::CrashLoop,
            Condition::Unhealthy => InstanceState::Unhealthy,
            _ => InstanceState::Failed,
        };
        let mark = match rule.when {
            Condition::Crashloop => Mark::Restarts(instance.restarts),
            _ => Mark::Look,
        };
        match instance.state {
            state if state == bad => Verdict::Bad(mark),
            InstanceState::Stopped => Verdict::Good(mark),
            state if state.is_well() => Verdict::Good(mark),
            // On its way to somewhere.
            _ => Verdict::Unknown,
        }
    }
}

fn is(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Bad(_))
}

/// The value that a condition asks for, and its limit.
pub(super) fn asked(when: &Condition) -> Option<(ValueOf, Limit)> {
    Some(match when {
        Condition::Disk(limit) => (ValueOf::Disk, *limit),
        Condition::Memory(limit) => (ValueOf::Memory, *limit),
        Condition::Cpu(limit) => (ValueOf::Cpu, *limit),
        Condition::Temperature(limit) => (ValueOf::Temperature, *limit),
        Condition::Telemetry {
            metric,
            value,
            limit,
        } => (ValueOf::Telemetry(*metric, value.clone()), *limit),
        _ => return None,
    })
}
