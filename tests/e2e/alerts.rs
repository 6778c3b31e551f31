//! Alerts: what goes wrong is found, told once, silenced, and over when it is.

use super::harness::{
    Fleet, PATIENCE, Place, Setup, SmallDisk, manifests::sleeping, wait_for, wait_until,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

/// A controller that looks every second, with further lines of its configuration.
fn watchful(more: &str) -> Setup {
    let setup = Fleet::setup().impatient();
    let dir = setup.data_dir().parent().expect("a directory of the test");
    let path = dir.join("controller.toml");
    let text = format!("[controller]\n[controller.alerts]\ninterval = \"1s\"\n{more}");
    fs::write(&path, text).expect("the configuration");
    setup.flag(&format!("--config={}", path.display()))
}

/// Takes whatever is posted to it, and remembers the alerts in it.
struct Sink {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Sink {
    fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink {
            address,
            taken: taken.clone(),
        };
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let body = take(stream).unwrap_or_default();
                let read: Value = serde_json::from_slice(&body).unwrap_or_default();
                let alerts = read["alerts"].as_array().cloned();
                let mut taken = taken.lock().expect("no panic");
                taken.extend(alerts.unwrap_or_default());
            }
        });
        sink
    }

    /// How often it was told this of an alert.
    fn count(&self, id: &str, occasion: &str) -> usize {
        let taken = self.taken.lock().expect("no panic");
        let fits = |a: &&Value| a["id"] == id && a["occasion"] == occasion;
        taken.iter().filter(fits).count()
    }
}

/// One request: its body.
fn take(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(body)
}

fn alert(fleet: &Fleet, id: &str) -> Option<Value> {
    let answer = fleet.try_get(&format!("/api/v1/alerts/{id}"))?;
    (answer.status == 200).then(|| answer.json())
}

#[track_caller]
fn wait_alert(fleet: &Fleet, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    wait_for(&format!("{id} is {state}"), || {
        let now = alert(fleet, id)?;
        if last["state"] != now["state"] {
            eprintln!("{id} is {} ({})", now["state"], now["message"]);
            last = now.clone();
        }
        (now["state"] == state).then_some(now)
    })
}

/// How often an event with these words was told of a node.
fn told(fleet: &Fleet, event: &str, node: &str, words: &str) -> usize {
    let said = |e: &Value| e["message"].as_str().is_some_and(|m| m.contains(words));
    let all = fleet.events(event);
    all.iter().filter(|e| e["node"] == node && said(e)).count()
}

