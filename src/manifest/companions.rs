//! Files beside a manifest, whose contents it takes: `source` of one of the `files`, and what a
//! Compose file names.
//!
//! Reading a manifest does no I/O. Whoever reads gives the texts with the manifest, by the paths that it
//! writes, and learns which ones from [`super::wanted_files`] ([`read_beside`] does both). So the same manifest with the same
//! texts is read in the same way on an operator's machine and on the controller.

use super::{
    report::Report,
    shown,
    span::{Flaw, Source},
    tree::{Data, Entry, Value},
    wanted_files,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
};

/// The most files that one manifest takes contents from.
pub const MAX_COMPANIONS: usize = 64;

/// The most bytes of such a file: 64 KiB.
pub const MAX_COMPANION: usize = 64 * 1024;

/// The texts that were given, and the paths that were asked for.
pub(crate) struct Companions {
    texts: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Companions {
    pub(super) fn new(texts: &BTreeMap<String, String>) -> Companions {
        Companions {
            texts: texts.clone(),
            asked: RefCell::default(),
        }
    }

    /// The paths that were asked for.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.asked.borrow().iter().cloned().collect()
    }

    /// The text of the file at `path`; `None` where it was not given.
    ///
    /// # Errors
    /// The path leads elsewhere, or there are too many.
    pub(super) fn get(&self, path: &str) -> Result<Option<String>, Flaw> {
        let word = shown(path);
        let hint = "write a path below the directory of this file, as in \"conf/app.conf\"";
        if path.is_empty() || path.len() > 1_024 || path.chars().any(char::is_control) {
            return Err(Flaw::new(format!("`{word}` is not the path of a file")).hint(hint));
        }
        if path.starts_with(['/', '~', '\\']) || path.split('/').any(|part| part == "..") {
            let flaw = Flaw::new(format!("`{word}` is not below the directory of this file"));
            return Err(flaw.hint(hint));
        }
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(path) && asked.len() == MAX_COMPANIONS {
            return Err(Flaw::new(format!(
                "more than {MAX_COMPANIONS} files beside this one are named"
            )));
        }
        asked.insert(path.to_owned());
        let text = self.texts.get(path);
        Ok(text.filter(|text| text.len() <= MAX_COMPANION).cloned())
    }

    /// The same of a file that must be there.
    ///
    /// # Errors
    /// As [`Companions::get`], and it was not given.
    pub(super) fn need(&self, path: &str) -> Result<String, Flaw> {
        self.get(path)?.ok_or_else(|| {
            let word = shown(path);
            Flaw::new(format!(
                "there is no text file `{word}` of at most 64 KiB beside this one"
            ))
            .hint("its path is relative to the directory of this file")
        })
    }
}

/// Gives `source` the texts that it wants from below `dir`, where it lies, and the name of that
/// directory. What is no file, no text or too large is left out: reading says so where it is
/// needed.
pub fn read_beside(source: &mut Source, dir: &Path, variables: &BTreeMap<String, String>) {
    for wanted in wanted_files(source, variables) {
        // A link must not lead out of the directory: a manifest may come from anybody.
        let whole = dir.join(&wanted).canonicalize();
        let inside = |path: &Path| dir.canonicalize().is_ok_and(|dir| path.starts_with(dir));
        let Ok(path) = whole
            .map_err(drop)
            .and_then(|p| inside(&p).then_some(p).ok_or(()))
        else {
            continue;
        };
        if let Some(text) = small_text(&path) {
            source.files.insert(wanted, text);
        }
    }
    let named = Path::new(&source.name).parent().and_then(Path::file_name);
    if named.is_none() {
        let whole = dir.canonicalize().ok();
        let name = whole.as_deref().and_then(Path::file_name);
        source.directory = name.map(|name| name.to_string_lossy().into_owned());
    }
}

fn small_text(path: &Path) -> Option<String> {
    // A pipe would be waited for.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    let limit = MAX_COMPANION as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= MAX_COMPANION && !text.contains('\0'))
}

/// Puts contents in the place of every `source` of a file of a workload, in a tree of the TOML's
/// shape.
pub(super) fn fill(root: &mut Value, report: &Report) {
    let Some(workloads) = below(root, "workload") else {
        return;
    };
    for workload in workloads {
        for file in below(&mut workload.value, "files").into_iter().flatten() {
            let Data::Map(keys) = &mut file.value.data else {
                continue;
            };
            let Some(at) = keys.iter().position(|key| key.name == "source") else {
                continue;
            };
            let Some(path) = keys[at].value.as_text().map(str::to_owned) else {
                // Of another type: refused where the file is read.
                continue;
            };
            let source = keys.remove(at);
            if keys.iter().any(|key| key.name == "content") {
                let flaw = Flaw::new("`source` and `content` exclude each other");
                report.add(source.name_span, flaw.hint("keep one of the two"));
                continue;
            }
            let text = report.companion(&path, true).unwrap_or_else(|flaw| {
                report.add(source.value.span.clone(), flaw);
                None
            });
            keys.push(Entry {
                name: "content".to_owned(),
                name_span: source.name_span,
                value: Value {
                    span: source.value.span,
                    data: Data::Text(text.unwrap_or_default()),
                },
            });
        }
    }
}

