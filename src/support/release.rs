//! Which release this program is, and which release a file holds.
//!
//! A release says what it is by a marker in the program itself: a magic text, the version and the
//! architecture, each padded with NUL to a fixed length. So a file can be asked without being run
//! (for another architecture it could not be), and a program says what its own marker says.
//!
//! ```text
//!  0            32                              96          128
//!  magic, NUL…  version, NUL…                   arch, NUL…
//! ```
//!
//! The magic text stands nowhere else in the program: who looks for it takes it from the marker.

use crate::model::version_flaw;
use memchr::memmem;
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    sync::OnceLock,
};

const MAGIC_BYTES: usize = 32;
const VERSION_BYTES: usize = 64;
const ARCH_BYTES: usize = 32;
/// Bytes of a marker.
pub const MARKER_BYTES: usize = MAGIC_BYTES + VERSION_BYTES + ARCH_BYTES;

/// Bytes that are looked at together.
const PIECE: usize = 256 * 1024;
/// Headers of one kind that are believed.
const MAX_HEADERS: u64 = 4_096;

#[used]
static MARKER: [u8; MARKER_BYTES] = marker();

const fn marker() -> [u8; MARKER_BYTES] {
    let mut bytes = [0; MARKER_BYTES];
    bytes = put(bytes, 0, b"\x01fleetctl: this is release\x02");
    bytes = put(bytes, MAGIC_BYTES, env!("CARGO_PKG_VERSION").as_bytes());
    put(
        bytes,
        MAGIC_BYTES + VERSION_BYTES,
        std::env::consts::ARCH.as_bytes(),
    )
}

const fn put<const N: usize>(mut bytes: [u8; N], at: usize, text: &[u8]) -> [u8; N] {
    let mut i = 0;
    while i < text.len() {
        bytes[at + i] = text[i];
        i += 1;
    }
    bytes
}

/// The marker as it is in the program that runs, which may be another one than was compiled.
fn own_marker() -> [u8; MARKER_BYTES] {
    // SAFETY: a static of this type, which nobody writes to.
    unsafe { std::ptr::read_volatile(&raw const MARKER) }
}

/// A release of fleetctl for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// As `fleetctl --version` says it.
    pub version: String,
    /// As in [`crate::model::Artifact::Binary`]: `x86_64`, `aarch64`, `arm`.
    pub arch: String,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fleetctl {} for {}", self.version, self.arch)
    }
}

/// The release that this program is.
pub fn own() -> &'static Release {
    static OWN: OnceLock<Release> = OnceLock::new();
    OWN.get_or_init(|| {
        // What somebody has written into the marker that is no version leaves the one compiled.
        parse(&own_marker()).unwrap_or_else(|| Release {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        })
    })
}

/// Version of this program: what everything says that shows one.
pub fn version() -> &'static str {
    &own().version
}

/// Architecture of this program: that of the binaries that can take its place. A 32-bit program
/// under a 64-bit kernel stays one.
pub fn arch() -> &'static str {
    &own().arch
}

/// How this program introduces itself over HTTP.
pub fn user_agent() -> String {
    format!("fleetctl/{}", version())
}

/// Bytes of a file with another marker in place of its own; for tests, which need another release
/// without building one. `None`: it has no marker, or the words do not fit into one.
pub fn disguised(mut bytes: Vec<u8>, release: &Release) -> Option<Vec<u8>> {
    let own = own_marker();
    let marker = marker_of(release)?;
    let mut places = memmem::find_iter(&bytes, &own[..MAGIC_BYTES]);
    let at = places.find(|at| {
        let there = bytes.get(*at..*at + MARKER_BYTES);
        there.is_some_and(|marker| parse(marker).is_some())
    })?;
    drop(places);
    bytes
        .get_mut(at..at + MARKER_BYTES)?
        .copy_from_slice(&marker);
    Some(bytes)
}