#[test]
fn a_disk_beyond_its_limit_fires_is_silenced_and_is_over_when_its_node_goes() {
    let fleet = watchful("[controller.alerts.rule.disk]\nabove = 0\n").start();
    let mut agent = fleet.agent("board").start();
    let id = format!("disk.{}", agent.name);
    let shown = wait_alert(&fleet, &id, "firing");
    let message = shown["message"].as_str().unwrap_or_default();
    let begin = format!("disk of {} is ", agent.name);
    assert!(
        message.starts_with(&begin) && message.ends_with("% full (above 0 %)"),
        "{shown}"
    );
    assert_eq!(shown["subject"]["node"], agent.name.as_str());
    assert_eq!(shown["severity"], "warning");
    assert_eq!(told(&fleet, "alert_firing", &agent.name, "disk of"), 1);
    let table = fleet.cli(["alerts"]).done().out;
    assert!(table.contains(&id) && table.contains("firing"), "{table}");

    let silence = [
        "alerts",
        "silence",
        &id,
        "--for",
        "1h",
        "--comment",
        "a new card comes",
    ];
    fleet.cli(silence).done();
    let shown = wait_alert(&fleet, &id, "silenced");
    assert_eq!(shown["silenced"]["comment"], "a new card comes", "{shown}");
    assert_eq!(shown["silenced"]["by"], "admin", "{shown}");
    let shown = fleet.cli(["alerts", "show", &id]).done().out;
    assert!(shown.contains("by admin: a new card comes"), "{shown}");
    let listed = fleet
        .cli(["alerts", "silences", "-o", "json"])
        .done()
        .json();
    assert_eq!(listed[0]["alert"], id.as_str(), "{listed}");
    let audit = fleet.cli(["audit"]).done().out;
    assert!(audit.contains(&format!("silenced {id}")), "{audit}");
    fleet.cli(["alerts", "unsilence", &id]).done();
    wait_alert(&fleet, &id, "firing");
    fleet
        .cli(["alerts", "unsilence", &id])
        .failed(1, &["there is no silence"]);

    // A whole node, as for maintenance.
    let node = ["alerts", "silence", "--node", &agent.name, "--for", "2h"];
    fleet.cli(node).done();
    wait_alert(&fleet, &id, "silenced");
    let refused = fleet.cli(["alerts", "unsilence", &id]);
    refused.failed(1, &[&format!("node={}", agent.name)]);
    fleet
        .cli(["alerts", "unsilence", &format!("node={}", agent.name)])
        .done();
    wait_alert(&fleet, &id, "firing");

    assert_eq!(agent.daemon.stop().code(), Some(0));
    fleet.wait_node(&agent.name, "offline");
    fleet.cli(["node", "rm", &agent.name]).done();
    wait_alert(&fleet, &id, "resolved");
    assert_eq!(told(&fleet, "alert_firing", &agent.name, "disk of"), 1);
    // That it was lost may have fired too, and is over for the same reason.
    let ends = told(
        &fleet,
        "alert_resolved",
        &agent.name,
        "is no node of the fleet",
    );
    assert_eq!(ends, told(&fleet, "alert_firing", &agent.name, ""));
    let all = fleet.cli(["alerts", "--all", "-o", "json"]).done().json();
    let all = all.as_array().cloned().unwrap_or_default();
    assert!(all.iter().all(|a| a["state"] == "resolved"), "{all:?}");
    let none = fleet.cli(["alerts", "-o", "json"]).done().json();
    assert_eq!(none.as_array().map(Vec::len), Some(0), "{none}");
}

#[test]
fn a_lost_node_is_told_once_also_over_a_restart_of_the_controller() {
    let sink = Sink::start();
    let receiver = format!(
        "[controller.alerts.receiver.ops]\ntype = \"webhook\"\nurl = \"http://{}/\"\n",
        sink.address
    );
    let mut fleet = watchful(&receiver).start();
    let mut agent = fleet.agent("board").start();
    let mut other = fleet.agent("other").start();
    let lost = format!("node_lost.{}", agent.name);
    agent.daemon.kill9();
    let shown = wait_alert(&fleet, &lost, "firing");
    assert_eq!(shown["severity"], "critical");
    let message = shown["message"].as_str().unwrap_or_default();
    assert!(message.contains("has not been heard for"), "{shown}");
    assert!(message.contains("its connection was lost"), "{shown}");
    assert_eq!(told(&fleet, "alert_firing", &agent.name, ""), 1);
    let since = shown["since_ms"].clone();
    wait_until("the receiver was told", || sink.count(&lost, "firing") == 1);
    // Delivery is at least once: killed before that is written down, it is told again.
    let outbox = fleet.data.join("notifications.json");
    wait_until("that it was told is written down", || {
        let text = fs::read_to_string(&outbox).unwrap_or_default();
        let kept: Value = serde_json::from_str(&text).unwrap_or_default();
        let ops = &kept["receivers"]["ops"];
        ops["waiting"] == json!([]) && ops["told"] == json!([&lost])
    });

    fleet.controller.kill9();
    fleet.restart();
    let shown = alert(&fleet, &lost).expect("it is known from the start");
    assert_eq!(
        (&shown["state"], &shown["since_ms"]),
        (&"firing".into(), &since)
    );
    // Many rounds later: until another one is lost.
    fleet.wait_node(&other.name, "online");
    other.daemon.kill9();
    let second = format!("node_lost.{}", other.name);
    wait_alert(&fleet, &second, "firing");
    wait_until("the receiver was told of the other", || {
        sink.count(&second, "firing") == 1
    });
    assert_eq!(sink.count(&lost, "firing"), 1, "once, over the restart");
    assert_eq!(
        told(&fleet, "alert_firing", &agent.name, ""),
        0,
        "nobody is told twice"
    );

    agent.launch_again();
    wait_alert(&fleet, &lost, "resolved");
    assert_eq!(
        told(&fleet, "alert_resolved", &agent.name, "is heard again"),
        1
    );
    wait_until("the receiver was told that it is over", || {
        sink.count(&lost, "resolved") == 1
    });
    let status = fleet.cli(["alerts", "receivers", "-o", "json"]).done();
    assert_eq!(status.json()[0]["name"], "ops", "{status:?}");
    fleet.cli(["alerts", "test", "ops"]).done();
}

