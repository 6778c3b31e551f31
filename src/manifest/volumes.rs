//! `volumes`: what is mounted into a container, each as one word or as a table.
//!
//! A table says one thing more than a word: `movable`. What an instance has written into a volume
//! stays on its node, so it waits for that node rather than start elsewhere without its data;
//! `movable = true` says that nothing would be missed there.

use super::{
    container::{mount, parse_mount},
    shown,
    span::Flaw,
    table::{MAX_ITEMS, Table},
    tree::Data,
    word::parts_by_colon,
};
use crate::model::Mount;

/// The key `volumes`.
pub(crate) fn read(table: &mut Table<'_>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in table.items("volumes", MAX_ITEMS) {
        let read = match &item.data {
            Data::Text(word) => parse_mount(word),
            Data::Map(_) => match one(table.below(item)) {
                Some(read) => read,
                None => continue,
            },
            _ => {
                let flaw = Flaw::new(format!(
                    "a volume must be a string or a table, not {}",
                    item.kind()
                ));
                Err(flaw.hint("write \"name:/path\""))
            }
        };
        let read = read.and_then(|mount| {
            if mounts.iter().any(|other| other.target == mount.target) {
                let flaw = Flaw::new(format!("two volumes are mounted on `{}`", mount.target));
                return Err(flaw.hint("mount each on a path of its own"));
            }
            Ok(mount)
        });
        match read {
            Ok(mount) => mounts.push(mount),
            Err(flaw) => table.refuse_at(item.span.clone(), flaw),
        }
    }
    mounts
}

/// A table with `source`, `target`, `read_only` and `movable`. `None` where one of the first two
/// is not there or no text; that is on record then.
fn one(mut table: Table<'_>) -> Option<Result<Mount, Flaw>> {
    for (key, hint) in [
        (
            "source",
            "write the name of a volume, or a path on the node",
        ),
        ("target", "write the path in the container"),
    ] {
        if !table.has(key) {
            table.missing(Flaw::new(format!("the volume has no `{key}`")).hint(hint));
        }
    }
    let source = table.parsed("source", without_colon);
    let target = table.parsed("target", without_colon);
    let read_only = table.bool("read_only").unwrap_or(false);
    let movable = table.bool("movable").unwrap_or(false);
    table.finish();
    let read = mount(&source?, &target?, read_only);
    Some(read.map(|mount| Mount { movable, ..mount }))
}

/// A colon would end the path for the engine, and in the short form.
fn without_colon(text: &str) -> Result<String, Flaw> {
    if parts_by_colon(text).len() == 1 {
        return Ok(text.to_owned());
    }
    let flaw = Flaw::new(format!("`{}` must not contain `:`", shown(text)));
    Err(flaw.hint("`source`, `target` and `read_only` are keys of their own here"))
}
