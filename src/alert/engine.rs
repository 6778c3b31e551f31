//! Counts samples, and says what follows.

use super::{
    Matcher, Observation, Rule, Silence, Subject,
    ending::ending,
    judge::{Look, Mark, Verdict},
    sentence::sentence,
};
use crate::{
    model::{Name, UnixMs},
    notify::{Notification, Occasion, Severity},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Alerts that are pending or firing at once; what comes on top of that is counted and dropped.
pub const MAX_ALIVE: usize = 10_000;
/// Alerts that are over and still shown.
pub const MAX_RESOLVED: usize = 1_000;

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// An alert began: an event.
    Fired(Notification),
    /// It is over: an event.
    Resolved(Notification),
    /// These receivers are to be told.
    Notify {
        /// Who; at least one.
        to: Vec<Name>,
        /// What.
        notification: Notification,
    },
    /// There are more alerts than are kept, for the first time since there was room.
    Full {
        /// So many were dropped in this look.
        dropped: usize,
    },
}

/// How far an alert has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// So many bad samples in a row.
    Pending { bad: u32 },
    /// So many good samples in a row.
    Firing { good: u32 },
}

/// One rule about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) phase: Phase,
    pub(super) severity: Severity,
    /// As things were at the last bad sample.
    pub(super) message: String,
    /// When the first bad sample came.
    pub(super) since_ms: UnixMs,
    /// When it fired; 0: it has not.
    pub(super) fired_ms: UnixMs,
    /// [`Mark`] of the last sample.
    pub(super) mark: Option<u64>,
    /// Who was told.
    pub(super) told: BTreeSet<Name>,
    /// When, last.
    pub(super) told_ms: Option<UnixMs>,
    /// When others were told too.
    pub(super) escalated_ms: Option<UnixMs>,
}

/// An alert that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) rule: String,
    pub(super) subject: Subject,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) since_ms: UnixMs,
    pub(super) resolved_ms: UnixMs,
    pub(super) escalated_ms: Option<UnixMs>,
}

/// All alerts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    rules: Vec<Rule>,
    /// Who is told where a rule does not say.
    notify: Vec<Name>,
    /// After how long, where a rule does not say; 0: never.
    repeat_ms: u64,
    /// By rule and subject.
    pub(super) alive: BTreeMap<String, BTreeMap<Subject, Alert>>,
    /// The oldest first.
    pub(super) resolved: VecDeque<Ended>,
    /// There was no room in the last look.
    is_full: bool,
    /// Since [`Alerts::take_changed`].
    changed: bool,
}

/// What a look does to all alerts, in the making.
struct Round<'a> {
    look: Look<'a>,
    out: Vec<Transition>,
    dropped: usize,
}

impl Alerts {
    /// No alert yet. Of two rules with the same name the last one counts.
    pub fn new(rules: Vec<Rule>, notify: Vec<Name>, repeat_ms: u64) -> Alerts {
        Alerts {
            rules,
            notify,
            repeat_ms,
            ..Alerts::default()
        }
    }

    /// All rules, also those that are turned off.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Who is told of what a rule finds.
    pub fn told_by<'a>(&'a self, rule: &'a Rule) -> &'a [Name] {
        rule.notify.as_deref().unwrap_or(&self.notify)
    }

    /// After how long it is told again, milliseconds; 0: never.
    pub fn repeat_ms(&self, rule: &Rule) -> u64 {
        rule.repeat_ms.unwrap_or(self.repeat_ms)
    }

    /// Pending and firing.
    pub fn count(&self) -> usize {
        self.alive.values().map(BTreeMap::len).sum()
    }

    /// What must survive a restart has changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// It is to be kept after all: it could not be written.
    pub fn set_changed(&mut self) {
        self.changed = true;
    }

