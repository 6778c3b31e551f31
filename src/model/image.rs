//! Images on nodes: what a node is told about them, and what it says of them.

use super::{Digest, RuntimeKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What agents know that take these orders, as in [`super::FEATURES`].
pub const IMAGE_FEATURES: u32 = 5;
/// Names of images in one order.
pub const MAX_PRUNED: usize = 100;

/// What a node is to do about images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageOrder {
    /// Fetch one from the controller.
    Fetch(ImageFetch),
    /// Take images away that nothing needs.
    Prune(ImagePrune),
}

/// An image that the controller keeps, as far as a node must know it to fetch it. Its layers are in
/// its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageFetch {
    /// Fully qualified; the engine knows it by this name afterwards.
    pub reference: String,
    /// Of its manifest, or of the index of several.
    #[schema(value_type = String)]
    pub manifest: Digest,
    /// Of that manifest.
    pub media_type: String,
    /// `linux/arm64`, …; nothing: not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Only into this engine; else into every container engine of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<RuntimeKind>,
}

/// Which images are to go. What a container uses, or an assigned workload names, always stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImagePrune {
    /// Also those with a name. Otherwise, and without `references`, only those without one.
    #[serde(default)]
    pub unused: bool,
    /// Only these, fully qualified; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Only of this engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<RuntimeKind>,
}

/// An image that an engine of a node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeImage {
    /// Which engine.
    pub engine: RuntimeKind,
    /// As the engine names it: `sha256:` and hex digits.
    pub id: String,
    /// Its names, fully qualified; of one without any it is dangling.
    #[serde(default)]
    pub references: Vec<String>,
    /// Bytes with all its layers, also those that others share.
    pub size: u64,
    /// When it was built, Unix seconds.
    #[serde(default)]
    pub created_s: u64,
    /// Containers that use it, also those that do not run.
    #[serde(default)]
    pub containers: u32,
}

impl super::Image {
    /// As a node is told to fetch it.
    pub fn to_fetch(&self, engine: Option<RuntimeKind>) -> ImageFetch {
        ImageFetch {
            reference: self.reference.clone(),
            manifest: self.manifest,
            media_type: self.media_type.clone(),
            platforms: self.platforms.clone(),
            engine,
        }
    }

    /// Bytes of all its blobs.
    pub fn size(&self) -> u64 {
        self.blobs
            .values()
            .fold(0, |sum, size| sum.saturating_add(*size))
    }
}
