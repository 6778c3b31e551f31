//! `healthcheck`. Docker only says that a container is unhealthy, and so it is here: the check is
//! put down with `on_unhealthy = "report"`, which `x-fleet` may change.

use super::{
    super::{
        span::Flaw,
        tree::{Data, Entry, Value, entry},
        yaml::draft::{as_written, text, texts},
    },
    service::Service,
    support,
    value::with,
};

/// Docker waits so long for an answer where nothing is written.
const DEFAULT_TIMEOUT: &str = "30s";

/// Reads the key.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let reader = service.reader();
    let Some(keys) = reader.map(key) else {
        return;
    };
    let report = service.file.report;
    support::check("services.*.healthcheck", keys, report);
    let find = |key: &str| entry(keys, key).filter(|entry| entry.value.data != Data::Null);
    let disabled = find("disable").and_then(|entry| reader.truth(entry)) == Some(true);
    let check = match find("test") {
        None => Some(Check::Image),
        Some(test) => match check(&test.value, service) {
            Ok(check) => Some(check),
            Err(flaw) => {
                service.refuse(&test.value, flaw);
                None
            }
        },
    };
    let times: Vec<(&str, &Entry, Option<Value>)> = ["interval", "timeout", "start_period"]
        .into_iter()
        .filter_map(|name| find(name).map(|entry| (name, entry, reader.duration(entry))))
        .collect();
    let retries = find("retries").map(|entry| (entry, reader.whole(entry)));
    let check = match check {
        Some(Check::None) => return none(service, find("test").unwrap_or(key)),
        _ if disabled => return none(service, find("disable").unwrap_or(key)),
        None => return,
        // Nothing but an empty map: the image's own, as without the key.
        Some(Check::Image) if times.is_empty() && retries.is_none() => return,
        Some(check) => check,
    };
    match check {
        Check::Exec(command) => {
            let from = find("test").unwrap_or(key);
            let command = texts(&from.value.span, command);
            service.draft.put_in("health", "exec", from, command);
        }
        _ => {
            let image = with(&key.value, Data::Bool(true));
            service.draft.put_in("health", "image", key, image);
        }
    }
    let has_timeout = times.iter().any(|(name, ..)| *name == "timeout");
    for (name, from, value) in times {
        if let Some(value) = value {
            service.draft.put_in("health", name, from, value);
        }
    }
    if let Some((from, Some(value))) = retries {
        service.draft.put_in("health", "retries", from, value);
    }
    for (name, value) in [("timeout", DEFAULT_TIMEOUT), ("on_unhealthy", "report")] {
        if name != "timeout" || !has_timeout {
            let value = text(&key.value.span, value);
            service.draft.put_in("health", name, key, value);
        }
    }
}

/// The check that the image has is not run either; nothing else of the key has a meaning then.
fn none(service: &mut Service<'_>, from: &Entry) {
    let yes = with(&from.value, Data::Bool(true));
    service.draft.put_in("health", "none", from, yes);
}

enum Check {
    /// `NONE`.
    None,
    /// That of the image, with other times.
    Image,
    Exec(Vec<String>),
}

/// `test`: a text for the shell, or a list that begins with how it is meant.
fn check(test: &Value, service: &Service<'_>) -> Result<Check, Flaw> {
    let for_shell = |line: &str| Check::Exec(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
    let wrong = || {
        Flaw::new("this is no check").hint(
            "write a command in one text, `[\"CMD\", \"program\", \"argument\"]`, \
             `[\"CMD-SHELL\", \"line\"]` or `[\"NONE\"]`",
        )
    };
    if let Some(line) = test.as_text() {
        return Ok(for_shell(line));
    }
    let items = test.as_list().ok_or_else(wrong)?;
    let words: Option<Vec<String>> = items
        .iter()
        .map(|item| as_written(item, service.file.report))
        .collect();
    let words = words.ok_or_else(wrong)?;
    match words
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        Some(("NONE", [])) => Ok(Check::None),
        Some(("CMD-SHELL", [line])) => Ok(for_shell(line)),
        Some(("CMD", rest @ [_, ..])) => Ok(Check::Exec(rest.to_vec())),
        _ => Err(wrong()),
    }
}
