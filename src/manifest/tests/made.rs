//! Workloads made at random, every field of them, as a manifest could say them.

use crate::model::{
    Budget, ContainerNetwork, ContainerOptions, DEFAULT_MIN_HEALTHY_TIME_MS, DependsOn, Device,
    FileSpec, Health, HealthCheck, Hook, LogLimits, MissedRun, Mount, MountSource, OnUnhealthy,
    Overlap, Placement, PlacementMode, Port, Preference, Protocol, PullPolicy, Requirement,
    Resources, Restart, RestartPolicy, Run, RunMode, RuntimeKind, Schedule, Share, Signal, Tmpfs,
    Update, Window, Workload, WorkloadType, uptime_ms,
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// One of these texts.
fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(list).prop_map(str::to_owned)
}

/// Any text, with templates at times.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[^\0{]{0,12}",
        1 => one_of(&[
            "{{ node.name }}",
            "a {{ label.zone }}{{env.TOKEN}} b",
            "{{ \"{{\" }} {",
            "\n\"\"\"\r\n\\\t",
        ]),
    ]
}

/// A program and its arguments.
fn command() -> impl Strategy<Value = Vec<String>> {
    ("[^\0{]{1,8}", vec(text(), 0..3)).prop_map(|(program, mut arguments)| {
        arguments.insert(0, program);
        arguments
    })
}

fn node_path() -> impl Strategy<Value = String> {
    one_of(&["/srv/x", "/", "{{ env.HOME }}/x", "/srv/{{ node.name }}"])
}

fn options() -> impl Strategy<Value = ContainerOptions> {
    let lists = (
        option::of(command()),
        vec(select(vec!["NET_ADMIN", "SYS_TIME"]), 0..2),
        any::<[bool; 5]>(),
    );
    let maps = (
        btree_map("[a-z]{1,4}\\.[a-z]{1,4}", text(), 0..3),
        btree_map("[a-z]{1,4}\\.[a-z]{1,4}", "[0-9]{1,4}", 0..2),
    );
    let rest = (
        option::of(one_of(&["web-1", "{{ node.hostname }}-web"])),
        option::of((64u64 << 10)..(1 << 40)),
        option::of(select(Signal::ALL.to_vec())),
    );
    (lists, maps, rest).prop_map(|(lists, maps, (hostname, shm_size, stop_signal))| {
        let (entrypoint, caps, [privileged, init, tty, network, security]) = lists;
        let caps = texts(&caps.into_iter().take(1).collect::<Vec<_>>());
        let network = |list: &[&str]| if network { texts(list) } else { Vec::new() };
        ContainerOptions {
            entrypoint: entrypoint.unwrap_or_default(),
            hostname,
            cap_add: caps.clone(),
            cap_drop: caps,
            privileged,
            extra_hosts: network(&["db:10.0.0.7", "six:::1", "node:host-gateway"]),
            dns: network(&["10.0.0.1", "::1", "{{ label.dns }}"]),
            group_add: network(&["dialout", "20"]),
            labels: maps.0,
            sysctls: maps.1,
            init,
            shm_size,
            stop_signal,
            tty,
            networks: Vec::new(),
            security_opt: if security {
                texts(&["seccomp=unconfined", "label=disable"])
            } else {
                Vec::new()
            },
        }
    })
}

