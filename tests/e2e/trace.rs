//! One correlation id from the command line to the program, and where spans of it are collected.

use super::harness::{Engine, Fleet, PATIENCE, Ran, manifests, wait_for};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a sink of spans does with what it is sent.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Takes,
    Fails,
    Hangs,
}

/// Takes what is sent by OTLP/HTTP.
struct Sink {
    address: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn start(mode: Mode) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = bodies.clone();
        // Both end with the test's process: nothing is left that could disturb another.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                thread::spawn(move || serve(stream, mode, &kept));
            }
        });
        Sink { address, bodies }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn text(&self) -> String {
        self.bodies.lock().expect("no test has failed").join("\n")
    }

    /// Spans of the trace, each with the service that it is of.
    fn spans(&self) -> Vec<(String, Value)> {
        let bodies = self.bodies.lock().expect("no test has failed");
        let mut all = Vec::new();
        for body in bodies.iter() {
            let sent: Value = serde_json::from_str(body).expect("JSON");
            let of = &sent["resourceSpans"][0];
            let service = &of["resource"]["attributes"][0]["value"]["stringValue"];
            let service = service.as_str().expect("service.name");
            let spans = of["scopeSpans"][0]["spans"].as_array().expect("spans");
            let own = spans.iter().filter(|s| s["traceId"] == TRACE);
            all.extend(own.map(|s| (service.to_owned(), s.clone())));
        }
        all
    }
}

