//! `files`: small files that are placed on the node for a workload, and the signal by which it
//! takes new contents.
//!
//! Either `files = { "/etc/x" = "content" }` or a table `[workload.<name>.files."/etc/x"]` with
//! `content` (or `source`, a file beside the manifest), `mode` and `verbatim`.

use super::{
    nearest::nearest,
    shown,
    span::Flaw,
    table::Table,
    tree::{Data, Entry},
    word::absolute_path,
};
use crate::model::{FileSpec, Signal};
use std::collections::BTreeMap;

/// The most files of one workload.
const MAX_FILES: usize = 64;
/// The most bytes of one file.
const MAX_CONTENT: usize = 64 * 1024;
/// Permissions where none are written.
const DEFAULT_MODE: u32 = 0o644;
/// The key `files` of a container or a process; ordered by path, so that the order in which they
/// are written makes no difference.
pub(crate) fn read_files(table: &mut Table<'_>, is_container: bool) -> Vec<FileSpec> {
    let mut files: BTreeMap<String, FileSpec> = BTreeMap::new();
    for entry in table.entries("files", MAX_FILES, "a table of files") {
        let path = match file_path(&entry.name, is_container) {
            Ok(path) => path,
            Err(flaw) => {
                table.refuse_at(entry.name_span.clone(), flaw);
                continue;
            }
        };
        let above = files
            .keys()
            .find(|other| is_below(&path, other) || is_below(other, &path));
        if let Some(other) = above {
            let flaw = Flaw::new(format!("`{path}` and `{other}` cannot both be files"))
                .hint("one of them would be a directory of the other");
            table.refuse_at(entry.name_span.clone(), flaw);
            continue;
        }
        if let Some(file) = read_file(table, entry, path) {
            files.insert(file.path.clone(), file);
        }
    }
    files.into_values().collect()
}

/// `path` is in the directory `above`.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// One file: its content, or a table.
fn read_file(table: &Table<'_>, entry: &Entry, path: String) -> Option<FileSpec> {
    let plain = |content| FileSpec {
        path: path.clone(),
        content,
        mode: DEFAULT_MODE,
        verbatim: false,
    };
    match &entry.value.data {
        Data::Text(text) => match content(text) {
            Ok(content) => Some(plain(content)),
            Err(flaw) => {
                table.refuse_at(entry.value.span.clone(), flaw);
                None
            }
        },
        Data::Map(_) => {
            let mut inner = table.below(&entry.value);
            if !inner.has("content") && !inner.has("source") {
                let flaw = Flaw::new(format!("the file `{}` has no `content`", shown(&path)));
                inner.missing(flaw.hint(
                    "write it, or `source = \"…\"` for a file beside this one; \
                     `content = \"\"` for an empty file",
                ));
            }
            let content = inner.parsed("content", content);
            let mode = inner.parsed("mode", file_mode);
            let verbatim = inner.bool("verbatim").unwrap_or(false);
            // Where it is a text, its content has taken its place already.
            inner.string("source");
            inner.finish();
            Some(FileSpec {
                mode: mode.unwrap_or(DEFAULT_MODE),
                verbatim,
                ..plain(content?)
            })
        }
        _ => {
            let flaw = Flaw::new(format!(
                "the file `{}` must be a string or a table, not {}",
                shown(&path),
                entry.value.kind()
            ));
            table.refuse_at(
                entry.value.span.clone(),
                flaw.hint("put its content in quotes"),
            );
            None
        }
    }
}

fn content(text: &str) -> Result<String, Flaw> {
    if text.len() <= MAX_CONTENT {
        return Ok(text.to_owned());
    }
    Err(Flaw::new("a file must be at most 64 KiB")
        .hint("put larger ones into the image, or into a volume"))
}

