//! Settings of nodes, changed while they run: heartbeats, telemetry, shipping of logs.

use super::harness::{
    Agent, Fleet,
    manifests::counting,
    mqtt::{Mqtt, Seen},
    wait_until,
};
use serde_json::{Value, json};

/// Somebody who reads along with an API token, and is granted `kinds` of one node.
fn reader(fleet: &Fleet, agent: &Agent, kinds: &[&str]) -> Mqtt {
    let credentials = Some(("token", fleet.token.as_str()));
    let mqtt = Mqtt::connect(fleet.mqtt.number(), "reader", credentials).expect("a reader");
    for kind in kinds {
        assert!(mqtt.subscribe(&format!("fleet/{kind}/{}/+", agent.name)));
    }
    mqtt
}

/// The next message: the kind, the last part of its topic, its body.
fn next(mqtt: &Mqtt) -> (String, String, Value) {
    loop {
        match mqtt.next("a message") {
            Seen::Message { topic, payload } => {
                let parts: Vec<&str> = topic.split('/').collect();
                let body = serde_json::from_slice(&payload).expect("JSON");
                return (parts[1].to_owned(), parts[3].to_owned(), body);
            }
            Seen::Over(reason) => panic!("the connection ended: {reason}"),
            _ => {}
        }
    }
}

fn set(fleet: &Fleet, agent: &Agent, settings: &[&str]) {
    let words = ["node", "config", "set", &agent.name, "--wait"];
    fleet.cli(words.iter().chain(settings)).done();
}

fn get(fleet: &Fleet, agent: &Agent, what: &str) -> Value {
    let path = format!("/api/v1/nodes/{}/{what}", agent.name);
    fleet.ask("GET", &path, None).json()
}

#[test]
fn telemetry_is_turned_on_and_off_while_the_agent_runs() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    assert_eq!(
        get(&fleet, &agent, "telemetry"),
        json!({}),
        "off by default"
    );
    assert_eq!(get(&fleet, &agent, "config")["configured"], Value::Null);

    set(
        &fleet,
        &agent,
        &["telemetry.all.enabled=true", "telemetry.all.interval=1s"],
    );
    let config = get(&fleet, &agent, "config");
    assert_eq!(
        config["configured"]["telemetry"]["cpu"]["interval_ms"],
        1_000
    );
    assert_eq!(config["reported"]["config"], config["effective_wanted"]);
    // Not every machine has sensors; every one has these.
    for (metric, value) in [
        ("cpu", "total"),
        ("memory", "percent"),
        ("disk", "used"),
        ("load", "1m"),
        ("uptime", "seconds"),
    ] {
        wait_until(&format!("{metric} is told"), || {
            get(&fleet, &agent, "telemetry")[metric]["values"][value].is_number()
        });
    }
    let series = format!(
        "fleetctl_node_telemetry{{node=\"{}\",metric=\"uptime\",name=\"seconds\"}} ",
        agent.name
    );
    assert!(fleet.metric(&series) > 0);
    let shown = fleet.cli(["node", "show", &agent.name]).done().out;
    for word in ["uptime", "telemetry.cpu.interval=1s", "total "] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }

    fleet
        .cli(["node", "config", "reset", &agent.name, "--wait"])
        .done();
    assert_eq!(get(&fleet, &agent, "config")["configured"], Value::Null);
    assert_eq!(
        get(&fleet, &agent, "telemetry"),
        json!({}),
        "no stale values"
    );
}

#[test]
fn instances_are_measured() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    set(
        &fleet,
        &agent,
        &[
            "telemetry.instances.enabled=true",
            "telemetry.instances.interval=1s",
        ],
    );
    wait_until("what it uses is told", || {
        let values = &get(&fleet, &agent, "telemetry")["instances"]["values"];
        values["ticker.cpu"].is_number()
            && values["ticker.memory"].as_f64().is_some_and(|m| m > 0.0)
    });
}

