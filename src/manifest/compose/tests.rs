//! Compose files in the manner of those that people use, and what becomes of them.
//!
//! `fixtures/<name>.expected` says which workloads a file has and what is noted, or everything
//! that is wrong with it.

use super::super::{Manifest, Reading, Source, parse_with, wanted_files};
use crate::model::{
    ContainerOptions, DependsOn, HealthCheck, Mount, MountSource, OnUnhealthy, PlacementMode,
    Protocol, PullPolicy, RestartPolicy, Run, RunMode, Signal, Workload, WorkloadType,
};
use std::collections::BTreeMap;

fn read(text: &str) -> Result<Reading, super::super::Problems> {
    read_with(text, &[])
}

/// With values of variables, and with what lies beside the fixtures.
fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Reading, super::super::Problems> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let variables: BTreeMap<String, String> = variables.iter().map(owned).collect();
    let mut source = Source::new("shop/compose.yaml", text);
    let beside: BTreeMap<String, String> = BESIDE.iter().map(owned).collect();
    for path in wanted_files(&source, &variables) {
        if let Some(text) = beside.get(&path) {
            source.files.insert(path, text.clone());
        }
    }
    parse_with(&source, &variables)
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

/// Each network as `name: aliases`, with a `+` where it is made.
fn networks(workload: &Workload) -> Vec<String> {
    let networks = options(workload).networks.iter().map(|network| {
        let made = if network.create { "+" } else { "" };
        format!("{made}{}: {}", network.name, network.aliases.join(" "))
    });
    networks.collect()
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

/// Files beside the fixtures, by the path that these call them by.
const BESIDE: [(&str, &str); 8] = [
    ("db.env", include_str!("fixtures/beside/db.env")),
    (".env", include_str!("fixtures/beside/dot.env")),
    (
        "docker-compose.env",
        include_str!("fixtures/beside/docker-compose.env"),
    ),
    ("./traefik.yml", include_str!("fixtures/beside/traefik.yml")),
    ("./dynamic.yml", include_str!("fixtures/beside/dynamic.yml")),
    (
        "./prometheus.yml",
        include_str!("fixtures/beside/prometheus.yml"),
    ),
    ("./alerts.yml", include_str!("fixtures/beside/alerts.yml")),
    (
        "./grafana/datasource.yml",
        include_str!("fixtures/beside/datasource.yml"),
    ),
];

const FIXTURES: [(&str, &str, &str); 20] = fixtures![
    "backup",
    "camera",
    "cloud",
    "edge",
    "home-assistant",
    "metrics",
    "monitoring",
    "nextcloud",
    "old",
    "paperless",
    "photos",
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
    assert_eq!(networks(&workloads(text)["a"]), ["lan: a"]);
}

#[test]
fn services_are_in_the_networks_of_their_project() {
    let text = "services:\n  a:\n    image: x:1\n    container_name: the_a\n    hostname: a\n  \
                b:\n    image: x:1\n    hostname: '{{ node.name }}'\n    networks: []\n  c:\n    \
                image: x:1\n    networks: [back, default]\n  d:\n    image: x:1\n    networks:\n      \
                out:\n      back: {aliases: [dd, d]}\n  e:\n    image: x:1\n    network_mode: none\n\
                networks:\n  back:\n    name: deep\n  out:\n    external: true\n";
    let all = workloads(text);
    assert_eq!(networks(&all["a"]), ["+shop_default: a the_a"]);
    assert_eq!(networks(&all["b"]), ["+shop_default: b"]);
    assert_eq!(networks(&all["c"]), ["+deep: c", "+shop_default: c"]);
    assert_eq!(networks(&all["d"]), ["out: d", "+deep: dd d"]);
    assert!(networks(&all["e"]).is_empty());

    let named = |variables: &[(&str, &str)], top: &str| {
        let text = format!("{top}services: {{a: {{image: 'x:1'}}}}\n");
        let reading = read_with(&text, variables).unwrap();
        networks(&reading.manifests[0].workload)
    };
    assert_eq!(named(&[], "name: mine\n"), ["+mine_default: a"]);
    let variables = [("COMPOSE_PROJECT_NAME", "Other")];
    assert_eq!(named(&variables, "name: mine\n"), ["+other_default: a"]);
}

#[test]
fn fleet_extensions_win_over_networks() {
    let network = |workload: &Workload| match &workload.run {
        Run::Container { network, .. } => network.clone(),
        run => panic!("{run:?}"),
    };
    let own = service("    networks: [default]\n    x-fleet: {network: host}\n");
    assert_eq!(
        (network(&own).as_deref(), networks(&own).len()),
        (Some("host"), 0)
    );
    let of_file = |keys: &str| {
        let text = format!("x-fleet: {{network: host}}\nservices:\n  a:\n    image: x:1\n{keys}");
        workloads(&text).remove("a").unwrap()
    };
    let defaulted = of_file("");
    assert_eq!(
        (network(&defaulted).as_deref(), networks(&defaulted).len()),
        (Some("host"), 0)
    );
    let named = of_file("    networks: [default]\n");
    assert_eq!(
        (network(&named), networks(&named)),
        (None, vec!["+shop_default: a".to_owned()])
    );
    let mode = of_file("    network_mode: none\n");
    assert_eq!(network(&mode).as_deref(), Some("none"));
}

#[test]
fn services_with_profiles_are_chosen() {
    let text = fixture("photos");
    let names = |variables: &[(&str, &str)]| {
        let reading = read_with(text, variables).unwrap();
        let names = reading
            .manifests
            .iter()
            .map(|m| m.workload.name.to_string());
        names.collect::<Vec<_>>()
    };
    let without = ["immich-server", "redis", "database"];
    assert_eq!(names(&[]), without);
    assert_eq!(names(&[("COMPOSE_PROFILES", "other")]), without);
    for given in ["ml", "other, ml", "*"] {
        let all = names(&[("COMPOSE_PROFILES", given)]);
        assert_eq!(all.len(), 4, "{given}: {all:?}");
    }
    let server = |variables: &[(&str, &str)]| {
        let reading = read_with(text, variables).unwrap();
        reading.manifests[0].workload.depends_on.len()
    };
    assert_eq!((server(&[]), server(&[("COMPOSE_PROFILES", "ml")])), (2, 3));

    let text =
        "services:\n  a: {image: 'x:1', depends_on: [b]}\n  b: {image: 'x:1', profiles: p}\n";
    let found = read(text).unwrap_err().to_string();
    assert!(found.contains("the service `b` is left out"), "{found}");
    let found = read("services: {a: {image: 'x:1', profiles: [p]}}\n").unwrap_err();
    assert!(found.to_string().contains("none is chosen"), "{found}");
}

#[test]
fn files_beside_the_file_are_taken_in() {
    let all = workloads(fixture("cloud"));
    let (db, app) = (&all["db"], &all["app"]);
    assert_eq!(db.env["MYSQL_PASSWORD"], "p$ss #1");
    assert_eq!(db.env["MYSQL_USER"], "nextcloud");
    assert_eq!(
        db.env["GREETING"], "{{ \"{{\" }} .Name }}",
        "braces are not ours"
    );
    assert_eq!(app.env["MYSQL_DATABASE"], "cloud", "`environment` wins");
    let needs: Vec<&str> = app.depends_on.keys().map(|name| name.as_str()).collect();
    assert_eq!(needs, ["db", "redis"], "a link is a dependency");

    let all = workloads(fixture("metrics"));
    let prometheus = &all["prometheus"];
    let paths: Vec<&str> = prometheus.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/prometheus/alerts.yml",
            "/etc/prometheus/prometheus.yml"
        ]
    );
    assert!(
        prometheus.files[0]
            .content
            .contains("{{ $labels.instance }}")
    );
    assert_eq!(prometheus.volumes.len(), 1);
    let reading = read_with(fixture("metrics"), &[("COMPOSE_PROFILES", "dashboards")]).unwrap();
    let grafana = &reading.manifests.last().unwrap().workload;
    assert!(grafana.files[0].content.contains("http://prometheus:9090"));

    // With a directory on the nodes, it stays a bind.
    let there = [("FLEET_PROJECT_DIR", "/opt/metrics")];
    let reading = read_with(fixture("metrics"), &there).unwrap();
    let prometheus = &reading.manifests[1].workload;
    assert!(prometheus.files.is_empty());
    let source = MountSource::Path("/opt/metrics/prometheus.yml".to_owned());
    assert_eq!(prometheus.volumes[0].source, source);
    let found = read_with(fixture("metrics"), &[("FLEET_PROJECT_DIR", "opt")]).unwrap_err();
    assert!(found.to_string().contains("FLEET_PROJECT_DIR"), "{found}");
}

