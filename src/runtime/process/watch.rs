//! Says when an instance ends: one descriptor per shim, no polling.

use super::directory::InstanceDir;
use super::process_id::ProcessId;
use super::record::State;
use crate::runtime::RuntimeEvent;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc::Sender;

/// A handle and its shim.
type Watched = (String, ProcessId);

/// Sends events until `events` has no receiver. `started` brings the handles of new runs.
pub(super) async fn watch(
    root: &Path,
    mut started: Receiver<String>,
    events: Sender<RuntimeEvent>,
) {
    let mut ends = FuturesUnordered::new();
    let mut watched: BTreeSet<Watched> = BTreeSet::new();
    let mut look_again = true;
    loop {
        if look_again {
            // First the descriptors, then the word: what ends in between is not missed.
            for dir in super::instances(root) {
                if let Some((who, fd)) = open(&dir)
                    && watched.insert(who.clone())
                {
                    ends.push(ended(who, fd));
                }
            }
            if events.send(RuntimeEvent::Connected).await.is_err() {
                return;
            }
            look_again = false;
        }
        let changed = tokio::select! {
            () = events.closed() => return,
            Some(who) = ends.next(), if !ends.is_empty() => {
                watched.remove(&who);
                who.0
            }
            news = started.recv() => match news {
                Ok(handle) => match open(&InstanceDir::new(root.join(&handle))) {
                    Some((who, fd)) => {
                        if watched.insert(who.clone()) {
                            ends.push(ended(who, fd));
                        }
                        continue;
                    }
                    // It has ended already.
                    None => handle,
                },
                Err(RecvError::Lagged(_)) => {
                    look_again = true;
                    continue;
                }
                Err(RecvError::Closed) => return,
            },
        };
        if events
            .send(RuntimeEvent::Changed { handle: changed })
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn ended(who: Watched, shim: AsyncFd<OwnedFd>) -> Watched {
    let _ = shim.readable().await;
    who
}

/// `None` when no shim runs there.
fn open(dir: &InstanceDir) -> Option<(Watched, AsyncFd<OwnedFd>)> {
    let state = dir.state().filter(State::is_live)?;
    let opened = state
        .shim
        .open()
        .and_then(|fd| fd.map(super::readable::readable).transpose());
    match opened {
        Ok(fd) => Some(((dir.handle(), state.shim), fd?)),
        Err(error) => {
            tracing::warn!(handle = dir.handle(), %error, "an instance cannot be watched");
            None
        }
    }
}
