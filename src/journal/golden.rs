//! One stored entry of each change, in `golden/entries.jsonl`: what an older fleetctl wrote must
//! be read for ever, with the meaning that it had.
//!
//! With `UPDATE_GOLDEN=1` the test appends the lines that are missing at the end; a line that
//! exists is never changed by it. A new change gets a new line, and so does a change that gets a
//! new field (the old line then shows its default).

use crate::{
    contract::Seq,
    fleet::{
        Actor, AutoRebalance, Change, Entry, FleetConfig, PlannedMove, RebalanceBounds, Reserved,
        RolloutOrder, TokenGrant,
    },
    identity::Role,
    model::{
        AGENT_WORKLOAD, Artifact, Binary, Budget, CommandKind, CommandOutcome, CommandSpec,
        Desired, Digest, EngineFact, Image, InstanceState, LogShipping, Metric, MetricConfig, Name,
        NodeConfig, NodeFacts, ObservedInstance, Placement, PlacementMode, Preference, Presence,
        Resources, Restart, Run, RuntimeKind, Share, Strategy, Update, Window, Workload,
        WorkloadType,
    },
};
use std::{collections::BTreeMap, path::PathBuf};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn workload() -> Workload {
    Workload {
        name: name("web"),
        kind: WorkloadType::Script,
        version: "1.2.0".into(),
        run: Run::Process {
            command: vec!["/usr/bin/web".into(), "--flag".into()],
            user: Some("www".into()),
            working_dir: None,
        },
        env: BTreeMap::from([("MODE".into(), "prod".into())]),
        ports: Vec::new(),
        volumes: Vec::new(),
        devices: Vec::new(),
        resources: Resources {
            memory: Some(64 << 20),
            cpus: Some(0.5),
            nice: Some(10),
            ..Resources::default()
        },
        placement: Placement {
            mode: PlacementMode::Any { replicas: 2 },
            requires: vec!["zone!=lab".to_owned().try_into().unwrap()],
            ..Placement::default()
        },
        restart: Restart::default(),
        stop_timeout_ms: 10_000,
        ..Workload::new(name("web"), plain())
    }
}

fn plain() -> Run {
    Run::Process {
        command: vec!["x".into()],
        user: None,
        working_dir: None,
    }
}

fn facts() -> NodeFacts {
    NodeFacts {
        agent_version: "0.1.0".into(),
        features: 1,
        arch: "aarch64".into(),
        os: "Debian GNU/Linux 12".into(),
        kernel: "6.6.51".into(),
        hostname: "pi-1.local".into(),
        addresses: vec!["192.0.2.7".into()],
        cpus: 4,
        memory_total: 1 << 30,
        disk_total: 32_000_000_000,
        engines: vec![engine()],
        capabilities: BTreeMap::from([("docker".into(), "27.5.1".into())]),
        labels: BTreeMap::from([("zone".into(), "shop".into())]),
    }
}

fn engine() -> EngineFact {
    EngineFact {
        runtime: RuntimeKind::Docker,
        version: "27.5.1".into(),
        healthy: true,
    }
}

fn instance() -> ObservedInstance {
    ObservedInstance {
        workload: name("web"),
        version: "1.2.0".into(),
        spec_hash: "0123456789abcdef".into(),
        state: InstanceState::Failed,
        runtime: RuntimeKind::Process,
        restarts: 2,
        reason: Some("it ended with exit code 1".into()),
        warnings: vec!["the kernel has no memory limit".into()],
        exit_code: Some(1),
        handle: Some("web-1".into()),
        since_ms: 1_767_225_600_000,
        progress: None,
        health: None,
        runs: None,
        next_run_ms: None,
        last_error: None,
        last_output: Vec::new(),
        trial: None,
        fetched: None,
    }
}

