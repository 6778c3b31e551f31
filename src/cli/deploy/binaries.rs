//! The binaries that can be copied: this program itself, files, directories and release tarballs. What
//! they hold is read as for `upgrade push`.

use crate::{
    cli::{
        Failure,
        upgrade::release_file::{self, ReleaseFile},
    },
    deploy::Available,
};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Binaries by architecture.
#[derive(Debug, Default)]
pub(super) struct Binaries {
    pub(super) available: BTreeMap<String, Available>,
    bytes: BTreeMap<String, Arc<[u8]>>,
}

impl Binaries {
    /// Those that were given; this program itself where none was.
    pub(super) fn gather(given: &[PathBuf]) -> Result<Binaries, Failure> {
        let files = match given.is_empty() {
            true => release_file::gather(&[std::env::current_exe()?])?,
            false => release_file::gather(given)?,
        };
        let mut all = Binaries::default();
        let mut paths: BTreeMap<String, PathBuf> = BTreeMap::new();
        for file in files {
            let arch = file.release.arch.clone();
            if let Some(other) = paths.insert(arch.clone(), file.path.clone()) {
                return Err(Failure::new(format!(
                    "{} and {} are both for {arch}, and a board gets one: give --binaries the one \
                     that is meant",
                    other.display(),
                    file.path.display()
                )));
            }
            all.add(&file, arch)?;
        }
        Ok(all)
    }

    /// Its bytes.
    pub(super) fn bytes(&self, arch: &str) -> Option<Arc<[u8]>> {
        self.bytes.get(arch).cloned()
    }

    fn add(&mut self, file: &ReleaseFile, arch: String) -> Result<(), Failure> {
        let available = Available {
            version: file.release.version.clone(),
            digest: file.digest,
            size: file.size,
        };
        let bytes = whole(file).map_err(|e| unreadable(&file.path, &e))?;
        self.available.insert(arch.clone(), available);
        self.bytes.insert(arch, bytes.into());
        Ok(())
    }
}

/// No more than what it was when it was looked at.
fn whole(file: &ReleaseFile) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.open(0)?.take(file.size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be read: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Digest, support::release};
    use flate2::{Compression, write::GzEncoder};
    use std::fs;

    /// A tarball of a release in its real layout: the completion, which is called as the program is,
    /// comes before it.
    fn tarball(path: &Path, program: &[u8]) {
        let file = fs::File::create(path).unwrap();
        let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        let top = "fleetctl-1-x86_64-unknown-linux-musl";
        for (name, bytes) in [
            ("INSTALL", b"install it" as &[u8]),
            ("completions/bash/fleetctl", b"_fleetctl() {"),
            ("config/agent.toml", b"[agent]"),
            ("fleetctl", program),
            ("man/man1/fleetctl.1", b".TH"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            let name = format!("{top}/{name}");
            builder.append_data(&mut header, name, bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn a_release_tarball_gives_its_program_and_so_does_a_directory_of_them() {
        // A program of this machine with the marker of a release in it: small.
        let mut program = fs::read("/bin/true").unwrap();
        program.extend(release::marker_of(release::own()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let packed = dir
            .path()
            .join("fleetctl-1-x86_64-unknown-linux-musl.tar.gz");
        tarball(&packed, &program);
        // Unpacked beside itself.
        let unpacked = dir.path().join("fleetctl-1-x86_64-unknown-linux-musl");
        fs::create_dir_all(unpacked.join("completions/bash")).unwrap();
        let arch = release::own().arch.clone();
        for given in [packed, dir.path().to_owned()] {
            let all = Binaries::gather(std::slice::from_ref(&given)).map_err(|e| e.message);
            let all = all.unwrap();
            let there: Vec<&String> = all.available.keys().collect();
            assert_eq!(there, [&arch], "{given:?}");
            assert_eq!(all.available[&arch].digest, Digest::of(&program));
            assert_eq!(all.bytes(&arch).unwrap()[..], program[..]);
        }
    }

    #[test]
    fn a_directory_without_a_release_is_said_to_have_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fleetctl-notes"), "no program").unwrap();
        let said = Binaries::gather(&[dir.path().to_owned()]).unwrap_err();
        assert!(
            said.message.contains("there is no release in"),
            "{}",
            said.message
        );
    }
}
