//! Instances that go from one node to another, with a clock that the test owns.
//!
//! | module | about |
//! |---|---|
//! | [`failover`] | lost nodes, returning nodes, nodes that come and go |
//! | [`migrate`] | one instance, new first or old first, done or undone |
//! | [`drain`] | cordon, drain, their progress and what blocks them |
//! | [`rebalance`] | plans, and what comes of them |
//! | [`cluster`] | the fleet in numbers |
//! | [`random`] | whatever happens: copies, ends, deadlines, replay |

mod cluster;
mod drain;
mod failover;
mod migrate;
mod random;
mod rebalance;

use super::{applied, described, enrolled, events, every, facts, name, placed, replicas, requires};
use crate::{
    contract::Seq,
    fleet::{Change, Effect, Entry, Fleet, MovePhase, Refusal},
    model::{
        HealthStatus, InstanceState, Mount, MountSource, Name, ObservedInstance, PlacementMode,
        Presence, RuntimeKind, Workload,
    },
};

/// The default of `lost_after`.
const LOST_AFTER: u64 = 120_000;
/// The default of `min_healthy_time`.
const HEALTHY: u64 = 10_000;
/// The default of `healthy_deadline`.
const DEADLINE: u64 = 300_000;

/// A fleet, its clock, and all that it took.
struct World {
    fleet: Fleet,
    at: u64,
    taken: Vec<Entry>,
    sessions: u64,
}

impl World {
    /// Nodes that are online.
    fn of(nodes: &[&str]) -> World {
        let mut world = World {
            fleet: Fleet::new(),
            at: 1_000_000,
            taken: Vec::new(),
            sessions: 0,
        };
        for node in nodes {
            world.join(node);
        }
        world
    }

    fn join(&mut self, node: &str) {
        self.apply(enrolled(node, &format!("key-{node}"), true));
        self.apply(described(node, facts(&[("process", "1")])));
        self.presence(node, Presence::Online);
    }

    fn entry(&self, change: Change) -> Entry {
        Entry {
            at_ms: self.at,
            by: None,
            change,
        }
    }

    fn try_apply(&mut self, change: Change) -> Result<Vec<Effect>, Refusal> {
        let entry = self.entry(change);
        let before = self.fleet.clone();
        let answer = self.fleet.apply(&entry);
        match &answer {
            Ok(_) => self.taken.push(entry),
            Err(_) => assert_eq!(self.fleet, before, "refused, and yet changed: {entry:?}"),
        }
        self.check();
        answer
    }

    fn apply(&mut self, change: Change) -> Vec<Effect> {
        let text = format!("{change:?}");
        self.try_apply(change)
            .unwrap_or_else(|refusal| panic!("{refusal}: {text}"))
    }

    fn refused(&mut self, change: Change) -> String {
        self.try_apply(change)
            .expect_err("it was taken")
            .to_string()
    }

    fn presence(&mut self, node: &str, presence: Presence) -> Vec<Effect> {
        self.sessions += 1;
        self.apply(Change::NodePresenceChanged {
            node: name(node),
            presence,
            session: Seq {
                start: 1,
                count: self.sessions,
            },
            reason: match presence {
                Presence::Online => String::new(),
                _ => "its connection was lost".into(),
            },
        })
    }

    fn offline(&mut self, node: &str) -> Vec<Effect> {
        self.presence(node, Presence::Offline)
    }

    fn online(&mut self, node: &str) -> Vec<Effect> {
        self.presence(node, Presence::Online)
    }