/// The usual network, one by its name, or several.
fn networks() -> impl Strategy<Value = (Option<String>, Vec<ContainerNetwork>)> {
    let aliases = || {
        select(vec![
            texts(&[]),
            texts(&["db"]),
            texts(&["db", "my_db.lan"]),
        ])
    };
    let several = btree_map("[a-z][a-z0-9_.-]{0,6}", (any::<bool>(), aliases()), 1..4);
    let several = several.prop_map(|all| {
        all.into_iter()
            .map(|(name, (create, aliases))| ContainerNetwork {
                name: format!("n{name}"),
                create,
                aliases,
            })
            .collect()
    });
    prop_oneof![
        Just((None, Vec::new())),
        Just((Some("bridge".to_owned()), Vec::new())),
        several.prop_map(|all| (None, all)),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let container = (
        vec(text(), 0..3),
        option::of("[a-z]{1,8}"),
        option::of(node_path()),
        networks(),
        select(vec![
            PullPolicy::Missing,
            PullPolicy::Always,
            PullPolicy::Never,
        ]),
        option::of(select(vec![RuntimeKind::Docker, RuntimeKind::Podman])),
        options(),
    );
    let container = container.prop_map(
        |(command, user, working_dir, (network, networks), pull, engine, options)| Run::Container {
            image: "registry.example/a/b:1".to_owned(),
            command,
            pull,
            engine,
            user,
            working_dir,
            network,
            options: Box::new(ContainerOptions {
                networks,
                ..options
            }),
        },
    );
    let process = (command(), option::of("[a-z]{1,8}"), option::of(node_path()));
    let process = process.prop_map(|(command, user, working_dir)| Run::Process {
        command,
        user,
        working_dir,
    });
    let python = (
        one_of(&["app:main", "a.b:C.method"]),
        option::of(node_path()),
        vec(node_path(), 0..2),
        option::of("[a-z]{1,8}"),
    );
    let python = python.prop_map(|(callable, venv, path, user)| Run::Python {
        callable,
        venv,
        path,
        user,
        working_dir: None,
    });
    prop_oneof![2 => container, 1 => process, 1 => python]
}

/// A type, with a run mode that it can have.
fn mode() -> impl Strategy<Value = (WorkloadType, RunMode)> {
    let kind = || select(vec![WorkloadType::Agent, WorkloadType::Script]);
    let schedule = (
        one_of(&["0 3 * * *", "@daily", "*/10 * * * * *"]),
        option::of(one_of(&["Europe/Berlin", "UTC"])),
        select(vec![MissedRun::Skip, MissedRun::RunOnce]),
        select(vec![Overlap::Skip, Overlap::Queue, Overlap::Replace]),
    );
    let schedule = schedule.prop_map(|(cron, time_zone, missed, overlap)| {
        RunMode::Schedule(Schedule {
            cron,
            time_zone,
            missed,
            overlap,
        })
    });
    prop_oneof![
        Just((WorkloadType::Service, RunMode::Forever)),
        (kind(), Just(RunMode::Forever)),
        (
            kind(),
            (1u32..=1_000_000).prop_map(|max_runs| RunMode::NTimes { max_runs })
        ),
        (kind(), schedule),
    ]
}

fn health(is_container: bool) -> impl Strategy<Value = Health> {
    let image = if is_container {
        HealthCheck::Image
    } else {
        HealthCheck::Tcp("{{ env.DB }}".to_owned())
    };
    let check = prop_oneof![
        one_of(&[
            "http://127.0.0.1:8080/x",
            "https://{{ node.name }}:1",
            "{{ env.URL }}"
        ])
        .prop_map(HealthCheck::Http),
        one_of(&["db:5432", "[::1]:80", "{{ label.ip }}:1"]).prop_map(HealthCheck::Tcp),
        command().prop_map(HealthCheck::Exec),
        Just(image),
    ];
    let times = (0u64..=3_600_000, 1_000u64..=3_600_000, 100u64..=600_000);
    let follows = select(vec![OnUnhealthy::Restart, OnUnhealthy::Report]);
    let asked =
        (check, times, 1u32..=100, follows).prop_map(|(check, times, retries, on_unhealthy)| {
            Health {
                check,
                start_period_ms: times.0,
                interval_ms: times.1,
                timeout_ms: times.2,
                retries,
                on_unhealthy,
            }
        });
    prop_oneof![
        9 => asked.boxed(),
        1 => if is_container {
            Just(Health::new(HealthCheck::None)).boxed()
        } else {
            Just(Health::new(HealthCheck::Tcp("db:1".to_owned()))).boxed()
        },
    ]
}

fn resources(is_container: bool) -> impl Strategy<Value = Resources> {
    let tmpfs = select(vec![
        vec![],
        vec![("/run", None)],
        vec![("/tmp", Some(64u64 << 20)), ("/a b", Some(4_097))],
    ]);
    (
        option::of((4u64 << 20)..(1 << 40)),
        option::of(0.001f64..1_024.0),
        option::of(-20i32..=19),
        option::of(1u32..=4_194_304),
        option::of(16u32..=1_048_576),
        option::of(-1_000i32..=1_000),
        any::<bool>(),
        tmpfs,
    )
        .prop_map(
            move |(memory, cpus, nice, pids, open_files, oom_score, read_only, tmpfs)| Resources {
                memory,
                cpus,
                nice,
                pids,
                open_files,
                read_only: read_only && is_container,
                tmpfs: tmpfs
                    .into_iter()
                    .filter(|_| is_container)
                    .map(|(path, size)| Tmpfs {
                        path: path.to_owned(),
                        size,
                    })
                    .collect(),
                oom_score,
            },
        )
}

fn files() -> impl Strategy<Value = Vec<FileSpec>> {
    let file = ((0u32..=0o777), text(), any::<bool>());
    btree_map("/[a-z .\"\\\\]{0,4}[a-z]", file, 0..3).prop_map(|files| {
        files
            .into_iter()
            .map(|(path, (mode, content, verbatim))| FileSpec {
                path,
                // What is no template for anybody may stand in a verbatim file only.
                content: if verbatim {
                    "{{ x }} {{".to_owned()
                } else {
                    content
                },
                mode,
                verbatim,
            })
            .collect()
    })
}

fn params() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (-1e300f64..1e300).prop_map(serde_json::Value::from),
        (-1.0f64..1.0).prop_map(serde_json::Value::from),
        text().prop_map(serde_json::Value::from),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            btree_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    btree_map("[a-z_ \n]{0,6}", value, 0..3).prop_map(|map| map.into_iter().collect())
}

