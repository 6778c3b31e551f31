//! Who of a fleet is in the local network: mDNS (RFC 6762) with DNS-SD (RFC 6763), only as much of
//! them as one service type, `_fleetctl._tcp.local`, needs.
//!
//! ```text
//! broker host:  Announcer ──── answers on 224.0.0.251:5353 ◄─┐
//!                                                            │ one question, from a port of its own
//! board, or `fleetctl discover`:  browse() ──────────────────┘  the answers come to that port alone
//! ```
//!
//! Written here and not taken from a crate: those that exist start a thread of their own and keep
//! what they hear in caches that grow with the network, where an agent wants to ask once a minute at
//! most, and keep a handful of addresses. All that is heard is bounded: size of a packet, records in
//! it, lengths of names and texts, packets of one look, answers that are kept (`fair`: which).
//!
//! **Nothing that is heard is believed.** An answer is an address to try: the connection there is
//! TLS with the CA that the join token names, so a liar gains a failed handshake. That is why
//! announcing takes no key, and why there is no probing for names: an instance is called after its
//! host, its fleet and its port.
//!
//! IPv4 only: the boards that this is for have it, and a link-local IPv6 address would need its
//! interface beside it wherever it is kept.

mod announce;
mod browse;
mod fair;
mod interfaces;
mod wire;

pub use announce::{Announcement, announce};
pub use browse::{Found, browse, search};

use std::net::Ipv4Addr;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
const SERVICE: &str = "_fleetctl._tcp.local";
/// What lists the types of services in the network.
const TYPES: &str = "_services._dns-sd._udp.local";

/// What a fleet is known by in the network: the beginning of the SHA-256 of its public key, 32 hex
/// digits.
pub fn fleet_print(fleet_key: &str) -> String {
    let mut hex = crate::identity::sha256_hex(fleet_key.as_bytes());
    hex.truncate(32);
    hex
}
