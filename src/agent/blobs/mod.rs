//! Fetching blobs from the controller: by hash, resumed where a line broke, believed only when the
//! hash is right.
//!
//! ```text
//!  fetch ─► <to>.part ── complete ──► hash right? ── yes ─► synced, renamed
//!    │         ▲  │                       │ no
//!    │         │  └ broken: wait, go on   └─► thrown away; once anew, then refused
//!    ▼         │    where it ended
//!  Body: one stream over as many connections as it takes
//! ```
//!
//! They come from the fleet's brokers, on the port that MQTT is on, or from the address that the
//! controller names where the broker is not its own ([`BlobSource`]). Times are counted on the
//! clock that only goes forward, and a statement has a number and no time, so that a board whose
//! clock is in 1970 fetches like any other.

mod ask;
mod body;
mod file;
mod image;
#[cfg(test)]
mod tests;

pub(crate) use body::BlobBody;

use super::{
    enroll::{self, BrokerAddress},
    finder::Servers,
    sender::Sender,
    store::Membership,
};
use crate::{
    contract::Seq,
    identity::{self, credential},
    model::{BlobSource, Digest},
};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Blobs that are fetched at once; the controller allows one more.
const AT_ONCE: usize = 3;

/// Why a blob was not fetched: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FetchError {
    message: String,
}

impl FetchError {
    fn new(message: impl Into<String>) -> FetchError {
        FetchError {
            message: message.into(),
        }
    }
}

/// Where this node fetches blobs; cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeBlobs(Arc<Shared>);

struct Shared {
    sender: Arc<Sender>,
    credential: String,
    /// Numbers of the statements, which only grow.
    start: u64,
    count: AtomicU64,
    /// The same as those of the session, so that a controller that moved is found here, too.
    brokers: Servers,
    /// In place of the brokers.
    elsewhere: Mutex<Option<(BlobSource, Place)>>,
    /// Which of the places answered last.
    last: AtomicUsize,
    open: Arc<Semaphore>,
}

/// An address that blobs are fetched from.
#[derive(Clone)]
struct Place {
    address: BrokerAddress,
    /// Before `/blobs/`; without a slash at its end.
    path: String,
}

impl std::fmt::Debug for NodeBlobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeBlobs")
    }
}

impl NodeBlobs {
    pub(super) fn new(member: &Membership, brokers: Servers, sender: Arc<Sender>) -> NodeBlobs {
        let Seq { start, count } = sender.number();
        NodeBlobs(Arc::new(Shared {
            sender,
            credential: member.credential.clone(),
            start,
            count: AtomicU64::new(count),
            brokers,
            elsewhere: Mutex::default(),
            last: AtomicUsize::new(0),
            open: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }

    /// The controller says where blobs are; `None`: at the brokers.
    pub(super) fn configure(&self, source: Option<&BlobSource>) {
        let mut elsewhere = self.elsewhere();
        if elsewhere.as_ref().map(|(known, _)| known) == source {
            return;
        }
        *elsewhere = source.and_then(|source| match Place::of(source) {
            Ok(place) => Some((source.clone(), place)),
            Err(error) => {
                tracing::warn!(
                    url = source.url,
                    error,
                    "blobs cannot be fetched from there"
                );
                None
            }
        });
    }

    fn elsewhere(&self) -> std::sync::MutexGuard<'_, Option<(BlobSource, Place)>> {
        self.0
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to ask, what answered last first.
    fn places(&self) -> Vec<(usize, Place)> {
        if let Some((_, place)) = &*self.elsewhere() {
            return vec![(0, place.clone())];
        }
        let place = |address| Place {
            address,
            path: String::new(),
        };
        let known = enroll::reached(&self.0.brokers).into_iter().map(place);
        let mut places: Vec<_> = known.enumerate().collect();
        let last = self.0.last.load(Ordering::Relaxed) % places.len().max(1);
        places.rotate_left(last);
        places
    }

    fn answered(&self, place: usize) {
        self.0.last.store(place, Ordering::Relaxed);
    }

    /// A statement that this node makes once.
    fn statement(&self) -> String {
        let seq = Seq {
            start: self.0.start,
            count: self.0.count.fetch_add(1, Ordering::Relaxed),
        };
        credential::fetch_statement(&self.0.credential, seq, self.0.sender.key())
    }

    /// Fetches the blob of `size` bytes to the file `to`, whose directory exists. What is there
    /// already, whole or in part (`<to>.part`), is not fetched again; it is there whole or not at
    /// all, whatever happens to the power. `progress` hears how many bytes there are.
    ///
    /// # Errors
    /// It does not come in some minutes of trying, its hash is wrong twice, or the disk is full.
    pub(crate) async fn fetch(
        &self,
        digest: Digest,
        size: u64,
        to: &Path,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FetchError> {
        file::fetch(self, digest, size, to, progress).await
    }

    /// The blob, or of it the bytes from the first to before the second number, as a stream. The
    /// hash of a whole one is looked at when its last byte is reached; that of a part cannot be.
    ///
    /// # Errors
    /// It does not come in some minutes of trying.
    pub(crate) async fn open(
        &self,
        digest: Digest,
        range: Option<(u64, u64)>,
    ) -> Result<BlobBody, FetchError> {
        BlobBody::open(self.clone(), digest, range).await
    }
}

impl Place {
    fn of(source: &BlobSource) -> Result<Place, String> {
        let url: hyper::Uri = source.url.parse().map_err(|_| "it is no URL".to_owned())?;
        let host = url.host().ok_or("it names no host")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins with neither https:// nor http://".to_owned()),
        };
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let tls = tls.then(|| identity::fleet_or_system_config(source.ca_sha256.as_deref()));
        let tls = tls.transpose().map_err(|e| e.to_string())?;
        Ok(Place {
            address: BrokerAddress { host, port, tls },
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    fn authority(&self) -> String {
        let BrokerAddress { host, port, .. } = &self.address;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }
}
