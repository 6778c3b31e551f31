//! The MQTT 3.1.1 packets that a client may send, and a strict reader for them.
//!
//! `rumqttc`'s codec is made for clients: it forgets whether a user name was there, wants the
//! password to be text, and lets wrong flags pass. A server has to be exact, since everybody can
//! talk to it: every packet here is complete, within its bounds and free of trailing bytes, or it
//! is a [`DecodeError`] and the connection ends. What the server writes is in [`super::encode`].

use bytes::{Buf, Bytes, BytesMut};

/// Quality of service; this broker serves 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
}

impl Qos {
    /// QoS 2 is served as QoS 1.
    fn served(level: u8) -> Result<Qos, DecodeError> {
        match level {
            0 => Ok(Qos::AtMostOnce),
            1 | 2 => Ok(Qos::AtLeastOnce),
            _ => Err(DecodeError::Malformed("it has QoS 3")),
        }
    }
}

/// A packet from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// The first one.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// A QoS 1 message with this identifier arrived.
    PubAck(u16),
    /// Wants messages.
    Subscribe {
        /// Identifier, not 0.
        pkid: u16,
        /// At least one filter, with the QoS that can be granted.
        filters: Vec<(String, Qos)>,
    },
    /// Wants them no more.
    Unsubscribe {
        /// Identifier, not 0.
        pkid: u16,
        /// At least one filter.
        filters: Vec<String>,
    },
    /// Is the server there?
    PingReq,
    /// Goes, and needs no will.
    Disconnect,
}

/// CONNECT.
#[derive(Debug, PartialEq, Eq)]
pub struct Connect {
    /// Start without state and leave none behind.
    pub clean: bool,
    /// Seconds; 0 means no limit.
    pub keep_alive: u16,
    /// As sent, perhaps empty.
    pub client_id: String,
    /// What to publish when the client is lost.
    pub will: Option<Will>,
    /// Absent and empty are not the same.
    pub username: Option<String>,
    /// Any bytes.
    pub password: Option<Bytes>,
}

/// What is published when a client is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Not checked yet.
    pub topic: String,
    /// Any bytes.
    pub payload: Bytes,
    /// QoS 2 is served as QoS 1.
    pub qos: Qos,
    /// Keep it.
    pub retain: bool,
}

/// PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    /// 0 or 1.
    pub qos: Qos,
    /// Keep it; with an empty payload: forget what was kept.
    pub retain: bool,
    /// UTF-8, not checked any further.
    pub topic: Bytes,
    /// Identifier; 0 with QoS 0.
    pub pkid: u16,
    /// Any bytes.
    pub payload: Bytes,
}

/// Why a client's bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// MQTT 3.1.1 forbids it.
    #[error("the packet is malformed: {0}")]
    Malformed(&'static str),
    /// The limit forbids it.
    #[error("the packet has {0} bytes, which is more than the limit")]
    TooLong(usize),
    /// CONNECT of another protocol or version.
    #[error("the client does not speak MQTT 3.1.1")]
    WrongProtocol,
    /// This broker does not take QoS 2.
    #[error("QoS 2 is not served; publish with QoS 1")]
    ExactlyOnce,
}

use DecodeError::Malformed;

/// Takes the next packet out of `buffer`; `None` when it is not complete yet. A packet longer
/// than `max` bytes is refused as soon as its length is known, before it is read.
pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Packet>, DecodeError> {
    let Some(&first) = buffer.first() else {
        return Ok(None);
    };
    let Some((header, length)) = remaining_length(buffer)? else {
        return Ok(None);
    };
    if length > max {
        return Err(DecodeError::TooLong(length));
    }
    if buffer.len() < header + length {
        return Ok(None);
    }
    buffer.advance(header);
    let body = Fields(buffer.split_to(length).freeze());
    body.packet(first >> 4, first & 0x0f).map(Some)
}

/// The size of the fixed header and the length that it gives.
fn remaining_length(buffer: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut length = 0;
    for at in 0..4 {
        let Some(&byte) = buffer.get(1 + at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + at, length)));
        }
    }
    Err(Malformed("its length has more than four bytes"))
}

/// The part of a packet that is not read yet.
struct Fields(Bytes);

