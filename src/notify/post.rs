//! `POST` of JSON by HTTP/1.1, plain or over TLS; one connection for each request.

use super::{
    bounded::{Bounded, HTTP},
    queue::{LONGEST_WISH_MS, Outcome},
    text, trust,
};
use crate::{model::UnixMs, support};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;

/// The most of an answer that is read.
const MAX_ANSWER: usize = 16 * 1024;
/// Longer than any receiver's timeout.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// The most characters of an answer that are said.
const MAX_SAID: usize = 200;
/// The most bytes of an address.
const MAX_URL: usize = 2_048;

/// What is wrong with an address to post to; `None`: nothing. Does not repeat it, since it may
/// be a secret.
pub fn url_flaw(text: &str) -> Option<&'static str> {
    let Ok(uri) = text.parse::<Uri>() else {
        return Some("is not an address; write `https://host/path`");
    };
    if text.len() > MAX_URL {
        return Some("is longer than 2,048 bytes");
    }
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Some("must begin with `https://` or `http://`");
    }
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Some("must not have a user or password in it; use `headers` or `token_file`");
    }
    let bare = uri.host().unwrap_or_default();
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    if ServerName::try_from(bare).is_err() || uri.port_u16() == Some(0) {
        return Some("names no host that can be asked");
    }
    // A port that is no number is none for this type.
    let authority = uri.authority().map_or("", |a| a.as_str());
    let colon = authority
        .rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'));
    (colon && uri.port_u16().is_none()).then_some("has a port that is none")
}

/// Sends `body` to `url`. `sent` is set when it may have arrived.
pub(super) async fn post(
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    ca: Option<&Path>,
    now: UnixMs,
    sent: &AtomicBool,
) -> Outcome {
    match exchange(url, headers, body, ca, sent).await {
        Ok(response) => judge(response, now).await,
        Err(Trouble::Address(why)) => Outcome::Refused { error: why },
        Err(Trouble::Network(error)) => Outcome::Retry {
            error,
            after_ms: None,
            perhaps: sent.load(Ordering::Relaxed),
        },
    }
}

enum Trouble {
    /// Nothing can be sent there.
    Address(String),
    /// It did not work this time.
    Network(String),
}

async fn exchange(
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    ca: Option<&Path>,
    sent: &AtomicBool,
) -> Result<Response<Incoming>, Trouble> {
    let wrong = |why: &str| Trouble::Address(format!("the receiver's `url` {why}"));
    if let Some(why) = url_flaw(url) {
        return Err(wrong(why));
    }
    let uri: Uri = url.parse().map_err(|_| wrong("is not an address"))?;
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(header::HOST, uri.authority().map_or("", |a| a.as_str()))
        .header(header::USER_AGENT, crate::support::release::user_agent())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| Trouble::Address("a header has characters that cannot be sent".to_owned()))?;

    let network = |what: &str, error: &dyn std::error::Error| {
        Trouble::Network(format!("{what} {host}: {}", support::chain(error)))
    };
    let stream = TcpStream::connect((host, port)).await.map_err(|e| {
        // The port too, since a wrong one is the usual reason.
        let at = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        Trouble::Network(format!("cannot connect to {at}: {}", support::chain(&e)))
    })?;
    let peer = stream
        .peer_addr()
        .map_err(|e| network("cannot connect to", &e))?;
    let _ = stream.set_nodelay(true);
    let stream = Bounded::new(stream, peer, HTTP);
    let broke = |e: hyper::Error| network("the connection broke to", &e);
    if !tls {
        return ask(TokioIo::new(stream), request, sent)
            .await
            .map_err(broke);
    }
    let ca = ca.map(Path::to_owned);
    let config = tokio::task::spawn_blocking(move || trust::client_config(ca.as_deref()))
        .await
        .map_err(|e| network("no TLS to", &e))?
        .map_err(Trouble::Network)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("names no host"))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|e| network("no TLS to", &e))?;
    ask(TokioIo::new(stream), request, sent)
        .await
        .map_err(broke)
}

