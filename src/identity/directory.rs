//! The controller's `identity/` directory.

use super::{CertificateAuthority, IdentityError, SigningKey, StartCounter, tls};
use std::{path::Path, sync::Arc};

/// The fleet's key and CA, as a controller or a broker of the fleet holds them.
#[derive(Debug)]
pub struct FleetIdentity {
    /// Signs every message of the controller, credentials and join secrets.
    pub key: SigningKey,
    /// Signs server certificates.
    pub ca: CertificateAuthority,
    /// How often a role has started on this directory.
    pub start: u64,
}

impl FleetIdentity {
    /// Opens `<data_dir>/identity`, making what is missing, and counts a start of `role`.
    ///
    /// # Errors
    /// A file cannot be read, written or understood; it is named.
    pub fn open(data_dir: &Path, role: &str, now_ms: u64) -> Result<FleetIdentity, IdentityError> {
        let dir = data_dir.join("identity");
        let key = SigningKey::open_or_create(&dir.join("fleet.key"))?;
        let ca = CertificateAuthority::open_or_create(&dir)?;
        // Not below the clock: a directory restored from an older backup would repeat numbers,
        // and every node would refuse what its controller says. A control host has a clock.
        let path = dir.join(format!("{role}.starts"));
        let start = StartCounter::next_above(&path, now_ms / 1000, now_ms)?;
        Ok(FleetIdentity { key, ca, start })
    }

    /// A TLS configuration whose certificate names `names`.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn server_config(
        &self,
        names: &[String],
        now_ms: u64,
    ) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let year = 1970 + i32::try_from(now_ms / 31_556_952_000).unwrap_or(0);
        let (chain, key) = self.ca.server_certificate(names, year)?;
        tls::server_config(chain, key).map_err(|e| IdentityError::Certificate(e.to_string()))
    }
}
