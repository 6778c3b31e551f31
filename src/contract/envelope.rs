//! The signed envelope: the body itself with `v`, `from`, `seq` and `sig`.

use super::{ContractError, MAX_PAYLOAD, VERSION};
use crate::identity::{PublicKey, SigningKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Order among the messages of one sender: how often it has started, then a counter. Only the
/// start count is ever written to flash. On the wire `[start, count]`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Seq {
    /// Starts of the sender, counted on its disk.
    pub start: u64,
    /// Messages since that start.
    pub count: u64,
}

impl From<(u64, u64)> for Seq {
    fn from((start, count): (u64, u64)) -> Seq {
        Seq { start, count }
    }
}

impl From<Seq> for (u64, u64) {
    fn from(seq: Seq) -> (u64, u64) {
        (seq.start, seq.count)
    }
}

/// Signs `body` as a message of `from` on `topic`.
///
/// # Errors
/// When the body is not a JSON object, or too large.
pub fn seal(
    topic: &str,
    from: &str,
    seq: Seq,
    key: &SigningKey,
    body: &impl Serialize,
) -> Result<Vec<u8>, ContractError> {
    let Ok(Value::Object(mut map)) = serde_json::to_value(body) else {
        return Err(ContractError::NotAnObject);
    };
    map.insert("v".into(), VERSION.into());
    map.insert("from".into(), from.into());
    map.insert("seq".into(), Value::from(vec![seq.start, seq.count]));
    let signature = key.sign(&signed_bytes(topic, &map)?);
    map.insert("sig".into(), URL_SAFE_NO_PAD.encode(signature).into());
    let text = serde_json::to_vec(&map).map_err(|_| ContractError::NotAnObject)?;
    if text.len() > MAX_PAYLOAD {
        return Err(ContractError::TooLarge { len: text.len() });
    }
    Ok(text)
}

/// What the signature covers: the topic, a line feed, and the canonical JSON (RFC 8785) of the
/// message without `sig`.
fn signed_bytes(topic: &str, map: &Map<String, Value>) -> Result<Vec<u8>, ContractError> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(topic.as_bytes());
    bytes.push(b'\n');
    serde_json_canonicalizer::to_writer(map, &mut bytes).map_err(|_| ContractError::NotAnObject)?;
    Ok(bytes)
}

/// A message whose form is right; who sent it is not proven yet.
#[derive(Debug)]
pub struct Unverified {
    from: String,
    seq: Seq,
    signature: Vec<u8>,
    map: Map<String, Value>,
}

impl Unverified {
    /// Reads the envelope.
    ///
    /// # Errors
    /// Too large, not a JSON object, another version, a missing or ill-typed envelope field.
    pub fn parse(payload: &[u8]) -> Result<Unverified, ContractError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(ContractError::TooLarge { len: payload.len() });
        }
        let mut map: Map<String, Value> =
            serde_json::from_slice(payload).map_err(|_| ContractError::NotAnObject)?;
        if map.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return Err(ContractError::Version);
        }
        let text = |map: &Map<String, Value>, field: &'static str| {
            let value = map.get(field).and_then(Value::as_str).map(str::to_owned);
            value.ok_or(ContractError::Envelope { field })
        };
        let from = text(&map, "from")?;
        let sig = text(&map, "sig")?;
        let seq = map
            .get("seq")
            .cloned()
            .and_then(|v| serde_json::from_value(v).ok());
        let seq = seq.ok_or(ContractError::Envelope { field: "seq" })?;
        map.remove("sig");
        let signature = URL_SAFE_NO_PAD
            .decode(sig)
            .map_err(|_| ContractError::Envelope { field: "sig" })?;
        Ok(Unverified {
            from,
            seq,
            signature,
            map,
        })
    }

    /// Who it claims to be from.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Proves that the holder of `key` sent it on `topic`.
    ///
    /// # Errors
    /// [`ContractError::Signature`].
    pub fn verify(self, topic: &str, key: &PublicKey) -> Result<Verified, ContractError> {
        let bytes = signed_bytes(topic, &self.map)?;
        if !key.verify(&bytes, &self.signature) {
            return Err(ContractError::Signature);
        }
        Ok(Verified {
            from: self.from,
            seq: self.seq,
            map: self.map,
        })
    }

    /// Reads the body before its sender is proven: only for `enroll`, whose body names the key
    /// that it is then verified with.
    ///
    /// # Errors
    /// A missing or ill-typed field.
    pub fn unproven_body<T: DeserializeOwned>(&self) -> Result<T, ContractError> {
        read(self.map.clone())
    }
}

/// A message whose sender is proven.
#[derive(Debug)]
pub struct Verified {
    from: String,
    seq: Seq,
    map: Map<String, Value>,
}

impl Verified {
    /// Who sent it: a node's name or `controller`.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Its place among the sender's messages.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The body. Unknown fields are ignored.
    ///
    /// # Errors
    /// A missing or ill-typed field, by name.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ContractError> {
        read(self.map)
    }
}

fn read<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, ContractError> {
    serde_json::from_value(Value::Object(map)).map_err(|e| ContractError::Body {
        message: e.to_string(),
    })
}
