//! The MQTT 3.1.1 packets that a server sends, appended to an output buffer.

use super::packet::Qos;
use super::session::Outgoing;
use bytes::{BufMut, BytesMut};

/// CONNACK return codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectCode {
    /// Admitted.
    Accepted = 0,
    /// Not MQTT 3.1.1.
    WrongProtocol = 1,
    /// The client id is not acceptable.
    BadIdentifier = 2,
    /// Try again later.
    Unavailable = 3,
    /// Wrong user name or password.
    BadCredentials = 4,
    /// Not allowed.
    NotAuthorized = 5,
}

/// CONNACK.
pub fn connack(out: &mut BytesMut, session_present: bool, code: ConnectCode) {
    out.put_slice(&[0x20, 2, u8::from(session_present), code as u8]);
}

/// PUBLISH.
pub fn publish(out: &mut BytesMut, outgoing: &Outgoing) {
    let message = &outgoing.delivery;
    let identifier = if message.qos == Qos::AtLeastOnce {
        2
    } else {
        0
    };
    let length = 2 + message.topic.len() + identifier + message.payload.len();
    out.reserve(5 + length);
    out.put_u8(
        0x30 | (u8::from(outgoing.dup) << 3)
            | ((message.qos as u8) << 1)
            | u8::from(message.retain),
    );
    remaining_length(out, length);
    // A topic came in with a length of two bytes, so it goes out with one.
    out.put_u16(message.topic.len() as u16);
    out.put_slice(&message.topic);
    if identifier > 0 {
        out.put_u16(outgoing.pkid);
    }
    out.put_slice(&message.payload);
}

/// PUBACK.
pub fn puback(out: &mut BytesMut, pkid: u16) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(pkid);
}

/// SUBACK; `None` is a subscription that was refused.
pub fn suback(out: &mut BytesMut, pkid: u16, granted: &[Option<Qos>]) {
    out.put_u8(0x90);
    remaining_length(out, 2 + granted.len());
    out.put_u16(pkid);
    for qos in granted {
        out.put_u8(qos.map_or(0x80, |qos| qos as u8));
    }
}

/// UNSUBACK.
pub fn unsuback(out: &mut BytesMut, pkid: u16) {
    out.put_slice(&[0xb0, 2]);
    out.put_u16(pkid);
}

/// PINGRESP.
pub fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// Seven bits a byte, lowest first. Everything that goes out came in, so it fits four bytes.
fn remaining_length(out: &mut BytesMut, mut length: usize) {
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::packet::{Packet, decode};
    use crate::broker::session::Delivery;
    use bytes::Bytes;

    #[test]
    fn a_publish_reads_back() {
        for (size, qos, pkid) in [(0, Qos::AtMostOnce, 0), (20_000, Qos::AtLeastOnce, 9)] {
            let delivery = Delivery {
                topic: Bytes::from_static(b"a/b"),
                payload: Bytes::from(vec![7; size]),
                qos,
                retain: true,
            };
            let mut out = BytesMut::new();
            publish(
                &mut out,
                &Outgoing {
                    delivery: delivery.clone(),
                    pkid,
                    dup: false,
                },
            );
            let Ok(Some(Packet::Publish(read))) = decode(&mut out, 1 << 20) else {
                panic!("not a publish");
            };
            assert_eq!(
                (read.topic, read.payload),
                (delivery.topic, delivery.payload)
            );
            assert_eq!((read.qos, read.pkid, read.retain), (qos, pkid, true));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn answers_have_their_fixed_form() {
        let mut out = BytesMut::new();
        connack(&mut out, true, ConnectCode::Accepted);
        connack(&mut out, false, ConnectCode::NotAuthorized);
        puback(&mut out, 258);
        suback(&mut out, 3, &[Some(Qos::AtLeastOnce), None]);
        unsuback(&mut out, 4);
        pingresp(&mut out);
        assert_eq!(
            &out[..],
            b"\x20\x02\x01\x00\x20\x02\x00\x05\x40\x02\x01\x02\x90\x04\x00\x03\x01\x80\xb0\x02\x00\x04\xd0\x00"
        );
    }
}
