//! The keys of a workload in YAML, given the names and the shape that they have in the TOML.
//!
//! Keys have the names that they have in the TOML; what is different is listed here:
//!
//! | YAML | TOML |
//! |---|---|
//! | `run_mode` | nothing; it is checked against `schedule` and `max_runs` |
//! | `module`, `entry_point` (`main`) | `python = "module:entry_point"` |
//! | `script` | `command`, with `python3` before a `.py` |
//! | `command`, `entrypoint` as one string | split into words, nothing is expanded |
//! | `timeout`, `stop_timeout`, `restart_delay`, … as a number | seconds |
//! | `restart_policy`, `restart_delay`, `max_delay` | `restart.policy`, `restart.delay`, `restart.max_delay` |
//! | `memory_limit_mb`, `cpu_limit`, `cpu_nice` | `resources.memory` (MiB), `resources.cpus`, `resources.nice` |
//! | `environment`, `env` as a list of `NAME=value` | `env` |

use super::{
    super::{
        nearest::nearest,
        report::Report,
        shown,
        span::Flaw,
        tree::{Data, Entry, Value},
    },
    draft::{Draft, as_written, pairs, text, texts, unknown, with_texts},
    words::{for_a_shell, split},
};

/// What becomes of the value of a key.
#[derive(Clone, Copy)]
enum Rule {
    /// It is taken as it is.
    Same,
    /// A text, or a list of texts; numbers are taken as they are written.
    Text,
    /// A duration; a number is seconds.
    Duration,
    /// Names and values.
    Pairs,
    /// A command; one string is split into words.
    Words,
    /// A function here knows.
    Own,
}

/// Every key of a workload: as it is written, table and key in the TOML, and what becomes of it.
const KEYS: &[(&str, &str, &str, Rule)] = &[
    ("name", "", "", Rule::Own),
    ("type", "", "type", Rule::Text),
    ("version", "", "version", Rule::Text),
    ("run_mode", "", "", Rule::Own),
    ("schedule", "", "schedule", Rule::Same),
    ("time_zone", "", "time_zone", Rule::Text),
    ("missed", "", "missed", Rule::Text),
    ("overlap", "", "overlap", Rule::Text),
    ("max_runs", "", "max_runs", Rule::Same),
    ("timeout", "", "timeout", Rule::Duration),
    ("module", "", "", Rule::Own),
    ("entry_point", "", "", Rule::Own),
    ("python", "", "python", Rule::Text),
    ("venv", "", "venv", Rule::Text),
    ("python_path", "", "python_path", Rule::Text),
    ("params", "", "params", Rule::Same),
    ("command", "", "command", Rule::Words),
    ("script", "", "", Rule::Own),
    ("image", "", "image", Rule::Text),
    ("engine", "", "engine", Rule::Text),
    ("pull", "", "pull", Rule::Text),
    ("user", "", "user", Rule::Text),
    ("working_dir", "", "working_dir", Rule::Text),
    ("network", "", "network", Rule::Text),
    ("env", "", "env", Rule::Pairs),
    ("environment", "", "env", Rule::Pairs),
    ("ports", "", "ports", Rule::Text),
    ("volumes", "", "volumes", Rule::Text),
    ("devices", "", "devices", Rule::Text),
    ("depends_on", "", "depends_on", Rule::Text),
    ("before_stop", "", "before_stop", Rule::Same),
    ("stop_timeout", "", "stop_timeout", Rule::Duration),
    ("health", "", "health", Rule::Same),
    ("min_healthy_time", "", "min_healthy_time", Rule::Duration),
    ("files", "", "files", Rule::Same),
    ("reload", "", "reload", Rule::Text),
    ("logs", "", "logs", Rule::Same),
    ("tags", "", "tags", Rule::Text),
    ("adopt", "", "adopt", Rule::Text),
    ("placement", "", "placement", Rule::Same),
    ("resources", "", "resources", Rule::Same),
    ("memory_limit_mb", "resources", "memory", Rule::Own),
    ("cpu_limit", "resources", "cpus", Rule::Same),
    ("cpu_nice", "resources", "nice", Rule::Same),
    ("nice", "resources", "nice", Rule::Same),
    ("restart", "", "restart", Rule::Same),
    ("restart_policy", "restart", "policy", Rule::Text),
    ("restart_delay", "restart", "delay", Rule::Duration),
    ("max_delay", "restart", "max_delay", Rule::Duration),
    ("max_restarts", "", "", Rule::Own),
    ("update", "", "update", Rule::Same),
    ("entrypoint", "", "entrypoint", Rule::Words),
    ("hostname", "", "hostname", Rule::Text),
    ("cap_add", "", "cap_add", Rule::Text),
    ("cap_drop", "", "cap_drop", Rule::Text),
    ("privileged", "", "privileged", Rule::Same),
    ("extra_hosts", "", "extra_hosts", Rule::Text),
    ("dns", "", "dns", Rule::Text),
    ("group_add", "", "group_add", Rule::Text),
    ("labels", "", "labels", Rule::Pairs),
    ("sysctls", "", "sysctls", Rule::Pairs),
    ("init", "", "init", Rule::Same),
    ("shm_size", "", "shm_size", Rule::Same),
    ("stop_signal", "", "stop_signal", Rule::Text),
    ("tty", "", "tty", Rule::Same),
];

