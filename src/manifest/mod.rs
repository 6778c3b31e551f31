//! What users write, turned into the model.
//!
//! A TOML file holds tables `[workload.<name>]`; a YAML file holds one workload, a list
//! `workloads:`, or is a Compose file with `services:`. [`parse`] makes one tree of any of them
//! (`tree`), in the shape of the TOML, and walks it once. It returns every [`Workload`], checked
//! and with its defaults filled in, or *everything* that is wrong, each with its line, its column
//! and the line shown. Nothing that a user wrote is ignored in silence: a key that does not exist
//! is refused with the one that was probably meant, and what a Compose file may say without effect
//! is a note.
//!
//! ```text
//! TOML ─────────────► tree ──────────────────┐
//! YAML ─► tree ─► yaml::workload (renames) ──┼─► vars ─► Table ─► workload ─► Workload
//! Compose ─► tree ─► compose (translates) ───┘
//! ```
//!
//! | file | knows |
//! |---|---|
//! | [`span`] | a place in a text and how a problem is shown |
//! | `format`, `tree` | which language it is; values with their places |
//! | `table`, `report`, `getters` | walking a table and collecting problems; [`crate::config`] uses them too |
//! | `yaml`, [`compose`] | the other languages |
//! | [`quantity`], [`image`], `container`, `word` | words: sizes, durations, image references, ports, names |
//! | `workload`, `run`, `placement`, `requires`, `update`, … | the keys of a workload |
//! | `companions` | files beside a manifest, whose contents it takes |
//! | `vars`, `order` | `{{ … }}` and who waits for whom, over the whole file |
//! | `render` | the way back: a workload as TOML |

mod companions;
pub mod compose;
pub(crate) mod container;
mod files;
mod format;
pub(crate) mod getters;
mod health;
pub mod image;
mod limits;
pub(crate) mod nearest;
mod networks;
mod options;
pub(crate) mod order;
mod placement;
pub mod quantity;
pub(crate) mod render;
pub(crate) mod report;
mod requires;
mod run;
mod schedule;
pub mod span;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod tree;
mod update;
mod vars;
mod volumes;
pub(crate) mod word;
mod workload;
mod yaml;

pub use companions::{MAX_COMPANION, MAX_COMPANIONS, read_beside};
pub use format::Format;
pub use render::render;
pub use span::{Flaw, MAX_PROBLEMS, MAX_SOURCE_BYTES, Problem, Problems, Source};

pub(crate) use crate::model::shown;
use crate::model::{AGENT_WORKLOAD, Name, Workload};
use report::{Report, walk_tree};
use std::{collections::BTreeMap, ops::Range};
use table::Table;
use tree::{Value, read_toml};

/// Parses `source` as YAML of one document and lets `visit` walk its root table.
///
/// # Errors
/// Every problem, in the order of the text.
pub(crate) fn walk_yaml<T>(
    source: &Source,
    visit: impl FnOnce(Table<'_>) -> T,
) -> Result<T, Problems> {
    walk_tree(source, yaml::document, |root, report| {
        visit(Table::root(report, root))
    })
    .map(|walked| walked.value)
}

/// The most workloads in one file.
pub const MAX_WORKLOADS: usize = 1_000;

/// The most values that are given for variables, and the most bytes of all of them.
const MAX_GIVEN: usize = 1_000;
const MAX_GIVEN_BYTES: usize = 1 << 20;

/// The most workloads in all files together.
pub const MAX_WORKLOADS_IN_ALL: usize = 10_000;

/// So many problems of several files are told.
const MAX_PROBLEMS_IN_ALL: usize = 1_000;

/// A workload and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What must run.
    pub workload: Workload,
    /// Name of the file.
    pub file: String,
    /// The bytes of its name in the file, as in `[workload.<name>]`.
    pub span: Range<usize>,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its workloads, in the order of the text; at least one.
    pub manifests: Vec<Manifest>,
    /// What is written and has no effect here, in the order of the text; no mistakes.
    pub notes: Vec<Problem>,
}

