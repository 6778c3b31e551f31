//! A real Prometheus reads `/metrics`, with the configuration, the alerts and the names that
//! `packaging/` has.

use super::harness::{
    Agent, Ask, Daemon, Fleet, Port, Ran, fleetctl, manifests::sleeping, wait_for, wait_until,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(packaged(name)).expect("a file of packaging/")
}

fn promtool<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    Ran::of(Command::new("promtool").args(args))
}

/// The exposition of a fleet, or part of it.
fn exposed(fleet: &Fleet, query: &str) -> String {
    let answer = fleet.ask("GET", &format!("/metrics{query}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.headers.contains("text/plain; version=0.0.4"));
    answer.text()
}

/// What `promtool check metrics` finds; it must be nothing.
fn check_metrics(dir: &Path, text: &str) {
    let path = dir.join("metrics.txt");
    fs::write(&path, text).expect("the exposition as a file");
    let file = fs::File::open(&path).expect("the same");
    let ran = Ran::of(
        Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(file),
    );
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

/// Families of an exposition, with or without samples.
fn families(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|l| l.strip_prefix("# TYPE "));
    types.filter_map(|t| t.split(' ').next()).collect()
}

/// Families that queries name.
fn named(queries: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let ours = queries
        .split(word)
        .filter(|w| w.starts_with("fleetctl_") || w.starts_with("process_"));
    let family = |name: &'static str| move |w: &str| w.strip_suffix(name).map(str::len);
    ours.map(|w| {
        let ends = ["_bucket", "_sum", "_count"].map(family);
        let len = ends.iter().find_map(|end| end(w));
        &w[..len.unwrap_or(w.len())]
    })
    .collect()
}

/// A Prometheus of a test's own.
struct Prometheus {
    _daemon: Daemon,
    port: Port,
    _dir: TempDir,
}

impl Prometheus {
    /// With the packaged files, but faster, and with this fleet's address and token.
    fn watches(fleet: &Fleet) -> Prometheus {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let token = fleet.cli([
            "token",
            "create",
            "--kind",
            "api",
            "--role",
            "viewer",
            "--name",
            "prometheus",
        ]);
        let token_file = dir.path().join("fleetctl.token");
        fs::write(&token_file, token.done().out.trim()).expect("a token file");
        let address = fleet.origin();
        let address = address.trim_start_matches("http://");
        let mut config = text_of("prometheus.yml");
        for (from, to) in [
            (
                "/etc/prometheus/fleetctl.token",
                token_file.to_str().expect("UTF-8"),
            ),
            ("\"127.0.0.1:7070\"", &format!("\"{address}\"")),
            ("interval: 15s", "interval: 1s"),
        ] {
            assert!(config.contains(from), "{from} in prometheus.yml");
            config = config.replace(from, to);
        }
        let alerts: Vec<String> = text_of("prometheus-alerts.yml")
            .lines()
            .map(|line| match line.trim_start().starts_with("for: ") {
                true => "        for: 1s".to_owned(),
                false => line.to_owned(),
            })
            .collect();
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).expect("its configuration");
        fs::write(dir.path().join("prometheus-alerts.yml"), alerts.join("\n")).expect("alerts");
        let port = Port::take();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={}", port.local()));
        let daemon = Daemon::spawn("prometheus", command, &dir.path().join("log"));
        let prometheus = Prometheus {
            _daemon: daemon,
            port,
            _dir: dir,
        };
        wait_until("Prometheus has read the fleet", || {
            prometheus.value("up{job=\"fleetctl\"}") == Some(1.0)
        });
        prometheus
    }

    fn get(&self, path: &str) -> Option<Value> {
        let ask = Ask {
            method: "GET",
            path,
            token: None,
            body: None,
        };
        let answer = ask.tcp(&self.port.local()).ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// What a query gives now: labels and value of each.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
        let Some(answer) = self.get(&format!("/api/v1/query?query={escaped}")) else {
            return Vec::new();
        };
        let all = answer["data"]["result"].as_array().cloned();
        let one = |r: Value| {
            let value = r["value"][1].as_str()?.parse().ok()?;
            Some((r["metric"].clone(), value))
        };
        all.unwrap_or_default()
            .into_iter()
            .filter_map(one)
            .collect()
    }

    /// The only value that a query gives.
    fn value(&self, query: &str) -> Option<f64> {
        let all = self.query(query);
        assert!(all.len() < 2, "{query} gives {all:?}");
        all.first().map(|(_, value)| *value)
    }

    #[track_caller]
    fn wait_value(&self, query: &str, fine: impl Fn(f64) -> bool) -> f64 {
        wait_for(query, || self.value(query).filter(|v| fine(*v)))
    }
}

fn busy_fleet() -> (Fleet, Agent) {
    let fleet = Fleet::setup().impatient().start();
    let agent = fleet.agent("pi").start();
    fleet.apply_wait(&sleeping("web")).done();
    let on = [
        "telemetry.agent.enabled=true",
        "telemetry.agent.interval=1s",
    ];
    let set = ["node", "config", "set", &agent.name, "--wait"];
    fleet.cli(set.iter().chain(&on)).done();
    (fleet, agent)
}

#[test]
fn a_real_prometheus_reads_a_fleet_and_alerts_when_a_node_is_lost() {
    let (fleet, mut agent) = busy_fleet();
    let prometheus = Prometheus::watches(&fleet);
    let node = format!("node=\"{}\"", agent.name);

    // What it says is what the API says.
    let online = fleet.ask("GET", "/api/v1/nodes", None).json();
    let online = online["items"].as_array().map_or(0, Vec::len) as f64;
    prometheus.wait_value("sum(fleetctl_nodes{state=\"online\"})", |v| v == online);
    prometheus.wait_value("sum(fleetctl_nodes{state!=\"online\"})", |v| v == 0.0);
    prometheus.wait_value("fleetctl_instances{state=\"running\"}", |v| {
        let running = |i: &&Value| i["state"] == "running";
        v == fleet.instances().iter().filter(running).count() as f64
    });
    for what in ["desired", "running", "healthy"] {
        let query = format!("fleetctl_workload_{what}_instances{{workload=\"web\"}}");
        prometheus.wait_value(&query, |v| v == 1.0);
    }
    prometheus.wait_value(&format!("fleetctl_node_up{{{node}}}"), |v| v == 1.0);
    prometheus.wait_value(&format!("fleetctl_node_memory_percent{{{node}}}"), |v| {
        let heartbeat = fleet.node(&agent.name).unwrap_or_default()["heartbeat"].clone();
        let said = heartbeat["memory"].as_f64().unwrap_or(-1.0);
        (v - said).abs() < 0.01
    });
    let ago = format!("time() - fleetctl_node_last_heard_timestamp_seconds{{{node}}}");
    prometheus.wait_value(&ago, |v| (-1.0..10.0).contains(&v));
    let memory = format!("fleetctl_agent_resident_memory_bytes{{{node}}}");
    prometheus.wait_value(&memory, |v| v > 1e6);
    let taken = format!("fleetctl_agent_assignments_total{{{node}}}");
    prometheus.wait_value(&taken, |v| v >= 1.0);
    prometheus.wait_value("fleetctl_broker_connections", |v| v >= 2.0);
    prometheus.wait_value("fleetctl_journal_commit_duration_seconds_count", |v| {
        v > 0.0
    });
    let scrapes = "fleetctl_http_requests_total{route=\"/metrics\",status=\"2xx\",method=\"GET\"}";
    prometheus.wait_value(scrapes, |v| v >= 1.0);

    // All packaged alerts are loaded and can be evaluated.
    let rules = wait_for("all rules were evaluated", || {
        let rules = prometheus.get("/api/v1/rules")?["data"]["groups"][0]["rules"].clone();
        let rules = rules.as_array().cloned()?;
        let done = rules.iter().all(|r| r["health"] == "ok");
        (done && !rules.is_empty()).then_some(rules)
    });
    let written = text_of("prometheus-alerts.yml")
        .matches("- alert: ")
        .count();
    assert_eq!(rules.len(), written);
    let lost = format!("ALERTS{{alertname=\"FleetctlNodeLost\",{node}}}");
    assert_eq!(prometheus.query(&lost), []);

    agent.daemon.kill9();
    let firing = format!("ALERTS{{alertname=\"FleetctlNodeLost\",alertstate=\"firing\",{node}}}");
    prometheus.wait_value(&firing, |v| v == 1.0);
    assert_eq!(
        prometheus.value(&format!("fleetctl_node_up{{{node}}}")),
        Some(0.0)
    );
    // What it measured is gone with it.
    for stale in [
        "fleetctl_node_cpu_percent",
        "fleetctl_agent_open_fds",
        "fleetctl_node_instances",
    ] {
        let query = format!("{stale}{{{node}}}");
        wait_until(&query, || prometheus.query(&query).is_empty());
    }
    agent.answer_again(&fleet);
    wait_until("the alert ends", || prometheus.query(&lost).is_empty());
}

#[test]
fn promtool_finds_nothing_in_what_a_fleet_exposes_and_every_name_in_use_exists() {
    let (fleet, agent) = busy_fleet();
    let own = format!("fleetctl_agent_operations{{node=\"{}\"}}", agent.name);
    wait_until("the agent has told of itself", || {
        exposed(&fleet, "").contains(&own)
    });
    let text = exposed(&fleet, "");
    check_metrics(fleet.dir(), &text);

    let families = families(&text);
    let dashboard: Value = serde_json::from_str(&text_of("grafana-dashboard.json")).expect("JSON");
    let mut queries = String::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push_str(target["expr"].as_str().expect("a query"));
            queries.push('\n');
        }
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
    {
        queries.push_str(variable["definition"].as_str().unwrap_or_default());
        queries.push('\n');
    }
    let used = named(&queries);
    assert!(used.len() > 40, "{used:?}");
    for name in used {
        assert!(families.contains(name), "the dashboard uses {name}");
    }
    let rules = text_of("prometheus-alerts.yml");
    let exprs: Vec<&str> = rules.lines().filter(|l| l.contains("expr: ")).collect();
    for name in named(&exprs.join("\n")) {
        assert!(families.contains(name), "an alert uses {name}");
    }
}

