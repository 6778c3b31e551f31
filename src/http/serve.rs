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
