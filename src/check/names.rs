//! Name servers: whether any of those that are configured answers.

use super::{Finding, Root};
use std::{net::IpAddr, time::Duration};
use tokio::{net::UdpSocket, time};

/// One that takes longer is one that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Name servers that are asked; resolvers take no more either.
const MAX_SERVERS: usize = 3;
/// "Who serves the root?", the shortest question that every server takes (RFC 1035).
const QUESTION: [u8; 17] = [
    0x66, 0x63, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1,
];

pub(super) async fn finding(root: &Root) -> Finding {
    let servers = configured(&root.text("etc/resolv.conf").unwrap_or_default());
    if servers.is_empty() {
        return Finding::warning(
            "dns",
            "no name server is configured: only addresses and /etc/hosts work",
            "write `nameserver <address>` into /etc/resolv.conf, or let DHCP do it",
        );
    }
    for server in &servers {
        if answers(*server).await {
            return Finding::ok("dns", format!("name server {server} answers"));
        }
    }
    let all: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Finding::warning(
        "dns",
        format!("no name server answers: {}", all.join(", ")),
        "look at /etc/resolv.conf and at the cable; images and brokers with names need one",
    )
}

/// The addresses in a resolv.conf(5), a scope behind them left out.
fn configured(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().split(['%', ' ', '\t']).next()?.parse().ok())
        .take(MAX_SERVERS)
        .collect()
}

/// Anything that comes back will do.
async fn answers(server: IpAddr) -> bool {
    let asking = async {
        let any: IpAddr = match server {
            IpAddr::V4(_) => [0, 0, 0, 0].into(),
            IpAddr::V6(_) => [0_u16; 8].into(),
        };
        let socket = UdpSocket::bind((any, 0)).await.ok()?;
        socket.connect((server, 53)).await.ok()?;
        socket.send(&QUESTION).await.ok()?;
        let mut answer = [0; 512];
        socket.recv(&mut answer).await.ok()
    };
    matches!(time::timeout(PATIENCE, asking).await, Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read() {
        let text = "# none\nsearch lan\nnameserver 192.0.2.1\n  nameserver fe80::1%eth0\n\
                    nameserver what\nnameserver 192.0.2.2 \nnameserver 192.0.2.3";
        let all: Vec<String> = configured(text).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["192.0.2.1", "fe80::1", "192.0.2.2"]);
        assert!(configured("").is_empty());
    }
}