/// The marker of a release. `None`: its words do not fit.
pub fn marker_of(release: &Release) -> Option<[u8; MARKER_BYTES]> {
    let mut marker = own_marker();
    marker[MAGIC_BYTES..].fill(0);
    let (version, arch) = marker[MAGIC_BYTES..].split_at_mut(VERSION_BYTES);
    for (field, text) in [(version, &release.version), (arch, &release.arch)] {
        // A NUL ends it.
        let (place, _) = field.split_last_mut()?.1.split_at_mut_checked(text.len())?;
        place.copy_from_slice(text.as_bytes());
    }
    Some(marker)
}

/// The release that a marker in `bytes` names: the first one that is whole. `None`: there is none.
pub fn read_marker(bytes: &[u8]) -> Option<Release> {
    let own = own_marker();
    let finder = memmem::Finder::new(&own[..MAGIC_BYTES]);
    let mut found = finder.find_iter(bytes);
    found.find_map(|at| parse(bytes.get(at..at + MARKER_BYTES)?))
}

fn parse(marker: &[u8]) -> Option<Release> {
    let (_, rest) = marker.split_at_checked(MAGIC_BYTES)?;
    let (version, arch) = rest.split_at_checked(VERSION_BYTES)?;
    let text = |field: &[u8]| {
        let end = memchr::memchr(0, field)?;
        let padded = field[end..].iter().all(|b| *b == 0);
        let text = std::str::from_utf8(&field[..end]).ok()?;
        padded.then(|| text.to_owned())
    };
    let (version, arch) = (text(version)?, text(arch)?);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let sound = version_flaw(&version).is_none()
        && version.chars().all(|c| c.is_ascii_graphic())
        && !arch.is_empty()
        && arch.chars().all(plain);
    sound.then_some(Release { version, arch })
}

/// What a file is that holds a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Which release.
    pub release: Release,
    /// It needs a loader and libraries of the machine (`PT_INTERP`): another board may lack them.
    pub dynamic: bool,
    /// Bytes of the file.
    pub size: u64,
}

/// Why a file holds no release that could be given to a node.
#[derive(Debug, thiserror::Error)]
pub enum NotARelease {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no program for Linux.
    #[error("it is no program for Linux (ELF)")]
    NoProgram,
    /// It ends too early.
    #[error("it is cut off: {needed} bytes belong to it, and {has} are there; copy it anew")]
    Truncated {
        /// Bytes that its headers speak of.
        needed: u64,
        /// Bytes that there are.
        has: u64,
    },
    /// It is for a processor that no release is for.
    #[error("it is for a processor that no release of fleetctl is for (ELF machine {0})")]
    UnknownMachine(u16),
    /// It has no marker.
    #[error("it is a program, and not fleetctl: it does not say which release it is")]
    NoMarker,
    /// Its marker and its headers contradict each other.
    #[error("it says that it is {release}, and is a program for {machine}")]
    Contradicts {
        /// What the marker says.
        release: Release,
        /// What the headers say.
        machine: &'static str,
    },
}

/// Looks at a file: whether it is whole, for which processor, and which release.
///
/// # Errors
/// [`NotARelease`], a sentence about "it".
pub fn inspect(file: &mut (impl Read + Seek)) -> Result<Program, NotARelease> {
    let size = file.seek(SeekFrom::End(0))?;
    let elf = Elf::read(file, size)?;
    if elf.needed > size {
        return Err(NotARelease::Truncated {
            needed: elf.needed,
            has: size,
        });
    }
    let machine = match elf.machine {
        62 => "x86_64",
        183 => "aarch64",
        40 => "arm",
        other => return Err(NotARelease::UnknownMachine(other)),
    };
    let release = find(file)?.ok_or(NotARelease::NoMarker)?;
    if release.arch != machine {
        return Err(NotARelease::Contradicts { release, machine });
    }
    Ok(Program {
        release,
        dynamic: elf.dynamic,
        size,
    })
}

/// The first marker of a file, which is never in memory as a whole.
fn find(file: &mut (impl Read + Seek)) -> io::Result<Option<Release>> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::with_capacity(PIECE + MARKER_BYTES);
    loop {
        let read = file.take(PIECE as u64).read_to_end(&mut bytes)?;
        if let Some(release) = read_marker(&bytes) {
            return Ok(Some(release));
        }
        if read == 0 {
            return Ok(None);
        }
        // One that lies across two pieces.
        let kept = bytes.len().saturating_sub(MARKER_BYTES - 1);
        bytes.drain(..kept);
    }
}

