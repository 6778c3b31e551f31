//! What each message says.

use super::{Example, SEQ, fleet_key, node, node_key, web};
use crate::{
    contract::{
        Access, AssignmentBody, CommandBody, CommandResult, Enroll, Event, HeartbeatBody, Kind,
        Logs, Metadata, Seq, SessionStatus, State, Status, Welcome, WelcomeDecision,
    },
    identity::{self, SigningKey, sha256_hex},
    model::{
        AssignedInstance, CommandKind, CommandOutcome, CommandSpec, Desired, Device, EngineFact,
        InstanceState, LogLine, LogQuery, LogStream, Mount, MountSource, NodeConfig,
        ObservedInstance, Placement, PlacementMode, Port, Protocol, PullPolicy, Resources, Restart,
        RestartPolicy, Run, RuntimeKind, Strategy, Workload, WorkloadType,
    },
};
use std::{collections::BTreeMap, sync::Arc};

fn workload() -> Workload {
    Workload {
        name: web(),
        kind: WorkloadType::Service,
        version: "1.2.0".into(),
        run: Run::Container {
            image: "registry.example/web:1.2.0".into(),
            command: vec!["serve".into()],
            pull: PullPolicy::Missing,
            engine: Some(RuntimeKind::Docker),
            user: Some("1000:1000".into()),
            working_dir: Some("/srv".into()),
            network: Some("host".into()),
        },
        env: BTreeMap::from([("MODE".into(), "prod".into())]),
        ports: vec![Port {
            address: Some("127.0.0.1".into()),
            host: 8080,
            container: 80,
            protocol: Protocol::Tcp,
        }],
        volumes: vec![Mount {
            source: MountSource::Volume("data".into()),
            target: "/var/lib/web".into(),
            read_only: true,
        }],
        devices: vec![Device {
            host: "/dev/gpiomem".into(),
            container: "/dev/gpiomem".into(),
            permissions: "rw".into(),
        }],
        resources: Resources {
            memory: Some(64 << 20),
            cpus: Some(0.5),
            nice: Some(10),
        },
        placement: Placement {
            mode: PlacementMode::Any { replicas: 3 },
            strategy: Strategy::LeastLoaded,
            requires: vec!["zone!=lab".to_owned().try_into().unwrap()],
            nodes: vec![node()],
        },
        restart: Restart {
            policy: RestartPolicy::OnFailure,
            delay_ms: 5_000,
            max_delay_ms: 300_000,
        },
        stop_timeout_ms: 10_000,
    }
}

fn instance() -> ObservedInstance {
    ObservedInstance {
        workload: web(),
        version: "1.2.0".into(),
        spec_hash: "0123456789abcdef".into(),
        state: InstanceState::Backoff,
        runtime: RuntimeKind::Docker,
        restarts: 2,
        reason: Some("it ended with exit code 1".into()),
        warnings: vec!["the kernel has no memory limit".into()],
        exit_code: Some(1),
        handle: Some("4f5a".into()),
        since_ms: 1_767_225_600_000,
        progress: Some(40),
    }
}

fn engine() -> EngineFact {
    EngineFact {
        runtime: RuntimeKind::Docker,
        version: "27.5.1".into(),
        healthy: true,
    }
}

