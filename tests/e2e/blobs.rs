//! Bytes by their hash: from an operator to the controller, and from there to nodes over the
//! broker's own port.

use super::harness::{
    Agent, Answer, Fleet, Mosquitto, Port, Releases, http::parse, mqtt::Stolen, wait_until,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use fleetctl::{contract::Seq, identity::credential, model::Digest};
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes that are no text and nowhere the same.
pub(super) fn blob(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Says this, then this, and reads what comes.
pub(super) fn say(address: &str, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).expect("a limit");
    stream.write_all(head.as_bytes()).expect("a head");
    stream.write_all(body).expect("a body");
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    parse(&all).unwrap_or_else(|| panic!("no HTTP: {}", String::from_utf8_lossy(&all)))
}

pub(super) fn api(fleet: &Fleet) -> String {
    fleet.origin().replace("http://", "")
}

pub(super) fn put_head(
    fleet: &Fleet,
    token: &str,
    digest: Digest,
    from: usize,
    end: usize,
    total: usize,
) -> String {
    let last = end - 1;
    let length = end - from;
    format!(
        "PUT /api/v1/blobs/{digest}/upload HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Range: bytes {from}-{last}/{total}\r\n\
         Content-Length: {length}\r\n\r\n",
        api(fleet)
    )
}

fn put(fleet: &Fleet, digest: Digest, all: &[u8], from: usize, end: usize) -> Answer {
    let head = put_head(fleet, &fleet.token, digest, from, end, all.len());
    say(&api(fleet), &head, &all[from..end])
}

pub(super) fn upload(fleet: &Fleet, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    for from in (0..bytes.len()).step_by(8 << 20) {
        let end = bytes.len().min(from + (8 << 20));
        let answer = put(fleet, digest, bytes, from, end);
        assert!(answer.status < 300, "{}", answer.text());
    }
    digest
}

pub(super) fn received(fleet: &Fleet, digest: Digest) -> u64 {
    let path = format!("/api/v1/blobs/{digest}/upload");
    let view = fleet.ask("GET", &path, None).json();
    view["received"].as_u64().expect("a number")
}

/// A node's request at the broker's port.
pub(super) fn fetch(address: &str, what: &str, user: &str, password: &str, more: &str) -> Answer {
    let basic = STANDARD.encode(format!("{user}:{password}"));
    let head = format!(
        "GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n\
         {more}\r\n"
    );
    say(address, &head, &[])
}

pub(super) fn statement(agent: &Agent, count: u64) -> String {
    let stolen = Stolen::from(agent.data());
    let start = 1_000_000;
    credential::fetch_statement(&stolen.credential, Seq { start, count }, &stolen.key)
}

#[test]
fn an_upload_that_breaks_off_is_gone_on_with_and_the_blob_comes_back_whole() {
    let fleet = Fleet::start();
    // A piece that begins as a JSON list does.
    let mut bytes = b"[".to_vec();
    bytes.extend(blob(3_000_000));
    let digest = Digest::of(&bytes);
    let total = bytes.len();
    let head = put_head(&fleet, &fleet.token, digest, 0, 2_000_000, total);
    let mut stream = TcpStream::connect(api(&fleet)).expect("a connection");
    stream.write_all(head.as_bytes()).expect("a head");
    stream
        .write_all(&bytes[..1_500_000])
        .expect("a part of the piece");
    stream.shutdown(Shutdown::Both).expect("broken off");
    wait_until("what came is kept", || received(&fleet, digest) > 0);
    let there = || usize::try_from(received(&fleet, digest)).expect("a size");
    // The piece may still be on its way to the disk.
    wait_until("the piece has ended", || {
        let at = there();
        at == 1_500_000 || put(&fleet, digest, &bytes, at, at + 1).status == 200
    });
    let at = there();
    let wrong = put(&fleet, digest, &bytes, at - 1, total);
    assert!(
        wrong.status == 409 && wrong.text().contains(&format!("{at} bytes")),
        "{}",
        wrong.text()
    );
    let last = put(&fleet, digest, &bytes, at, total);
    assert_eq!(last.status, 201, "{}", last.text());
    assert_eq!(last.json()["complete"], true);

    let path = format!("/api/v1/blobs/{digest}");
    let whole = fleet.ask("GET", &path, None);
    assert!(whole.body == bytes && whole.headers.contains(&format!("etag: \"{digest}\"")));
    let head = fleet.ask("HEAD", &path, None);
    assert!(head.body.is_empty() && head.headers.contains(&format!("content-length: {total}")));
    for (range, status, part) in [
        ("bytes=10-19", 206, &bytes[10..20]),
        ("bytes=-5", 206, &bytes[total - 5..]),
        ("bytes=99999999-", 416, &[][..]),
    ] {
        let token = &fleet.token;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Range: {range}\r\n\r\n"
        );
        let answer = say(&api(&fleet), &head, &[]);
        assert_eq!((answer.status, &answer.body[..]), (status, part), "{range}");
    }
}

