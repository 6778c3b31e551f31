//! Answering who asks for `_fleetctl._tcp.local`.

use super::{
    PORT, SERVICE, TYPES,
    interfaces::{Interface, group_socket, interfaces, join, send},
    wire::{A, ANY, Data, MAX_PACKET, Message, PTR, Question, Record, SRV, TXT},
};
use crate::support::Shutdown;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    time::{self, Instant},
};

/// How long others may remember, seconds.
const TTL: u32 = 120;
/// The same for who asks from a port of its own, and cannot be told that it changed.
const SHORT_TTL: u32 = 10;
/// How often new networks are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two answers to everybody in one network (RFC 6762, section 6).
const QUIET: Duration = Duration::from_secs(1);
/// Answers to single askers in one second: nobody is to be flooded by way of us.
const MAX_UNICAST: u32 = 50;

/// What is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Name of this machine.
    pub host: String,
    /// [`super::fleet_print`].
    pub fleet: String,
    /// Of the broker.
    pub port: u16,
    /// TLS is spoken there.
    pub tls: bool,
}

impl Announcement {
    /// One label: letters, digits and `-`.
    fn label(&self) -> String {
        let host: String = self
            .host
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect();
        let fleet = self.fleet.get(..8).unwrap_or(&self.fleet);
        format!("{host}-{fleet}-{}", self.port).to_ascii_lowercase()
    }

    fn instance(&self) -> String {
        format!("{}.{SERVICE}", self.label())
    }

    /// Not the machine's own name, which somebody else may answer for.
    fn target(&self) -> String {
        format!("fleetctl-{}.local", self.label())
    }

    fn records(&self, address: Ipv4Addr, ttl: u32) -> Vec<Record> {
        let record = |name: String, data| Record { name, ttl, data };
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        vec![
            record(SERVICE.to_owned(), Data::Ptr(self.instance())),
            record(
                self.instance(),
                Data::Srv {
                    port: self.port,
                    target: self.target(),
                },
            ),
            record(
                self.instance(),
                Data::Txt(vec![
                    text("fleet", &self.fleet),
                    text("version", crate::support::release::version()),
                    text("tls", if self.tls { "1" } else { "0" }),
                ]),
            ),
            record(self.target(), Data::A(address)),
        ]
    }

    /// `None`: it is not about us.
    fn answer(&self, query: &Message, address: Ipv4Addr, short: bool) -> Option<Message> {
        let ttl = if short { SHORT_TTL } else { TTL };
        let asks = |q: &Question, name: &str, kinds: &[u16]| {
            q.name == name && (q.kind == ANY || kinds.contains(&q.kind))
        };
        let ours = |q: &&Question| {
            asks(q, SERVICE, &[PTR])
                || asks(q, &self.instance(), &[SRV, TXT])
                || asks(q, &self.target(), &[A])
        };
        let types = |q: &&Question| asks(q, TYPES, &[PTR]);
        let records = if query.questions.iter().any(|q| ours(&q)) {
            self.records(address, ttl)
        } else if query.questions.iter().any(|q| types(&q)) {
            vec![Record {
                name: TYPES.to_owned(),
                ttl,
                data: Data::Ptr(SERVICE.to_owned()),
            }]
        } else {
            return None;
        };
        // Who asks as of old wants its own words back.
        let (id, questions) = match short {
            true => (query.id, query.questions.clone()),
            false => (0, Vec::new()),
        };
        Some(Message {
            id,
            response: true,
            questions,
            records,
        })
    }
}

/// Announces until it is asked to stop, and then says good-bye.
///
/// # Errors
/// The port cannot be had.
pub async fn announce(what: Announcement, shutdown: Shutdown) -> io::Result<()> {
    let socket = group_socket()?;
    let mut responder = Responder {
        what,
        socket,
        interfaces: Vec::new(),
        told: BTreeMap::new(),
        second: Instant::now(),
        answered: 0,
    };
    let mut look = time::interval(LOOK_EVERY);
    let mut packet = vec![0; MAX_PACKET];
    // Once more after a second: the first may have been lost.
    let again = time::sleep(QUIET);
    tokio::pin!(again);
    let mut said_again = false;
    loop {
        tokio::select! {
            () = shutdown.wait() => {
                responder.tell_everybody(0).await;
                return Ok(());
            }
            _ = look.tick() => responder.look().await,
            () = &mut again, if !said_again => {
                said_again = true;
                responder.tell_everybody(TTL).await;
            }
            heard = responder.socket.recv_from(&mut packet) => match heard {
                Ok((length, from)) => responder.heard(&packet[..length], from).await,
                // Of somebody who went away; a port that fails for good must not spin.
                Err(error) => {
                    tracing::debug!(%error, "mdns cannot be heard just now");
                    time::sleep(QUIET).await;
                }
            }
        }
    }
}

