//! What users write, turned into the model.
//!
//! A file holds tables `[workload.<name>]`. [`parse`] walks it once and returns every
//! [`Workload`] in it, checked and with its defaults filled in, or *everything* that is wrong,
//! each with its line, its column and the line shown. Nothing that a user wrote is ignored: a
//! key that does not exist is refused with the one that was probably meant, and a key that a
//! later release will understand is refused by name.
//!
//! | file | knows |
//! |---|---|
//! | [`span`] | a place in a text and how a problem is shown |
//! | `table`, `report` | walking a TOML table and collecting problems; [`crate::config`] uses them too |
//! | [`quantity`], [`image`], `container`, `word` | words: sizes, durations, image references, ports, names |
//! | `workload`, `run`, `placement` | the keys of a workload |
//! | `render` | the way back: a workload as TOML |

pub(crate) mod container;
pub mod image;
mod nearest;
mod placement;
pub mod quantity;
pub(crate) mod render;
pub(crate) mod report;
mod run;
pub mod span;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod word;
mod workload;

pub use render::render;
pub use span::{Flaw, MAX_PROBLEMS, MAX_SOURCE_BYTES, Problem, Problems, Source};

use crate::model::{Name, Workload};
use report::walk;
use std::{collections::BTreeMap, ops::Range};
use table::Table;

/// The most workloads in one file.
pub const MAX_WORKLOADS: usize = 1_000;

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

/// Reads the workloads of one file, in the order of the text; at least one.
///
/// # Errors
/// Everything that is wrong with the file, at most [`MAX_PROBLEMS`].
pub fn parse(source: &Source) -> Result<Vec<Manifest>, Problems> {
    let workloads = walk(source, visit)?;
    Ok(workloads
        .into_iter()
        .map(|(span, workload)| Manifest {
            workload,
            file: source.name.clone(),
            span,
        })
        .collect())
}

/// Reads the workloads of several files, in the order given.
///
/// # Errors
/// Everything that is wrong with each file, and every workload that two of them define.
pub fn parse_many(sources: &[Source]) -> Result<Vec<Manifest>, Problems> {
    let mut manifests: Vec<Manifest> = Vec::new();
    let mut first: BTreeMap<Name, &Source> = BTreeMap::new();
    let mut problems = Vec::new();
    for source in sources {
        let read = match parse(source) {
            Ok(read) => read,
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
                problems.push(source.problem(manifest.span.clone(), flaw));
                continue;
            }
            first.insert(name.clone(), source);
            manifests.push(manifest);
        }
    }
    if problems.is_empty() {
        Ok(manifests)
    } else {
        Err(Problems(problems))
    }
}

/// The workloads of a document, each with the place of its name.
fn visit(mut root: Table<'_>) -> Vec<(Range<usize>, Workload)> {
    root.each_string(&mut |text, span| {
        if text.contains("{{") {
            root.refuse_at(span, not_supported("{{ … }}"));
        }
    });
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
    for (index, (name, span, table)) in tables.into_iter().enumerate() {
        if index == MAX_WORKLOADS {
            let flaw = Flaw::new(format!("the file has more than {MAX_WORKLOADS} workloads"))
                .hint("split it into several files");
            root.refuse_at(span, flaw);
            break;
        }
        let name = match name.parse::<Name>() {
            Ok(name) => Some(name),
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

/// `what` exists in the format, but this release would ignore it.
pub(crate) fn not_supported(what: &str) -> Flaw {
    Flaw::new(format!("`{what}` is not supported yet in this release"))
}

/// A piece of somebody's text as it may stand in a message: at most 80 characters, control
/// characters made visible.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}
