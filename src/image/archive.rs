//! What is in an archive, by name. Nothing is unpacked: an entry is a place in the file.
//!
//! Names and the targets of links stay inside of the archive, which is all that a link can mean
//! here (`docker save` writes a layer that two images share once, and links to it).

use super::{
    ImageError,
    spool::{Part, Spool},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use tar::EntryType;

/// Entries of an archive.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of a name, or of the header that says it.
const MAX_NAME: u64 = 64 * 1024;
/// Links that lead to each other.
const MAX_LINKS: usize = 8;

/// An archive that can be read at any place.
#[derive(Debug)]
pub(crate) struct Archive(Place);

#[derive(Debug)]
enum Place {
    Tar {
        file: Arc<File>,
        entries: BTreeMap<String, Entry>,
    },
    Directory(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Its bytes.
    File { at: u64, size: u64 },
    /// The same as this name.
    Link(String),
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Archive, ImageError> {
        let shown = path.display();
        let unreadable = |e: &io::Error| ImageError::new(format!("{shown} cannot be read: {e}"));
        let kind = fs::metadata(path).map_err(|e| unreadable(&e))?;
        if kind.is_dir() {
            return Ok(Archive(Place::Directory(path.to_owned())));
        }
        let file = File::open(path).map_err(|e| unreadable(&e))?;
        if kind.is_file() {
            return Archive::of_file(file, &shown.to_string());
        }
        // A pipe can be read only once.
        let mut spool = Spool::new()?;
        let (mut pipe, mut buffer) = (file, vec![0; 64 * 1024]);
        loop {
            match pipe.read(&mut buffer).map_err(|e| unreadable(&e))? {
                0 => return Archive::of_file(spool.into_file(), &shown.to_string()),
                n => spool.add(&buffer[..n])?,
            }
        }
    }

    /// Of a file that may be compressed with gzip.
    pub(crate) fn of_file(file: File, shown: &str) -> Result<Archive, ImageError> {
        let file = Arc::new(file);
        let size = file
            .metadata()
            .map_err(|e| ImageError::reading(shown, &e))?;
        let whole = Part {
            file: file.clone(),
            at: 0,
            left: size.len(),
        };
        let mut magic = Vec::new();
        let begin = whole.clone().take(6).read_to_end(&mut magic);
        begin.map_err(|e| ImageError::reading(shown, &e))?;
        match magic.as_slice() {
            [0x1f, 0x8b, ..] => {
                // From its beginning, wherever it was read to.
                let mut again = file
                    .try_clone()
                    .map_err(|e| ImageError::reading(shown, &e))?;
                io::Seek::rewind(&mut again).map_err(|e| ImageError::reading(shown, &e))?;
                let unpacked = Spool::gunzip(again, shown)?;
                let size = unpacked.size();
                index(Part::whole(unpacked.into_file(), size), shown)
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', ..] | [b'B', b'Z', b'h', ..] => {
                Err(ImageError::new(format!(
                    "{shown} is compressed with something else than gzip: unpack it to .tar first"
                )))
            }
            _ => index(whole, shown),
        }
    }

    /// There is such a file in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.size(name).is_some()
    }

    /// Bytes of a file in it.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match &self.0 {
            Place::Tar { entries, .. } => resolve(entries, name).map(|(_, size)| size),
            Place::Directory(root) => {
                let path = root.join(inside(name)?);
                let kind = fs::symlink_metadata(path).ok()?;
                kind.is_file().then_some(kind.len())
            }
        }
    }

    /// Its bytes from `offset` on.
    pub(crate) fn reader(&self, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let part = match &self.0 {
            Place::Tar { file, entries } => {
                let (at, left) = resolve(entries, name).ok_or_else(missing)?;
                Part {
                    file: file.clone(),
                    at,
                    left,
                }
            }
            Place::Directory(root) => {
                let size = self.size(name).ok_or_else(missing)?;
                let path = root.join(inside(name).ok_or_else(missing)?);
                Part::whole(File::open(path)?, size)
            }
        };
        Ok(Box::new(part.from(offset)))
    }

    /// All of a small file.
    pub(super) fn small(&self, name: &str, most: u64) -> Result<Vec<u8>, ImageError> {
        let size = self.size(name).ok_or_else(|| {
            ImageError::new(format!(
                "`{name}` is not in the archive: it is cut, or was not made whole"
            ))
        })?;
        if size > most {
            return Err(ImageError::new(format!(
                "`{name}` has {size} bytes; more than {most} are not taken"
            )));
        }
        let mut bytes = Vec::new();
        let read = self
            .reader(name, 0)
            .and_then(|r| r.take(most).read_to_end(&mut bytes));
        read.map_err(|e| ImageError::reading(&format!("`{name}`"), &e))?;
        Ok(bytes)
    }
}