/// What the headers of a program say.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    machine: u16,
    dynamic: bool,
    /// Bytes that the file has at least.
    needed: u64,
}

impl Elf {
    fn read(file: &mut (impl Read + Seek), size: u64) -> Result<Elf, NotARelease> {
        file.seek(SeekFrom::Start(0))?;
        let mut head = Vec::new();
        file.by_ref().take(64).read_to_end(&mut head)?;
        // Little-endian, as every processor that there is a release for.
        let wide = match head.get(..6) {
            Some([0x7f, b'E', b'L', b'F', 2, 1]) => true,
            Some([0x7f, b'E', b'L', b'F', 1, 1]) => false,
            _ => return Err(NotARelease::NoProgram),
        };
        let short = || NotARelease::Truncated {
            needed: 64,
            has: size,
        };
        let head = Fields(&head);
        let half = |at| head.number(at, 2).ok_or_else(short);
        let word = |at32, at64| match wide {
            true => head.number(at64, 8).ok_or_else(short),
            false => head.number(at32, 4).ok_or_else(short),
        };
        let shift = |at| if wide { half(at + 12) } else { half(at) };
        let machine = u16::try_from(half(18)?).unwrap_or(0);
        let (segments, sections) = (word(28, 32)?, word(32, 40)?);
        let (segment_bytes, segment_count) = (shift(42)?, shift(44)?.min(MAX_HEADERS));
        let (section_bytes, section_count) = (shift(46)?, shift(48)?.min(MAX_HEADERS));
        let end = |at: u64, each: u64, count: u64| at.saturating_add(each.saturating_mul(count));
        let mut needed = end(segments, segment_bytes, segment_count);
        if section_count > 0 {
            needed = needed.max(end(sections, section_bytes, section_count));
        }
        let mut dynamic = false;
        if needed <= size && segment_bytes >= if wide { 56 } else { 32 } {
            let mut table = Vec::new();
            file.seek(SeekFrom::Start(segments))?;
            let all = segment_bytes * segment_count;
            file.by_ref().take(all).read_to_end(&mut table)?;
            let each = usize::try_from(segment_bytes).unwrap_or(usize::MAX);
            for entry in table.chunks_exact(each).map(Fields) {
                let (at, bytes) = match wide {
                    true => (entry.number(8, 8), entry.number(32, 8)),
                    false => (entry.number(4, 4), entry.number(16, 4)),
                };
                dynamic |= entry.number(0, 4) == Some(3);
                needed = needed.max(at.unwrap_or(0).saturating_add(bytes.unwrap_or(0)));
            }
        }
        Ok(Elf {
            machine,
            dynamic,
            needed,
        })
    }
}

