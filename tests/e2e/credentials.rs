//! What a node's credential opens, and that a revoked one opens nothing.

use super::harness::{
    Fleet,
    manifests::sleeping,
    mqtt::{Mqtt, Stolen},
    wait_until,
};

#[test]
fn the_credential_of_a_node_opens_its_own_topics_only() {
    let fleet = Fleet::start();
    let mut thief = fleet.agent("thief").start();
    let victim = fleet.agent("victim").start();
    assert_eq!(thief.daemon.stop().code(), Some(0));
    let stolen = Stolen::from(thief.data());
    let port = fleet.mqtt.number();
    let enter = |id: &str, password: &str| Mqtt::connect(port, id, Some(("node", password)));

    let mqtt = enter(&thief.name, &stolen.password(1)).expect("its own credential");
    assert!(mqtt.subscribe(&format!("fleet/assignment/{}", thief.name)));
    for filter in [
        format!("fleet/assignment/{}", victim.name),
        format!("fleet/command/{}", victim.name),
        format!("fleet/state/{}", victim.name),
        "fleet/assignment/+".to_owned(),
        "fleet/#".to_owned(),
        "#".to_owned(),
        "$SYS/#".to_owned(),
    ] {
        assert!(!mqtt.subscribe(&filter), "{filter} must not be granted");
    }
    drop(mqtt);
    let denied = || fleet.metric("fleetctl_broker_denied_total{what=\"publish\"}");
    for (n, topic) in [
        format!("fleet/state/{}", victim.name),
        format!("fleet/assignment/{}", thief.name),
        format!("fleet/command/{}", victim.name),
        "fleet/access".to_owned(),
        "elsewhere".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let before = denied();
        let password = stolen.password(10 + n as u64);
        let mqtt = enter(&thief.name, &password).expect("a new statement");
        assert!(
            !mqtt.publish(topic, false, b"{}"),
            "{topic} must not be taken"
        );
        wait_until("it is counted", || denied() == before + 1);
    }

    let used = stolen.password(100);
    enter(&thief.name, &used).expect("a new statement");
    enter(&thief.name, &used).expect_err("the same statement again");
    enter(&victim.name, &stolen.password(101)).expect_err("another node's client id");
    Mqtt::connect(port, "nobody", None).expect_err("no credentials");
    Mqtt::connect(port, "nobody", Some(("controller", "1.1.AAAA"))).expect_err("a made-up one");
    fleet.cli(["command", "ping", &victim.name]).done();
}

#[test]
fn a_revoked_node_is_cut_off_at_once_and_for_good() {
    let fleet = Fleet::start();
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("still")).done();
    let process = agent.process("still");
    fleet.cli(["node", "revoke", &agent.name]).done();
    agent.wait_log(&["refuses this node's credential"]);
    let node = fleet.wait_node(&agent.name, "offline");
    assert_eq!(node["approval"], "revoked");
    assert!(process.child.lives(), "its workloads are not ours to end");

    agent.daemon.kill9();
    let stolen = Stolen::from(agent.data());
    let port = fleet.mqtt.number();
    let password = stolen.password(1);
    Mqtt::connect(port, &agent.name, Some(("node", &password))).expect_err("it was revoked");

    let written = agent.log_len();
    agent.launch_again();
    agent.wait_log_since(written, &["refuses this node's credential"]);
    assert_eq!(fleet.node_state(&agent.name), "offline");
    assert!(process.child.lives());
    fleet
        .cli(["node", "approve", &agent.name])
        .failed(1, &["was revoked"]);
}

#[test]
fn a_revocation_outlives_a_kill_of_the_controller() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.cli(["node", "revoke", &agent.name]).done();
    fleet.controller.kill9();
    fleet.restart();
    let stolen = Stolen::from(agent.data());
    let (port, password) = (fleet.mqtt.number(), stolen.password(1));
    Mqtt::connect(port, &agent.name, Some(("node", &password))).expect_err("it was revoked");
    assert_eq!(
        fleet.node(&agent.name).expect("the node")["approval"],
        "revoked"
    );
}

#[test]
fn a_join_token_opens_nothing_but_joining() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let token = fleetctl::identity::JoinToken::decode(&fleet.join_token()).expect("a token");
    let port = fleet.mqtt.number();
    let mqtt = Mqtt::connect(port, "guest", Some(("join", &token.secret))).expect("it may join");
    for filter in [
        "fleet/#",
        "fleet/assignment/+",
        "fleet/access",
        "fleet/enroll/+",
    ] {
        assert!(!mqtt.subscribe(filter), "{filter} must not be granted");
    }
    let topic = format!("fleet/status/{}", agent.name);
    assert!(
        !mqtt.publish(&topic, true, b"{}"),
        "{topic} must not be taken"
    );
    assert_eq!(fleet.node_state(&agent.name), "online");
}
