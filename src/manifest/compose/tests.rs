//! Compose files in the manner of those that people use, and what becomes of them.
//!
//! `fixtures/<name>.expected` says which workloads a file has and what is noted, or everything
//! that is wrong with it.

use super::super::{Manifest, Reading, Source, parse_with};
use crate::model::{
    ContainerOptions, DependsOn, HealthCheck, Mount, MountSource, OnUnhealthy, PlacementMode,
    Protocol, PullPolicy, RestartPolicy, Run, RunMode, Signal, Workload, WorkloadType,
};
use std::collections::BTreeMap;

fn read(text: &str) -> Result<Reading, super::super::Problems> {
    parse_with(&Source::new("compose.yaml", text), &BTreeMap::new())
}

/// The workloads of a text by their names.
fn workloads(text: &str) -> BTreeMap<String, Workload> {
    let reading = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    reading
        .manifests
        .into_iter()
        .map(|Manifest { workload, .. }| (workload.name.to_string(), workload))
        .collect()
}

/// The only workload of a service with these keys, each line indented by four.
fn service(keys: &str) -> Workload {
    let text = format!("services:\n  a:\n    image: example/a:1\n{keys}");
    let mut found = workloads(&text);
    assert_eq!(found.len(), 1);
    found.remove("a").unwrap()
}

/// What is wrong with such a service.
fn wrong(keys: &str) -> Vec<String> {
    let text = format!("services:\n  a:\n    image: example/a:1\n{keys}");
    let problems = read(&text).expect_err(keys);
    problems
        .0
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
        .collect()
}

fn options(workload: &Workload) -> &ContainerOptions {
    match &workload.run {
        Run::Container { options, .. } => options,
        run => panic!("{run:?}"),
    }
}

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("fixtures/", $name, ".yaml")),
            include_str!(concat!("fixtures/", $name, ".expected")),
        )),*]
    };
}

const FIXTURES: [(&str, &str, &str); 15] = fixtures![
    "backup",
    "camera",
    "home-assistant",
    "monitoring",
    "nextcloud",
    "old",
    "pihole",
    "refused-build",
    "refused-cycle",
    "refused-networks",
    "refused-values",
    "refused-variables",
    "reverse-proxy",
    "vpn",
    "web-app",
];

#[test]
fn every_fixture_becomes_what_is_expected() {
    for (name, text, expected) in FIXTURES {
        let mut lines = Vec::new();
        match read(text) {
            Ok(reading) => {
                for manifest in &reading.manifests {
                    lines.push(format!("workload {}", manifest.workload.name));
                }
                for note in &reading.notes {
                    lines.push(format!(
                        "note {}:{} {}",
                        note.line, note.column, note.message
                    ));
                }
            }
            Err(problems) => {
                for problem in &problems.0 {
                    let place = format!("{}:{}", problem.line, problem.column);
                    lines.push(format!("{place} {}", problem.message));
                    if let Some(hint) = &problem.hint {
                        lines.push(format!("  help: {hint}"));
                    }
                }
            }
        }
        let found = lines.join("\n");
        assert_eq!(found.trim_end(), expected.trim_end(), "{name}");
    }
}

/// The text of a fixture.
fn fixture(name: &str) -> &'static str {
    let found = FIXTURES.iter().find(|(other, ..)| *other == name);
    found.unwrap().1
}

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
    assert_eq!(network.as_deref(), Some("edge"));
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
    assert_eq!(old.health, None);

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
        ("      test: [NONE]\n", None),
        ("      test: x\n      disable: true\n", None),
        ("      interval: 10s\n", Some(HealthCheck::Image)),
        ("      {}\n", None),
    ] {
        assert_eq!(health(lines).map(|health| health.check), check, "{lines}");
    }
    let restarted =
        service("    healthcheck: {test: x}\n    x-fleet: {health: {on_unhealthy: restart}}\n");
    assert_eq!(restarted.health.unwrap().on_unhealthy, OnUnhealthy::Restart);
}

