//! A mail by SMTP, with `lettre`; one connection for each.

use super::{
    MailTls, Receiver, Smtp,
    bounded::{Bounded, SMTP},
    queue::Outcome,
    trust,
};
use crate::support;
use lettre::{
    Address,
    address::Envelope,
    message::Mailbox,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{
            AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
        },
        extension::ClientId,
    },
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;

/// How long a server is waited for that has the mail already.
const GOODBYE: Duration = Duration::from_secs(1);
/// The most bytes of an address with its name.
const MAX_ADDRESS: usize = 320;

/// What is wrong with a mail address; `None`: nothing.
pub fn address_flaw(text: &str) -> Option<String> {
    if text.len() > MAX_ADDRESS || text.chars().any(char::is_control) {
        return Some("it is too long or has control characters".to_owned());
    }
    text.parse::<Mailbox>().err().map(|error| error.to_string())
}

/// Sends `message` to everybody of `smtp`. `sent` is set when it may have arrived.
pub(super) async fn send(
    smtp: &Smtp,
    receiver: &Receiver,
    message: Vec<u8>,
    sent: &AtomicBool,
) -> Outcome {
    let (server, ca) = (smtp.clone(), receiver.ca.clone());
    let made = tokio::task::spawn_blocking(move || {
        let protection = protection(&server, ca.as_deref())?;
        Ok::<_, Outcome>((protection, envelope(&server)?))
    });
    let (protection, envelope) = match made.await {
        Ok(Ok(made)) => made,
        Ok(Err(outcome)) => return outcome,
        Err(error) => return later(error.to_string(), false),
    };
    let hello = ClientId::default();
    let (stream, upgrade) = match connect(smtp, protection).await {
        Ok(connected) => connected,
        Err(outcome) => return outcome,
    };
    sent.store(true, Ordering::Relaxed);
    let talk = async {
        let mut server = AsyncSmtpConnection::connect_with_transport(stream, &hello).await?;
        if let Some(parameters) = upgrade {
            server.starttls(parameters, &hello).await?;
        }
        if let Some((name, password)) = &smtp.login {
            let login = Credentials::new(name.clone(), password.value().to_owned());
            server.auth(DEFAULT_MECHANISMS, &login).await?;
        }
        server.send(&envelope, &message).await?;
        Ok(server)
    };
    match talk.await {
        Ok(mut server) => {
            // It has the mail, however it takes the goodbye.
            tokio::spawn(async move {
                let _ = time::timeout(GOODBYE, server.quit()).await;
            });
            Outcome::Delivered
        }
        Err(error) => judge(&error, smtp),
    }
}

/// How the way to the server is protected.
enum Protection {
    Nothing,
    /// `STARTTLS`, which is `lettre`'s.
    Later(TlsParameters),
    AtOnce(Arc<ClientConfig>),
}

/// A stream to the server, which cannot say more than is good for us, and how it is protected
/// later.
async fn connect(
    smtp: &Smtp,
    protection: Protection,
) -> Result<(Box<dyn AsyncTokioStream>, Option<TlsParameters>), Outcome> {
    let (host, port) = (smtp.host.as_str(), smtp.port);
    let failed = |what: &str, error: std::io::Error| {
        let why = support::chain(&error);
        later(
            format!("{what} the mail server {host}:{port}: {why}"),
            false,
        )
    };
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| failed("cannot connect to", error))?;
    let peer = stream.peer_addr();
    let peer = peer.map_err(|error| failed("cannot connect to", error))?;
    let _ = stream.set_nodelay(true);
    let stream = Bounded::new(stream, peer, SMTP);
    let config = match protection {
        Protection::Nothing => return Ok((Box::new(stream), None)),
        Protection::Later(parameters) => return Ok((Box::new(stream), Some(parameters))),
        Protection::AtOnce(config) => config,
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Outcome::Refused {
        error: format!("`{host}` is no host that can be asked"),
    })?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| failed("no TLS to", error))?;
    // Within TLS as well: there an answer is one again.
    Ok((Box::new(Bounded::new(stream, peer, SMTP)), None))
}

fn later(error: String, perhaps: bool) -> Outcome {
    Outcome::Retry {
        error,
        after_ms: None,
        perhaps,
    }
}

fn protection(smtp: &Smtp, ca: Option<&Path>) -> Result<Protection, Outcome> {
    match smtp.tls {
        MailTls::None => return Ok(Protection::Nothing),
        MailTls::Implicit => {
            let config = trust::client_config(ca).map_err(|why| later(why, false))?;
            return Ok(Protection::AtOnce(config));
        }
        MailTls::Starttls => {}
    }
    let mut parameters =
        TlsParameters::builder(smtp.host.clone()).certificate_store(CertificateStore::None);
    for der in trust::certificates(ca).map_err(|why| later(why, false))? {
        // A system may have one that rustls does not read.
        if let Ok(certificate) = Certificate::from_der(der.to_vec()) {
            parameters = parameters.add_root_certificate(certificate);
        }
    }
    let parameters = parameters
        .build()
        .map_err(|error| later(support::chain(&error), false))?;
    Ok(Protection::Later(parameters))
}

fn envelope(smtp: &Smtp) -> Result<Envelope, Outcome> {
    let bare = |text: &String| -> Result<Address, Outcome> {
        let mailbox = text.parse::<Mailbox>();
        let wrong = |error| Outcome::Refused {
            error: format!("`{text}` is not a mail address: {error}"),
        };
        mailbox.map(|mailbox| mailbox.email).map_err(wrong)
    };
    let to: Result<Vec<Address>, Outcome> = smtp.to.iter().map(bare).collect();
    Envelope::new(Some(bare(&smtp.from)?), to?).map_err(|error| Outcome::Refused {
        error: error.to_string(),
    })
}

/// What a failure means: the server's own `5yz` is for good.
fn judge(error: &Error, smtp: &Smtp) -> Outcome {
    let server = format!("{}:{}", smtp.host, smtp.port);
    let why = support::chain(error);
    let code = error.status().map(u16::from);
    if let Some(534 | 535 | 538) = code {
        return Outcome::Refused {
            error: format!(
                "the mail server {server} does not take this user name and password: {why}"
            ),
        };
    }
    if error.is_permanent() {
        return Outcome::Refused {
            error: format!("the mail server {server} refused the mail: {why}"),
        };
    }
    // No login, no STARTTLS: another attempt may meet another server behind the same name.
    let perhaps = !error.is_transient() && !error.is_client() && !error.is_tls();
    later(
        format!("the mail server {server} did not take the mail: {why}"),
        perhaps && error.is_timeout(),
    )
}