#[test]
fn a_crash_loop_and_a_failed_rollout_are_told() {
    let fleet = watchful("").start();
    let place = Place::new("process");
    let agent = fleet.agent("board").start();
    let keys = "[workload.broken.restart]\ndelay = \"100ms\"\nmax_delay = \"30s\"\n";
    let broken = place.workload("broken", "echo no luck; exit 1", keys);
    fleet.apply(&broken).done();
    let looping = format!("crashloop.broken.{}", agent.name);
    let shown = wait_alert(&fleet, &looping, "firing");
    let expected = format!(
        "broken on {} restarts over and over: exit code 1",
        agent.name
    );
    assert_eq!(shown["message"], expected);
    assert_eq!(shown["subject"]["workload"], "broken");
    fleet.cli(["rm", "broken", "--wait"]).done();
    wait_alert(&fleet, &looping, "resolved");

    let web = |version: &str, script: &str| {
        let keys = format!(
            "version = \"{version}\"\nmin_healthy_time = \"200ms\"\n\
             [workload.web.restart]\ndelay = \"100ms\"\nmax_delay = \"1s\"\n\
             [workload.web.update]\nmin_healthy_time = \"300ms\"\nhealthy_deadline = \"20s\"\n"
        );
        place.workload("web", script, &keys)
    };
    fleet.apply_wait(&web("1.0", "exec sleep 86400")).done();
    fleet
        .apply_wait(&web("2.0", "exit 1"))
        .failed(1, &["rolled back"]);
    let shown = wait_alert(&fleet, "rollout_failed.web", "firing");
    let message = shown["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("the rollout of web to 2.0 was rolled back: on "),
        "{shown}"
    );
    fleet.apply_wait(&web("3.0", "exec sleep 86401")).done();
    wait_alert(&fleet, "rollout_failed.web", "resolved");
}

