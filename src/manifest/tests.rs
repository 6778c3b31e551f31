//! What users write, from the outside: whole files in, workloads or problems out.

use super::*;
use crate::model::{
    ContainerOptions, DependsOn, Health, HealthCheck, LogLimits, MissedRun, OnUnhealthy, Overlap,
    Placement, PlacementMode, PullPolicy, Restart, Run, RunMode, RuntimeKind, Signal, WorkloadType,
};
use proptest::prelude::*;

mod fleet;
mod made;
mod refused;
mod worst;

/// The only workload of `text`.
fn one(text: &str) -> Workload {
    let mut read = parse(&Source::new("app.toml", text)).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(read.len(), 1);
    read.remove(0).workload
}

/// What is wrong with `text`, as `line:column message`.
fn wrong(text: &str) -> Vec<String> {
    let problems = parse(&Source::new("app.toml", text)).expect_err("it must be refused");
    problems
        .0
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
        .collect()
}

/// What is wrong with a process that has this line too.
fn wrong_line(line: &str) -> Vec<String> {
    wrong(&format!(
        "[workload.web]\ncommand = ['/bin/true']\n{line}\n"
    ))
}

#[test]
fn a_full_workload_is_read() {
    let workload = one(r#"
        [workload.web]
        type = "service"
        image = "registry.example/acme/web:1.2.0"
        command = ["--flag"]
        ports = ["8080:80"]
        env = { MODE = "prod", WORKERS = 4, DEBUG = false }
        volumes = ["data:/var/lib/web", "/etc/ssl:/ssl:ro"]
        devices = ["/dev/gpiomem"]
        engine = "podman"
        pull = "always"
        user = "1000:1000"
        working_dir = "/srv"
        network = "bridge"
        stop_timeout = "30s"
        entrypoint = ["/init"]
        cap_add = ["CAP_NET_ADMIN"]
        depends_on = { db = "healthy", cache = "started" }
        before_stop = ["/bin/drain"]
        reload = "HUP"
        logs = { max_size = "256KiB", max_files = 2 }
        tags = ["plant", "web"]
        adopt = "old_web_1"
        min_healthy_time = "30s"
        [workload.web.files]
        "/etc/web.conf" = "node {{ node.name }}"
        [workload.web.files."/etc/raw.tmpl"]
        content = "{{ .Anything }}"
        mode = "0600"
        verbatim = true
        [workload.web.params]
        threshold = 1.5
        names = ["a", { b = true }]
        [workload.web.health]
        http = "http://127.0.0.1:8080/healthz"
        interval = "10s"
        on_unhealthy = "report"
        [workload.web.resources]
        pids = 100
        open_files = 1024
        read_only = true
        tmpfs = ["/tmp:64MiB", "/run"]
        oom_score = -500
        memory = "64MiB"
        cpus = 0.5
        nice = 10
        [workload.web.placement]
        on = "any"
        replicas = 3
        strategy = "least_loaded"
        requires = ["arch=aarch64", "docker", "zone!=lab"]
        nodes = ["pi-1", "pi-2", "pi-3"]
        [workload.web.restart]
        policy = "on_failure"
        delay = "1s"
        max_delay = "1m"
    "#);
    assert_eq!(workload.name.as_str(), "web");
    assert_eq!(workload.version, "1.2.0");
    let expected = Run::Container {
        image: "registry.example/acme/web:1.2.0".to_owned(),
        command: vec!["--flag".to_owned()],
        pull: PullPolicy::Always,
        engine: Some(RuntimeKind::Podman),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/srv".to_owned()),
        network: Some("bridge".to_owned()),
        options: Box::new(ContainerOptions {
            entrypoint: vec!["/init".to_owned()],
            cap_add: vec!["NET_ADMIN".to_owned()],
            ..ContainerOptions::default()
        }),
    };
    assert_eq!(workload.run, expected);
    let env: Vec<_> = workload
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        env,
        [("DEBUG", "false"), ("MODE", "prod"), ("WORKERS", "4")]
    );
    assert_eq!(workload.ports.len(), 1);
    assert!(workload.volumes[1].read_only);
    assert_eq!(workload.devices[0].permissions, "rwm");
    assert_eq!(workload.resources.memory, Some(64 << 20));
    assert_eq!(workload.resources.cpus, Some(0.5));
    assert_eq!(workload.resources.nice, Some(10));
    assert_eq!(workload.placement.mode, PlacementMode::Any { replicas: 3 });
    assert_eq!(workload.placement.requires.len(), 3);
    assert_eq!(workload.placement.nodes.len(), 3);
    assert_eq!(
        (workload.restart.delay_ms, workload.restart.max_delay_ms),
        (1_000, 60_000)
    );
    assert_eq!(workload.stop_timeout_ms, 30_000);
    assert_eq!(workload.depends_on["db"], DependsOn::Healthy);
    assert_eq!(workload.depends_on["cache"], DependsOn::Started);
    assert_eq!(workload.before_stop.unwrap().timeout_ms, 10_000);
    assert_eq!(workload.reload, Some(Signal::SigHup));
    let expected = LogLimits {
        max_size: 256 << 10,
        max_files: 2,
    };
    assert_eq!(workload.logs, expected);
    assert_eq!(workload.tags, ["plant", "web"]);
    assert_eq!(workload.adopt.as_deref(), Some("old_web_1"));
    assert_eq!(workload.min_healthy_time_ms, Some(30_000));
    let files = &workload.files;
    assert_eq!(files[0].path, "/etc/raw.tmpl");
    assert_eq!((files[0].mode, files[0].verbatim), (0o600, true));
    assert_eq!((files[1].mode, files[1].verbatim), (0o644, false));
    let expected = serde_json::json!({ "threshold": 1.5, "names": ["a", { "b": true }] });
    assert_eq!(serde_json::Value::Object(workload.params), expected);
    let expected = Health {
        interval_ms: 10_000,
        on_unhealthy: OnUnhealthy::Report,
        ..Health::new(HealthCheck::Http(
            "http://127.0.0.1:8080/healthz".to_owned(),
        ))
    };
    assert_eq!(workload.health, Some(expected));
    let resources = workload.resources;
    assert_eq!(
        (resources.pids, resources.open_files),
        (Some(100), Some(1_024))
    );
    assert_eq!(
        (resources.read_only, resources.oom_score),
        (true, Some(-500))
    );
    assert_eq!(resources.tmpfs[0].size, Some(64 << 20));
    assert_eq!(resources.tmpfs[1].size, None);
}