pub(super) fn from_agents() -> Vec<Example> {
    let key = node_key().public().to_string();
    let secret = identity::join_secret(&fleet_key(), "0011223344556677", 1_767_229_200_000);
    vec![
        Example::new(
            "metadata",
            Kind::Metadata,
            &["addresses", "engines", "capabilities", "labels"],
            Metadata {
                agent_version: "0.1.0".into(),
                arch: "aarch64".into(),
                os: "Debian GNU/Linux 12".into(),
                kernel: "6.6.51".into(),
                hostname: "pi-1.local".into(),
                addresses: vec!["192.0.2.7".into(), "2001:db8::7".into()],
                cpus: 4,
                memory_total: 1 << 30,
                disk_total: 32_000_000_000,
                engines: vec![engine()],
                capabilities: BTreeMap::from([("docker".into(), "27.5.1".into())]),
                labels: BTreeMap::from([("zone".into(), "gärtnerei".into())]),
            },
        ),
        Example::new(
            "status-online",
            Kind::Status,
            &["graceful"],
            Status {
                status: SessionStatus::Online,
                session: SEQ,
                graceful: false,
            },
        ),
        Example::new(
            "status-offline",
            Kind::Status,
            &["graceful"],
            Status {
                status: SessionStatus::Offline,
                session: Seq { start: 3, count: 6 },
                graceful: true,
            },
        ),
        Example::new(
            "state",
            Kind::State,
            &["engines"],
            State {
                generation: 12,
                instances: vec![instance()],
                engines: vec![engine()],
            },
        ),
        Example::new(
            "cfg",
            Kind::Cfg,
            &[],
            NodeConfig {
                heartbeat_interval_ms: 12_000,
            },
        ),
        Example::new(
            "heartbeat",
            Kind::Heartbeat,
            &[
                "cpu",
                "memory",
                "disk",
                "load",
                "temperature",
                "running",
                "failed",
                "generation",
                "state",
            ],
            HeartbeatBody {
                cpu: Some(12.5),
                memory: Some(50.0),
                disk: Some(33.25),
                load: Some(0.5),
                temperature: Some(48.5),
                uptime: 86_400,
                running: Some(3),
                failed: Some(1),
                generation: Some(12),
                state: Some("0123abcd".into()),
            },
        ),
        Example::new(
            "logs",
            Kind::Logs,
            &[],
            Logs {
                command: "8877665544332211".into(),
                lines: vec![LogLine {
                    time_ns: 1_767_225_600_123_456_789,
                    stream: LogStream::Stderr,
                    text: "caf\u{e9} \"quoted\" \\ \u{1f680}".into(),
                }],
            },
        ),
        Example::new(
            "result",
            Kind::Result,
            &[],
            CommandResult {
                id: "8877665544332211".into(),
                outcome: CommandOutcome::failed("web is failed: it ended with exit code 1"),
            },
        ),
        Example::new(
            "event",
            Kind::Event,
            &["workload"],
            Event {
                event: "exited".into(),
                workload: Some(web()),
                message: "it ended with exit code 1".into(),
                at: 1_767_225_600_000,
            },
        ),
        Example::new(
            "enroll",
            Kind::Enroll,
            &[],
            Enroll {
                proof: identity::proof(&secret, node().as_str(), &key),
                key,
                token: "0011223344556677".into(),
                hostname: "pi-1.local".into(),
                agent_version: "0.1.0".into(),
            },
        ),
    ]
}

fn from_the_controller() -> Vec<Example> {
    let key = node_key().public().to_string();
    let assigned = AssignedInstance {
        workload: Arc::new(workload()),
        desired: Desired::Running,
        restart_count: 1,
    };
    vec![
        Example::new(
            "assignment",
            Kind::Assignment,
            &[],
            AssignmentBody {
                generation: 12,
                instances: vec![assigned],
                cfg: NodeConfig {
                    heartbeat_interval_ms: 12_000,
                },
            },
        ),
        Example::new(
            "command",
            Kind::Command,
            &[],
            CommandBody {
                id: "8877665544332211".into(),
                order: CommandSpec {
                    command: CommandKind::Logs,
                    workload: Some(web()),
                    logs: Some(LogQuery {
                        tail: Some(100),
                        since_ns: Some(1_767_225_600_123_456_789),
                        follow_ms: Some(30_000),
                    }),
                },
            },
        ),
        Example::new(
            "welcome",
            Kind::Welcome,
            &["message", "credential"],
            Welcome {
                decision: WelcomeDecision::Approved,
                key,
                message: Some("welcome".into()),
                credential: Some("credential".into()),
            },
        ),
        Example::new(
            "access",
            Kind::Access,
            &[],
            Access {
                generation: 5,
                revoked: vec![SigningKey::from_seed(&[3; 32]).public().to_string()],
                revoked_tokens: vec!["0011223344556677".into()],
                readers: vec![sha256_hex(b"fleetapi_secret")],
            },
        ),
    ]
}

pub(super) fn examples() -> Vec<Example> {
    let mut all = from_agents();
    all.extend(from_the_controller());
    all
}
