//! One simulated node: its made-up machine, what is known of how it does, and its agent's task.

use super::{
    profile::{Board, Profile},
    runtime::FakeRuntime,
    tally::Tally,
};
use crate::{
    agent::{self, AgentEnd, Body, Fate, Note, Simulated, Values, Vitals},
    config::{
        AgentConfig, BootDir, Common, DEFAULT_RECONNECT_MAX_MS, JoinSource, JoinToken, LogFormat,
        Otlp,
    },
    model::{
        Assignment, Desired, EngineFact, InstanceState, Metric, Name, NodeFacts, ObservedInstance,
    },
    mqtt::Endpoint,
    runtime::Runtime,
    support::{Shutdown, clock},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an agent rests that could not run, before it is started again.
const REST: Duration = Duration::from_secs(5);

/// A node, as the simulation sees it.
#[derive(Debug)]
pub(super) struct VirtualNode {
    pub(super) name: Name,
    board: Board,
    labels: BTreeMap<String, String>,
    pub(super) runtimes: Vec<FakeRuntime>,
    pub(super) fate: watch::Sender<Fate>,
    tally: Arc<Tally>,
    state: Mutex<NodeState>,
    /// Heartbeats so far: what they say drifts with it.
    beats: AtomicU64,
    born: Instant,
}

/// How it does.
#[derive(Debug, Default)]
struct NodeState {
    /// When its agent was started.
    started: Option<Instant>,
    joined: bool,
    connected: bool,
    /// Why its agent cannot run.
    trouble: Option<String>,
    /// What it is to run.
    wanted: BTreeMap<Name, Wanted>,
    up: usize,
    bad: usize,
}

/// An instance that is to run.
#[derive(Debug)]
struct Wanted {
    spec_hash: String,
    /// Since when; `None` once it has run.
    since: Option<Instant>,
    well: bool,
}

/// How a node does, as counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) joined: bool,
    pub(super) connected: bool,
    pub(super) trouble: Option<String>,
    /// Instances that are to run.
    pub(super) wanted: usize,
    /// Of these, as they are wanted.
    pub(super) well: usize,
    /// Instances that run.
    pub(super) up: usize,
    /// Instances that fail.
    pub(super) bad: usize,
}

impl VirtualNode {
    pub(super) fn new(
        name: Name,
        index: usize,
        profile: &Profile,
        runtimes: Vec<FakeRuntime>,
        tally: Arc<Tally>,
    ) -> VirtualNode {
        let mut block = 1;
        let mut labels = BTreeMap::new();
        for spread in &profile.labels {
            let (key, value) = spread.of(index, block);
            labels.insert(key, value);
            block = block.saturating_mul(spread.width());
        }
        let board = match profile.boards.as_slice() {
            [] => Board::Pi4,
            boards => boards[index % boards.len()],
        };
        VirtualNode {
            name,
            board,
            labels,
            runtimes,
            fate: watch::Sender::new(Fate::Well),
            tally,
            state: Mutex::default(),
            beats: AtomicU64::new(index as u64),
            born: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            joined: state.joined,
            connected: state.connected,
            trouble: state.trouble.clone(),
            wanted: state.wanted.len(),
            well: state.wanted.values().filter(|w| w.well).count(),
            up: state.up,
            bad: state.bad,
        }
    }

    /// It has been in the fleet at least once.
    pub(super) fn has_joined(&self) -> bool {
        self.lock().joined
    }

    /// Runs its agent until it is asked to stop, again and again where it cannot run.
    pub(super) async fn run(
        self: Arc<Self>,
        state: Arc<Path>,
        token: JoinToken,
        nowhere: Endpoint,
        shutdown: Shutdown,
    ) {
        self.lock().started = Some(Instant::now());
        let simulated = Simulated {
            runtimes: self
                .runtimes
                .iter()
                .map(|r| Arc::new(r.clone()) as Arc<dyn Runtime>)
                .collect(),
            body: self.clone(),
            fate: self.fate.subscribe(),
            nowhere,
        };
        loop {
            let config = self.config(&state, &token);
            let ended = agent::run_simulated(config, simulated.clone(), shutdown.clone()).await;
            self.noted(Note::Disconnected);
            match ended {
                Ok(AgentEnd::Stopped | AgentEnd::HandOver) => return,
                Ok(AgentEnd::Restart) => continue,
                Err(error) => self.lock().trouble = Some(crate::support::chain(&error)),
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(REST) => {}
            }
        }
    }

    fn config(&self, state: &Path, token: &JoinToken) -> AgentConfig {
        AgentConfig {
            common: Common {
                data_dir: state.join(self.name.as_str()),
                log: String::new(),
                log_format: LogFormat::Text,
            },
            name: self.name.clone(),
            join: Some(JoinSource::Token(token.clone())),
            labels: self.labels.clone(),
            docker_socket: None,
            podman_socket: None,
            registry_config: None,
            parallel_pulls: 4,
            reconnect_max_ms: DEFAULT_RECONNECT_MAX_MS,
            processes: false,
            standalone: None,
            local_socket: None,
            otlp: Otlp::default(),
            boot_dir: BootDir::Off,
            mdns: false,
            own_process: false,
        }
    }

