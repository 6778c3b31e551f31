//! Where a single run keeps what it needs, and the name that nobody else has.

use super::super::Failure;
use crate::{model::Name, support::clock};
use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// A directory and a node name of this run's own. Dropped, the directory is gone.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) node: Name,
}

impl Place {
    /// In the agent's data directory where there is one, else where temporary files are.
    pub(super) fn make(data_dir: &Path) -> Result<Place, Failure> {
        let node: Name =
            format!("run-{}-{:08x}", std::process::id(), clock::seed() as u32).parse()?;
        let make = |parent: &Path| -> io::Result<PathBuf> {
            let dir = parent.join(format!("fleetctl-{node}"));
            std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
            Ok(dir)
        };
        let temporary = std::env::temp_dir();
        let dir = make(data_dir).or_else(|_| make(&temporary)).map_err(|e| {
            Failure::new(format!(
                "cannot make a directory for the run in {}: {e}; name another with TMPDIR",
                temporary.display()
            ))
        })?;
        Ok(Place { dir, node })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_own_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (
            Place::make(dir.path()).map_err(|f| f.message).unwrap(),
            Place::make(dir.path()).map_err(|f| f.message).unwrap(),
        );
        assert_ne!(one.node, two.node);
        let (path, mode) = (one.dir.clone(), std::fs::metadata(&one.dir).unwrap());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        drop(one);
        assert!(!path.exists() && two.dir.exists());
    }
}
