//! A registry for one image, on this machine, for as long as an engine fetches from it.
//!
//! It speaks the reading half of the OCI distribution API, listens on loopback only, and the one
//! name that it knows is random: nobody else on the board finds anything here. What it gives comes
//! from the controller at that moment, and only what the image's manifests name; a blob whose bytes
//! are not what its name says never ends, so that no engine can take it for whole.

use crate::{
    image::{Descriptor, Index, MAX_MANIFEST, Manifest, is_index, parse},
    model::Digest,
    runtime::{LENT, Lent},
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

/// Connections at once; an engine fetches three or six layers at a time.
const MAX_CONNECTIONS: usize = 32;
/// For a request's head to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// The only tag.
const TAG: &str = "1";

/// Bytes as they come; the error is a sentence.
pub(super) type Flow = BoxStream<'static, Result<Bytes, String>>;

/// Where blobs come from. Whole ones are checked: a wrong one ends with an error.
pub(super) trait Source: Send + Sync + 'static {
    /// A blob, or of it the bytes from the first to before the second number; and how many bytes
    /// the whole blob has.
    fn open(
        &self,
        digest: Digest,
        range: Option<(u64, u64)>,
    ) -> BoxFuture<'static, Result<(u64, Flow), String>>;
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

struct Registry {
    /// The image's only name here.
    name: String,
    source: Arc<dyn Source>,
    top: Digest,
    sent: Arc<AtomicU64>,
    known: Arc<Mutex<Known>>,
}

/// What the manifests that were read so far name.
#[derive(Default)]
struct Known {
    /// And their media types, which an engine must be told.
    manifests: BTreeMap<Digest, String>,
    read: BTreeMap<Digest, Bytes>,
    /// With their bytes.
    blobs: BTreeMap<Digest, u64>,
    /// What did not come, and why: engines ask again and again, and it is as true each time.
    failed: BTreeMap<Digest, String>,
}

/// Ends with what holds it.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the registry.
///
/// # Errors
/// No address could be had.
pub(super) async fn open(
    source: Arc<dyn Source>,
    top: Digest,
    media_type: &str,
    platforms: Vec<String>,
) -> io::Result<Lent> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let id = crate::identity::random_id().map_err(io::Error::other)?;
    let name = format!("{LENT}{id}");
    let reference = format!("127.0.0.1:{port}/{name}:{TAG}");
    let sent = Arc::new(AtomicU64::new(0));
    let known = Known {
        manifests: BTreeMap::from([(top, media_type.to_owned())]),
        ..Known::default()
    };
    let registry = Arc::new(Registry {
        name,
        source,
        top,
        sent: sent.clone(),
        known: Arc::new(Mutex::new(known)),
    });
    let task = tokio::spawn(serve(listener, registry));
    Ok(Lent {
        reference,
        platforms,
        sent,
        ends: Box::new(Ends(task.abort_handle())),
    })
}

