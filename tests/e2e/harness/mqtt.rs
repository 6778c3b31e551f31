//! A bare MQTT client: it says what a test says, once, and tells what came back.

use super::wait::{PATIENCE, wait_for};
use fleetctl::{
    contract::{CONTROLLER, Seq, seal},
    identity::{SigningKey, credential},
};
use rumqttc::{Client, Event, Incoming, MqttOptions, QoS, mqttbytes::v4::SubscribeReasonCode};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

/// What the broker said.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Welcome,
    Message {
        topic: String,
        payload: Vec<u8>,
    },
    Subscribed {
        granted: bool,
    },
    Acknowledged,
    /// The connection is over, or was refused.
    Over(String),
}

/// One connection; it is never made anew.
pub struct Mqtt {
    client: Client,
    seen: Receiver<Seen>,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mqtt")
    }
}

impl Mqtt {
    /// Connects to a loopback port; the error is the broker's refusal.
    pub fn connect(port: u16, id: &str, credentials: Option<(&str, &str)>) -> Result<Mqtt, String> {
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_max_packet_size(8 << 20, 8 << 20);
        if let Some((user, password)) = credentials {
            options.set_credentials(user, password);
        }
        let (client, mut connection) = Client::new(options, 64);
        let (send, seen) = channel();
        thread::spawn(move || {
            for event in connection.iter() {
                let (said, last) = match event {
                    Ok(Event::Incoming(packet)) => (translate(packet), false),
                    Ok(Event::Outgoing(_)) => (None, false),
                    Err(error) => (Some(Seen::Over(format!("{error:?}"))), true),
                };
                let gone = said.is_some_and(|s| send.send(s).is_err());
                if gone || last {
                    return;
                }
            }
        });
        let mqtt = Mqtt { client, seen };
        match mqtt.next("the broker answers") {
            Seen::Welcome => Ok(mqtt),
            Seen::Over(reason) => Err(reason),
            other => panic!("{other:?} before a CONNACK"),
        }
    }

    /// The next thing that the broker says.
    #[track_caller]
    pub fn next(&self, what: &str) -> Seen {
        match self.seen.recv_timeout(PATIENCE) {
            Ok(seen) => seen,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} in vain: {what}"),
            Err(RecvTimeoutError::Disconnected) => Seen::Over("it was over before".into()),
        }
    }

    /// Whether the broker grants a subscription.
    #[track_caller]
    pub fn subscribe(&self, filter: &str) -> bool {
        let asked = self.client.subscribe(filter, QoS::AtLeastOnce);
        asked.expect("room for a SUBSCRIBE");
        match self.until("a SUBACK", |s| !matches!(s, Seen::Message { .. })) {
            Seen::Subscribed { granted } => granted,
            other => panic!("{other:?} in place of a SUBACK"),
        }
    }

    /// Publishes at QoS 1; `true` once the broker has it, `false` when it ends the connection.
    #[track_caller]
    pub fn publish(&self, topic: &str, retain: bool, payload: &[u8]) -> bool {
        let payload = payload.to_vec();
        let said = self
            .client
            .publish(topic, QoS::AtLeastOnce, retain, payload);
        said.expect("room for a PUBLISH");
        let end = |s: &Seen| matches!(s, Seen::Acknowledged | Seen::Over(_));
        self.until("a PUBACK", end) == Seen::Acknowledged
    }

    /// The next message, on whatever topic it comes.
    #[track_caller]
    pub fn message(&self, topic: &str, wanted: impl Fn(&Value) -> bool) -> Vec<u8> {
        wait_for(&format!("a message on {topic}"), || {
            let next = |s: &Seen| matches!(s, Seen::Message { .. } | Seen::Over(_));
            match self.until("a message", next) {
                Seen::Message { topic: t, payload } => {
                    let body: Value = serde_json::from_slice(&payload).unwrap_or_default();
                    (t == topic && wanted(&body)).then_some(payload)
                }
                other => panic!("{other:?} in place of a message"),
            }
        })
    }

    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        loop {
            let seen = self.next(what);
            if wanted(&seen) || matches!(seen, Seen::Over(_)) {
                return seen;
            }
        }
    }
}

fn translate(packet: Incoming) -> Option<Seen> {
    Some(match packet {
        Incoming::ConnAck(_) => Seen::Welcome,
        Incoming::Publish(p) => Seen::Message {
            topic: p.topic,
            payload: p.payload.to_vec(),
        },
        Incoming::SubAck(ack) => Seen::Subscribed {
            granted: !ack.return_codes.contains(&SubscribeReasonCode::Failure),
        },
        Incoming::PubAck(_) => Seen::Acknowledged,
        Incoming::Disconnect => Seen::Over("the broker said DISCONNECT".into()),
        _ => return None,
    })
}

/// What somebody has who got hold of a board's disk.
#[derive(Debug)]
pub struct Stolen {
    pub key: SigningKey,
    pub credential: String,
}

impl Stolen {
    pub fn from(data: &Path) -> Stolen {
        let text = fs::read_to_string(data.join("fleet.json")).expect("a node's membership");
        let member: Value = serde_json::from_str(&text).expect("a JSON file");
        let credential = member["credential"].as_str().expect("a credential");
        Stolen {
            key: SigningKey::open_or_create(&data.join("node.key")).expect("a node's key"),
            credential: credential.to_owned(),
        }
    }

    /// A password that was not used before; later ones need a larger `count`.
    pub fn password(&self, count: u64) -> String {
        let start = 1_000_000;
        credential::node_password(&self.credential, Seq { start, count }, &self.key)
    }
}

/// A message that claims to be the controller's, signed by somebody else.
pub fn forged(topic: &str, body: &Value) -> Vec<u8> {
    let stranger = SigningKey::from_seed(&[66; 32]);
    let seq = Seq {
        start: 9_999,
        count: 1,
    };
    seal(topic, CONTROLLER, seq, &stranger, body).expect("a message")
}