    /// Takes a look.
    pub fn observe(&mut self, now: UnixMs, seen: &Observation) -> Vec<Transition> {
        let silences = Silences::at(&seen.silences, now);
        let mut lost = BTreeSet::new();
        let mut out = Vec::new();
        let mut dropped = 0;
        let rules = std::mem::take(&mut self.rules);
        self.end_without_rule(&rules, seen, now, &mut out);
        // Whether nodes are lost comes first: of what is on them nothing is known then.
        let is_loss = |r: &&Rule| matches!(r.when, super::Condition::NodeLost { .. });
        let (losses, others): (Vec<&Rule>, Vec<&Rule>) =
            rules.iter().filter(|r| r.enabled).partition(is_loss);
        for rule in &losses {
            let nothing = BTreeSet::new();
            let mut round = Round::new(now, seen, &nothing);
            self.take_samples(rule, &mut round);
            out.append(&mut round.out);
            dropped += round.dropped;
            let own = self.alive.get(&rule.name).into_iter().flatten();
            let firing = own.filter(|(_, a)| a.is_firing());
            lost.extend(firing.filter_map(|(subject, _)| subject.node.clone()));
        }
        for rule in others {
            let mut round = Round::new(now, seen, &lost);
            self.take_samples(rule, &mut round);
            out.append(&mut round.out);
            dropped += round.dropped;
        }
        let (silences, lost) = (&silences, &lost);
        for rule in rules.iter().filter(|r| r.enabled) {
            self.tell(rule, now, silences, lost, &mut out);
        }
        self.rules = rules;
        if dropped > 0 && !self.is_full {
            out.push(Transition::Full { dropped });
        }
        self.is_full = dropped > 0;
        out
    }

    /// A rule that is turned off, or not there any more, finds nothing.
    fn end_without_rule(
        &mut self,
        rules: &[Rule],
        seen: &Observation,
        now: UnixMs,
        out: &mut Vec<Transition>,
    ) {
        let on: BTreeSet<&str> = rules
            .iter()
            .filter(|r| r.enabled)
            .map(|r| r.name.as_str())
            .collect();
        let gone = self.alive.keys().filter(|name| !on.contains(name.as_str()));
        let gone: Vec<String> = gone.cloned().collect();
        for name in gone {
            for (subject, alert) in self.alive.remove(&name).unwrap_or_default() {
                let rule = rules.iter().find(|r| r.name == name);
                let why = ending(&name, rule, &subject, seen, now);
                self.end(&name, subject, alert, (now, why), out);
            }
        }
    }

    fn take_samples(&mut self, rule: &Rule, round: &mut Round<'_>) {
        let now = round.look.now;
        let mut room = MAX_ALIVE.saturating_sub(self.count());
        let mut own = self.alive.remove(&rule.name).unwrap_or_default();
        let bad = round.look.bad(rule);
        let mut over = Vec::new();
        for (subject, alert) in &mut own {
            alert.severity = rule.severity;
            let verdict = round.look.of(rule, subject);
            if matches!(verdict, Verdict::Bad(_)) {
                alert.message = sentence(rule, subject, round.look.seen, now);
            }
            match alert.sample(verdict, rule.samples) {
                After::Same => {}
                After::Fires => {
                    alert.fired_ms = now;
                    let said = alert.said(rule, subject, Occasion::Firing, now);
                    round.out.push(Transition::Fired(said));
                    self.changed = true;
                }
                After::Over => over.push(subject.clone()),
            }
        }
        for subject in over {
            if let Some(alert) = own.remove(&subject) {
                room += 1;
                let why = ending(&rule.name, Some(rule), &subject, round.look.seen, now);
                self.end(&rule.name, subject, alert, (now, why), &mut round.out);
            }
        }
        for subject in bad {
            if own.contains_key(&subject) {
                continue;
            }
            let Verdict::Bad(mark) = round.look.of(rule, &subject) else {
                continue;
            };
            if room == 0 {
                round.dropped += 1;
                continue;
            }
            room -= 1;
            let mut alert = Alert {
                phase: Phase::Pending { bad: 1 },
                severity: rule.severity,
                message: sentence(rule, &subject, round.look.seen, now),
                since_ms: now,
                fired_ms: 0,
                mark: mark.number(),
                told: BTreeSet::new(),
                told_ms: None,
                escalated_ms: None,
            };
            if rule.samples <= 1 {
                alert.phase = Phase::Firing { good: 0 };
                alert.fired_ms = now;
                let said = alert.said(rule, &subject, Occasion::Firing, now);
                round.out.push(Transition::Fired(said));
                self.changed = true;
            }
            own.insert(subject, alert);
        }
        if !own.is_empty() {
            self.alive.insert(rule.name.clone(), own);
        }
    }