#[test]
fn values_for_variables_are_taken_from_whoever_reads() {
    let text = "services:\n  a:\n    image: example/a:${TAG}\n    environment: [TOKEN]\n";
    let variables = [("TAG", "7"), ("TOKEN", "x")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let source = Source::new("-", text);
    let reading = parse_with(&source, &BTreeMap::from(variables)).unwrap();
    assert_eq!(reading.manifests[0].workload.version, "7");
    assert_eq!(reading.manifests[0].workload.env["TOKEN"], "x");
    assert!(read(text).is_err());
}

#[test]
fn a_default_network_may_be_one_that_exists() {
    let text = "services:\n  a:\n    image: example/a:1\nnetworks:\n  default:\n    external: true\n    \
                name: lan\n";
    let Run::Container { network, .. } = &workloads(text)["a"].run else {
        panic!("a container");
    };
    assert_eq!(network.as_deref(), Some("lan"));
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (keys, expected) in [
        (
            "    ports: 80\n",
            "4:12 `ports` must be a list, not an integer",
        ),
        (
            "    ports: [{target: 80}]\n",
            "4:13 `80` does not say the port of the node",
        ),
        (
            "    ports: ['80:80', '80:81']\n",
            "4:22 port 80/tcp of the node is published twice",
        ),
        (
            "    network_mode: host\n    ports: ['80:80']\n",
            "5:5 `ports` has no effect with `network = \"host\"`",
        ),
        (
            "    volumes: ['~/x:/x']\n",
            "4:15 `~/x` is not an absolute path",
        ),
        (
            "    volumes: ['/x:/x:shared']\n",
            "4:15 the option `shared` is not supported",
        ),
        (
            "    command: 'a \"b'\n",
            "4:14 the command has a \" without another one",
        ),
        (
            "    deploy: {resources: {limits: {memory: 1k}}}\n",
            "4:43 `memory` must be from 4MiB to 1024TiB",
        ),
        (
            "    labels: {io.fleetctl.x: y}\n",
            "4:14 labels `io.fleetctl.…` are fleetctl's own",
        ),
        (
            "    mem_limit: 64m\n    deploy: {resources: {limits: {memory: 64m}}}\n",
            "5:43 `memory` says again what another key says",
        ),
        (
            "    depends_on: {a: {condition: service_started}}\n",
            "4:18 `a` cannot depend on itself",
        ),
        (
            "    x-fleet: {placment: {on: every}}\n",
            "4:15 unknown key `placment`",
        ),
        (
            "    x-fleet: 1\n",
            "4:14 `x-fleet` must be a map, not an integer",
        ),
        ("    configs: [x]\n", "4:15 the config `x` is not declared"),
    ] {
        assert_eq!(wrong(keys), [expected], "{keys}");
    }
}

#[test]
fn what_is_no_compose_file_is_said() {
    for (text, expected) in [
        ("services: 1\n", "`services` must be a map, not an integer"),
        ("services: {}\n", "there is no service in this file"),
        ("[1]\n", "a Compose file must be a map, not an array"),
        ("version: '3'\n", "there is no service in this file"),
        (
            "services: {a: {image: x}}\n---\nservices: {b: {image: x}}\n",
            "a Compose file is one document, and this text has several",
        ),
    ] {
        let found = read(text).unwrap_err().to_string();
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn every_supported_key_is_read_by_somebody() {
    // A key of a service that is supported must make a difference, or be refused when its value is
    // of a wrong type: a map in a map is wrong everywhere but for maps.
    for (key, support) in super::SUPPORT {
        let Some(key) = key.strip_prefix("services.*.") else {
            continue;
        };
        let supported = matches!(support, super::Support::Yes | super::Support::Partly(_));
        // A service without an image is no service, and what a map may hold is tested above.
        let is_map = [
            "environment",
            "labels",
            "sysctls",
            "networks",
            "extra_hosts",
        ]
        .contains(&key);
        if !supported || key.contains('.') || is_map || key == "image" {
            continue;
        }
        let text = format!("services: {{a: {{image: x, {key}: {{q: {{q: q}}}}}}}}\n");
        assert!(read(&text).is_err(), "`{key}` is not read");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics(
        keys in proptest::collection::vec(
            (
                proptest::sample::select(super::SUPPORT),
                "[a-z0-9:/.{}\\[\\], \"$-]{0,24}",
            ),
            0..6,
        )
    ) {
        let mut text = "services:\n  a:\n    image: x\n".to_owned();
        for ((key, _), value) in keys {
            if let Some(key) = key.strip_prefix("services.*.") {
                text.push_str(&format!("    {key}: {value}\n"));
            }
        }
        let _ = read(&text);
    }
}
