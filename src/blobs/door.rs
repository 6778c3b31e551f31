//! Where nodes fetch blobs: on the broker's own port, so that a fleet needs no further one.
//!
//! ```text
//!  first bytes of a connection ─┬─ CONNECT ──► MQTT
//!                               └─ GET, HEAD ─► here: /blobs/sha256:…, /images/NAME
//! ```
//!
//! `Authorization: Basic` with the user `node` and a statement of the node's key, as for MQTT yet
//! of their own kind, each taken once. A node that is revoked loses what it is fetching, too. Where
//! the broker is not ours, the same is served on the API's address.
//!
//! A connection serves one request. Until it has shown a statement it is a guest ([`super::guests`]);
//! a place among the transfers is taken only then, and given back with the last byte.
//!
//! Bounds: guests, transfers of all and of one node, time without any progress. Chunks are small,
//! and between two of them the sessions of MQTT have their turn.

use super::{Blobs, answer, guests::Guests};
use crate::{
    broker::{Io, Stranger},
    gate::FleetGate,
    model::{Digest, Image},
};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// Transfers at once, of all nodes.
const MAX_TRANSFERS: usize = 64;
/// Blobs that one node fetches at once.
const MAX_PER_NODE: usize = 4;
/// What an image is made of is small, and asked for between blobs.
const MAX_PER_NODE_WITH_IMAGES: usize = 8;
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 << 10;
/// For a request's head to arrive, and its answer to leave where that is not what was asked for.
const HEAD: Duration = Duration::from_secs(10);
/// A connection on which nothing gets on for so long ends.
const STALLED: Duration = Duration::from_secs(60);
/// Seconds after which one that was turned away may come again.
const AGAIN: u32 = 5;

/// Tells the image of a name that the controller keeps.
pub type Images = Box<dyn Fn(&str) -> Option<Image> + Send + Sync>;

/// Lets nodes in and gives them blobs.
pub struct Door {
    blobs: Arc<Blobs>,
    gate: Arc<FleetGate>,
    images: OnceLock<Images>,
    guests: Arc<Guests>,
    transfers: Arc<Semaphore>,
    fetching: Mutex<BTreeMap<String, usize>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

/// What a node is fetching; given back when it is dropped.
struct Slot {
    door: Arc<Door>,
    principal: String,
    _transfer: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut fetching = self.door.fetching();
        if let Some(count) = fetching.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                fetching.remove(&self.principal);
            }
        }
    }
}

