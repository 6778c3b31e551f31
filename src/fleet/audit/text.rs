//! The text of a difference: sections, and in them lines that were taken away (`-`) and added (`+`).
//!
//! ```text
//! workload web
//! - image = "web:1"
//! + image = "web:2"
//! ```
//!
//! A line is one line whatever the values hold, and the whole is bounded.

use crate::identity::sha256_hex;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a text.
pub(super) const MAX_TEXT: usize = 16 * 1024;
/// The last line of one that was cut.
pub(super) const CUT: &str = "… cut here: what changes is more than fits in 16 KiB\n";
/// Bytes of one value.
const MAX_VALUE: usize = 1_000;
/// Bytes of the name of a field.
const MAX_PATH: usize = 200;

/// A value that lies under a name with one of these is not shown.
const SECRET: [&str; 7] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "key",
    "credential",
];

/// Values by their path, as in `resources.memory`.
pub(super) type Fields = BTreeMap<String, Value>;

/// A text that grows up to its bound.
#[derive(Default)]
pub(super) struct Text {
    out: String,
    /// Of the section that has no line yet.
    head: Option<String>,
    cut: bool,
}

impl Text {
    /// What follows is about this. It is only written when something follows.
    pub(super) fn section(&mut self, head: impl Into<String>) {
        self.head = Some(head.into());
    }

    /// Nothing more fits: whoever has much to say can stop.
    pub(super) fn is_full(&self) -> bool {
        self.cut
    }

    /// `None`: nothing was said.
    pub(super) fn finish(self) -> Option<String> {
        (!self.out.is_empty()).then_some(self.out)
    }

    /// One field, before and after; nothing where it is the same.
    pub(super) fn field(&mut self, path: &str, from: impl Serialize, to: impl Serialize) {
        let json = |value: Value| leaves_of(path, &value);
        let from = serde_json::to_value(from).map(json).unwrap_or_default();
        let to = serde_json::to_value(to).map(json).unwrap_or_default();
        self.fields(&from, &to);
    }

    /// Every field of a thing that has more than one.
    pub(super) fn things(&mut self, from: &impl Serialize, to: &impl Serialize) {
        self.field("", from, to);
    }

    /// What is in `from` and not in `to` was taken away, what is in `to` alone was added.
    pub(super) fn fields(&mut self, from: &Fields, to: &Fields) {
        let mut paths: Vec<&String> = from.keys().chain(to.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let (before, after) = (from.get(path), to.get(path));
            if before == after {
                continue;
            }
            for (sign, value) in [('-', before), ('+', after)] {
                if let Some(value) = value {
                    self.line(&format!("{sign} {} = {}", name(path), shown(path, value)));
                }
            }
            if self.cut {
                return;
            }
        }
    }

    fn line(&mut self, line: &str) {
        let head = self.head.take().map(|head| format!("{}\n", plain(&head)));
        let head = head.unwrap_or_default();
        if self.cut {
            return;
        }
        if self.out.len() + head.len() + line.len() + 1 + CUT.len() > MAX_TEXT {
            self.cut = true;
            self.out.push_str(CUT);
            return;
        }
        self.out.push_str(&head);
        self.out.push_str(line);
        self.out.push('\n');
    }
}

/// Every value below `path`, each by its own path. What is null or empty is not there.
pub(super) fn leaves_of(path: &str, value: &Value) -> Fields {
    let mut out = Fields::new();
    leaves(path, value, &mut out);
    out
}

pub(super) fn leaves(path: &str, value: &Value, out: &mut Fields) {
    let nested = |v: &Value| v.is_object() || v.is_array();
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let below = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                leaves(&below, value, out);
            }
        }
        Value::Array(all) if all.iter().any(nested) => {
            for (n, value) in all.iter().enumerate() {
                leaves(&format!("{path}[{n}]"), value, out);
            }
        }
        Value::Array(all) if all.is_empty() => {}
        leaf => {
            out.insert(path.to_owned(), leaf.clone());
        }
    }
}

/// The name of a field as people write it in a manifest.
fn name(path: &str) -> String {
    let runs = [
        "run.container.options.",
        "run.container.",
        "run.process.",
        "run.python.",
    ];
    let short = runs.iter().find_map(|run| path.strip_prefix(run));
    let short = match short.unwrap_or(path) {
        "placement.mode.any.replicas" => "placement.replicas",
        other => other,
    };
    let end = short.floor_char_boundary(MAX_PATH);
    let cut = if end < short.len() { "…" } else { "" };
    plain(&short[..end]) + cut
}

/// Whether what lies there is not to be read by everybody who reads the trail.
fn is_secret(path: &str) -> bool {
    let named = match path.split_once('.') {
        // Of nodes; everybody sees them.
        Some(("labels", _)) => return false,
        Some(("env" | "params", key)) => key,
        _ => path.rsplit('.').next().unwrap_or(path),
    };
    let named = named.to_lowercase();
    SECRET.iter().any(|word| named.contains(word))
}

fn shown(path: &str, value: &Value) -> String {
    let json = value.to_string();
    let digest = |text: &str| sha256_hex(text.as_bytes())[..8].to_owned();
    let text = value.as_str().unwrap_or(&json);
    if is_secret(path) {
        // A change shows; what it was does not.
        return format!("••• {}", digest(text));
    }
    // What is in files may be anything, also what nobody should read.
    if path.starts_with("files[") && path.ends_with("].content") {
        return format!("{} bytes, sha256 {}", text.len(), digest(text));
    }
    if json.len() <= MAX_VALUE {
        return plain(&json);
    }
    let end = json.floor_char_boundary(MAX_VALUE);
    let (len, digest) = (text.len(), digest(text));
    format!("{}… ({len} bytes, sha256 {digest})", plain(&json[..end]))
}

/// On one line, and nothing in it that turns the direction of text.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c.is_control() || turns {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}