/// Reads the workloads of one file, in the order of the text; at least one.
///
/// # Errors
/// Everything that is wrong with the file, at most [`MAX_PROBLEMS`].
pub fn parse(source: &Source) -> Result<Vec<Manifest>, Problems> {
    parse_with(source, &BTreeMap::new()).map(|reading| reading.manifests)
}

/// As [`parse`], with notes, and with values for `${…}` in a Compose file and for `{{ var.… }}`,
/// which win over the file's own.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    source: &Source,
    variables: &BTreeMap<String, String>,
) -> Result<Reading, Problems> {
    let walked = walk_tree(
        source,
        |_, report| read_tree(source, variables, report),
        |root, report| visit(root, report, variables),
    )?;
    let manifest = |(span, workload)| Manifest {
        workload,
        file: source.name.clone(),
        span,
    };
    Ok(Reading {
        manifests: walked.value.into_iter().map(manifest).collect(),
        notes: walked.notes,
    })
}

/// The files beside `source` that it takes contents from, by their paths as it writes them:
/// relative to its directory, without `..`, at most [`MAX_COMPANIONS`] of at most
/// [`MAX_COMPANION`] bytes. A path that may be a directory is among them too. Whoever has them
/// gives them with [`Source::files`]; what is needed and not given is a problem of reading.
pub fn wanted_files(source: &Source, variables: &BTreeMap<String, String>) -> Vec<String> {
    if source.text.len() > MAX_SOURCE_BYTES {
        return Vec::new();
    }
    let report = Report::new(source);
    if let Some(mut root) = read_tree(source, variables, &report) {
        companions::fill(&mut root, &report);
    }
    report.companions.wanted()
}