/// The changes of nodes, in the order of the file.
fn of_nodes() -> Vec<Change> {
    let node = || name("pi-1");
    let labels = [("zone", Some("lab")), ("old", None)];
    let own = |(k, v): (&str, Option<&str>)| (k.to_owned(), v.map(str::to_owned));
    vec![
        Change::Configured {
            node_config: NodeConfig {
                heartbeat_interval_ms: 5_000,
                ..NodeConfig::default()
            },
        },
        Change::NodeEnrolled {
            node: node(),
            key: "key".into(),
            token: "0011223344556677".into(),
            hostname: "pi-1.local".into(),
            approve: false,
            http: false,
        },
        Change::NodeApproved { node: node() },
        Change::NodeRevoked { node: node() },
        Change::NodeRemoved { node: node() },
        Change::NodeLabelled {
            node: node(),
            labels: labels.into_iter().map(own).collect(),
        },
        Change::NodeDescribed {
            node: node(),
            facts: facts(),
        },
        Change::NodePresenceChanged {
            node: node(),
            presence: Presence::Silent,
            session: Seq { start: 3, count: 7 },
            reason: "nothing was heard of it for 15 s".into(),
        },
        Change::StateReported {
            node: node(),
            generation: 12,
            instances: vec![instance()],
            engines: vec![engine()],
        },
    ]
}

/// All other changes.
fn of_the_rest() -> Vec<Change> {
    let api = TokenGrant::Api {
        role: Role::Operator,
        digest: "00ff".into(),
    };
    let created = |id: &str, grant| Change::TokenCreated {
        id: id.to_owned(),
        name: "somebody".into(),
        uses: None,
        grant,
        expires_ms: 1_767_229_200_000,
    };
    let web = || name("web");
    vec![
        Change::WorkloadsApplied {
            workloads: vec![workload()],
            removed: Vec::new(),
        },
        Change::WorkloadsRemoved {
            workloads: vec![web(), name("db")],
        },
        Change::WorkloadDesired {
            workload: web(),
            desired: Desired::Stopped,
        },
        Change::WorkloadRestarted { workload: web() },
        created("0011223344556677", TokenGrant::Join),
        created("8899aabbccddeeff", api),
        Change::TokenRevoked {
            id: "0011223344556677".into(),
        },
        Change::CommandIssued {
            id: "8877665544332211".into(),
            node: name("pi-1"),
            order: CommandSpec::new(CommandKind::Stop, Some(web())),
            deadline_ms: 1_767_225_630_000,
        },
        Change::CommandFinished {
            id: "8877665544332211".into(),
            outcome: CommandOutcome::failed("web is not on pi-1"),
        },
        Change::NodeConfigured {
            node: name("pi-1"),
            config: Some(NodeConfig {
                heartbeat_interval_ms: 5_000,
                telemetry: BTreeMap::from([(Metric::Cpu, MetricConfig::default())]),
                logs: LogShipping {
                    enabled: true,
                    interval_ms: 1_000,
                },
                blobs: None,
            }),
        },
        Change::NodeConfigured {
            node: name("pi-1"),
            config: None,
        },
    ]
}

