//! The parts of a workload beside what is executed, as TOML: each a key, or the lines of a table
//! (empty where everything is as by default).

use super::{
    duration, flag, inline, line, number, optional, quote, quote_key, quote_lines, quote_list,
    size, strings,
};
use crate::{
    manifest::{quantity::bytes_text, quantity::duration_text, workload::DEFAULT_HOOK_TIMEOUT_MS},
    model::{
        DependsOn, FileSpec, Health, HealthCheck, Hook, LogLimits, MissedRun, Name, OnUnhealthy,
        Overlap, Resources, Restart, RestartPolicy, RunMode,
    },
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `schedule` or `max_runs`.
pub(super) fn mode(text: &mut String, mode: &RunMode) {
    let schedule = match mode {
        RunMode::Forever => return,
        RunMode::NTimes { max_runs } => return line(text, "max_runs", max_runs.to_string()),
        RunMode::Schedule(schedule) => schedule,
    };
    line(text, "schedule", quote(&schedule.cron));
    optional(text, "time_zone", schedule.time_zone.as_deref());
    match schedule.missed {
        MissedRun::Skip => {}
        MissedRun::RunOnce => line(text, "missed", quote("run_once")),
    }
    match schedule.overlap {
        Overlap::Skip => {}
        Overlap::Queue => line(text, "overlap", quote("queue")),
        Overlap::Replace => line(text, "overlap", quote("replace")),
    }
}

/// `depends_on`, a list where nothing more than a start is waited for.
pub(super) fn depends_on(text: &mut String, needs: &BTreeMap<Name, DependsOn>) {
    if needs.values().all(|need| *need == DependsOn::Started) {
        return strings(text, "depends_on", needs.keys().map(ToString::to_string));
    }
    let needs = needs
        .iter()
        .map(|(name, need)| (quote_key(name.as_str()), quote(need.as_str())));
    line(text, "depends_on", inline(needs));
}

/// `before_stop`.
pub(super) fn hook(text: &mut String, hook: Option<&Hook>) {
    let Some(hook) = hook else {
        return;
    };
    let command = quote_list(&hook.command);
    let value = if hook.timeout_ms == DEFAULT_HOOK_TIMEOUT_MS {
        command
    } else {
        let timeout = quote(&duration_text(hook.timeout_ms));
        format!("{{ command = {command}, timeout = {timeout} }}")
    };
    line(text, "before_stop", value);
}

/// `logs`.
pub(super) fn logs(text: &mut String, logs: &LogLimits) {
    if *logs != LogLimits::default() {
        let size = quote(&bytes_text(logs.max_size));
        let files = logs.max_files;
        let value = format!("{{ max_size = {size}, max_files = {files} }}");
        line(text, "logs", value);
    }
}

/// The table `resources`.
pub(super) fn resources(resources: &Resources) -> String {
    let mut text = String::new();
    size(&mut text, "memory", resources.memory);
    number(&mut text, "cpus", resources.cpus);
    number(&mut text, "nice", resources.nice);
    number(&mut text, "pids", resources.pids);
    number(&mut text, "open_files", resources.open_files);
    number(&mut text, "oom_score", resources.oom_score);
    flag(&mut text, "read_only", resources.read_only);
    let tmpfs = resources.tmpfs.iter().map(|tmpfs| match tmpfs.size {
        Some(size) => format!("{}:{}", tmpfs.path, bytes_text(size)),
        None => tmpfs.path.clone(),
    });
    strings(&mut text, "tmpfs", tmpfs);
    text
}

/// The table `health`.
pub(super) fn health(health: &Health) -> String {
    let mut text = String::new();
    match &health.check {
        HealthCheck::Http(address) => line(&mut text, "http", quote(address)),
        HealthCheck::Tcp(address) => line(&mut text, "tcp", quote(address)),
        HealthCheck::Exec(command) => line(&mut text, "exec", quote_list(command)),
        HealthCheck::Image => flag(&mut text, "image", true),
        HealthCheck::None => {
            // Nothing else has a meaning then.
            flag(&mut text, "none", true);
            return text;
        }
    }
    let usual = Health::new(HealthCheck::Image);
    for (key, ms, usual) in [
        (
            "start_period",
            health.start_period_ms,
            usual.start_period_ms,
        ),
        ("interval", health.interval_ms, usual.interval_ms),
        ("timeout", health.timeout_ms, usual.timeout_ms),
    ] {
        duration(&mut text, key, (ms != usual).then_some(ms));
    }
    let retries = Some(health.retries).filter(|retries| *retries != usual.retries);
    number(&mut text, "retries", retries);
    match health.on_unhealthy {
        OnUnhealthy::Restart => {}
        OnUnhealthy::Report => line(&mut text, "on_unhealthy", quote("report")),
    }
    text
}

/// The table `restart`.
pub(super) fn restart(restart: &Restart) -> String {
    let mut text = String::new();
    if *restart == Restart::default() {
        return text;
    }
    let policy = match restart.policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on_failure",
        RestartPolicy::Never => "never",
    };
    line(&mut text, "policy", quote(policy));
    duration(&mut text, "delay", Some(restart.delay_ms));
    duration(&mut text, "max_delay", Some(restart.max_delay_ms));
    text
}

/// A table of texts.
pub(super) fn map(map: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in map {
        line(&mut text, &quote_key(key), quote(value));
    }
    text
}

/// The table `params`.
pub(super) fn params(params: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, value) in params {
        line(&mut text, &quote_key(key), json(value));
    }
    text
}

/// The tables of `files`, each with its name: one for those that are a text and nothing more,
/// and one for each of the others.
pub(super) fn files(files: &[FileSpec]) -> Vec<(String, String)> {
    let mut plain = String::new();
    let mut tables = Vec::new();
    for file in files {
        let path = quote_key(&file.path);
        let content = quote_lines(&file.content);
        if file.mode == 0o644 && !file.verbatim {
            line(&mut plain, &path, content);
            continue;
        }
        let mut text = String::new();
        if file.mode != 0o644 {
            line(&mut text, "mode", quote(&format!("{:04o}", file.mode)));
        }
        flag(&mut text, "verbatim", file.verbatim);
        line(&mut text, "content", content);
        tables.push((format!("files.{path}"), text));
    }
    tables.insert(0, ("files".to_owned(), plain));
    tables
}

/// A value of JSON as one of TOML. There is no null in a manifest, hence none in `value`.
fn json(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(answer) => answer.to_string(),
        // A float keeps its point or its exponent.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => format!("{float:?}"),
            None => number.to_string(),
        },
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(json).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => inline(map.iter().map(|(key, value)| (quote_key(key), json(value)))),
    }
}