    /// Time passes; whatever is due by itself happens when it is.
    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.at + ms;
        let mut effects = Vec::new();
        while let Some(due) = self.fleet.next_deadline().filter(|due| *due <= end) {
            self.at = self.at.max(due);
            effects.extend(self.apply(Change::TimePassed {}));
            let next = self.fleet.next_deadline();
            assert!(next.is_none_or(|next| next > self.at), "it spins: {next:?}");
        }
        self.at = end;
        effects
    }

    /// A node obeys its assignment, and says so.
    fn report(&mut self, node: &str) -> Vec<Effect> {
        self.report_as(node, |_| {})
    }

    /// The same, with something else than that all is well.
    fn report_as(&mut self, node: &str, change: impl Fn(&mut ObservedInstance)) -> Vec<Effect> {
        let assignment = self.fleet.assignment(node).expect("a node");
        let instances = assignment.instances.iter().map(|i| {
            let mut observed = running(&i.workload);
            change(&mut observed);
            observed
        });
        let change = Change::StateReported {
            node: name(node),
            generation: assignment.generation,
            instances: instances.collect(),
            engines: Vec::new(),
        };
        match self.try_apply(change) {
            Ok(effects) => effects,
            Err(Refusal::Unchanged) => Vec::new(),
            Err(other) => panic!("{other}"),
        }
    }

    fn report_all(&mut self) -> Vec<Effect> {
        let online = self
            .fleet
            .nodes()
            .filter(|(_, n)| n.presence == Presence::Online);
        let online: Vec<Name> = online.map(|(name, _)| name.clone()).collect();
        let reports = online.iter().flat_map(|n| self.report(n.as_str()));
        reports.collect()
    }

    /// Reports and time until nothing moves any more.
    fn settle(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..200 {
            effects.extend(self.report_all());
            effects.extend(self.pass(HEALTHY));
            if self.moves() == 0 {
                // The nodes that were left say that they are.
                effects.extend(self.report_all());
                return effects;
            }
        }
        panic!("moves never ended");
    }

    fn placed(&self, workload: &str) -> Vec<String> {
        let placed = placed(&self.fleet, workload);
        placed.iter().map(ToString::to_string).collect()
    }

    /// Nodes whose assignment names it.
    fn assigned(&self, workload: &str) -> Vec<String> {
        let names = |node: &&Name| {
            let assignment = self.fleet.assignment(node.as_str());
            assignment.is_some_and(|a| {
                let mut all = a.instances.iter();
                all.any(|i| i.workload.name.as_str() == workload)
            })
        };
        let nodes = self.fleet.nodes().map(|(name, _)| name);
        nodes.filter(names).map(ToString::to_string).collect()
    }

    fn reason(&self, workload: &str, node: &str) -> &str {
        &self.fleet.workload(workload).unwrap().reasons[node]
    }

    fn moves(&self) -> usize {
        self.fleet.workloads().map(|(_, w)| w.moves.len()).sum()
    }

    /// Never more copies than asked for and on their way; and both sides say the same.
    fn check(&self) {
        for (name, w) in self.fleet.workloads() {
            let PlacementMode::Any { replicas } = w.spec.placement.mode else {
                continue;
            };
            let starting = w.moves.values().filter(|m| m.phase == MovePhase::Starting);
            let asked = replicas as usize + starting.count();
            assert_eq!(w.placed.len() + w.missing as usize, asked, "{name}: {w:#?}");
            assert!(self.assigned(name.as_str()).len() <= asked, "{name}");
            for (from, m) in &w.moves {
                assert!(w.placed.contains(&m.to), "{name} {from} {m:?}");
                let there = w.placed.contains(from);
                assert_eq!(there, m.phase == MovePhase::Starting, "{name} {from} {m:?}");
            }
        }
        for (name, node) in self.fleet.nodes() {
            let here = self
                .fleet
                .workloads()
                .filter(|(_, w)| w.placed.contains(name));
            let here: std::collections::BTreeSet<Name> = here.map(|(n, _)| n.clone()).collect();
            assert_eq!(node.placed, here, "on {name}");
        }
    }

    /// The same entries, through the text that the journal keeps, give the same fleet.
    fn replays(&self) {
        let mut again = Fleet::new();
        for entry in &self.taken {
            let text = serde_json::to_string(entry).unwrap();
            let stored: Entry = serde_json::from_str(&text).unwrap();
            assert!(again.apply(&stored).is_ok(), "{text}");
        }
        let text = serde_json::to_string(&self.fleet).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        let snapshot: Fleet = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&snapshot).unwrap(), text);
    }
}

fn running(workload: &Workload) -> ObservedInstance {
    ObservedInstance {
        workload: workload.name.clone(),
        version: workload.version.clone(),
        spec_hash: workload.spec_hash(),
        state: InstanceState::Running,
        runtime: RuntimeKind::Process,
        restarts: 0,
        reason: None,
        warnings: Vec::new(),
        exit_code: None,
        handle: None,
        since_ms: 0,
        progress: None,
        health: Some(HealthStatus::Healthy),
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        trial: None,
        fetched: None,
    }
}

/// With a volume that only its node has.
fn stateful(text: &str) -> Workload {
    let mut workload = replicas(text, 1);
    workload.volumes = vec![volume(false)];
    workload
}

/// With a volume that goes along, and is written by one at a time.
fn shared(text: &str) -> Workload {
    let mut workload = replicas(text, 1);
    workload.volumes = vec![volume(true)];
    workload
}

fn volume(movable: bool) -> Mount {
    Mount {
        source: MountSource::Volume("data".into()),
        target: "/data".into(),
        read_only: false,
        movable,
    }
}

fn migrated(workload: &str, from: &str, to: Option<&str>, force: bool) -> Change {
    Change::InstanceMigrated {
        workload: name(workload),
        from: name(from),
        to: to.map(name),
        force,
    }
}

fn drained(node: &str, drain: Option<bool>) -> Change {
    Change::NodeDrained {
        node: name(node),
        drain,
    }
}

fn cordoned(node: &str, cordoned: bool) -> Change {
    Change::NodeCordoned {
        node: name(node),
        cordoned,
    }
}
