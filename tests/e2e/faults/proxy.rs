//! A middleman in front of an engine or a registry, who can be told to misbehave. The one behind
//! him is shared with other tests and never notices more than that clients come and go.
//!
//! ```text
//!          hang: nothing is passed on, connections stay; as a process that was frozen
//!   fair ─ mute: connections end, new ones are taken and never answered
//!          vanish: connections end, nobody listens, the socket is gone
//! ```

use super::wire::{Address, Listener, Wire};
use crate::e2e::harness::Port;
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two looks for a new connection.
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fair,
    Hung,
    Mute,
    Gone,
}

/// One request, and what came back.
#[derive(Debug)]
struct Talk {
    /// As in `GET /v2/`.
    request: String,
    bytes: u64,
    began: Instant,
    last: Instant,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// Bytes a second of each answer; 0: as fast as it goes.
    rate: u64,
    /// Both ends of what is open.
    open: BTreeMap<u64, [Wire; 2]>,
    /// Taken, and never answered.
    held: Vec<Wire>,
    talks: Vec<Talk>,
    next: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mood: Mood) {
        self.state().mood = mood;
        self.changed.notify_all();
    }

    /// Waits while everything stands still; `false` when the connection has been cut.
    fn may_pass(&self, id: u64) -> bool {
        let state = self.state();
        let hung = |s: &mut State| s.mood == Mood::Hung && s.open.contains_key(&id);
        let state = self.changed.wait_while(state, hung);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.open.contains_key(&id)
    }

    fn cut_all(&self) {
        let mut state = self.state();
        let held = std::mem::take(&mut state.held);
        let open = std::mem::take(&mut state.open).into_values().flatten();
        for wire in open.chain(held) {
            wire.shut(Shutdown::Both);
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// Stands between; ends with the test.
#[derive(Debug)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    here: Address,
    there: Address,
    acceptor: Option<JoinHandle<()>>,
    /// Kept from other tests, also while nobody listens on it.
    _port: Option<Port>,
}

impl Proxy {
    /// In front of an engine's socket, on a socket in `dir`.
    pub(super) fn of_socket(dir: &Path, there: &Path) -> Proxy {
        let here = Address::Unix(dir.join("engine.sock"));
        Proxy::start(here, Address::Unix(there.to_owned()), None)
    }

    /// In front of a port of loopback.
    pub(super) fn of_port(there: u16) -> Proxy {
        let port = Port::take();
        let here = Address::Tcp(port.number());
        Proxy::start(here, Address::Tcp(there), Some(port))
    }

    fn start(here: Address, there: Address, port: Option<Port>) -> Proxy {
        let state = State {
            mood: Mood::Fair,
            rate: 0,
            open: BTreeMap::new(),
            held: Vec::new(),
            talks: Vec::new(),
            next: 0,
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let mut proxy = Proxy {
            shared: Arc::new(shared),
            here,
            there,
            acceptor: None,
            _port: port,
        };
        proxy.listen();
        proxy
    }

    fn listen(&mut self) {
        let listener = self.here.listen().expect("a place to listen");
        let (shared, there) = (self.shared.clone(), self.there.clone());
        self.acceptor = Some(thread::spawn(move || accept(&shared, &listener, &there)));
    }

    /// Where it listens, for an engine's.
    pub(super) fn socket(&self) -> PathBuf {
        match &self.here {
            Address::Unix(path) => path.clone(),
            Address::Tcp(_) => panic!("it has a port, not a socket"),
        }
    }

    /// Where it listens, for a registry's.
    pub(super) fn port(&self) -> u16 {
        match &self.here {
            Address::Tcp(port) => *port,
            Address::Unix(_) => panic!("it has a socket, not a port"),
        }
    }

    /// Everything stands still; connections stay, and new ones are taken.
    pub(super) fn hang(&self) {
        self.shared.set(Mood::Hung);
    }

    /// Connections end; new ones are taken and never answered.
    pub(super) fn mute(&self) {
        self.shared.set(Mood::Mute);
        self.shared.cut_all();
    }

    /// Connections end, and nobody is there any more.
    pub(super) fn vanish(&mut self) {
        self.shared.set(Mood::Gone);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("no panic in the proxy");
        }
        self.here.clear();
        self.shared.cut_all();
    }

    /// As it should be. What stood still goes on.
    pub(super) fn fair(&mut self) {
        self.shared.set(Mood::Fair);
        // Nobody waits for an answer that will not come.
        let held = std::mem::take(&mut self.shared.state().held);
        for wire in held {
            wire.shut(Shutdown::Both);
        }
        if self.acceptor.is_none() {
            self.listen();
        }
    }

    /// Bytes a second of each answer from now on; 0: as fast as it goes.
    pub(super) fn slow(&self, rate: u64) {
        self.shared.state().rate = rate;
    }

    /// Bytes of answers to requests that contain `words`.
    pub(super) fn passed(&self, words: &str) -> u64 {
        let state = self.shared.state();
        let asked = state.talks.iter().filter(|t| t.request.contains(words));
        asked.map(|t| t.bytes).sum()
    }

    /// When the first request that contains `words` came, and the last byte for one.
    pub(super) fn span(&self, words: &str) -> Option<(Instant, Instant)> {
        let state = self.shared.state();
        let asked = || state.talks.iter().filter(|t| t.request.contains(words));
        let began = asked().map(|t| t.began).min()?;
        Some((began, asked().map(|t| t.last).max()?))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Mood::Gone);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.cut_all();
    }
}

