//! `volumes`, `tmpfs` and `devices`: one text each, or a map.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, Value, entry},
        yaml::draft::{as_written, text},
    },
    File,
    service::Service,
    support,
    value::{bytes, with},
};

/// What one entry of `volumes` becomes.
enum Mounted {
    /// A word of `volumes` in the TOML.
    Volume(String),
    /// A word of `resources.tmpfs`.
    Tmpfs(String),
    /// Path and content of one of `files`.
    File(String, String),
}

/// Reads `volumes`.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let Some(items) = key.value.as_list() else {
        let found = key.value.kind();
        let flaw = Flaw::new(format!(
            "`volumes` of a service must be a list, not {found}"
        ));
        service.refuse(&key.value, flaw.hint("write `- name:/path` below it"));
        return;
    };
    let mut volumes = Vec::new();
    for item in items {
        let mounted = match &item.data {
            Data::Map(keys) => long(service, item, keys),
            _ => match as_written(item, service.file.report) {
                Some(written) => short(service, item, &written),
                None => Err(Flaw::new(format!(
                    "a volume must be a text, not {}",
                    item.kind()
                ))),
            },
        };
        match mounted {
            Ok(Mounted::Volume(word)) => volumes.push(text(&item.span, word)),
            Ok(Mounted::Tmpfs(word)) => {
                let word = text(&item.span, word);
                service.draft.add_to("resources", "tmpfs", key, word);
            }
            Ok(Mounted::File(path, content)) => {
                let part = |name: &str, data| Entry {
                    name: name.to_owned(),
                    name_span: item.span.clone(),
                    value: with(item, data),
                };
                let table = vec![
                    part("content", Data::Text(content)),
                    part("verbatim", Data::Bool(true)),
                ];
                let table = with(item, Data::Map(table));
                service.draft.put_in("files", &path, key, table);
            }
            Err(flaw) => service.refuse(item, flaw),
        }
    }
    let volumes = with(&key.value, Data::List(volumes));
    service.draft.put("volumes", key, volumes);
}

/// `source:target[:options]`.
fn short(service: &Service<'_>, item: &Value, written: &str) -> Result<Mounted, Flaw> {
    let Some((source, rest)) = written.split_once(':') else {
        return Ok(without_name(service, item, written, false));
    };
    let (target, options) = match rest.split_once(':') {
        Some((target, options)) => (target, options),
        None => (rest, ""),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "z" | "Z" | "cached" | "delegated" | "consistent" => {
                let flaw = Flaw::new(format!("`{option}` has no effect: nothing is relabelled"));
                service.file.report.note(item.span.clone(), flaw);
            }
            _ => {
                let option = shown(option);
                return Err(Flaw::new(format!("the option `{option}` is not supported"))
                    .hint("write `ro`, `rw` or nothing"));
            }
        }
    }
    mounted(service, item, source, target, read_only)
}

/// A map with `type`, `source` and `target`.
fn long(service: &Service<'_>, item: &Value, keys: &[Entry]) -> Result<Mounted, Flaw> {
    let reader = service.reader();
    support::check("services.*.volumes.*", keys, service.file.report);
    let find = |key: &str| entry(keys, key).filter(|entry| entry.value.data != Data::Null);
    let word_of = |key: &str| find(key).and_then(|entry| reader.text(entry));
    let target = word_of("target")
        .ok_or_else(|| Flaw::new("the volume has no `target`").hint("write a path in it"))?;
    for (key, path) in [
        ("bind", "services.*.volumes.*.bind"),
        ("tmpfs", "services.*.volumes.*.tmpfs"),
    ] {
        if let Some(options) = find(key).and_then(|entry| reader.map(entry)) {
            support::check(path, options, service.file.report);
        }
    }
    match word_of("type").as_deref() {
        Some(kind @ ("volume" | "bind")) => {
            let read_only = find("read_only").and_then(|entry| reader.truth(entry));
            let read_only = read_only == Some(true);
            match word_of("source") {
                Some(source) => mounted(service, item, &source, &target, read_only),
                None if kind == "volume" => Ok(without_name(service, item, &target, read_only)),
                None => {
                    let flaw =
                        Flaw::new(format!("the bind for `{}` has no `source`", shown(&target)));
                    Err(flaw.hint("write the path on the nodes, beginning with `/`"))
                }
            }
        }
        Some("tmpfs") => {
            let options = find("tmpfs").and_then(|entry| entry.value.as_map());
            let size = options.and_then(|options| entry(options, "size"));
            let size = size.and_then(|size| reader.text(size));
            tmpfs_word(&target, size.as_deref()).map(Mounted::Tmpfs)
        }
        _ => Err(Flaw::new(
            "a volume needs a `type`: `bind`, `volume` or `tmpfs`",
        )),
    }
}

/// A volume without a name gets one, since what is in it would be lost with the container.
fn without_name(service: &Service<'_>, item: &Value, target: &str, read_only: bool) -> Mounted {
    let digest = ring::digest::digest(&ring::digest::SHA256, target.as_bytes());
    let mut name = format!("{}-", service.name);
    for byte in &digest.as_ref()[..4] {
        name.push_str(&format!("{byte:02x}"));
    }
    let flaw = Flaw::new(format!(
        "the volume for `{}` has no name; it is called `{name}`, and stays when the container is \
         replaced",
        shown(target)
    ));
    service.file.report.note(item.span.clone(), flaw);
    Mounted::Volume(word(&name, target, read_only))
}