/// A name without `./`, that cannot leave the archive.
fn inside(name: &str) -> Option<String> {
    if name.starts_with('/') || name.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// What a link in the directory of `name` means; `None` when it leads out.
fn target(name: &str, link: &str) -> Option<String> {
    if link.starts_with('/') || link.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn resolve(entries: &BTreeMap<String, Entry>, name: &str) -> Option<(u64, u64)> {
    let mut name = inside(name)?;
    for _ in 0..MAX_LINKS {
        match entries.get(&name)? {
            Entry::File { at, size } => return Some((*at, *size)),
            Entry::Link(other) => name.clone_from(other),
        }
    }
    None
}

/// Reads the headers.
fn index(whole: Part, shown: &str) -> Result<Archive, ImageError> {
    let cut = |e: &io::Error| {
        ImageError::new(format!(
            "{shown} is no tar archive, or one that is cut: {e}"
        ))
    };
    let (file, end) = (whole.file.clone(), whole.at + whole.left);
    let mut entries = BTreeMap::new();
    let mut long = Long::default();
    let mut archive = tar::Archive::new(Seeking {
        part: whole,
        size: end,
    });
    let headers = archive.entries_with_seek().map_err(|e| cut(&e))?.raw(true);
    for entry in headers {
        let mut entry = entry.map_err(|e| cut(&e))?;
        let kind = entry.header().entry_type();
        if matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader
        ) {
            let size = entry.size();
            if size > MAX_NAME {
                return Err(ImageError::new(format!(
                    "{shown} has a name of {size} bytes: that is no honest archive"
                )));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| cut(&e))?;
            long.take(kind, &bytes)?;
            continue;
        }
        let (at, size) = (entry.raw_file_position(), entry.size());
        let Long { path, link } = std::mem::take(&mut long);
        let path = path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let link = link.or_else(|| entry.header().link_name_bytes().map(|b| b.into_owned()));
        let name = text(&path, shown)?;
        let safe = inside(&name).ok_or_else(|| leaves(shown, &name))?;
        let found = match kind {
            EntryType::Regular | EntryType::Continuous => {
                if at.checked_add(size).is_none_or(|last| last > end) {
                    return Err(ImageError::new(format!(
                        "{shown} is cut in the middle of `{safe}`: make or copy it anew"
                    )));
                }
                Entry::File { at, size }
            }
            EntryType::Symlink | EntryType::Link => {
                let link = text(&link.unwrap_or_default(), shown)?;
                let leads = match kind {
                    EntryType::Symlink => target(&safe, &link),
                    _ => inside(&link),
                };
                Entry::Link(leads.ok_or_else(|| leaves(shown, &format!("{name} -> {link}")))?)
            }
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => {
                return Err(ImageError::new(format!(
                    "`{safe}` in {shown} is neither a file nor a directory: images have no such"
                )));
            }
        };
        if entries.len() >= MAX_ENTRIES {
            return Err(ImageError::new(format!(
                "{shown} has more than {MAX_ENTRIES} entries: that is no image"
            )));
        }
        entries.insert(safe, found);
    }
    Ok(Archive(Place::Tar { file, entries }))
}

fn leaves(shown: &str, name: &str) -> ImageError {
    let name: String = name
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    ImageError::new(format!(
        "`{name}` in {shown} leads out of the archive: that is no honest image"
    ))
}

fn text(bytes: &[u8], shown: &str) -> Result<String, ImageError> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| ImageError::new(format!("{shown} has a name that is not UTF-8")))
}

/// What headers in front of an entry say of it.
#[derive(Debug, Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Long {
    fn take(&mut self, kind: EntryType, bytes: &[u8]) -> Result<(), ImageError> {
        let ended = |b: &[u8]| b.split(|b| *b == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => self.path = Some(ended(bytes)),
            EntryType::GNULongLink => self.link = Some(ended(bytes)),
            _ => {
                for extension in tar::PaxExtensions::new(bytes) {
                    let extension = extension
                        .map_err(|_| ImageError::new("a header of the archive is broken"))?;
                    match extension.key_bytes() {
                        b"path" => self.path = Some(extension.value_bytes().to_vec()),
                        b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                        b"size" => {
                            return Err(ImageError::new(
                                "the archive has a layer of more than 8 GiB, which is not taken",
                            ));
                        }
                        key if key.starts_with(b"GNU.sparse") => {
                            return Err(ImageError::new(
                                "the archive has files with holes: make it without (no --sparse)",
                            ));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// For the reader of headers, which skips over what it does not read.
struct Seeking {
    part: Part,
    size: u64,
}

impl Read for Seeking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.part.read(buffer)
    }
}

impl io::Seek for Seeking {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::End(by) => self.size.checked_add_signed(by),
            io::SeekFrom::Current(by) => self.part.at.checked_add_signed(by),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        self.part.at = at;
        self.part.left = self.size.saturating_sub(at);
        Ok(at)
    }
}
