//! One request for a blob, over a connection of its own.

use super::{NodeBlobs, Place};
use crate::{blobs::ContentRange, model::Digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;

/// For a connection, and for TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// For the head of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Why there is no answer to go on with.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too much to do; may be asked again after so long.
    Busy(Duration),
    /// Not reached, broken, or not understood. A sentence without its end.
    Broken(String),
    /// It is not there.
    Missing,
}

/// The body of an answer, and how many bytes the whole blob has.
pub(super) type Answer = (Incoming, u64);

/// Asks every place once, one after the other, for the bytes from `from` to before `end`. Says
/// what each of them said where none has it.
pub(super) async fn anywhere(
    blobs: &NodeBlobs,
    digest: Digest,
    from: u64,
    end: Option<u64>,
) -> Result<Answer, Refused> {
    let mut broken = Vec::new();
    let (mut missing, mut busy) = (false, None);
    for (index, place) in blobs.places() {
        match ask(blobs, &place, digest, from, end).await {
            Ok(answer) => {
                blobs.answered(index);
                return Ok(answer);
            }
            Err(Refused::Broken(why)) => broken.push(format!("{}: {why}", place.authority())),
            Err(Refused::Missing) => missing = true,
            Err(Refused::Busy(wait)) => busy = Some(wait),
        }
    }
    match (busy, missing) {
        (Some(wait), _) => Err(Refused::Busy(wait)),
        (None, true) => Err(Refused::Missing),
        (None, false) => Err(Refused::Broken(broken.join("; "))),
    }
}

async fn ask(
    blobs: &NodeBlobs,
    place: &Place,
    digest: Digest,
    from: u64,
    end: Option<u64>,
) -> Result<Answer, Refused> {
    let answer = match time::timeout(
        ANSWER,
        exchange(blobs, place, &format!("/blobs/{digest}"), from, end),
    )
    .await
    {
        Ok(answer) => answer.map_err(Refused::Broken)?,
        Err(_) => return Err(Refused::Broken("no answer in time".into())),
    };
    let said = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range: Option<ContentRange> =
                said(header::CONTENT_RANGE).and_then(|r| r.parse().ok());
            match range.filter(|r| r.from == from && end.is_none_or(|end| r.end <= end)) {
                Some(range) => Ok((answer.into_body(), range.total)),
                None => Err(Refused::Broken("another part than was asked for".into())),
            }
        }
        // Asked for all of it.
        StatusCode::OK if from == 0 => {
            let size = said(header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
            let size = size.ok_or(Refused::Broken("an answer without a length".into()))?;
            Ok((answer.into_body(), size))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds = said(header::RETRY_AFTER).and_then(|s| s.parse().ok());
            Err(Refused::Busy(Duration::from_secs(
                seconds.unwrap_or(5).clamp(1, 60),
            )))
        }
        StatusCode::NOT_FOUND => Err(Refused::Missing),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Refused::Broken(
            "it does not take this node's credential; was the node revoked?".into(),
        )),
        other => Err(Refused::Broken(format!("it answers {other}"))),
    }
}

/// A small document, from the first place that answers; `None`: it is not there. The error is a
/// sentence.
pub(super) async fn document(
    blobs: &NodeBlobs,
    what: &str,
    most: usize,
) -> Result<Option<Bytes>, String> {
    let mut broken = "there is no controller to ask".to_owned();
    for (index, place) in blobs.places() {
        let asked = async {
            let answer = exchange(blobs, &place, what, 0, None).await?;
            match answer.status() {
                StatusCode::OK => {
                    let body = Limited::new(answer.into_body(), most).collect().await;
                    let body = body.map_err(|e| e.to_string())?;
                    Ok(Some(body.to_bytes()))
                }
                StatusCode::NOT_FOUND => Ok(None),
                other => Err(format!("it answers {other}")),
            }
        };
        match time::timeout(ANSWER, asked).await {
            Ok(Ok(found)) => {
                blobs.answered(index);
                return Ok(found);
            }
            Ok(Err(why)) => broken = format!("{}: {why}", place.authority()),
            Err(_) => broken = format!("{}: no answer in time", place.authority()),
        }
    }
    Err(broken)
}

async fn exchange(
    blobs: &NodeBlobs,
    place: &Place,
    what: &str,
    from: u64,
    end: Option<u64>,
) -> Result<Response<Incoming>, String> {
    let to = (place.address.host.as_str(), place.address.port);
    let stream = match time::timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("it does not answer".into()),
    };
    let _ = stream.set_nodelay(true);
    let statement = STANDARD.encode(format!("node:{}", blobs.statement()));
    let mut request = Request::get(format!("{}{what}", place.path))
        .header(header::HOST, place.authority())
        .header(header::AUTHORIZATION, format!("Basic {statement}"))
        .header(header::CONNECTION, "close");
    let range = match end {
        Some(end) => Some(format!("bytes={from}-{}", end.saturating_sub(1))),
        None => (from > 0).then(|| format!("bytes={from}-")),
    };
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let request = request.body(Empty::new()).map_err(|e| e.to_string())?;
    let Some(config) = &place.address.tls else {
        return send(stream, request).await;
    };
    let name = ServerName::try_from(place.address.host.clone()).map_err(|e| e.to_string())?;
    let secured = TlsConnector::from(config.clone()).connect(name, stream);
    match time::timeout(CONNECT, secured).await {
        Ok(Ok(stream)) => send(stream, request).await,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".into()),
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let said = |error: hyper::Error| crate::support::chain(&error);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    // Ends with the body: dropping that closes the connection.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(said)
}
