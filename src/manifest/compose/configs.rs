//! `configs` of a service: files with the content that the file itself has, or one beside it.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, Value, entry},
        yaml::draft::{as_written, text},
    },
    service::Service,
    support,
    value::with,
};

/// Reads the key: names, or maps with `source` and `target`.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let Some(items) = key.value.as_list() else {
        let found = key.value.kind();
        let flaw = Flaw::new(format!(
            "`configs` of a service must be a list, not {found}"
        ));
        service.refuse(&key.value, flaw);
        return;
    };
    for item in items {
        match one(service, item) {
            Ok((path, file)) => service.draft.put_in("files", &path, key, file),
            Err(flaw) => service.refuse(item, flaw),
        }
    }
}

/// Path and table of one file.
fn one(service: &Service<'_>, item: &Value) -> Result<(String, Value), Flaw> {
    let reader = service.reader();
    let keys = match &item.data {
        Data::Map(keys) => keys.as_slice(),
        _ => &[],
    };
    support::check("services.*.configs.*", keys, service.file.report);
    let find = |key: &str| entry(keys, key).filter(|entry| entry.value.data != Data::Null);
    let source = as_written(item, service.file.report)
        .or_else(|| find("source").and_then(|entry| reader.text(entry)))
        .ok_or_else(|| Flaw::new("the config has no `source`").hint("name one of `configs`"))?;
    let configs = &service.file.configs;
    let config = configs.get(source.as_str()).ok_or_else(|| {
        let source = shown(&source);
        Flaw::new(format!("the config `{source}` is not declared")).hint(format!(
            "write `{source}:` with `content:` below `configs:`"
        ))
    })?;
    // Where there is none, that it comes from elsewhere is refused at its own place.
    let file = config.value.get("file").and_then(Value::as_text);
    let content = match config.value.get("content") {
        None if file.is_some() => {
            let path = file.unwrap_or_default();
            let text = service.file.report.companion(path, true)?;
            text.unwrap_or_default()
        }
        Some(content) => {
            service.file.report.add_bytes(content.bytes())?;
            as_written(content, service.file.report).ok_or_else(|| {
                Flaw::new(format!(
                    "the content of `{}` must be a text",
                    shown(&source)
                ))
            })?
        }
        None if config.value.as_map().is_some_and(|keys| !keys.is_empty()) => String::new(),
        None => {
            return Err(Flaw::new(format!(
                "the config `{}` has no `content`",
                shown(&source)
            )));
        }
    };
    let path = match find("target").and_then(|entry| reader.text(entry)) {
        Some(target) if target.starts_with('/') => target,
        Some(target) => format!("/{target}"),
        None => format!("/{source}"),
    };
    let mut table = vec![
        part(item, "content", Data::Text(content)),
        // Braces in it are not ours, but those of whoever reads it.
        part(item, "verbatim", Data::Bool(true)),
    ];
    if let Some(mode) = find("mode") {
        let written = reader.text(mode).unwrap_or_default();
        let digits = written.trim_start_matches("0o").trim_start_matches('0');
        table.push(Entry {
            name: "mode".to_owned(),
            name_span: mode.name_span.clone(),
            value: text(&mode.value.span, format!("{digits:0>4}")),
        });
    }
    Ok((path, with(item, Data::Map(table))))
}

fn part(item: &Value, name: &str, data: Data) -> Entry {
    Entry {
        name: name.to_owned(),
        name_span: item.span.clone(),
        value: with(item, data),
    }
}