/// The changes that came with rollouts and moves.
fn of_decisions() -> Vec<Change> {
    let (web, node) = (|| name("web"), || name("pi-1"));
    let guarded = Workload {
        update: Some(Update {
            max_parallel: Share::Percent(20),
            canary: 1,
            sequence: Some("zone".into()),
            budget: Some(Budget {
                label: "rack".into(),
                max_unavailable: Share::Count(1),
            }),
            windows: vec![Window {
                opens: "0 2 * * *".into(),
                duration_ms: 7_200_000,
                time_zone: Some("Europe/Berlin".into()),
            }],
            ..Update::default()
        }),
        placement: Placement {
            strategy: Strategy::ResourceOptimal,
            requires: vec!["memory>=1GiB".to_owned().try_into().unwrap()],
            prefers: vec![Preference {
                requirement: "gpu".to_owned().try_into().unwrap(),
                weight: 20,
            }],
            spread: Some("zone".into()),
            with: vec![name("db")],
            apart: vec![name("batch")],
            ..Placement::default()
        },
        ..workload()
    };
    vec![
        Change::WorkloadsApplied {
            workloads: vec![guarded],
            removed: Vec::new(),
        },
        Change::NodeEnrolled {
            node: name("plc-1"),
            key: "key".into(),
            token: "http".into(),
            hostname: "plc-1".into(),
            approve: true,
            http: true,
        },
        Change::FleetConfigured {
            config: FleetConfig {
                lost_after_ms: 60_000,
                rebalance: Some(AutoRebalance {
                    interval_ms: 3_600_000,
                    bounds: RebalanceBounds::default(),
                }),
            },
        },
        Change::NodeCordoned {
            node: node(),
            cordoned: true,
        },
        Change::NodeDrained {
            node: node(),
            drain: Some(false),
        },
        Change::NodeReserved {
            node: node(),
            reserved: Reserved {
                memory: 1 << 28,
                cpus: 0.5,
            },
        },
        Change::InstanceMigrated {
            workload: web(),
            from: node(),
            to: Some(name("pi-2")),
            force: false,
        },
        Change::Rebalanced {
            moves: vec![PlannedMove {
                workload: web(),
                from: node(),
                to: name("pi-2"),
                why: "pi-1 is fuller than pi-2".into(),
                cost: "nothing stands still".into(),
            }],
        },
        Change::RolloutOrdered {
            workload: web(),
            order: RolloutOrder::Rollback { to: Some(3) },
        },
        Change::RolloutOrdered {
            workload: web(),
            order: RolloutOrder::Pause,
        },
        Change::TimePassed {},
        Change::StateChanged {
            node: node(),
            generation: 12,
            changed: vec![instance()],
            gone: vec![name("old")],
            engines: Some(vec![engine()]),
        },
    ]
}

/// The changes that came with alerts.
fn of_alerts() -> Vec<Change> {
    vec![
        Change::AlertSilenced {
            alert: "rule=disk,node=pi-1".into(),
            until_ms: 1_767_229_200_000,
            comment: "the card is being changed".into(),
        },
        Change::AlertUnsilenced {
            alert: "rule=disk,node=pi-1".into(),
        },
    ]
}

/// The changes that came with artifacts.
fn of_artifacts() -> Vec<Change> {
    let digest = Digest::of(b"fleetctl");
    let image = Image {
        reference: "docker.io/library/app:1.2".into(),
        manifest: digest,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        blobs: [(digest, 8)].into(),
        platforms: vec!["linux/arm64".into()],
    };
    let binary = Binary {
        sha256: digest,
        size: 8,
    };
    let mut agent = workload();
    agent.name = name(AGENT_WORKLOAD);
    agent.run = Run::Agent {
        binaries: [("aarch64".to_owned(), binary.clone())].into(),
    };
    vec![
        Change::ArtifactAdded {
            artifact: Artifact::Binary {
                version: "0.3.0".into(),
                arch: "aarch64".into(),
                binary,
            },
        },
        Change::ArtifactAdded {
            artifact: Artifact::Image(image),
        },
        Change::ArtifactRemoved {
            id: "fleetctl/0.3.0/aarch64".into(),
        },
        Change::WorkloadsApplied {
            workloads: vec![agent],
            removed: Vec::new(),
        },
    ]
}

/// What the lines of the file mean: every second one was made by a person.
/// A join token for one machine: a field that came later.
fn one_machine() -> Change {
    Change::TokenCreated {
        id: "0011223344556678".into(),
        name: "deploy of pi-1".into(),
        grant: TokenGrant::Join,
        expires_ms: 1_767_229_200_000,
        uses: Some(1),
    }
}

