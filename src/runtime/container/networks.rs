//! Networks that workloads bring with them.
//!
//! A network with `create` is made by the first launch that needs it, with our label, and taken
//! away a while after the last container in it is removed: not at once, since most containers are
//! removed to be made anew. One that was there before has no label of ours and is left alone.
//! Taking away is best effort; a launch that loses a network to it makes it again.

use super::{body::Container, calls, fault::Fault, launch::Engine};
use crate::{
    model::ContainerNetwork,
    runtime::{LABEL_NODE, Launch},
};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Mutex;

/// From a container's removal to the look at the networks.
const SWEEP_AFTER: Duration = Duration::from_secs(5);

/// What one engine's launches have in common.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// Older engines make two of the same name for two who ask at once.
    making: Mutex<()>,
    /// A look is coming.
    sweeping: Arc<AtomicBool>,
}

impl Networks {
    /// Networks of ours that nothing uses are taken away in a while; returns at once.
    pub(crate) fn sweep_later(&self, socket: &Path) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let (socket, sweeping) = (socket.to_owned(), Arc::clone(&self.sweeping));
        tokio::spawn(async move {
            tokio::time::sleep(SWEEP_AFTER).await;
            // Before the look: what is removed during it asks for another one.
            sweeping.store(false, Ordering::Release);
            if let Err(fault) = sweep(&socket).await {
                tracing::debug!(?fault, "networks not looked through");
            }
        });
    }
}

async fn sweep(socket: &Path) -> Result<(), Fault> {
    for name in calls::networks_with(socket, LABEL_NODE).await? {
        match calls::remove_unused_network(socket, &name).await {
            Ok(true) => tracing::info!(network = name, "network removed: nothing used it"),
            Ok(false) => {}
            Err(fault @ Fault::Unreachable(_)) => return Err(fault),
            Err(fault) => tracing::debug!(network = name, ?fault, "network not removed"),
        }
    }
    Ok(())
}

fn of(launch: &Launch) -> &[ContainerNetwork] {
    Container::of(&launch.workload).map_or(&[], |container| container.networks())
}

/// The launch has networks that are made for it.
pub(crate) fn are_made(launch: &Launch) -> bool {
    of(launch).iter().any(|network| network.create)
}

/// Makes those that the launch wants made and that are missing.
pub(crate) async fn make<E: Engine>(engine: &E, launch: &Launch) -> Result<(), Fault> {
    if !are_made(launch) {
        return Ok(());
    }
    let _turn = engine.networks().making.lock().await;
    for network in of(launch).iter().filter(|network| network.create) {
        if calls::has_network(engine.socket(), &network.name).await? {
            continue;
        }
        let labels = HashMap::from([(LABEL_NODE.to_owned(), launch.node.to_string())]);
        calls::make_network(engine.socket(), &network.name, labels).await?;
        tracing::info!(network = network.name, "network made");
    }
    Ok(())
}

/// Connects a container that was made in the first network to the others.
pub(crate) async fn join<E: Engine>(
    engine: &E,
    launch: &Launch,
    container: &str,
) -> Result<(), Fault> {
    for network in of(launch).iter().skip(1) {
        calls::join_network(engine.socket(), &network.name, container, &network.aliases).await?;
    }
    Ok(())
}
