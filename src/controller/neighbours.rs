//! Who is told that the controller is there, beside nodes and operators: the service manager of this
//! machine, and the local network.

use super::{
    run::host_name,
    state::{Controller, Input},
};
use crate::{
    identity::PublicKey,
    mdns,
    support::{Shutdown, service},
};
use std::{net::SocketAddr, sync::Arc};
use tracing::warn;

/// The service manager hears of us from the thread that writes the journal, as one of its inputs: a
/// controller that cannot change anything any more is to be started anew.
pub(super) async fn show_life(controller: Arc<Controller>) {
    let Some(every) = service::watchdog_interval() else {
        return;
    };
    loop {
        let alive = Input::Read(Box::new(|_| service::alive()));
        if controller.inputs.send_async(alive).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

/// Announces the first of the TLS listeners that others can reach, until it is asked to stop.
pub(crate) async fn tell_the_network(
    listening: Vec<(SocketAddr, bool)>,
    fleet_key: PublicKey,
    shutdown: Shutdown,
) {
    let reachable = |(address, tls): &&(SocketAddr, bool)| *tls && !address.ip().is_loopback();
    let Some((address, tls)) = listening.iter().find(reachable) else {
        return;
    };
    let what = mdns::Announcement {
        host: host_name(),
        fleet: mdns::fleet_print(&fleet_key.to_string()),
        port: address.port(),
        tls: *tls,
    };
    if let Err(error) = mdns::announce(what, shutdown).await {
        warn!(%error, "boards in the local network cannot find this broker by mdns");
    }
}