fn serve(stream: TcpStream, mode: Mode, kept: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length = length.expect("a length").parse().expect("a number");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let status = match mode {
            Mode::Takes => "200 OK",
            Mode::Fails => "500 Internal Server Error",
            Mode::Hangs => continue,
        };
        let body = String::from_utf8(body).expect("UTF-8");
        kept.lock().expect("no test has failed").push(body);
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn endpoint(sink: &Sink) -> String {
    format!("--otlp-endpoint={}", sink.url())
}

/// Writes its `TRACEPARENT` into a file, and stays.
fn telling(name: &str, node: &str, file: &Path) -> String {
    let script = format!(
        "printenv TRACEPARENT > {0}.new; mv {0}.new {0}; exec sleep 86400",
        file.display()
    );
    format!(
        "[workload.{name}]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
         stop_timeout = \"1s\"\nmin_healthy_time = \"1s\"\n\
         env = {{ PASSWORD = \"correct-horse\" }}\n{}",
        manifests::on_node(name, node)
    )
}

fn apply_traced(fleet: &Fleet, text: &str, parent: &str, sink: Option<&Sink>) -> Ran {
    let path = fleet.manifest("traced", text);
    let mut command = fleet.command();
    command
        .args(["apply", "-y", "-o", "json", "-f"])
        .arg(path)
        .env("TRACEPARENT", parent);
    if let Some(sink) = sink {
        command.env("FLEETCTL_OTLP_ENDPOINT", sink.url());
    }
    Ran::of(&mut command).done()
}

#[test]
fn one_trace_goes_from_the_command_line_to_the_program() {
    let sink = Sink::start(Mode::Takes);
    let fleet = Fleet::setup().flag(&endpoint(&sink)).start();
    let agent = fleet.agent("board").flag(&endpoint(&sink)).start();
    let file = fleet.dir().join("traceparent");
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let manifest = telling("web", &agent.name, &file);
    let ran = apply_traced(&fleet, &manifest, &parent, Some(&sink));
    assert_eq!(ran.json()["trace"], TRACE);

    let told = wait_for("the program has its trace", || {
        fs::read_to_string(&file).ok()
    });
    assert!(told.starts_with(&format!("00-{TRACE}-")), "{told}");
    let audit = fleet.ask("GET", "/api/v1/audit", None).text();
    assert!(
        audit.contains(&format!("\"trace\":\"00-{TRACE}-")),
        "{audit}"
    );
    agent.wait_log(&["started", TRACE]);

    let wanted: BTreeSet<(&str, &str)> = [
        ("fleetctl-cli", "fleetctl apply"),
        ("fleetctl-controller", "POST /api/v1/apply"),
        ("fleetctl-controller", "fleet.apply"),
        ("fleetctl-controller", "send assignment"),
        ("fleetctl-agent", "process assignment"),
        ("fleetctl-agent", "launch"),
        ("fleetctl-agent", "become healthy"),
    ]
    .into();
    let mut spans = Vec::new();
    let begun = Instant::now();
    loop {
        spans = match sink.spans() {
            now if now.len() >= spans.len() => now,
            _ => spans,
        };
        let there: BTreeSet<(&str, &str)> = spans
            .iter()
            .map(|(of, s)| (of.as_str(), s["name"].as_str().expect("a name")))
            .collect();
        let missing: Vec<_> = wanted.difference(&there).collect();
        if missing.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no {missing:?} in {there:?}");
        thread::sleep(Duration::from_millis(20));
    }

    // A tree: each hangs below another one, and the first below what called the command.
    let by_id: BTreeMap<&str, &Value> = spans
        .iter()
        .map(|(_, s)| (s["spanId"].as_str().expect("an id"), s))
        .collect();
    assert_eq!(by_id.len(), spans.len(), "an id twice");
    let parent_of = |s: &Value| s["parentSpanId"].as_str().unwrap_or_default().to_owned();
    let mut first = Vec::new();
    for (of, span) in &spans {
        let above = parent_of(span);
        match above == PARENT {
            true => first.push((of.as_str(), span["name"].as_str().unwrap_or_default())),
            false => assert!(by_id.contains_key(above.as_str()), "{of} {span}"),
        }
    }
    assert_eq!(first, [("fleetctl-cli", "fleetctl apply")]);
    let named = |name: &str| {
        let found = spans.iter().find(|(_, s)| s["name"] == name);
        &found.expect("it was waited for").1
    };
    let request = named("POST /api/v1/apply")["spanId"].as_str();
    for below in [
        "fleet.apply",
        "send assignment",
        "process assignment",
        "launch",
    ] {
        assert_eq!(Some(parent_of(named(below)).as_str()), request, "{below}");
    }
    let said = |span: &Value, key: &str| {
        let all = span["attributes"].as_array().expect("attributes");
        let found = all.iter().find(|a| a["key"] == key);
        found.map(|a| a["value"].clone()).unwrap_or_default()
    };
    let status = said(named("POST /api/v1/apply"), "http.response.status_code");
    assert_eq!(status["intValue"], "200");
    let kind = said(named("fleet.apply"), "fleetctl.entry.kind");
    assert_eq!(kind["stringValue"], "workloads_applied");
    for secret in ["correct-horse", fleet.token.as_str()] {
        assert!(!sink.text().contains(secret), "a secret was sent");
    }

    // The same again, by another request: nothing is told to the node, nothing is started.
    let generation = |fleet: &Fleet| fleet.node(&agent.name).expect("it")["generation"].clone();
    let before = (generation(&fleet), agent.process("web"));
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let ran = apply_traced(&fleet, &manifest, other, None);
    assert_eq!(ran.json()["unchanged"][0], "web");
    assert_eq!((generation(&fleet), agent.process("web")), before);
}

#[test]
fn an_answer_names_its_trace_also_where_nobody_collects_spans() {
    let fleet = Fleet::start();
    let answer = fleet.ask("GET", "/api/v1/version", None);
    let line = answer
        .headers
        .lines()
        .find_map(|l| l.strip_prefix("traceresponse: "));
    let line = line.expect("the header").trim();
    assert_eq!((line.len(), &line[..3]), (55, "00-"));
    let again = fleet.ask("GET", "/api/v1/version", None).headers;
    assert!(!again.contains(line), "two requests, one trace");
}

#[test]
fn a_sink_that_hangs_or_fails_delays_no_apply_and_no_stop() {
    for mode in [Mode::Hangs, Mode::Fails] {
        let sink = Sink::start(mode);
        let mut fleet = Fleet::setup().flag(&endpoint(&sink)).start();
        for n in 0..20 {
            let begun = Instant::now();
            fleet
                .apply(&manifests::sleeping(&format!("web-{n}")))
                .done();
            // One request to the sink alone may take ten seconds.
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
        let begun = Instant::now();
        assert!(fleet.controller.stop().success());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

#[test]
fn a_container_has_the_trace_as_a_label_and_keeps_it() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    let engine = Engine::docker();
    let manifest = manifests::container("web", "docker", "1");
    let parent = format!("00-{TRACE}-{PARENT}-01");
    apply_traced(&fleet, &manifest, &parent, None);
    fleet.wait_running("web");
    let container = agent.container("web");
    let config = &engine.inspect(&container)["Config"];
    assert_eq!(config["Labels"]["io.fleetctl.trace"], TRACE);
    let env = config["Env"].to_string();
    assert!(env.contains(&format!("TRACEPARENT=00-{TRACE}-")), "{env}");
    // Only how it is restarted changes: it goes on as it was made.
    let other = manifest.replace("delay = \"0s\"", "delay = \"1s\"");
    let parent = "00-11111111111111111111111111111111-2222222222222222-01";
    apply_traced(&fleet, &other, parent, None);
    fleet.wait_running("web");
    assert_eq!(agent.container("web"), container);
}
