//! What all roles have: a data directory and a log.

use super::{Surroundings, settings::Settings};
use crate::manifest::{
    Flaw,
    render::{line, quote},
    shown,
    word::absolute_path,
};
use std::path::PathBuf;

/// The most bytes of `topic_prefix`.
const MAX_PREFIX: usize = 128;

/// Settings of every role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// `data_dir`: where the role keeps what must survive it. `/var/lib/fleetctl/<role>` for
    /// root, else below `$XDG_STATE_HOME` or `~/.local/state`.
    pub data_dir: PathBuf,
    /// `log`: a level, or `target=level` with commas in between; `info`.
    pub log: String,
    /// `log_format`: `text`.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// `text` or `json`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<LogFormat, Flaw> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(Flaw::new(format!("`{}` is not a log format", shown(text)))
                .hint("write \"text\" or \"json\"")),
        }
    }

    /// As [`LogFormat::parse`] reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

// Not a doc comment: it would become the description of the command.
// Flags of every role.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CommonOverrides {
    /// Directory for what must survive a restart
    #[arg(long, env = "FLEETCTL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Log level, or target=level with commas in between
    #[arg(long, env = "FLEETCTL_LOG", value_name = "FILTER", value_parser = parse_log)]
    pub log: Option<String>,
    /// Form of log lines: text or json
    #[arg(
        long,
        env = "FLEETCTL_LOG_FORMAT",
        value_name = "FORMAT",
        value_parser = LogFormat::parse
    )]
    pub log_format: Option<LogFormat>,
}

impl Common {
    pub(super) fn read(
        settings: &mut Settings<'_>,
        given: &CommonOverrides,
        around: &Surroundings,
        role: &str,
    ) -> Common {
        let data_dir = settings
            .parsed("data_dir", given.data_dir.clone(), parse_path)
            .or_else(|| around.data_dir(role));
        if data_dir.is_none() {
            let flaw = Flaw::new("nobody said where to keep data, and there is no home directory");
            settings.refuse("data_dir", flaw.hint("set `data_dir` or `--data-dir`"));
        }
        let log = settings.parsed("log", given.log.clone(), parse_log);
        let log_format = settings.parsed("log_format", given.log_format, LogFormat::parse);
        Common {
            data_dir: data_dir.unwrap_or_default(),
            log: log.unwrap_or_else(|| "info".to_owned()),
            log_format: log_format.unwrap_or_default(),
        }
    }

    pub(super) fn render(&self, text: &mut String) {
        line(text, "data_dir", quote(&self.data_dir.to_string_lossy()));
        line(text, "log", quote(&self.log));
        line(text, "log_format", quote(self.log_format.as_str()));
    }
}

/// An absolute path, as it must stand in a file: nobody knows where a service starts.
pub(super) fn parse_path(text: &str) -> Result<PathBuf, Flaw> {
    absolute_path(text).map(PathBuf::from)
}

/// `level` or `target=level`, with commas in between.
///
/// # Errors
/// Another word than a level of `tracing`.
pub fn parse_log(text: &str) -> Result<String, Flaw> {
    let level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| word.eq_ignore_ascii_case(level))
    };
    let target = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    for part in text.split(',') {
        let fine = match part.split_once('=') {
            Some((name, word)) => target(name) && level(word),
            None => level(part),
        };
        if !fine {
            return Err(
                Flaw::new(format!("`{}` is not a log filter", shown(part))).hint(
                    "write off, error, warn, info, debug or trace, as in \"fleetctl=debug,info\"",
                ),
            );
        }
    }
    Ok(text.to_owned())
}

/// What stands before every topic: levels of a topic, or nothing.
///
/// # Errors
/// Wildcards, empty levels, control characters, more than 128 bytes.
pub fn parse_topic_prefix(text: &str) -> Result<String, Flaw> {
    let wrong = |why: &str| {
        Err(Flaw::new(format!(
            "`{}` is not a topic prefix: {why}",
            shown(text)
        )))
    };
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.contains(['+', '#']) {
        return wrong("`+` and `#` are wildcards");
    }
    if text.split('/').any(str::is_empty) {
        return wrong("it must not begin or end with `/`, nor have two of them in a row");
    }
    if text.starts_with('$') {
        return wrong("topics that begin with `$` belong to the broker");
    }
    if text.len() > MAX_PREFIX || text.chars().any(char::is_control) {
        return wrong("at most 128 bytes of printable text");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filters() {
        for text in [
            "info",
            "OFF",
            "fleetctl=debug,info",
            "fleetctl::agent=trace",
        ] {
            assert!(parse_log(text).is_ok(), "{text}");
        }
        for text in ["", "loud", "info,", "=info", "a=b", "a b=info"] {
            assert!(parse_log(text).is_err(), "{text}");
        }
    }

    #[test]
    fn topic_prefixes() {
        for text in ["", "fleet", "site-1/fleet", "ü"] {
            assert!(parse_topic_prefix(text).is_ok(), "{text}");
        }
        for text in [
            "/",
            "/a",
            "a/",
            "a//b",
            "a/+",
            "#",
            "$SYS",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(parse_topic_prefix(text).is_err(), "{text}");
        }
    }
}
