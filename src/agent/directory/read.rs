//! The files of a directory, as text and as workloads. Only the directory itself: folders in it
//! are not looked into.

use crate::manifest::{self, Flaw, Manifest, Problem, Problems, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The most manifests of one directory.
const MAX_FILES: usize = 1_000;
/// The most entries that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of all manifests together.
const MAX_BYTES: usize = 32 << 20;

/// What a look into the directory gave.
#[derive(Debug)]
pub(in crate::agent) struct Reading {
    /// The directory could be read at all.
    pub there: bool,
    /// Each manifest, in the order of their names.
    pub files: Vec<FileRead>,
    /// What is wrong with the directory itself.
    pub problems: Vec<Problem>,
    /// Which directory it was, by device and inode.
    pub identity: Option<(u64, u64)>,
}

/// One manifest.
#[derive(Debug)]
pub(in crate::agent) struct FileRead {
    /// Its path.
    pub name: String,
    /// Its text, where it could be read.
    pub source: Option<Source>,
    /// Its workloads, or everything that is wrong with it.
    pub read: Result<Vec<Manifest>, Problems>,
}

/// Whether a file of this name is a manifest: `*.toml`, `*.yaml` or `*.yml`, and not hidden.
pub(super) fn is_manifest(name: &str) -> bool {
    let kind = Path::new(name).extension().and_then(|e| e.to_str());
    !name.starts_with('.') && matches!(kind, Some("toml" | "yaml" | "yml"))
}

/// Whether a manifest could take in a file of this name. Only to hear of changes: what an editor
/// puts there for a moment is none.
pub(super) fn may_be_beside(name: &str) -> bool {
    let passing = ["~", ".swp", ".swx", ".tmp", ".part"];
    name == ".env" || !(name.starts_with('.') || passing.iter().any(|end| name.ends_with(end)))
}

/// The manifests of a directory, sorted; `true` when there are more than are read.
///
/// # Errors
/// The directory cannot be read.
fn manifest_files(dir: &Path) -> io::Result<(Vec<PathBuf>, bool)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let name = entry.file_name();
        // A pipe would be waited for; a link to a file is as good as one.
        let is_file = || fs::metadata(entry.path()).is_ok_and(|m| m.is_file());
        // A link that leads nowhere is a file that cannot be read, and is told.
        let leads_nowhere = || fs::metadata(entry.path()).is_err();
        if name.to_str().is_some_and(is_manifest) && (is_file() || leads_nowhere()) {
            found.push(entry.path());
        }
    }
    found.sort();
    let more = found.len() > MAX_FILES;
    found.truncate(MAX_FILES);
    Ok((found, more))
}

/// Reads everything; may take a while.
pub(in crate::agent) fn read(dir: &Path) -> Reading {
    let name = dir.display().to_string();
    let mut reading = Reading {
        there: true,
        files: Vec::new(),
        problems: Vec::new(),
        identity: std::fs::metadata(dir).ok().map(|m| (m.dev(), m.ino())),
    };
    let (paths, more) = match manifest_files(dir) {
        Ok(found) => found,
        Err(error) => {
            reading.there = false;
            let flaw = Flaw::new(format!("the directory cannot be read: {error}"));
            let flaw = flaw.hint("what ran goes on until it is there again");
            reading.problems.push(Problem::without_place(name, flaw));
            return reading;
        }
    };
    if more {
        let flaw = Flaw::new(format!(
            "the directory has more than {MAX_FILES} manifests; those behind them in the order of \
             names are ignored"
        ));
        let flaw = flaw.hint("put several workloads into one file");
        reading.problems.push(Problem::without_place(name, flaw));
    }
    let mut bytes = 0;
    for path in paths {
        let name = path.display().to_string();
        let source = match Source::read(&path) {
            Ok(mut source) => {
                manifest::read_beside(&mut source, dir, &BTreeMap::new());
                source
            }
            Err(problems) => {
                reading.files.push(FileRead {
                    name,
                    source: None,
                    read: Err(problems),
                });
                continue;
            }
        };
        bytes += source.text.len();
        bytes += source.files.values().map(String::len).sum::<usize>();
        if bytes > MAX_BYTES {
            let flaw = Flaw::new(format!(
                "all manifests together have more than {} MiB; this one is not read",
                MAX_BYTES >> 20
            ));
            let problem = Problem::without_place(name.clone(), flaw);
            reading.files.push(FileRead {
                name,
                source: None,
                read: Err(problem.into()),
            });
            continue;
        }
        // An empty file is a mistake, as everywhere: it is what a power cut in the middle of a save
        // leaves. Who wants nothing of it deletes it.
        let read = manifest::parse(&source);
        reading.files.push(FileRead {
            name,
            read,
            source: Some(source),
        });
    }
    leave_out_companions(dir, &mut reading);
    reading
}

/// What another manifest takes in is none itself.
fn leave_out_companions(dir: &Path, reading: &mut Reading) {
    let sources = reading.files.iter().filter_map(|file| file.source.as_ref());
    let beside: BTreeSet<PathBuf> = sources
        .flat_map(|source| source.files.keys().map(|name| dir.join(name)))
        .map(|path| path.components().collect())
        .collect();
    reading.files.retain(|file| {
        let path: PathBuf = Path::new(&file.name).components().collect();
        !beside.contains(&path)
    });
}
