//! MQTT passwords: statements that a broker verifies with the fleet's public key alone.
//!
//! A node's **credential** is the fleet key's signature over its name and key. Its **password** is
//! the credential, a sequence number, and the node key's signature over both. A broker takes each
//! number once, and only growing ones: no clock is needed, which boards do not have.

use super::{PublicKey, SigningKey};
use crate::{contract::Seq, model::Name};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A node that proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenNode {
    /// Its name.
    pub node: Name,
    /// Its key.
    pub key: PublicKey,
    /// Number of the statement.
    pub seq: Seq,
}

fn credential_message(node: &str, key: &str) -> Vec<u8> {
    format!("fleetctl node\n{node}\n{key}").into_bytes()
}

fn login_message(subject: &str, seq: Seq) -> Vec<u8> {
    format!("fleetctl mqtt\n{subject}\n{}\n{}", seq.start, seq.count).into_bytes()
}

/// Of another form, so that what was said to a broker opens nothing else.
fn fetch_message(subject: &str, seq: Seq) -> Vec<u8> {
    format!("fleetctl blobs\n{subject}\n{}\n{}", seq.start, seq.count).into_bytes()
}

/// `<node>.<key>.<fleet signature>`.
pub fn issue(fleet: &SigningKey, node: &Name, key: &PublicKey) -> String {
    let key = key.to_string();
    let signature = fleet.sign(&credential_message(node.as_str(), &key));
    format!("{node}.{key}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The password of a node: `<credential>.<start>.<count>.<node signature>`.
pub fn node_password(credential: &str, seq: Seq, key: &SigningKey) -> String {
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&login_message(credential, seq)));
    format!("{credential}.{}.{}.{signature}", seq.start, seq.count)
}

/// What a node shows to fetch a blob; written as a [`node_password`].
pub fn fetch_statement(credential: &str, seq: Seq, key: &SigningKey) -> String {
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&fetch_message(credential, seq)));
    format!("{credential}.{}.{}.{signature}", seq.start, seq.count)
}

/// Checks a [`fetch_statement`].
pub fn verify_fetch(fleet: &PublicKey, statement: &str) -> Option<ProvenNode> {
    verify(fleet, statement, fetch_message)
}

/// Checks a [`node_password`].
pub fn verify_node(fleet: &PublicKey, password: &str) -> Option<ProvenNode> {
    verify(fleet, password, login_message)
}

fn verify(
    fleet: &PublicKey,
    password: &str,
    message: fn(&str, Seq) -> Vec<u8>,
) -> Option<ProvenNode> {
    let parts: Vec<&str> = password.splitn(7, '.').collect();
    let [node, key_text, issued, start, count, signature] = parts[..] else {
        return None;
    };
    let key: PublicKey = key_text.parse().ok()?;
    let issued_sig = URL_SAFE_NO_PAD.decode(issued).ok()?;
    if !fleet.verify(&credential_message(node, key_text), &issued_sig) {
        return None;
    }
    let seq = Seq {
        start: start.parse().ok()?,
        count: count.parse().ok()?,
    };
    let credential = format!("{node}.{key_text}.{issued}");
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    key.verify(&message(&credential, seq), &signature)
        .then_some(ProvenNode {
            node: node.parse().ok()?,
            key,
            seq,
        })
}

/// The controller's own password: `<start>.<count>.<fleet signature>`.
pub fn controller_password(fleet: &SigningKey, seq: Seq) -> String {
    let signature = fleet.sign(&login_message(crate::contract::CONTROLLER, seq));
    format!(
        "{}.{}.{}",
        seq.start,
        seq.count,
        URL_SAFE_NO_PAD.encode(signature)
    )
}

/// Checks a [`controller_password`].
pub fn verify_controller(fleet: &PublicKey, password: &str) -> Option<Seq> {
    let mut parts = password.splitn(3, '.');
    let seq = Seq {
        start: parts.next()?.parse().ok()?,
        count: parts.next()?.parse().ok()?,
    };
    let signature = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    fleet
        .verify(&login_message(crate::contract::CONTROLLER, seq), &signature)
        .then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_of_the_key_logs_in() {
        let (fleet, node) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let name: Name = "pi-1".parse().unwrap();
        let credential = issue(&fleet, &name, &node.public());
        let seq = Seq { start: 3, count: 9 };
        let good = node_password(&credential, seq, &node);
        let proven = verify_node(&fleet.public(), &good).unwrap();
        assert_eq!((proven.node, proven.seq), (name.clone(), seq));

        assert_eq!(verify_fetch(&fleet.public(), &good), None);
        let fetch = fetch_statement(&credential, seq, &node);
        assert_eq!(verify_fetch(&fleet.public(), &fetch).unwrap().node, name);
        assert_eq!(verify_node(&fleet.public(), &fetch), None);

        let thief = SigningKey::from_seed(&[3; 32]);
        assert_eq!(
            verify_node(&fleet.public(), &node_password(&credential, seq, &thief)),
            None
        );
        let forged = issue(&thief, &name, &thief.public());
        assert_eq!(
            verify_node(&fleet.public(), &node_password(&forged, seq, &thief)),
            None
        );
        let later = good.replacen(".3.9.", ".3.10.", 1);
        assert_eq!(verify_node(&fleet.public(), &later), None);
        for cut in 0..good.len() {
            assert_eq!(verify_node(&fleet.public(), &good[..cut]), None);
        }
    }

    #[test]
    fn only_the_fleet_key_is_the_controller() {
        let fleet = SigningKey::from_seed(&[1; 32]);
        let seq = Seq { start: 1, count: 1 };
        assert_eq!(
            verify_controller(&fleet.public(), &controller_password(&fleet, seq)),
            Some(seq)
        );
        let other = SigningKey::from_seed(&[2; 32]);
        assert_eq!(
            verify_controller(&fleet.public(), &controller_password(&other, seq)),
            None
        );
        assert_eq!(verify_controller(&fleet.public(), ""), None);
    }
}
