use super::*;
use crate::model::{Device, FileSpec, Health, Mount, Port, Protocol, PullPolicy, Signal, Tmpfs};
use std::{path::Path, sync::Arc};

fn launch(change: impl FnOnce(&mut Workload)) -> Launch {
    let port = |host, container, protocol| Port {
        address: None,
        host,
        container,
        protocol,
    };
    let run = Run::Container {
        image: "r.example/web:1".to_owned(),
        command: vec!["serve".to_owned()],
        pull: PullPolicy::Missing,
        engine: None,
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/srv".to_owned()),
        network: Some("host".to_owned()),
        options: Box::default(),
    };
    let mut workload = Workload::new("web".parse().unwrap(), run);
    workload.env = BTreeMap::from([("MODE".to_owned(), "a=b".to_owned())]);
    workload.ports = vec![
        port(8080, 80, Protocol::Tcp),
        port(8081, 80, Protocol::Tcp),
        port(53, 53, Protocol::Udp),
    ];
    workload.volumes = vec![
        Mount {
            source: MountSource::Volume("data".to_owned()),
            target: "/data".to_owned(),
            read_only: false,
            movable: false,
        },
        Mount {
            source: MountSource::Path("/etc/x".to_owned()),
            target: "/x".to_owned(),
            read_only: true,
            movable: false,
        },
    ];
    workload.devices = vec![Device {
        host: "/dev/null".to_owned(),
        container: "/dev/zilch".to_owned(),
        permissions: "rw".to_owned(),
    }];
    workload.resources = Resources {
        memory: Some(64 << 20),
        cpus: Some(0.5),
        nice: Some(5),
        pids: Some(100),
        open_files: Some(256),
        read_only: true,
        tmpfs: vec![Tmpfs {
            path: "/tmp".to_owned(),
            size: Some(4096),
        }],
        oom_score: Some(500),
    };
    workload.stop_timeout_ms = 2_500;
    change(&mut workload);
    Launch {
        node: "pi-1".parse().unwrap(),
        spec_hash: workload.spec_hash(),
        workload: Arc::new(workload),
        trace: None,
    }
}

fn made(launch: &Launch, kind: RuntimeKind, limits: Limits) -> ContainerCreateBody {
    body(launch, kind, limits, &[]).unwrap()
}

#[test]
fn everything_that_was_asked_for_is_in_the_body() {
    let launch = launch(|_| {});
    let body = made(&launch, RuntimeKind::Docker, Limits::all());
    assert_eq!(
        body.env.unwrap(),
        ["FLEETCTL_NODE=pi-1", "FLEETCTL_WORKLOAD=web", "MODE=a=b"]
    );
    assert_eq!(body.stop_timeout, Some(3));
    assert_eq!(body.healthcheck, None);
    assert_eq!(
        body.exposed_ports,
        Some(vec!["53/udp".to_owned(), "80/tcp".to_owned()])
    );
    let labels = body.labels.unwrap();
    assert_eq!(labels[LABEL_NODE], "pi-1");
    assert_eq!(labels[LABEL_SPEC_HASH], launch.spec_hash);
    let host = body.host_config.unwrap();
    assert_eq!(
        host.binds,
        Some(vec!["data:/data".to_owned(), "/etc/x:/x:ro".to_owned()])
    );
    assert_eq!(
        (host.memory, host.memory_swap, host.nano_cpus),
        (Some(64 << 20), Some(64 << 20), Some(500_000_000))
    );
    assert_eq!(
        (host.pids_limit, host.oom_score_adj),
        (Some(100), Some(500))
    );
    let ulimit = &host.ulimits.unwrap()[0];
    assert_eq!((ulimit.soft, ulimit.hard), (Some(256), Some(256)));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.tmpfs.unwrap()["/tmp"], "mode=1777,size=4096");
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    let bindings = host.port_bindings.unwrap();
    assert_eq!(bindings["80/tcp"].as_ref().unwrap().len(), 2);
    let log = host.log_config.unwrap().config.unwrap();
    assert_eq!(
        (log["max-size"].as_str(), log["max-file"].as_str()),
        ("1048576", "4")
    );
    assert_eq!(warnings(&launch.workload).len(), 1);
}