    fn connected(&self) {
        let mut state = self.lock();
        state.connected = true;
        state.trouble = None;
        if std::mem::replace(&mut state.joined, true) {
            self.tally.reconnects.add();
        } else if let Some(started) = state.started {
            self.tally.joined_in.add(started.elapsed());
        }
    }

    fn assigned(&self, assignment: &Assignment) {
        self.tally.assignments.add();
        let now = Instant::now();
        let mut state = self.lock();
        let mut before = std::mem::take(&mut state.wanted);
        for assigned in &assignment.instances {
            if assigned.desired != Desired::Running {
                continue;
            }
            let (name, spec_hash) = (&assigned.workload.name, assigned.workload.spec_hash());
            let known = before.remove(name).filter(|w| w.spec_hash == spec_hash);
            let wanted = known.unwrap_or(Wanted {
                spec_hash,
                since: Some(now),
                well: false,
            });
            state.wanted.insert(name.clone(), wanted);
        }
    }

    fn observed(&self, observed: &[ObservedInstance]) {
        let count =
            |which: fn(InstanceState) -> bool| observed.iter().filter(|o| which(o.state)).count();
        let mut state = self.lock();
        state.up = count(InstanceState::is_up);
        state.bad = count(InstanceState::is_bad);
        for (name, wanted) in &mut state.wanted {
            let instance = observed.iter().find(|o| o.workload == *name);
            wanted.well =
                instance.is_some_and(|o| o.state.is_well() && o.spec_hash == wanted.spec_hash);
            if wanted.well
                && let Some(since) = wanted.since.take()
            {
                self.tally.running_in.add(since.elapsed());
            }
        }
    }

    /// A value between two bounds that moves a little with each heartbeat, so that some of them
    /// are worth sending.
    fn drift(&self, from: f32, to: f32) -> f32 {
        let beats = self.beats.load(Ordering::Relaxed);
        let phase = (beats % 60) as f32 / 60.0;
        from + (to - from) * (0.5 - (phase - 0.5).abs()) * 2.0
    }
}

/// Cores, bytes of memory, architecture.
fn hardware(board: Board) -> (u32, u64, &'static str) {
    match board {
        Board::Zero => (4, 512 << 20, "aarch64"),
        Board::Pi4 => (4, 4 << 30, "aarch64"),
        Board::Pi5 => (4, 8 << 30, "aarch64"),
        Board::Pc => (8, 16 << 30, "x86_64"),
    }
}

impl Body for VirtualNode {
    fn facts(&self, engines: &[EngineFact]) -> NodeFacts {
        let (cpus, memory_total, arch) = hardware(self.board);
        let mut capabilities = BTreeMap::from([
            ("arch".to_owned(), arch.to_owned()),
            ("os".to_owned(), "linux".to_owned()),
            ("process".to_owned(), "native".to_owned()),
            ("simulated".to_owned(), "true".to_owned()),
        ]);
        for engine in engines.iter().filter(|e| !e.version.is_empty()) {
            capabilities.insert(engine.runtime.as_str().to_owned(), engine.version.clone());
        }
        if self.board != Board::Pc {
            capabilities.insert("gpio".to_owned(), "/dev/gpiochip0".to_owned());
        }
        NodeFacts {
            agent_version: crate::support::release::version().to_owned(),
            features: crate::model::FEATURES,
            arch: arch.to_owned(),
            os: "simulated Linux".to_owned(),
            kernel: "simulated".to_owned(),
            hostname: self.name.to_string(),
            addresses: Vec::new(),
            cpus,
            memory_total,
            disk_total: 32 << 30,
            engines: engines.to_vec(),
            capabilities,
            labels: self.labels.clone(),
        }
    }

    fn vitals(&self) -> Vitals {
        self.tally.heartbeats.add();
        self.beats.fetch_add(1, Ordering::Relaxed);
        Vitals {
            cpu: Some(self.drift(5.0, 35.0).round()),
            memory: Some(self.drift(30.0, 40.0).round()),
            disk: Some(20.0),
            load: Some((self.drift(0.1, 1.5) * 10.0).round() / 10.0),
            temperature: Some(self.drift(41.0, 57.0).round()),
            uptime: self.born.elapsed().as_secs(),
        }
    }

