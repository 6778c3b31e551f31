//! Finding the controller in the local network: boards in network namespaces behind one bridge.

use super::harness::{Daemon, Fleet, Lan, Ran, fleetctl, wait_for, wait_until};
use fleetctl::{identity::JoinToken, mdns::fleet_print};
use serde_json::Value;
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn tag() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.expect("a clock behind 1970").as_nanos();
    format!("{:07x}", (nanos / 1_000) & 0xfff_ffff)
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).status().expect("ip");
    assert!(done.success(), "ip {args:?}");
}

/// A token that says nothing of where the controller is.
fn token_without_address(fleet: &Fleet) -> String {
    let create = ["token", "create", "--kind", "join", "--no-address"];
    let token = fleet.cli(create).done().out.trim().to_owned();
    let read = JoinToken::decode(&token).expect("a token");
    assert_eq!(read.brokers, Vec::<String>::new());
    token
}

fn print_of(token: &str) -> String {
    fleet_print(&JoinToken::decode(token).expect("a token").fleet_key)
}

fn brokers(data: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(data.join("fleet.json")).unwrap_or_default();
    let member: Value = serde_json::from_str(&text).unwrap_or_default();
    let urls = member["brokers"].as_array().cloned().unwrap_or_default();
    urls.iter()
        .filter_map(|u| u.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_board_joins_without_an_address_and_discover_names_the_controller() {
    let mut lan = Lan::new(&tag());
    let board = lan.board();
    let fleet = Fleet::setup().advertised(&lan.address()).start();
    let token = token_without_address(&fleet);

    let discover = |more: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &board.namespace]);
        command.arg(fleetctl().get_program());
        command.args(["discover", "--timeout", "1s"]).args(more);
        Ran::of(&mut command).done()
    };
    let found = wait_for("the controller answers", || {
        let all = discover(&["-o", "json"]).json();
        let ours = all
            .as_array()?
            .iter()
            .find(|a| a["fleet"] == print_of(&token).as_str());
        ours.cloned()
    });
    assert_eq!(found["address"], lan.address().as_str(), "{found}");
    assert_eq!(found["port"], fleet.mqtt.number(), "{found}");
    assert_eq!(found["tls"], true, "{found}");
    let table = discover(&[]).out;
    assert!(
        table.starts_with("NAME") && table.contains(&lan.address()),
        "{table}"
    );

    let agent = fleet
        .agent("lost")
        .namespace(&board.namespace)
        .token(&token)
        .start();
    let url = format!("mqtts://{}:{}", lan.address(), fleet.mqtt.number());
    wait_until("the address is remembered", || {
        brokers(agent.data()) == [url.clone()]
    });
}

#[test]
fn a_board_finds_its_controller_at_another_address() {
    let tag = tag();
    let mut lan = Lan::new(&tag);
    let board = lan.board();
    let fleet = Fleet::setup().advertised(&lan.address()).start();
    let agent = fleet.agent("board").namespace(&board.namespace).start();
    // What DHCP does to a control host.
    let (old, bridge) = (lan.address(), format!("fbr{tag}"));
    let new = format!("{}.99", old.rsplit_once('.').expect("an address").0);
    ip(&["addr", "add", &format!("{new}/24"), "dev", &bridge]);
    ip(&["addr", "del", &format!("{old}/24"), "dev", &bridge]);
    // The address that comes second would be lost with the first.
    let _ = Command::new("ip")
        .args(["addr", "add", &format!("{new}/24"), "dev", &bridge])
        .output();
    let written = agent.log_len();
    board.pull();
    board.plug();
    let url = format!("mqtts://{new}:{}", fleet.mqtt.number());
    wait_until("the new address is remembered", || {
        // A session that only looks alive would hide what is to be seen.
        brokers(agent.data()).first() == Some(&url) || {
            let _ = Command::new("ss")
                .args(["-K", "-N", &board.namespace, "dst", &old])
                .output();
            false
        }
    });
    agent.wait_log_since(written, &["controller found in the local network"]);
    fleet.cli(["command", "ping", &agent.name]).done();
}

/// What every liar needs: names and records as they travel.
const WORDS: &str = r#"
import socket, struct, sys, threading
def name(text):
    return b"".join(bytes([len(l)]) + l.encode() for l in text.split(".")) + b"\0"
def record(owner, kind, data):
    return name(owner) + struct.pack(">HHIH", kind, 1, 120, len(data)) + data
service = "_fleetctl._tcp.local"
"#;

/// Answers every question with itself as a broker of whatever fleet, a thousand times, and keeps
/// what is said to it.
const LIAR: &str = r#"
own, fleet, said = sys.argv[1:4]
def answer(query, n):
    us = "liar%d.%s" % (n, service)
    txt = b"".join(bytes([len(t)]) + t for t in [b"fleet=" + fleet.encode(), b"version=9", b"tls=1"])
    records = [record(service, 12, name(us)),
        record(us, 33, struct.pack(">HHH", 0, 0, 7000 + n % 3) + name("l.local")),
        record(us, 16, txt), record("l.local", 1, socket.inet_aton(own))]
    return query[:2] + struct.pack(">HHHHH", 0x8400, 0, len(records), 0, 0) + b"".join(records)