#[test]
fn the_request_is_a_label_and_a_variable_and_no_part_of_the_spec() {
    let plain = launch(|_| {});
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut traced = plain.clone();
    traced.trace = trace.parse().ok();
    assert_eq!(traced.container_name(), plain.container_name());
    let body = made(&traced, RuntimeKind::Docker, Limits::all());
    let labels = body.labels.unwrap();
    assert_eq!(labels[LABEL_TRACE], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(labels[LABEL_SPEC_HASH], plain.spec_hash);
    let env = body.env.unwrap();
    assert!(env.contains(&format!("TRACEPARENT={trace}")), "{env:?}");
    let own = Launch {
        trace: traced.trace,
        ..launch(|w| {
            w.env.insert("TRACEPARENT".into(), "own".into());
        })
    };
    let env = made(&own, RuntimeKind::Docker, Limits::all()).env.unwrap();
    assert!(env.contains(&"TRACEPARENT=own".to_owned()), "{env:?}");
}

#[test]
fn options_are_passed_on_and_our_labels_stay_ours() {
    let launch = launch(|workload| {
        let Run::Container { options, .. } = &mut workload.run else {
            panic!("a container");
        };
        options.entrypoint = vec!["/init".to_owned()];
        options.hostname = Some("box".to_owned());
        options.cap_add = vec!["NET_ADMIN".to_owned()];
        options.privileged = true;
        options.labels = BTreeMap::from([
            ("a".to_owned(), "b".to_owned()),
            (LABEL_NODE.to_owned(), "stolen".to_owned()),
        ]);
        options.shm_size = Some(1 << 20);
        options.stop_signal = Some(Signal::SigQuit);
        options.init = true;
        options.tty = true;
    });
    let body = made(&launch, RuntimeKind::Docker, Limits::all());
    assert_eq!(body.entrypoint.unwrap(), ["/init"]);
    assert_eq!(body.hostname.as_deref(), Some("box"));
    assert_eq!(body.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(body.tty, Some(true));
    let labels = body.labels.unwrap();
    assert_eq!(
        (labels["a"].as_str(), labels[LABEL_NODE].as_str()),
        ("b", "pi-1")
    );
    let host = body.host_config.unwrap();
    assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN"]);
    assert_eq!((host.privileged, host.security_opt), (Some(true), None));
    assert_eq!((host.shm_size, host.init), (Some(1 << 20), Some(true)));
}

#[test]
fn limits_can_be_left_out_one_after_the_other() {
    let launch = launch(|_| {});
    let host = |limits| {
        made(&launch, RuntimeKind::Podman, limits)
            .host_config
            .unwrap()
    };
    let without_swap = host(Limits::all().without(Limit::Swap));
    assert_eq!(
        (without_swap.memory, without_swap.memory_swap),
        (Some(64 << 20), None)
    );
    let without_memory = host(Limits::all().without(Limit::Memory));
    assert_eq!(
        (without_memory.memory, without_memory.memory_swap),
        (None, None)
    );
    assert!(without_memory.nano_cpus.is_some());
    let rest = Limits::all()
        .without(Limit::Pids)
        .without(Limit::OpenFiles)
        .without(Limit::OomScore)
        .without(Limit::Cpus);
    let rest = host(rest);
    assert_eq!((rest.pids_limit, rest.nano_cpus), (None, None));
    assert_eq!((rest.ulimits, rest.oom_score_adj), (None, None));
    let log = rest.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("k8s-file"));
    assert_eq!(log.config.unwrap()["max-size"], (4 << 20).to_string());
}

#[test]
fn files_are_mounted_and_params_are_told_but_the_users_words_count() {
    let launch = launch(|workload| {
        workload.files = vec![FileSpec {
            path: "/etc/app.toml".to_owned(),
            content: "a = 1".to_owned(),
            mode: 0o644,
            verbatim: false,
        }];
        workload.params = serde_json::Map::from_iter([("n".to_owned(), 3.into())]);
        workload.env = BTreeMap::from([("FLEETCTL_NODE".to_owned(), "mine".to_owned())]);
    });
    let placed = [Path::new("/var/lib/x/0").to_owned()];
    let body = body(&launch, RuntimeKind::Docker, Limits::all(), &placed).unwrap();
    assert_eq!(
        body.env.unwrap(),
        [
            "FLEETCTL_NODE=mine",
            "FLEETCTL_PARAMS={\"n\":3}",
            "FLEETCTL_WORKLOAD=web"
        ]
    );
    let binds = body.host_config.unwrap().binds.unwrap();
    assert_eq!(binds.last().unwrap(), "/var/lib/x/0:/etc/app.toml:ro");
}

#[test]
fn a_check_of_its_own_replaces_the_images() {
    for (check, is_off) in [
        (HealthCheck::Image, false),
        (HealthCheck::None, true),
        (HealthCheck::Tcp("127.0.0.1:80".to_owned()), true),
    ] {
        let launch = launch(|workload| workload.health = Some(Health::new(check)));
        let body = made(&launch, RuntimeKind::Docker, Limits::all());
        let test = body.healthcheck.and_then(|health| health.test);
        assert_eq!(test.is_some_and(|test| test == ["NONE"]), is_off);
    }
}

#[test]
fn it_is_made_in_the_first_of_its_networks() {
    let launch = launch(|workload| {
        let Run::Container {
            network, options, ..
        } = &mut workload.run
        else {
            panic!("a container");
        };
        *network = None;
        let joined = |name: &str| ContainerNetwork {
            name: name.to_owned(),
            create: true,
            aliases: vec!["web".to_owned()],
        };
        options.networks = vec![joined("shop_front"), joined("shop_back")];
        options.security_opt = vec!["seccomp=unconfined".to_owned()];
    });
    let body = made(&launch, RuntimeKind::Docker, Limits::all());
    let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
    assert_eq!(endpoints.len(), 1);
    let aliases = endpoints["shop_front"].aliases.as_deref();
    assert_eq!(aliases, Some(&["web".to_owned()][..]));
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("shop_front"));
    assert_eq!(
        host.security_opt.unwrap(),
        ["no-new-privileges", "seccomp=unconfined"]
    );
}

#[test]
fn a_colon_in_a_mount_is_refused() {
    let launch = launch(|workload| {
        workload.volumes[1].source = MountSource::Path("/a:b".to_owned());
    });
    assert!(matches!(
        body(&launch, RuntimeKind::Docker, Limits::all(), &[]),
        Err(RuntimeError::Refused(sentence)) if sentence.contains("/a:b")
    ));
}