/// Takes connections until the mood is [`Mood::Gone`].
fn accept(shared: &Arc<Shared>, listener: &Listener, there: &Address) {
    loop {
        let mood = shared.state().mood;
        if mood == Mood::Gone {
            return;
        }
        match listener.accept() {
            Ok(wire) if mood == Mood::Mute => shared.state().held.push(wire),
            // One that cannot be passed on ends.
            Ok(wire) => {
                let _ = join(shared, wire, there);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL),
            Err(_) => {}
        }
    }
}

/// Passes on in both directions, each in a thread of its own.
fn join(shared: &Arc<Shared>, client: Wire, there: &Address) -> std::io::Result<()> {
    let server = there.connect()?;
    let ends = [client.twin()?, server.twin()?];
    let (to_client, to_server) = (client.twin()?, server.twin()?);
    let id = {
        let mut state = shared.state();
        state.next += 1;
        let id = state.next;
        state.open.insert(id, ends);
        id
    };
    let current = Arc::new(Mutex::new(None));
    let asking = Pump {
        shared: shared.clone(),
        id,
        current: current.clone(),
    };
    let answering = Pump {
        shared: shared.clone(),
        id,
        current,
    };
    let asks = thread::spawn(move || asking.run(client, to_server, Pump::note_request));
    thread::spawn(move || {
        answering.run(server, to_client, Pump::note_answer);
        let _ = asks.join();
        answering.shared.state().open.remove(&id);
    });
    Ok(())
}

/// One direction of one connection.
struct Pump {
    shared: Arc<Shared>,
    id: u64,
    /// Which of the talks it is at.
    current: Arc<Mutex<Option<usize>>>,
}

impl Pump {
    fn run(&self, mut from: Wire, mut to: Wire, note: fn(&Pump, &[u8]) -> Duration) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if !self.shared.may_pass(self.id) {
                break;
            }
            let wait = note(self, &buffer[..n]);
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
            thread::sleep(wait);
        }
        // The other direction may have something to say yet.
        to.shut(Shutdown::Write);
    }

    /// A request comes in a piece of its own, since nobody sends the next before the answer.
    fn note_request(&self, piece: &[u8]) -> Duration {
        let line = piece.split(|b| *b == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE "];
        if methods.iter().any(|m| line.starts_with(m)) {
            let now = Instant::now();
            let mut state = self.shared.state();
            state.talks.push(Talk {
                request: line.into_owned(),
                bytes: 0,
                began: now,
                last: now,
            });
            let at = state.talks.len() - 1;
            *self.current() = Some(at);
        }
        Duration::ZERO
    }

    /// How long to wait for the sake of the rate.
    fn note_answer(&self, piece: &[u8]) -> Duration {
        let at = *self.current();
        let mut state = self.shared.state();
        let bytes = piece.len() as u64;
        if let Some(talk) = at.and_then(|at| state.talks.get_mut(at)) {
            talk.bytes += bytes;
            talk.last = Instant::now();
        }
        match state.rate {
            0 => Duration::ZERO,
            rate => Duration::from_micros(bytes * 1_000_000 / rate),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<usize>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
