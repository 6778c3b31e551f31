//! A mail by SMTP, with `lettre`; one connection for each.

use super::{MailTls, Receiver, Smtp, queue::Outcome, trust};
use crate::support;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    address::Envelope,
    message::Mailbox,
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

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
    let limit = Duration::from_millis(receiver.timeout_ms);
    let made = tokio::task::spawn_blocking(move || {
        let tls = tls(&server, ca.as_deref())?;
        Ok::<_, Outcome>((tls, envelope(&server)?))
    });
    let (tls, envelope) = match made.await {
        Ok(Ok(made)) => made,
        Ok(Err(outcome)) => return outcome,
        Err(error) => return later(error.to_string(), false),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.as_str())
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(limit));
    if let Some((name, password)) = &smtp.login {
        let password = password.value().to_owned();
        builder = builder.credentials(Credentials::new(name.clone(), password));
    }
    sent.store(true, Ordering::Relaxed);
    match builder.build().send_raw(&envelope, &message).await {
        Ok(_) => Outcome::Delivered,
        Err(error) => judge(&error, smtp),
    }
}

fn later(error: String, perhaps: bool) -> Outcome {
    Outcome::Retry {
        error,
        after_ms: None,
        perhaps,
    }
}

fn tls(smtp: &Smtp, ca: Option<&Path>) -> Result<Tls, Outcome> {
    if smtp.tls == MailTls::None {
        return Ok(Tls::None);
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
    Ok(match smtp.tls {
        MailTls::Implicit => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
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