/// There is such a key.
pub(super) fn is_key(name: &str) -> bool {
    KEYS.iter().any(|(key, ..)| *key == name)
}

/// The keys of one workload in the shape of the TOML.
pub(super) fn translate(own: &[&Entry], report: &Report) -> Draft {
    let mut draft = Draft::default();
    for entry in own {
        if report.is_full() {
            break;
        }
        let key = KEYS.iter().find(|(key, ..)| *key == entry.name);
        let Some((_, table, key, rule)) = key else {
            let known: Vec<&str> = KEYS.iter().map(|(key, ..)| *key).collect();
            let flaw = unknown(&entry.name, &known);
            // So many keys help nobody.
            let flaw = match nearest(&entry.name, &known) {
                Some(_) => flaw,
                None => Flaw::new(flaw.message).hint("see the manual for the keys of a workload"),
            };
            report.add(entry.name_span.clone(), flaw);
            continue;
        };
        if entry.value.data == Data::Null {
            let flaw = Flaw::new(format!("`{}` has no value", entry.name));
            report.add(
                entry.name_span.clone(),
                flaw.hint("give it one, or leave it out"),
            );
            continue;
        }
        let value = match rule {
            Rule::Same => Some(same(entry, report)),
            Rule::Text => Some(with_texts(&entry.value, report)),
            Rule::Duration => duration(entry, report),
            Rule::Pairs => {
                let nothing = |name: &str| {
                    let flaw = Flaw::new(format!("`{}` has no value", shown(name)));
                    Err(flaw.hint("write `NAME: value`; `NAME: \"\"` for an empty one"))
                };
                pairs(&entry.name, &entry.value, report, &nothing)
            }
            Rule::Words => words(entry, report),
            Rule::Own => {
                own_rule(entry, own, report, &mut draft);
                None
            }
        };
        let Some(value) = value else {
            continue;
        };
        let twice = match *table {
            "" => draft.has(key),
            table => draft.has_in(table, key),
        };
        if twice {
            let flaw = Flaw::new(format!("`{}` is said twice", entry.name));
            let flaw = flaw.hint("another key here means the same; remove one of the two");
            report.add(entry.name_span.clone(), flaw);
        }
        match *table {
            "" => draft.put(key, entry, value),
            table => draft.put_in(table, key, entry, value),
        }
    }
    draft
}

/// The value as it is; `restart: always` is short for its policy.
fn same(entry: &Entry, report: &Report) -> Value {
    if entry.name == "restart" && entry.value.as_text().is_some() {
        let policy = Entry {
            name: "policy".to_owned(),
            name_span: entry.name_span.clone(),
            value: with_texts(&entry.value, report),
        };
        return Value {
            span: entry.value.span.clone(),
            data: Data::Map(vec![policy]),
        };
    }
    entry.value.clone()
}

/// Seconds, or a text with units.
fn duration(entry: &Entry, report: &Report) -> Option<Value> {
    let seconds = match entry.value.data {
        Data::Integer(seconds) => seconds as f64,
        Data::Float(seconds) => seconds,
        _ => return Some(entry.value.clone()),
    };
    let ms = (seconds * 1_000.0).round();
    // Longer than any bound that follows, and no float is inexact up to here.
    if !(0.0..=1e15).contains(&ms) {
        let flaw = Flaw::new(format!("`{}` is no number of seconds", entry.name));
        report.add(
            entry.value.span.clone(),
            flaw.hint("write a number from 0, or a text such as \"5m\""),
        );
        return None;
    }
    Some(text(&entry.value.span, format!("{}ms", ms as u64)))
}

/// A list of words, or a string that is split into them.
fn words(entry: &Entry, report: &Report) -> Option<Value> {
    let Some(line) = entry.value.as_text() else {
        return Some(with_texts(&entry.value, report));
    };
    let flaw = match split(line) {
        Ok(words) => match for_a_shell(&words) {
            None => return Some(texts(&entry.value.span, words)),
            Some(word) => Flaw::new(format!(
                "`{word}` means something to a shell only, and no shell reads `{}`",
                entry.name
            ))
            .hint("write `[\"sh\", \"-c\", \"…\"]`"),
        },
        Err(flaw) => flaw,
    };
    report.add(entry.value.span.clone(), flaw);
    // Something is to run, so nobody should say that nothing is.
    Some(texts(&entry.value.span, ["?".to_owned()]))
}

