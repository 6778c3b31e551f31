//! DNS messages, as far as they are needed, and with a limit on everything.

use std::net::Ipv4Addr;

/// The largest packet that is read or written, bytes (RFC 6762, section 17).
pub(super) const MAX_PACKET: usize = 9_000;
const MAX_QUESTIONS: usize = 32;
const MAX_RECORDS: usize = 128;
/// Of a name with its dots, bytes.
const MAX_NAME: usize = 255;
/// Pointers that one name may follow.
const MAX_JUMPS: usize = 8;
/// Strings of one text record that are looked at.
const MAX_TEXTS: usize = 16;

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const TXT: u16 = 16;
pub(super) const SRV: u16 = 33;
pub(super) const ANY: u16 = 255;
const INTERNET: u16 = 1;
/// Of a class: in a question "answer me alone", in a record "forget what you knew".
const TOP_BIT: u16 = 0x8000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Lower case, without the last dot.
    pub(super) name: String,
    pub(super) kind: u16,
    /// The answer is wanted by the asker alone.
    pub(super) unicast: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Ptr(String),
    Srv { port: u16, target: String },
    Txt(Vec<(String, String)>),
    A(Ipv4Addr),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Lower case, without the last dot.
    pub(super) name: String,
    /// Seconds; 0: it is gone.
    pub(super) ttl: u32,
    pub(super) data: Data,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) response: bool,
    pub(super) questions: Vec<Question>,
    /// Answers and what was added to them.
    pub(super) records: Vec<Record>,
}

impl Message {
    /// `None`: no message, or one beyond what is sensible.
    pub(super) fn read(packet: &[u8]) -> Option<Message> {
        if packet.len() > MAX_PACKET {
            return None;
        }
        let mut r = Reader { packet, at: 0 };
        let (id, flags) = (r.u16()?, r.u16()?);
        let counts = [r.u16()?, r.u16()?, r.u16()?, r.u16()?].map(usize::from);
        let records: usize = counts[1..].iter().sum();
        if counts[0] > MAX_QUESTIONS || records > MAX_RECORDS {
            return None;
        }
        let mut message = Message {
            id,
            response: flags & 0x8000 != 0,
            ..Message::default()
        };
        for _ in 0..counts[0] {
            let (name, kind, class) = (r.name()?, r.u16()?, r.u16()?);
            message.questions.push(Question {
                name,
                kind,
                unicast: class & TOP_BIT != 0,
            });
        }
        for _ in 0..records {
            message.records.push(r.record()?);
        }
        Some(message)
    }

    /// `flush`: who hears it forgets older records of these names.
    pub(super) fn write(&self, flush: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        // An answer is authoritative.
        let flags = if self.response { 0x8400 } else { 0 };
        let head = [
            self.id,
            flags,
            count(self.questions.len()),
            count(self.records.len()),
            0,
            0,
        ];
        head.into_iter().for_each(|word| push(&mut out, word));
        for q in &self.questions {
            push_name(&mut out, &q.name);
            push(&mut out, q.kind);
            push(&mut out, INTERNET | if q.unicast { TOP_BIT } else { 0 });
        }
        for record in &self.records {
            record.write(&mut out, flush);
        }
        out
    }
}

impl Record {
    fn write(&self, out: &mut Vec<u8>, flush: bool) {
        let kind = match &self.data {
            Data::Ptr(_) => PTR,
            Data::Srv { .. } => SRV,
            Data::Txt(_) => TXT,
            Data::A(_) => A,
            Data::Other => return,
        };
        push_name(out, &self.name);
        push(out, kind);
        // Others may point at the same type of service: a pointer is never theirs to forget.
        let flush = flush && kind != PTR;
        push(out, INTERNET | if flush { TOP_BIT } else { 0 });
        out.extend_from_slice(&self.ttl.to_be_bytes());
        let mut data = Vec::new();
        match &self.data {
            Data::Ptr(name) => push_name(&mut data, name),
            Data::Srv { port, target } => {
                [0, 0, *port].into_iter().for_each(|w| push(&mut data, w));
                push_name(&mut data, target);
            }
            Data::Txt(texts) => {
                for (key, value) in texts {
                    let text = format!("{key}={value}");
                    let bytes = &text.as_bytes()[..text.len().min(255)];
                    data.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
                    data.extend_from_slice(bytes);
                }
            }
            Data::A(address) => data.extend_from_slice(&address.octets()),
            Data::Other => {}
        }
        push(out, u16::try_from(data.len()).unwrap_or(0));
        out.extend_from_slice(&data);
    }
}