    /// An alert is over since now, which is said by a sentence of its own.
    fn end(
        &mut self,
        rule: &str,
        subject: Subject,
        alert: Alert,
        (now, why): (UnixMs, String),
        out: &mut Vec<Transition>,
    ) {
        if !alert.is_firing() {
            return;
        }
        self.changed = true;
        let said = Notification {
            message: why,
            ..alert.said_by(rule, &subject, Occasion::Resolved, now)
        };
        // Silenced or not: who was told that it began waits for its end, and keeps an incident open.
        if !alert.told.is_empty() {
            out.push(Transition::Notify {
                to: alert.told.iter().cloned().collect(),
                notification: said.clone(),
            });
        }
        out.push(Transition::Resolved(said));
        while self.resolved.len() >= MAX_RESOLVED {
            self.resolved.pop_front();
        }
        self.resolved.push_back(Ended {
            rule: rule.to_owned(),
            subject,
            severity: alert.severity,
            message: alert.message,
            since_ms: alert.since_ms,
            resolved_ms: now,
            escalated_ms: alert.escalated_ms,
        });
    }

    /// Tells who is to be told of what fires; of a lost node only that it is lost, until it is heard.
    fn tell(
        &mut self,
        rule: &Rule,
        now: UnixMs,
        silences: &Silences,
        lost: &BTreeSet<Name>,
        out: &mut Vec<Transition>,
    ) {
        let is_loss = matches!(rule.when, super::Condition::NodeLost { .. });
        let repeat_ms = self.repeat_ms(rule);
        let first = rule.notify.as_ref().unwrap_or(&self.notify);
        let own = self.alive.get_mut(&rule.name).into_iter().flatten();
        let unknown = |s: &Subject| s.node.as_ref().is_some_and(|n| lost.contains(n));
        for (subject, alert) in own.filter(|(_, a)| a.is_firing()) {
            if !is_loss && unknown(subject) {
                continue;
            }
            let to = alert.due(rule, first, repeat_ms, now);
            if to.is_empty() || silences.cover(&rule.id(subject), &rule.name, subject) {
                continue;
            }
            for (occasion, to) in to {
                match occasion {
                    Occasion::Escalated => alert.escalated_ms = Some(now),
                    _ => alert.told_ms = Some(now),
                }
                alert.told.extend(to.iter().cloned());
                let notification = alert.said(rule, subject, occasion, now);
                out.push(Transition::Notify { to, notification });
            }
            self.changed = true;
        }
    }
}

impl<'a> Round<'a> {
    fn new(now: UnixMs, seen: &'a Observation, lost: &'a BTreeSet<Name>) -> Round<'a> {
        Round {
            look: Look { now, seen, lost },
            out: Vec::new(),
            dropped: 0,
        }
    }
}

/// What a sample does to an alert.
enum After {
    Same,
    Fires,
    Over,
}

