//! `validate`: every mistake of manifests at once, without a controller.

use super::{Failure, args::ValidateArgs, files, output};
use crate::model::Name;
use std::{collections::BTreeSet, fmt::Write, path::PathBuf, process::ExitCode};

pub(super) fn run(args: &ValidateArgs) -> Result<ExitCode, Failure> {
    let named: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    let files::Files {
        sources, manifests, ..
    } = files::read(&named, &args.vars)?;
    let known: BTreeSet<&Name> = manifests.iter().map(|m| &m.workload.name).collect();
    let mut text = String::new();
    for manifest in &manifests {
        let workload = &manifest.workload;
        for other in workload.depends_on.keys().filter(|n| !known.contains(n)) {
            // It may be in the fleet already, which nobody here can know.
            eprintln!(
                "note: {} depends on {other}, which is not in these files",
                workload.name
            );
        }
    }
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{} in {}, no mistakes",
        count(manifests.len(), "workload"),
        count(sources.len(), "file")
    );
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