/// A volume, a path on the nodes, or a small file beside this one.
fn mounted(
    service: &Service<'_>,
    item: &Value,
    source: &str,
    target: &str,
    read_only: bool,
) -> Result<Mounted, Flaw> {
    let may_be_file = service.file.project_dir.is_none()
        && source
            .strip_prefix("./")
            .is_some_and(|below| !below.is_empty())
        && !source.ends_with('/');
    if may_be_file && let Some(content) = service.file.report.companion(source, false)? {
        if !read_only {
            let flaw = Flaw::new(format!(
                "`{}` is read-only in the container: it is placed on the node as one of the \
                 service's files",
                shown(source)
            ));
            service.file.report.note(item.span.clone(), flaw);
        }
        return Ok(Mounted::File(target.to_owned(), content));
    }
    let source = source_of(service.file, source)?;
    Ok(Mounted::Volume(word(&source, target, read_only)))
}

fn word(source: &str, target: &str, read_only: bool) -> String {
    let read_only = if read_only { ":ro" } else { "" };
    format!("{source}:{target}{read_only}")
}

/// The path on the nodes, or the name of a volume that is declared.
fn source_of(file: &File<'_>, source: &str) -> Result<String, Flaw> {
    if source.starts_with('/') {
        return Ok(source.to_owned());
    }
    if source == "." || source.starts_with("./") {
        let below = source.trim_start_matches('.').trim_start_matches('/');
        return match &file.project_dir {
            Some(dir) if below.is_empty() => Ok(dir.clone()),
            Some(dir) => Ok(format!("{}/{below}", dir.trim_end_matches('/'))),
            None => Err(Flaw::new(format!(
                "`{}` is no text file of at most 64 KiB beside this one, and the nodes do not have \
                 its directory",
                shown(source)
            ))
            .hint(
                "write an absolute path or a volume, or say with `--project-dir /…` (or \
                 `x-fleet: { project_dir: /… }`) where it is on the nodes",
            )),
        };
    }
    if source.starts_with(['.', '~']) {
        return Err(
            Flaw::new(format!("`{}` is not an absolute path", shown(source)))
                .hint("write the path on the nodes, beginning with `/`"),
        );
    }
    match file.volumes.get(source) {
        Some(volume) => Ok(file.real_name(volume)),
        None => Err(
            Flaw::new(format!("the volume `{}` is not declared", shown(source)))
                .hint(format!("write `{}:` below `volumes:`", shown(source))),
        ),
    }
}

/// Reads `tmpfs`.
pub(super) fn read_tmpfs(service: &mut Service<'_>, key: &Entry) {
    let Some(list) = service.reader().list(key) else {
        return;
    };
    for item in list.as_list().unwrap_or_default() {
        match tmpfs(item.as_text().unwrap_or_default()) {
            Ok(word) => {
                let word = text(&item.span, word);
                service.draft.add_to("resources", "tmpfs", key, word);
            }
            Err(flaw) => service.refuse(item, flaw),
        }
    }
}

/// `/run` or `/run:size=64m`.
fn tmpfs(written: &str) -> Result<String, Flaw> {
    let Some((path, options)) = written.split_once(':') else {
        return tmpfs_word(written, None);
    };
    let mut size = None;
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("size", found)) => size = Some(found),
            // What the engine does anyway.
            None if ["rw", "noexec", "nosuid", "nodev"].contains(&option) => {}
            _ => {
                let option = shown(option);
                return Err(Flaw::new(format!("the option `{option}` is not supported"))
                    .hint("write a size, as in `/run:size=64m`, or nothing"));
            }
        }
    }
    tmpfs_word(path, size)
}

fn tmpfs_word(path: &str, size: Option<&str>) -> Result<String, Flaw> {
    Ok(match size {
        None => path.to_owned(),
        Some(size) => format!("{path}:{}", bytes(size)?),
    })
}

/// Reads `devices`.
pub(super) fn read_devices(service: &mut Service<'_>, key: &Entry) {
    let Some(items) = key.value.as_list() else {
        let found = key.value.kind();
        let flaw = Flaw::new(format!("`devices` must be a list, not {found}"));
        service.refuse(&key.value, flaw.hint("write `- /dev/ttyUSB0` below it"));
        return;
    };
    let mut devices = Vec::new();
    for item in items {
        let written = match &item.data {
            Data::Map(keys) => {
                support::check("services.*.devices.*", keys, service.file.report);
                let word =
                    |key: &str| entry(keys, key).and_then(|entry| service.reader().text(entry));
                word("source").map(|source| {
                    let target = word("target").unwrap_or_else(|| source.clone());
                    let permissions = word("permissions").unwrap_or_else(|| "rwm".to_owned());
                    format!("{source}:{target}:{permissions}")
                })
            }
            _ => as_written(item, service.file.report),
        };
        match written {
            Some(written) => devices.push(text(&item.span, written)),
            None => service.refuse(
                item,
                Flaw::new("a device must be a text, or have a `source`"),
            ),
        }
    }
    let devices = with(&key.value, Data::List(devices));
    service.draft.put("devices", key, devices);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_in_memory() {
        for (written, expected) in [
            ("/run", "/run"),
            ("/tmp:size=64m", "/tmp:67108864"),
            ("/tmp:rw,noexec,nosuid,size=1k", "/tmp:1024"),
        ] {
            assert_eq!(tmpfs(written).unwrap(), expected, "{written}");
        }
        for written in ["/tmp:mode=1777", "/tmp:size=x", "/tmp:exec"] {
            assert!(tmpfs(written).is_err(), "{written}");
        }
    }
}
