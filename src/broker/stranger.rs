//! Connections that do not speak MQTT: HTTP by its first letters (`GET`, `HEAD`), which no packet
//! of MQTT begins with. The broker knows nothing of what is served there.

use super::connection::Io;
use bytes::BytesMut;
use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// Where nobody takes it.
const NOTHING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// For the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes connections that speak HTTP. It bounds them itself; the broker counts them among its
/// connections.
pub trait Stranger: Debug + Send + Sync + 'static {
    /// Serves one to its end. `begun` is what was read of it; who it is was not looked at.
    fn welcome(
        self: Arc<Self>,
        io: Box<dyn Io>,
        begun: BytesMut,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Whether a connection that begins so is one.
pub fn is_stranger(first: u8) -> bool {
    matches!(first, b'G' | b'H')
}

/// Hands a connection over.
pub async fn hand_over(
    stranger: Option<Arc<dyn Stranger>>,
    mut io: Box<dyn Io>,
    begun: BytesMut,
    remote: SocketAddr,
) {
    match stranger {
        Some(stranger) => stranger.welcome(io, begun, remote).await,
        None => {
            let answer = async {
                io.write_all(NOTHING).await?;
                io.shutdown().await
            };
            let _ = timeout(PATIENCE, answer).await;
        }
    }
}
