//! The way to the fleet.

use super::Finding;
use crate::agent::{BrokerAddress, brokers_on_disk};
use std::{path::Path, time::Duration};
use tokio::{net, time};

/// A step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Brokers that are tried.
const MAX_BROKERS: usize = 8;

pub(super) async fn findings(data_dir: &Path) -> Vec<Finding> {
    let brokers = match brokers_on_disk(data_dir) {
        Ok(Some(brokers)) => brokers,
        Ok(None) => {
            return vec![Finding::ok(
                "fleet",
                format!(
                    "this machine has not joined one (in {})",
                    data_dir.display()
                ),
            )];
        }
        Err(error) => {
            return vec![Finding::error(
                "fleet",
                format!("what it has joined cannot be read: {error}"),
                "run this as the agent's user, or join again with the line of \
                 `fleetctl token create --kind join`",
            )];
        }
    };
    let mut all = Vec::new();
    for broker in brokers.into_iter().take(MAX_BROKERS) {
        all.push(one(broker).await);
    }
    // One broker that answers is enough.
    let good = all.iter().any(|f| f.level == super::Level::Ok);
    if good {
        for finding in &mut all {
            if finding.level == super::Level::Error {
                finding.level = super::Level::Warning;
            }
        }
    }
    all
}

async fn one(broker: BrokerAddress) -> Finding {
    let (host, port) = (&broker.host, broker.port);
    let at = format!("{host}:{port}");
    let looked_up = time::timeout(PATIENCE, net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<_> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            return Finding::error(
                "broker-name",
                format!("the broker's name {host} has no address: {error}"),
                "look at /etc/resolv.conf, or join by the control host's address",
            );
        }
        Err(_) => {
            return Finding::error(
                "broker-name",
                format!("nobody says which address {host} has"),
                "look at /etc/resolv.conf and at the cable",
            );
        }
    };
    let mut refused = String::new();
    for address in addresses.iter().take(4) {
        match time::timeout(PATIENCE, net::TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return handshake(&broker, &at, stream).await,
            Ok(Err(error)) => refused = error.to_string(),
            Err(_) => refused = "no answer".to_owned(),
        }
    }
    Finding::error(
        "broker",
        format!("{at} cannot be reached: {refused}"),
        "is the controller running, and does a firewall let this port through?",
    )
}

async fn handshake(broker: &BrokerAddress, at: &str, stream: net::TcpStream) -> Finding {
    let Some(tls) = &broker.tls else {
        return Finding::ok("broker", format!("{at} answers, without TLS"));
    };
    let Ok(name) = rustls::pki_types::ServerName::try_from(broker.host.clone()) else {
        return Finding::error(
            "broker-tls",
            format!("{at} has no name that TLS could check"),
            "join by a name or an address",
        );
    };
    let connector = tokio_rustls::TlsConnector::from(tls.clone());
    match time::timeout(PATIENCE, connector.connect(name, stream)).await {
        Ok(Ok(_)) => Finding::ok(
            "broker",
            format!("{at} answers, and is of this fleet (TLS)"),
        ),
        Ok(Err(error)) => Finding::error(
            "broker-tls",
            format!("{at} answers, but is not trusted: {error}"),
            "is there another program on that port, or was the controller set up anew? Then join \
             again",
        ),
        Err(_) => Finding::error(
            "broker-tls",
            format!("{at} takes the connection and says nothing"),
            "is there another program on that port?",
        ),
    }
}