impl Fields {
    fn packet(mut self, kind: u8, flags: u8) -> Result<Packet, DecodeError> {
        let expected = match kind {
            3 => flags,
            8 | 10 => 2,
            _ => 0,
        };
        if flags != expected {
            return Err(Malformed("its reserved flags are wrong"));
        }
        let packet = match kind {
            1 => Packet::Connect(Box::new(self.connect()?)),
            3 => return self.publish(flags).map(Packet::Publish),
            4 => Packet::PubAck(self.pkid()?),
            8 => self.subscribe()?,
            10 => self.unsubscribe()?,
            12 => Packet::PingReq,
            14 => Packet::Disconnect,
            5..=7 => return Err(DecodeError::ExactlyOnce),
            _ => return Err(Malformed("a client may not send its type")),
        };
        match self.0.is_empty() {
            true => Ok(packet),
            false => Err(Malformed("bytes follow its last field")),
        }
    }

    fn connect(&mut self) -> Result<Connect, DecodeError> {
        if self.bytes()? != b"MQTT"[..] || self.byte()? != 4 {
            return Err(DecodeError::WrongProtocol);
        }
        let flags = self.byte()?;
        if flags & 1 != 0 {
            return Err(Malformed("the reserved CONNECT flag is set"));
        }
        if flags & 0x04 == 0 && flags & 0x38 != 0 {
            return Err(Malformed("it has will flags but no will"));
        }
        if flags & 0x80 == 0 && flags & 0x40 != 0 {
            return Err(Malformed("it has a password but no user name"));
        }
        let keep_alive = self.short()?;
        let client_id = self.text()?;
        let will = match flags & 0x04 {
            0 => None,
            _ => Some(Will {
                qos: Qos::served((flags >> 3) & 3)?,
                retain: flags & 0x20 != 0,
                topic: self.text()?,
                payload: self.bytes()?,
            }),
        };
        let username = if flags & 0x80 != 0 {
            Some(self.text()?)
        } else {
            None
        };
        let password = if flags & 0x40 != 0 {
            Some(self.bytes()?)
        } else {
            None
        };
        Ok(Connect {
            clean: flags & 2 != 0,
            keep_alive,
            client_id,
            will,
            username,
            password,
        })
    }

    fn publish(mut self, flags: u8) -> Result<Publish, DecodeError> {
        let qos = match (flags >> 1) & 3 {
            2 => return Err(DecodeError::ExactlyOnce),
            level => Qos::served(level)?,
        };
        if qos == Qos::AtMostOnce && flags & 8 != 0 {
            return Err(Malformed("it repeats a QoS 0 message"));
        }
        let topic = self.bytes()?;
        text(&topic)?;
        let pkid = if qos == Qos::AtLeastOnce {
            self.pkid()?
        } else {
            0
        };
        Ok(Publish {
            qos,
            retain: flags & 1 != 0,
            topic,
            pkid,
            payload: self.0,
        })
    }

    fn subscribe(&mut self) -> Result<Packet, DecodeError> {
        let pkid = self.pkid()?;
        let mut filters = Vec::new();
        while !self.0.is_empty() {
            let filter = self.text()?;
            filters.push((filter, Qos::served(self.byte()?)?));
        }
        match filters.is_empty() {
            true => Err(Malformed("it has no filter")),
            false => Ok(Packet::Subscribe { pkid, filters }),
        }
    }

    fn unsubscribe(&mut self) -> Result<Packet, DecodeError> {
        let pkid = self.pkid()?;
        let mut filters = Vec::new();
        while !self.0.is_empty() {
            filters.push(self.text()?);
        }
        match filters.is_empty() {
            true => Err(Malformed("it has no filter")),
            false => Ok(Packet::Unsubscribe { pkid, filters }),
        }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.0
            .try_get_u8()
            .map_err(|_| Malformed("it ends too early"))
    }

    fn short(&mut self) -> Result<u16, DecodeError> {
        self.0
            .try_get_u16()
            .map_err(|_| Malformed("it ends too early"))
    }