fn requirement(text: &str) -> Requirement {
    Requirement::try_from(text.to_owned()).unwrap()
}

fn placement() -> impl Strategy<Value = Placement> {
    use crate::model::Strategy as Choice;
    let mode = prop_oneof![
        Just(PlacementMode::Every),
        (0u32..=10_000).prop_map(|replicas| PlacementMode::Any { replicas })
    ];
    let strategy = select(vec![
        Choice::LeastLoaded,
        Choice::RoundRobin,
        Choice::CapabilityMatch,
        Choice::ResourceOptimal,
    ]);
    let weight = || prop_oneof![Just(50), -100..=-1, 1..=100];
    let prefers = (weight(), weight()).prop_map(|(one, other)| {
        [("gpu", one), ("memory>=1.5GiB", other)].map(|(what, weight)| Preference {
            requirement: requirement(what),
            weight,
        })
    });
    let neighbours = || btree_set("[a-z]{1,3}", 0..3);
    let soft = (
        option::of(prefers),
        option::of(one_of(&["zone", "example.com/rack"])),
    );
    let near = (neighbours(), neighbours());
    (mode, strategy, soft, near).prop_map(|(mode, strategy, (prefers, spread), (with, apart))| {
        let chooses = mode != PlacementMode::Every;
        let names = |prefix: &str, words: std::collections::BTreeSet<String>| {
            let name = |word: String| format!("{prefix}-0-{word}").parse().unwrap();
            words.into_iter().map(name).collect()
        };
        Placement {
            mode,
            strategy,
            requires: ["a", "!b", "c=d", "e!=f", "memory>=1GiB", "memory<=2GiB"]
                .map(requirement)
                .to_vec(),
            // No more instances than the nodes that they are bound to.
            nodes: match mode {
                PlacementMode::Any { replicas: 2.. } => Vec::new(),
                _ => vec!["pi-1".parse().unwrap()],
            },
            prefers: prefers
                .filter(|_| chooses)
                .map(Vec::from)
                .unwrap_or_default(),
            spread: spread.filter(|_| chooses),
            with: names("with", with),
            apart: names("apart", apart),
        }
    })
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![
        (1u32..=100_000).prop_map(Share::Count),
        (1u8..=100).prop_map(Share::Percent),
    ]
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let window = (
        one_of(&["0 2 * * *", "@daily", "30 1 * * SAT,SUN"]),
        60_000u64..=604_800_000,
        option::of(one_of(&["Europe/Berlin", "UTC"])),
    );
    let window = window.prop_map(|(opens, duration_ms, time_zone)| Window {
        opens,
        duration_ms,
        time_zone,
    });
    vec(window, 0..3)
}

fn update() -> impl Strategy<Value = Update> {
    let changed = (
        share(),
        prop_oneof![Just(0u32), 1u32..=100_000],
        any::<[bool; 3]>(),
        0u64..=3_600_000,
        1_000u64..=82_000_000,
        0u64..=500_000_000,
        option::of(one_of(&["rack", "floor"])),
        option::of(share()),
        (windows(), windows()),
    );
    let changed = changed.prop_map(
        |(max_parallel, canary, answers, min, more, still_more, sequence, unavailable, windows)| {
            let [auto_promote, auto_rollback, usual_times] = answers;
            let usual = Update::default();
            let (min, deadline, progress) = if usual_times {
                (
                    usual.min_healthy_time_ms,
                    usual.healthy_deadline_ms,
                    usual.progress_deadline_ms,
                )
            } else {
                (min, min + more, min + more + still_more)
            };
            Update {
                max_parallel,
                canary,
                auto_promote: auto_promote || canary == 0,
                min_healthy_time_ms: min,
                healthy_deadline_ms: deadline,
                progress_deadline_ms: progress,
                auto_rollback,
                sequence,
                budget: unavailable.map(|max_unavailable| Budget {
                    label: "rack".to_owned(),
                    max_unavailable,
                }),
                windows: windows.0,
                download_windows: windows.1,
            }
        },
    );
    prop_oneof![1 => Just(Update::default()), 5 => changed]
}

fn restart() -> impl Strategy<Value = Restart> {
    let policy = select(vec![
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ]);
    (policy, 0u64..80_000_000, 0u64..6_000_000).prop_map(|(policy, delay_ms, more)| Restart {
        policy,
        delay_ms,
        max_delay_ms: delay_ms + more,
    })
}