#[test]
fn what_moves_less_than_the_threshold_is_left_out() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let mqtt = reader(&fleet, &agent, &["telemetry"]);
    set(
        &fleet,
        &agent,
        &[
            "telemetry.load.enabled=true",
            "telemetry.load.interval=1s",
            "telemetry.load.change_threshold=1000000",
            "telemetry.uptime.enabled=true",
            "telemetry.uptime.interval=1s",
        ],
    );
    let (mut loads, mut uptimes) = (0, 0);
    while uptimes < 6 {
        match next(&mqtt).1.as_str() {
            "load" => loads += 1,
            "uptime" => uptimes += 1,
            other => panic!("{other} is not enabled"),
        }
    }
    assert_eq!(loads, 1, "the first one, and no other");
}

#[test]
fn instances_lines_are_shipped_where_the_settings_say_so() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    let mqtt = reader(&fleet, &agent, &["logs", "telemetry"]);
    set(
        &fleet,
        &agent,
        &["logs.enabled=true", "logs.interval=100ms"],
    );

    let numbers = || -> Vec<u64> {
        let (kind, instance, body) = next(&mqtt);
        assert_eq!((kind.as_str(), instance.as_str()), ("logs", "ticker"));
        assert_eq!(body["command"], "", "nobody asked");
        let lines = body["lines"].as_array().expect("lines");
        let number = |line: &Value| {
            let text = line["text"].as_str().expect("a text");
            let last = text.rsplit(' ').next().expect("a word");
            last.parse().expect("a number")
        };
        lines.iter().map(number).collect()
    };
    let mut seen: Vec<u64> = Vec::new();
    while seen.len() < 20 {
        seen.extend(numbers());
    }
    let expected: Vec<u64> = (seen[0]..).take(seen.len()).collect();
    assert_eq!(seen, expected, "every line once, in order");

    fleet
        .cli(["workload", "restart", "ticker", "--wait"])
        .done();
    let mut again: Vec<u64> = Vec::new();
    while again.iter().filter(|n| **n <= 5).count() < 5 {
        again.extend(numbers());
    }
    let first = again.iter().position(|n| *n == 1).expect("its first line");
    let after: Vec<u64> = (1..).take(again.len() - first).collect();
    assert_eq!(again[first..], after, "from its first line on");

    set(
        &fleet,
        &agent,
        &[
            "logs.enabled=false",
            "telemetry.uptime.enabled=true",
            "telemetry.uptime.interval=1s",
        ],
    );
    // What was on its way when it was turned off comes before the second measurement.
    for _ in 0..2 {
        while next(&mqtt).0 == "logs" {}
    }
    for _ in 0..2 {
        assert_eq!(next(&mqtt).0, "telemetry", "nothing is shipped any more");
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name_and_change_nothing() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let set = |text: &str| fleet.cli(["node", "config", "set", &agent.name, text]);
    set("telemetry.cpi.enabled=true").failed(2, &["`telemetry.cpu.enabled`"]);
    set("telemetry.cpu.interval=10ms").failed(1, &["`telemetry.cpu.interval`", "1s to 1d"]);
    set("heartbeat_interval=1m").failed(1, &["`silent_after`"]);
    let path = format!("/api/v1/nodes/{}/config", agent.name);
    let answer = fleet.ask(
        "PATCH",
        &path,
        Some(r#"{"telemetry":{"cpu":{"enable":true}}}"#),
    );
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("enable"), "{}", answer.text());
    assert_eq!(get(&fleet, &agent, "config")["configured"], Value::Null);
    fleet
        .cli(["node", "config", "show", "no-such-node"])
        .failed(1, &["no-such-node"]);
}

#[test]
fn settings_survive_restarts_of_both_sides() {
    let mut fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    set(&fleet, &agent, &["heartbeat_interval=3s"]);
    fleet.controller.kill9();
    agent.daemon.kill9();
    fleet.restart();
    agent.launch_again();
    wait_until("the agent says so again", || {
        let config = get(&fleet, &agent, "config");
        config["configured"]["heartbeat_interval_ms"] == 3_000
            && config["reported"]["config"] == config["effective_wanted"]
    });
}