struct Responder {
    what: Announcement,
    socket: UdpSocket,
    interfaces: Vec<Interface>,
    /// When everybody in a network was last answered.
    told: BTreeMap<Ipv4Addr, Instant>,
    second: Instant,
    /// Single askers in this second.
    answered: u32,
}

impl Responder {
    /// Networks come and go.
    async fn look(&mut self) {
        let found = interfaces();
        self.told
            .retain(|a, _| found.iter().any(|i| i.address == *a));
        for interface in &found {
            if !self.interfaces.contains(interface) {
                join(&self.socket, interface);
                self.tell(interface, TTL).await;
            }
        }
        self.interfaces = found;
    }

    async fn tell_everybody(&self, ttl: u32) {
        for interface in &self.interfaces {
            self.tell(interface, ttl).await;
        }
    }

    async fn tell(&self, interface: &Interface, ttl: u32) {
        let message = Message {
            response: true,
            records: self.what.records(interface.address, ttl),
            ..Message::default()
        };
        send(&self.socket, interface, &message.write(true)).await;
    }

    async fn heard(&mut self, packet: &[u8], from: SocketAddr) {
        let IpAddr::V4(source) = from.ip() else {
            return;
        };
        // Only neighbours: an address from elsewhere may be anybody's.
        let here = self.interfaces.iter().find(|i| i.has(source)).copied();
        let (Some(here), Some(query)) = (here, Message::read(packet)) else {
            return;
        };
        if query.response {
            return;
        }
        let legacy = from.port() != PORT;
        let Some(answer) = self.what.answer(&query, here.address, legacy) else {
            return;
        };
        if legacy || query.questions.iter().all(|q| q.unicast) {
            if self.may_answer() {
                let _ = self.socket.send_to(&answer.write(!legacy), from).await;
            }
            return;
        }
        let now = Instant::now();
        let last = self.told.insert(here.address, now);
        match last.filter(|last| now.duration_since(*last) < QUIET) {
            None => send(&self.socket, &here, &answer.write(true)).await,
            Some(last) => {
                self.told.insert(here.address, last);
            }
        }
    }

    fn may_answer(&mut self) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.answered = 0;
        }
        self.answered += 1;
        self.answered <= MAX_UNICAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what() -> Announcement {
        Announcement {
            host: "Control.lab".into(),
            fleet: "0123456789abcdef0123456789abcdef".into(),
            port: 8883,
            tls: true,
        }
    }

    fn query(name: &str, kind: u16) -> Message {
        Message {
            id: 9,
            questions: vec![Question {
                name: name.into(),
                kind,
                unicast: false,
            }],
            ..Message::default()
        }
    }

    #[test]
    fn it_answers_for_itself_only() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let instance = "control-lab-01234567-8883._fleetctl._tcp.local";
        for (name, kind, answered) in [
            (SERVICE, PTR, 4),
            (SERVICE, ANY, 4),
            (SERVICE, SRV, 0),
            (instance, SRV, 4),
            (instance, TXT, 4),
            ("fleetctl-control-lab-01234567-8883.local", A, 4),
            (TYPES, PTR, 1),
            ("_http._tcp.local", PTR, 0),
            ("control.local", A, 0),
        ] {
            let answer = what().answer(&query(name, kind), address, false);
            let records = answer.map_or(0, |a| a.records.len());
            assert_eq!(records, answered, "{name} {kind}");
        }
    }

    #[test]
    fn who_asks_from_a_port_of_its_own_gets_its_question_back_and_short_memory() {
        let asked = query(SERVICE, PTR);
        let answer = what()
            .answer(&asked, Ipv4Addr::LOCALHOST, true)
            .expect("an answer");
        assert_eq!((answer.id, &answer.questions), (9, &asked.questions));
        assert!(answer.records.iter().all(|r| r.ttl == SHORT_TTL));
    }
}
