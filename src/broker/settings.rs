//! What a broker is started with: where it listens and where every bound lies.

use super::stranger::Stranger;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls;

/// Everything that [`super::Broker::start`] needs, except who may enter.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; all of them must be free.
    pub listeners: Vec<Listener>,
    /// The bounds.
    pub limits: Limits,
    /// Who takes connections that speak HTTP; `None`: they hear that there is nothing.
    pub stranger: Option<Arc<dyn Stranger>>,
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub enum Listener {
    /// MQTT over plain TCP; meant for loopback.
    Plain(SocketAddr),
    /// MQTT over TLS. Certificates can be renewed at run time through the configuration's
    /// certificate resolver.
    Tls(SocketAddr, Arc<rustls::ServerConfig>),
}

impl Listener {
    /// The address that was asked for; port 0 means any free port.
    pub fn address(&self) -> SocketAddr {
        match self {
            Listener::Plain(address) | Listener::Tls(address, _) => *address,
        }
    }
}

/// The bounds of a broker. [`Limits::default`] suits 10,000 nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Network connections at one time, admitted or not.
    pub max_connections: usize,
    /// Longest packet in bytes, without its fixed header.
    pub max_packet: usize,
    /// Longest topic or filter in bytes.
    pub max_topic: usize,
    /// QoS 1 messages that one client may leave unacknowledged.
    pub max_inflight: usize,
    /// Messages that wait for one session.
    pub queue_messages: usize,
    /// Bytes that wait for one session.
    pub queue_bytes: usize,
    /// Messages that wait for one session of a principal whose rights are unlimited: a controller
    /// hears every node of its fleet, and all of them at once after a restart.
    pub unlimited_queue_messages: usize,
    /// Bytes that wait for such a session.
    pub unlimited_queue_bytes: usize,
    /// Bytes that wait for all sessions together.
    pub queue_bytes_total: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the CONNECT packet to arrive.
    pub connect: Duration,
    /// Time for a client to take at least something of what is written to it.
    pub write: Duration,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of all retained messages, topics and bookkeeping included.
    pub retained_bytes: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Publishes per second of one connection, unless its rights are unlimited.
    pub publish_rate: u32,
    /// Publishes that one connection may make at once before the rate holds.
    pub publish_burst: u32,
    /// How long the session of an absent client is kept.
    pub session_age: Duration,
    /// Sessions of absent clients; the one that was absent longest goes first.
    pub absent_sessions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 20_000,
            max_packet: 1 << 20,
            max_topic: 256,
            max_inflight: 32,
            queue_messages: 1000,
            queue_bytes: 4 << 20,
            unlimited_queue_messages: 200_000,
            unlimited_queue_bytes: 64 << 20,
            queue_bytes_total: 128 << 20,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            write: Duration::from_secs(20),
            retained_messages: 100_000,
            retained_bytes: 256 << 20,
            subscriptions: 64,
            publish_rate: 500,
            publish_burst: 2000,
            session_age: Duration::from_secs(3600),
            absent_sessions: 10_000,
        }
    }
}
