//! Asking an instance whether it works: HTTP and TCP from the node, a command beside it, or the
//! image's own check. Answers in one sentence when it does not.

use crate::{
    model::{ExecSpec, HealthCheck},
    runtime::{ExecOutput, Runtime},
};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time,
};

/// Bytes of the last line that a failed command wrote, for the sentence.
const SHOWN: usize = 200;

/// Asks once; ends within `timeout_ms`.
pub(super) async fn ask(
    runtime: Option<Arc<dyn Runtime>>,
    handle: &str,
    check: &HealthCheck,
    timeout_ms: u64,
) -> Result<(), String> {
    let limit = Duration::from_millis(timeout_ms);
    let none = || "its engine is not there".to_owned();
    let asking = async {
        match check {
            HealthCheck::Tcp(address) => connect(address).await.map(drop),
            HealthCheck::Http(url) => get(url).await,
            HealthCheck::Exec(command) => {
                let runtime = runtime.ok_or_else(none)?;
                let (code, last) = run(&*runtime, handle, command, timeout_ms).await?;
                match (code, last.is_empty()) {
                    (0, _) => Ok(()),
                    (code, true) => Err(format!("the check ended with exit code {code}")),
                    (code, false) => Err(format!("the check ended with exit code {code}: {last}")),
                }
            }
            HealthCheck::Image => {
                let runtime = runtime.ok_or_else(none)?;
                runtime.probe_image(handle, timeout_ms).await
            }
            // Never asked: the time that it is up decides.
            HealthCheck::None => Ok(()),
        }
    };
    match time::timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {timeout_ms} ms")),
    }
}

/// Runs a command beside an instance; its exit code and the last line that it wrote.
pub(super) async fn run(
    runtime: &dyn Runtime,
    handle: &str,
    command: &[String],
    timeout_ms: u64,
) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        command: command.to_vec(),
        timeout_ms: Some(timeout_ms),
        ..ExecSpec::default()
    };
    let (output, mut written) = mpsc::channel::<ExecOutput>(16);
    let reading = async {
        let mut tail: Vec<u8> = Vec::new();
        while let Some(piece) = written.recv().await {
            tail.extend_from_slice(&piece.data);
            let surplus = tail.len().saturating_sub(4 * SHOWN);
            tail.drain(..surplus);
        }
        let text = String::from_utf8_lossy(&tail);
        let last = text.lines().rev().find(|l| !l.trim().is_empty());
        let last: String = last
            .unwrap_or_default()
            .trim()
            .chars()
            .take(SHOWN)
            .collect();
        last
    };
    let running = runtime.exec(handle, &spec, output, None);
    let (code, last) = tokio::join!(running, reading);
    Ok((code.map_err(|error| error.to_string())?, last))
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await;
    stream.map_err(|error| format!("{address} does not answer: {error}"))
}

async fn get(url: &str) -> Result<(), String> {
    let wrong = || format!("`{url}` is not an address");
    let uri: hyper::Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?.to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let address = if bare.contains(':') {
        format!("[{bare}]:{port}")
    } else {
        format!("{bare}:{port}")
    };
    let stream = connect(&address).await?;
    if secure {
        let name = rustls::pki_types::ServerName::try_from(bare).map_err(|_| wrong())?;
        let connector = tokio_rustls::TlsConnector::from(unverified()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("{address} does not speak TLS: {error}"))?;
        request(stream, &uri, &host, url).await
    } else {
        request(stream, &uri, &host, url).await
    }
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &hyper::Uri,
    host: &str,
    url: &str,
) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("{url} does not answer: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let request = hyper::Request::get(path)
        .header("host", host)
        .header("user-agent", crate::support::release::user_agent())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("`{url}` cannot be asked for: {error}"))?;
    let answering = sender.send_request(request);
    tokio::pin!(answering);
    // The body is not read: the status is the answer. A server that closes at once may have
    // answered before.
    let answer = tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = connection => {
            ended.map_err(failed)?;
            answering.await
        }
    };
    let answer = answer.map_err(failed)?;
    let status = answer.status();
    if (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(format!("{url} answers {status}"))
    }
}

/// TLS whose certificate nobody checks: whether a service of this very node works is asked, not
/// who it is, and its name is rarely that of an address on loopback.
fn unverified() -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Anybody(provider.clone()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn server(answer: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
            }
        });
        address.to_string()
    }

    async fn http(answer: &'static [u8]) -> Result<(), String> {
        let url = format!("http://{}/healthz?x=1", server(answer).await);
        ask(None, "x", &HealthCheck::Http(url), 2_000).await
    }

    #[tokio::test]
    async fn the_status_is_the_answer() {
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(http(empty).await, Ok(()));
        let bad = http(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        assert!(bad.unwrap_err().contains("503"), "names the status");
        assert!(http(b"nonsense\r\n\r\n").await.is_err());
        assert!(http(b"").await.is_err());
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let check = HealthCheck::Tcp(address.clone());
        assert_eq!(ask(None, "x", &check, 1_000).await, Ok(()));
        drop(listener);
        let error = ask(None, "x", &check, 1_000).await.unwrap_err();
        assert!(error.contains(&address), "{error}");
    }

    #[tokio::test]
    async fn silence_is_a_failure() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let error = ask(None, "x", &HealthCheck::Http(url), 50)
            .await
            .unwrap_err();
        assert_eq!(error, "no answer within 50 ms");
    }
}
