//! Ed25519 keys (RFC 8032), randomness and digests, all by ring.

use super::{IdentityError, files};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use std::{fmt, path::Path, str::FromStr, sync::Arc};

/// A secret key. Its file holds the 32-byte seed, base64url, and is readable by its owner only.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl SigningKey {
    /// From a seed.
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        SigningKey(Arc::new(pair.expect("any 32 bytes are an Ed25519 seed")))
    }

    /// Reads the key in `path`; makes it when there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn open_or_create(path: &Path) -> Result<SigningKey, IdentityError> {
        if let Some(text) = files::read_optional(path)? {
            let seed = URL_SAFE_NO_PAD
                .decode(text.trim())
                .ok()
                .and_then(|b| b.try_into().ok());
            let seed: [u8; 32] = seed.ok_or_else(|| IdentityError::Damaged {
                path: path.display().to_string(),
                what: "not a 32-byte seed".to_owned(),
            })?;
            return Ok(SigningKey::from_seed(&seed));
        }
        let seed: [u8; 32] = random_bytes()?;
        files::write_private(path, URL_SAFE_NO_PAD.encode(seed).as_bytes())?;
        Ok(SigningKey::from_seed(&seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// 64 bytes; the same message always gives the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

/// A public key; as text base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether `signature` is of `message` by the holder of this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

/// A text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: 32 bytes in base64url are expected")]
pub struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<PublicKey, NotAKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| NotAKey)?;
        Ok(PublicKey(bytes.try_into().map_err(|_| NotAKey)?))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Random bytes of the operating system.
///
/// # Errors
/// [`IdentityError::Randomness`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IdentityError::Randomness)?;
    Ok(bytes)
}

/// A short random id: 16 hex digits.
///
/// # Errors
/// [`IdentityError::Randomness`].
pub fn random_id() -> Result<String, IdentityError> {
    Ok(hex(&random_bytes::<8>()?))
}

/// SHA-256 as hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
