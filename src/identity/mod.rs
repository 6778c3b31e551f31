//! Who is who: keys, certificates, tokens.
//!
//! | what | made by | proves |
//! |---|---|---|
//! | fleet key (Ed25519) | the controller's first start | every message of the controller |
//! | CA and server certificate | the controller's first start | the TLS listeners |
//! | join token | the controller | that a machine may ask to join; carries what it must trust |
//! | node key (Ed25519) | the agent's first start | every message of that node |
//! | credential | the controller, signed with the fleet key | to any broker of the fleet that this key is that node |
//! | API token | the controller | an operator and his role; only its digest is stored |
//!
//! A broker needs only the fleet's public key: credentials, join secrets and the controller's own
//! login are all statements that verify with it, and what must be refused all the same stands in
//! the signed, retained [`crate::contract::Access`] document.

mod api_token;
mod ca;
pub mod credential;
mod directory;
mod files;
mod join;
mod key;
mod tls;
mod validity;

pub use api_token::{ApiToken, Role};
pub use ca::{CertificateAuthority, SERVER_NAME};
pub use directory::FleetIdentity;
pub use files::{FileError, StartCounter, read_optional, read_to_string, write_private};
pub use join::{JoinToken, JoinTokenError, join_secret, proof, verify_join_secret, verify_proof};
pub use key::{PublicKey, SigningKey, random_bytes, random_id, sha256_hex};
pub use tls::{
    ServerTrust, client_config, external_client_config, fleet_or_system_config, server_config,
};
pub use validity::{first_end_ms, not_after_ms};

/// Something that should not happen to an identity: a damaged file, no randomness.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{path} is damaged ({what}); restore it from a backup")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}
