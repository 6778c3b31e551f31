//! The cluster API: nodes that speak HTTP, deploying with one call, the fleet as a whole, and one
//! command to many nodes.

use super::harness::{Answer, Fleet, wait_until};
use fleetctl::{contract::Unverified, identity::PublicKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// May move at any time.
const WEB: &str = "[workload.web]\nversion = \"1.0\"\ncommand = [\"/bin/web\"]\n\
                   min_healthy_time = \"200ms\"\n";

/// A node that speaks HTTP, as small as one can be: it says that it does what it is assigned.
struct Board<'a> {
    fleet: &'a Fleet,
    name: String,
    token: String,
    assignment: Value,
}

impl<'a> Board<'a> {
    /// Registers.
    #[track_caller]
    fn new(fleet: &'a Fleet, name: &str) -> Board<'a> {
        let name = fleet.name(name);
        let answer = register(fleet, &fleet.token, &name);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let answer = answer.json();
        let token = answer["token"].as_str().expect("a token").to_owned();
        let assignment = json!({"generation": 0, "instances": []});
        Board {
            fleet,
            name,
            token,
            assignment,
        }
    }

    fn ask(&self, method: &str, rest: &str, body: Option<&str>) -> Answer {
        let path = format!("/api/v1/cluster/containers/{}{rest}", self.name);
        self.fleet.ask_as(Some(&self.token), method, &path, body)
    }

    /// A heartbeat that tells what it was assigned last.
    fn beat(&self) -> Answer {
        let instances = self.assignment["instances"].as_array();
        let state = |i: &Value| match i["desired"] == "stopped" {
            true => "stopped",
            false => "running",
        };
        let told = |i: &Value| json!({"workload": i["workload"]["name"], "state": state(i)});
        let body = json!({
            "generation": self.assignment["generation"],
            "instances": instances.into_iter().flatten().map(told).collect::<Vec<_>>(),
            "cpu": 12.5, "memory": 40.0, "disk": 7.0, "uptime": 60,
        });
        self.ask("POST", "/heartbeat", Some(&body.to_string()))
    }

    /// Gives a sign of life, and takes a newer assignment.
    #[track_caller]
    fn live(&mut self) {
        let answer = self.beat();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        if !answer["assignment"].is_null() {
            self.assignment = answer["assignment"].clone();
        }
    }

    fn runs(&self, workload: &str) -> bool {
        let all = self.assignment["instances"].as_array();
        let mut all = all.into_iter().flatten();
        all.any(|i| i["workload"]["name"] == workload)
    }
}

fn register(fleet: &Fleet, token: &str, name: &str) -> Answer {
    let body = json!({"name": name, "arch": "arm", "os": "RTOS 5", "cpus": 1,
        "memory": 256 << 20, "labels": {"zone": "line"}, "capabilities": {"gpio": "1"},
        "runtimes": ["process"]});
    let path = "/api/v1/cluster/containers";
    fleet.ask_as(Some(token), "POST", path, Some(&body.to_string()))
}

#[track_caller]
fn deploy(fleet: &Fleet, body: &Value) -> Value {
    let body = body.to_string();
    let answer = fleet.ask("POST", "/api/v1/cluster/deploy/agent", Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Ids of the instances that there are.
fn ids(fleet: &Fleet) -> BTreeSet<String> {
    let all = fleet.ask("GET", "/api/v1/cluster/agents", None).json();
    let all = all.as_array().cloned().unwrap_or_default();
    let id = |i: &Value| i["id"].as_str().map(str::to_owned);
    all.iter().filter_map(id).collect()
}

#[test]
fn a_node_that_speaks_http_joins_works_falls_silent_and_comes_back() {
    let fleet = Fleet::setup().impatient().start();
    let mut board = Board::new(&fleet, "plc");
    assert_eq!(fleet.node_state(&board.name), "offline", "not heard yet");
    board.live();
    let node = fleet.wait_node(&board.name, "online");
    assert_eq!(node["http"], true, "{node}");
    assert_eq!(node["heartbeat"]["cpu"], 12.5, "{node}");

    let deployed = deploy(&fleet, &json!({"manifest": WEB, "node": board.name}));
    let id = format!("web@{}", board.name);
    assert_eq!(deployed["agents"][0]["id"], id, "{deployed}");
    let answer = board.beat().json();
    let version = fleet.ask("GET", "/api/v1/version", None).json();
    let key = version["fleet_key"].as_str().expect("a key");
    let key: PublicKey = key.parse().expect("the fleet's key");
    let signed = answer["assignment"].to_string();
    let signed = Unverified::parse(signed.as_bytes()).expect("an envelope");
    let topic = answer["topic"].as_str().expect("a topic");
    assert!(signed.verify(topic, &key).is_ok(), "{answer}");
    assert_eq!(
        answer["assignment"]["generation"], answer["generation"],
        "{answer}"
    );
    board.live();
    assert!(board.runs("web"), "{}", board.assignment);
    board.live();
    fleet.wait_running("web");
    let again = board.beat().json();
    assert!(again["assignment"].is_null(), "it has it already: {again}");

    let order = fleet.cli(["command", "ping", &board.name]);
    assert_eq!(order.code, 1, "{order:?}");
    assert!(order.out.contains("speaks HTTP"), "{order:?}");

    fleet.wait_node(&board.name, "silent");
    let gone = fleet.wait_node(&board.name, "offline");
    let why = gone["reason"].as_str().unwrap_or_default();
    assert!(why.contains("nothing was heard"), "{gone}");
    assert_eq!(fleet.instance("web").expect("listed")["state"], "unknown");
    board.live();
    fleet.wait_node(&board.name, "online");
    fleet.wait_running("web");
}

#[test]
fn a_node_that_speaks_http_is_only_itself_and_leaves_when_it_says_so() {
    let fleet = Fleet::start();
    let viewer = ["token", "create", "--kind", "api", "--role", "viewer"];
    let viewer = fleet.cli(viewer).done().out.trim().to_owned();
    let name = fleet.name("plc");
    assert_eq!(register(&fleet, &viewer, &name).status, 403);
    assert_eq!(register(&fleet, "fleetnode_0", &name).status, 401);

    let mut board = Board::new(&fleet, "plc");
    let other = Board::new(&fleet, "other");
    board.live();
    let twice = register(&fleet, &fleet.token, &board.name);
    assert_eq!(twice.status, 409, "{}", twice.text());
    let anew = register(&fleet, &board.token, &board.name);
    assert_eq!(anew.status, 200, "it describes itself: {}", anew.text());
    let path = format!("/api/v1/cluster/containers/{}/heartbeat", board.name);
    for token in [&other.token, &fleet.token] {
        let answer = fleet.ask_as(Some(token), "POST", &path, Some("{}"));
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    // The API is not for nodes.
    let list = fleet.ask_as(Some(&board.token), "GET", "/api/v1/nodes", None);
    assert_eq!(list.status, 401);
    let too_late = json!({"generation": 1_u64 << 53}).to_string();
    let answer = board.ask("POST", "/heartbeat", Some(&too_late));
    assert_eq!(answer.status, 422, "{}", answer.text());

    assert_eq!(board.ask("DELETE", "", None).status, 204);
    let node = fleet.wait_node(&board.name, "offline");
    assert_eq!(node["reason"], "it left");
    board.live();
    fleet.wait_node(&board.name, "online");
    assert_eq!(board.ask("DELETE", "?remove=true", None).status, 204);
    assert!(fleet.node(&board.name).is_none());
    assert_eq!(board.beat().status, 401);
    Board::new(&fleet, "plc").live();

    fleet.cli(["node", "revoke", &other.name]).done();
    assert_eq!(other.beat().status, 401);
    let listed = fleet.ask("GET", "/api/v1/cluster/containers", None).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["items"][0]["transport"], "http", "{listed}");
}

#[test]
fn an_instance_is_migrated_stopped_and_removed_by_its_id() {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let mut first = Board::new(&fleet, "a");
    first.live();
    let (from, to) = (
        format!("web@{}", first.name),
        format!("web@{}", fleet.name("b")),
    );
    deploy(&fleet, &json!({"manifest": WEB, "replicas": 1}));
    wait_until("it runs on the first", || {
        first.live();
        ids(&fleet) == BTreeSet::from([from.clone()]) && first.runs("web")
    });
    let mut second = Board::new(&fleet, "b");
    second.live();

    let path = format!("/api/v1/cluster/agents/{from}/migrate");
    let body = json!({"to": second.name}).to_string();
    let answer = fleet.ask("POST", &path, Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["to"], second.name);
    wait_until("it is on the second alone", || {
        first.live();
        second.live();
        ids(&fleet) == BTreeSet::from([to.clone()]) && second.runs("web")
    });
    let gone = fleet.ask("POST", &path, Some("{}"));
    assert_eq!(gone.status, 404, "{}", gone.text());

    let path = format!("/api/v1/cluster/agents/{to}");
    let stopped = fleet.ask("POST", &format!("{path}/stop"), None);
    assert_eq!(stopped.json()["stopped"], "workload", "its only instance");
    wait_until("it is stopped", || {
        second.live();
        let shown = fleet.instance("web");
        shown.is_some_and(|i| i["state"] == "stopped")
    });
    assert_eq!(fleet.ask("DELETE", &path, None).status, 204);
    wait_until("it is gone", || {
        second.live();
        ids(&fleet).is_empty()
    });
}

#[test]
fn a_command_to_many_says_how_it_went_on_each() {
    let fleet = Fleet::start();
    let mut agents: Vec<_> = ["a", "b", "c"].map(|n| fleet.agent(n).start()).into();
    for agent in &agents {
        fleet.cli(["node", "label", &agent.name, "zone=lab"]).done();
    }
    let all = ["command", "ping", "-l", "zone=lab", "--max-parallel", "2"];
    let said = fleet.cli(all).done();
    assert!(said.err.contains("3/3"), "{said:?}");
    agents[2].daemon.stop();
    fleet.wait_node(&agents[2].name, "offline");

    let said = fleet.cli(all).failed(1, &["1 of 3 failed", "is offline"]);
    for agent in &agents {
        assert!(said.out.contains(&agent.name), "{said:?}");
    }
    let report = fleet.cli(["command", "ping", "--all", "-o", "json"]);
    assert_eq!(report.code, 1, "{report:?}");
    let report = report.json();
    assert_eq!(
        (&report["ok"], &report["failed"], &report["skipped"]),
        (&json!(2), &json!(1), &json!(0)),
        "{report}"
    );
    fleet
        .cli(["command", "ping", "-l", "zone=nowhere"])
        .failed(1, &["there is no such node"]);
    fleet.cli(["command", "ping", &agents[0].name]).done();

    let body = json!({"selector": ["zone=lab"], "order": {"command": "ping"}}).to_string();
    let answer = fleet.ask("POST", "/api/v1/commands", Some(&body));
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[0]["total"], 3);
    assert_eq!(lines[1]["node"], agents[2].name, "offline ones at once");
    assert_eq!(lines[4]["done"], true);
    let nobody = json!({"order": {"command": "ping"}}).to_string();
    let answer = fleet.ask("POST", "/api/v1/commands", Some(&nobody));
    assert_eq!(answer.status, 422, "{}", answer.text());

    let topology = fleet.cli(["cluster", "topology", "--label", "zone", "-o", "json"]);
    let topology = topology.done().json();
    let lab = &topology["groups"][0];
    assert_eq!((&lab["value"], &lab["online"]), (&json!("lab"), &json!(2)));
    assert_eq!(lab["nodes"].as_array().map(Vec::len), Some(3), "{topology}");
    let status = fleet.cli(["cluster", "status", "-o", "json"]).done().json();
    assert_eq!(status["nodes"]["offline"], 1, "{status}");
    let shown = fleet.cli(["cluster", "status"]).done().out;
    assert!(shown.contains("3 (2 online, 1 offline)"), "{shown}");
    let plan = json!({"dry_run": true}).to_string();
    let plan = fleet.ask("POST", "/api/v1/cluster/rebalance", Some(&plan));
    assert_eq!(plan.status, 200, "{}", plan.text());
}
