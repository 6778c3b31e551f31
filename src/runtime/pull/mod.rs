//! Fetching images: names, credentials, progress, and one at a time.
//!
//! A board's card and its radio are slow, and two images at once are slower than one after the
//! other; so a node fetches as many at a time as its semaphore has permits (one, by default).
//! There is no limit on the whole time, an image of a gigabyte takes as long as it takes; there
//! is one on standing still.

mod credentials;
mod progress;
mod reference;

pub(crate) use credentials::Credential;
pub use credentials::{CredentialsError, RegistryCredentials};
pub(crate) use progress::LayerProgress;
pub(crate) use reference::Reference;

use super::{Progress, RuntimeError, container::fault::Fault};
use crate::model::RuntimeKind;
use futures_util::{Stream, StreamExt};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc::UnboundedSender};

/// An engine that tells bytes is given up after so long without a word.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(120);
/// An engine that is silent while a layer comes gets so long for one layer.
pub(crate) const LAYER_LIMIT: Duration = Duration::from_secs(30 * 60);

/// An engine that is silent during a fetch is asked so often whether it still answers.
const ASK_EVERY: Duration = Duration::from_secs(20);

/// The right to fetch; waits for those before.
pub(crate) async fn turn(
    pulls: &Arc<Semaphore>,
    progress: &UnboundedSender<Progress>,
) -> Result<OwnedSemaphorePermit, RuntimeError> {
    // Shown while it waits for its turn, too. Nobody listening is no error.
    let _ = progress.send(Progress::Pulling(None));
    Arc::clone(pulls)
        .acquire_owned()
        .await
        .map_err(|_| RuntimeError::Failed("the agent is stopping, no image is fetched".to_owned()))
}

/// Reads `steps` to their end; `each` sees every one and may find an error in it. While nothing
/// comes, `alive` is asked now and then whether the engine answers at all.
///
/// # Errors
/// The stream's own, `each`'s, `alive`'s, or that nothing came for `stall`.
pub(crate) async fn drain<T, E: Into<Fault>, A: Future<Output = Result<(), Fault>>>(
    mut steps: impl Stream<Item = Result<T, E>> + Unpin,
    stall: Duration,
    alive: impl Fn() -> A,
    mut each: impl FnMut(T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut silent = Duration::ZERO;
    loop {
        let wait = ASK_EVERY.min(stall - silent);
        match tokio::time::timeout(wait, steps.next()).await {
            Ok(Some(Ok(step))) => {
                each(step)?;
                silent = Duration::ZERO;
            }
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(None) => return Ok(()),
            Err(_) => {
                silent += wait;
                alive().await?;
                if silent >= stall {
                    let stall_s = stall.as_secs();
                    return Err(Fault::said(format!("nothing came for {stall_s} s")));
                }
            }
        }
    }
}

/// Whether a node of architecture `node` runs images of architecture `image`; both as Go names
/// them. 64-bit processors run the 32-bit programs of their family.
pub(crate) fn runs(node: &str, image: &str) -> bool {
    image.is_empty()
        || node.is_empty()
        || node == image
        || matches!((node, image), ("arm64", "arm") | ("amd64", "386"))
}

/// The sentence for an image of another architecture.
pub(crate) fn wrong_architecture(
    kind: RuntimeKind,
    image: &str,
    image_arch: &str,
    node_arch: &str,
) -> RuntimeError {
    tracing::debug!(runtime = %kind, image, image_arch, node_arch, "image of another architecture");
    RuntimeError::Image(format!(
        "image `{image}` is built for {image_arch}, and this node is {node_arch}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[test]
    fn an_image_must_be_of_the_nodes_family() {
        assert!(runs("amd64", "amd64") && runs("arm64", "arm") && runs("amd64", ""));
        assert!(!runs("arm", "arm64") && !runs("amd64", "s390x"));
    }

    #[tokio::test]
    async fn a_fetch_that_stands_still_is_given_up() {
        let steps = stream::pending::<Result<(), Fault>>();
        let fault = drain(
            steps,
            Duration::from_millis(1),
            async || Ok(()),
            |()| Ok(()),
        )
        .await
        .unwrap_err();
        assert!(matches!(fault, Fault::Said { text, .. } if text.contains("nothing came")));
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_is_noticed_before_that() {
        let steps = stream::pending::<Result<(), Fault>>();
        let gone = async || Err(Fault::Unreachable("gone".to_owned()));
        let fault = drain(steps, Duration::from_millis(1), gone, |()| Ok(())).await;
        assert!(matches!(fault, Err(Fault::Unreachable(_))), "{fault:?}");
    }

    #[tokio::test]
    async fn an_error_inside_the_stream_ends_it() {
        let mut seen = 0;
        let steps = stream::iter([1, 2, 3].map(Ok::<i32, Fault>));
        let outcome = drain(
            steps,
            STALL_LIMIT,
            async || Ok(()),
            |step| {
                seen += 1;
                if step == 2 {
                    Err(Fault::said("manifest unknown"))
                } else {
                    Ok(())
                }
            },
        )
        .await;
        assert!(outcome.is_err());
        assert_eq!(seen, 2);
    }
}
