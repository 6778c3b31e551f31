//! What a file holds that is to be pushed or deployed: a binary of fleetctl, by itself or in a release's
//! tarball.
//!
//! Nothing is unpacked: of a tarball the program alone is read, into memory and within a bound. A
//! `SHA256SUMS` beside a file is believed rather than the file.

use super::super::Failure;
use crate::{
    model::{Digest, Hasher, shown},
    support::release::{self, Release},
};
use flate2::read::GzDecoder;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The largest program, bytes; a release is a tenth of it.
const MAX_PROGRAM: u64 = 256 << 20;
/// Files in a directory that are looked at.
const MAX_FILES: usize = 256;
/// Entries of a tarball that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Bytes behind the end of an archive: it is filled up to a full record.
const MAX_REST: u64 = 1 << 20;
/// Bytes of a `SHA256SUMS`.
const MAX_SUMS: u64 = 1 << 20;
/// What a program begins with.
const ELF: &[u8] = b"\x7fELF";
/// Bytes that are hashed together.
const PIECE: usize = 256 * 1024;

/// A program that can be pushed, or deployed.
pub(in crate::cli) struct ReleaseFile {
    /// Where it was found, for people.
    pub path: PathBuf,
    /// Which release it is.
    pub release: Release,
    /// Of the program, not of the tarball.
    pub digest: Digest,
    /// Bytes of the program.
    pub size: u64,
    /// It needs libraries of the board.
    pub dynamic: bool,
    content: Content,
}

enum Content {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

impl ReleaseFile {
    /// Its bytes from an offset on.
    pub(in crate::cli) fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        match &self.content {
            Content::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file))
            }
            Content::Memory(bytes) => {
                let mut cursor = Cursor::new(bytes.clone());
                cursor.set_position(offset);
                Ok(Box::new(cursor))
            }
        }
    }
}

/// Everything that these paths mean, each looked at.
pub(in crate::cli) fn gather(paths: &[PathBuf]) -> Result<Vec<ReleaseFile>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let found = in_directory(path).map_err(|e| about(path, &e))?;
        if found.is_empty() {
            return Err(Failure::new(format!(
                "there is no release in {}: neither a fleetctl nor a fleetctl-….tar.gz",
                path.display()
            )));
        }
        all.extend(found);
    }
    let mut sums = BTreeMap::new();
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    let mut files: BTreeMap<Release, ReleaseFile> = BTreeMap::new();
    for path in all {
        if !seen.insert(path.clone()) {
            continue;
        }
        check_sum(&path, &mut sums)?;
        let file = look(&path)?;
        if let Some(other) = files.get(&file.release) {
            if other.digest == file.digest {
                continue;
            }
            return Err(Failure::new(format!(
                "{} and {} are both {}, and are not the same",
                other.path.display(),
                path.display(),
                file.release
            )));
        }
        files.insert(file.release.clone(), file);
    }
    Ok(files.into_values().collect())
}

fn about(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// Tarballs of a release and programs, by name.
fn in_directory(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)?.take(MAX_FILES) {
        let entry = entry?;
        // Also what somebody has unpacked there.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let program =
            name == "fleetctl" || (name.starts_with("fleetctl-") && !name.contains(".deb"));
        let wanted = match name.rsplit_once('.') {
            _ if name.ends_with(".tar.gz") => name.starts_with("fleetctl-"),
            Some((_, "json" | "txt" | "asc" | "sig" | "sha256" | "tar")) => false,
            _ => program && is_program(&entry.path())?,
        };
        if wanted {
            found.push(entry.path());
        }
    }
    // Beside tarballs, the program is one that was taken out of them.
    let packed = |path: &Path| path.extension().is_some_and(|e| e == "gz");
    if found.iter().any(|path| packed(path)) {
        found.retain(|path| packed(path) || path.file_name().is_none_or(|name| name != "fleetctl"));
    }
    found.sort();
    Ok(found)
}

fn is_program(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head == ELF)
}