/// The entries of the map `key` of a map.
fn below<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Vec<Entry>> {
    let Data::Map(entries) = &mut value.data else {
        return None;
    };
    let entry = entries.iter_mut().find(|entry| entry.name == key)?;
    match &mut entry.value.data {
        Data::Map(entries) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_COMPANION, Source, parse, read_beside, wanted_files};
    use std::{collections::BTreeMap, fs, path::Path};

    fn source(body: &str) -> Source {
        Source::new(
            "t.toml",
            format!("vars = {{ port = \"80\" }}\n[workload.a]\nimage = \"x:1\"\n{body}\n"),
        )
    }

    #[test]
    fn a_source_is_wanted_and_becomes_the_content() {
        let mut source = source(
            "[workload.a.files.\"/etc/a\"]\nsource = \"conf/a\"\nmode = \"0600\"\n\
             [workload.a.files.\"/etc/b\"]\nsource = \"b\"\nverbatim = true",
        );
        let wanted = wanted_files(&source, &BTreeMap::new());
        assert_eq!(wanted, ["b", "conf/a"]);
        source.files = BTreeMap::from([
            ("conf/a".to_owned(), "listen {{ var.port }}\n".to_owned()),
            ("b".to_owned(), "{{ .Name }}".to_owned()),
        ]);
        let files = &parse(&source).unwrap()[0].workload.files;
        assert_eq!(files[0].content, "listen 80\n");
        assert_eq!(files[0].mode, 0o600);
        assert_eq!(
            (files[1].content.as_str(), files[1].verbatim),
            ("{{ .Name }}", true)
        );
        assert_eq!(wanted_files(&source, &BTreeMap::new()), ["b", "conf/a"]);
    }

    #[test]
    fn what_is_not_there_or_elsewhere_is_said_at_its_place() {
        for (line, message) in [
            ("source = \"x\"", "there is no text file `x`"),
            ("source = \"large\"", "there is no text file `large`"),
            ("source = \"/x\"", "`/x` is not below the directory"),
            ("source = \"../x\"", "`../x` is not below the directory"),
            ("source = \"\"", "`` is not the path of a file"),
            ("source = 1", "`source` must be a string"),
            (
                "source = \"y\"\ncontent = \"\"",
                "`source` and `content` exclude each other",
            ),
            ("mode = \"0600\"", "has no `content`"),
        ] {
            let mut source = source(&format!("[workload.a.files.\"/etc/a\"]\n{line}"));
            source.files = BTreeMap::from([
                ("y".to_owned(), String::new()),
                ("large".to_owned(), "x".repeat(MAX_COMPANION + 1)),
            ]);
            let problems = parse(&source).unwrap_err();
            assert_eq!(problems.0.len(), 1, "{line}: {problems}");
            assert!(
                problems.0[0].message.contains(message),
                "{line}: {problems}"
            );
            assert!(problems.0[0].line >= 4, "{line}: {problems}");
        }
    }

    #[test]
    fn small_texts_are_read_from_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("My Project");
        fs::create_dir_all(project.join("conf")).unwrap();
        fs::write(project.join("conf/a"), "a").unwrap();
        fs::write(project.join("large"), "x".repeat(MAX_COMPANION + 1)).unwrap();
        fs::write(project.join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        let files: String = ["conf/a", "conf", "large", "binary", "none", "../outside"]
            .iter()
            .enumerate()
            .map(|(n, path)| format!("[workload.a.files.\"/etc/{n}\"]\nsource = \"{path}\"\n"))
            .collect();
        let mut source = source(&files);
        read_beside(&mut source, &project, &BTreeMap::new());
        let found: Vec<(&str, &str)> = source
            .files
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, [("conf/a", "a")]);
        assert_eq!(source.directory.as_deref(), Some("My Project"));
        let mut named = Source::new("/srv/shop/x.toml", "");
        read_beside(&mut named, Path::new("/srv/shop"), &BTreeMap::new());
        assert_eq!(named.directory, None);
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let files: String = (0..65)
            .map(|n| format!("[workload.a.files.\"/etc/{n}\"]\nsource = \"f{n}\"\n"))
            .collect();
        // Over two workloads, since one has at most 64 files.
        let text = files.replace(
            "workload.a.files.\"/etc/64\"",
            "workload.b.files.\"/etc/64\"",
        );
        let source = source(&format!("{text}[workload.b]\nimage = \"x:1\""));
        assert_eq!(wanted_files(&source, &BTreeMap::new()).len(), 64);
        let problems = parse(&source).unwrap_err();
        assert!(
            problems.to_string().contains("more than 64 files"),
            "{problems}"
        );
    }
}
