//! What each message says.

use super::{Example, SEQ, fleet_key, node, node_key, web};
use crate::{
    contract::{
        Access, AssignmentBody, CommandBody, CommandResult, Enroll, Event, HeartbeatBody, Kind,
        Logs, Metadata, Seq, SessionStatus, State, Status, Stream, Telemetry, Welcome,
        WelcomeDecision,
    },
    identity::{self, SigningKey, sha256_hex},
    model::{
        AssignedInstance, BlobSource, CommandKind, CommandOutcome, CommandSpec, ContainerOptions,
        DependsOn, Desired, Device, Digest, EngineFact, ExecInput, ExecSpec, FileSpec, Guard,
        Health, HealthCheck, HealthStatus, Hook, ImageFetch, ImageOrder, InstanceState, LogLimits,
        LogLine, LogQuery, LogShipping, LogStream, Metric, MetricConfig, MissedRun, Mount,
        MountSource, NodeConfig, NodeImage, ObservedInstance, Overlap, Placement, PlacementMode,
        Port, Protocol, PullPolicy, Resources, Restart, RestartPolicy, Run, RunMode, RuntimeKind,
        Schedule, Signal, Strategy, TerminalSize, Tmpfs, TraceContext, Trial, TrialState,
        Unmanaged, Workload, WorkloadType,
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
            options: Box::new(ContainerOptions {
                hostname: Some("web".into()),
                cap_drop: vec!["ALL".into()],
                stop_signal: Some(Signal::SigQuit),
                init: true,
                ..ContainerOptions::default()
            }),
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
            movable: false,
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
            pids: Some(100),
            open_files: Some(1_024),
            read_only: true,
            tmpfs: vec![Tmpfs {
                path: "/tmp".into(),
                size: Some(1 << 20),
            }],
            oom_score: Some(500),
        },
        placement: Placement {
            mode: PlacementMode::Any { replicas: 3 },
            strategy: Strategy::LeastLoaded,
            requires: vec!["zone!=lab".to_owned().try_into().unwrap()],
            nodes: vec![node()],
            ..Placement::default()
        },
        restart: Restart {
            policy: RestartPolicy::OnFailure,
            delay_ms: 5_000,
            max_delay_ms: 300_000,
        },
        stop_timeout_ms: 10_000,
        mode: RunMode::Schedule(Schedule {
            cron: "0 3 * * *".into(),
            time_zone: Some("Europe/Berlin".into()),
            missed: MissedRun::RunOnce,
            overlap: Overlap::Queue,
        }),
        timeout_ms: Some(300_000),
        health: Some(Health::new(HealthCheck::Http(
            "http://127.0.0.1:8080/healthz".into(),
        ))),
        min_healthy_time_ms: Some(20_000),
        depends_on: BTreeMap::from([("db".parse().unwrap(), DependsOn::Healthy)]),
        before_stop: Some(Hook {
            command: vec!["/bin/drain".into()],
            timeout_ms: 5_000,
        }),
        files: vec![FileSpec {
            path: "/etc/web.conf".into(),
            content: "zone = {{ label.zone }}\n".into(),
            mode: 0o600,
            verbatim: true,
        }],
        params: [("n".to_owned(), 1.into())].into_iter().collect(),
        reload: Some(Signal::SigHup),
        logs: LogLimits {
            max_size: 1 << 16,
            max_files: 2,
        },
        tags: vec!["front".into()],
        adopt: Some("web-1".into()),
        update: None,
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
        health: Some(HealthStatus::Unhealthy),
        runs: Some(3),
        next_run_ms: Some(1_767_229_200_000),
        last_error: Some("it ended with exit code 1".into()),
        last_output: vec!["cannot open the display".into()],
        trial: None,
        fetched: None,
    }
}

/// Rolled back from a guarded change, and the next one is here already.
fn instance_on_trial() -> ObservedInstance {
    ObservedInstance {
        state: InstanceState::Running,
        reason: None,
        trial: Some(Box::new(Trial {
            spec_hash: "fedcba9876543210".into(),
            version: "1.3.0".into(),
            state: TrialState::Failed,
            reason: Some("it failed 3 times in a row: it ended with exit code 1".into()),
            last_output: vec!["cannot open the display".into()],
            at_ms: 1_767_225_600_000,
        })),
        fetched: Some("00112233445566ff".into()),
        ..instance()
    }
}

fn node_config() -> NodeConfig {
    NodeConfig {
        heartbeat_interval_ms: 12_000,
        telemetry: BTreeMap::from([(
            Metric::Cpu,
            MetricConfig {
                enabled: true,
                interval_ms: 10_000,
                change_threshold: 2.5,
            },
        )]),
        logs: LogShipping {
            enabled: true,
            interval_ms: 1_000,
        },
        blobs: None,
    }
}