/// What a file holds.
fn look(path: &Path) -> Result<ReleaseFile, Failure> {
    let mut file = File::open(path).map_err(|e| about(path, &e))?;
    let name = path.to_string_lossy();
    let packed = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    let (program, digest, content) = if packed {
        let bytes = program_of(file).map_err(|e| about(path, &e))?;
        let program = release::inspect(&mut Cursor::new(&bytes)).map_err(|e| about(path, &e))?;
        let digest = Digest::of(&bytes);
        (program, digest, Content::Memory(bytes.into()))
    } else {
        let program = release::inspect(&mut file).map_err(|e| about(path, &e))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| about(path, &e))?;
        let digest = hash(&mut file).map_err(|e| about(path, &e))?;
        (program, digest, Content::File(path.to_owned()))
    };
    if program.size > MAX_PROGRAM {
        return Err(about(path, &too_large()));
    }
    Ok(ReleaseFile {
        path: path.to_owned(),
        release: program.release,
        digest,
        size: program.size,
        dynamic: program.dynamic,
        content,
    })
}

fn too_large() -> String {
    format!(
        "a program of more than {} MiB is no fleetctl",
        MAX_PROGRAM >> 20
    )
}

/// The program in a release's tarball.
fn program_of(file: impl Read) -> Result<Vec<u8>, String> {
    let broken = |e: io::Error| format!("it is no whole tarball: {e}; copy it anew");
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut found: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(broken)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(broken)?;
        let named = {
            let path = entry.path().map_err(broken)?;
            // `./` before it is no directory.
            let names = path.components();
            let depth = names.filter(|c| matches!(c, Component::Normal(_))).count();
            path.file_name().is_some_and(|n| n == "fleetctl") && depth <= 2
        };
        if !named || !entry.header().entry_type().is_file() || found.is_some() {
            continue;
        }
        let mut bytes = Vec::new();
        let read = entry.take(MAX_PROGRAM + 1).read_to_end(&mut bytes);
        read.map_err(broken)?;
        if bytes.len() as u64 > MAX_PROGRAM {
            return Err(too_large());
        }
        // A completion for a shell is called so, too.
        if bytes.starts_with(ELF) {
            found = Some(bytes);
        }
    }
    // The checksum of all of it stands at the end of a gzip file, behind the end of the archive.
    let mut rest = archive.into_inner().take(MAX_REST);
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    found.ok_or_else(|| "there is no fleetctl in it, beside or below its only directory".into())
}

fn hash(file: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// By directory: what its `SHA256SUMS` says, where there is one.
type Sums = BTreeMap<PathBuf, Option<BTreeMap<String, Digest>>>;

/// Refuses a file that is not what the `SHA256SUMS` beside it says.
fn check_sum(path: &Path, known: &mut Sums) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    if !known.contains_key(&dir) {
        let sums = read_sums(&dir.join("SHA256SUMS"))?;
        known.insert(dir.clone(), sums);
    }
    let Some(Some(sums)) = known.get(&dir) else {
        return Ok(());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(expected) = sums.get(name.as_ref()) else {
        eprintln!(
            "note: {} is not in the SHA256SUMS beside it",
            path.display()
        );
        return Ok(());
    };
    let mut file = File::open(path).map_err(|e| about(path, &e))?;
    let is = hash(&mut file).map_err(|e| about(path, &e))?;
    if is != *expected {
        return Err(Failure::new(format!(
            "{} is not what SHA256SUMS beside it says: it is {}, and should be {}; it was changed \
             or not copied whole, fetch it anew",
            path.display(),
            is.short(),
            expected.short()
        )));
    }
    Ok(())
}

fn read_sums(path: &Path) -> Result<Option<BTreeMap<String, Digest>>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(about(path, &error)),
    };
    let mut text = String::new();
    let read = file.take(MAX_SUMS).read_to_string(&mut text);
    read.map_err(|e| about(path, &e))?;
    parse_sums(&text).map(Some).map_err(|e| about(path, &e))
}

