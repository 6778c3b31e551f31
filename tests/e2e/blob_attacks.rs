//! Where bytes come and go: those who have no business there, and what is meant to do harm.

use super::{
    blobs::{api, blob, fetch, put_head, received, say, statement, upload},
    harness::{Fleet, wait_until},
};
use fleetctl::model::Digest;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

/// Connections that say this and stay.
fn crowd(address: &str, count: usize, says: &str) -> Vec<TcpStream> {
    let enter = |_| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        // One that was closed at once is no mistake of ours.
        let _ = stream.write_all(says.as_bytes());
        stream
    };
    (0..count).map(enter).collect()
}

/// Of these, those that the other side has not closed.
fn open(crowd: &[TcpStream]) -> usize {
    let is_open = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).expect("not waiting");
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    };
    crowd.iter().filter(|stream| is_open(stream)).count()
}

#[test]
fn a_crowd_without_a_statement_keeps_no_node_from_its_blob_and_none_from_mqtt() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let bytes = blob(300_000);
    let digest = upload(&fleet, &bytes);
    let (port, what) = (fleet.mqtt.local(), format!("/blobs/{digest}"));
    let mut count = 1;
    let mut fetches = || {
        count += 1;
        let answer = fetch(&port, &what, "node", &statement(&agent, count), "");
        assert!(
            answer.status == 200 && answer.body == bytes,
            "{}",
            answer.status
        );
    };
    // Answered, and asking again; the path is none, or there is no statement.
    let asks = "GET /blobs/x HTTP/1.1\r\nHost: x\r\n\r\n";
    let begs = format!("GET {what} HTTP/1.1\r\nHost: x\r\n\r\n");
    for says in [asks, &begs] {
        let answered = crowd(&port, 70, says);
        fetches();
        wait_until("who was refused is closed", || open(&answered) == 0);
    }
    // Never at the end of a question.
    let asking = crowd(&port, 400, "GET /blobs/x HTTP/1.1\r\nX: ");
    wait_until("most of them have gone", || open(&asking) <= 16);
    fetches();
    let newcomer = fleet.agent("newcomer").start();
    fleet.cli(["command", "ping", &newcomer.name]).done();
    wait_until("none of them is left", || open(&asking) == 0);
}

#[test]
fn odd_ranges_and_digests_are_refused_and_nothing_else_happens() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let bytes = blob(1_000);
    let digest = upload(&fleet, &bytes);
    let port = fleet.mqtt.local();
    let mut count = 1;
    let mut ask = |what: &str, more: &str| {
        count += 1;
        fetch(&port, what, "node", &statement(&agent, count), more)
    };
    let what = format!("/blobs/{digest}");
    for (range, status) in [
        ("Range: bytes=18446744073709551615-\r\n", 416),
        ("Range: bytes=99999999999999999999-\r\n", 416),
        ("Range: bytes=-0\r\n", 416),
        ("Range: bytes=990-99999999999999999999\r\n", 206),
        ("Range: bytes=0-1\r\nRange: bytes=5-6\r\n", 400),
    ] {
        assert_eq!(ask(&what, range).status, status, "{range}");
    }
    let upper = what
        .to_uppercase()
        .replace("/BLOBS/SHA256", "/blobs/sha256");
    assert_eq!(ask(&upper, "").status, 404);
    let path = format!("/api/v1{upper}");
    assert_eq!(fleet.ask("GET", &path, None).status, 400);

    let other = Digest::of(b"0123456789");
    let put = |piece: &str| {
        let head = put_head(&fleet, &fleet.token, other, 0, 5, 10);
        let head = head.replace("Content-Range: bytes 0-4/10", piece);
        say(&api(&fleet), &head, b"01234")
    };
    let twice = "Content-Range: bytes 0-4/10\r\nContent-Range: bytes 0-4/11";
    for (piece, status) in [
        (twice, 400),
        ("Content-Range: bytes 0-4/99999999999999999999", 400),
        ("Content-Range: bytes 0-18446744073709551615/10", 400),
        ("Content-Range: bytes 0-4/1000000000000000000", 413),
    ] {
        assert_eq!(put(piece).status, status, "{piece}");
    }
    assert_eq!(received(&fleet, other), 0);
    assert_eq!(put("Content-Range: bytes 0-4/10").status, 200);
    let longer = put("Content-Range: bytes 5-9/11");
    assert!(
        longer.status == 409 && longer.text().contains("10 bytes in all"),
        "{}",
        longer.text()
    );
    assert_eq!(ask(&what, "").body, bytes);
}
