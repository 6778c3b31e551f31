//! The HTTP API's manners: who may do what, how it says no, and what it remembers.

use super::harness::{Fleet, manifests::sleeping};
use serde_json::{Value, json};

#[track_caller]
fn is_problem(answer: &super::harness::Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    let kind = "content-type: application/problem+json";
    assert!(answer.headers.contains(kind), "{}", answer.headers);
    let body = answer.json();
    assert_eq!(body["status"], status);
    assert!(
        body["title"].as_str().is_some_and(|t| !t.is_empty()),
        "{body}"
    );
    assert!(body["type"].is_string(), "{body}");
    body["detail"].as_str().expect("a sentence").to_owned()
}

#[test]
fn without_a_token_nothing_is_shown() {
    let fleet = Fleet::start();
    for path in [
        "/api/v1/nodes",
        "/api/v1/instances",
        "/api/v1/audit",
        "/metrics",
    ] {
        is_problem(&fleet.ask_as(None, "GET", path, None), 401);
        is_problem(&fleet.ask_as(Some("made-up"), "GET", path, None), 401);
    }
    assert_eq!(fleet.ask_as(None, "GET", "/healthz", None).status, 200);
    let mut command = fleet.command();
    command.env("FLEETCTL_TOKEN", "made-up").args(["ps"]);
    super::harness::Ran::of(&mut command).failed(1, &["API token"]);
}

#[test]
fn a_viewer_looks_and_changes_nothing() {
    let fleet = Fleet::start();
    let create = [
        "token", "create", "--kind", "api", "--role", "viewer", "--name", "watcher",
    ];
    let viewer = fleet.cli(create).done().out.trim().to_owned();
    let manifest = json!({"sources": [{"name": "a.toml", "text": sleeping("still")}]}).to_string();
    let body = Some(manifest.as_str());
    let answer = fleet.ask_as(Some(&viewer), "POST", "/api/v1/apply", body);
    assert!(is_problem(&answer, 403).contains("operator"));
    let answer = fleet.ask_as(Some(&viewer), "POST", "/api/v1/plan", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    is_problem(
        &fleet.ask_as(Some(&viewer), "GET", "/api/v1/audit", None),
        403,
    );
    is_problem(
        &fleet.ask_as(Some(&viewer), "GET", "/api/v1/tokens", None),
        403,
    );
    let mut command = fleet.command();
    let path = fleet.manifest("app", &sleeping("still"));
    command
        .env("FLEETCTL_TOKEN", &viewer)
        .args(["apply", "-y", "-f"])
        .arg(path);
    super::harness::Ran::of(&mut command).failed(1, &["operator", "watcher"]);
    let all = fleet.ask("GET", "/api/v1/workloads", None).json();
    assert_eq!(all["items"], json!([]), "nothing was applied");
}

#[test]
fn errors_are_problem_documents() {
    let fleet = Fleet::start();
    is_problem(&fleet.ask("GET", "/api/v1/nothing", None), 404);
    is_problem(&fleet.ask("GET", "/api/v1/nodes/nobody", None), 404);
    is_problem(&fleet.ask("PUT", "/api/v1/nodes", None), 405);
    is_problem(&fleet.ask("POST", "/api/v1/apply", Some("{")), 400);
    let wrong = json!({"sources": [{"name": "a.toml", "text": "[workload.x]\ncomand = 1\n"}]});
    let answer = fleet.ask("POST", "/api/v1/apply", Some(&wrong.to_string()));
    is_problem(&answer, 422);
    let problems = answer.json()["problems"].clone();
    assert_eq!(problems.as_array().map(Vec::len), Some(2), "{problems}");
}

#[test]
fn the_audit_trail_tells_who_did_what() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let create = [
        "token", "create", "--kind", "api", "--role", "operator", "--name", "alice",
    ];
    let alice = fleet.cli(create).done().out.trim().to_owned();
    let path = fleet.manifest("app", &sleeping("still"));
    let mut command = fleet.command();
    command
        .env("FLEETCTL_TOKEN", &alice)
        .args(["apply", "-y", "-f"])
        .arg(path);
    super::harness::Ran::of(&mut command).done();
    fleet
        .cli(["node", "label", &agent.name, "zone=hall"])
        .done();
    fleet.cli(["node", "revoke", &agent.name]).done();

    // It is durable before it is answered.
    fleet.controller.kill9();
    fleet.restart();
    let lines = fleet.cli(["audit", "-o", "json"]).done().json();
    let lines = lines.as_array().expect("a list").clone();
    let line = |words: &str| -> Value {
        let has = |l: &&Value| l["what"].as_str().is_some_and(|w| w.contains(words));
        let found = lines.iter().find(has).cloned();
        found.unwrap_or_else(|| panic!("no line with `{words}` in {lines:?}"))
    };
    let applied = line("still");
    assert_eq!(applied["by"]["token"], "alice");
    assert_eq!(applied["by"]["role"], "operator");
    assert_eq!(applied["by"]["from"], "127.0.0.1");
    assert!(
        applied["at"]
            .as_u64()
            .is_some_and(|at| at > 1_600_000_000_000),
        "{applied}"
    );
    assert_eq!(line("zone")["by"]["token"], "admin");
    assert_eq!(line("revoked")["by"]["token"], "admin");
}

