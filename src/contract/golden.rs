//! One example of each message, byte for byte, in `golden/`: what other implementations test
//! themselves against, and what an older fleetctl may still send.
//!
//! All are signed with keys from fixed seeds: the node's is 32 bytes of 2, the fleet's 32 bytes
//! of 1. With `UPDATE_GOLDEN=1` the tests write the files that are missing; a file that exists is
//! never changed by them.

mod examples;

use super::{
    CONTROLLER, ContractError, Freshness, Kind, MAX_PAYLOAD, ReplayGuard, Seq, Topics, Unverified,
    Verified, seal,
};
use crate::{
    identity::{PublicKey, SigningKey},
    model::Name,
};
use examples::{examples, from_agents};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A message and everything about it.
struct Example {
    file: &'static str,
    kind: Kind,
    body: Value,
    /// Reads the body as its type, and writes that.
    read: fn(Verified) -> Result<Value, ContractError>,
    /// Fields that a sender may leave out.
    optional: &'static [&'static str],
}

fn node() -> Name {
    "pi-1".parse().unwrap()
}

fn web() -> Name {
    "web".parse().unwrap()
}

fn node_key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn fleet_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

const SEQ: Seq = Seq { start: 3, count: 7 };

impl Example {
    fn new<T: Serialize + DeserializeOwned>(
        file: &'static str,
        kind: Kind,
        optional: &'static [&'static str],
        body: T,
    ) -> Example {
        Example {
            file,
            kind,
            body: serde_json::to_value(body).unwrap(),
            read: |message| Ok(serde_json::to_value(message.read::<T>()?).unwrap()),
            optional,
        }
    }

    fn topic(&self) -> String {
        let topics = Topics::new("fleet");
        match self.kind {
            Kind::Access => topics.access(),
            Kind::Logs | Kind::Stream => topics.detailed(self.kind, &node(), &web()),
            Kind::Telemetry => topics.detailed(self.kind, &node(), &"cpu".parse().unwrap()),
            kind => topics.of(kind, &node()),
        }
    }

    fn from(&self) -> String {
        if self.kind.from_agent() {
            node().to_string()
        } else {
            CONTROLLER.to_owned()
        }
    }

    fn key(&self) -> SigningKey {
        if self.kind.from_agent() {
            node_key()
        } else {
            fleet_key()
        }
    }

    fn public(&self) -> PublicKey {
        self.key().public()
    }

    /// Signs `body` in place of its own.
    fn seal(&self, body: &Value) -> Vec<u8> {
        seal(&self.topic(), &self.from(), SEQ, &self.key(), body).unwrap()
    }

    /// All that a reader does with a payload.
    fn take(&self, payload: &[u8]) -> Result<Value, ContractError> {
        let message = Unverified::parse(payload)?.verify(&self.topic(), &self.public())?;
        (self.read)(message)
    }

    fn fields(&self) -> Map<String, Value> {
        self.body.as_object().unwrap().clone()
    }

    fn golden(&self) -> Vec<u8> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/contract/golden");
        let path = folder.join(format!("{}.json", self.file));
        if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, self.seal(&self.body)).unwrap();
        }
        std::fs::read(&path).unwrap_or_else(|e| {
            panic!(
                "{e}: {}; UPDATE_GOLDEN=1 makes files that are missing",
                path.display()
            )
        })
    }
}

#[test]
fn there_is_an_example_of_every_message() {
    let topics = Topics::new("fleet");
    for kind in Kind::ALL {
        let there = examples().iter().any(|e| e.kind == kind);
        assert!(there, "{kind:?}");
    }
    for example in examples() {
        let topic = topics.parse(&example.topic()).unwrap();
        assert_eq!(topic.kind, example.kind);
    }
}