    fn measure(&self, metric: Metric) -> Values {
        let (_, memory, _) = hardware(self.board);
        let value = |name: &str, value: f64| (name.to_owned(), value);
        let percent = |name: &str, from, to| value(name, f64::from(self.drift(from, to).round()));
        match metric {
            Metric::Cpu => Values::from([percent("total", 5.0, 35.0)]),
            Metric::Memory => Values::from([
                percent("percent", 30.0, 40.0),
                value("total", memory as f64),
            ]),
            Metric::Disk => Values::from([percent("percent", 20.0, 20.0)]),
            Metric::Load => Values::from([percent("1m", 0.0, 2.0)]),
            Metric::Temperature => Values::from([percent("cpu", 41.0, 57.0)]),
            Metric::Throttling => Values::from([value("throttled", 0.0)]),
            Metric::Uptime => Values::from([value("seconds", self.born.elapsed().as_secs_f64())]),
            Metric::Network => {
                let bytes = (clock::mono_ms() * 3) as f64;
                Values::from([value("eth0.received", bytes), value("eth0.sent", bytes)])
            }
            // Its runtimes are asked. All simulated agents are one process.
            Metric::Instances | Metric::Agent => Values::new(),
        }
    }

    fn noted(&self, note: Note<'_>) {
        match note {
            Note::Connected => self.connected(),
            Note::Disconnected => self.lock().connected = false,
            Note::Sent => self.tally.sent.add(),
            Note::Received => self.tally.received.add(),
            Note::Assigned(assignment) => self.assigned(assignment),
            Note::Observed(observed) => self.observed(observed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AssignedInstance, Run, RuntimeKind, Workload},
        simulate::{profile::Spread, tests::profile},
    };

    fn node(index: usize) -> VirtualNode {
        let mut profile = profile(6);
        profile.labels = vec![
            Spread::parse("zone=a,b").unwrap(),
            Spread::parse("rack=1,2,3").unwrap(),
        ];
        profile.boards = vec![Board::Zero, Board::Pc];
        let name = profile.name(index as u32).parse().unwrap();
        VirtualNode::new(name, index, &profile, Vec::new(), Arc::default())
    }

    fn assignment(version: &str) -> Assignment {
        let run = Run::Process {
            command: vec!["/bin/true".into()],
            user: None,
            working_dir: None,
        };
        let workload = Workload {
            version: version.to_owned(),
            env: BTreeMap::from([("V".to_owned(), version.to_owned())]),
            ..Workload::new("web".parse().unwrap(), run)
        };
        Assignment {
            generation: 1,
            instances: vec![AssignedInstance {
                workload: Arc::new(workload),
                desired: Desired::Running,
                restart_count: 0,
                guard: None,
                next: None,
                trace: None,
            }],
            ..Assignment::default()
        }
    }

    fn running(of: &Assignment) -> ObservedInstance {
        let workload = &of.instances[0].workload;
        let text = serde_json::json!({
            "workload": workload.name, "version": workload.version,
            "spec_hash": workload.spec_hash(), "state": "running",
            "runtime": RuntimeKind::Process, "restarts": 0, "since_ms": 0,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn nodes_differ_in_what_they_are_and_where() {
        let facts: Vec<NodeFacts> = (0..6).map(|i| node(i).facts(&[])).collect();
        let mut places: Vec<(&str, &str)> = facts
            .iter()
            .map(|f| (f.labels["zone"].as_str(), f.labels["rack"].as_str()))
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 6, "every zone has every rack");
        assert_eq!((facts[0].arch.as_str(), facts[1].cpus), ("aarch64", 8));
        assert!(facts.iter().all(|f| f.capabilities["simulated"] == "true"));
    }

    #[test]
    fn an_assignment_is_timed_until_it_runs_and_only_once() {
        let node = node(0);
        let (first, second) = (assignment("1"), assignment("2"));
        node.noted(Note::Assigned(&first));
        let before = node.condition();
        assert_eq!((before.wanted, before.well), (1, 0));
        node.noted(Note::Observed(&[running(&first)]));
        node.noted(Note::Assigned(&first));
        node.noted(Note::Observed(&[running(&first)]));
        assert_eq!(node.condition().well, 1);
        assert_eq!(node.tally.running_in.summary().count, 1);
        // Another version: the old one that still runs is not what is wanted.
        node.noted(Note::Assigned(&second));
        node.noted(Note::Observed(&[running(&first)]));
        assert_eq!((node.condition().well, node.condition().up), (0, 1));
        node.noted(Note::Observed(&[running(&second)]));
        assert_eq!(node.tally.running_in.summary().count, 2);
        assert_eq!(node.tally.assignments.get(), 3);
    }

    #[test]
    fn joining_is_timed_and_what_follows_are_reconnects() {
        let node = node(0);
        node.lock().started = Some(Instant::now());
        for _ in 0..3 {
            node.noted(Note::Connected);
            assert!(node.condition().connected);
            node.noted(Note::Disconnected);
        }
        assert!(node.has_joined() && !node.condition().connected);
        assert_eq!(node.tally.joined_in.summary().count, 1);
        assert_eq!(node.tally.reconnects.get(), 2);
    }
}
