//! What a browser needs: the dashboard's files, signing in, a node's last hour, events that go on.

use super::harness::{Fleet, manifests::sleeping, wait_for};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// A request as a browser sends it, and the answer up to its body.
struct Asked {
    status: u16,
    /// As they came.
    headers: String,
    reader: BufReader<TcpStream>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn body(mut self) -> String {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).expect("a body");
        text
    }

    fn json(self) -> Value {
        let text = self.body();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
    }
}

/// The address of the API, as in `127.0.0.1:7070`.
fn host(fleet: &Fleet) -> String {
    let command = fleet.command();
    let mut given = command.get_envs();
    let url = given.find_map(|(name, value)| (name == "FLEETCTL_URL").then_some(value?));
    let url = url.and_then(|url| url.to_str()?.strip_prefix("http://"));
    url.expect("the address of the API").to_owned()
}

fn ask(fleet: &Fleet, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Asked {
    let host = host(fleet);
    let mut stream = TcpStream::connect(&host).expect("a connection");
    let limit = Some(super::harness::PATIENCE);
    stream.set_read_timeout(limit).expect("a time limit");
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    if !headers.iter().any(|(name, _)| *name == "Connection") {
        request += "Connection: close\r\n";
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    let request = format!("{request}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = reader.read_line(&mut head).expect("an answer");
        assert!(read > 0, "the connection ended: {head}");
    }
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Asked {
        status: status.expect("a status"),
        headers: head,
        reader,
    }
}

/// Signs in; the cookie as a browser sends it back.
fn sign_in(fleet: &Fleet, token: &str) -> String {
    let body = json!({ "token": token }).to_string();
    let answer = ask(fleet, "POST", "/api/v1/session", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.headers);
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("its value").to_owned()
}

fn make_token(fleet: &Fleet, role: &str, name: &str) -> String {
    let create = [
        "token", "create", "--kind", "api", "--role", role, "--name", name,
    ];
    fleet.cli(create).done().out.trim().to_owned()
}

/// The id of the token with this name.
fn token_id(fleet: &Fleet, name: &str) -> String {
    let all = fleet.ask("GET", "/api/v1/tokens", None).json();
    let mut all = all.as_array().cloned().expect("tokens").into_iter();
    let token = all.find(|t| t["name"] == name).expect("the token");
    token["id"].as_str().expect("an id").to_owned()
}

#[test]
fn the_dashboard_is_in_the_binary_and_asks_nobody_else() {
    let fleet = Fleet::start();
    let front = ask(&fleet, "GET", "/", &[], "");
    assert_eq!(front.status, 200);
    assert_eq!(
        front.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = front.header("content-security-policy").expect("a policy");
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(front.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(front.header("referrer-policy"), Some("no-referrer"));
    let etag = front.header("etag").expect("an etag").to_owned();
    let page = front.body();
    let mut named = page.split('"').filter(|part| part.starts_with("/assets/"));
    assert!(named.clone().any(|path| path.ends_with(".js")), "{page}");
    assert!(named.all(|path| ask(&fleet, "GET", path, &[], "").status == 200));

    let again = ask(&fleet, "GET", "/", &[("If-None-Match", &etag)], "");
    assert_eq!(again.status, 304);
    let head = ask(&fleet, "HEAD", "/", &[], "");
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-length"),
        Some(&*page.len().to_string())
    );
    assert_eq!(head.body(), "");
    for path in [
        "/assets/jsconfig.json",
        "/assets/types.d.ts",
        "/assets/%2e%2e/mod.rs",
        "/assets/nothing.js",
        "/assets/",
    ] {
        assert_eq!(ask(&fleet, "GET", path, &[], "").status, 404, "{path}");
    }
}

#[test]
fn a_developer_serves_the_dashboard_from_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let pages = dir.path().join("pages");
    std::fs::create_dir(&pages).expect("a directory");
    std::fs::write(dir.path().join("secret.js"), "secret").expect("a file");
    std::fs::write(pages.join("index.html"), "mine").expect("a file");
    let flag = format!("--dashboard-dir={}", pages.display());
    let fleet = Fleet::setup().flag(&flag).start();
    assert_eq!(ask(&fleet, "GET", "/", &[], "").body(), "mine");
    std::fs::write(pages.join("index.html"), "changed").expect("a file");
    assert_eq!(ask(&fleet, "GET", "/", &[], "").body(), "changed");
    for path in ["/assets/../secret.js", "/assets/..%2fsecret.js"] {
        assert_eq!(ask(&fleet, "GET", path, &[], "").status, 404, "{path}");
    }
}

#[test]
fn a_browser_signs_in_looks_changes_and_signs_out() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let alice = make_token(&fleet, "operator", "alice");
    let body = json!({ "token": alice }).to_string();
    let answer = ask(&fleet, "POST", "/api/v1/session", &[], &body);
    let set = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"), "this API has no TLS: {set}");
    let view = answer.json();
    assert_eq!(
        (&view["name"], &view["role"]),
        (&json!("alice"), &json!("operator"))
    );
    let cookie = set.split(';').next().expect("its value").to_owned();
    let with = ("Cookie", cookie.as_str());

    let shown = ask(&fleet, "GET", "/api/v1/session", &[with], "");
    assert_eq!(shown.status, 200);
    assert_eq!(shown.json(), view);
    let nodes = ask(&fleet, "GET", "/api/v1/nodes", &[with], "");
    assert_eq!(nodes.status, 200);

    // A change needs the header; a role is a role.
    let cordon = format!("/api/v1/nodes/{}/cordon", agent.name);
    let refused = ask(&fleet, "POST", &cordon, &[with], "{}");
    assert_eq!(refused.status, 403);
    let said = refused.body();
    assert!(said.contains("X-Fleetctl"), "{said}");
    let own = ("X-Fleetctl", "dashboard");
    let cordoned = ask(&fleet, "POST", &cordon, &[with, own], "{}");
    assert_eq!(cordoned.status / 100, 2, "{}", cordoned.body());
    let admins = ask(&fleet, "GET", "/api/v1/tokens", &[with], "");
    assert_eq!(admins.status, 403);
    let lines = fleet.cli(["audit", "-o", "json"]).done().json();
    let mut lines = lines.as_array().cloned().expect("lines").into_iter();
    let line = lines.find(|l| l["what"].as_str().is_some_and(|w| w.contains("cordon")));
    assert_eq!(line.expect("a line")["by"]["token"], "alice");

    let refused = ask(&fleet, "DELETE", "/api/v1/session", &[with], "");
    assert_eq!(refused.status, 403);
    let out = ask(&fleet, "DELETE", "/api/v1/session", &[with, own], "");
    assert_eq!(out.status, 204);
    assert!(
        out.header("set-cookie")
            .is_some_and(|c| c.contains("Max-Age=0"))
    );
    assert_eq!(
        ask(&fleet, "GET", "/api/v1/session", &[with], "").status,
        401
    );
    assert_eq!(ask(&fleet, "GET", "/api/v1/session", &[], "").status, 401);
}

#[test]
fn a_revoked_token_takes_its_sessions_and_streams_with_it() {
    let fleet = Fleet::start();
    let watcher = make_token(&fleet, "viewer", "watcher");
    let cookie = sign_in(&fleet, &watcher);
    let with = ("Cookie", cookie.as_str());
    assert_eq!(ask(&fleet, "GET", "/api/v1/nodes", &[with], "").status, 200);
    let stream = ask(&fleet, "GET", "/api/v1/events", &[with], "");
    assert_eq!(stream.status, 200);
    fleet
        .cli(["token", "revoke", &token_id(&fleet, "watcher")])
        .done();
    assert_eq!(ask(&fleet, "GET", "/api/v1/nodes", &[with], "").status, 401);
    // It ends; otherwise reading it runs into the time limit.
    stream.body();
}

#[test]
fn a_wrong_token_is_refused_slowly_and_never_logged() {
    let fleet = Fleet::start();
    let body = json!({ "token": "fleetapi_guessed" }).to_string();
    let since = Instant::now();
    let answer = ask(&fleet, "POST", "/api/v1/session", &[], &body);
    assert_eq!(answer.status, 401);
    assert!(answer.header("set-cookie").is_none());
    assert!(since.elapsed() >= Duration::from_secs(1));
    let log = wait_for("the refusal is logged", || {
        let log = fleet.controller.log();
        log.contains("sign-in refused").then_some(log)
    });
    assert!(!log.contains("guessed"), "{log}");
    let empty = ask(&fleet, "POST", "/api/v1/session", &[], "");
    assert_eq!(empty.status, 422);
}

#[test]
fn a_page_of_another_site_gets_nothing_out_of_a_session() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let cookie = sign_in(&fleet, &fleet.token);
    let with = ("Cookie", cookie.as_str());
    let own = format!("http://{}", host(&fleet));
    let elsewhere = ("Origin", "http://evil.example");
    assert_eq!(
        ask(&fleet, "GET", "/api/v1/nodes", &[with, elsewhere], "").status,
        403
    );
    let body = json!({ "token": fleet.token }).to_string();
    assert_eq!(
        ask(&fleet, "POST", "/api/v1/session", &[elsewhere], &body).status,
        403
    );

    // Another protocol: only a page of this controller opens it.
    let path = format!(
        "/api/v1/nodes/{}/workloads/web/exec?command=/bin/true",
        agent.name
    );
    let upgrade = [
        ("Connection", "upgrade"),
        ("Upgrade", "fleetctl-exec"),
        with,
    ];
    let open = |origin: Option<&str>| {
        let origin = origin.map(|o| ("Origin", o));
        let headers: Vec<_> = upgrade.into_iter().chain(origin).collect();
        ask(&fleet, "GET", &path, &headers, "").status
    };
    assert_eq!(open(Some("http://evil.example")), 403);
    assert_eq!(open(Some("null")), 403);
    assert_eq!(open(None), 403);
    assert_eq!(open(Some(&own)), 101);
}