impl Door {
    /// To these blobs, for whom this gate lets in.
    pub fn new(blobs: Arc<Blobs>, gate: Arc<FleetGate>) -> Door {
        Door {
            blobs,
            gate,
            images: OnceLock::new(),
            guests: Arc::default(),
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
            fetching: Mutex::default(),
        }
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a node, of which it has at most so many; the error is what to answer.
    fn slot(
        self: &Arc<Door>,
        principal: &str,
        most: usize,
    ) -> Result<Arc<Slot>, (StatusCode, &'static str)> {
        let Ok(transfer) = self.transfers.clone().try_acquire_owned() else {
            let text = "too many nodes fetch something at this moment\n";
            return Err((StatusCode::SERVICE_UNAVAILABLE, text));
        };
        let mut fetching = self.fetching();
        let count = fetching.get(principal).copied().unwrap_or(0);
        if count >= most {
            let text = "this node fetches several blobs at once already\n";
            return Err((StatusCode::TOO_MANY_REQUESTS, text));
        }
        fetching.insert(principal.to_owned(), count + 1);
        Ok(Arc::new(Slot {
            door: self.clone(),
            principal: principal.to_owned(),
            _transfer: transfer,
        }))
    }

    /// Answers one request for `/blobs/{digest}` or `/images/{reference}`. `known` is called when
    /// its statement was taken.
    pub(crate) async fn serve(
        self: &Arc<Door>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        known: &(dyn Fn() + Sync),
    ) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let text = "only GET and HEAD are understood here\n";
            return said(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        if let Some(reference) = path.strip_prefix("/images/") {
            return self.image(reference, headers, known);
        }
        let digest = path.strip_prefix("/blobs/").map(str::parse::<Digest>);
        let Some(Ok(digest)) = digest else {
            return said(
                StatusCode::NOT_FOUND,
                "there is nothing but /blobs/sha256:…\n",
            );
        };
        let Some(principal) = self.principal(headers) else {
            let mut answer = said(
                StatusCode::UNAUTHORIZED,
                "this needs a node's statement, and this one is not taken\n",
            );
            let basic = header::HeaderValue::from_static("Basic realm=\"fleet\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            return answer;
        };
        known();
        let slot = match self.slot(&principal, MAX_PER_NODE) {
            Ok(slot) => slot,
            Err((status, text)) => return later(status, text),
        };
        let (gate, of_body) = (self.gate.clone(), slot.clone());
        // Its place is taken for as long as its bytes flow.
        let allowed = Box::new(move || !gate.is_cut_off(&of_body.principal));
        match answer(self.blobs.clone(), digest, method, headers, allowed).await {
            Ok(Some(mut answer)) => {
                answer.extensions_mut().insert(slot);
                answer
            }
            Ok(None) => said(StatusCode::NOT_FOUND, "the controller does not have it\n"),
            Err(error) => {
                tracing::warn!(%digest, %error, "a blob cannot be read");
                let text = "the controller cannot read it\n";
                said(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }

    /// Who knows the images; said once, when the fleet is there.
    pub fn ask_for_images(&self, images: Images) {
        let _ = self.images.set(images);
    }

    /// What an image is made of, for a node whose registry does not give it.
    fn image(
        self: &Arc<Door>,
        reference: &str,
        headers: &HeaderMap,
        known: &(dyn Fn() + Sync),
    ) -> Response<Body> {
        let Some(principal) = self.principal(headers) else {
            return said(StatusCode::UNAUTHORIZED, "this needs a node's statement\n");
        };
        known();
        let slot = match self.slot(&principal, MAX_PER_NODE_WITH_IMAGES) {
            Ok(slot) => slot,
            Err((status, text)) => return later(status, text),
        };
        let image = self.images.get().and_then(|images| images(reference));
        let Some(image) = image.and_then(|image| serde_json::to_vec(&image).ok()) else {
            return said(
                StatusCode::NOT_FOUND,
                "the controller keeps no such image\n",
            );
        };
        let mut answer = Response::new(Body::from(image));
        answer.extensions_mut().insert(slot);
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }

    fn principal(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        let password = Some(password).filter(|_| user == "node")?;
        self.gate.admit_to_blobs(password).ok()
    }

    async fn converse(self: Arc<Door>, io: Box<dyn Io>, begun: BytesMut, remote: SocketAddr) {
        let guest = self.guests.enter(remote.ip());
        let known = || guest.is_known_now();
        // What was read of a file and not yet sent holds its place, too.
        let place = OnceLock::<Arc<Slot>>::new();
        let moved = Arc::new(AtomicU64::new(0));
        let (reader, writer) = tokio::io::split(io);
        let reader = io::Cursor::new(begun.freeze()).chain(reader);
        let io = tokio::io::join(reader, Counted(writer, moved.clone()));
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
            let (door, known, place) = (self.clone(), &known, &place);
            async move {
                let (method, path) = (request.method(), request.uri().path());
                let mut answer = door.serve(method, path, request.headers(), known).await;
                let taken = answer.extensions_mut().remove::<Arc<Slot>>();
                taken.map(|slot| place.set(slot));
                Ok::<_, Infallible>(answer)
            }
        });
        // Without keep-alive nothing but the body of one answer moves on it.
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(io), service);
        let stalled = async {
            let mut seen = 0;
            loop {
                time::sleep(STALLED).await;
                let now = moved.load(Ordering::Relaxed);
                if std::mem::replace(&mut seen, now) == now {
                    return;
                }
            }
        };
        tokio::select! {
            // Whoever breaks off comes again.
            _ = connection => {}
            () = stalled => {}
            () = guest.has_to_go(HEAD) => {}
        }
    }
}

impl Stranger for Door {
    fn welcome(
        self: Arc<Self>,
        io: Box<dyn Io>,
        begun: BytesMut,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.converse(io, begun, remote))
    }
}

fn said(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn later(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = said(status, text);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, AGAIN.into());
    response
}

/// Counts what the other side has taken.
struct Counted<W>(W, Arc<AtomicU64>);

impl<W: AsyncWrite + Unpin> AsyncWrite for Counted<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.1.fetch_add(*count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