/// Little-endian numbers at their places.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        let field = self.0.get(at..at + bytes)?;
        let digits = field.iter().rev();
        Some(digits.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A marker with other words, behind some bytes.
    fn marked(before: usize, version: &str, arch: &str) -> Vec<u8> {
        let marker = marker_of(&release(version, arch)).unwrap();
        let mut bytes = vec![b'x'; before];
        bytes.extend(marker);
        bytes
    }

    fn release(version: &str, arch: &str) -> Release {
        Release {
            version: version.into(),
            arch: arch.into(),
        }
    }

    /// A program of nothing but headers: one segment over all of it, and `body`.
    fn program(class: u8, machine: u16, kind: u32, body: &[u8]) -> Vec<u8> {
        let wide = class == 2;
        let (head, entry) = if wide { (64, 56) } else { (52, 32) };
        let mut bytes = vec![0; head + entry];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        let sizes = if wide { 52 } else { 40 };
        bytes[if wide { 32 } else { 28 }] = head as u8;
        bytes[sizes + 2] = entry as u8;
        bytes[sizes + 4] = 1;
        bytes[head..head + 4].copy_from_slice(&kind.to_le_bytes());
        let len = (head + entry + body.len()) as u32;
        let at = head + if wide { 32 } else { 16 };
        bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn this_program_says_the_version_that_it_was_built_as() {
        assert_eq!(version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(arch(), std::env::consts::ARCH);
        assert_eq!(
            user_agent(),
            concat!("fleetctl/", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn the_running_program_holds_its_own_marker_once() {
        let mut file = std::fs::File::open("/proc/self/exe").unwrap();
        let found = inspect(&mut file).unwrap();
        assert_eq!(found.release, *own());
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let own = own_marker();
        let marks = memmem::find_iter(&bytes, &own[..MAGIC_BYTES]);
        assert_eq!(marks.count(), 1, "a second one would be found first");
    }

    #[test]
    fn a_marker_is_found_wherever_it_is_also_across_two_pieces() {
        for before in [0, 1, PIECE - MARKER_BYTES, PIECE - 64, PIECE - 1, 3 * PIECE] {
            let bytes = marked(before, "9.8.7-rc.1+x", "aarch64");
            let found = find(&mut Cursor::new(bytes)).unwrap();
            assert_eq!(found, Some(release("9.8.7-rc.1+x", "aarch64")), "{before}");
        }
    }

    #[test]
    fn a_disguised_program_is_another_release() {
        let bytes = program(2, 62, 1, &marked(100, "1.2.3", "x86_64"));
        let other = release("4.5.6-test", "x86_64");
        let bytes = disguised(bytes, &other).unwrap();
        assert_eq!(inspect(&mut Cursor::new(&bytes)).unwrap().release, other);
        assert_eq!(disguised(b"no marker".to_vec(), &other), None);
        assert_eq!(disguised(bytes, &release(&"1".repeat(64), "arm")), None);
    }

    #[test]
    fn what_is_no_whole_marker_is_none() {
        for (version, arch) in [
            ("", "arm"),
            ("1 2", "arm"),
            ("1\n", "arm"),
            ("1", ""),
            ("1", "a/b"),
        ] {
            assert_eq!(
                read_marker(&marked(3, version, arch)),
                None,
                "{version:?} {arch:?}"
            );
        }
        let whole = marked(0, "1", "arm");
        assert_eq!(read_marker(&whole[..MARKER_BYTES - 1]), None);
        // The one behind it counts.
        let two = [marked(0, "", "arm"), marked(5, "2", "arm")].concat();
        assert_eq!(read_marker(&two), Some(release("2", "arm")));
    }

    #[test]
    fn a_program_is_asked_for_its_release_without_being_run() {
        for (class, machine, arch) in [(2, 62, "x86_64"), (2, 183, "aarch64"), (1, 40, "arm")] {
            let bytes = program(class, machine, 1, &marked(100, "1.2.3", arch));
            let size = bytes.len() as u64;
            let found = inspect(&mut Cursor::new(bytes)).unwrap();
            let expected = Program {
                release: release("1.2.3", arch),
                dynamic: false,
                size,
            };
            assert_eq!(found, expected);
        }
        let dynamic = program(2, 62, 3, &marked(0, "1", "x86_64"));
        assert!(inspect(&mut Cursor::new(dynamic)).unwrap().dynamic);
    }

    #[test]
    fn what_no_node_could_run_is_refused_with_the_reason() {
        let whole = program(2, 62, 1, &marked(100, "1.2.3", "x86_64"));
        let cut = whole[..whole.len() - 1].to_vec();
        for (bytes, said) in [
            (b"#!/bin/sh\n".to_vec(), "no program for Linux"),
            (Vec::new(), "no program for Linux"),
            (whole[..40].to_vec(), "cut off"),
            (cut, "cut off"),
            (program(2, 62, 1, b"something else"), "not fleetctl"),
            (
                program(2, 243, 1, &marked(0, "1", "riscv64")),
                "machine 243",
            ),
            (
                program(2, 183, 1, &marked(0, "1", "x86_64")),
                "is fleetctl 1 for x86_64, and is a program for aarch64",
            ),
        ] {
            let error = inspect(&mut Cursor::new(bytes)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
