//! Whom we believe on the way to a receiver: the system's CAs, and one of the operator's.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// A PEM file larger than this is none of ours.
const MAX_PEM: u64 = 1 << 20;

/// The certificates of the CAs that are trusted: of the system, and in `ca`.
///
/// # Errors
/// `ca` holds no certificate, or there are none at all. A sentence.
pub(super) fn certificates(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "a CA of the system is not readable");
    }
    let mut all = found.certs;
    if let Some(path) = ca {
        all.extend(read(path)?);
    }
    if all.is_empty() {
        return Err(
            "this machine has no CA certificates; install the package ca-certificates, or give \
             `ca`"
                .to_owned(),
        );
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = crate::manifest::shown(&path.display().to_string());
    let size = std::fs::metadata(path).map_or(0, |data| data.len());
    if size > MAX_PEM {
        return Err(format!("the CA file {shown} is larger than 1 MiB"));
    }
    let text =
        std::fs::read(path).map_err(|e| format!("the CA file {shown} cannot be read: {e}"))?;
    let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match own {
        Ok(own) if !own.is_empty() => Ok(own),
        _ => Err(format!(
            "the CA file {shown} holds no certificate in PEM form"
        )),
    }
}

/// A client's configuration. That of the system alone is made once; reads files.
///
/// # Errors
/// As [`certificates`].
pub(super) fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    static OF_THE_SYSTEM: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);
    if ca.is_some() {
        // Without the lock: that file may be on a disk that hangs.
        return make(ca);
    }
    let mut made = OF_THE_SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*made {
        return Ok(config.clone());
    }
    let config = make(None)?;
    *made = Some(config.clone());
    Ok(config)
}

fn make(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(ca)?);
    if added == 0 {
        return Err("none of the CA certificates can be used".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
