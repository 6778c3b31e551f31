//! TLS configurations: rustls with ring, nothing else.

use super::SERVER_NAME;
use ring::digest::{SHA256, digest};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::sync::{Arc, OnceLock};

/// How a client knows a server of its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTrust {
    /// By SHA-256 of the CA's certificate (DER), which the server sends along: what a join token
    /// carries.
    Fingerprint([u8; 32]),
    /// By the CA's certificate, PEM.
    Pem(String),
}

/// A server's configuration.
///
/// # Errors
/// The key does not belong to the certificate.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // One ticket is enough for a client that reconnects, and each costs bytes on the wire.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// A client's configuration for servers of the fleet: their certificate must be signed by the
/// fleet's CA and name [`SERVER_NAME`], whatever address was dialled.
///
/// # Errors
/// The PEM holds no certificate.
pub fn client_config(trust: ServerTrust) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(default_provider());
    let known = match &trust {
        ServerTrust::Pem(pem) => Some(verifier(
            CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|e| Error::General(format!("no CA certificate: {e}")))?,
            &provider,
        )?),
        ServerTrust::Fingerprint(_) => None,
    };
    let fleet = FleetVerifier {
        trust,
        known,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(fleet))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client's configuration for a broker that is not ours: `ca_pem` signs it, and its name is
/// checked.
///
/// # Errors
/// The PEM holds no certificate.
pub fn external_client_config(ca_pem: &str) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let der = certificate.map_err(|e| Error::General(format!("no CA certificate: {e}")))?;
        roots.add(der)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client's configuration for a server that belongs to the fleet with this CA (SHA-256, hex),
/// or whose certificate and name the system trusts.
///
/// # Errors
/// The fingerprint is none.
pub fn fleet_or_system_config(ca_sha256: Option<&str>) -> Result<Arc<ClientConfig>, Error> {
    let damaged = || Error::General("the fingerprint of the fleet's CA is damaged".into());
    let print = match ca_sha256 {
        None => None,
        Some(hex) => {
            let print = hex.parse::<crate::model::Digest>();
            Some(print.map_err(|_| damaged())?.bytes())
        }
    };
    let provider = Arc::new(default_provider());
    let fleet = print.map(|print| FleetVerifier {
        trust: ServerTrust::Fingerprint(print),
        known: None,
        provider: provider.clone(),
    });
    let either = EitherVerifier {
        fleet,
        system: OnceLock::new(),
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(either))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn verifier(
    ca: CertificateDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| Error::General(e.to_string()))
}

#[derive(Debug)]
struct FleetVerifier {
    trust: ServerTrust,
    known: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl FleetVerifier {
    /// The server sends the CA that is known by its fingerprint along.
    fn is_shown(&self, intermediates: &[CertificateDer<'_>]) -> bool {
        let ServerTrust::Fingerprint(wanted) = &self.trust else {
            return false;
        };
        let mut all = intermediates.iter();
        all.any(|c| digest(&SHA256, c).as_ref() == wanted)
    }
}

impl ServerCertVerifier for FleetVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|_| Error::General("the fleet's server name is not a name".into()))?;
        if let Some(known) = &self.known {
            return known.verify_server_cert(end_entity, intermediates, &name, ocsp, now);
        }
        let ServerTrust::Fingerprint(wanted) = &self.trust else {
            return Err(Error::General("no CA is known".into()));
        };
        let ca = intermediates
            .iter()
            .find(|c| digest(&SHA256, c).as_ref() == wanted);
        let ca = ca.ok_or_else(|| {
            Error::General(
                "the server does not belong to the fleet of this join token (its CA differs)"
                    .into(),
            )
        })?;
        verifier(ca.clone().into_owned(), &self.provider)?.verify_server_cert(
            end_entity,
            &[],
            &name,
            ocsp,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Who shows the fleet's CA is judged by it, everybody else by the system's CAs, which are read
/// when they are needed first.
#[derive(Debug)]
struct EitherVerifier {
    fleet: Option<FleetVerifier>,
    system: OnceLock<Result<Arc<WebPkiServerVerifier>, Error>>,
    provider: Arc<CryptoProvider>,
}

impl EitherVerifier {
    fn system(&self) -> Result<&Arc<WebPkiServerVerifier>, Error> {
        let made = self.system.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|e| Error::General(format!("this machine has no CA certificates: {e}")))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for EitherVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ours = self
            .fleet
            .as_ref()
            .filter(|fleet| fleet.is_shown(intermediates));
        match ours {
            Some(fleet) => fleet.verify_server_cert(end_entity, intermediates, dialled, ocsp, now),
            None => {
                let system = self.system()?;
                system.verify_server_cert(end_entity, intermediates, dialled, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