#[test]
fn every_example_is_made_and_read_byte_for_byte_as_it_is_kept() {
    for example in examples() {
        let file = example.file;
        let kept = example.golden();
        let made = example.seal(&example.body);
        let text = String::from_utf8_lossy;
        assert_eq!(text(&made), text(&kept), "{file}");
        let message = Unverified::parse(&kept).unwrap();
        assert_eq!(message.from(), example.from(), "{file}");
        let message = message.verify(&example.topic(), &example.public()).unwrap();
        assert_eq!(message.seq(), SEQ, "{file}");
        assert_eq!((example.read)(message).unwrap(), example.body, "{file}");
    }
}

#[test]
fn whatever_byte_is_changed_the_message_is_not_taken() {
    for example in examples() {
        let kept = example.golden();
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            changed[at] ^= 1;
            let taken = example.take(&changed);
            assert!(taken.is_err(), "{}: byte {at}", example.file);
        }
        for end in [0, 1, kept.len() / 2, kept.len() - 1] {
            assert!(example.take(&kept[..end]).is_err(), "{}", example.file);
        }
    }
}

#[test]
fn a_message_signed_by_another_key_is_forged() {
    let stranger = SigningKey::from_seed(&[9; 32]);
    for example in examples() {
        let (topic, from) = (example.topic(), example.from());
        let forged = seal(&topic, &from, SEQ, &stranger, &example.body).unwrap();
        assert_eq!(example.take(&forged), Err(ContractError::Signature));
    }
}

#[test]
fn a_message_is_bound_to_its_topic() {
    for example in examples() {
        let topics = Topics::new("fleet");
        let other: Name = "pi-2".parse().unwrap();
        let others = [
            topics.of(example.kind, &other),
            format!("{}x", example.topic()),
            Topics::new("").of(example.kind, &node()),
        ];
        for topic in others {
            let message = Unverified::parse(&example.golden()).unwrap();
            let refusal = message.verify(&topic, &example.public()).unwrap_err();
            assert_eq!(refusal, ContractError::Signature, "{topic}");
        }
    }
}

#[test]
fn a_message_that_comes_again_has_no_effect_and_an_older_one_is_refused() {
    for example in examples() {
        let mut guard = ReplayGuard::new();
        let (topic, from) = (example.topic(), example.from());
        let mut judge = |payload: &[u8]| {
            let message = Unverified::parse(payload).unwrap();
            let message = message.verify(&topic, &example.public()).unwrap();
            guard.judge(&from, &topic, message.seq(), payload)
        };
        let signed = |count| {
            let seq = Seq { start: 3, count };
            seal(&topic, &from, seq, &example.key(), &example.body).unwrap()
        };
        assert_eq!(judge(&example.golden()), Freshness::Fresh);
        assert_eq!(judge(&example.golden()), Freshness::Again);
        assert_eq!(judge(&signed(8)), Freshness::Fresh);
        assert_eq!(judge(&example.golden()), Freshness::Stale);
    }
}

#[test]
fn a_field_of_the_body_that_is_missing_is_named() {
    for example in examples() {
        for field in example.fields().keys() {
            let mut less = example.fields();
            less.remove(field);
            let taken = example.take(&example.seal(&Value::Object(less)));
            if example.optional.contains(&field.as_str()) {
                assert!(taken.is_ok(), "{} without {field}: {taken:?}", example.file);
                continue;
            }
            let Err(ContractError::Body { message }) = taken else {
                panic!("{} without {field}: {taken:?}", example.file);
            };
            let expected = format!("missing field `{field}`");
            assert_eq!(message, expected, "{}", example.file);
        }
        let optional = example.optional.iter();
        let unknown = optional.filter(|name| example.body.get(**name).is_none());
        assert_eq!(unknown.count(), 0, "{}", example.file);
    }
}