/// What only a container has beside what it runs.
fn with_engine(mut workload: Workload) -> Workload {
    let port = |address: Option<&str>, host, protocol| Port {
        address: address.map(str::to_owned),
        host,
        container: 80,
        protocol,
    };
    workload.ports = vec![
        port(None, 8_080, Protocol::Tcp),
        port(Some("::1"), 53, Protocol::Udp),
        port(Some("127.0.0.1"), 53, Protocol::Udp),
    ];
    // Every second one, so that each form is there, read-only or not.
    let movable = std::cell::Cell::new(false);
    let mount = |source, target: &str, read_only| Mount {
        source,
        target: target.to_owned(),
        read_only,
        movable: movable.replace(!movable.get()),
    };
    let path = |path: &str| MountSource::Path(path.to_owned());
    let volume = |name: &str| MountSource::Volume(name.to_owned());
    workload.volumes = vec![
        mount(volume("data"), "/var/lib/web", false),
        mount(volume("data-{{ node.name }}"), "/var/lib/more", false),
        mount(path("/etc/ssl"), "/ssl/1", true),
        mount(path("/srv/{{ label.a:b }}"), "/ssl/2", false),
        mount(path("{{ env.DATA }}/x"), "/ssl/3", true),
        mount(path("/srv/{{ label.a:b }}"), "/ssl/4", true),
    ];
    workload.devices = vec![Device {
        host: "/dev/a".to_owned(),
        container: "/dev/b".to_owned(),
        permissions: "rw".to_owned(),
    }];
    workload.adopt = Some("old_web_1".to_owned());
    workload
}

/// A workload.
pub(super) fn workload() -> impl Strategy<Value = Workload> {
    run().prop_flat_map(|run| {
        let is_container = run.is_container();
        let scalars = (
            "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
            "[a-zA-Z0-9.\"'\\\\ü][a-zA-Z0-9.\"'\\\\ü ]{0,18}[a-zA-Z0-9.\"'\\\\ü]",
            0u64..=3_600_000,
            option::of(1_000u64..=2_592_000_000),
            option::of(0u64..=3_600_000),
        );
        let maps = (
            btree_map("[A-Za-z_][A-Za-z0-9_.]{0,8}", text(), 0..4),
            btree_map(
                "x[a-z]{1,4}",
                select(vec![
                    DependsOn::Started,
                    DependsOn::Healthy,
                    DependsOn::Completed,
                ]),
                0..3,
            ),
            btree_set("[a-z ü\"]{1,8}", 0..3),
            files(),
            params(),
        );
        let hook = option::of((command(), prop_oneof![Just(10_000), 100u64..=3_600_000]));
        let logs = ((64u64 << 10)..=(1 << 30), 1u32..=20);
        let parts = (
            mode(),
            option::of(health(is_container)),
            resources(is_container),
            (placement(), option::of(update())),
            restart(),
            hook,
            logs,
        );
        (Just(run), scalars, maps, parts, any::<bool>()).prop_map(
            |(run, scalars, maps, parts, reload)| {
                let (name, version, stop_timeout_ms, timeout_ms, min_healthy_time_ms) = scalars;
                let (env, depends_on, tags, files, params) = maps;
                let ((kind, mode), health, resources, spread, restart, hook, logs) = parts;
                let (placement, update) = spread;
                let up_ms = uptime_ms(
                    health.as_ref(),
                    &mode,
                    min_healthy_time_ms.unwrap_or(DEFAULT_MIN_HEALTHY_TIME_MS),
                );
                // Others are refused.
                let update = update.map(|u: Update| {
                    let least = up_ms + u.min_healthy_time_ms + 1_000;
                    Update {
                        healthy_deadline_ms: u.healthy_deadline_ms.max(least),
                        progress_deadline_ms: u.progress_deadline_ms.max(least),
                        ..u
                    }
                });
                let name: crate::model::Name = name.parse().unwrap();
                let depends_on = depends_on
                    .into_iter()
                    .map(|(need, how)| (need.parse().unwrap(), how))
                    .filter(|(need, _)| *need != name);
                let made = Workload {
                    kind,
                    version,
                    env,
                    resources,
                    placement,
                    restart,
                    stop_timeout_ms,
                    mode,
                    timeout_ms,
                    health,
                    min_healthy_time_ms,
                    depends_on: depends_on.collect(),
                    before_stop: hook.map(|(command, timeout_ms)| Hook {
                        command,
                        timeout_ms,
                    }),
                    reload: (reload && !files.is_empty()).then_some(Signal::SigHup),
                    files,
                    params,
                    logs: LogLimits {
                        max_size: logs.0,
                        max_files: logs.1,
                    },
                    tags: tags.into_iter().collect(),
                    update,
                    ..Workload::new(name, run)
                };
                if made.run.is_container() {
                    with_engine(made)
                } else {
                    made
                }
            },
        )
    })
}