#[test]
fn what_may_be_a_file_is_wanted() {
    let wanted = |text: &str| wanted_files(&Source::new("compose.yaml", text), &BTreeMap::new());
    assert_eq!(
        wanted(fixture("metrics")),
        ["./alerts.yml", "./prometheus.yml"],
        "nothing for what is left out"
    );
    assert_eq!(wanted(fixture("cloud")), ["db.env", "local.env"]);
    assert_eq!(wanted(fixture("paperless")), ["docker-compose.env"]);
    assert!(wanted("services: [").is_empty());
    let text = "services:\n  a:\n    image: x:1\n    volumes: ['./a/:/a', '.:/b', '../c:/c', '/d:/d']\n    \
                env_file: [/e, ../f]\n";
    assert!(wanted(text).is_empty());
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
        (
            "    env_file: none.env\n",
            "4:15 there is no text file `none.env` of at most 64 KiB beside this one",
        ),
        (
            "    env_file: [../x.env]\n",
            "4:16 `../x.env` is not below the directory of this file",
        ),
        (
            "    volumes: ['./data:/data']\n",
            "4:15 `./data` is no text file of at most 64 KiB beside this one, and the nodes do not \
             have its directory",
        ),
        (
            "    networks: [default]\n    network_mode: host\n",
            "4:5 `networks` and `network_mode` exclude each other",
        ),
        (
            "    links: ['a:b']\n",
            "4:13 `a:b`: a link by another name is not supported",
        ),
        ("    links: [b]\n", "4:13 there is no service `b`"),
        (
            "    security_opt: ['seccomp:profile.json']\n",
            "4:20 `seccomp:profile.json` is not a security option",
        ),
        (
            "    profiles: {a: b}\n",
            "4:15 `profiles` must be a list, not a table",
        ),
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
            // Beside an image, whatever it says has no effect.
            "build",
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