/// As `sha256sum` writes them.
fn parse_sums(text: &str) -> Result<BTreeMap<String, Digest>, String> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let wrong = || format!("`{}` is no line of sha256sum", shown(line));
        let (digest, name) = line.split_once(' ').ok_or_else(wrong)?;
        // A second space, or a star for a file that was read as bytes.
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        let name = name.strip_prefix("./").unwrap_or(name);
        let digest = digest.parse::<Digest>().map_err(|_| wrong())?;
        sums.insert(name.to_owned(), digest);
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn tarball(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn of_a_tarball_the_program_is_taken_and_nothing_else() {
        let packed = tarball(&[
            ("fleetctl-1/README.md", b"read me"),
            ("fleetctl-1/share/bash/fleetctl", b"a completion"),
            ("fleetctl-1/fleetctl", b"\x7fELF the program"),
        ]);
        let program = program_of(packed.as_slice()).unwrap();
        assert_eq!(program, b"\x7fELF the program");
        let dotted = tarball(&[
            ("bash/fleetctl", b"a completion"),
            ("./fleetctl-1/fleetctl", b"\x7fELF"),
        ]);
        assert_eq!(program_of(dotted.as_slice()).unwrap(), b"\x7fELF");
        let without = tarball(&[("other/thing", b"x")]);
        let said = program_of(without.as_slice()).unwrap_err();
        assert!(said.contains("no fleetctl in it"), "{said}");
    }

    #[test]
    fn a_tarball_that_was_cut_off_is_refused() {
        let mut body = vec![7; 100_000];
        body[..4].copy_from_slice(ELF);
        let packed = tarball(&[("fleetctl-1/fleetctl", &body)]);
        for len in [0, 1, 20, packed.len() / 2, packed.len() - 1] {
            match program_of(&packed[..len]) {
                Err(said) => assert!(said.contains("it is no whole tarball"), "{len}: {said}"),
                Ok(_) => panic!("{len} of {} bytes are enough", packed.len()),
            }
        }
    }

    #[test]
    fn a_tarball_that_was_unpacked_beside_itself_is_found_and_its_directory_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let name = "fleetctl-1-x86_64-unknown-linux-musl";
        std::fs::create_dir_all(dir.path().join(name).join("completions/bash")).unwrap();
        let packed = dir.path().join(format!("{name}.tar.gz"));
        std::fs::write(&packed, b"").unwrap();
        std::fs::write(dir.path().join("fleetctl-notes"), b"no program").unwrap();
        assert_eq!(in_directory(dir.path()).unwrap(), [packed]);
        // And that directory by itself: the program, not the directories beside it.
        let unpacked = dir.path().join(name);
        std::fs::write(unpacked.join("fleetctl"), ELF).unwrap();
        std::fs::write(unpacked.join("completions/bash/fleetctl"), b"text").unwrap();
        let found = in_directory(&unpacked).unwrap();
        assert_eq!(found, [unpacked.join("fleetctl")]);
    }

    #[test]
    fn sums_are_read_as_sha256sum_writes_them() {
        let hex = "a".repeat(64);
        let text = format!("{hex}  one.tar.gz\n{hex} *two\n{hex}  ./three\n\n");
        let sums = parse_sums(&text).unwrap();
        let names: Vec<&String> = sums.keys().collect();
        assert_eq!(names, ["one.tar.gz", "three", "two"]);
        assert!(parse_sums("abc  x\n").is_err());
        assert!(parse_sums(&format!("{hex}\n")).is_err());
    }

    #[test]
    fn a_file_that_is_not_what_its_sum_says_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleetctl-1-x.tar.gz");
        std::fs::write(&path, tarball(&[("fleetctl", b"x")])).unwrap();
        let write = |digest: Digest| {
            let line = format!("{}  fleetctl-1-x.tar.gz\n", digest.hex());
            std::fs::write(dir.path().join("SHA256SUMS"), line).unwrap();
        };
        let check = || check_sum(&path, &mut BTreeMap::new());
        assert!(check().is_ok(), "without sums nothing is asked");
        write(Digest::of(b"something else"));
        let said = check().unwrap_err().message;
        assert!(said.contains("is not what SHA256SUMS"), "{said}");
        write(Digest::of(&std::fs::read(&path).unwrap()));
        assert!(check().is_ok());
    }

    #[test]
    fn this_program_can_be_pushed_and_another_one_cannot() {
        let own = PathBuf::from("/proc/self/exe").canonicalize().unwrap();
        let files = gather(std::slice::from_ref(&own)).unwrap();
        assert_eq!(files[0].release, *release::own());
        let mut bytes = Vec::new();
        files[0].open(0).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), files[0].digest);
        assert_eq!(bytes.len() as u64, files[0].size);
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(&own, dir.path().join("fleetctl")).unwrap();
        assert_eq!(in_directory(dir.path()).unwrap().len(), 1);
        // Where there are tarballs, it was taken out of one.
        let tarball = dir.path().join("fleetctl-1-x.tar.gz");
        std::fs::write(&tarball, "").unwrap();
        assert_eq!(in_directory(dir.path()).unwrap(), [tarball]);
        let Err(refused) = gather(&["/bin/true".into()]) else {
            panic!("/bin/true is no fleetctl");
        };
        assert!(
            refused.message.contains("not fleetctl"),
            "{}",
            refused.message
        );
    }
}
