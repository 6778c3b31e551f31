//! The files of simulated nodes: as those of boards, without the care for power cuts. A thousand
//! agents on one disk would wait for it and for nothing else.

use super::store::StoreError;
use crate::identity;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::path::Path;

/// Writes a file that need not outlive a power cut: whole or absent all the same.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let written = std::fs::write(&temporary, bytes);
    written
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| StoreError::Scratch {
            path: path.display().to_string(),
            message: error.to_string(),
        })
}

/// Makes the directory of a node.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(dir).map_err(|error| StoreError::Scratch {
        path: dir.display().to_string(),
        message: error.to_string(),
    })
}

/// Makes a key where there is none, in the form of [`identity::SigningKey::open_or_create`].
pub(super) fn make_key(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let seed: [u8; 32] = identity::random_bytes()?;
    write(path, URL_SAFE_NO_PAD.encode(seed).as_bytes())
}

/// Counts a start.
pub(super) fn count_start(path: &Path) -> Result<u64, StoreError> {
    let last = identity::read_optional(path)?.and_then(|text| text.trim().parse::<u64>().ok());
    let next = last.unwrap_or(0).saturating_add(1);
    write(path, next.to_string().as_bytes())?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_starts_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (key, starts) = (dir.path().join("node.key"), dir.path().join("starts"));
        make_key(&key).unwrap();
        let first = std::fs::read(&key).unwrap();
        make_key(&key).unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), first);
        let opened = identity::SigningKey::open_or_create(&key).unwrap();
        assert_eq!(opened.public().to_string().len(), 43);
        assert_eq!(count_start(&starts).unwrap(), 1);
        assert_eq!(count_start(&starts).unwrap(), 2);
    }
}
