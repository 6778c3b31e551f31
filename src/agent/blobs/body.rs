//! A blob as one stream, over as many connections as it takes.

use super::{
    FetchError, NodeBlobs,
    ask::{self, Refused},
};
use crate::{
    model::{Digest, Hasher},
    support::clock,
};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use std::time::Duration;
use tokio::{sync::OwnedSemaphorePermit, time};

/// Tries one after the other without a single byte; with the waits between them a bit more than
/// two minutes.
const MAX_TRIES: u32 = 10;
/// Between the first two, at least; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// At most.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So often one that has too much to do is asked again: half an hour.
const MAX_BUSY: u32 = 360;
/// A connection on which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// A blob, or a part of one, as it comes. Connections that break are made anew, and it goes on
/// where they ended.
pub(crate) struct BlobBody {
    blobs: NodeBlobs,
    digest: Digest,
    at: u64,
    end: u64,
    size: u64,
    body: Option<Incoming>,
    patience: Patience,
    /// Of a whole one.
    hasher: Option<Hasher>,
    _turn: OwnedSemaphorePermit,
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}..{}", self.digest, self.at, self.end)
    }
}

/// What was tried since a byte last came.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    tries: u32,
    busy: u32,
}

impl Patience {
    /// How long to wait before the next try.
    pub(super) fn after(
        &mut self,
        digest: Digest,
        refused: Refused,
        seed: u64,
    ) -> Result<Duration, FetchError> {
        match refused {
            Refused::Missing => Err(FetchError::new(format!(
                "the controller does not have {digest}; push it again (`fleetctl image push`, \
                 `fleetctl upgrade push`)"
            ))),
            Refused::Busy(wait) if self.busy < MAX_BUSY => {
                self.busy += 1;
                Ok(jittered(wait, seed))
            }
            Refused::Busy(_) => Err(FetchError::new(format!(
                "{digest} was not fetched: the controller has had too much to do for half an hour"
            ))),
            Refused::Broken(why) => {
                self.tries += 1;
                if self.tries >= MAX_TRIES {
                    return Err(FetchError::new(format!(
                        "{digest} cannot be fetched, {MAX_TRIES} times nothing came of it ({why})"
                    )));
                }
                let doubled = FIRST_WAIT.saturating_mul(1 << (self.tries - 1).min(16));
                Ok(jittered(doubled.min(LONGEST_WAIT), seed))
            }
        }
    }
}

/// Up to half as much longer, so that a fleet that was cut off at once does not come at once.
fn jittered(wait: Duration, seed: u64) -> Duration {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    wait + Duration::from_millis(seed % (ms / 2 + 1))
}

impl BlobBody {
    pub(super) async fn open(
        blobs: NodeBlobs,
        digest: Digest,
        range: Option<(u64, u64)>,
    ) -> Result<BlobBody, FetchError> {
        let (at, end) = range.map_or((0, None), |(from, end)| (from, Some(end)));
        if end.is_some_and(|end| end <= at) {
            let message = format!("no byte of {digest} is asked for");
            return Err(FetchError::new(message));
        }
        let stopping = |_| FetchError::new("the agent is stopping");
        let turn = blobs.0.open.clone().acquire_owned().await;
        let mut body = BlobBody {
            digest,
            at,
            end: end.unwrap_or(u64::MAX),
            size: 0,
            body: None,
            patience: Patience::default(),
            hasher: (at == 0 && end.is_none()).then(Hasher::default),
            _turn: turn.map_err(stopping)?,
            blobs,
        };
        body.connect().await?;
        body.end = body.end.min(body.size);
        Ok(body)
    }

    /// Bytes of the whole blob.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Nothing comes any more though it was tried again and again, or the hash is wrong.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            if self.at >= self.end {
                return self.check().map(|()| None);
            }
            let Some(body) = &mut self.body else {
                self.connect().await?;
                continue;
            };
            let broken = match time::timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(mut bytes) = frame.into_data() else {
                        continue;
                    };
                    // Never more than was asked for, whatever comes.
                    let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
                    bytes.truncate(left);
                    if bytes.is_empty() {
                        continue;
                    }
                    self.at += bytes.len() as u64;
                    self.patience = Patience::default();
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
                Ok(Some(Err(error))) => crate::support::chain(&error),
                Ok(None) => "the answer ended too early".to_owned(),
                Err(_) => "nothing came for a minute".to_owned(),
            };
            self.body = None;
            tracing::debug!(digest = %self.digest, at = self.at, broken, "goes on anew");
            self.wait(Refused::Broken(broken)).await?;
        }
    }

    /// The hash of a whole one.
    fn check(&mut self) -> Result<(), FetchError> {
        let Some(found) = self.hasher.take().map(Hasher::finish) else {
            return Ok(());
        };
        if found == self.digest {
            return Ok(());
        }
        Err(FetchError::new(format!(
            "what the controller gives as {} is {found}: its bytes were changed; push it again",
            self.digest
        )))
    }

    async fn wait(&mut self, refused: Refused) -> Result<(), FetchError> {
        let wait = self.patience.after(self.digest, refused, clock::seed())?;
        time::sleep(wait).await;
        Ok(())
    }

    /// Asks until there is an answer that goes on where the last one ended.
    async fn connect(&mut self) -> Result<(), FetchError> {
        loop {
            let end = Some(self.end).filter(|end| *end != u64::MAX);
            match ask::anywhere(&self.blobs, self.digest, self.at, end).await {
                Ok((body, size)) if self.size == 0 || self.size == size => {
                    (self.body, self.size) = (Some(body), size);
                    return Ok(());
                }
                Ok((_, size)) => {
                    return Err(FetchError::new(format!(
                        "{} had {} bytes and has {size} now",
                        self.digest, self.size
                    )));
                }
                Err(refused) => self.wait(refused).await?,
            }
        }
    }
}
