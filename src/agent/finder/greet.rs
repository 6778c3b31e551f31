//! Which of the places that the local network names have the fleet's CA: all are asked, many at
//! once, each for a few seconds, before a session is tried with any.

use super::MAX_GUESSES;
use crate::{mdns::Found, mqtt::Endpoint};
use futures_util::{StreamExt, stream};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{self, Instant},
};
use tokio_rustls::TlsConnector;
use tracing::debug;

/// Places that are asked for their certificate after one look.
const MAX_PLACES: usize = 64;
/// Of one host that answers came not from.
const MAX_PER_HOST: usize = 4;
/// So many at a time.
const AT_ONCE: usize = 16;
/// What one of them gets for TCP and TLS.
const GREETING: Duration = Duration::from_secs(3);
/// How long the others are waited for when one was right.
const GRACE: Duration = Duration::from_millis(500);

/// Where these answers may lead: where each came from, then where it says it is. In their order.
pub(super) fn places(found: &[Found]) -> Vec<Endpoint> {
    let mut places: Vec<Endpoint> = Vec::new();
    for one in found {
        let elsewhere = one.other.into_iter().map(|other| (other, MAX_PER_HOST));
        for (address, most) in [(one.address, MAX_PLACES)].into_iter().chain(elsewhere) {
            let place = Endpoint {
                tls: true,
                host: address.to_string(),
                port: one.port,
                credentials: None,
            };
            // Nobody is to send all boards of a network against all ports of somebody else.
            let of_host = places.iter().filter(|p| p.host == place.host).count();
            if places.len() < MAX_PLACES && of_host < most && !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// Those where TLS with the fleet's CA is spoken, the quickest first.
pub(super) async fn greet(places: Vec<Endpoint>, tls: &Arc<ClientConfig>) -> Vec<Endpoint> {
    let tries = places.into_iter().map(|place| {
        let tls = tls.clone();
        async move {
            let shown = time::timeout(GREETING, shows_ca(&place, tls)).await;
            shown.unwrap_or(false).then_some(place)
        }
    });
    let mut tries = std::pin::pin!(stream::iter(tries).buffer_unordered(AT_ONCE));
    let mut right = Vec::new();
    // Each try has an end, and so has their number.
    let mut end: Option<Instant> = None;
    while right.len() < MAX_GUESSES {
        let next = match end {
            None => tries.next().await,
            Some(end) => time::timeout_at(end, tries.next()).await.unwrap_or(None),
        };
        match next {
            None => break,
            Some(None) => {}
            Some(Some(place)) => {
                right.push(place);
                end.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
    }
    right
}

/// A handshake, and nothing said: no name of this board, no token.
async fn shows_ca(place: &Endpoint, tls: Arc<ClientConfig>) -> bool {
    let Ok(name) = ServerName::try_from(place.host.clone()) else {
        return false;
    };
    let Ok(stream) = TcpStream::connect((place.host.as_str(), place.port)).await else {
        return false;
    };
    match TlsConnector::from(tls).connect(name, stream).await {
        Ok(mut stream) => {
            // What the other side makes of the end is of no interest.
            let _ = stream.shutdown().await;
            true
        }
        Err(error) => {
            debug!(place = place.url(), %error, "not of this fleet");
            false
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::identity::{FleetIdentity, ServerTrust, client_config};
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    pub(in super::super) fn found(address: u8, other: Option<u8>) -> Found {
        let at = |last| Ipv4Addr::new(10, 0, 0, last);
        Found {
            name: "lab".into(),
            address: at(address),
            other: other.map(at),
            port: 8883,
            fleet: "us".into(),
            version: "1".into(),
            tls: true,
        }
    }

    #[test]
    fn an_answer_leads_to_where_it_came_from_and_then_where_it_says() {
        let all = [found(1, Some(7)), found(4, Some(1)), found(5, None)];
        let hosts: Vec<String> = places(&all).into_iter().map(|e| e.host).collect();
        assert_eq!(hosts, ["10.0.0.1", "10.0.0.7", "10.0.0.4", "10.0.0.5"]);
        let ports = (1..100).map(|port| Found {
            port,
            ..found(1 + (port % 20) as u8, Some(99))
        });
        let ports: Vec<Found> = ports.collect();
        let all = places(&ports);
        assert_eq!(all.len(), MAX_PLACES);
        let of_other = all.iter().filter(|p| p.host == "10.0.0.99").count();
        assert_eq!(of_other, MAX_PER_HOST);
    }

    /// A listener on this machine, and where it is.
    async fn listener() -> (TcpListener, Endpoint) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Endpoint {
            tls: true,
            host: "127.0.0.1".into(),
            port: socket.local_addr().unwrap().port(),
            credentials: None,
        };
        (socket, place)
    }

    /// Speaks TLS with the CA in `dir`.
    async fn of_fleet(dir: &std::path::Path) -> (FleetIdentity, Endpoint) {
        let (socket, place) = listener().await;
        let now = crate::support::clock::unix_ms();
        let identity = FleetIdentity::open(dir, "controller", now).unwrap();
        let config = identity.server_config(&["127.0.0.1".into()], now).unwrap();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            while let Ok((stream, _)) = socket.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        (identity, place)
    }

    #[tokio::test]
    async fn of_many_places_that_hang_or_lie_only_the_one_with_the_fleets_ca_is_tried() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (identity, right) = of_fleet(ours.path()).await;
        let (_, wrong) = of_fleet(theirs.path()).await;
        let tls = client_config(ServerTrust::Pem(identity.ca.pem().to_owned())).unwrap();
        // Taken by the kernel, and never answered.
        let (_open, tarpit) = listener().await;
        let mut places = vec![tarpit; 20];
        places.extend([wrong, right.clone()]);
        let began = Instant::now();
        assert_eq!(greet(places, &tls).await, [right]);
        let took = began.elapsed();
        assert!(took < GREETING * 3, "{took:?}");
    }
}
