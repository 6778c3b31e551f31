//! Join tokens: the one line that is pasted on a board.
//!
//! A token's secret is the fleet key's signature over its id and expiry. So nothing secret is
//! stored, any broker of the fleet can check it, and Ed25519 being deterministic the controller
//! can make it again to check a proof.

use super::{PublicKey, SigningKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

/// Begins every join token, so that a person recognises one and a scanner can find leaked ones.
const MARK: &str = "fleetjoin1_";

/// What a machine needs to join, and to know that it joins the right fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its id; what `token ls` shows.
    pub id: String,
    /// Broker URLs, tried in turn: `mqtts://192.0.2.1:8883`, `mqtt://127.0.0.1:1883`; one of an
    /// external broker carries its user and password.
    #[serde(rename = "b")]
    pub brokers: Vec<String>,
    /// SHA-256 of the CA's certificate, hex; `None` with an external broker.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
    /// CA certificate of an external broker, PEM.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub external_ca: Option<String>,
    /// The fleet's public key.
    #[serde(rename = "k")]
    pub fleet_key: String,
    /// Topic prefix.
    #[serde(rename = "p")]
    pub prefix: String,
    /// Expiry, Unix milliseconds; 0: never.
    #[serde(rename = "x")]
    pub expires_ms: u64,
    /// [`join_secret`].
    #[serde(rename = "s")]
    pub secret: String,
}

/// A text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a join token: copy the whole text that `fleetctl token create --kind join` prints"
)]
pub struct JoinTokenError;

impl JoinToken {
    /// As text: letters, digits, `-` and `_` only. Its last four bytes are a checksum, so that a
    /// token cut off by a terminal is told from a wrong one.
    pub fn encode(&self) -> String {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        let check = digest::digest(&digest::SHA256, &bytes);
        bytes.extend_from_slice(&check.as_ref()[..4]);
        format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// From text.
    ///
    /// # Errors
    /// [`JoinTokenError`] for anything else, whatever it is.
    pub fn decode(text: &str) -> Result<JoinToken, JoinTokenError> {
        let body = text.trim().strip_prefix(MARK).ok_or(JoinTokenError)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| JoinTokenError)?;
        let (json, check) = bytes
            .split_at_checked(bytes.len().saturating_sub(4))
            .ok_or(JoinTokenError)?;
        if digest::digest(&digest::SHA256, json).as_ref()[..4] != *check {
            return Err(JoinTokenError);
        }
        serde_json::from_slice(json).map_err(|_| JoinTokenError)
    }
}

fn secret_message(id: &str, expires_ms: u64) -> Vec<u8> {
    format!("fleetctl join\n{id}\n{expires_ms}").into_bytes()
}

/// The secret of the token `id`: `<id>.<expiry>.<signature>`, also the MQTT password to join with.
pub fn join_secret(key: &SigningKey, id: &str, expires_ms: u64) -> String {
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&secret_message(id, expires_ms)));
    format!("{id}.{expires_ms}.{signature}")
}

/// The id of the token whose secret this is, when it is genuine and not expired.
pub fn verify_join_secret(key: &PublicKey, secret: &str, now_ms: u64) -> Option<String> {
    let mut parts = secret.splitn(3, '.');
    let (id, expires, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let expires_ms: u64 = expires.parse().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let genuine = key.verify(&secret_message(id, expires_ms), &signature);
    (genuine && (expires_ms == 0 || now_ms < expires_ms)).then(|| id.to_owned())
}

fn proof_message(node: &str, node_key: &str) -> Vec<u8> {
    format!("{node}\n{node_key}").into_bytes()
}

/// Proof for an enrolment that the machine holds `secret`, without sending it.
pub fn proof(secret: &str, node: &str, node_key: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, &proof_message(node, node_key)))
}

/// Checks a [`proof`].
pub fn verify_proof(secret: &str, node: &str, node_key: &str, proof: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let Ok(tag) = URL_SAFE_NO_PAD.decode(proof) else {
        return false;
    };
    hmac::verify(&key, &proof_message(node, node_key), &tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_a_damaged_one_does_not() {
        let key = SigningKey::from_seed(&[7; 32]);
        let token = JoinToken {
            id: "a1".into(),
            brokers: vec!["mqtt://127.0.0.1:1883".into()],
            ca_sha256: None,
            external_ca: None,
            fleet_key: key.public().to_string(),
            prefix: "fleet".into(),
            expires_ms: 0,
            secret: join_secret(&key, "a1", 0),
        };
        let text = token.encode();
        assert_eq!(JoinToken::decode(&format!(" {text}\n")).unwrap(), token);
        for cut in 0..text.len() {
            assert!(JoinToken::decode(&text[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn secrets_expire_and_cannot_be_made_up() {
        let key = SigningKey::from_seed(&[7; 32]);
        let secret = join_secret(&key, "t", 1000);
        assert_eq!(
            verify_join_secret(&key.public(), &secret, 999).as_deref(),
            Some("t")
        );
        assert_eq!(verify_join_secret(&key.public(), &secret, 1000), None);
        let stretched = secret.replacen("1000", "9000", 1);
        assert_eq!(verify_join_secret(&key.public(), &stretched, 0), None);
        let other = SigningKey::from_seed(&[8; 32]);
        assert_eq!(verify_join_secret(&other.public(), &secret, 0), None);
        let p = proof(&secret, "n", "k");
        assert!(verify_proof(&secret, "n", "k", &p));
        assert!(!verify_proof(&secret, "m", "k", &p));
        assert!(!verify_proof(&secret, "n", "l", &p));
        assert!(!verify_proof(&secret, "n", "k", "!"));
    }
}