#[test]
fn run_modes_are_read() {
    let mode = |lines: &str| {
        one(&format!(
            "[workload.a]\ntype = 'script'\ncommand = ['a']\n{lines}\n"
        ))
        .mode
    };
    assert_eq!(mode(""), RunMode::Forever);
    assert_eq!(mode("max_runs = 3"), RunMode::NTimes { max_runs: 3 });
    for lines in [
        "schedule = { cron = '0 3 * * *', time_zone = 'Europe/Berlin', missed = 'run_once', \
         overlap = 'queue' }",
        "schedule = '0 3 * * *'\ntime_zone = 'Europe/Berlin'\nmissed = 'run_once'\n\
         overlap = 'queue'",
    ] {
        let RunMode::Schedule(schedule) = mode(lines) else {
            panic!("{lines}");
        };
        assert_eq!(schedule.cron, "0 3 * * *");
        assert_eq!(schedule.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(schedule.missed, MissedRun::RunOnce);
        assert_eq!(schedule.overlap, Overlap::Queue);
    }
    for cron in ["@daily", "*/10 * * * * *", "0 9 * * MON-FRI"] {
        let mode = mode(&format!("schedule = '{cron}'"));
        assert!(matches!(mode, RunMode::Schedule(_)), "{cron}");
    }
}

#[test]
fn a_python_callable_is_read() {
    let workload = one(r#"
        [workload.a]
        python = "plant.jobs:report"
        venv = "/opt/plant/venv"
        python_path = ["/opt/plant", "{{ env.EXTRA }}"]
        params = { day = "today", count = 3 }
    "#);
    let expected = Run::Python {
        callable: "plant.jobs:report".to_owned(),
        venv: Some("/opt/plant/venv".to_owned()),
        path: vec!["/opt/plant".to_owned(), "{{ env.EXTRA }}".to_owned()],
        user: None,
        working_dir: None,
    };
    assert_eq!(workload.run, expected);
    assert_eq!(workload.params["count"], 3);
}

#[test]
fn variables_reach_every_text_but_verbatim_files() {
    let workload = one(r#"
        [vars]
        tag = "1.2"
        port = 8080
        [workload.a]
        image = "registry.example/a:{{ var.tag }}"
        ports = ["{{ var.port }}:80"]
        [workload.a.files."/a"]
        content = "{{ var.tag }} {{ label.x }}"
        [workload.a.files."/b"]
        content = "{{ var.tag }} {{ anything }} {{"
        verbatim = true
    "#);
    assert_eq!(workload.version, "1.2");
    assert_eq!(workload.ports[0].host, 8_080);
    assert_eq!(workload.files[0].content, "1.2 {{ label.x }}");
    assert_eq!(workload.files[1].content, "{{ var.tag }} {{ anything }} {{");
}

#[test]
fn a_short_workload_gets_its_defaults() {
    let workload = one("[workload.a]\ncommand = ['/bin/true']\n");
    assert_eq!(
        (workload.kind, workload.version.as_str()),
        (WorkloadType::Service, "1")
    );
    assert_eq!(workload.stop_timeout_ms, 10_000);
    assert_eq!(workload.restart, Restart::default());
    assert_eq!(workload.placement, Placement::default());
    let workload = one("workload.a.image = 'busybox:1.36'\n");
    assert_eq!(workload.version, "1.36");
    assert!(matches!(workload.run, Run::Container { image, .. }
        if image == "docker.io/library/busybox:1.36"));
}

#[test]
fn workloads_keep_the_order_of_the_text() {
    let text = "[workload.b]\ncommand = ['b']\n[workload.a]\ncommand = ['a']\n";
    let read = parse(&Source::new("app.toml", text)).unwrap();
    let names: Vec<_> = read.iter().map(|m| m.workload.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(&text[read[1].span.clone()], "a");
}

#[test]
fn rules_are_checked() {
    for (line, expected) in [
        ("type = 'daemon'", "`type` must be"),
        ("version = ''", "is not a version"),
        ("version = 1", "`version` must be a string"),
        ("ports = ['80']", "`ports` is for containers"),
        ("volumes = ['a:/b']", "`volumes` is for containers"),
        ("pull = 'never'", "`pull` is for containers"),
        (
            "env = { '1A' = 'x' }",
            "is not the name of an environment variable",
        ),
        ("working_dir = 'srv'", "is not an absolute path"),
        ("user = 'a b'", "is not a user"),
        ("stop_timeout = 10", "`stop_timeout` needs a unit"),
        ("stop_timeout = '2h'", "at most one hour"),
        (
            "resources = { memory = '1MiB' }",
            "`memory` must be from 4MiB",
        ),
        ("resources = { cpus = 0 }", "`cpus` must be more than 0"),
        ("resources = { cpus = nan }", "`cpus` must be more than 0"),
        ("resources = { cpus = 1025 }", "at most 1024"),
        ("resources = { nice = 20 }", "`nice` must be from -20"),
        (
            "placement = { replicas = 10001 }",
            "`replicas` must be from 0 to 10000",
        ),
        (
            "placement = { on = 'every', replicas = 1 }",
            "`replicas` has no meaning",
        ),
        (
            "placement = { on = 'all' }",
            "`on` must be \"any\" or \"every\"",
        ),
        ("placement = { requires = ['a b'] }", "is not a requirement"),
        ("placement = { nodes = ['Pi'] }", "is not a name"),
        ("placement = { nodes = ['a', 'a'] }", "is named twice"),
        (
            "restart = { delay = '2s', max_delay = '1s' }",
            "`delay` is longer",
        ),
        ("restart = { delay = '25h' }", "at most one day"),
        ("restart = { policy = 'on-failure' }", "`policy` must be"),
    ] {
        let found = wrong_line(line);
        assert!(
            found
                .iter()
                .any(|m| m.starts_with("3:") && m.contains(expected)),
            "{found:?}"
        );
    }
    for (text, expected) in [
        ("[workload.web]\n", "1:1 the workload says nothing to run"),
        (
            "[workload.Web]\ncommand = ['a']\n",
            "1:11 `Web` is not a name",
        ),
        (
            "[workload.web]\ncommand = []\n",
            "2:11 `command` names no program",
        ),
        (
            "[workload.web]\ncommand = 'a b'\n",
            "2:11 `command` must be an array of strings",
        ),
        (
            "[workload.web]\nimage = 'Web'\n",
            "2:9 `Web` is not an image reference",
        ),
        (
            "[workload.web]\nimage = 'a'\npython = 'b'\n",
            "3:1 `python` and `image` exclude each other",
        ),
        (
            "[workload.web]\nimage = 'a'\nports = ['80', '80:81']\n",
            "3:16 port 80/tcp",
        ),
        (
            "[workload.web]\nimage = 'a'\nvolumes = ['a:/b', 'c:/b']\n",
            "3:20 two volumes",
        ),
        (
            "[workload.web]\nimage = 'a'\ndevices = ['/etc/x']\n",
            "3:12 `/etc/x` is not below",
        ),
        (
            "[workload.web]\nimage = 'a'\nports = ['80']\nnetwork = 'host'\n",
            "3:1 `ports` has no",
        ),
        ("", "1:1 there is no workload in this file"),
        ("[workload]\n", "there is no workload in this file"),
        ("[workloads.web]\n", "1:2 unknown key `workloads`"),
        ("workload = 1\n", "1:12 `workload` must be a table"),
        ("workload.web = 1\n", "1:16 `web` must be a table"),
        ("[[workload.web]]\n", "`web` must be a table, not an array"),
    ] {
        let found = wrong(text);
        assert!(
            found.iter().any(|message| message.contains(expected)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn too_many_workloads_are_refused() {
    let text: String = (0..=MAX_WORKLOADS)
        .map(|n| format!("[workload.w{n}]\ncommand = ['a']\n"))
        .collect();
    assert_eq!(
        wrong(&text),
        ["2001:11 the file has more than 1000 workloads"]
    );
    let large = format!("# {}\n", "x".repeat(MAX_SOURCE_BYTES));
    assert_eq!(wrong(&large), ["0:0 the file is larger than 1 MiB"]);
}

#[test]
fn a_name_is_defined_once_over_all_files() {
    let text = "[workload.web]\ncommand = ['a']\n";
    let files = [Source::new("a.toml", text), Source::new("b.toml", text)];
    let problems = parse_many(&files).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert_eq!(
        (problems.0[0].file.as_str(), problems.0[0].line),
        ("b.toml", 1)
    );
    assert!(
        problems.to_string().contains("already defined in a.toml"),
        "{problems}"
    );
    assert_eq!(parse_many(&files[..1]).unwrap().len(), 1);
    // Within one file it is TOML itself that refuses it.
    let found = wrong(&format!("{text}{text}"));
    assert!(found[0].starts_with("3:11 duplicate key"), "{found:?}");
}

/// The whole of what a user sees, for one file with many mistakes.
#[test]
fn problems_are_shown_as_written_down() {
    let source = Source::new("app.toml", include_str!("testdata/mistakes.toml"));
    let shown = parse(&source).unwrap_err().to_string();
    let expected = include_str!("testdata/mistakes.txt");
    assert_eq!(
        shown.trim_end(),
        expected.trim_end(),
        "the problems now read:\n{shown}\n"
    );
}

#[test]
fn every_example_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Of boards, not of workloads: src/deploy reads it.
        let inventory = path.file_stem().is_some_and(|stem| stem == "inventory");
        if path
            .extension()
            .is_some_and(|extension| extension == "toml" && !inventory)
        {
            let source = Source::read(&path).unwrap();
            let read = parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
            for manifest in read {
                let text = render(&manifest.workload);
                assert_eq!(one(&text), manifest.workload, "{text}");
            }
            names.push(path.file_name().unwrap().to_owned());
        }
    }
    names.sort();
    assert_eq!(
        names,
        [
            "files.toml",
            "health.toml",
            "hello-container.toml",
            "hello.toml",
            "limits.toml",
            "order.toml",
            "python.toml",
            "rollout.toml",
            "schedule.toml",
            "sensors.toml"
        ]
    );
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_again(made in made::workload()) {
        let text = render(&made);
        let read = parse(&Source::new("t", text.as_str()));
        let read = read.map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        prop_assert_eq!(&read[0].workload, &made, "{}", text);
    }

    #[test]
    fn nothing_panics(text in "(\\[|\\]|workload|\\.|a|=|\"|'|\\{|\\}|\n|1|image|ports|,|ü| ){0,60}") {
        let _ = parse(&Source::new("t", text));
    }
}