#[test]
fn what_is_not_what_it_says_or_too_much_at_once_is_refused() {
    let fleet = Fleet::start();
    let bytes = blob(100_000);
    let other = Digest::of(b"something else");
    let wrong = put(&fleet, other, &bytes, 0, bytes.len());
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert!(wrong.text().contains("thrown away"), "{}", wrong.text());
    assert_eq!(received(&fleet, other), 0);

    let head = put_head(&fleet, &fleet.token, other, 0, 9 << 20, 9 << 20);
    let large = say(&api(&fleet), &head, &[]);
    assert!(
        large.status == 413 && large.text().contains("8 MiB"),
        "{}",
        large.text()
    );
    let head = head
        .replace("/9437184", "/999999999999")
        .replace("0-9437183", "0-99");
    let huge = say(
        &api(&fleet),
        &head.replace("Length: 9437184", "Length: 100"),
        &bytes[..100],
    );
    assert!(
        huge.status == 413 && huge.text().contains("16 GiB"),
        "{}",
        huge.text()
    );

    let viewer = fleet
        .cli(["token", "create", "--kind", "api", "--role", "viewer"])
        .done();
    let head = put_head(&fleet, viewer.out.trim(), other, 0, 10, 10);
    assert_eq!(say(&api(&fleet), &head, &bytes[..10]).status, 403);

    let artifact = |digest: Digest, size: usize| {
        format!(
            r#"{{"binary":{{"version":"9.9.9","arch":"arm","binary":{{"sha256":"{digest}","size":{size}}}}}}}"#
        )
    };
    let missing = fleet.ask("PUT", "/api/v1/artifacts", Some(&artifact(other, 10)));
    assert!(
        missing.status == 409 && missing.text().contains(&other.to_string()),
        "{}",
        missing.text()
    );
    let digest = upload(&fleet, &bytes);
    let small = fleet.ask("PUT", "/api/v1/artifacts", Some(&artifact(digest, 10)));
    assert!(
        small.status == 409 && small.text().contains("100000 bytes"),
        "{}",
        small.text()
    );
    let kept = fleet.ask(
        "PUT",
        "/api/v1/artifacts",
        Some(&artifact(digest, bytes.len())),
    );
    assert_eq!(kept.status, 204, "{}", kept.text());
    let all = fleet.ask("GET", "/api/v1/artifacts", None).json();
    assert_eq!(all["items"][0]["id"], "fleetctl/9.9.9/arm");
    assert_eq!(all["items"][0]["size"], 100_000);
    let which = "/api/v1/artifacts?id=fleetctl/9.9.9/arm";
    assert_eq!(fleet.ask("DELETE", which, None).status, 204);
    assert_eq!(fleet.ask("DELETE", which, None).status, 404);
}