def sink(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((own, port)); s.listen()
    while True:
        c, _ = s.accept()
        c.settimeout(1)
        try:
            data = c.recv(65536)
        except OSError:
            data = b""
        with open(said, "ab") as f: f.write(data + b"\n--\n")
        c.close()
for port in (7000, 7001, 7002): threading.Thread(target=sink, args=(port,), daemon=True).start()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton(own))
print("ready", flush=True)
# From the liar's own address, which is one of several of this machine.
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.bind((own, 0))
while True:
    query, who = s.recvfrom(9000)
    # Names that point at themselves, records that end nowhere, and then lies.
    out.sendto(query[:2] + struct.pack(">HHHHH", 0x8400, 0, 1, 0, 0) + b"\xc0\x0c" * 400, who)
    out.sendto(query[:2] + struct.pack(">HHHHH", 0x8400, 0xffff, 0xffff, 0xffff, 0xffff) + b"\0" * 4000, who)
    for n in range(300): out.sendto(answer(query, n), who)
"#;

#[test]
fn a_liar_in_the_network_gains_nothing() {
    let tag = tag();
    let mut lan = Lan::new(&tag);
    let board = lan.board();
    let fleet = Fleet::setup().advertised(&lan.address()).start();
    let token = token_without_address(&fleet);
    let said = fleet.dir().join("said");
    let log = fleet.dir().join("liar.log");
    // Another machine in all but name: engines' firewalls keep those behind a bridge apart.
    let subnet = lan.address();
    let own = format!("{}.77", subnet.rsplit_once('.').expect("an address").0);
    ip(&[
        "addr",
        "add",
        &format!("{own}/24"),
        "dev",
        &format!("fbr{tag}"),
    ]);
    let mut command = Command::new("python3");
    command
        .args(["-c", &format!("{WORDS}{LIAR}"), &own, &print_of(&token)])
        .arg(&said);
    let liar = Daemon::spawn("liar", command, &log);
    wait_until("the liar listens", || liar.log().contains("ready"));

    let agent = fleet
        .agent("board")
        .namespace(&board.namespace)
        .token(&token)
        .start();
    let told = std::fs::read(&said).unwrap_or_default();
    assert!(
        !told.is_empty(),
        "the liar was not even tried, so nothing is shown"
    );
    let secret = JoinToken::decode(&token).expect("a token").secret;
    let holds = |needle: &[u8]| told.windows(needle.len()).any(|w| w == needle);
    assert!(!holds(secret.as_bytes()), "the secret was told to the liar");
    let known = brokers(agent.data());
    assert!(
        known.iter().all(|url| !url.contains(&format!("{own}:700"))),
        "{known:?}"
    );
}

/// Answers from twenty addresses with four names each, all before any honest one, and lets whoever
/// comes wait.
const CROWD: &str = r#"
net, fleet = sys.argv[1:3]
def answer(query, n):
    us = "!evil%d.%s" % (n, service)
    txt = b"".join(bytes([len(t)]) + t for t in [b"fleet=" + fleet.encode(), b"version=9", b"tls=1"])
    records = [record(service, 12, name(us)),
        record(us, 33, struct.pack(">HHH", 0, 0, 7000 + n) + name("l.local")),
        record(us, 16, txt)]
    return query[:2] + struct.pack(">HHHHH", 0x8400, 0, len(records), 0, 0) + b"".join(records)
own = ["%s.%d" % (net, last) for last in range(101, 121)]
tarpits, outs = [], []
for address in own:
    for n in range(4):
        t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        t.bind((address, 7000 + n)); t.listen(512); tarpits.append(t)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); out.bind((address, 0)); outs.append(out)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton(own[0]))
print("ready", flush=True)
while True:
    query, who = s.recvfrom(9000)
    for out in outs:
        for n in range(4): out.sendto(answer(query, n), who)
    # And noise that is no answer to anything that was asked.
    for i in range(1000): outs[0].sendto(b"\0" * 12, who)
"#;

#[test]
fn a_crowd_of_liars_that_let_a_board_wait_delays_it_by_seconds() {
    let tag = tag();
    let mut lan = Lan::new(&tag);
    let board = lan.board();
    let fleet = Fleet::setup().advertised(&lan.address()).start();
    let token = token_without_address(&fleet);
    let subnet = lan.address();
    let net = subnet.rsplit_once('.').expect("an address").0;
    let bridge = format!("fbr{tag}");
    for last in 101..121 {
        let address = format!("{net}.{last}/24");
        ip(&["addr", "add", &address, "dev", &bridge]);
    }
    let mut command = Command::new("python3");
    command.args(["-c", &format!("{WORDS}{CROWD}"), net, &print_of(&token)]);
    let log = fleet.dir().join("crowd.log");
    let crowd = Daemon::spawn("crowd", command, &log);
    wait_until("the crowd listens", || crowd.log().contains("ready"));

    let began = Instant::now();
    let agent = fleet
        .agent("board")
        .namespace(&board.namespace)
        .token(&token)
        .start();
    // A look, and at most two handfuls that hang for three seconds each, with room for a slow host.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let url = format!("mqtts://{}:{}", lan.address(), fleet.mqtt.number());
    assert_eq!(brokers(agent.data()), [url]);
}
