//! One HTTP connection to whoever takes spans, kept open between requests.

use super::{Headers, OtlpEndpoint};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;

/// For one request, connecting included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, so that the connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// Where systems keep the certificates that they trust, in one file.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken.
    Taken,
    /// It may be later.
    Later {
        /// As the other side asks for.
        after: Option<Duration>,
        /// Why not now.
        reason: String,
    },
    /// It never will be.
    Refused(String),
}

/// Sends bodies.
pub(super) struct Post {
    endpoint: OtlpEndpoint,
    headers: Headers,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Post {
    pub(super) fn new(endpoint: OtlpEndpoint, headers: Headers) -> Post {
        Post {
            endpoint,
            headers,
            connection: None,
        }
    }

    pub(super) fn endpoint(&self) -> &OtlpEndpoint {
        &self.endpoint
    }

    /// One try.
    pub(super) async fn send(&mut self, body: Vec<u8>) -> Answer {
        let later = |reason| Answer::Later {
            after: None,
            reason,
        };
        match time::timeout(PATIENCE, self.exchange(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => later(reason),
            Err(_) => later("it does not answer".to_owned()),
        }
    }

    async fn exchange(&mut self, body: Vec<u8>) -> Result<Answer, String> {
        let mut connection = match self.connection.take().filter(|c| !c.is_closed()) {
            Some(connection) => connection,
            None => connect(&self.endpoint).await?,
        };
        connection.ready().await.map_err(|e| e.to_string())?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.endpoint.path)
            .header(header::HOST, self.endpoint.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, crate::support::release::user_agent());
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|e| e.to_string())?;
        let response = connection.send_request(request).await;
        let response = response.map_err(|e| e.to_string())?;
        let answer = judge(&response);
        let read = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        if read.is_ok() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// As OTLP says which answers are worth another try.
fn judge(response: &Response<Incoming>) -> Answer {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
    verdict(status, after.map(Duration::from_secs))
}

fn verdict(status: StatusCode, after: Option<Duration>) -> Answer {
    let reason = format!("it answered {status}");
    match status.as_u16() {
        200..=299 => Answer::Taken,
        429 | 502..=504 => Answer::Later { after, reason },
        _ => Answer::Refused(reason),
    }
}

async fn connect(endpoint: &OtlpEndpoint) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    let stream = stream.map_err(|e| e.to_string())?;
    let _ = stream.set_nodelay(true);
    if !endpoint.tls {
        return handshake(TokioIo::new(stream)).await;
    }
    let trusted = std::env::var_os("SSL_CERT_FILE");
    let config = trust(trusted.as_deref().map(Path::new))?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|e| e.to_string())?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    handshake(TokioIo::new(secured.map_err(|e| e.to_string())?)).await
}

/// The certificates that this system trusts.
fn trust(named: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let paths = named.into_iter().chain(TRUSTED.iter().map(Path::new));
    let Some(pem) = paths.into_iter().find_map(|p| std::fs::read(p).ok()) else {
        return Err("this system has no file of certificates to trust; install \
                    ca-certificates, or name one by SSL_CERT_FILE"
            .to_owned());
    };
    let mut roots = RootCertStore::empty();
    // One that is not understood is no reason not to trust the others.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn handshake<I>(io: I) -> Result<SendRequest<Full<Bytes>>, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told.
        let _ = connection.await;
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [
            (200, None),
            (202, None),
            (400, Some(false)),
            (401, Some(false)),
            (413, Some(false)),
            (429, Some(true)),
            (500, Some(false)),
            (502, Some(true)),
            (503, Some(true)),
            (504, Some(true)),
        ] {
            let said = verdict(StatusCode::from_u16(status).unwrap(), None);
            let found = match said {
                Answer::Taken => None,
                Answer::Later { .. } => Some(true),
                Answer::Refused(_) => Some(false),
            };
            assert_eq!(found, again, "{status}");
        }
    }
}
