//! When what nobody wants is taken away: after something was removed, and once a day.

use super::{Blobs, Pruned};
use crate::{controller::Controller, support::Shutdown};
use std::{io, time::Duration};
use tokio::{task::spawn_blocking, time};

/// What was uploaded just now may be named in a moment.
const MIN_AGE: Duration = Duration::from_secs(3_600);
/// How often, when nothing was removed.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// After the start, which has other things to do.
const FIRST: Duration = Duration::from_secs(60);

/// Takes away what no artifact and no workload of the fleet names.
pub(crate) async fn prune_now(controller: &Controller) -> io::Result<Pruned> {
    let wanted = controller.fleet().wanted_blobs();
    let blobs = controller.blobs.clone();
    let pruned = prune_blobs(blobs, wanted).await?;
    if pruned.count > 0 {
        tracing::info!(
            blobs = pruned.count,
            bytes = pruned.bytes,
            "what nobody wants was taken away"
        );
    }
    Ok(pruned)
}

async fn prune_blobs(
    blobs: std::sync::Arc<Blobs>,
    wanted: std::collections::BTreeSet<crate::model::Digest>,
) -> io::Result<Pruned> {
    spawn_blocking(move || blobs.prune(&wanted, MIN_AGE)).await?
}

/// The same once a day, until the controller ends.
pub(crate) async fn prune_daily(controller: std::sync::Arc<Controller>, shutdown: Shutdown) {
    let mut next = time::interval_at(time::Instant::now() + FIRST, EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = next.tick() => {}
        }
        if let Err(error) = prune_now(&controller).await {
            tracing::warn!(%error, "blobs cannot be pruned");
        }
    }
}