async fn serve(listener: TcpListener, registry: Arc<Registry>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: it passes.
                    tracing::debug!(%error, "no connection for an engine");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let registry = registry.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let registry = registry.clone();
                async move { Ok::<_, Infallible>(registry.answer(&request).await) }
            });
            // Whoever breaks off comes again.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Registry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<B>(&self, request: &Request<B>) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return said(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                "nothing is taken here",
            );
        }
        let whole = request.method() == Method::GET;
        let path = request.uri().path();
        if path == "/v2/" || path == "/v2" {
            return said(StatusCode::OK, "", "");
        }
        let rest = path
            .strip_prefix("/v2/")
            .and_then(|p| p.strip_prefix(self.name.as_str()));
        let rest = rest.unwrap_or_default();
        if let Some(wanted) = rest.strip_prefix("/manifests/") {
            let digest = match wanted {
                TAG => Some(self.top),
                digest => digest.parse().ok(),
            };
            return match digest {
                Some(digest) => self.manifest(digest, whole).await,
                None => missing("MANIFEST_UNKNOWN"),
            };
        }
        match rest.strip_prefix("/blobs/").map(str::parse) {
            Some(Ok(digest)) => {
                let range = request.headers().get(header::RANGE);
                let range = range.and_then(|r| r.to_str().ok()).filter(|_| whole);
                self.blob(digest, range, whole).await
            }
            _ => missing("NAME_UNKNOWN"),
        }
    }

    async fn manifest(&self, digest: Digest, whole: bool) -> Answer {
        let (kind, read) = {
            let known = self.known();
            let kind = known.manifests.get(&digest).cloned();
            (kind, known.read.get(&digest).cloned())
        };
        let Some(kind) = kind else {
            return missing("MANIFEST_UNKNOWN");
        };
        let bytes = match read {
            Some(bytes) => bytes,
            None => match self.read_manifest(digest, &kind).await {
                Ok(bytes) => bytes,
                Err(why) => return broken(&why),
            },
        };
        let answer = Response::builder()
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, bytes.len())
            .header("docker-content-digest", digest.to_string());
        let bytes = if whole { bytes } else { Bytes::new() };
        answer
            .body(full(bytes))
            .unwrap_or_else(|_| missing("MANIFEST_UNKNOWN"))
    }

    /// Fetches one, and learns what it names.
    async fn read_manifest(&self, digest: Digest, kind: &str) -> Result<Bytes, String> {
        let (size, mut flow) = self.source.open(digest, None).await?;
        if size > MAX_MANIFEST {
            return Err(format!("{digest} has {size} bytes: that is no manifest"));
        }
        let mut bytes = Vec::new();
        while let Some(more) = flow.next().await {
            bytes.extend_from_slice(&more?);
            if bytes.len() as u64 > size {
                return Err(format!("{digest} is longer than it said"));
            }
        }
        if Digest::of(&bytes) != digest {
            return Err(format!("what came as {digest} is something else"));
        }
        let says = |e: crate::image::ImageError| e.to_string();
        let mut known = self.known();
        if is_index(kind) {
            let index: Index = parse("the image's index", &bytes).map_err(says)?;
            let listed = index.manifests.into_iter();
            known
                .manifests
                .extend(listed.map(|m| (m.digest, m.media_type)));
        } else {
            let manifest: Manifest = parse("the image's manifest", &bytes).map_err(says)?;
            let of = |d: Descriptor| (d.digest, d.size);
            known.blobs.extend(manifest.layers.into_iter().map(of));
            known.blobs.extend([of(manifest.config)]);
        }
        let bytes = Bytes::from(bytes);
        known.read.insert(digest, bytes.clone());
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn blob(&self, digest: Digest, range: Option<&str>, whole: bool) -> Answer {
        let Some(size) = self.known().blobs.get(&digest).copied() else {
            return missing("BLOB_UNKNOWN");
        };
        if let Some(why) = self.known().failed.get(&digest) {
            return hopeless(why);
        }
        let part = range.and_then(|range| part(range, size));
        let (from, end) = part.unwrap_or((0, size));
        let mut answer = Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_LENGTH, end - from)
            .header("docker-content-digest", digest.to_string());
        if part.is_some() {
            let range = format!("bytes {from}-{}/{size}", end.saturating_sub(1));
            answer = answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range);
        }
        let body = if !whole || from == end {
            full(Bytes::new())
        } else {
            match self.source.open(digest, part).await {
                Ok((there, flow)) if there == size => {
                    flowing(digest, flow, self.sent.clone(), self.known.clone())
                }
                Ok((there, _)) => {
                    let why = format!("{digest} has {there} bytes where {size} were announced");
                    return broken(&why);
                }
                Err(why) => return broken(&why),
            }
        };
        answer
            .body(body)
            .unwrap_or_else(|_| missing("BLOB_UNKNOWN"))
    }
}

/// The bytes of `bytes=a-b`, as from and before; `None` for anything else, and for all of them.
fn part(range: &str, size: u64) -> Option<(u64, u64)> {
    let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from: u64 = from.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (from < end && (from, end) != (0, size)).then_some((from, end))
}

/// One piece behind, so that the last one goes out only when the source has said that all is right.
fn flowing(
    digest: Digest,
    flow: Flow,
    sent: Arc<AtomicU64>,
    known: Arc<Mutex<Known>>,
) -> BoxBody<Bytes, io::Error> {
    let flow = flow.inspect(move |next| match next {
        Ok(bytes) => {
            sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Err(why) => {
            tracing::warn!(why, "an image cannot be fetched from the controller");
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.failed.insert(digest, why.clone());
        }
    });
    let pieces = stream::try_unfold((flow, None), |(mut flow, mut held)| async move {
        while let Some(next) = flow.next().await {
            let next = next.map_err(io::Error::other)?;
            if let Some(piece) = held.replace(next) {
                return Ok(Some((Frame::data(piece), (flow, held))));
            }
        }
        Ok(held.take().map(|last| (Frame::data(last), (flow, None))))
    });
    BodyExt::boxed(StreamBody::new(SyncStream::from(pieces.boxed())))
}

/// A stream that only one task ever looks at, for a body that may be shared by type.
struct SyncStream<T>(Mutex<BoxStream<'static, T>>);

impl<T> From<BoxStream<'static, T>> for SyncStream<T> {
    fn from(stream: BoxStream<'static, T>) -> SyncStream<T> {
        SyncStream(Mutex::new(stream))
    }
}

impl<T> futures_util::Stream for SyncStream<T> {
    type Item = T;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        let stream = self.get_mut().0.get_mut();
        stream
            .unwrap_or_else(PoisonError::into_inner)
            .poll_next_unpin(cx)
    }
}

fn full(bytes: Bytes) -> BoxBody<Bytes, io::Error> {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn missing(code: &str) -> Answer {
    said(StatusCode::NOT_FOUND, code, "it is not here")
}

/// No engine asks again after this; what it says of it reaches the operator.
fn hopeless(why: &str) -> Answer {
    said(StatusCode::BAD_REQUEST, "UNSUPPORTED", why)
}

/// The same of what may pass.
fn broken(why: &str) -> Answer {
    tracing::warn!(why, "an image cannot be fetched from the controller");
    said(StatusCode::INTERNAL_SERVER_ERROR, "UNAVAILABLE", why)
}

fn said(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = match code {
        "" => "{}".to_owned(),
        code => serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string(),
    };
    let mut answer = Response::new(full(Bytes::from(body)));
    *answer.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    let version = header::HeaderValue::from_static("registry/2.0");
    answer
        .headers_mut()
        .insert("docker-distribution-api-version", version);
    answer
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