fn entries() -> Vec<Entry> {
    let actor = Actor {
        token: "admin".into(),
        role: Role::Admin,
        from: "192.0.2.1".into(),
        trace: None,
    };
    let changes = of_nodes()
        .into_iter()
        .chain(of_the_rest())
        .chain(of_decisions())
        .chain(of_alerts())
        .chain(of_artifacts())
        .chain([one_machine()]);
    let entry = |(n, change): (u64, Change)| Entry {
        at_ms: 1_767_225_600_000 + n,
        by: (n % 2 == 1).then(|| actor.clone()),
        change,
    };
    (0..).zip(changes).map(entry).collect()
}

/// The word of each change in the file. That this does not compile with a new change is its
/// purpose: add an example of it above.
fn word(change: &Change) -> &'static str {
    match change {
        Change::Configured { .. } => "configured",
        Change::NodeEnrolled { .. } => "node_enrolled",
        Change::NodeApproved { .. } => "node_approved",
        Change::NodeRevoked { .. } => "node_revoked",
        Change::NodeRemoved { .. } => "node_removed",
        Change::NodeLabelled { .. } => "node_labelled",
        Change::NodeConfigured { .. } => "node_configured",
        Change::NodeDescribed { .. } => "node_described",
        Change::NodePresenceChanged { .. } => "node_presence_changed",
        Change::StateReported { .. } => "state_reported",
        Change::StateChanged { .. } => "state_changed",
        Change::WorkloadsApplied { .. } => "workloads_applied",
        Change::WorkloadsRemoved { .. } => "workloads_removed",
        Change::WorkloadDesired { .. } => "workload_desired",
        Change::WorkloadRestarted { .. } => "workload_restarted",
        Change::FleetConfigured { .. } => "fleet_configured",
        Change::NodeCordoned { .. } => "node_cordoned",
        Change::NodeDrained { .. } => "node_drained",
        Change::NodeReserved { .. } => "node_reserved",
        Change::InstanceMigrated { .. } => "instance_migrated",
        Change::Rebalanced { .. } => "rebalanced",
        Change::RolloutOrdered { .. } => "rollout_ordered",
        Change::TimePassed {} => "time_passed",
        Change::TokenCreated { .. } => "token_created",
        Change::TokenRevoked { .. } => "token_revoked",
        Change::CommandIssued { .. } => "command_issued",
        Change::CommandFinished { .. } => "command_finished",
        Change::AlertSilenced { .. } => "alert_silenced",
        Change::AlertUnsilenced { .. } => "alert_unsilenced",
        Change::ArtifactAdded { .. } => "artifact_added",
        Change::ArtifactRemoved { .. } => "artifact_removed",
    }
}

fn stored() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/journal/golden");
    let path = folder.join("entries.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let missing = entries().into_iter().skip(lines.len());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        lines.extend(missing.map(|e| serde_json::to_string(&e).unwrap()));
        let whole: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if whole != text {
            std::fs::write(&path, whole).unwrap();
        }
    }
    lines
}

#[test]
fn every_stored_entry_is_read_with_the_meaning_that_it_had() {
    let (lines, expected) = (stored(), entries());
    assert_eq!(
        lines.len(),
        expected.len(),
        "src/journal/golden/entries.jsonl lacks lines; UPDATE_GOLDEN=1 appends them"
    );
    for (line, expected) in lines.iter().zip(expected) {
        let read: Entry = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(read, expected, "{line}");
        let word = format!("\"change\":{{\"{}\":", word(&expected.change));
        assert!(line.contains(&word), "{word} {line}");
    }
}

#[test]
fn there_is_a_stored_entry_of_every_change() {
    let words: std::collections::BTreeSet<&str> =
        entries().iter().map(|e| word(&e.change)).collect();
    // As many as `word` knows.
    assert_eq!(words.len(), 31);
}

#[test]
fn an_entry_without_the_person_behind_it_is_read() {
    let line = r#"{"at_ms":1,"change":{"token_revoked":{"id":"x"}}}"#;
    let read: Entry = serde_json::from_str(line).unwrap();
    assert_eq!(read.by, None);
    assert_eq!(serde_json::to_string(&read).unwrap(), line);
}