#[test]
fn the_packaged_files_are_what_prometheus_and_grafana_take() {
    let alerts = packaged("prometheus-alerts.yml");
    let alerts = alerts.to_str().expect("UTF-8");
    assert_eq!(promtool(["check", "rules", alerts]).code, 0);
    let config = packaged("prometheus.yml");
    let config = config.to_str().expect("UTF-8");
    promtool(["check", "config", "--syntax-only", config]).done();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/prometheus-alerts.test.yml");
    promtool(["test", "rules", tests.to_str().expect("UTF-8")]).done();
    // Each alert says what it is and what to do, and is tested.
    let rules = text_of("prometheus-alerts.yml");
    let tested = fs::read_to_string(&tests).expect("the tests of the alerts");
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        for part in [
            "for: ",
            "severity: ",
            "summary: ",
            "description: ",
            "runbook: ",
        ] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        assert!(tested.contains(name), "{name} is not tested");
    }

    let dashboard: Value = serde_json::from_str(&text_of("grafana-dashboard.json")).expect("JSON");
    let mut ids = BTreeSet::new();
    let mut rows = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            ids.insert(panel["id"].as_u64()),
            "{title} has an id of its own"
        );
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let place = &panel["gridPos"];
        let right = place["x"]
            .as_u64()
            .zip(place["w"].as_u64())
            .map(|(x, w)| x + w);
        assert!(right.is_some_and(|right| right <= 24), "{title}");
    }
    assert_eq!(
        rows,
        ["Fleet", "Nodes", "Workloads", "Controller", "Broker"]
    );
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<&str> = variables
        .iter()
        .filter_map(|v| v["name"].as_str())
        .collect();
    assert_eq!(names, ["datasource", "job", "node", "workload"]);
}