    fn pkid(&mut self) -> Result<u16, DecodeError> {
        match self.short()? {
            0 => Err(Malformed("its identifier is 0")),
            pkid => Ok(pkid),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.short()?);
        if length > self.0.len() {
            return Err(Malformed("it ends too early"));
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        text(&self.bytes()?).map(str::to_owned)
    }
}

/// UTF-8 without U+0000 (MQTT-1.5.3-1, -2).
fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Malformed("a text in it is not UTF-8 or has a zero byte")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Option<Packet>, DecodeError> {
        decode(&mut BytesMut::from(bytes), 1000)
    }

    #[test]
    fn a_packet_is_taken_when_it_is_complete() {
        let whole = b"\x32\x07\x00\x01a\x00\x07hi\xc0\x00";
        for cut in 0..9 {
            assert_eq!(read(&whole[..cut]), Ok(None), "{cut}");
        }
        let mut buffer = BytesMut::from(&whole[..]);
        let publish = Publish {
            qos: Qos::AtLeastOnce,
            retain: false,
            topic: Bytes::from_static(b"a"),
            pkid: 7,
            payload: Bytes::from_static(b"hi"),
        };
        assert_eq!(
            decode(&mut buffer, 1000),
            Ok(Some(Packet::Publish(publish)))
        );
        assert_eq!(decode(&mut buffer, 1000), Ok(Some(Packet::PingReq)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn connect_has_all_its_fields() {
        let bytes = b"\x10\x1e\x00\x04MQTT\x04\xee\x00\x3c\x00\x01c\x00\x01w\x00\x02\xff\xfe\x00\x01u\x00\x02\xff\x00";
        // 0xee: user name, password, will retain, will QoS 1, will, clean session.
        let connect = Connect {
            clean: true,
            keep_alive: 60,
            client_id: "c".into(),
            will: Some(Will {
                topic: "w".into(),
                payload: Bytes::from_static(b"\xff\xfe"),
                qos: Qos::AtLeastOnce,
                retain: true,
            }),
            username: Some("u".into()),
            password: Some(Bytes::from_static(b"\xff\x00")),
        };
        let mut bytes = bytes.to_vec();
        bytes[1] = (bytes.len() - 2) as u8;
        assert_eq!(read(&bytes), Ok(Some(Packet::Connect(Box::new(connect)))));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        let cases: [(&str, &[u8]); 13] = [
            ("length of five bytes", b"\xc0\x80\x80\x80\x80\x01"),
            ("flags of PINGREQ", b"\xc1\x00"),
            ("flags of SUBSCRIBE", b"\x80\x06\x00\x01\x00\x01a\x00"),
            ("identifier 0", b"\x82\x06\x00\x00\x00\x01a\x00"),
            ("no filter", b"\x82\x02\x00\x01"),
            ("requested QoS 3", b"\x82\x06\x00\x01\x00\x01a\x03"),
            ("reserved bits of the QoS", b"\x82\x06\x00\x01\x00\x01a\x04"),
            ("QoS 3", b"\x36\x05\x00\x01a\x00\x01"),
            ("repeated QoS 0", b"\x38\x03\x00\x01a"),
            ("zero byte in a topic", b"\x30\x03\x00\x01\x00"),
            ("topic that is not UTF-8", b"\x30\x04\x00\x02\xc3\x28"),
            ("type 0", b"\x00\x00"),
            ("type 15", b"\xf0\x00"),
        ];
        for (what, bytes) in cases {
            assert!(
                matches!(read(bytes), Err(Malformed(_))),
                "{what}: {:?}",
                read(bytes)
            );
        }
        assert_eq!(
            read(b"\x34\x05\x00\x01a\x00\x01"),
            Err(DecodeError::ExactlyOnce)
        );
        assert_eq!(read(b"\x30\xe9\x07"), Err(DecodeError::TooLong(1001)));
        assert_eq!(
            read(b"\x10\x07\x00\x04MQTT\x05"),
            Err(DecodeError::WrongProtocol)
        );
        assert_eq!(
            read(b"\x10\x09\x00\x06MQIsdp\x03"),
            Err(DecodeError::WrongProtocol)
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let before = buffer.len();
            let taken = matches!(decode(&mut buffer, 1000), Ok(Some(_)));
            prop_assert!(!taken || buffer.len() < before);
        }
    }
}
