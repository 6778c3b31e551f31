//! What engines can do with images beside running them, and images that the controller keeps.
//!
//! An image of the controller comes over a registry that the agent opens for it, on this machine
//! and only meanwhile ([`Lent`]). The engine fetches from it as from any other, so it takes only the
//! layers that it lacks, and the image gets its own name afterwards:
//!
//! ```text
//!  lend ─► fetch 127.0.0.1:40123/fleetctl-5f…:1 ─► name it docker.io/library/app:1 ─► forget the first name
//! ```

use super::{Progress, RuntimeError};
use crate::model::NodeImage;
use futures_util::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc::UnboundedSender;

/// First part of the names that images have only while they are fetched from the agent.
pub(crate) const LENT: &str = "fleetctl-lent-";

/// Images of one engine.
pub trait ImageStore: Send + Sync {
    /// Fetches `lent` and names it `reference`, fully qualified. Nothing of the first name stays.
    fn take<'a>(
        &'a self,
        lent: &'a Lent,
        reference: &'a str,
        progress: UnboundedSender<Progress>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// All of them, and how many containers use each.
    fn images(&self) -> BoxFuture<'_, Result<Vec<NodeImage>, RuntimeError>>;

    /// Takes one away, by name or id; the engine refuses one that a container uses.
    fn forget<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;
}

/// Lends images that the controller keeps.
pub trait KeptImages: std::fmt::Debug + Send + Sync {
    /// The image of this name, fully qualified; `None` when the controller does not keep it.
    /// The error is a sentence.
    fn lend<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Lent>, String>>;
}

/// An image that an engine of this machine can fetch, as long as this is held.
pub struct Lent {
    /// By this name.
    pub reference: String,
    /// `linux/arm64`, …; nothing: not known.
    pub platforms: Vec<String>,
    /// Bytes that went to engines so far.
    pub sent: Arc<AtomicU64>,
    /// Whatever ends the lending when it is dropped.
    pub ends: Box<dyn Send + Sync>,
}

impl Lent {
    /// Bytes that went to engines so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// That a node of this architecture can run it; the sentence names what there is.
    ///
    /// # Errors
    /// [`RuntimeError::Image`].
    pub(crate) fn fits(&self, image: &str, architecture: &str) -> Result<(), RuntimeError> {
        let runs = |platform: &String| {
            let mut parts = platform.split('/');
            parts.next() == Some("linux")
                && parts
                    .next()
                    .is_some_and(|image| super::pull::runs(architecture, image))
        };
        if self.platforms.is_empty() || self.platforms.iter().any(runs) {
            return Ok(());
        }
        Err(RuntimeError::Image(format!(
            "image `{image}` is not for this node (linux/{architecture}): the controller keeps it \
             for {}",
            self.platforms.join(", ")
        )))
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_for_other_machines_is_refused_with_what_there_is() {
        let mut lent = Lent {
            reference: String::new(),
            platforms: vec!["linux/arm64/v8".into(), "linux/s390x".into()],
            sent: Arc::default(),
            ends: Box::new(()),
        };
        assert_eq!(lent.fits("app:1", "arm64"), Ok(()));
        let text = lent.fits("app:1", "amd64").unwrap_err().to_string();
        assert!(text.contains("linux/amd64") && text.contains("linux/arm64/v8, linux/s390x"));
        lent.platforms = vec!["windows/amd64".into()];
        assert!(lent.fits("app:1", "amd64").is_err());
        lent.platforms.clear();
        assert_eq!(lent.fits("app:1", "amd64"), Ok(()));
    }
}