fn unmanaged(workload: Option<Workload>) -> Unmanaged {
    Unmanaged {
        runtime: RuntimeKind::Docker,
        name: "old-web".into(),
        image: "registry.example/web:1.1.0".into(),
        running: true,
        project: Some("shop".into()),
        announced: true,
        lost: match workload {
            Some(_) => vec!["its link to `db`".into()],
            None => Vec::new(),
        },
        workload,
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
            &["features", "addresses", "engines", "capabilities", "labels"],
            Metadata {
                agent_version: "0.1.0".into(),
                features: 2,
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
            &["engines", "discovered"],
            State {
                generation: 12,
                instances: vec![instance()],
                engines: vec![engine()],
                discovered: vec![unmanaged(None)],
            },
        ),
        Example::new(
            "state-trial",
            Kind::State,
            &["engines"],
            State {
                generation: 12,
                instances: vec![instance_on_trial()],
                engines: vec![engine()],
                discovered: Vec::new(),
            },
        ),
        Example::new("cfg", Kind::Cfg, &["telemetry", "logs"], node_config()),
        Example::new(
            "cfg-blobs",
            Kind::Cfg,
            &["telemetry", "logs", "blobs"],
            NodeConfig {
                blobs: Some(BlobSource {
                    url: "https://fleet.example:7070".into(),
                    ca_sha256: Some("00".repeat(32)),
                }),
                ..node_config()
            },
        ),
        Example::new(
            "telemetry",
            Kind::Telemetry,
            &[],
            Telemetry {
                at: 1_767_225_600_000,
                values: BTreeMap::from([("total".into(), 12.5), ("core0".into(), 25.0)]),
            },
        ),
        Example::new(
            "stream",
            Kind::Stream,
            &[],
            Stream {
                command: "8877665544332211".into(),
                n: 0,
                stream: LogStream::Stdout,
                data: "aGVsbG8K".into(),
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
                n: 0,
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
            "result-discover",
            Kind::Result,
            &[],
            CommandResult {
                id: "8877665544332212".into(),
                outcome: CommandOutcome {
                    exit_code: Some(7),
                    unmanaged: vec![unmanaged(Some(workload()))],
                    ..CommandOutcome::done()
                },
            },
        ),
        Example::new(
            "result-images",
            Kind::Result,
            &[],
            CommandResult {
                id: "8877665544332213".into(),
                outcome: CommandOutcome {
                    images: vec![NodeImage {
                        engine: RuntimeKind::Docker,
                        id: Digest::of(b"config").to_string(),
                        references: vec!["docker.io/library/app:1".into()],
                        size: 4_096,
                        created_s: 1_767_225_600,
                        containers: 1,
                    }],
                    bytes: Some(1_024),
                    ..CommandOutcome::going_on("docker: 25%")
                },
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

fn trace() -> TraceContext {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    text.parse().unwrap()
}

fn from_the_controller() -> Vec<Example> {
    let key = node_key().public().to_string();
    let assigned = AssignedInstance {
        workload: Arc::new(workload()),
        desired: Desired::Running,
        restart_count: 1,
        guard: None,
        next: None,
        trace: None,
    };
    let of_version = |version: &str| {
        Arc::new(Workload {
            version: version.into(),
            placement: Placement::default(),
            ..workload()
        })
    };
    let guarded = AssignedInstance {
        workload: of_version("1.3.0"),
        guard: Some(Box::new(Guard {
            fallback: of_version("1.2.0"),
            min_healthy_time_ms: 10_000,
            healthy_deadline_ms: 300_000,
        })),
        next: Some(of_version("1.4.0")),
        ..assigned.clone()
    };
    let traced = AssignedInstance {
        trace: Some(trace()),
        ..assigned.clone()
    };
    vec![
        Example::new(
            "assignment",
            Kind::Assignment,
            &[],
            AssignmentBody {
                generation: 12,
                instances: vec![assigned],
                cfg: node_config(),
            },
        ),
        Example::new(
            "assignment-guarded",
            Kind::Assignment,
            &[],
            AssignmentBody {
                generation: 13,
                instances: vec![guarded],
                cfg: node_config(),
            },
        ),
        Example::new(
            "assignment-traced",
            Kind::Assignment,
            &[],
            AssignmentBody {
                generation: 14,
                instances: vec![traced],
                cfg: node_config(),
            },
        ),
        Example::new(
            "command-traced",
            Kind::Command,
            &["trace"],
            CommandBody {
                id: "8877665544332212".into(),
                order: CommandSpec::new(CommandKind::Restart, Some(web())),
                trace: Some(trace()),
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
                        until_ns: Some(1_767_225_700_123_456_789),
                        stream: Some(LogStream::Stderr),
                    }),
                    exec: Some(ExecSpec {
                        command: vec!["sh".into()],
                        terminal: Some(TerminalSize {
                            columns: 80,
                            rows: 24,
                        }),
                        stdin: true,
                        timeout_ms: Some(60_000),
                    }),
                    input: Some(ExecInput {
                        session: "8877665544332210".into(),
                        n: 2,
                        data: "bHMK".into(),
                        end: true,
                        resize: None,
                        kill: true,
                        taken: None,
                    }),
                    image: None,
                },
                trace: None,
            },
        ),
        Example::new(
            "command-image",
            Kind::Command,
            &[],
            CommandBody {
                id: "8877665544332213".into(),
                order: CommandSpec {
                    image: Some(Box::new(ImageOrder::Fetch(ImageFetch {
                        reference: "docker.io/library/app:1".into(),
                        manifest: Digest::of(b"manifest"),
                        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
                        platforms: vec!["linux/arm64".into()],
                        engine: Some(RuntimeKind::Docker),
                    }))),
                    ..CommandSpec::new(CommandKind::Image, None)
                },
                trace: None,
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