#[test]
fn a_nodes_last_hour_is_kept_until_it_is_removed() {
    let fleet = Fleet::setup().impatient().start();
    let agent = fleet.agent("board").start();
    let path = format!("/api/v1/nodes/{}/history", agent.name);
    let set = [
        "telemetry.network.enabled=true",
        "telemetry.network.interval=1s",
    ];
    let words = ["node", "config", "set", &agent.name, "--wait"];
    fleet.cli(words.iter().chain(&set)).done();
    let seen = |told: &Value, series: &str| {
        let values = told["series"][series].as_array().cloned();
        values.is_some_and(|all| all.iter().any(Value::is_number))
    };
    let told = wait_for("what was measured is kept", || {
        let told = fleet.ask("GET", &path, None).json();
        let all = ["cpu", "memory", "disk", "load", "network_rx", "network_tx"];
        all.iter().all(|series| seen(&told, series)).then_some(told)
    });
    assert_eq!(told["step_ms"], 10_000);
    let times = told["times"].as_array().expect("times");
    assert_eq!(times.len(), 360, "an hour");
    assert_eq!(told["series"]["cpu"].as_array().map(Vec::len), Some(360));
    let last = times[359].as_u64().expect("a time");
    let part = format!("{path}?from_ms={}&to_ms={last}", last - 20_000);
    let part = fleet.ask("GET", &part, None).json();
    assert_eq!(part["times"], json!([last - 20_000, last - 10_000, last]));
    let wrong = fleet.ask("GET", &format!("{path}?from_ms=2&to_ms=1"), None);
    assert_eq!(wrong.status, 400, "{}", wrong.text());

    let node = format!("/api/v1/nodes/{}", agent.name);
    assert_eq!(fleet.ask("DELETE", &node, None).status, 204);
    assert_eq!(fleet.ask("GET", &path, None).status, 404);
}

