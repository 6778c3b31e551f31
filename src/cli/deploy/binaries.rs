//! The binaries that can be copied: this program itself, files, directories and release tarballs.

use crate::{
    cli::Failure,
    deploy::Available,
    model::Digest,
    support::release::{self, NotARelease},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The largest binary.
const MAX_BINARY: u64 = 256 << 20;
/// Files of a directory, and entries of a tarball, that are looked at.
const MAX_ENTRIES: usize = 1_000;

/// Binaries by architecture.
#[derive(Debug, Default)]
pub(super) struct Binaries {
    pub(super) available: BTreeMap<String, Available>,
    bytes: BTreeMap<String, Arc<[u8]>>,
}

impl Binaries {
    /// Those that were given; this program itself where none was.
    pub(super) fn gather(given: &[PathBuf]) -> Result<Binaries, Failure> {
        let mut all = Binaries::default();
        if given.is_empty() {
            let own = std::env::current_exe()?;
            all.file(&own)?;
        }
        for path in given {
            let before = all.available.len();
            match path.is_dir() {
                true => all.directory(path)?,
                false => all.file(path)?,
            }
            if all.available.len() == before && path.is_dir() {
                return Err(Failure::new(format!(
                    "{} holds no binary of fleetctl that was not given before: give a directory \
                     with release tarballs or binaries (`make release` makes target/dist)",
                    path.display()
                )));
            }
        }
        Ok(all)
    }

    /// Its bytes.
    pub(super) fn bytes(&self, arch: &str) -> Option<Arc<[u8]>> {
        self.bytes.get(arch).cloned()
    }

    fn directory(&mut self, dir: &Path) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", dir.display()));
        let mut paths: Vec<PathBuf> = fs::read_dir(dir)
            .map_err(failed)?
            .take(MAX_ENTRIES)
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| {
                let name = p.file_name().map(|n| n.to_string_lossy().into_owned());
                p.is_file() && name.is_some_and(|n| n.starts_with("fleetctl"))
            })
            .collect();
        // A tarball before what somebody has unpacked beside it.
        paths.sort_by_key(|p| (!is_tarball(p), p.clone()));
        for path in paths {
            let tarball = is_tarball(&path);
            match read(&path, tarball) {
                Ok(bytes) => match self.add(bytes) {
                    Ok(()) => {}
                    // Checksums, packages and signatures lie beside.
                    Err(_) if !tarball => {}
                    Err(why) => return Err(unusable(&path, &why)),
                },
                Err(_) if !tarball => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = read(path, is_tarball(path))?;
        self.add(bytes).map_err(|why| unusable(path, &why))
    }

    /// The first one of an architecture stays.
    fn add(&mut self, bytes: Vec<u8>) -> Result<(), NotARelease> {
        let program = release::inspect(&mut Cursor::new(&bytes))?;
        let release::Release { version, arch } = program.release;
        if !self.available.contains_key(&arch) {
            let available = Available {
                version,
                digest: Digest::of(&bytes),
                size: bytes.len() as u64,
            };
            self.available.insert(arch.clone(), available);
            self.bytes.insert(arch, bytes.into());
        }
        Ok(())
    }
}

fn is_tarball(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

fn unusable(path: &Path, why: &NotARelease) -> Failure {
    Failure::new(format!("{} cannot be deployed: {why}", path.display()))
}

/// The binary that is this file, or is in this tarball.
fn read(path: &Path, tarball: bool) -> Result<Vec<u8>, Failure> {
    let failed =
        |e: std::io::Error| Failure::new(format!("{} cannot be read: {e}", path.display()));
    let file = File::open(path).map_err(failed)?;
    if !tarball {
        return whole(file).map_err(failed);
    }
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in archive.entries().map_err(failed)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(failed)?;
        let inside = entry.path().map_err(failed)?.into_owned();
        let named = inside.file_name().is_some_and(|n| n == "fleetctl");
        if named && entry.header().entry_type().is_file() {
            return whole(entry).map_err(failed);
        }
    }
    Err(Failure::new(format!(
        "{} holds no file `fleetctl`: is it a release of fleetctl?",
        path.display()
    )))
}

fn whole(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BINARY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BINARY {
        return Err(std::io::Error::other("it is larger than 256 MiB"));
    }
    Ok(bytes)
}
