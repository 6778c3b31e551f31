//! What the controller keeps for its nodes: binaries of fleetctl, and images.

use super::{Digest, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Something that the controller keeps for its nodes, made of blobs that are named by their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Artifact {
    /// A release of fleetctl for one architecture.
    Binary {
        /// As `fleetctl --version` says it.
        version: String,
        /// As in [`super::NodeFacts::arch`]: `x86_64`, `aarch64`, `arm`.
        arch: String,
        /// The program.
        binary: Binary,
    },
    /// An image that was pushed.
    Image(Image),
}

/// A program by what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binary {
    /// SHA-256 of the file.
    #[schema(value_type = String)]
    pub sha256: Digest,
    /// Bytes of the file.
    pub size: u64,
}

/// An image, as in the OCI image specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// Fully qualified, as in `docker.io/library/app:1.2`.
    pub reference: String,
    /// Of its manifest, or of the index of several.
    #[schema(value_type = String)]
    pub manifest: Digest,
    /// `application/vnd.oci.image.manifest.v1+json` or a like of it.
    pub media_type: String,
    /// Every blob that it is made of, manifests included, and its bytes.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub blobs: BTreeMap<Digest, u64>,
    /// `linux/arm64`, ….
    pub platforms: Vec<String>,
}

/// An artifact, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactRecord {
    /// What.
    pub artifact: Artifact,
    /// When it was added, controller's clock.
    pub added_ms: UnixMs,
    /// By whom: name of the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Artifact {
    /// One of the same id takes its place: `fleetctl/0.3.0/aarch64`, or `image/` and its reference.
    pub fn id(&self) -> String {
        match self {
            Artifact::Binary { version, arch, .. } => format!("fleetctl/{version}/{arch}"),
            Artifact::Image(image) => format!("image/{}", image.reference),
        }
    }

    /// The blobs that it is made of, and their bytes.
    pub fn blobs(&self) -> Vec<(Digest, u64)> {
        match self {
            Artifact::Binary { binary, .. } => vec![(binary.sha256, binary.size)],
            Artifact::Image(image) => image.blobs.iter().map(|(d, s)| (*d, *s)).collect(),
        }
    }
}
