//! What becomes of every key of a Compose file (`table`). The reader goes by it, and the published
//! table is printed from it.

mod table;

pub use table::SUPPORT;

use super::super::{
    report::Report,
    shown,
    span::Flaw,
    tree::{Data, Entry},
    yaml::draft::unknown,
};
use std::{collections::BTreeMap, fmt::Write, sync::LazyLock};

use Support::{Ignored, No, Partly, Yes};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It means what it means in Compose.
    Yes,
    /// It is supported, with this difference.
    Partly(&'static str),
    /// It has no effect, for this reason; a note says so.
    Ignored(&'static str),
    /// It is refused; this is what to do instead.
    No(&'static str),
}

static BY_PATH: LazyLock<BTreeMap<&str, Support>> =
    LazyLock::new(|| SUPPORT.iter().copied().collect());

/// What becomes of the key at `path`; `None` where there is no such key.
fn support(path: &str) -> Option<Support> {
    BY_PATH.get(path).copied()
}

/// The keys right below `path`.
fn below(path: &str) -> Vec<&'static str> {
    SUPPORT
        .iter()
        .filter_map(|(key, _)| match path {
            "" => Some(*key),
            _ => key.strip_prefix(path)?.strip_prefix('.'),
        })
        .filter(|key| !key.contains('.'))
        .collect()
}

/// Goes through the keys of the map at `path` (empty for the file): refuses those that do not
/// exist or are not supported, and notes those without effect. `x-…` may hold anything.
pub(super) fn check(path: &str, entries: &[Entry], report: &Report) {
    for Entry {
        name,
        name_span,
        value,
    } in entries
    {
        if report.is_full() {
            return;
        }
        if name.starts_with("x-") {
            continue;
        }
        let full = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        // A key of ours has no dot, so one with a dot is none.
        let found = support(&full).filter(|_| !name.contains('.'));
        match found {
            Some(Yes | Partly(_)) => {}
            // What is written without a value asks for nothing.
            Some(No(_) | Ignored(_)) if value.data == Data::Null => {}
            Some(Ignored(why)) => {
                let flaw = Flaw::new(format!("`{name}` has no effect: {why}"));
                report.note(name_span.clone(), flaw);
            }
            Some(No(hint)) => {
                let flaw = Flaw::new(format!("`{name}` of Compose is not supported"));
                report.add(name_span.clone(), flaw.hint(hint));
            }
            None => {
                let known = below(path);
                let mut flaw = unknown(name, &known);
                if known.len() > 20 && flaw.hint.as_ref().is_some_and(|h| !h.starts_with("did")) {
                    flaw = Flaw::new(format!("unknown key `{}`", shown(name)))
                        .hint("the table of what Compose files may say has all keys");
                }
                report.add(name_span.clone(), flaw);
            }
        }
    }
}

/// The table as Markdown, as it is published.
pub fn markdown() -> String {
    let mut text = String::new();
    for (title, prefix) in [
        ("A service (`services.*`)", "services.*."),
        ("The file", ""),
    ] {
        let _ = writeln!(text, "| {title} | | |\n|---|---|---|");
        for (key, support) in SUPPORT {
            let key = match (prefix, key.strip_prefix("services.*.")) {
                ("", None) => *key,
                (_, Some(key)) if !prefix.is_empty() => key,
                _ => continue,
            };
            let (word, note) = match support {
                Yes => ("yes", ""),
                Partly(note) => ("partly", *note),
                Ignored(note) => ("no effect", *note),
                No(note) => ("refused", *note),
            };
            let _ = writeln!(text, "| `{key}` | {word} | {note} |");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_once_and_below_one_that_is_supported() {
        let mut keys = BTreeSet::new();
        for (key, _) in SUPPORT {
            assert!(keys.insert(*key), "{key} stands twice");
            let Some((parent, _)) = key.rsplit_once('.') else {
                continue;
            };
            let parent = parent.trim_end_matches(".*");
            let parent = if parent.is_empty() { continue } else { parent };
            assert!(
                matches!(support(parent), Some(Yes | Partly(_))),
                "{key} stands below `{parent}`, which is not supported"
            );
        }
    }

    #[test]
    fn the_published_table_is_this_one() {
        let readme = include_str!("../../../README.md");
        assert!(
            readme.contains(markdown().trim_end()),
            "the table in README.md differs; it should be:\n{}",
            markdown()
        );
    }
}