fn push(out: &mut Vec<u8>, word: u16) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// Without compression: what is written here is small.
fn push_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let bytes = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(bytes.len()).unwrap_or(63));
        out.extend_from_slice(bytes);
    }
    out.push(0);
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// In lower case; bytes that have no business in a name become `?`.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut jumps = 0;
        // Where reading goes on after the first pointer.
        let mut back = None;
        loop {
            let length = usize::from(self.take(1)?[0]);
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(length)?;
                    if name.len() + length + 1 > MAX_NAME {
                        return None;
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|b| match b {
                        b'.' => '?',
                        0x21..=0x7e => char::from(b.to_ascii_lowercase()),
                        b' ' => '-',
                        _ => '?',
                    }));
                }
                0xc0..=0xff => {
                    let low = usize::from(self.take(1)?[0]);
                    let target = (length & 0x3f) << 8 | low;
                    jumps += 1;
                    // Backwards only, so that there can be no circle.
                    if target + 2 > self.at || jumps > MAX_JUMPS {
                        return None;
                    }
                    back.get_or_insert(self.at);
                    self.at = target;
                }
                _ => return None,
            }
        }
        if let Some(back) = back {
            self.at = back;
        }
        Some(name)
    }

    fn record(&mut self) -> Option<Record> {
        let (name, kind, _class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl = self.take(4)?;
        let ttl = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length)?;
        if end > self.packet.len() {
            return None;
        }
        let data = match kind {
            PTR => self.name().map(Data::Ptr),
            SRV => self.srv(),
            TXT => Some(Data::Txt(texts(&self.packet[self.at..end]))),
            A => self
                .take(4)
                .map(|a| Data::A(Ipv4Addr::new(a[0], a[1], a[2], a[3]))),
            _ => Some(Data::Other),
        };
        self.at = end;
        Some(Record {
            name,
            ttl,
            data: data?,
        })
    }

    fn srv(&mut self) -> Option<Data> {
        let (_priority, _weight, port) = (self.u16()?, self.u16()?, self.u16()?);
        let target = self.name()?;
        Some(Data::Srv { port, target })
    }
}

/// `key=value` each; what is none is left out.
fn texts(mut data: &[u8]) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    while let Some((&length, rest)) = data.split_first()
        && texts.len() < MAX_TEXTS
    {
        let Some((text, rest)) = rest.split_at_checked(usize::from(length)) else {
            break;
        };
        data = rest;
        let text = std::str::from_utf8(text).ok();
        if let Some((key, value)) = text.and_then(|text| text.split_once('='))
            && !value.contains(char::is_control)
        {
            texts.push((key.to_ascii_lowercase(), value.to_owned()));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Message {
        let name = "pi-8883._fleetctl._tcp.local".to_owned();
        let record = |data| Record {
            name: name.clone(),
            ttl: 120,
            data,
        };
        Message {
            id: 7,
            response: true,
            questions: vec![Question {
                name: "_fleetctl._tcp.local".into(),
                kind: PTR,
                unicast: true,
            }],
            records: vec![
                record(Data::Ptr("a.local".into())),
                record(Data::Srv {
                    port: 8883,
                    target: "a.local".into(),
                }),
                record(Data::Txt(vec![("fleet".into(), "abc".into())])),
                record(Data::A(Ipv4Addr::new(192, 0, 2, 1))),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for flush in [false, true] {
            assert_eq!(Message::read(&example().write(flush)), Some(example()));
        }
    }

    #[test]
    fn names_that_point_in_circles_or_forwards_are_refused() {
        let head = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for name in [
            &[0xc0, 12][..],
            &[0xc0, 14],
            &[0xff, 0xff],
            &[1, b'a', 0xc0, 12],
            &[0x40, 1],
        ] {
            let packet = [&head[..], name, &[0, 12, 0, 1]].concat();
            assert_eq!(Message::read(&packet), None, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_grows_by_pointers_has_an_end() {
        // Each label of sixty-three bytes points at the one before it.
        let mut packet = vec![0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0];
        let mut before: Option<usize> = None;
        for _ in 0..40 {
            let at = packet.len();
            packet.push(63);
            packet.extend([b'x'; 63]);
            match before {
                Some(at) => packet.extend([0xc0 | u8::try_from(at >> 8).unwrap(), at as u8]),
                None => packet.push(0),
            }
            packet.extend([0, 99, 0, 1, 0, 0, 0, 0, 0, 0]);
            before = Some(at);
        }
        assert_eq!(Message::read(&packet), None);
    }

    #[test]
    fn more_than_is_sensible_is_refused() {
        let mut packet = example().write(false);
        packet[7] = 200;
        assert_eq!(Message::read(&packet), None, "records");
        assert_eq!(Message::read(&vec![0; MAX_PACKET + 1]), None, "size");
        let many = (0..100)
            .map(|i| (format!("k{i}"), "v".to_owned()))
            .collect();
        let mut message = example();
        message.records[2].data = Data::Txt(many);
        let read = Message::read(&message.write(false)).unwrap();
        let Data::Txt(texts) = &read.records[2].data else {
            panic!("{read:?}");
        };
        assert_eq!(texts.len(), MAX_TEXTS);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Message::read(&packet);
        }

        #[test]
        fn a_damaged_message_is_read_or_refused(at in 0_usize..150, byte: u8) {
            let mut packet = example().write(true);
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
            let _ = Message::read(&packet);
        }
    }
}