impl Alert {
    pub(super) fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing { .. })
    }

    fn sample(&mut self, verdict: Verdict, samples: u32) -> After {
        let (is_bad, mark) = match verdict {
            Verdict::Gone => return After::Over,
            Verdict::Unknown => return After::Same,
            Verdict::Bad(mark) => (true, mark),
            Verdict::Good(mark) => (false, mark),
        };
        let is_same = self.mark == mark.number();
        let known = self.mark.is_some();
        self.mark = mark.number();
        match mark {
            Mark::Measured(_) if is_same => return After::Same,
            Mark::Restarts(_) if !is_bad && !is_same => return After::Same,
            Mark::Revision(_) if known && !is_same => return After::Over,
            _ => {}
        }
        match (self.phase, is_bad) {
            (Phase::Pending { bad }, true) if bad.saturating_add(1) >= samples => {
                self.phase = Phase::Firing { good: 0 };
                return After::Fires;
            }
            (Phase::Pending { bad }, true) => self.phase = Phase::Pending { bad: bad + 1 },
            (Phase::Pending { .. }, false) => return After::Over,
            (Phase::Firing { .. }, true) => self.phase = Phase::Firing { good: 0 },
            (Phase::Firing { good }, false) if good.saturating_add(1) >= samples => {
                return After::Over;
            }
            (Phase::Firing { good }, false) => self.phase = Phase::Firing { good: good + 1 },
        }
        After::Same
    }

    /// Who is to be told now, of one that fires.
    fn due(
        &self,
        rule: &Rule,
        first: &[Name],
        repeat_ms: u64,
        now: UnixMs,
    ) -> Vec<(Occasion, Vec<Name>)> {
        let mut due = Vec::new();
        let passed = |since: UnixMs, ms: u64| now >= since.saturating_add(ms);
        match self.told_ms {
            None if !first.is_empty() => due.push((Occasion::Firing, first.to_vec())),
            Some(told) if repeat_ms > 0 && passed(told, repeat_ms) => {
                due.push((Occasion::Repeated, self.told.iter().cloned().collect()));
            }
            _ => {}
        }
        let escalates = rule
            .escalate_after_ms
            .filter(|_| self.escalated_ms.is_none());
        if escalates.is_some_and(|ms| passed(self.fired_ms, ms)) && !rule.escalate_to.is_empty() {
            due.push((Occasion::Escalated, rule.escalate_to.clone()));
        }
        due
    }

    fn said(&self, rule: &Rule, subject: &Subject, occasion: Occasion, at: UnixMs) -> Notification {
        self.said_by(&rule.name, subject, occasion, at)
    }

    fn said_by(
        &self,
        rule: &str,
        subject: &Subject,
        occasion: Occasion,
        at_ms: UnixMs,
    ) -> Notification {
        Notification {
            id: subject.id(rule),
            rule: rule.to_owned(),
            severity: self.severity,
            occasion,
            node: subject.node.clone(),
            workload: subject.workload.clone(),
            message: self.message.clone(),
            since_ms: self.since_ms,
            at_ms,
        }
    }
}

/// The silences that are in effect, read once for all alerts.
pub(super) struct Silences {
    /// By the id of the alert.
    exact: BTreeMap<String, Silence>,
    fitting: Vec<(Matcher, Silence)>,
}

impl Silences {
    pub(super) fn at(all: &BTreeMap<String, Silence>, now: UnixMs) -> Silences {
        let mut silences = Silences {
            exact: BTreeMap::new(),
            fitting: Vec::new(),
        };
        for (text, silence) in all.iter().filter(|(_, s)| s.until_ms > now) {
            match Matcher::parse(text) {
                Ok(Matcher::Alert(id)) => {
                    silences.exact.insert(id, silence.clone());
                }
                Ok(fitting) => silences.fitting.push((fitting, silence.clone())),
                // None is ever taken that cannot be read.
                Err(_) => {}
            }
        }
        silences
    }

    /// The one that covers an alert for the longest time.
    pub(super) fn of(&self, id: &str, rule: &str, subject: &Subject) -> Option<&Silence> {
        let fitting = self.fitting.iter();
        let fitting = fitting.filter(|(m, _)| m.fits(id, rule, subject));
        let all = fitting.map(|(_, s)| s).chain(self.exact.get(id));
        all.max_by_key(|s| s.until_ms)
    }

    fn cover(&self, id: &str, rule: &str, subject: &Subject) -> bool {
        self.of(id, rule, subject).is_some()
    }
}