/// Keys that become something else.
fn own_rule(entry: &Entry, own: &[&Entry], report: &Report, draft: &mut Draft) {
    let value = &entry.value;
    let other = |key: &str| own.iter().find(|entry| entry.name == key);
    let refuse = |flaw: Flaw| report.add(value.span.clone(), flaw);
    match entry.name.as_str() {
        "run_mode" => run_mode(value, &|key| other(key).is_some(), report),
        "module" => {
            let Some(module) = as_written(value, report) else {
                refuse(Flaw::new(format!(
                    "`module` must be a text, not {}",
                    value.kind()
                )));
                return;
            };
            let function = match other("entry_point") {
                None => "main".to_owned(),
                Some(entry) => match as_written(&entry.value, report) {
                    Some(function) => function,
                    None => return,
                },
            };
            draft.put(
                "python",
                entry,
                text(&value.span, format!("{module}:{function}")),
            );
        }
        "entry_point" => {
            if as_written(value, report).is_none() {
                let found = value.kind();
                refuse(Flaw::new(format!(
                    "`entry_point` must be a text, not {found}"
                )));
            }
            if other("module").is_none() {
                let flaw = Flaw::new("`entry_point` needs a `module`");
                report.add(
                    entry.name_span.clone(),
                    flaw.hint("name the Python module that it is in"),
                );
            }
        }
        "script" => {
            if other("command").is_some() {
                let flaw = Flaw::new("`script` and `command` say two things to run");
                report.add(entry.name_span.clone(), flaw.hint("remove one of the two"));
            }
            match value.as_text() {
                Some(path) if path.ends_with(".py") => {
                    let command = ["python3".to_owned(), path.to_owned()];
                    draft.put("command", entry, texts(&value.span, command));
                }
                Some(path) => draft.put("command", entry, texts(&value.span, [path.to_owned()])),
                None => refuse(Flaw::new(format!(
                    "`script` must be the path of a file, not {}",
                    value.kind()
                ))),
            }
        }
        "memory_limit_mb" => {
            let bytes = match value.data {
                Data::Integer(mib) => mib.checked_mul(1 << 20),
                Data::Float(mib) if (0.0..1e9).contains(&mib) => Some((mib * 1_048_576.0) as i64),
                _ => None,
            };
            match bytes {
                Some(bytes) => {
                    let bytes = Value {
                        span: value.span.clone(),
                        data: Data::Integer(bytes),
                    };
                    draft.put_in("resources", "memory", entry, bytes);
                }
                None => refuse(
                    Flaw::new("`memory_limit_mb` must be a number of MiB")
                        .hint("write a number without a unit, as in 64"),
                ),
            }
        }
        "max_restarts" => {
            let flaw = Flaw::new("`max_restarts` is not supported: restarts are never given up");
            report.add(
                entry.name_span.clone(),
                flaw.hint(
                    "they become slower, up to `max_delay`; `restart_policy: never` is for none",
                ),
            );
        }
        // `name` is read before.
        _ => {}
    }
}

/// `run_mode` only says again what `schedule` and `max_runs` say.
fn run_mode(value: &Value, has: &dyn Fn(&str) -> bool, report: &Report) {
    const MODES: [&str; 3] = ["forever", "schedule", "n_times"];
    let flaw = match value.as_text() {
        Some("forever") => match ["schedule", "max_runs"].into_iter().find(|key| has(key)) {
            None => return,
            Some(key) => Flaw::new(format!("`run_mode: forever` contradicts `{key}`"))
                .hint("remove one of the two"),
        },
        Some("schedule") if !has("schedule") => Flaw::new("`run_mode: schedule` needs `schedule`")
            .hint("write the times, as in `schedule: \"0 3 * * *\"`"),
        Some("n_times") if !has("max_runs") => Flaw::new("`run_mode: n_times` needs `max_runs`")
            .hint("write how many, as in `max_runs: 3`"),
        Some(word) if MODES.contains(&word) => return,
        found => {
            let flaw = Flaw::new("`run_mode` must be `forever`, `schedule` or `n_times`");
            match found.and_then(|word| nearest(word, &MODES)) {
                Some(meant) => flaw.hint(format!("did you mean `{meant}`?")),
                None => flaw,
            }
        }
    };
    report.add(value.span.clone(), flaw);
}
