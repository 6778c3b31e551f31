//! Asking what an image is made of, by its name.

use super::{FetchError, NodeBlobs, ask};
use crate::model::Image;

/// Bytes of an answer.
const MAX_IMAGE: usize = 1 << 20;

impl NodeBlobs {
    /// The image of this name, fully qualified, as the controller keeps it; `None`: it keeps none.
    ///
    /// # Errors
    /// The controller is not reached, or not understood.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<Image>, FetchError> {
        let what = format!("/images/{reference}");
        let found = ask::document(self, &what, MAX_IMAGE).await;
        let Some(bytes) = found.map_err(FetchError::new)? else {
            return Ok(None);
        };
        let image: Image = serde_json::from_slice(&bytes)
            .map_err(|e| FetchError::new(format!("the controller's answer is no image: {e}")))?;
        Ok(Some(image).filter(|image| image.reference == reference))
    }
}
