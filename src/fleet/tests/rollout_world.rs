//! A fleet whose nodes obey: each reports what it was assigned, well or ill by its version.

use super::{applied, described, enrolled, facts, name};
use crate::{
    contract::Seq,
    fleet::{
        Actor, Change, Effect, Entry, Fleet, Refusal, Rollout, RolloutOrder, RolloutPhase,
        StepState,
    },
    identity::Role,
    model::{
        AssignedInstance, Assignment, HealthStatus, InstanceState, Name, ObservedInstance,
        PlacementMode, Presence, RuntimeKind, Share, Trial, TrialState, UnixMs, Update, Workload,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Clone)]
pub(super) struct World {
    pub fleet: Fleet,
    pub at: UnixMs,
    /// Versions that never become healthy; on these nodes, or (empty) on all.
    pub bad: BTreeMap<String, BTreeSet<Name>>,
    pub online: BTreeSet<Name>,
    /// Everything that was accepted.
    pub journal: Vec<Entry>,
    pub events: Vec<(String, String)>,
    /// Refusals are looked at, and what was accepted is kept.
    pub checks: bool,
    sessions: u64,
    /// Since when what is on trial on a node has been well there: which, by its hash.
    well: BTreeMap<Name, (String, UnixMs)>,
}

pub(super) fn update() -> Update {
    Update::default()
}

pub(super) fn canary() -> Update {
    Update {
        canary: 1,
        max_parallel: Share::Count(2),
        ..update()
    }
}