#[test]
fn the_description_of_the_api_has_every_route() {
    let fleet = Fleet::start();
    let document = fleet.ask("GET", "/api/v1/openapi.json", None).json();
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in [
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/api/v1/version", "get"),
        ("/api/v1/audit", "get"),
        ("/api/v1/events", "get"),
        ("/api/v1/nodes", "get"),
        ("/api/v1/nodes/{node}", "get delete"),
        ("/api/v1/nodes/{node}/approve", "post"),
        ("/api/v1/nodes/{node}/revoke", "post"),
        ("/api/v1/nodes/{node}/labels", "patch"),
        ("/api/v1/nodes/{node}/command", "post"),
        ("/api/v1/workloads", "get"),
        ("/api/v1/workloads/{workload}", "get delete"),
        ("/api/v1/workloads/{workload}/start", "post"),
        ("/api/v1/workloads/{workload}/stop", "post"),
        ("/api/v1/workloads/{workload}/restart", "post"),
        ("/api/v1/workloads/{workload}/logs", "get"),
        ("/api/v1/instances", "get"),
        ("/api/v1/plan", "post"),
        ("/api/v1/apply", "post"),
        ("/api/v1/wait", "post"),
        ("/api/v1/tokens", "get post"),
        ("/api/v1/tokens/{id}", "delete"),
    ] {
        for method in methods.split(' ') {
            let known = paths.get(path).and_then(|p| p.get(method));
            assert!(known.is_some(), "{method} {path} is not described");
        }
    }
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|v| v.starts_with("3."))
    );
    // The printed one is the same.
    let printed = fleet.cli(["openapi"]).done().json();
    assert_eq!(printed, document);
}

#[test]
fn what_is_asked_is_understood_or_refused_and_never_passed_over() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let refused = fleet.ask("GET", "/api/v1/nodes?limt=5", None);
    let detail = is_problem(&refused, 400);
    assert!(
        detail.contains("`limt`") && detail.contains("`limit`"),
        "{detail}"
    );
    for path in ["/api/v1/nodes?limit=0", "/api/v1/rollouts?limit=1001"] {
        assert!(is_problem(&fleet.ask("GET", path, None), 400).contains("from 1 to 1000"));
    }
    assert_eq!(fleet.ask("GET", "/api/v1/nodes?limit=1", None).status, 200);
    let long = "x".repeat(6_000);
    let detail = is_problem(
        &fleet.ask("GET", &format!("/api/v1/nodes/{long}"), None),
        404,
    );
    assert!(detail.len() < 200, "{detail}");
    // Nothing sent asks for the defaults.
    let drain = format!("/api/v1/nodes/{}/drain", agent.name);
    let drained = fleet.ask("POST", &drain, None);
    assert_eq!(drained.status / 100, 2, "{}", drained.text());
    let missing = fleet.ask("POST", "/api/v1/instances/migrate", None);
    assert!(is_problem(&missing, 422).contains("workload"));
}

#[test]
fn many_commands_at_once_all_get_their_answer() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let path = format!("/api/v1/nodes/{}/command", agent.name);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = fleet
                        .ask("POST", &path, Some(r#"{"command":"ping"}"#))
                        .json();
                    assert_eq!(answer["ok"], true, "{answer}");
                }
            });
        }
    });
}