/// Reads events until `wanted` says so; their ids.
fn read_events(stream: &mut Asked, mut wanted: impl FnMut(&Value) -> bool) -> Vec<u64> {
    let mut ids = Vec::new();
    loop {
        let mut line = String::new();
        let read = stream.reader.read_line(&mut line).expect("a line");
        assert!(read > 0, "the stream ended after {ids:?}");
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let event: Value = serde_json::from_str(data.trim()).expect("an event");
        ids.push(event["id"].as_u64().expect("its number"));
        if wanted(&event) {
            return ids;
        }
    }
}

#[test]
fn events_go_on_after_the_last_one_that_a_browser_has() {
    let fleet = Fleet::start();
    let cookie = sign_in(&fleet, &fleet.token);
    let with = ("Cookie", cookie.as_str());
    let joined = |node: String| {
        move |e: &Value| {
            let said = e["event"]["message"].as_str();
            said == Some(&format!("{node} joined"))
        }
    };
    let mut stream = ask(&fleet, "GET", "/api/v1/events", &[with], "");
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let one = fleet.agent("one").start();
    let first = read_events(&mut stream, joined(one.name.clone()));
    drop(stream);
    let two = fleet.agent("two").start();
    let last = first.last().expect("an id").to_string();
    let resumed = [with, ("Last-Event-ID", last.as_str())];
    let mut stream = ask(&fleet, "GET", "/api/v1/events", &resumed, "");
    let second = read_events(&mut stream, joined(two.name.clone()));
    let expected: Vec<u64> = (first[0]..).take(first.len() + second.len()).collect();
    assert_eq!(
        [first, second].concat(),
        expected,
        "none missed, none twice"
    );
    let refused = ask(&fleet, "GET", "/api/v1/events", &[], "");
    assert_eq!(refused.status, 401);
}
