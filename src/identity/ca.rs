//! The fleet's own certificate authority and the server certificate.

use super::{IdentityError, files, not_after_ms};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The one name that every server certificate of a fleet carries and every client checks,
/// whatever address it used: boards get new addresses by DHCP, and a certificate must not break
/// for it.
pub const SERVER_NAME: &str = "controller.fleetctl.internal";

/// The CA: `ca.crt`, `ca.key`; and the server's `server.crt`, `server.key`, made anew at each
/// start with the addresses that the machine has then.
#[derive(Debug)]
pub struct CertificateAuthority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
    path: PathBuf,
    /// When the first of the server certificates that this process made ends; 0: it made none.
    first_end_ms: AtomicU64,
}

impl CertificateAuthority {
    /// Reads the CA in `dir`; makes it when there is none.
    ///
    /// # Errors
    /// A file cannot be read, written or understood.
    pub fn open_or_create(dir: &Path) -> Result<CertificateAuthority, IdentityError> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let damaged = |path: &Path, what: String| IdentityError::Damaged {
            path: path.display().to_string(),
            what,
        };
        // The certificate is written last, so that with it the key is there too.
        if let Some(pem) = files::read_optional(&cert_path)? {
            let key_pem = files::read_to_string(&key_path)?;
            let key = KeyPair::from_pem(&key_pem).map_err(|e| damaged(&key_path, e.to_string()))?;
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|e| damaged(&cert_path, e.to_string()))?;
            return Ok(Self {
                certificate_pem: pem,
                certificate,
                key,
                path: cert_path,
                first_end_ms: AtomicU64::new(0),
            });
        }
        let key = KeyPair::generate().map_err(failed)?;
        files::write_private(&key_path, key.serialize_pem().as_bytes())?;
        let certificate = params()?.self_signed(&key).map_err(failed)?;
        files::write_private(&cert_path, certificate.pem().as_bytes())?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
            path: cert_path,
            first_end_ms: AtomicU64::new(0),
        })
    }

    /// The CA's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Where the PEM file is: what `FLEETCTL_CA` names.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The CA's certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When the first of the server certificates ends that this process made; `None`: it made
    /// none.
    pub fn server_end_ms(&self) -> Option<u64> {
        Some(self.first_end_ms.load(Ordering::Relaxed)).filter(|end| *end > 0)
    }

    /// A server certificate for [`SERVER_NAME`] and `names` (host names and addresses): the chain
    /// and its key. Valid from 1970, since boards wake up there, for 30 years from `year`.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn server_certificate(
        &self,
        names: &[String],
        year: i32,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
        let mut all = vec![SERVER_NAME.to_owned(), "localhost".to_owned()];
        all.extend(
            names
                .iter()
                .filter(|n| *n != "localhost" && n.is_ascii())
                .cloned(),
        );
        let mut leaf = CertificateParams::new(all).map_err(failed)?;
        leaf.distinguished_name
            .push(DnType::CommonName, "fleetctl controller");
        leaf.not_before = date_time_ymd(1970, 1, 1);
        leaf.not_after = date_time_ymd(year.max(2026) + 30, 1, 1);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer_params = params()?;
        let issuer = Issuer::from_params(&issuer_params, &self.key);
        let signed = leaf.signed_by(&key, &issuer).map_err(failed)?;
        if let Some(end) = not_after_ms(signed.der()) {
            let earlier = |known: u64| (known == 0 || end < known).then_some(end);
            let _ = self
                .first_end_ms
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
        }
        let chain = vec![signed.der().clone(), self.certificate.clone()];
        Ok((
            chain,
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        ))
    }
}

/// The CA certificate's fields. Constant, so that an issuer can be made from them later without
/// parsing the certificate.
fn params() -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "fleetctl CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2126, 1, 1);
    Ok(params)
}

fn failed(error: rcgen::Error) -> IdentityError {
    IdentityError::Certificate(error.to_string())
}
