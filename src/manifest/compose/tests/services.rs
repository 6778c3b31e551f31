//! What becomes of the keys of a service.

use super::{fixture, networks, options, service, workloads};
use crate::model::{
    DependsOn, HealthCheck, Mount, MountSource, OnUnhealthy, PlacementMode, Protocol, PullPolicy,
    RestartPolicy, Run, RunMode, Signal, WorkloadType,
};

#[test]
fn an_application_with_its_database() {
    let all = workloads(fixture("web-app"));
    let web = &all["web"];
    let Run::Container {
        image,
        command,
        network,
        ..
    } = &web.run
    else {
        panic!("{:?}", web.run);
    };
    assert_eq!(image, "ghcr.io/example/shop:1.4.2");
    assert_eq!(
        command,
        &[
            "gunicorn",
            "--bind",
            "0.0.0.0:8000",
            "shop.wsgi:application"
        ]
    );
    assert_eq!(network.as_deref(), Some("host"));
    assert_eq!(web.version, "1.4.2");
    assert_eq!(
        web.env["RATIO"], "1.10",
        "numbers are taken as they are written"
    );
    assert_eq!(web.env["DEBUG"], "false");
    assert_eq!(
        all["worker"].env["DEBUG"], "true",
        "what is written wins over `<<`"
    );
    assert_eq!(all["worker"].env["WORKERS"], "4");
    let depends_on: Vec<(&str, DependsOn)> = web
        .depends_on
        .iter()
        .map(|(name, on)| (name.as_str(), *on))
        .collect();
    assert_eq!(
        depends_on,
        [
            ("db", DependsOn::Healthy),
            ("migrate", DependsOn::Completed)
        ]
    );
    assert_eq!(web.restart.policy, RestartPolicy::OnFailure);
    assert_eq!(all["migrate"].restart.policy, RestartPolicy::Never);
    assert_eq!(web.resources.cpus, Some(0.5));
    assert_eq!(web.resources.memory, Some(256 << 20));
    assert_eq!(web.resources.pids, Some(200));
    let health = web.health.as_ref().unwrap();
    let question = ["curl", "-f", "http://127.0.0.1:8000/healthz"].map(str::to_owned);
    assert_eq!(health.check, HealthCheck::Exec(question.to_vec()));
    assert_eq!((health.interval_ms, health.timeout_ms), (90_000, 10_000));
    assert_eq!((health.retries, health.start_period_ms), (3, 40_000));
    assert_eq!(health.on_unhealthy, OnUnhealthy::Report);
    let health = all["db"].health.as_ref().unwrap();
    let question = ["/bin/sh", "-c", "pg_isready -U $POSTGRES_USER"].map(str::to_owned);
    assert_eq!(health.check, HealthCheck::Exec(question.to_vec()));
    assert_eq!(
        health.timeout_ms, 30_000,
        "what Docker does where nothing is written"
    );
    assert_eq!(options(&all["db"]).shm_size, Some(128 << 20));
}

#[test]
fn files_placement_and_volumes() {
    let all = workloads(fixture("monitoring"));
    let file = &all["prometheus"].files[0];
    assert_eq!(file.path, "/etc/prometheus/prometheus.yml");
    assert_eq!((file.mode, file.verbatim), (0o440, true));
    assert!(
        file.content.contains("{{ $labels.instance }}"),
        "{}",
        file.content
    );
    assert_eq!(all["prometheus"].logs.max_size, 10 << 20);
    assert_eq!(all["prometheus"].logs.max_files, 3);
    assert_eq!(all["node-exporter"].placement.mode, PlacementMode::Every);
    let requires: Vec<String> = all["influxdb"]
        .placement
        .requires
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(requires, ["disk=ssd"]);
    let volume = Mount {
        source: MountSource::Volume("influx-data".to_owned()),
        target: "/var/lib/influxdb2".to_owned(),
        read_only: false,
        movable: false,
    };
    assert_eq!(all["influxdb"].volumes, [volume]);
    let grafana = &all["grafana"];
    assert!(grafana.volumes[1].read_only);
    assert_eq!(grafana.resources.tmpfs[0].path, "/tmp");
    assert_eq!(grafana.resources.tmpfs[0].size, Some(64 << 20));

    let all = workloads(fixture("nextcloud"));
    let source = &all["db"].volumes[0].source;
    assert_eq!(*source, MountSource::Path("/opt/nextcloud/db".to_owned()));
    assert_eq!(all["cron"].placement.nodes[0].as_str(), "pi-1");
    assert_eq!(all["app"].env["MYSQL_PASSWORD"], "change-me");
}

