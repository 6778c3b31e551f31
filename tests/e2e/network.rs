//! Boards with a cable each, in network namespaces: TLS over a real interface, and a pulled cable.

use super::harness::{
    Fleet, Lan,
    manifests::{on_node, sleeping},
};
use fleetctl::identity::JoinToken;
use std::time::{SystemTime, UNIX_EPOCH};

fn tag() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.expect("a clock behind 1970").as_nanos();
    format!("{:07x}", (nanos / 1_000) & 0xfff_ffff)
}

#[test]
fn a_board_whose_cable_is_pulled_is_missed_and_comes_back() {
    let mut lan = Lan::new(&tag());
    let (near, far) = (lan.board(), lan.board());
    let address = lan.address();
    let fleet = Fleet::setup().advertised(&address).impatient().start();
    let token = fleet.join_token();
    let named = JoinToken::decode(&token).expect("a token").brokers;
    let advertised = format!("mqtts://{address}:{}", fleet.mqtt.number());
    assert_eq!(named.first(), Some(&advertised), "{named:?}");

    let one = fleet
        .agent("near")
        .namespace(&near.namespace)
        .token(&token)
        .start();
    let two = fleet
        .agent("far")
        .namespace(&far.namespace)
        .token(&token)
        .start();
    let text = sleeping("here") + &on_node("here", &one.name);
    let text = text + &sleeping("there") + &on_node("there", &two.name);
    fleet.apply_wait(&text).done();
    let (here, there) = (one.process("here"), two.process("there"));

    far.pull();
    fleet.wait_node(&two.name, "silent");
    fleet.wait_node(&two.name, "offline");
    assert_eq!(fleet.instance("there").expect("listed")["state"], "unknown");
    assert_eq!(
        fleet.node_state(&one.name),
        "online",
        "the other board is not meant"
    );
    assert!(there.child.lives(), "it needs no network");

    far.plug();
    fleet.wait_node(&two.name, "online");
    let shown = fleet.wait_running("there");
    assert_eq!(shown["restarts"], 0);
    assert_eq!((one.process("here"), two.process("there")), (here, there));
    fleet.cli(["command", "ping", &two.name]).done();
}
