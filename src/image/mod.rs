//! Images as files: archives that `docker save`, `podman save` and builders write, taken apart into
//! blobs that are named by their hash.
//!
//! ```text
//!  .tar  .tar.gz  directory          archive   what is in it, by name; nothing is unpacked
//!      │
//!      ├─ index.json (OCI layout)    layout    manifests, by platform
//!      └─ manifest.json (Docker)     docker    the same, told in OCI's words
//!              │
//!              ▼
//!            pack                    layers: checked, and compressed where that makes them smaller
//!              │
//!              ▼
//!            Packed                  the [`Image`] and where the bytes of each blob are
//! ```
//!
//! Nothing is trusted: every name stays inside of the archive, every size is compared with what is
//! there, every digest is computed, every word that travels on has its form (`check`), everything that is read into memory or decompressed has a bound.

mod archive;
mod check;
mod docker;
mod json;
mod layout;
mod pack;
mod spool;
#[cfg(test)]
mod tests;

pub(crate) use archive::Archive;
pub(crate) use check::is_name;
pub(crate) use json::{Config, Descriptor, Index, Manifest, Platform, is_index, parse};
pub(crate) use pack::Packed;
pub(crate) use spool::Spool;

use crate::model::Digest;
use std::{collections::BTreeMap, io, path::Path};

/// Bytes of a manifest or an index, as registries have it.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// Bytes of an image's configuration.
const MAX_CONFIG: u64 = 8 << 20;

/// Why an archive is not taken. One sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ImageError(String);

impl ImageError {
    pub(crate) fn new(text: impl Into<String>) -> ImageError {
        ImageError(text.into())
    }

    /// Reading `what` failed.
    fn reading(what: &str, error: &io::Error) -> ImageError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ImageError(format!(
                "{what} ends too early: the archive is cut, make or copy it anew"
            )),
            _ => ImageError(format!("{what} cannot be read: {error}")),
        }
    }
}

/// What is wanted of an archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Only this platform of several.
    pub(crate) platform: Option<Platform>,
    /// The name that the image gets, fully qualified; else the one that it has in the archive.
    pub(crate) reference: Option<String>,
    /// Layers that the controller has already in a form of its own, by what they are unpacked.
    pub(crate) known: BTreeMap<Digest, Descriptor>,
}

/// Takes an archive apart. `say` hears what takes long.
///
/// # Errors
/// A sentence that says what is wrong with the archive.
pub(crate) fn read(
    archive: Archive,
    wish: &Wish,
    say: &mut dyn FnMut(&str),
) -> Result<Packed, ImageError> {
    let found = match (archive.has("index.json"), archive.has("manifest.json")) {
        (true, _) => layout::read(&archive)?,
        (false, true) => docker::read(&archive)?,
        (false, false) => {
            return Err(ImageError::new(
                "this is no image: there is neither index.json (an OCI layout) nor manifest.json \
                 (what `docker save` writes) in it",
            ));
        }
    };
    let reference = match (&wish.reference, found.references.first()) {
        (Some(reference), _) => reference.clone(),
        (None, Some(reference)) => {
            found.references.iter().try_for_each(|r| check::name(r))?;
            reference.clone()
        }
        (None, None) => {
            return Err(ImageError::new(
                "the archive does not say what the image is called: give it a name with --as",
            ));
        }
    };
    let chosen = layout::choose(&archive, found.manifests, wish.platform.as_ref())?;
    pack::pack(archive, reference, chosen, wish, say)
}

/// Opens what lies at `path`: a directory, a tar archive, or one that is compressed with gzip.
///
/// # Errors
/// A sentence.
pub(crate) fn open(path: &Path) -> Result<Archive, ImageError> {
    Archive::open(path)
}