/// The text as a tree in the shape of the TOML. `None`: nothing can be read, and why is on record.
fn read_tree(
    source: &Source,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> Option<Value> {
    match Format::of(source) {
        Format::Toml => Some(read_toml(&source.text, report)),
        Format::Yaml => yaml::read(source, variables, report),
    }
}

/// Reads the workloads of several files, in the order given.
///
/// # Errors
/// Everything that is wrong with each file, every workload that two of them define, workloads of
/// several files that wait for each other, and more than [`MAX_WORKLOADS_IN_ALL`].
pub fn parse_many(sources: &[Source]) -> Result<Vec<Manifest>, Problems> {
    parse_many_with(sources, &BTreeMap::new()).map(|reading| reading.manifests)
}

/// As [`parse_many`], with what [`parse_with`] takes and gives.
///
/// # Errors
/// As [`parse_many`].
pub fn parse_many_with(
    sources: &[Source],
    variables: &BTreeMap<String, String>,
) -> Result<Reading, Problems> {
    let mut notes = Vec::new();
    let mut manifests: Vec<Manifest> = Vec::new();
    let mut first: BTreeMap<Name, &Source> = BTreeMap::new();
    let mut problems = Vec::new();
    let bytes = |(name, value): (&String, &String)| name.len() + value.len();
    if variables.len() > MAX_GIVEN || variables.iter().map(bytes).sum::<usize>() > MAX_GIVEN_BYTES {
        let flaw = Flaw::new(format!(
            "more than {MAX_GIVEN} variables, or more than 1 MiB of them, are given"
        ));
        let flaw = flaw.hint("give those that the files take");
        return Err(Problem::without_place("variables", flaw).into());
    }
    for source in sources {
        // Each has a place to look up; nobody reads more.
        if problems.len() >= MAX_PROBLEMS_IN_ALL {
            break;
        }
        let read = match parse_with(source, variables) {
            Ok(read) => {
                notes.extend(read.notes);
                read.manifests
            }
            Err(found) => {
                problems.extend(found.0);
                continue;
            }
        };
        for manifest in read {
            let name = &manifest.workload.name;
            if let Some(other) = first.get(name) {
                let flaw = Flaw::new(format!(
                    "workload `{name}` is already defined in {}",
                    other.name
                ))
                .hint("give one of the two another name");
                if problems.len() >= MAX_PROBLEMS_IN_ALL {
                    break;
                }
                problems.push(source.problem(manifest.span.clone(), flaw));
                continue;
            }
            if manifests.len() == MAX_WORKLOADS_IN_ALL {
                let flaw = Flaw::new(format!(
                    "there are more than {MAX_WORKLOADS_IN_ALL} workloads in all files together"
                ));
                problems.push(source.problem(manifest.span.clone(), flaw));
                return Err(Problems(problems));
            }
            first.insert(name.clone(), source);
            manifests.push(manifest);
        }
    }
    if problems.is_empty() && sources.len() > 1 {
        problems = cycles_over_files(&manifests, &first);
    }
    if problems.is_empty() {
        Ok(Reading { manifests, notes })
    } else {
        Err(Problems(problems))
    }
}

/// Workloads of several files that wait for each other; each file by itself has none.
fn cycles_over_files(manifests: &[Manifest], files: &BTreeMap<Name, &Source>) -> Vec<Problem> {
    // The place is the index, since a span alone does not say in which file it is.
    let waiting: Vec<(Range<usize>, Workload)> = manifests
        .iter()
        .enumerate()
        .filter(|(_, manifest)| !manifest.workload.depends_on.is_empty())
        .map(|(index, manifest)| (index..index + 1, manifest.workload.clone()))
        .collect();
    order::cycle_flaws(&waiting)
        .into_iter()
        .filter_map(|(index, flaw)| {
            let manifest = manifests.get(index.start)?;
            let source = files.get(&manifest.workload.name)?;
            Some(source.problem(manifest.span.clone(), flaw))
        })
        .collect()
}

/// The workloads of a document, each with the place of its name.
fn visit(
    root: &mut Value,
    report: &Report,
    given: &BTreeMap<String, String>,
) -> Vec<(Range<usize>, Workload)> {
    companions::fill(root, report);
    vars::fill_vars(root, report, given);
    let found = read_workloads(Table::root(report, root));
    for (span, flaw) in order::cycle_flaws(&found) {
        report.add(span, flaw);
    }
    found
}

/// Said before any of them is read: so many may take long.
fn too_many_workloads() -> Flaw {
    Flaw::new(format!("the file has more than {MAX_WORKLOADS} workloads"))
        .hint("split it into several files")
}

/// The tables below `workload`.
fn read_workloads(mut root: Table<'_>) -> Vec<(Range<usize>, Workload)> {
    let written = root.has("workload");
    let table = root.table("workload");
    let tables = table.tables();
    if tables.is_empty() && (table.is_present() || !written) {
        root.missing(
            Flaw::new("there is no workload in this file")
                .hint("begin one with `[workload.<name>]`"),
        );
    }
    let mut workloads = Vec::new();
    if let Some((_, span, _)) = tables.get(MAX_WORKLOADS) {
        root.refuse_at(span.clone(), too_many_workloads());
        root.finish();
        return workloads;
    }
    for (name, span, table) in tables {
        let name = match name.parse::<Name>() {
            Ok(name) => {
                if name.as_str() == AGENT_WORKLOAD {
                    let flaw = Flaw::new(format!("`{name}` is the agent's own name"));
                    let hint =
                        "`fleetctl upgrade` changes the agent; give the workload another name";
                    root.refuse_at(span.clone(), flaw.hint(hint));
                }
                Some(name)
            }
            Err(error) => {
                let mut flaw = Flaw::new(error.to_string());
                if let Some(near) = Name::from_lossy(name) {
                    flaw = flaw.hint(format!("`{near}` would do"));
                }
                root.refuse_at(span.clone(), flaw);
                None
            }
        };
        // A workload without a usable name is read all the same, for its other problems.
        let read = workload::read(table, name);
        workloads.extend(read.map(|workload| (span, workload)));
    }
    root.finish();
    workloads
}
