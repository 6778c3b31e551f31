//! The embedded MQTT 3.1.1 broker.
//!
//! Our own edge terminates MQTT; `rumqttd`'s router, in process, carries the messages. A stock
//! `rumqttd` listener must not face devices (one ordinary client can stop it), but its router is
//! a good bus.
//!
//! ```text
//! TCP/TLS ─► listener ─► handshake ─► connection ──publish──► bus ─► router ─┐
//!                            │            ▲                                  │
//!                       Gatekeeper        └── session ◄─ hub ◄── dispatch ◄──┘
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `settings` | where to listen, every bound |
//! | `rights` | the gatekeeper, principals, what they may say and hear |
//! | `filter`, `index`, `retained`, `session`, `rate` | pure: topics, who wants what, kept messages, what a client is owed |
//! | `packet`, `encode` | bytes to packets and back |
//! | `bus` | the router, and why it cannot be overrun |
//! | `hub` | what all connections share |
//! | `listener`, `handshake`, `connection` | I/O |
//! | `stranger` | connections that speak HTTP, handed over |
//! | `counters` | what is counted |
//!
//! What a client can rely on: QoS 0 and 1 both ways; sessions in memory; wills; retained messages
//! complete for every subscriber; one delivery per message, at the highest QoS of its filters;
//! order per publisher. What it cannot do: QoS 2 (a publish closes the connection, a subscription
//! is granted QoS 1), topics that are not printable ASCII, client ids outside
//! `[A-Za-z0-9_-]{1,64}`, publishing below `$`.
//!
//! While a long run of retained messages goes to a subscriber, live messages pass between them: a
//! live message that is not retained may come before the retained one of its topic. What is older
//! never comes after what is newer otherwise.

mod bus;
mod connection;
mod counters;
mod encode;
mod filter;
mod handshake;
mod hub;
mod index;
mod listener;
mod packet;
mod rate;
mod retained;
mod rights;
mod session;
mod settings;
mod stranger;

pub use bus::RouterGone;
pub use connection::Io;
pub use counters::Counters;
pub use filter::{covers, matches, valid_filter, valid_topic};
pub use rights::{Admission, Credentials, Gatekeeper, Refusal, Rights};
pub use settings::{Limits, Listener, Settings};
pub use stranger::Stranger;

use bytes::Bytes;
use connection::Context;
use hub::{Hub, Kick};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Messages that are dispatched before other tasks have their turn.
const TURN: usize = 128;
/// How long a shutdown waits for connections to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running broker. Dropping it closes everything, too, without waiting for it.
pub struct Broker {
    context: Arc<Context>,
    addresses: Vec<SocketAddr>,
    /// Dispatching, forgetting, then one per listener.
    tasks: Vec<JoinHandle<()>>,
    router_gone: watch::Receiver<bool>,
    connections: usize,
}

/// Why a broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An address is in use, not of this machine, or reserved.
    #[error("cannot listen on {address}; stop what uses it or choose another address")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The process cannot go on: agents and controller publish everything again after a restart.
    #[error(transparent)]
    RouterGone(#[from] RouterGone),
}

impl Broker {
    /// Binds all listeners, then serves on the caller's runtime.
    pub async fn start(
        settings: Settings,
        gatekeeper: Arc<dyn Gatekeeper>,
    ) -> Result<Broker, BrokerError> {
        let Settings {
            listeners,
            limits,
            stranger,
        } = settings;
        let mut sockets = Vec::with_capacity(listeners.len());
        let mut addresses = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let address = listener.address();
            let refused = |source| BrokerError::Bind { address, source };
            let socket = listener::bind(address).map_err(refused)?;
            addresses.push(socket.local_addr().map_err(refused)?);
            sockets.push((socket, listener));
        }
        let (bus, downlink) = bus::start(limits.max_packet)?;
        let connections = limits.max_connections.min(Semaphore::MAX_PERMITS);
        let context = Arc::new(Context {
            hub: Hub::new(limits),
            bus,
            gatekeeper,
            stranger,
            open: Arc::new(Semaphore::new(connections)),
        });
        let (failed, router_gone) = watch::channel(false);
        let mut tasks = vec![
            tokio::spawn(dispatch(downlink, context.clone(), failed)),
            tokio::spawn(forget_aged(context.clone())),
        ];
        for (socket, listener) in sockets {
            let accepting = listener::accept(socket, listener, context.clone());
            tasks.push(tokio::spawn(accepting));
        }
        Ok(Broker {
            context,
            addresses,
            tasks,
            router_gone,
            connections,
        })
    }

    /// Where it listens, in the order of the settings, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Closes the connections of all principals that `which` chooses, at once; their wills are
    /// published. Returns how many there were.
    pub fn disconnect(&self, which: impl Fn(&str) -> bool) -> usize {
        self.context.hub.kick(which, Kick::Ordered)
    }

    /// The retained messages whose topics match `filter`, in the order of topics.
    pub fn retained(&self, filter: &str) -> Vec<(String, Bytes)> {
        self.context.hub.retained(filter)
    }

    /// What was counted since the start, and how many of everything there are now.
    pub fn counters(&self) -> Counters {
        let open = self.connections - self.context.open.available_permits().min(self.connections);
        Counters {
            connections: open as u64,
            ..self.context.hub.counters()
        }
    }

    /// Returns when the broker cannot go on; while all is well it does not return.
    pub async fn closed(&self) -> BrokerError {
        let mut router_gone = self.router_gone.clone();
        // An error means that the dispatching task is gone, which is as bad.
        let _ = router_gone.wait_for(|gone| *gone).await;
        BrokerError::RouterGone(RouterGone)
    }

    /// Stops listening and closes all connections; their wills are not published. Waits a few
    /// seconds at most.
    pub async fn shutdown(mut self) {
        self.stop();
        for listening in self.tasks.drain(2..) {
            let _ = listening.await; // it was aborted; now its socket is closed
        }
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        // Connections that were not admitted yet may take longer; they have their own limits.
        let _ = timeout(FAREWELL, self.context.open.acquire_many(all)).await;
    }

    fn stop(&self) {
        // The first two tasks go on until the last connection is gone, which needs them.
        for task in self.tasks.iter().skip(2) {
            task.abort();
        }
        self.context.hub.kick(|_| true, Kick::Shutdown);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Brings every message from the router to the sessions and the retained store.
async fn dispatch(mut downlink: bus::Downlink, context: Arc<Context>, failed: watch::Sender<bool>) {
    let mut count: usize = 0;
    loop {
        match downlink.next().await {
            Ok(message) => {
                context.hub.dispatch(&message);
                downlink.delivered(&message);
            }
            Err(gone) => {
                tracing::error!(error = %gone, "broker cannot go on");
                failed.send_replace(true);
                return;
            }
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
}

async fn forget_aged(context: Arc<Context>) {
    context.hub.forget_aged().await;
}
