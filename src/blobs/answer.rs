//! A blob as the answer to a request: `Range`, `ETag`, `HEAD`, and its bytes as a stream, so that
//! no more than a chunk of it is ever in memory.

use super::{
    Blobs,
    range::{ContentRange, Part, part},
};
use crate::model::Digest;
use axum::body::{Body, Bytes};
use futures_util::stream;
use hyper::{HeaderMap, Method, Response, StatusCode, header};
use std::{
    fs::File,
    io::{self, Read},
    sync::{Arc, atomic::Ordering},
};
use tokio::task::spawn_blocking;

/// Bytes that are read at once: a turn of the disk and, with TLS, of the processor.
const CHUNK: u64 = 64 << 10;

/// Whether the one who asks may still have it; looked at before every chunk.
pub(crate) type Allowed = Box<dyn Fn() -> bool + Send>;

/// What `GET` or `HEAD` of a blob is answered with; `None`: it is not there.
pub(crate) async fn answer(
    blobs: Arc<Blobs>,
    digest: Digest,
    method: &Method,
    headers: &HeaderMap,
    allowed: Allowed,
) -> io::Result<Option<Response<Body>>> {
    if headers.get_all(header::RANGE).iter().count() > 1 {
        // Whoever sends two, or puts one in, gets none of them by chance.
        let text = "one `Range` is understood, and there are several\n";
        let refused = Response::builder().status(StatusCode::BAD_REQUEST);
        return refused
            .body(text.into())
            .map(Some)
            .map_err(io::Error::other);
    }
    let etag = format!("\"{digest}\"");
    let value = |name| headers.get(name).and_then(|v| v.to_str().ok());
    // A part of something else is of no use.
    let same = value(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let asked = value(header::RANGE).filter(|_| same && method == Method::GET);
    let asked = asked.map(str::to_owned);
    let known = value(header::IF_NONE_MATCH).is_some_and(|tag| tag == etag);
    let sender = blobs.clone();
    let opened = spawn_blocking(move || -> io::Result<_> {
        let size = blobs.open_at(&digest, 0)?.1;
        let part = part(asked.as_deref(), size);
        let from = match part {
            Part::Some { from, .. } => from,
            _ => 0,
        };
        Ok((blobs.open_at(&digest, from)?.0, size, part))
    });
    let (file, size, part) = match opened.await? {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let response = Response::builder()
        .header(header::ETAG, etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/octet-stream");
    let (response, length) = match part {
        _ if known => (response.status(StatusCode::NOT_MODIFIED), 0),
        Part::Whole => (response.header(header::CONTENT_LENGTH, size), size),
        Part::Some { from, end } => {
            let total = size;
            let range = ContentRange { from, end, total }.to_string();
            let response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range)
                .header(header::CONTENT_LENGTH, end - from);
            (response, end - from)
        }
        Part::Beyond => {
            let response = response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{size}"));
            (response, 0)
        }
    };
    let body = match method == Method::HEAD || length == 0 {
        true => Body::empty(),
        false => body(sender, file, length, allowed),
    };
    response.body(body).map(Some).map_err(io::Error::other)
}

/// The next so many bytes of a file. One that has fewer breaks off: the connection ends, and who
/// reads knows that something is missing.
fn body(blobs: Arc<Blobs>, file: File, left: u64, allowed: Allowed) -> Body {
    let read = move |(blobs, mut file, left, allowed): (Arc<Blobs>, File, u64, Allowed)| async move {
        if left == 0 {
            return Ok(None);
        }
        if !allowed() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let (file, chunk) = spawn_blocking(move || -> io::Result<_> {
            let count = usize::try_from(left.min(CHUNK)).unwrap_or(0);
            let mut chunk = vec![0; count];
            file.read_exact(&mut chunk)?;
            Ok((file, Bytes::from(chunk)))
        })
        .await??;
        let sent = chunk.len() as u64;
        blobs.traffic.sent.fetch_add(sent, Ordering::Relaxed);
        Ok(Some((chunk, (blobs, file, left - sent, allowed))))
    };
    Body::from_stream(stream::try_unfold((blobs, file, left, allowed), read))
}
