//! A machine becomes a node, or is told why not.

use super::harness::{Fleet, wait_until};
use std::time::{Duration, Instant};

/// Starts an agent that must be refused, and returns what it said.
fn refused(fleet: &Fleet, name: &str, token: &str) -> String {
    let mut agent = fleet.agent(name).token(token).launch();
    let status = agent.daemon.wait_end();
    let log = agent.daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("error: "), "{log}");
    log
}

fn token_id(fleet: &Fleet, name: &str) -> String {
    let all = fleet.cli(["token", "ls", "-o", "json"]).done().json();
    let found = all
        .as_array()
        .expect("a list")
        .iter()
        .find(|t| t["name"] == name);
    found.expect("the token")["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

#[test]
fn a_machine_with_a_token_is_in_the_list_within_a_second() {
    let fleet = Fleet::start();
    let token = fleet.join_token();
    // The quickest of three: other tests share the machine.
    let join = |name| {
        let began = Instant::now();
        let agent = fleet.agent(name).token(&token).start();
        (began.elapsed(), agent)
    };
    let joined = ["one", "two", "three"].map(join);
    let took = joined.iter().map(|(took, _)| *took).min();
    assert!(took < Some(Duration::from_secs(1)), "{took:?}");
    let nodes = fleet.cli(["node", "ls", "-o", "json"]).done().json();
    let nodes = nodes.as_array().expect("a list");
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    for (_, agent) in &joined {
        let mut listed = nodes.iter().filter(|n| n["name"] == agent.name.as_str());
        let node = listed.next().expect("it is in the list");
        assert_eq!(node["state"], "online", "{node}");
        assert_eq!(node["approval"], "approved", "{node}");
    }
}

#[test]
fn a_machine_joins_over_tls_and_needs_no_token_the_second_time() {
    let fleet = Fleet::setup().tls().start();
    let mut agent = fleet.agent("secure").start();
    assert_eq!(
        agent.daemon.stop().code(),
        Some(0),
        "{}",
        agent.daemon.log()
    );
    fleet.wait_node(&agent.name, "offline");
    agent.launch_again();
    fleet.wait_node(&agent.name, "online");
    let pong = fleet
        .cli(["command", "ping", &agent.name, "-o", "json"])
        .done()
        .json();
    assert_eq!(pong["ok"], true);
    assert!(pong["rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{pong}");
}

#[test]
fn an_expired_a_revoked_and_a_damaged_token_are_refused_in_words() {
    let fleet = Fleet::start();
    let create = ["token", "create", "--kind", "join"];
    let expired = fleet
        .cli(create.into_iter().chain(["--ttl", "1ms"]))
        .done()
        .out;
    let said = refused(&fleet, "late", expired.trim());
    assert!(
        said.contains("expired") && said.contains("token create"),
        "{said}"
    );

    let revoked = fleet
        .cli(create.into_iter().chain(["--name", "lost"]))
        .done()
        .out;
    let id = token_id(&fleet, "lost");
    fleet.cli(["token", "revoke", &id]).done();
    let said = refused(&fleet, "thief", revoked.trim());
    assert!(
        said.contains("revoked") && said.contains("token create"),
        "{said}"
    );

    let whole = fleet.join_token();
    let said = refused(&fleet, "clumsy", &whole[..whole.len() / 2]);
    assert!(said.contains("not a join token"), "{said}");
    let nodes = fleet.cli(["node", "ls", "-o", "json"]).done().json();
    assert_eq!(nodes, serde_json::json!([]), "nobody got in");
}

#[test]
fn without_a_token_a_machine_says_how_to_get_one() {
    let fleet = Fleet::start();
    let mut command = super::harness::fleetctl();
    let data = fleet.dir().join("lonely");
    command
        .args(["agent", "--name=lonely"])
        .arg("--data-dir")
        .arg(data);
    super::harness::Ran::of(&mut command).failed(1, &["has not joined", "--join"]);
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_holder_stays() {
    let fleet = Fleet::start();
    let first = fleet.agent("twin").start();
    let said = refused(&fleet, "twin", &fleet.join_token());
    assert!(
        said.contains("is taken") && said.contains("node rm"),
        "{said}"
    );
    let pong = fleet
        .cli(["command", "ping", &first.name, "-o", "json"])
        .done();
    assert_eq!(pong.json()["ok"], true);
}

#[test]
fn without_automatic_approval_a_machine_waits_for_a_person() {
    let fleet = Fleet::setup().flag("--auto-approve=false").start();
    let agent = fleet.agent("guest").launch();
    agent.wait_log(&["waits for approval", "node approve"]);
    let node = fleet.node(&agent.name).expect("it is in the list");
    assert_eq!(node["approval"], "pending");
    assert_eq!(node["state"], "offline");
    fleet.cli(["node", "approve", &agent.name]).done();
    let node = fleet.wait_node(&agent.name, "online");
    assert_eq!(node["approval"], "approved");
}

#[test]
fn two_agents_on_one_data_directory_are_one_too_many() {
    let fleet = Fleet::start();
    let agent = fleet.agent("first").start();
    let mut command = super::harness::fleetctl();
    command
        .args(["agent", "--name=second"])
        .arg("--data-dir")
        .arg(agent.data());
    super::harness::Ran::of(&mut command).failed(1, &["in use by another agent"]);
}

#[test]
fn the_first_start_prints_a_join_line_that_works() {
    let fleet = Fleet::start();
    let mut line = String::new();
    wait_until("the join line is printed", || {
        let log = fleet.controller.log();
        let found = log.lines().find(|l| l.contains("fleetctl agent --join "));
        line = found.map(|l| l.trim().to_owned()).unwrap_or_default();
        !line.is_empty()
    });
    let token = line.rsplit(' ').next().expect("a last word");
    fleet.agent("pasted").token(token).start();
}
