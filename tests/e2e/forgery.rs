//! A broker that lets anybody say anything: what is not genuine, or not new, changes nothing.

use super::harness::{
    Agent, Fleet, Mosquitto,
    manifests::sleeping,
    mqtt::{Mqtt, forged},
    native::Native,
    wait_until,
};
use serde_json::json;

struct Scene {
    fleet: Fleet,
    agent: Agent,
    process: Native,
    attacker: Mqtt,
    /// Dropped last.
    _mosquitto: Mosquitto,
}

impl Scene {
    /// A node with the workload `still` on a broker without any rights.
    fn set() -> Scene {
        let mosquitto = Mosquitto::start();
        let fleet = Fleet::setup().broker(&mosquitto.url()).start();
        let agent = fleet.agent("board").start();
        fleet.apply_wait(&sleeping("still")).done();
        let process = agent.process("still");
        let id = fleet.name("attacker");
        let attacker = Mqtt::connect(mosquitto.port.number(), &id, None);
        Scene {
            attacker: attacker.expect("anybody may"),
            fleet,
            agent,
            process,
            _mosquitto: mosquitto,
        }
    }

    fn topic(&self, kind: &str) -> String {
        format!("fleet/{kind}/{}", self.agent.name)
    }

    /// Everything that was published before has been looked at by the agent: an answered command
    /// comes after it. Then nothing may have changed.
    fn unharmed(&self) {
        self.fleet.cli(["command", "ping", &self.agent.name]).done();
        let shown = self.fleet.wait_running("still");
        assert_eq!(shown["restarts"], 0, "{shown}");
        assert_eq!(self.agent.process("still"), self.process);
    }

    fn refused(&self, kind: &str) -> u64 {
        let series = format!("fleetctl_messages_refused_total{{kind=\"{kind}\"}}");
        self.fleet.metric(&series)
    }
}

#[test]
fn a_forged_assignment_and_a_forged_command_are_refused() {
    let scene = Scene::set();
    let topic = scene.topic("assignment");
    let empty = json!({"generation": 1_000_000, "instances": [],
                       "cfg": {"heartbeat_interval_ms": 12_000}});
    assert!(
        scene
            .attacker
            .publish(&topic, true, &forged(&topic, &empty))
    );
    scene
        .agent
        .wait_log(&["message refused", &topic, "signature"]);

    let topic = scene.topic("command");
    let stop = json!({"id": "f00d", "order": {"command": "stop", "workload": "still"}});
    // No second log line within the minute; that nothing happened is what counts.
    assert!(
        scene
            .attacker
            .publish(&topic, false, &forged(&topic, &stop))
    );
    scene.unharmed();
    let node = scene.fleet.node(&scene.agent.name).expect("the node");
    assert_eq!(node["generation"], node["observed_generation"]);
}

#[test]
fn a_forged_state_is_refused_and_counted() {
    let scene = Scene::set();
    let before = scene.refused("sender");
    let topic = scene.topic("state");
    let state = json!({"generation": 1, "instances": [], "engines": []});
    assert!(
        scene
            .attacker
            .publish(&topic, false, &forged(&topic, &state))
    );
    wait_until("it is counted", || scene.refused("sender") == before + 1);
    scene.unharmed();
}

#[test]
fn an_old_assignment_again_changes_nothing_also_after_a_restart_of_the_agent() {
    let mut scene = Scene::set();
    let topic = scene.topic("assignment");
    assert!(scene.attacker.subscribe(&topic));
    let one = |body: &serde_json::Value| body["instances"].as_array().is_some_and(|i| i.len() == 1);
    let old = scene.attacker.message(&topic, one);
    scene.fleet.apply_wait(&sleeping("newer")).done();
    let newer = scene.agent.process("newer");
    assert!(scene.attacker.publish(&topic, false, &old));
    scene.agent.wait_log(&["message refused", &topic, "replay"]);
    scene.unharmed();
    assert!(newer.child.lives());

    // Retained, in place of the true one, and with nobody there to correct it.
    scene.fleet.controller.kill9();
    scene.agent.daemon.kill9();
    assert!(scene.attacker.publish(&topic, true, &old));
    scene.agent.launch_again();
    scene.agent.wait_log(&["older than the one in effect"]);
    assert_eq!(scene.agent.process("newer"), newer);
    scene.fleet.restart();
    scene.fleet.wait_running("newer");
    scene.unharmed();
}

