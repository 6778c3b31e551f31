//! What no controller of a test has: ten thousand nodes, ten thousand events a second.
//!
//! A server in front of a real controller. It answers for the nodes (and, if wanted, for the events)
//! itself, in the API's own form; everything else, the page included, it passes through.

use crate::e2e::harness::Fleet;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Bytes of a request before its body.
const MAX_HEAD: u64 = 64 << 10;
/// Between two writes of events.
const BEAT: Duration = Duration::from_millis(20);

/// What is answered here.
#[derive(Debug)]
struct Given {
    upstream: String,
    /// In the order of their names.
    nodes: Vec<Value>,
    events_per_second: u64,
    ended: AtomicBool,
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub struct Feed {
    address: SocketAddr,
    given: Arc<Given>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Before `fleet`; with no events of its own it passes the controller's through.
    pub fn start(fleet: &Fleet, mut nodes: Vec<Value>, events_per_second: u64) -> Feed {
        nodes.sort_by_key(|n| name(n).to_owned());
        let upstream = fleet.origin();
        let given = Arc::new(Given {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            nodes,
            events_per_second,
            ended: AtomicBool::new(false),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let serving = Arc::clone(&given);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::Relaxed) {
                    break;
                }
                let given = Arc::clone(&serving);
                // Whoever hangs up ends only its own connection.
                thread::spawn(move || drop(given.serve(stream)));
            }
        });
        Feed {
            address,
            given,
            thread: Some(thread),
        }
    }

    /// As in `http://127.0.0.1:7070`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.given.ended.store(true, Ordering::Relaxed);
        // So that it looks.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn name(node: &Value) -> &str {
    node["name"].as_str().unwrap_or_default()
}

impl Given {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?.take(MAX_HEAD));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let node = path.strip_prefix("/api/v1/nodes/");
        let node = node.and_then(|n| self.nodes.iter().find(|node| name(node) == n));
        match (method, path, node) {
            (Some("GET"), "/api/v1/nodes", _) => answer(&mut stream, &self.page(query)),
            (Some("GET"), _, Some(node)) => answer(&mut stream, node),
            (Some("GET"), "/api/v1/events", _) if self.events_per_second > 0 => {
                self.flood(&mut stream)
            }
            _ => self.pass(&head, reader.buffer(), stream),
        }
    }

    /// A page of the list, as the controller makes it.
    fn page(&self, query: &str) -> Value {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
            pairs.find(|(k, _)| *k == key).map(|(_, v)| v)
        };
        let after = value("after").unwrap_or_default();
        let limit = value("limit").and_then(|l| l.parse().ok()).unwrap_or(1000);
        let first = self.nodes.partition_point(|n| name(n) <= after);
        let items = &self.nodes[first..self.nodes.len().min(first + limit)];
        let last = items.last().filter(|_| first + limit < self.nodes.len());
        json!({"items": items, "next": last.map(name)})
    }

    fn flood(&self, stream: &mut TcpStream) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        let beats = u64::try_from(1000 / BEAT.as_millis()).expect("a few");
        // Higher than what the controller has told before.
        let mut id = now_ms();
        while !self.ended.load(Ordering::Relaxed) {
            let mut text = String::new();
            for _ in 0..self.events_per_second / beats {
                id += 1;
                let node = &self.nodes[usize::try_from(id).unwrap_or(0) % self.nodes.len()];
                let event = json!({"id": id, "event": {"at": now_ms(), "event": "node_online",
                    "node": name(node), "message": format!("flood {id}")}});
                text += &format!("id: {id}\ndata: {event}\n\n");
            }
            stream.write_all(text.as_bytes())?;
            thread::sleep(BEAT);
        }
        Ok(())
    }

    /// To the controller and back; one request a connection.
    fn pass(&self, head: &str, begun: &[u8], mut stream: TcpStream) -> io::Result<()> {
        let mut upstream = TcpStream::connect(&self.upstream)?;
        let kept = head
            .lines()
            .filter(|l| !l.is_empty() && !l.to_lowercase().starts_with("connection:"));
        let mut request: String = kept.map(|line| format!("{line}\r\n")).collect();
        request += "Connection: close\r\n\r\n";
        upstream.write_all(request.as_bytes())?;
        upstream.write_all(begun)?;
        let (mut from, mut to) = (stream.try_clone()?, upstream.try_clone()?);
        let up = thread::spawn(move || drop(io::copy(&mut from, &mut to)));
        let down = io::copy(&mut upstream, &mut stream);
        // Either end is the end of both.
        let _ = stream.shutdown(Shutdown::Both);
        let _ = upstream.shutdown(Shutdown::Both);
        let _ = up.join();
        down.map(|_| ())
    }
}

fn answer(stream: &mut TcpStream, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.expect("a clock behind 1970").as_millis();
    u64::try_from(ms).expect("a time of this age")
}

/// So many nodes like this one, each with a name, labels, a state and measurements of its own.
pub fn many(like: &Value, count: u64) -> Vec<Value> {
    let now = now_ms();
    let one = |i: u64| {
        let mut node = like.clone();
        node["name"] = json!(format!("board-{i:05}"));
        let state = match i {
            _ if i % 997 == 5 => "offline",
            _ if i % 501 == 7 => "silent",
            _ => "online",
        };
        node["state"] = json!(state);
        node["since_ms"] = json!(now - (i % 5_000) * 60_000);
        node["labels"] = json!({"zone": format!("hall-{}", i % 24), "rack": format!("r{}", i % 7)});
        node["instances"] = json!(3);
        node["running"] = json!(if state == "online" { 3 } else { 0 });
        let beat = &mut node["heartbeat"];
        beat["cpu"] = json!((i * 7) % 61 + 3);
        beat["memory"] = json!((i * 13) % 70 + 15);
        beat["disk"] = json!((i * 3) % 70 + 15);
        beat["temperature"] = json!(38 + (i * 11) % 30);
        beat["heard_ms"] = json!(now);
        node
    };
    (0..count).map(one).collect()
}
