//! Manifests that a person names: files, directories, standard input.

use super::{Failure, args::VarArgs};
use crate::{
    http::ManifestSource,
    manifest::{self, Format, Manifest, Source},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Files of one directory.
const MAX_FILES: usize = 1_000;

/// Manifests as they are sent, and as they were understood here.
pub(super) struct Files {
    pub(super) sources: Vec<ManifestSource>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) manifests: Vec<Manifest>,
}

/// Reads and checks them here first: mistakes need no controller.
pub(super) fn read(files: &[PathBuf], given: &VarArgs) -> Result<Files, Failure> {
    let variables = variables(given)?;
    let all = sources(files, &variables)?;
    let reading = manifest::parse_many_with(&all, &variables)?;
    // What stands there and has no effect: said, so that nobody waits for it.
    for note in &reading.notes {
        let (line, column) = (note.line, note.column);
        eprintln!("note: {}:{line}:{column}: {}", note.file, note.message);
    }
    Ok(Files {
        sources: all.into_iter().map(ManifestSource::from).collect(),
        variables,
        manifests: reading.manifests,
    })
}

/// Of a file with `KEY=VALUE` lines, and of the command line, which wins.
fn variables(given: &VarArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for path in &given.vars_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = variable(line).map_err(|error| {
                Failure::new(format!("{}:{}: {error}", path.display(), number + 1))
            })?;
            all.insert(key, value);
        }
    }
    all.extend(given.var.iter().cloned());
    if let Some(dir) = &given.project_dir {
        all.insert("FLEET_PROJECT_DIR".to_owned(), dir.clone());
    }
    Ok(all)
}

/// `KEY=VALUE`; one pair of quotes around the value is taken away.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("`{text}` is not KEY=VALUE"));
    };
    let key = key.trim();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if key.is_empty() || key.len() > 128 || !key.bytes().all(word) {
        return Err(format!(
            "`{key}` is not the name of a variable: letters, digits, `_` and `-`"
        ));
    }
    let value = value.trim();
    let bare = ['"', '\''].iter().find_map(|quote| {
        value
            .strip_prefix(*quote)
            .and_then(|rest| rest.strip_suffix(*quote))
    });
    Ok((key.to_owned(), bare.unwrap_or(value).to_owned()))
}

/// All manifests, each with the files beside it that it takes contents from.
fn sources(
    files: &[PathBuf],
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in files {
        if path == Path::new("-") {
            let mut source = Source::from_reader("standard input", std::io::stdin().lock())?;
            // As if it lay in the working directory.
            manifest::read_beside(&mut source, Path::new("."), variables);
            sources.push(source);
        } else if path.is_dir() {
            let found = directory(path)?;
            let mut all = Vec::with_capacity(found.len());
            for file in &found {
                all.push(one(file, variables)?);
            }
            let beside: BTreeSet<PathBuf> = all
                .iter()
                .flat_map(|source| source.files.keys().map(|name| path.join(name)))
                .map(|path| path.components().collect())
                .collect();
            // What another manifest takes in is none itself.
            let is_own = |file: &PathBuf| !beside.contains(&file.components().collect::<PathBuf>());
            let own = found.iter().zip(all).filter(|(file, _)| is_own(file));
            sources.extend(own.map(|(_, source)| source));
        } else {
            sources.push(one(path, variables)?);
        }
    }
    Ok(sources)
}

/// The manifests of a directory, not of those below it, by name.
fn directory(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let fits = |p: &PathBuf| {
        let hidden = p
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        !hidden && Format::is_manifest(p) && p.is_file()
    };
    let entries = std::fs::read_dir(path)?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(fits)
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(Failure::new(format!(
            "there is no *.toml, *.yaml or *.yml file in {}",
            path.display()
        )));
    }
    if found.len() > MAX_FILES {
        return Err(Failure::new(format!(
            "{} has {} manifests; at most {MAX_FILES} are read",
            path.display(),
            found.len()
        )));
    }
    Ok(found)
}

fn one(path: &Path, variables: &BTreeMap<String, String>) -> Result<Source, Failure> {
    let mut source = Source::read(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    manifest::read_beside(&mut source, dir.unwrap_or(Path::new(".")), variables);
    Ok(source)
}
