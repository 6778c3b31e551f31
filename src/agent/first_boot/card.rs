//! The directory on the card, as the agent touches it. Whoever can write there need not be who owns
//! the board, and the agent is root: it follows no link, waits for no pipe, opens no device,
//! overwrites nothing that has another name elsewhere, and writes only into files that it has made.
//!
//! It is opened anew for each thing that is done: an open directory would keep the partition from
//! being unmounted.

use super::text;
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, fsync, openat, renameat, statat,
        unlinkat,
    },
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

/// Files of the directory that are looked at.
const MAX_FILES: usize = 64;
/// For every file: what is a link in the end is an error, a pipe is not waited for, a terminal is
/// not taken.
const CAREFUL: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The directory, open.
#[derive(Debug)]
pub(super) struct Card(OwnedFd);

/// What became of a file that is to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shredded {
    /// Overwritten and removed.
    Gone,
    /// Removed, and not overwritten: the same file has another name elsewhere.
    Elsewhere,
}

impl Card {
    /// A directory, and no link to one.
    pub(super) fn open(dir: &Path) -> io::Result<Card> {
        // A slash at the end would follow a link.
        let dir: PathBuf = dir.components().collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | CAREFUL;
        let opened = rustix::fs::open(&dir, flags, Mode::empty());
        opened.map(Card).map_err(io::Error::from)
    }

    /// Names of what is there, at most 64.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." && names.len() < MAX_FILES {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// What a plain file holds.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let (file, _) = self.plain(name, OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        file.take(text::MAX_FILE + 1).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()).is_ok_and(|length| length > text::MAX_FILE) {
            true => Err(io::Error::other("it is too long for a text of this kind")),
            false => Ok(bytes),
        }
    }

    /// Overwrites and removes.
    pub(super) fn shred(&self, name: &str) -> io::Result<Shredded> {
        let (mut file, stat) = self.plain(name, OFlags::WRONLY)?;
        let alone = stat.st_nlink <= 1;
        if alone {
            let length = file.metadata()?.len().min(text::MAX_FILE);
            file.write_all(&vec![b' '; usize::try_from(length).unwrap_or(0)])?;
            file.sync_all()?;
        }
        self.remove(name)?;
        fsync(&self.0)?;
        Ok(if alone {
            Shredded::Gone
        } else {
            Shredded::Elsewhere
        })
    }

    /// Puts a text there in place of what has that name, by way of a new file that is called
    /// `beside` meanwhile.
    pub(super) fn write(&self, name: &str, beside: &str, text: &str) -> io::Result<()> {
        // Of an earlier start; whatever it is, only its name is taken away.
        match self.remove(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | CAREFUL;
        let new = openat(&self.0, beside, flags, Mode::from_raw_mode(0o644))?;
        let mut file = File::from(new);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        renameat(&self.0, beside, &self.0, name)?;
        Ok(())
    }

    /// Takes the name away.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        unlinkat(&self.0, name, AtFlags::empty()).map_err(io::Error::from)
    }

    /// Opens a plain file. Looked at before, since already opening some devices does something, and
    /// after, since it may have been changed for another one in between.
    fn plain(&self, name: &str, how: OFlags) -> io::Result<(File, Stat)> {
        let seen = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        check_plain(&seen)?;
        let opened = openat(&self.0, name, how | CAREFUL, Mode::empty());
        let opened = opened.map_err(|error| match error {
            Errno::LOOP => not_plain(),
            other => other.into(),
        })?;
        let stat = fstat(opened.as_fd())?;
        check_plain(&stat)?;
        Ok((opened.into(), stat))
    }
}

fn check_plain(stat: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(not_plain()),
    }
}

fn not_plain() -> io::Error {
    io::Error::other(
        "it is no plain file but a link, a directory, a pipe or a device; write the text itself \
         into a file of this name",
    )
}