#[test]
fn a_command_is_run_once_however_often_it_arrives() {
    let mut scene = Scene::set();
    let topic = scene.topic("command");
    assert!(scene.attacker.subscribe(&topic));
    let (node, still) = (scene.agent.name.clone(), "still");
    scene.fleet.cli(["command", "restart", &node, still]).done();
    let order = scene
        .attacker
        .message(&topic, |b| b["order"]["command"] == "restart");
    let process = scene.agent.process(still);
    assert_ne!(process, scene.process, "it was restarted");
    scene.fleet.cli(["command", "ping", &node]).done();
    assert!(scene.attacker.publish(&topic, false, &order));
    scene.agent.wait_log(&["message refused", &topic, "replay"]);
    scene.fleet.cli(["command", "ping", &node]).done();
    assert_eq!(scene.agent.process(still), process);

    // Another life of the agent has not seen it, and does not run it either.
    scene.agent.daemon.kill9();
    scene.fleet.wait_node(&node, "offline");
    scene.agent.launch_again();
    scene.fleet.wait_node(&node, "online");
    assert!(scene.attacker.publish(&topic, false, &order));
    scene.fleet.cli(["command", "ping", &node]).done();
    assert_eq!(scene.agent.process(still), process);
}

#[test]
fn malformed_and_oversized_messages_are_counted_and_change_nothing() {
    let scene = Scene::set();
    let topic = scene.topic("state");
    let long = vec![b'x'; 900 * 1024];
    let deep = "[".repeat(100_000);
    let garbage: [(&[u8], &str); 6] = [
        (b"\xff\x00\xfe", "not_json"),
        (b"[1, 2]", "not_json"),
        (deep.as_bytes(), "not_json"),
        (&long, "not_json"),
        (
            br#"{"v": 2, "from": "x", "seq": [1, 1], "sig": ""}"#,
            "version",
        ),
        (
            br#"{"v": 1, "from": "x", "seq": "soon", "sig": ""}"#,
            "envelope",
        ),
    ];
    for (payload, kind) in garbage {
        let before = scene.refused(kind);
        assert!(scene.attacker.publish(&topic, false, payload));
        wait_until(&format!("it is counted as {kind}"), || {
            scene.refused(kind) == before + 1
        });
    }
    let strange = format!("fleet/state/{}", "n".repeat(200));
    let before = scene.refused("topic");
    assert!(scene.attacker.publish(&strange, false, b"{}"));
    wait_until("a name that is none is counted", || {
        scene.refused("topic") == before + 1
    });
    // The agent's own topics too.
    let topic = scene.topic("assignment");
    assert!(scene.attacker.publish(&topic, false, b"{\"v\":1}"));
    scene
        .agent
        .wait_log(&["message refused", &topic, "envelope"]);
    scene.unharmed();
}

#[test]
fn a_message_far_above_the_limit_does_not_cut_anybody_off() {
    let scene = Scene::set();
    let huge = vec![b' '; 3 << 20];
    // Retained: it comes again with every connection.
    for kind in ["state", "assignment"] {
        assert!(scene.attacker.publish(&scene.topic(kind), true, &huge));
    }
    wait_until("the controller is connected", || {
        scene
            .fleet
            .try_get("/readyz")
            .is_some_and(|a| a.status == 200)
    });
    scene.fleet.wait_node(&scene.agent.name, "online");
    scene.unharmed();
}