#[test]
fn ports_networks_and_rights() {
    let all = workloads(fixture("pihole"));
    let pihole = &all["pihole"];
    let ports: Vec<(u16, u16, Protocol)> = pihole
        .ports
        .iter()
        .map(|p| (p.host, p.container, p.protocol))
        .collect();
    assert_eq!(ports.len(), 7);
    assert_eq!(ports[2], (8_053, 80, Protocol::Tcp));
    assert_eq!(ports[6], (10_003, 10_003, Protocol::Udp));
    let given = options(pihole);
    assert_eq!(given.cap_add, ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(given.dns, ["127.0.0.1"]);
    assert_eq!(given.extra_hosts.len(), 2);
    assert_eq!(given.sysctls["net.core.somaxconn"], "1024");
    assert!(given.init);

    let all = workloads(fixture("reverse-proxy"));
    let Run::Container { network, .. } = &all["traefik"].run else {
        panic!("{:?}", all["traefik"].run);
    };
    assert_eq!(*network, None);
    assert_eq!(networks(&all["traefik"]), ["edge: traefik"]);
    assert_eq!(options(&all["whoami"]).labels["traefik.enable"], "true");

    let all = workloads(fixture("vpn"));
    assert_eq!(options(&all["tailscale"]).cap_add, ["NET_ADMIN"]);
    assert!(options(&all["tailscale"]).tty);
}

#[test]
fn fleet_extensions() {
    let backup = &workloads(fixture("backup"))["backup"];
    assert_eq!(backup.kind, WorkloadType::Script);
    let RunMode::Schedule(schedule) = &backup.mode else {
        panic!("{:?}", backup.mode);
    };
    assert_eq!(schedule.cron, "0 3 * * *");
    assert_eq!(backup.timeout_ms, Some(2 * 3_600_000));
    assert_eq!(backup.placement.mode, PlacementMode::Every);
    assert_eq!(backup.logs.max_size, 256 << 10);
    assert_eq!(
        backup.env["RESTIC_REPOSITORY"],
        "s3:https://s3.example/boards"
    );
    let Run::Container { command, .. } = &backup.run else {
        panic!("{:?}", backup.run);
    };
    assert_eq!(command[3..], ["{{ node.name }}", "--tag", "boards"]);
}

#[test]
fn smaller_keys() {
    let camera = &workloads(fixture("camera"))["frigate"];
    assert_eq!(camera.stop_timeout_ms, 30_000);
    assert_eq!(options(camera).stop_signal, Some(Signal::SigInt));
    assert_eq!(camera.resources.open_files, Some(65_536));
    assert_eq!(camera.resources.oom_score, Some(-200));
    assert_eq!(
        camera.before_stop.as_ref().unwrap().command,
        ["/usr/bin/flush", "--now"]
    );
    assert_eq!(camera.devices[1].permissions, "rw");
    assert_eq!(camera.placement.requires[0].to_string(), "arch=aarch64");

    let old = &workloads(fixture("old"))["sensor"];
    assert_eq!(old.placement.mode, PlacementMode::Any { replicas: 3 });
    assert_eq!(old.env["OCTAL"], "0755");
    assert_eq!(old.restart.policy, RestartPolicy::OnFailure);
    assert_eq!(old.restart.delay_ms, 5_000);
    assert_eq!(old.health.as_ref().unwrap().check, HealthCheck::None);

    let Run::Container { pull, .. } = service("    pull_policy: always\n").run else {
        panic!("a container");
    };
    assert_eq!(pull, PullPolicy::Always);
}

#[test]
fn restart_policies() {
    for (line, policy) in [
        ("", RestartPolicy::Always),
        ("    restart: no\n", RestartPolicy::Never),
        ("    restart: 'no'\n", RestartPolicy::Never),
        ("    restart: always\n", RestartPolicy::Always),
        ("    restart: unless-stopped\n", RestartPolicy::Always),
        ("    restart: on-failure\n", RestartPolicy::OnFailure),
        ("    restart: on-failure:3\n", RestartPolicy::OnFailure),
        (
            "    restart: always\n    deploy: {restart_policy: {condition: none}}\n",
            RestartPolicy::Never,
        ),
    ] {
        assert_eq!(service(line).restart.policy, policy, "{line}");
    }
    // One whose end is waited for must come to an end.
    let all = workloads(
        "services:\n  a:\n    image: example/a:1\n  b:\n    image: example/b:1\n    depends_on:\n      \
         a: {condition: service_completed_successfully}\n",
    );
    assert_eq!(all["a"].restart.policy, RestartPolicy::Never);
    assert_eq!(all["b"].restart.policy, RestartPolicy::Always);
}

#[test]
fn health_checks() {
    let health = |lines: &str| service(&format!("    healthcheck:\n{lines}")).health;
    let exec =
        |words: &[&str]| HealthCheck::Exec(words.iter().map(|word| (*word).to_owned()).collect());
    for (lines, check) in [
        ("      test: x y\n", Some(exec(&["/bin/sh", "-c", "x y"]))),
        ("      test: [CMD, x, y]\n", Some(exec(&["x", "y"]))),
        (
            "      test: [CMD-SHELL, x || y]\n",
            Some(exec(&["/bin/sh", "-c", "x || y"])),
        ),
        ("      test: [NONE]\n", Some(HealthCheck::None)),
        (
            "      test: x\n      interval: 10s\n      disable: true\n",
            Some(HealthCheck::None),
        ),
        ("      disable: false\n", None),
        ("      interval: 10s\n", Some(HealthCheck::Image)),
        ("      {}\n", None),
    ] {
        assert_eq!(health(lines).map(|health| health.check), check, "{lines}");
    }
    let restarted =
        service("    healthcheck: {test: x}\n    x-fleet: {health: {on_unhealthy: restart}}\n");
    assert_eq!(restarted.health.unwrap().on_unhealthy, OnUnhealthy::Restart);
}
