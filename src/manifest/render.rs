//! A workload as the TOML that makes it again: [`super::parse`] of the text gives the same one.

mod fleet;
mod parts;
mod run;

use super::{
    quantity::{bytes_text, duration_text},
    workload::DEFAULT_STOP_TIMEOUT_MS,
};
use crate::model::{Device, Port, Protocol, Run, Workload, WorkloadType};

/// The TOML of `workload`: name, type, version and what is executed, then whatever differs from
/// its default.
pub fn render(workload: &Workload) -> String {
    let name = quote_key(workload.name.as_str());
    let mut text = format!("[workload.{name}]\n");
    let kind = match workload.kind {
        WorkloadType::Service => "service",
        WorkloadType::Agent => "agent",
        WorkloadType::Script => "script",
    };
    line(&mut text, "type", quote(kind));
    line(&mut text, "version", quote(&workload.version));
    run::keys(&mut text, &workload.run);
    parts::mode(&mut text, &workload.mode);
    duration(&mut text, "timeout", workload.timeout_ms);
    strings(&mut text, "ports", workload.ports.iter().map(port_text));
    if !workload.env.is_empty() {
        let entries = workload
            .env
            .iter()
            .map(|(k, v)| format!("{} = {}", quote_key(k), quote(v)));
        let entries: Vec<String> = entries.collect();
        line(&mut text, "env", format!("{{ {} }}", entries.join(", ")));
    }
    fleet::volumes(&mut text, &workload.volumes);
    strings(
        &mut text,
        "devices",
        workload.devices.iter().map(device_text),
    );
    parts::depends_on(&mut text, &workload.depends_on);
    duration(&mut text, "min_healthy_time", workload.min_healthy_time_ms);
    parts::hook(&mut text, workload.before_stop.as_ref());
    if workload.stop_timeout_ms != DEFAULT_STOP_TIMEOUT_MS {
        duration(&mut text, "stop_timeout", Some(workload.stop_timeout_ms));
    }
    optional(&mut text, "reload", workload.reload.map(|s| s.as_str()));
    parts::logs(&mut text, &workload.logs);
    strings(&mut text, "tags", workload.tags.iter().cloned());
    optional(&mut text, "adopt", workload.adopt.as_deref());

    let mut tables = vec![
        (
            "resources".to_owned(),
            parts::resources(&workload.resources),
        ),
        (
            "health".to_owned(),
            workload
                .health
                .as_ref()
                .map(parts::health)
                .unwrap_or_default(),
        ),
        (
            "placement".to_owned(),
            fleet::placement(&workload.placement),
        ),
        (
            "update".to_owned(),
            workload
                .update
                .as_ref()
                .map(fleet::update)
                .unwrap_or_default(),
        ),
        ("restart".to_owned(), parts::restart(&workload.restart)),
        ("params".to_owned(), parts::params(&workload.params)),
    ];
    if let Run::Container { options, .. } = &workload.run {
        tables.push(("labels".to_owned(), parts::map(&options.labels)));
        tables.push(("sysctls".to_owned(), parts::map(&options.sysctls)));
    }
    tables.extend(parts::files(&workload.files));
    for (table, body) in tables {
        if !body.is_empty() {
            text.push_str(&format!("\n[workload.{name}.{table}]\n{body}"));
        }
    }
    text
}

fn port_text(port: &Port) -> String {
    let address = match &port.address {
        None => String::new(),
        Some(address) if address.contains(':') => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
    };
    let protocol = if port.protocol == Protocol::Udp {
        "/udp"
    } else {
        ""
    };
    format!("{address}{}:{}{protocol}", port.host, port.container)
}

fn device_text(device: &Device) -> String {
    format!(
        "{}:{}:{}",
        device.host, device.container, device.permissions
    )
}

/// `key = value`; `value` is TOML already.
pub(crate) fn line(text: &mut String, key: &str, value: String) {
    text.push_str(&format!("{key} = {value}\n"));
}

/// `key = "value"`, where there is one.
fn optional(text: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        line(text, key, quote(value));
    }
}

/// `key = "10s"`, where there is one.
fn duration(text: &mut String, key: &str, ms: Option<u64>) {
    if let Some(ms) = ms {
        line(text, key, quote(&duration_text(ms)));
    }
}

/// `key = "64MiB"`, where there is one.
fn size(text: &mut String, key: &str, bytes: Option<u64>) {
    if let Some(bytes) = bytes {
        line(text, key, quote(&bytes_text(bytes)));
    }
}

/// `key = true`, where it is.
fn flag(text: &mut String, key: &str, on: bool) {
    if on {
        line(text, key, "true".to_owned());
    }
}

/// `key = 1`, where there is one.
fn number<T: ToString>(text: &mut String, key: &str, value: Option<T>) {
    if let Some(value) = value {
        line(text, key, value.to_string());
    }
}

/// `key = ["a", "b"]`, where there are any.
fn strings(text: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        line(text, key, quote_list(&items));
    }
}

/// `{ key = value }`; the values are TOML already.
fn inline(entries: impl IntoIterator<Item = (String, String)>) -> String {
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    if entries.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", entries.join(", "))
    }
}

/// `["a", "b"]`.
pub(crate) fn quote_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(", "))
}

/// `text` as a key of a table, quoted where it must be.
pub(crate) fn quote_key(text: &str) -> String {
    let bare = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { text.to_owned() } else { quote(text) }
}

/// `text` as a string of TOML, over several lines where it has several.
fn quote_lines(text: &str) -> String {
    if !text.contains('\n') {
        return quote(text);
    }
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let quoted = quote(line);
            quoted[1..quoted.len() - 1].to_owned()
        })
        .collect();
    // The newline after the first quotes is none of the text's.
    format!("\"\"\"\n{}\"\"\"", lines.join("\n"))
}

/// `text` as a basic string of TOML.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