#[test]
fn nodes_can_be_left_out_and_picked() {
    let (fleet, agent) = busy_fleet();
    let other = fleet.agent("other").start();
    let up = |name: &str| format!("fleetctl_node_up{{node=\"{name}\"}}");
    wait_until("both are there", || {
        let text = exposed(&fleet, "");
        text.contains(&up(&agent.name)) && text.contains(&up(&other.name))
    });
    let text = exposed(&fleet, "?no_nodes=true");
    assert!(!text.contains("node=\"") && text.contains("fleetctl_nodes{state=\"online\"} 2\n"));
    let text = exposed(&fleet, &format!("?node={}", other.name));
    assert!(text.contains(&up(&other.name)) && !text.contains(&up(&agent.name)));
    let unknown = fleet.ask("GET", "/metrics?node=nobody", None);
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    let nameless = fleet.ask_as(None, "GET", "/metrics", None);
    assert_eq!(nameless.status, 401);
}

#[test]
fn a_broker_by_itself_tells_prometheus_of_itself_on_loopback_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mqtt, metrics) = (Port::take(), Port::take());
    let data = format!("--data-dir={}", dir.path().join("broker").display());
    let mut command = fleetctl();
    command.args([
        "broker",
        &data,
        &format!("--mqtt-listen={}", mqtt.local()),
        &format!("--metrics-listen={}", metrics.local()),
    ]);
    let mut broker = Daemon::spawn("broker", command, &dir.path().join("broker.log"));
    let ask = Ask {
        method: "GET",
        path: "/metrics",
        token: None,
        body: None,
    };
    let text = wait_for("the broker tells of itself", || {
        ask.tcp(&metrics.local()).ok().filter(|a| a.status == 200)
    })
    .text();
    check_metrics(dir.path(), &text);
    for name in [
        "fleetctl_broker_connections",
        "process_open_fds",
        "fleetctl_build_info",
    ] {
        assert!(families(&text).contains(name), "{name}");
    }
    assert_eq!(broker.stop().code(), Some(0));

    let open = Ran::of(fleetctl().args(["broker", &data, "--metrics-listen=0.0.0.0:9464"]));
    open.failed(2, &["0.0.0.0:9464", "loopback"]);
}
