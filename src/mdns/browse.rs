//! Asking who announces `_fleetctl._tcp.local`.

use super::{
    SERVICE,
    interfaces::{interfaces, own_socket, send},
    wire::{Data, MAX_PACKET, Message, PTR, Question},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::time::{self, Instant};

/// Packets of one look; the rest is not read.
const MAX_PACKETS: usize = 512;
/// Answers that are kept.
const MAX_FOUND: usize = 64;
/// Of one sender: whoever answers for many is not believed more than others.
const MAX_PER_SENDER: usize = 4;
/// The longest word of a text that is kept, characters.
const MAX_WORD: usize = 64;
/// When the question is put once more.
const ASK_AGAIN: Duration = Duration::from_millis(700);

/// Somebody who says that a broker of a fleet is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// What it calls itself.
    pub name: String,
    /// Where the answer came from.
    pub address: Ipv4Addr,
    /// Where it says it is, when that is elsewhere.
    pub other: Option<Ipv4Addr>,
    /// Of the broker.
    pub port: u16,
    /// The fleet that it says it belongs to: [`super::fleet_print`].
    pub fleet: String,
    /// Its version.
    pub version: String,
    /// TLS is spoken there.
    pub tls: bool,
}

/// Asks in every network of this machine and listens for `window`; sorted.
///
/// # Errors
/// No socket is to be had.
pub async fn browse(window: Duration) -> io::Result<Vec<Found>> {
    let socket = own_socket()?;
    let networks = interfaces();
    let question = Message {
        id: u16::try_from(crate::support::clock::seed() & 0xffff).unwrap_or(0),
        questions: vec![Question {
            name: SERVICE.to_owned(),
            kind: PTR,
            unicast: true,
        }],
        ..Message::default()
    };
    let packet = question.write(false);
    let end = Instant::now() + window;
    let mut next_ask = Instant::now();
    let mut asked = 0;
    let mut heard = 0;
    let mut found: Vec<Found> = Vec::new();
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let now = Instant::now();
        if now >= end || heard >= MAX_PACKETS {
            break;
        }
        if asked < 2 && now >= next_ask {
            for network in &networks {
                send(&socket, network, &packet).await;
            }
            asked += 1;
            next_ask = now + ASK_AGAIN;
        }
        let until = if asked < 2 { next_ask.min(end) } else { end };
        let Ok(received) = time::timeout_at(until, socket.recv_from(&mut buffer)).await else {
            continue;
        };
        heard += 1;
        let Ok((length, from)) = received else {
            continue;
        };
        let IpAddr::V4(sender) = from.ip() else {
            continue;
        };
        let Some(answer) = Message::read(&buffer[..length]) else {
            continue;
        };
        if answer.response && answer.id == question.id {
            take(&mut found, read(&answer, sender));
        }
    }
    found.sort();
    Ok(found)
}

fn take(found: &mut Vec<Found>, new: Vec<Found>) {
    for one in new {
        let of_sender = found.iter().filter(|f| f.address == one.address).count();
        if found.len() < MAX_FOUND && of_sender < MAX_PER_SENDER && !found.contains(&one) {
            found.push(one);
        }
    }
}

/// Everything of one answer that is whole.
fn read(answer: &Message, sender: Ipv4Addr) -> Vec<Found> {
    let end = format!(".{SERVICE}");
    let mut found = Vec::new();
    for record in &answer.records {
        let (Data::Srv { port, target }, Some(label)) =
            (&record.data, record.name.strip_suffix(&end))
        else {
            continue;
        };
        if *port == 0 || found.len() >= MAX_PER_SENDER {
            continue;
        }
        let texts = answer.records.iter().find_map(|r| match &r.data {
            Data::Txt(texts) if r.name == record.name => Some(texts),
            _ => None,
        });
        let word = |key: &str| {
            let texts = texts.into_iter().flatten();
            let value = texts.filter(|(k, _)| k == key).map(|(_, v)| v).next();
            value.map(|v| v.chars().take(MAX_WORD).collect::<String>())
        };
        let other = answer.records.iter().find_map(|r| match r.data {
            Data::A(address) if r.name == *target && address != sender => Some(address),
            _ => None,
        });
        found.push(Found {
            name: label.chars().take(MAX_WORD).collect(),
            address: sender,
            other,
            port: *port,
            fleet: word("fleet").unwrap_or_default(),
            version: word("version").unwrap_or_default(),
            tls: word("tls").is_none_or(|tls| tls != "0"),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::wire::Record;
    use super::*;

    const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    fn answer(name: &str, port: u16, texts: &[(&str, &str)]) -> Message {
        let name = format!("{name}.{SERVICE}");
        let record = |data| Record {
            name: name.clone(),
            ttl: 10,
            data,
        };
        let target = "a.local".to_owned();
        let texts = texts
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Message {
            response: true,
            records: vec![
                record(Data::Srv { port, target }),
                record(Data::Txt(texts.collect())),
            ],
            ..Message::default()
        }
    }

    #[test]
    fn an_answer_says_who_and_where() {
        let found = read(
            &answer("lab", 8883, &[("fleet", "f"), ("version", "1")]),
            SENDER,
        );
        let [one] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((one.name.as_str(), one.port, one.tls), ("lab", 8883, true));
        assert_eq!((one.address, one.fleet.as_str()), (SENDER, "f"));
        assert_eq!(read(&answer("lab", 0, &[]), SENDER), []);
    }

    #[test]
    fn a_sender_of_thousands_of_answers_is_taken_for_a_few() {
        let mut found = Vec::new();
        let long = "x".repeat(250);
        for i in 0..5_000_u32 {
            let message = answer(&format!("n{i}"), 1, &[("fleet", &long)]);
            take(&mut found, read(&message, SENDER));
        }
        assert_eq!(found.len(), MAX_PER_SENDER);
        assert!(found.iter().all(|f| f.fleet.len() <= MAX_WORD));
        for i in 0..5_000_u32 {
            let from = Ipv4Addr::from_bits(i);
            take(&mut found, read(&answer("n", 1, &[]), from));
        }
        assert_eq!(found.len(), MAX_FOUND);
    }
}