async fn ask<I>(
    io: I,
    request: Request<Full<Bytes>>,
    sent: &AtomicBool,
) -> Result<Response<Incoming>, hyper::Error>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(io).await?;
    // It ends when `sender` and the body are gone, and in any case.
    tokio::spawn(time::timeout(LONGEST, connection));
    sent.store(true, Ordering::Relaxed);
    sender.send_request(request).await
}

/// What an answer means.
async fn judge(response: Response<Incoming>, now: UnixMs) -> Outcome {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    if status.is_success() {
        return Outcome::Delivered;
    }
    let header = |name| {
        let value = parts.headers.get(name)?;
        value.to_str().ok()
    };
    if status.is_redirection() {
        let to = header(header::LOCATION).and_then(|to| to.parse::<Uri>().ok());
        let to = to.and_then(|to| Some(format!(" to {}", to.host()?)));
        return Outcome::Refused {
            error: format!(
                "it answered {status}{}; redirects are not followed: write the new address",
                to.unwrap_or_default()
            ),
        };
    }
    let after_ms = header(header::RETRY_AFTER).and_then(|wish| wish_ms(wish, now));
    let bytes = beginning(body).await;
    let said = String::from_utf8_lossy(&bytes);
    let said = text::cut(said.trim(), MAX_SAID);
    let error = match said.is_empty() {
        true => format!("it answered {status}"),
        false => format!("it answered {status}: {said}"),
    };
    let later = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        );
    if !later {
        return Outcome::Refused { error };
    }
    // Of these two a gateway says that it does not know what became of the request.
    let perhaps = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
    );
    Outcome::Retry {
        error,
        after_ms,
        perhaps,
    }
}

/// What can be read of an answer, at most [`MAX_ANSWER`].
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        let room = MAX_ANSWER - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if bytes.len() == MAX_ANSWER {
            break;
        }
    }
    bytes
}

/// `Retry-After`: seconds, or a date.
fn wish_ms(text: &str, now: UnixMs) -> Option<u64> {
    let text = text.trim();
    // Discord says fractions of a second elsewhere; a proxy may write them here.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    if is_number && let Ok(seconds) = text.parse::<f64>() {
        // One that is too large for any number is the longest, as every long one.
        return Some(((seconds * 1_000.0) as u64).min(LONGEST_WISH_MS));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    let at = u64::try_from(date.as_millisecond()).ok()?;
    Some(at.saturating_sub(now).min(LONGEST_WISH_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_can_be_posted_to_are_fine() {
        for fine in [
            "https://example.org/x?y=z",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/",
            "https://ntfy.sh/",
        ] {
            assert_eq!(url_flaw(fine), None, "{fine}");
        }
        for wrong in [
            "",
            "example.org",
            "/path",
            "ftp://example.org/",
            "https://",
            "https://me:secret@example.org/",
            "https://example.org:0/",
            "https://example.org:99999/",
            "https://exa mple.org/",
            "https://a_b!/",
            "javascript:alert(1)",
        ] {
            assert!(url_flaw(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_wish_is_seconds_or_a_date() {
        let now = 1_700_000_000_000;
        for (text, expected) in [
            ("7", Some(7_000)),
            (" 0.5 ", Some(500)),
            ("Tue, 14 Nov 2023 22:13:30 GMT", Some(10_000)),
            ("Tue, 14 Nov 2023 22:13:10 GMT", Some(0)),
            ("901", Some(LONGEST_WISH_MS)),
            ("1e400", Some(LONGEST_WISH_MS)),
            (&"9".repeat(400), Some(LONGEST_WISH_MS)),
            ("Tue, 14 Nov 2073 22:13:30 GMT", Some(LONGEST_WISH_MS)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
        ] {
            assert_eq!(wish_ms(text, now), expected, "{text}");
        }
    }
}
