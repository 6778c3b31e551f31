//! Other brokers than the embedded one: ours in a process of its own, and Mosquitto.

use super::harness::{
    Agent, Daemon, Fleet, Mosquitto, Port, fleetctl,
    manifests::{counting, sleeping},
    wait_until,
};
use fleetctl::identity::FleetIdentity;
use std::{fs, path::Path};

/// Join, apply, logs and a command, over whatever is in between.
fn works(fleet: &Fleet) -> Agent {
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("ticker", "1")).done();
    agent.process("ticker");
    wait_until("its lines come", || {
        fleet
            .cli(["logs", "ticker"])
            .done()
            .out
            .contains("1 line 1")
    });
    fleet.cli(["command", "ping", &agent.name]).done();
    agent
}

fn copy_identity(from: &Path, to: &Path) {
    let (from, to) = (from.join("identity"), to.join("identity"));
    fs::create_dir_all(&to).expect("a directory");
    for entry in fs::read_dir(from).expect("an identity") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

fn launch_broker(data: &Path, port: &Port, log: &Path) -> Daemon {
    let mut command = fleetctl();
    command.args(["broker", &format!("--mqtt-listen={}", port.local())]);
    command.arg("--data-dir").arg(data);
    Daemon::spawn("broker", command, log)
}

#[test]
fn a_broker_of_its_own_serves_the_fleet_and_may_be_killed() {
    let port = Port::take();
    let setup = Fleet::setup().broker(&format!("mqtt://{}", port.local()));
    let data = setup.data_dir().to_owned();
    FleetIdentity::open(&data, "preparation", 0).expect("the fleet's keys");
    let broker_data = data.with_file_name("broker");
    copy_identity(&data, &broker_data);
    let log = data.with_file_name("broker.log");
    let mut broker = launch_broker(&broker_data, &port, &log);
    let fleet = setup.start();
    let agent = works(&fleet);
    let process = agent.process("ticker");

    broker.kill9();
    wait_until("the controller notices", || {
        fleet.try_get("/readyz").is_some_and(|a| a.status == 503)
    });
    let _broker = launch_broker(&broker_data, &port, &log);
    fleet.wait_node(&agent.name, "online");
    fleet.apply_wait(&sleeping("later")).done();
    fleet.wait_running("ticker");
    assert_eq!(agent.process("ticker"), process);

    // Whom the controller revokes, this broker cuts off too.
    let written = agent.log_len();
    fleet.cli(["node", "revoke", &agent.name]).done();
    agent.wait_log_since(written, &["refuses this node's credential"]);
    assert!(process.child.lives());
}

#[test]
fn mosquitto_serves_the_fleet_and_may_be_killed_and_forget_everything() {
    let mut mosquitto = Mosquitto::start();
    let fleet = Fleet::setup().broker(&mosquitto.url()).start();
    let agent = works(&fleet);
    let process = agent.process("ticker");

    mosquitto.daemon.kill9();
    wait_until("the controller notices", || {
        fleet.try_get("/readyz").is_some_and(|a| a.status == 503)
    });
    // What is accepted meanwhile is carried out later.
    fleet.apply(&sleeping("meanwhile")).done();
    mosquitto.restart();
    fleet.wait_running("meanwhile");
    fleet.wait_node(&agent.name, "online");
    agent.process("meanwhile");
    fleet.wait_running("ticker");
    assert_eq!(agent.process("ticker"), process);
    wait_until("lines come again", || {
        let tail = fleet.cli(["logs", "ticker", "-n", "1"]);
        tail.code == 0 && tail.out.contains("1 line ")
    });
}

#[test]
fn over_mosquitto_a_token_that_expired_is_refused_by_the_controller() {
    let mosquitto = Mosquitto::start();
    let fleet = Fleet::setup().broker(&mosquitto.url()).start();
    let create = ["token", "create", "--kind", "join", "--ttl", "1ms"];
    let token = fleet.cli(create).done().out;
    let mut agent = fleet.agent("late").token(token.trim()).launch();
    assert_eq!(agent.daemon.wait_end().code(), Some(1));
    let log = agent.daemon.log();
    assert!(
        log.contains("its token has expired, was revoked, or has been used"),
        "{log}"
    );
    assert_eq!(fleet.node(&agent.name), None);
}