/// Why it was refused.
pub(super) fn conflict(result: Result<(), Refusal>) -> String {
    match result {
        Err(Refusal::Conflict(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// `web` on every node, in this version.
pub(super) fn web(version: &str, update: Option<Update>) -> Workload {
    let mut web = super::workload("web");
    web.version = version.into();
    web.env.insert("V".into(), version.into());
    web.placement.mode = PlacementMode::Every;
    web.update = update;
    web
}

impl World {
    /// So many nodes, `n0` to …, each with a label `zone` = `a` or `b` in turn and `rank` = its
    /// number.
    pub fn new(nodes: usize) -> World {
        let mut world = World {
            fleet: Fleet::new(),
            at: 1_000_000,
            bad: BTreeMap::new(),
            online: BTreeSet::new(),
            journal: Vec::new(),
            events: Vec::new(),
            checks: nodes < 100,
            sessions: 0,
            well: BTreeMap::new(),
        };
        for n in 0..nodes {
            world.join(n);
        }
        world
    }

    pub fn join(&mut self, n: usize) {
        let node = format!("n{n}");
        self.take(enrolled(&node, &format!("key-{node}"), true));
        let mut facts = facts(&[("process", "1")]);
        let zone = if n.is_multiple_of(2) { "a" } else { "b" };
        facts.features = crate::model::FEATURES;
        facts.labels.insert("zone".into(), zone.into());
        facts.labels.insert("rank".into(), n.to_string());
        self.take(described(&node, facts));
        self.set_online(&node, true);
    }

    pub fn set_online(&mut self, node: &str, online: bool) {
        self.sessions += 1;
        let change = Change::NodePresenceChanged {
            node: name(node),
            presence: if online {
                Presence::Online
            } else {
                Presence::Offline
            },
            session: Seq {
                start: 1,
                count: self.sessions,
            },
            reason: "because".into(),
        };
        self.take(change);
        if online {
            self.online.insert(name(node));
        } else {
            self.online.remove(&name(node));
        }
    }

    pub fn give(&mut self, change: Change) -> Result<Vec<Effect>, Refusal> {
        let by = Some(Actor {
            token: "ann".into(),
            role: Role::Operator,
            from: "127.0.0.1".into(),
            trace: None,
        });
        let entry = Entry {
            at_ms: self.at,
            by,
            change,
        };
        let before = self.checks.then(|| self.fleet.clone());
        match self.fleet.apply(&entry) {
            Ok(effects) => {
                for effect in &effects {
                    if let Effect::Emit(event) = effect {
                        self.events
                            .push((event.event.clone(), event.message.clone()));
                    }
                }
                if self.checks {
                    self.journal.push(entry);
                }
                Ok(effects)
            }
            Err(refusal) => {
                let same = before.is_none_or(|before| before == self.fleet);
                assert!(same, "refused, and yet changed: {refusal}");
                Err(refusal)
            }
        }
    }

    pub fn take(&mut self, change: Change) -> Vec<Effect> {
        let shown = format!("{change:?}");
        self.give(change).unwrap_or_else(|e| panic!("{e}: {shown}"))
    }

    pub fn apply(&mut self, workload: Workload) {
        self.take(applied(&[workload]));
    }

    pub fn order(&mut self, order: RolloutOrder) -> Result<(), Refusal> {
        let workload = name("web");
        self.give(Change::RolloutOrdered { workload, order })
            .map(|_| ())
    }

    fn is_bad(&self, node: &Name, version: &str) -> bool {
        let on = self.bad.get(version);
        on.is_some_and(|nodes| nodes.is_empty() || nodes.contains(node))
    }

    /// What a node that does as it is told says of one instance.
    pub fn observed(&self, node: &Name, i: &AssignedInstance) -> ObservedInstance {
        let bad = self.is_bad(node, &i.workload.version);
        let trial = i.guard.as_ref().map(|_| {
            Box::new(Trial {
                spec_hash: i.workload.spec_hash(),
                version: i.workload.version.clone(),
                state: if bad {
                    TrialState::Failed
                } else if self.passes_ms(node, i).is_some_and(|due| due <= self.at) {
                    TrialState::Passed
                } else {
                    TrialState::Running
                },
                reason: bad.then(|| "exit code 1".into()),
                last_output: bad.then(|| "boom".to_owned()).into_iter().collect(),
                at_ms: 0,
            })
        });
        let runs = match &i.guard {
            Some(guard) if bad => &guard.fallback,
            _ => &i.workload,
        };
        let ill = self.is_bad(node, &runs.version);
        ObservedInstance {
            workload: runs.name.clone(),
            version: runs.version.clone(),
            spec_hash: runs.spec_hash(),
            state: if ill {
                InstanceState::CrashLoop
            } else {
                InstanceState::Running
            },
            runtime: RuntimeKind::Process,
            restarts: 0,
            reason: ill.then(|| "it ended with exit code 1".into()),
            warnings: Vec::new(),
            exit_code: None,
            handle: None,
            since_ms: 0,
            progress: None,
            health: (!ill).then_some(HealthStatus::Healthy),
            runs: None,
            next_run_ms: None,
            last_error: None,
            last_output: ill.then(|| "boom".to_owned()).into_iter().collect(),
            trial,
            fetched: None,
        }
    }

    /// When its agent has watched for long enough what is on trial there, and well.
    fn passes_ms(&self, node: &Name, i: &AssignedInstance) -> Option<UnixMs> {
        let (hash, since) = self.well.get(node)?;
        let guard = i.guard.as_ref().filter(|_| *hash == i.workload.spec_hash());
        Some(since + guard?.min_healthy_time_ms)
    }

    /// When the next agent has something to say by itself.
    fn next_word(&self) -> Option<UnixMs> {
        let words = self.online.iter().filter_map(|node| {
            let assignment = self.fleet.assignment(node.as_str())?;
            let due = assignment.instances.iter();
            let due = due.filter_map(|i| self.passes_ms(node, i)).min()?;
            (due > self.at).then_some(due)
        });
        words.min()
    }

    /// One node that can be heard obeys, and says so.
    pub fn obey(&mut self, node: &Name) {
        let Some(assignment) = self.fleet.assignment(node.as_str()) else {
            return;
        };
        if !self.online.contains(node) {
            return;
        }
        let tried = assignment.instances.iter().find(|i| i.guard.is_some());
        let tried = tried.filter(|i| !self.is_bad(node, &i.workload.version));
        match tried.map(|i| i.workload.spec_hash()) {
            Some(hash) if self.well.get(node).is_some_and(|(h, _)| *h == hash) => {}
            Some(hash) => {
                self.well.insert(node.clone(), (hash, self.at));
            }
            None => {
                self.well.remove(node);
            }
        }
        self.obey_as(node, &assignment);
    }

    /// The same, of an assignment that may not be its latest one.
    pub fn obey_as(&mut self, node: &Name, assignment: &Assignment) {
        let instances = assignment.instances.iter();
        let instances = instances.map(|i| self.observed(node, i)).collect();
        let change = Change::StateReported {
            node: node.clone(),
            generation: assignment.generation,
            instances,
            engines: Vec::new(),
        };
        match self.give(change) {
            Ok(_) | Err(Refusal::Unchanged) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// All of them, once.
    pub fn obey_all(&mut self) {
        for node in self.online.clone() {
            self.obey(&node);
        }
    }

    /// The next deadline comes: the fleet's, or the end of a trial on nodes that have obeyed.
    pub fn tick(&mut self) -> bool {
        let due = self.fleet.next_deadline();
        if let Some(word) = self.next_word()
            && due.is_none_or(|due| word <= due)
        {
            let all = self.online.iter().filter(|n| {
                let assignment = self.fleet.assignment(n.as_str());
                let instances = assignment.into_iter().flat_map(|a| a.instances);
                instances
                    .filter_map(|i| self.passes_ms(n, &i))
                    .any(|at| at == word)
            });
            let nodes: Vec<Name> = all.cloned().collect();
            self.at = word;
            for node in nodes {
                self.obey(&node);
            }
            if due.is_none_or(|due| due > word) {
                return true;
            }
        }
        let Some(due) = self.fleet.next_deadline() else {
            return false;
        };
        self.at = self.at.max(due);
        self.take(Change::TimePassed {});
        let next = self.fleet.next_deadline();
        assert!(next.is_none_or(|n| n > self.at), "{next:?} is not later");
        true
    }

    /// Until nothing is left to wait for; at most so many rounds.
    pub fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.obey_all();
            let active = self.rollout().is_some_and(|r| r.phase.is_active());
            if !active || !self.tick() {
                break;
            }
        }
        self.obey_all();
    }

    pub fn rollout(&self) -> Option<&Rollout> {
        self.fleet.workload("web")?.rollout.as_ref()
    }

    pub fn phase(&self) -> RolloutPhase {
        self.rollout().unwrap().phase
    }

    pub fn in_state(&self, state: StepState) -> Vec<&str> {
        let steps = self.rollout().unwrap().steps.iter();
        steps
            .filter(|(_, s)| s.state == state)
            .map(|(n, _)| n.as_str())
            .collect()
    }

    /// The version that a node is assigned.
    pub fn told(&self, node: &str) -> String {
        self.instance(node).workload.version.clone()
    }

    pub fn instance(&self, node: &str) -> AssignedInstance {
        let assignment = self.fleet.assignment(node).unwrap();
        let mut all = assignment.instances.into_iter();
        all.find(|i| i.workload.name.as_str() == "web").unwrap()
    }

    pub fn told_all(&self) -> String {
        let nodes = self.fleet.nodes().map(|(n, _)| self.told(n.as_str()));
        nodes.collect::<Vec<_>>().join(" ")
    }

    pub fn happened(&self, event: &str) -> usize {
        self.events.iter().filter(|(e, _)| e == event).count()
    }

    /// Version 1 runs everywhere, and the next one is applied.
    pub fn rolling(nodes: usize, update: Update) -> World {
        let mut world = World::new(nodes);
        world.apply(web("1", None));
        world.obey_all();
        world.apply(web("2", Some(update)));
        world
    }

    /// The journal gives the same fleet, byte for byte, whenever it is begun anew.
    pub fn replays(&self) {
        let mut again = Fleet::new();
        for (n, entry) in self.journal.iter().enumerate() {
            let text = serde_json::to_string(entry).unwrap();
            let stored: Entry = serde_json::from_str(&text).unwrap();
            again.apply(&stored).unwrap();
            // A controller that now and then starts from a snapshot.
            if n % 4 == 3 {
                let text = serde_json::to_string(&again).unwrap();
                again = serde_json::from_str(&text).unwrap();
            }
        }
        let text = |fleet: &Fleet| serde_json::to_string(fleet).unwrap();
        assert_eq!(text(&again), text(&self.fleet));
    }
}
