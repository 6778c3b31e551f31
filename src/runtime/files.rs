//! Placing the files of a workload on the node.
//!
//! A file that has the right content is not written again: neither a card nor a program that
//! watches it should notice. A container sees each file through a mount of that very inode, so it
//! is written in place there; everywhere else it is written beside, synced and renamed.

use crate::model::FileSpec;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How a file that differs is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Whole or not at all; another inode.
    Replace,
    /// The same inode.
    InPlace,
}

/// Where each file of a container lies on the node: in `dir`, by number.
pub(crate) fn numbered(dir: &Path, files: &[FileSpec]) -> Vec<PathBuf> {
    (0..files.len()).map(|n| dir.join(n.to_string())).collect()
}

/// Places `files` at `paths`, one each, and makes missing directories; whether one changed.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn place(
    files: &[FileSpec],
    paths: &[PathBuf],
    writing: Writing,
) -> Result<bool, String> {
    let mut changed = false;
    for (file, path) in files.iter().zip(paths) {
        changed |= place_one(file, path, writing)
            .map_err(|error| format!("file `{}` cannot be placed: {error}", file.path))?;
    }
    Ok(changed)
}

fn place_one(file: &FileSpec, path: &Path, writing: Writing) -> io::Result<bool> {
    let there = fs::read(path);
    let same = there
        .as_ref()
        .is_ok_and(|there| there == file.content.as_bytes());
    if same {
        let permissions = fs::metadata(path)?.permissions();
        if permissions.mode() & 0o7777 == file.mode {
            return Ok(false);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(file.mode))?;
        return Ok(true);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let in_place = writing == Writing::InPlace && there.is_ok();
    let target = if in_place {
        path.to_owned()
    } else {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".fleetctl-new");
        path.with_file_name(name)
    };
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(file.mode)
        .open(&target)?;
    out.write_all(file.content.as_bytes())?;
    out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    out.sync_all()?;
    if !in_place {
        fs::rename(&target, path)?;
        if let Some(parent) = path.parent() {
            fs::File::open(parent)?.sync_all()?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn file(content: &str) -> FileSpec {
        FileSpec {
            path: "/etc/x".into(),
            content: content.into(),
            mode: 0o600,
            verbatim: false,
        }
    }

    #[test]
    fn a_file_is_written_when_it_differs_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a/b")];
        assert!(place(&[file("1")], &paths, Writing::Replace).unwrap());
        assert!(!place(&[file("1")], &paths, Writing::Replace).unwrap());
        let inode = fs::metadata(&paths[0]).unwrap().ino();
        assert!(place(&[file("22")], &paths, Writing::InPlace).unwrap());
        assert_eq!(fs::metadata(&paths[0]).unwrap().ino(), inode);
        assert!(place(&[file("3")], &paths, Writing::Replace).unwrap());
        assert_ne!(fs::metadata(&paths[0]).unwrap().ino(), inode);
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "3");
        assert_eq!(fs::metadata(&paths[0]).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_cannot_be_placed_is_named() {
        let paths = [PathBuf::from("/proc/nothing/here")];
        let error = place(&[file("1")], &paths, Writing::Replace).unwrap_err();
        assert!(
            error.starts_with("file `/etc/x` cannot be placed: "),
            "{error}"
        );
    }
}