#[test]
fn a_rule_that_is_turned_off_finds_nothing_and_who_may_only_look_silences_nothing() {
    let fleet = watchful(
        "[controller.alerts.rule.node_lost]\nenabled = false\n\
         [controller.alerts.rule.gone]\nwhen = \"node_lost\"\nseverity = \"info\"\n",
    )
    .start();
    let rules = fleet.cli(["alerts", "rules", "-o", "json"]).done().json();
    let rules = rules.as_array().cloned().unwrap_or_default();
    let lost = rules.iter().find(|r| r["name"] == "node_lost");
    assert_eq!(lost.map(|r| &r["enabled"]), Some(&false.into()));
    assert!(
        rules
            .iter()
            .any(|r| r["name"] == "disk" && r["above"] == 90.0),
        "{rules:?}"
    );
    let mut agent = fleet.agent("board").start();
    agent.daemon.kill9();
    let own = wait_alert(&fleet, &format!("gone.{}", agent.name), "firing");
    assert_eq!(own["severity"], "info");
    assert!(alert(&fleet, &format!("node_lost.{}", agent.name)).is_none());

    let viewer = ["token", "create", "--kind", "api", "--role", "viewer"];
    let viewer = fleet.cli(viewer).done().out.trim().to_owned();
    let ask = |method: &str, path: &str, body: Option<&str>| {
        fleet.ask_as(Some(&viewer), method, path, body).status
    };
    for path in ["", "/rules", "/receivers"] {
        assert_eq!(ask("GET", &format!("/api/v1/alerts{path}"), None), 200);
    }
    let body = r#"{"node":"pi","for_ms":60000,"comment":""}"#;
    assert_eq!(ask("POST", "/api/v1/silences", Some(body)), 403);
    for (body, status) in [
        (r#"{"for_ms":60000}"#, 422),
        (r#"{"node":"pi","for_ms":1}"#, 422),
        (r#"{"node":"a b","for_ms":60000}"#, 422),
        // Of what is not there nothing can be silenced.
        (r#"{"node":"pi","for_ms":60000}"#, 404),
        (r#"{"rule":"dsik","for_ms":60000}"#, 404),
        (r#"{"workload":"web","for_ms":60000}"#, 404),
        (r#"{"rule":"disk","for_ms":60000}"#, 200),
    ] {
        let answer = fleet.ask("POST", "/api/v1/silences", Some(body));
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let typo = ["alerts", "silence", "--node", "pi", "--for", "1h"];
    fleet.cli(typo).failed(1, &["there is no node `pi`"]);
    let own = ["alerts", "silence", "--node", &agent.name, "--for", "1h"];
    let said = fleet.cli(own).done().err;
    assert!(
        said.contains(&format!("nobody is told of node={} until 2", agent.name)),
        "{said}"
    );
    assert!(said.contains(" UTC"), "{said}");
    assert_eq!(
        fleet.ask("GET", "/api/v1/alerts?state=wrong", None).status,
        400
    );
    let test = fleet.ask("POST", "/api/v1/alerts/receivers/nobody/test", None);
    assert_eq!(test.status, 404, "{}", test.text());
}

#[test]
fn a_journal_that_cannot_keep_what_happens_is_told_until_it_can() {
    let disk = SmallDisk::mount();
    let fleet = watchful("").data(&disk.path().join("controller")).start();
    disk.fill();
    // The journal may have some room left in its file.
    wait_until("a change is refused", || {
        let name = format!("w{}", fleet.instances().len());
        fleet.apply(&sleeping(&name)).code != 0
    });
    let shown = wait_alert(&fleet, "journal", "firing");
    assert_eq!(shown["severity"], "critical");
    let message = shown["message"].as_str().unwrap_or_default();
    let begin = "the controller cannot keep what happens: ";
    assert!(
        message.starts_with(begin) && message.contains("is full"),
        "{shown}"
    );
    assert_eq!(
        fleet.events("alert_firing").len(),
        1,
        "though it cannot be written down"
    );
    disk.free();
    fleet.apply(&sleeping("after")).done();
    wait_alert(&fleet, "journal", "resolved");
}

#[test]
fn a_controller_that_is_killed_when_it_has_written_down_an_alert_tells_it_all_the_same() {
    let sink = Sink::start();
    let more = format!(
        "[controller.alerts.rule.disk]\nabove = 0\n\
         [controller.alerts.receiver.ops]\ntype = \"webhook\"\nurl = \"http://{}/\"\n",
        sink.address
    );
    let mut fleet = watchful(&more).start();
    let agent = fleet.agent("board").start();
    let path = fleet.data.join("alerts.json");
    let deadline = Instant::now() + PATIENCE;
    let fired: Value = loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let kept: Value = serde_json::from_str(&text).unwrap_or_default();
        let all = kept["firing"].as_array().cloned().unwrap_or_default();
        // At once: the receiver is told two seconds later.
        if all.iter().any(|a| a["told"] == json!(["ops"])) {
            fleet.controller.kill9();
            break kept;
        }
        assert!(Instant::now() < deadline, "nothing fires: {text}");
        thread::yield_now();
    };
    let id = format!("disk.{}", agent.name);
    assert_eq!(sink.count(&id, "firing"), 0, "killed before it is told");
    assert_eq!(fired["firing"][0]["rule"], "disk", "{fired}");
    fleet.restart();
    wait_until("the receiver is told after the restart", || {
        sink.count(&id, "firing") >= 1
    });
}
