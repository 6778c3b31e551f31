//! Listening sockets: bind, accept, TLS, and hand over to a task of its own per connection.

use super::connection::{Context, serve};
use super::settings::Listener;
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Connections that the kernel holds until they are accepted: a thousand boards come back at once.
const BACKLOG: u32 = 4096;

/// Binds an address and begins to listen.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever.
pub async fn accept(socket: TcpListener, listener: Listener, context: Arc<Context>) {
    let acceptor = match &listener {
        Listener::Plain(_) => None,
        Listener::Tls(_, config) => Some(TlsAcceptor::from(config.clone())),
    };
    let mut pause = Duration::ZERO;
    loop {
        let (stream, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, usually: wait for connections to end.
                pause = (pause * 2).clamp(Duration::from_millis(50), Duration::from_secs(1));
                if context.hub.may_complain("accept") {
                    tracing::warn!(address = %listener.address(), %error,
                        "cannot accept a connection");
                }
                sleep(pause).await;
                continue;
            }
        };
        pause = Duration::ZERO;
        let Ok(permit) = context.open.clone().try_acquire_owned() else {
            context.hub.meter.refused_full.one();
            if context.hub.may_complain("connections") {
                tracing::warn!(%remote, limit = context.hub.limits.max_connections,
                    "connection closed, the limit of connections is reached");
            }
            continue;
        };
        let (context, acceptor) = (context.clone(), acceptor.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if prepare(&stream).is_err() {
                return; // it is gone already
            }
            let Some(acceptor) = acceptor else {
                return serve(context, Box::new(stream), remote).await;
            };
            // Boxed, so that the task does not keep the room for it.
            let shaking = Box::pin(acceptor.accept(stream));
            match timeout(context.hub.limits.handshake, shaking).await {
                Ok(Ok(stream)) => serve(context, Box::new(stream), remote).await,
                Ok(Err(error)) => {
                    context.hub.meter.tls_failures.one();
                    tracing::debug!(%remote, %error, "tls handshake failed");
                }
                Err(_) => {
                    context.hub.meter.tls_failures.one();
                    tracing::debug!(%remote, "tls handshake took too long");
                }
            }
        });
    }
}

/// Small packets leave at once. The kernel notices dead peers on its own, too, since a client may
/// ask for no MQTT keep-alive.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(120))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}
