//! The networks that this machine is in, and sockets that speak to a group in each of them.

use super::{GROUP, PORT};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
};
use tokio::net::UdpSocket;

/// Addresses that are asked, or answered, at most: engines make one network after another.
const MAX: usize = 32;

/// An address of this machine, and how much of it the network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) address: Ipv4Addr,
    prefix: u8,
}

impl Interface {
    /// Whether `other` is in the same network.
    pub(super) fn has(&self, other: Ipv4Addr) -> bool {
        let bits = 32 - u32::from(self.prefix.min(32));
        let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
        (self.address.to_bits() ^ other.to_bits()) & mask == 0
    }
}

/// The networks of this machine, loopback left out.
pub(super) fn interfaces() -> Vec<Interface> {
    let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() else {
        return Vec::new();
    };
    let all = networks.values().flat_map(|n| n.ip_networks());
    let mut all: Vec<Interface> = all
        .filter_map(|network| match network.addr {
            IpAddr::V4(address) if !address.is_loopback() => Some(Interface {
                address,
                prefix: network.prefix,
            }),
            _ => None,
        })
        .collect();
    all.sort_by_key(|i| i.address);
    all.dedup();
    all.truncate(MAX);
    all
}

/// A socket that hears the group, beside whoever else does so on this machine.
pub(super) fn group_socket() -> io::Result<UdpSocket> {
    let socket = socket()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    finish(socket, PORT)
}

/// A socket that nobody else hears.
pub(super) fn own_socket() -> io::Result<UdpSocket> {
    finish(socket()?, 0)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_ip_multicast_ttl(&socket, 255)?;
    sockopt::set_ip_multicast_loop(&socket, true)?;
    Ok(socket)
}

fn finish(socket: OwnedFd, port: u16) -> io::Result<UdpSocket> {
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

/// Hears the group in that network, too; a second time is no error.
pub(super) fn join(socket: &UdpSocket, interface: &Interface) {
    let joined = sockopt::set_ip_add_membership(socket.as_fd(), &GROUP, &interface.address);
    if let Err(error) = joined
        && error != rustix::io::Errno::ADDRINUSE
    {
        tracing::debug!(address = %interface.address, %error, "no mdns in this network");
    }
}

/// Sends to the group in that network.
pub(super) async fn send(socket: &UdpSocket, interface: &Interface, packet: &[u8]) {
    let set = sockopt::set_ip_multicast_if(socket.as_fd(), &interface.address);
    if set.is_ok() {
        // A network that is down is not worth a word.
        let _ = socket.send_to(packet, (GROUP, PORT)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_same_network_is_told_by_its_prefix() {
        let at = |address: &str, prefix| Interface {
            address: address.parse().unwrap(),
            prefix,
        };
        for (prefix, other, expected) in [
            (24, "10.1.2.200", true),
            (24, "10.1.3.3", false),
            (32, "10.1.2.3", true),
            (32, "10.1.2.4", false),
            (0, "192.0.2.1", true),
            (255, "10.1.2.4", false),
        ] {
            let has = at("10.1.2.3", prefix).has(other.parse().unwrap());
            assert_eq!(has, expected, "{other} /{prefix}");
        }
    }
}
