//! Asking who announces `_fleetctl._tcp.local`.

use super::{
    SERVICE,
    fair::Kept,
    interfaces::{interfaces, own_socket, send},
    wire::{Data, MAX_PACKET, Message, PTR, Question},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::time::{self, Instant};

/// Answers to our question in one look; the rest is not read. Above what comes in that time in an
/// honest network, and so much that a liar has to keep the network busy to be in front of everybody.
const MAX_ANSWERS: usize = 16_384;
/// Packets that are no answer to it: of them only the beginning is looked at.
const MAX_STRAY: usize = 262_144;
/// Brokers in one answer.
const MAX_PER_ANSWER: usize = 4;
/// The longest word of a text that is kept, characters.
const MAX_WORD: usize = 64;
/// When the question is put once more.
const ASK_AGAIN: Duration = Duration::from_millis(700);

/// Somebody who says that a broker of a fleet is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Asks in every network of this machine and listens for `window`; by name.
///
/// # Errors
/// No socket is to be had.
pub async fn browse(window: Duration) -> io::Result<Vec<Found>> {
    Ok(look(window, |_| true).await?.by_name())
}

/// The same for what is `wanted`, in the order to try it: no sender before the others, and another
/// order each time.
///
/// # Errors
/// No socket is to be had.
pub async fn search(window: Duration, wanted: impl Fn(&Found) -> bool) -> io::Result<Vec<Found>> {
    Ok(look(window, wanted).await?.in_turn())
}

async fn look(window: Duration, wanted: impl Fn(&Found) -> bool) -> io::Result<Kept> {
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
    let (mut answers, mut stray) = (0, 0);
    // Not the number in the question, which liars see.
    let mut kept = Kept::new(crate::support::clock::seed());
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let now = Instant::now();
        if now >= end || answers >= MAX_ANSWERS || stray >= MAX_STRAY {
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
        let sender = received.map(|(length, from)| (length, from.ip()));
        let (packet, sender) = match sender {
            Ok((length, IpAddr::V4(sender))) => (&buffer[..length], sender),
            _ => {
                stray += 1;
                continue;
            }
        };
        if !answers_to(packet, question.id) {
            stray += 1;
            continue;
        }
        answers += 1;
        if let Some(answer) = Message::read(packet) {
            let all = read(&answer, sender).into_iter();
            all.filter(|f| wanted(f)).for_each(|f| kept.take(f));
        }
    }
    Ok(kept)
}

/// By its head alone: an answer to the question of this number.
fn answers_to(packet: &[u8], id: u16) -> bool {
    packet.starts_with(&id.to_be_bytes()) && packet.get(2).is_some_and(|flags| flags & 0x80 != 0)
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
        if *port == 0 || found.len() >= MAX_PER_ANSWER {
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
    fn an_answer_of_many_brokers_is_read_for_a_few_and_its_texts_are_cut() {
        let long = "x".repeat(250);
        let mut all = answer("n", 1, &[("fleet", &long)]);
        for n in 0..20 {
            let more = answer(&format!("n{n}"), 1, &[("fleet", &long)]);
            all.records.extend(more.records);
        }
        let found = read(&all, SENDER);
        assert_eq!(found.len(), MAX_PER_ANSWER);
        assert!(found.iter().all(|f| f.fleet.len() == MAX_WORD));
    }

    #[test]
    fn what_is_no_answer_to_our_question_is_told_by_its_head() {
        let mut message = answer("lab", 8883, &[]);
        message.id = 0x1234;
        let packet = message.write(false);
        assert!(answers_to(&packet, 0x1234));
        assert!(!answers_to(&packet, 0x1235));
        assert!(!answers_to(&packet[..2], 0x1234));
        message.response = false;
        assert!(!answers_to(&message.write(false), 0x1234));
    }
}