#[test]
fn a_field_of_the_envelope_that_is_missing_is_named() {
    for example in examples() {
        let kept: Map<String, Value> = serde_json::from_slice(&example.golden()).unwrap();
        for field in ["from", "seq", "sig"] {
            for wrong in [None, Some(Value::from("")), Some(Value::Bool(true))] {
                // An empty sender is a sender that nobody is.
                if field == "from" && wrong == Some(Value::from("")) {
                    continue;
                }
                let mut less = kept.clone();
                less.remove(field);
                less.extend(wrong.clone().map(|value| (field.to_owned(), value)));
                let refusal = example.take(&serde_json::to_vec(&less).unwrap());
                let expected = match (field, &wrong) {
                    ("sig", Some(Value::String(_))) => ContractError::Signature,
                    _ => ContractError::Envelope { field },
                };
                assert_eq!(refusal, Err(expected), "{} {field} {wrong:?}", example.file);
            }
        }
    }
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    for example in examples() {
        let mut more = example.fields();
        more.insert("of_a_later_version".into(), Value::from(vec![1, 2]));
        let taken = example.take(&example.seal(&Value::Object(more)));
        assert_eq!(taken.unwrap(), example.body, "{}", example.file);
    }
}

#[test]
fn a_message_of_another_version_is_refused_as_such() {
    for example in examples() {
        let kept: Map<String, Value> = serde_json::from_slice(&example.golden()).unwrap();
        for version in [
            Value::from(2),
            Value::from("1"),
            Value::from(1.5),
            Value::Null,
        ] {
            let mut other = kept.clone();
            other.insert("v".into(), version);
            let refusal = example.take(&serde_json::to_vec(&other).unwrap());
            assert_eq!(refusal, Err(ContractError::Version), "{}", example.file);
        }
    }
}

#[test]
fn what_is_too_large_is_neither_read_nor_sent() {
    let example = &from_agents()[0];
    let payload = vec![b' '; MAX_PAYLOAD + 1];
    let len = payload.len();
    assert_eq!(example.take(&payload), Err(ContractError::TooLarge { len }));
    let mut large = example.fields();
    large.insert("os".into(), Value::from("x".repeat(MAX_PAYLOAD)));
    let sent = seal(&example.topic(), "pi-1", SEQ, &node_key(), &large);
    assert!(matches!(sent, Err(ContractError::TooLarge { len }) if len > MAX_PAYLOAD));
}

#[test]
fn what_is_not_an_object_is_refused_and_harms_nobody() {
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    for payload in [
        "",
        "null",
        "[]",
        "1",
        "\"text\"",
        "{",
        "{}x",
        "{\"v\":1,}",
        &deep,
    ] {
        let refusal = Unverified::parse(payload.as_bytes()).unwrap_err();
        assert_eq!(refusal, ContractError::NotAnObject, "{payload:.20}");
    }
    let refusal = Unverified::parse(&[0xff, 0xfe]).unwrap_err();
    assert_eq!(refusal, ContractError::NotAnObject);
    let sent = seal("fleet/state/pi-1", "pi-1", SEQ, &node_key(), &vec![1, 2]);
    assert_eq!(sent, Err(ContractError::NotAnObject));
}

/// What the first release wrote is read, and what it had running keeps its hash: an upgrade must
/// not restart it.
#[test]
fn what_the_first_release_wrote_is_still_understood() {
    let read = |file: &str| -> Value {
        let path = format!(
            "{}/src/contract/golden/first/{file}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let assignment: super::AssignmentBody = serde_json::from_value(read("assignment")).unwrap();
    let workload = &assignment.instances[0].workload;
    assert_eq!(workload.spec_hash(), "ed7d49c279588d5d");
    assert_eq!(workload.needs_features(), 1);
    let metadata: super::Metadata = serde_json::from_value(read("metadata")).unwrap();
    assert_eq!(metadata.features, 1);
    let state: super::State = serde_json::from_value(read("state")).unwrap();
    assert_eq!(state.instances[0].health, None);
    let _: super::CommandBody = serde_json::from_value(read("command")).unwrap();
    let _: super::CommandResult = serde_json::from_value(read("result")).unwrap();
    let _: super::Cfg = serde_json::from_value(read("cfg")).unwrap();
}
