//! How long the controller's state machine takes to decide, without network or disk; and how long a
//! journal of a million entries takes to read.
//!
//! `cargo bench --bench decisions` builds it as the release binary is built. Each figure is the
//! median of several runs and the slowest of them.

#![allow(clippy::unwrap_used)] // a benchmark that cannot go on must say where

use fleetctl::{
    contract::Seq,
    fleet::{Change, Effect, Entry, Fleet, Refusal},
    journal::{Journal, Recorded, SqliteJournal},
    model::{
        HealthStatus, InstanceState, Name, NodeFacts, ObservedInstance, PlacementMode, Presence,
        Run, RuntimeKind, Share, Update, Workload,
    },
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const START_MS: u64 = 1_800_000_000_000;

/// Its own words in place of the figures' names: only those that contain it are measured.
fn wanted(name: &str) -> bool {
    let mut asked = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .peekable();
    asked.peek().is_none() || asked.any(|a| name.contains(&a))
}

fn main() {
    if wanted("place") {
        figure(
            "place 10,000 instances on 1,000 nodes (1,000 workloads of 10)",
            250,
            place(1_000, 10),
        );
        figure(
            "place 10,000 instances on 1,000 nodes (10 workloads on every node)",
            250,
            place(10, 1_000),
        );
    }
    if wanted("change") {
        for (nodes, target) in [(1_000, None), (10_000, Some(10))] {
            changes(nodes, target);
        }
    }
    if wanted("rollout") {
        figure(
            "roll out to 1,000 nodes, all at once, every decision of it",
            2_000,
            rollout(Share::ALL),
        );
        figure(
            "roll out to 1,000 nodes, 20% at a time, every decision of it",
            2_000,
            rollout(Share::Percent(20)),
        );
    }
    if wanted("replay") {
        replay();
    }
}

fn figure(what: &str, target_ms: u64, mut runs: Vec<Duration>) {
    runs.sort();
    let (median, slowest) = (runs[runs.len() / 2], runs[runs.len() - 1]);
    let ms = |d: Duration| d.as_secs_f64() * 1_000.0;
    let verdict = match median <= Duration::from_millis(target_ms) {
        _ if target_ms == 0 => "",
        true => "  ok",
        false => "  MISSED",
    };
    let target = match target_ms {
        0 => String::new(),
        ms => format!(", target {ms} ms"),
    };
    println!(
        "{what}: median {:.2} ms, slowest {:.2} ms of {}{target}{verdict}",
        ms(median),
        ms(slowest),
        runs.len()
    );
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(n: usize) -> Name {
    name(&format!("node-{n:05}"))
}

fn workload(text: &str, mode: PlacementMode) -> Workload {
    let run = Run::Process {
        command: vec!["/usr/bin/thing".into()],
        user: None,
        working_dir: None,
    };
    let mut workload = Workload::new(name(text), run);
    workload.placement.mode = mode;
    workload.resources.memory = Some(1 << 20);
    workload
}

/// A fleet and the time that passes in it.
struct World {
    fleet: Fleet,
    now: u64,
    journal: Vec<Entry>,
}

impl World {
    fn of(nodes: usize) -> World {
        let mut world = World {
            fleet: Fleet::new(),
            now: START_MS,
            journal: Vec::new(),
        };
        for n in 0..nodes {
            world.join(n);
        }
        world
    }

    fn join(&mut self, n: usize) {
        let enrolled = Change::NodeEnrolled {
            node: node(n),
            key: format!("key-{n}"),
            token: "token".into(),
            hostname: format!("node-{n}"),
            approve: true,
            http: false,
        };
        let facts = NodeFacts {
            features: 3,
            arch: "aarch64".into(),
            cpus: 4,
            memory_total: 4 << 30,
            capabilities: BTreeMap::from([("process".into(), "1".into())]),
            labels: BTreeMap::from([("zone".into(), format!("z{}", n % 10))]),
            ..NodeFacts::default()
        };
        self.apply(enrolled);
        self.apply(Change::NodeDescribed {
            node: node(n),
            facts,
        });
        self.present(n, Presence::Online, 1);
    }

    fn present(&mut self, n: usize, presence: Presence, session: u64) {
        self.apply(Change::NodePresenceChanged {
            node: node(n),
            presence,
            session: Seq {
                start: session,
                count: 1,
            },
            reason: String::new(),
        });
    }

    fn apply(&mut self, change: Change) -> Vec<Effect> {
        self.now += 1;
        self.try_apply(change).unwrap()
    }

    /// Applies it, and keeps it as the controller does.
    fn try_apply(&mut self, change: Change) -> Result<Vec<Effect>, Refusal> {
        let kept = self.fleet.kept_as(&change);
        let mut entry = Entry {
            at_ms: self.now,
            by: None,
            change,
        };
        let effects = self.fleet.apply(&entry)?;
        entry.change = kept.unwrap_or(entry.change);
        self.journal.push(entry);
        Ok(effects)
    }

    fn applied(&mut self, workloads: Vec<Workload>) -> Vec<Effect> {
        self.apply(Change::WorkloadsApplied {
            workloads,
            removed: Vec::new(),
        })
    }

    /// What a node says when it runs everything that it was told to.
    fn all_well(&self, of: &Name) -> Change {
        let assignment = self.fleet.assignment(of.as_str()).unwrap();
        let instances = assignment.instances.iter().map(|i| ObservedInstance {
            workload: i.workload.name.clone(),
            version: i.workload.version.clone(),
            spec_hash: i.workload.spec_hash(),
            state: InstanceState::Running,
            runtime: RuntimeKind::Process,
            restarts: 0,
            reason: None,
            warnings: Vec::new(),
            exit_code: None,
            handle: Some("1234".into()),
            since_ms: START_MS,
            progress: None,
            health: Some(HealthStatus::Healthy),
            runs: None,
            next_run_ms: None,
            last_error: None,
            last_output: Vec::new(),
            trial: None,
            fetched: None,
        });
        Change::StateReported {
            node: of.clone(),
            generation: assignment.generation,
            instances: instances.collect(),
            engines: Vec::new(),
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// So many workloads with so many instances each, on 1,000 nodes.
fn place(workloads: usize, instances: usize) -> Vec<Duration> {
    let mode = match instances {
        1_000 => PlacementMode::Every,
        replicas => PlacementMode::Any {
            replicas: replicas as u32,
        },
    };
    let all: Vec<Workload> = (0..workloads)
        .map(|n| workload(&format!("w{n}"), mode))
        .collect();
    let run = |_| {
        let mut world = World::of(1_000);
        let took = timed(|| drop(world.applied(all.clone())));
        let placed: usize = world.fleet.nodes().map(|(_, n)| n.placed.len()).sum();
        assert_eq!(placed, workloads * instances);
        took
    };
    (0..7).map(run).collect()
}

/// Single changes in a fleet with five instances on each node: they must not cost more in a larger
/// one.
fn changes(nodes: usize, target_ms: Option<u64>) {
    let target = target_ms.unwrap_or(0);
    let mut world = World::of(nodes);
    let count = nodes / 2;
    let all =
        (0..count).map(|n| workload(&format!("w{n:05}"), PlacementMode::Any { replicas: 10 }));
    for batch in all.collect::<Vec<_>>().chunks(500) {
        world.applied(batch.to_vec());
    }
    for n in 0..nodes {
        let report = world.all_well(&node(n));
        world.apply(report);
    }
    let of = |what: &str| format!("{what}, {nodes} nodes, {} instances", nodes * 5);
    const RUNS: usize = 51;

    let some = |n: usize| node(n * (nodes / RUNS));
    let reports = (0..RUNS).map(|n| {
        let mut report = world.all_well(&some(n));
        if let Change::StateReported { instances, .. } = &mut report {
            instances[0].restarts += 1;
        }
        timed(|| drop(world.apply(report)))
    });
    figure(&of("a node reports"), target, reports.collect());

    let labels = (0..RUNS).map(|n| {
        let labels = BTreeMap::from([("rack".into(), Some(n.to_string()))]);
        timed(|| {
            drop(world.apply(Change::NodeLabelled {
                node: some(n),
                labels,
            }))
        })
    });
    figure(&of("a label is set"), target, labels.collect());

    let added = (0..RUNS).map(|n| {
        let new = workload(&format!("x{n}"), PlacementMode::Any { replicas: 10 });
        timed(|| drop(world.applied(vec![new])))
    });
    figure(
        &of("a workload with 10 replicas is added"),
        target,
        added.collect(),
    );

    let changed = (0..RUNS).map(|n| {
        let mut new = workload(&format!("x{n}"), PlacementMode::Any { replicas: 10 });
        new.version = "2".into();
        new.env.insert("V".into(), "2".into());
        timed(|| drop(world.applied(vec![new])))
    });
    figure(
        &of("a workload with 10 replicas is changed"),
        target,
        changed.collect(),
    );

    let lost_after = 300_000;
    let lost = (0..RUNS).map(|n| {
        let gone = n * (nodes / RUNS) + 1;
        world.present(gone, Presence::Offline, 2);
        world.now += lost_after;
        timed(|| drop(world.apply(Change::TimePassed {})))
    });
    figure(
        &of("a node with its 5 instances is lost"),
        target,
        lost.collect(),
    );

    let back = (0..RUNS).map(|n| {
        let gone = n * (nodes / RUNS) + 1;
        timed(|| world.present(gone, Presence::Online, 3))
    });
    figure(&of("a node is back"), target, back.collect());
}

/// A new version on 1,000 nodes: every report that comes back, until the rollout is over.
fn rollout(max_parallel: Share) -> Vec<Duration> {
    let run = |_| {
        let mut world = World::of(1_000);
        let version = |v: &str| {
            let mut w = workload("web", PlacementMode::Every);
            w.version = v.into();
            w.env.insert("V".into(), v.into());
            w.update = Some(Update {
                max_parallel,
                ..Update::default()
            });
            w
        };
        world.applied(vec![version("1")]);
        for n in 0..1_000 {
            let report = world.all_well(&node(n));
            world.apply(report);
        }
        let mut took = Duration::ZERO;
        let mut told = Vec::new();
        took += timed(|| told = world.applied(vec![version("2")]));
        let mut rounds = 0;
        loop {
            let active = |w: &World| {
                let record = w.fleet.workload("web").unwrap();
                record.rollout.as_ref().is_some_and(|r| r.phase.is_active())
            };
            let changed: Vec<Name> = std::mem::take(&mut told)
                .into_iter()
                .filter_map(|e| match e {
                    Effect::PublishAssignment(node) => Some(node),
                    _ => None,
                })
                .collect();
            for node in changed {
                let report = world.all_well(&node);
                took += timed(|| told.extend(world.apply(report)));
            }
            if !active(&world) {
                break;
            }
            if told.is_empty() {
                world.now = world.fleet.next_deadline().unwrap();
                took += timed(|| told = world.apply(Change::TimePassed {}));
            }
            rounds += 1;
            assert!(rounds < 1_000, "it does not end");
        }
        took
    };
    (0..5).map(run).collect()
}

/// A million entries, as a fleet of 1,000 nodes writes them: almost all of them are reports.
fn replay() {
    const ENTRIES: usize = 1_000_000;
    let mut world = World::of(1_000);
    let all = (0..500).map(|n| workload(&format!("w{n}"), PlacementMode::Any { replicas: 10 }));
    world.applied(all.collect());
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(&dir.path().join("journal.db")).unwrap();
    let mut written = 0;
    let mut session = 1;
    while written < ENTRIES {
        for n in 0..1_000 {
            let mut report = world.all_well(&node(n));
            if let Change::StateReported { instances, .. } = &mut report {
                let turn = written / 1_000;
                let len = instances.len();
                // One after the other is started again; of the others a node says what it said.
                for (i, one) in instances.iter_mut().enumerate().filter(|(i, _)| *i <= turn) {
                    let times = (turn - i) / len;
                    one.restarts = times as u32 + 1;
                    one.since_ms = START_MS + ((i + times * len) as u64) * 10_000;
                }
            }
            let _ = world.try_apply(report);
            if n % 20 == 0 {
                session += 1;
                world.present(n, Presence::Offline, session);
                world.present(n, Presence::Online, session + 1);
            }
        }
        written += world.journal.len();
        let entries = std::mem::take(&mut world.journal);
        let entries: Vec<Recorded> = entries.into_iter().map(Recorded::from).collect();
        for batch in entries.chunks(256) {
            journal.append(batch).unwrap();
        }
        world.now += 10_000;
    }
    let expected = serde_json::to_vec(&world.fleet).unwrap();
    let runs = (0..3).map(|_| {
        let mut fleet = Fleet::new();
        let took = timed(|| fleet = journal.load().unwrap());
        assert!(
            serde_json::to_vec(&fleet).unwrap() == expected,
            "another fleet than before"
        );
        took
    });
    let what = format!("read a journal of {written} entries without a snapshot");
    figure(&what, 5_000, runs.collect());
}
