//! API tokens: bearer secrets with a role, of which only digests are stored.

use super::{IdentityError, key};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use utoipa::ToSchema;

/// What a token may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change workloads and command nodes.
    Operator,
    /// Everything: tokens, nodes, the audit trail.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Role, String> {
        match text {
            "viewer" => Ok(Role::Viewer),
            "operator" => Ok(Role::Operator),
            "admin" => Ok(Role::Admin),
            _ => Err(format!("`{text}` is not a role: viewer, operator or admin")),
        }
    }
}

/// A new token: shown once, then only its digest is kept.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// `fleetapi_` and 43 random characters.
    pub secret: String,
    /// [`ApiToken::digest`] of it.
    pub digest: String,
}

impl ApiToken {
    /// A random one.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn generate() -> Result<ApiToken, IdentityError> {
        let secret = format!(
            "fleetapi_{}",
            URL_SAFE_NO_PAD.encode(key::random_bytes::<32>()?)
        );
        Ok(ApiToken {
            digest: ApiToken::digest(&secret),
            secret,
        })
    }

    /// SHA-256, hex. A token has 256 random bits, so no slow hash is needed.
    pub fn digest(secret: &str) -> String {
        key::sha256_hex(secret.as_bytes())
    }
}