#[test]
fn nodes_fetch_at_the_brokers_port_until_they_are_revoked() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let bytes = blob(300_000);
    let digest = upload(&fleet, &bytes);
    let (port, what) = (fleet.mqtt.local(), format!("/blobs/{digest}"));
    let whole = fetch(&port, &what, "node", &statement(&agent, 2), "");
    assert!(
        whole.status == 200 && whole.body == bytes,
        "{}",
        whole.status
    );
    let part = fetch(
        &port,
        &what,
        "node",
        &statement(&agent, 1),
        "Range: bytes=5-9\r\n",
    );
    assert_eq!((part.status, &part.body[..]), (206, &bytes[5..10]));
    let counted = |way: &str| fleet.metric(&format!("fleetctl_blob_{way}_bytes_total"));
    assert_eq!((counted("received"), counted("sent")), (300_000, 300_005));

    let refused = |password: &str, user: &str| fetch(&port, &what, user, password, "").status;
    assert_eq!(refused(&statement(&agent, 2), "node"), 401, "said before");
    let mqtt = Stolen::from(agent.data()).password(3);
    assert_eq!(refused(&mqtt, "node"), 401, "a password of MQTT");
    assert_eq!(refused(&fleet.token, "token"), 401, "an operator's token");
    assert_eq!(refused("", ""), 401);
    let missing = Digest::of(b"nobody has this");
    let missing = fetch(
        &port,
        &format!("/blobs/{missing}"),
        "node",
        &statement(&agent, 3),
        "",
    );
    assert_eq!(missing.status, 404);
    for odd in [
        "/",
        "/blobs/",
        "/blobs/sha256:00",
        "/api/v1/nodes",
        "/blobs/../admin.token",
    ] {
        assert_eq!(
            fetch(&port, odd, "node", &statement(&agent, 4), "").status,
            404,
            "{odd}"
        );
    }
    // Whatever else comes there, MQTT goes on.
    fleet.cli(["command", "ping", &agent.name]).done();

    fleet.cli(["node", "revoke", &agent.name]).done();
    wait_until("the node is cut off", || {
        fleet
            .node(&agent.name)
            .is_some_and(|n| n["approval"] == "revoked")
    });
    assert_eq!(refused(&statement(&agent, 5), "node"), 401);
}

#[test]
fn messages_are_not_kept_waiting_by_eight_downloads() {
    let fleet = Fleet::start();
    let agents = [fleet.agent("a").start(), fleet.agent("b").start()];
    let digest = upload(&fleet, &blob(48 << 20));
    let ping = || {
        let begun = Instant::now();
        let path = format!("/api/v1/nodes/{}/command", agents[0].name);
        let answer = fleet.ask("POST", &path, Some(r#"{"command":"ping"}"#));
        assert_eq!(answer.status, 200, "{}", answer.text());
        begun.elapsed()
    };
    let quiet = (0..20).map(|_| ping()).max();
    let mut beside = Vec::new();
    let mut fetched = 0;
    let begun = Instant::now();
    thread::scope(|scope| {
        let downloads: Vec<_> = (0..8)
            .map(|n| {
                let (port, agent) = (fleet.mqtt.local(), &agents[n % 2]);
                scope.spawn(move || {
                    let said = statement(agent, n as u64);
                    fetch(&port, &format!("/blobs/{digest}"), "node", &said, "")
                        .body
                        .len()
                })
            })
            .collect();
        while downloads.iter().any(|d| !d.is_finished()) {
            beside.push(ping());
        }
        fetched = downloads
            .into_iter()
            .map(|d| d.join().expect("a download"))
            .sum();
    });
    let took = begun.elapsed();
    assert_eq!(fetched, 8 * (48 << 20), "every download is whole");
    beside.sort();
    let worst = *beside.last().expect("a ping beside");
    println!(
        "8 downloads, {} MiB/s: {} pings beside, median {:?}, worst {worst:?}; quiet, worst {quiet:?}",
        (fetched >> 20) as f64 / took.as_secs_f64(),
        beside.len(),
        beside[beside.len() / 2],
    );
    assert!(worst < Duration::from_secs(1), "{worst:?}");
}

#[test]
fn one_node_does_not_take_every_place() {
    let fleet = Fleet::start();
    let agent = fleet.agent("greedy").start();
    let digest = upload(&fleet, &blob(16 << 20));
    // Asked for, and not read.
    let hold = |count| {
        let basic = STANDARD.encode(format!("node:{}", statement(&agent, count)));
        let mut stream = TcpStream::connect(fleet.mqtt.local()).expect("a connection");
        let head = format!(
            "GET /blobs/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("a head");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    };
    let held: Vec<TcpStream> = (0..4).map(hold).collect();
    let what = format!("/blobs/{digest}");
    let fifth = fetch(
        &fleet.mqtt.local(),
        &what,
        "node",
        &statement(&agent, 10),
        "",
    );
    assert!(
        fifth.status == 429 && fifth.headers.contains("retry-after"),
        "{}",
        fifth.headers
    );
    drop(held);
    let mut count = 11;
    wait_until("there is room again", || {
        count += 1;
        let said = statement(&agent, count);
        fetch(
            &fleet.mqtt.local(),
            &what,
            "node",
            &said,
            "Range: bytes=0-9\r\n",
        )
        .status
            == 206
    });
}

#[test]
fn where_the_broker_is_not_ours_nodes_are_told_the_address_of_the_api() {
    let broker = Mosquitto::start();
    let fleet = Fleet::setup()
        .broker(&broker.url())
        .flag("--blob-url=https://fleet.example:7070/")
        .start();
    let agent = fleet.agent("board").start();
    let digest = upload(&fleet, &blob(1_000));
    let fetched = fetch(
        &api(&fleet),
        &format!("/blobs/{digest}"),
        "node",
        &statement(&agent, 1),
        "",
    );
    assert_eq!(fetched.status, 200);
    assert_eq!(
        fetch(&api(&fleet), &format!("/blobs/{digest}"), "node", "", "").status,
        401
    );
    wait_until("the node was told", || {
        let text = fs::read_to_string(agent.data().join("assignment.json")).unwrap_or_default();
        text.contains(r#""blobs":{"url":"https://fleet.example:7070","ca_sha256":""#)
    });
}

/// A clock that began at the board's start, as boards without a battery have it.
const CLOCK: &str = r#"
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    int r = syscall(SYS_clock_gettime, id, t);
    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        return syscall(SYS_clock_gettime, CLOCK_BOOTTIME, t);
    return r;
}
"#;

/// Passes connections on, and breaks each off once it has brought so many bytes back.
fn cutting_proxy(to: String, after: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = cuts.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(near), Ok(far)) = (stream, TcpStream::connect(&to)) else {
                continue;
            };
            let (mut up, mut down) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let cuts = counted.clone();
            thread::spawn(move || std::io::copy(&mut up, &mut &far));
            thread::spawn(move || {
                let passed = std::io::copy(&mut (&mut down).take(after as u64), &mut &near);
                if passed.is_ok_and(|bytes| bytes == after as u64) {
                    cuts.fetch_add(1, Ordering::Relaxed);
                }
                let _ = (near.shutdown(Shutdown::Both), down.shutdown(Shutdown::Both));
            });
        }
    });
    (port, cuts)
}

