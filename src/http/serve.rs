//! Listeners.

use super::{auth::Remote, router};
use crate::{
    config::Listen,
    controller::Controller,
    identity::IdentityError,
    support::{Shutdown, clock},
};
use axum::{Router, extract::Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 1_024;
/// Of these, from one address: nobody keeps everybody else out.
const MAX_PER_ADDRESS: usize = 256;
/// Bytes of a request's line and headers; whoever sends more hears 431. So much is buffered of
/// them; what still fits into one read is looked at by [`super::request`].
pub(super) const MAX_HEAD: usize = 64 << 10;
/// For TLS, and for a request's headers.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for the API ({source}); choose another --api-listen")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// An API that is being served.
#[derive(Debug)]
pub struct Served {
    addresses: Vec<SocketAddr>,
    urls: Vec<String>,
    tasks: JoinSet<()>,
}

impl Served {
    /// The real addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// As URLs.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Until all listeners have ended after a shutdown.
    pub async fn stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves the API on all of `listen`.
///
/// # Errors
/// An address that is taken, or no certificate.
pub async fn serve(
    listen: &[Listen],
    controller: Arc<Controller>,
    shutdown: Shutdown,
) -> Result<Served, HttpError> {
    let mut served = Served {
        addresses: Vec::new(),
        urls: Vec::new(),
        tasks: JoinSet::new(),
    };
    let slots = Arc::new(Slots::default());
    let app = router(controller.clone());
    for l in listen {
        let bind = |source| HttpError::Bind {
            address: l.address,
            source,
        };
        let listener = TcpListener::bind(l.address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let tls = match l.tls {
            true => {
                let names = crate::controller::machine_names();
                let config = controller
                    .identity
                    .server_config(&names, clock::unix_ms())?;
                Some(TlsAcceptor::from(config))
            }
            false => None,
        };
        let scheme = if l.tls { "https" } else { "http" };
        served.addresses.push(address);
        served.urls.push(format!("{scheme}://{address}"));
        let accepting = accept(listener, tls, app.clone(), slots.clone(), shutdown.clone());
        served.tasks.spawn(accepting);
    }
    Ok(served)
}

/// Who has how many connections.
#[derive(Debug, Default)]
struct Slots {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; given back when it is dropped.
struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    /// A place, unless there are too many connections, or too many of this address.
    fn take(self: &Arc<Slots>, address: IpAddr) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        let count = taken.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Slot {
            slots: self.clone(),
            address,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self
            .slots
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    slots: Arc<Slots>,
    shutdown: Shutdown,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of file descriptors, most likely: give others the time to close some.
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Closed at once: who has so many open knows why.
        let Some(slot) = slots.take(remote.ip()) else {
            continue;
        };
        let (tls, app, shutdown) = (tls.clone(), app.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let _ = stream.set_nodelay(true);
            secure(stream, remote, tls, app, shutdown).await;
        });
    }
}

async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Router,
    shutdown: Shutdown,
) {
    let remote = Remote {
        address: Some(address),
        tls: tls.is_some(),
        cut: Arc::default(),
    };
    match tls {
        None => converse(stream, remote, app, shutdown).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Box::pin(converse(stream, remote, app, shutdown)).await;
            }
        }
    }
}

async fn converse<S>(stream: S, remote: Remote, app: Router, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = remote.cut.clone();
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(remote.clone());
            app.clone().call(request)
        });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off is no error of ours.
        _ = connection.as_mut() => {}
        // It takes nothing of what it asked for.
        () = cut.notified() => {}
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            let _ = time::timeout(Duration::from_millis(500), connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, extract::rejection::JsonRejection, routing::post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The answer of a connection to what is written to it, all of which is taken.
    async fn answer(request: Vec<u8>) -> String {
        async fn take(
            body: Result<Json<serde_json::Value>, JsonRejection>,
        ) -> Result<String, super::super::problem::ApiError> {
            body.map(|_| "taken".to_owned()).map_err(Into::into)
        }
        let app = Router::new()
            .route("/", post(take))
            .layer(axum::middleware::from_fn(super::super::request::check))
            .layer(axum::extract::DefaultBodyLimit::max(super::super::MAX_BODY));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, address) = listener.accept().await.unwrap();
            let remote = Remote {
                address: Some(address),
                tls: false,
                cut: Arc::default(),
            };
            converse(stream, remote, app, Shutdown::new()).await;
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut from, mut to) = stream.split();
        // Written before anything is read, as simple clients do it.
        let written = to.write_all(&request).await;
        let mut text = vec![0; 4_096];
        let read = time::timeout(Duration::from_secs(20), from.read(&mut text));
        let length = read.await.unwrap().unwrap();
        serving.abort();
        text.truncate(length);
        format!("{:?} {}", written.err(), String::from_utf8_lossy(&text))
    }

    #[tokio::test]
    async fn a_head_of_more_than_64_kib_is_refused() {
        let head = |bytes: usize| {
            let long = "x".repeat(bytes);
            format!("POST / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\nContent-Length: 0\r\n\r\n")
        };
        let fine = answer(head(60 << 10).into_bytes()).await;
        assert!(fine.contains("HTTP/1.1 200"), "{fine}");
        for bytes in [65 << 10, 100 << 10] {
            let refused = answer(head(bytes).into_bytes()).await;
            assert!(refused.contains("HTTP/1.1 431"), "{bytes}: {refused}");
        }
    }

    #[tokio::test]
    async fn who_still_writes_a_request_that_is_too_large_sees_why_it_is_refused() {
        let length = 24 << 20;
        let mut request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + length, b' ');
        let refused = answer(request).await;
        assert!(refused.starts_with("None HTTP/1.1 413"), "{refused}");
        assert!(refused.contains("larger than 4 MiB"), "{refused}");
    }
}