/// Where a file goes: for a container an absolute path, for a process also one below its own
/// directory.
fn file_path(text: &str, is_container: bool) -> Result<String, Flaw> {
    let word = shown(text);
    let absolute = text.starts_with('/');
    if is_container && !absolute {
        let flaw = Flaw::new(format!("`{word}` is not an absolute path"));
        return Err(flaw.hint("a file of a container is mounted; begin its path with `/`"));
    }
    if text.contains("{{") {
        let flaw = Flaw::new(format!("`{word}` must not contain a template"));
        return Err(flaw.hint("the content may"));
    }
    // Said here in the user's own words, since the path is completed below.
    if text.split('/').any(|part| part == "..") {
        return Err(Flaw::new(format!("`{word}` must not contain `..`")));
    }
    let path = if absolute {
        absolute_path(text)?
    } else {
        absolute_path(&format!("/{text}"))?.split_off(1)
    };
    let parts = path.strip_prefix('/').unwrap_or(&path);
    let odd = |part: &str| part.is_empty() || part == ".";
    if parts.split('/').any(odd) || text.ends_with('/') || (is_container && text.contains(':')) {
        let flaw = Flaw::new(format!("`{word}` is not the path of a file"));
        return Err(flaw.hint("write it plainly, as in \"/etc/app/app.conf\""));
    }
    Ok(path)
}

/// `0644`: what the owner, the group and others may do.
fn file_mode(text: &str) -> Result<u32, Flaw> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| {
        Flaw::new(format!("`{}` are no permissions of a file", shown(text)))
            .hint("write three octal digits after a zero, as in \"0644\" or \"0600\"")
    })
}

/// The key `reload`: the signal by which it takes new contents of its files.
pub(crate) fn read_reload(table: &mut Table<'_>) -> Option<Signal> {
    let reload = table.parsed("reload", |text| {
        let signal = parse_signal(text)?;
        if signal == Signal::SigKill {
            return Err(
                Flaw::new("SIGKILL ends a workload at once; it cannot reload")
                    .hint("write the signal that it reloads by, most often \"SIGHUP\""),
            );
        }
        Ok(signal)
    });
    let files = table.entry("files").map(|entry| &entry.value);
    // Files with a problem are files.
    if files.is_none_or(|files| files.as_map().is_some_and(<[_]>::is_empty)) {
        let flaw = Flaw::new("`reload` has no meaning without `files`")
            .hint("it says by which signal the workload takes new contents of its files");
        table.refuse_key("reload", flaw);
    }
    reload
}

/// A signal by its name.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, Flaw> {
    if let Some(signal) = Signal::parse(text) {
        return Ok(signal);
    }
    let names = Signal::ALL.map(Signal::as_str);
    let flaw = Flaw::new(format!(
        "`{}` is not a signal that can be sent",
        shown(text)
    ));
    Err(match nearest(text, &names) {
        Some(meant) => flaw.hint(format!("did you mean \"{meant}\"?")),
        None => flaw.hint(format!("there are {}", names.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files() {
        for (text, container, path) in [
            ("/etc/x.conf", true, "/etc/x.conf"),
            ("/etc/x.conf", false, "/etc/x.conf"),
            ("x.conf", false, "x.conf"),
            ("conf.d/x", false, "conf.d/x"),
        ] {
            assert_eq!(file_path(text, container).as_deref(), Ok(path), "{text}");
        }
        for (text, container) in [
            ("", false),
            ("/", false),
            ("/", true),
            ("x", true),
            ("../x", false),
            ("a/../../x", false),
            ("./x", false),
            ("/etc//x", true),
            ("/etc/./x", true),
            ("/etc/", true),
            ("etc/", false),
            ("/a:b", true),
            ("/{{ node.name }}", false),
            ("/a\0", false),
        ] {
            assert!(file_path(text, container).is_err(), "{text}");
        }
    }

    #[test]
    fn permissions() {
        for (text, mode) in [
            ("0644", 0o644),
            ("600", 0o600),
            ("0777", 0o777),
            ("0000", 0),
        ] {
            assert_eq!(file_mode(text), Ok(mode), "{text}");
        }
        for text in ["", "44", "4755", "0888", "rw-r--r--", "+644", "00644"] {
            assert!(file_mode(text).is_err(), "{text}");
        }
    }
}