#[test]
fn a_board_in_1970_joins_and_takes_a_release_over_a_line_that_is_cut_again_and_again() {
    let port = Port::take();
    let (proxy, cuts) = cutting_proxy(port.local(), 8 << 20);
    let fleet = Fleet::setup()
        .mqtt_listen(&format!("tls://{}", port.local()))
        .flag(&format!("--advertise=127.0.0.1:{proxy}"))
        .start();
    let releases = Releases::new();
    let (source, library) = (fleet.dir().join("clock.c"), fleet.dir().join("clock.so"));
    fs::write(&source, CLOCK).expect("a source");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]);
    compiler.arg(&library).arg(&source);
    assert!(compiler.status().expect("a compiler").success());
    let preload = library.to_str().expect("a path");
    let agent = fleet.agent("old").binary(releases.installed());
    let agent = agent.variable("LD_PRELOAD", preload).start();
    agent.wait_log(&["1970-", "connected"]);

    let good = releases.good("9.0.0");
    let path = good.to_str().expect("a path");
    fleet.cli(["upgrade", "push", path]).done();
    let bytes = fs::read(&good).expect("a release");
    let kept = fleet
        .data
        .join("blobs/sha256")
        .join(Digest::of(&bytes).hex());

    // Bytes that were changed on the controller's disk are not run, and can be pushed again.
    let mut changed = bytes.clone();
    changed[1_000] ^= 1;
    fs::write(&kept, changed).expect("a changed blob");
    let quick = [
        "--min-healthy-time=300ms",
        "--healthy-deadline=30s",
        "--progress-deadline=60s",
    ];
    let upgrade = |version: &'static str| {
        let words = ["upgrade", version, "-y"];
        fleet.cli(words.iter().chain(&quick)).done();
    };
    upgrade("9.0.0");
    wait_until("the board refuses it", || {
        agent.daemon.log().contains("bytes were changed")
    });
    assert_eq!(fleet.node_state(&agent.name), "online");
    let pushed = fleet.cli(["upgrade", "push", path]).done();
    assert!(!pushed.err.contains("was there already"), "{}", pushed.err);
    // Nobody has to ask again.
    wait_until("the board runs it", || {
        let nodes = fleet.ask("GET", "/api/v1/upgrade/nodes", None).json();
        let node = &nodes["items"][0];
        node["version"] == "9.0.0" && node["presence"] == "online"
    });
    let cuts = cuts.load(Ordering::Relaxed);
    println!("{} MiB, the line was cut {cuts} times", bytes.len() >> 20);
    assert!(cuts >= bytes.len() / (8 << 20), "{cuts}");
}
