//! `env_file`: lines `NAME=value` of files beside the Compose file.
//!
//! Values are read as Compose reads them: `'…'` as it is, `"…"` with `\n` and the like, anything
//! else up to a `#` after a blank; `${NAME}` is filled in but in single quotes. Braces in a value
//! are not ours.

use super::{
    super::{
        shown,
        span::Flaw,
        table::MAX_ITEMS,
        tree::{Data, Entry, Value, entry},
        yaml::draft::{as_written, text},
    },
    service::Service,
    support,
    variables::filled,
};
use std::collections::BTreeMap;

/// Reads the key: a path, or a list of paths and of maps with `path` and `required`.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let one;
    let items = match &key.value.data {
        Data::Null => return,
        Data::List(items) => items.as_slice(),
        Data::Map(_) => {
            let flaw = Flaw::new("`env_file` must be a text or a list, not a table");
            service.refuse(&key.value, flaw.hint("write `- path: …` below it"));
            return;
        }
        _ => {
            one = [key.value.clone()];
            one.as_slice()
        }
    };
    // A later file sees what earlier ones say.
    let mut known = service.file.variables.clone();
    for item in items {
        match file(service, item, &mut known) {
            Ok(found) => {
                for (name, value) in found {
                    let from = Entry {
                        name: name.clone(),
                        name_span: item.span.clone(),
                        value: item.clone(),
                    };
                    let value = text(&item.span, value.replace("{{", "{{ \"{{\" }}"));
                    service.draft.put_in("env", &name, &from, value);
                }
            }
            Err(flaw) => service.refuse(item, flaw),
        }
    }
}

/// The variables of one file.
fn file(
    service: &Service<'_>,
    item: &Value,
    known: &mut BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, Flaw> {
    let report = service.file.report;
    let keys = match &item.data {
        Data::Map(keys) => {
            support::check("services.*.env_file.*", keys, report);
            keys.as_slice()
        }
        _ => &[],
    };
    let path = entry(keys, "path").map(|path| &path.value).unwrap_or(item);
    let path = as_written(path, report)
        .ok_or_else(|| Flaw::new("a file of `env_file` has no path").hint("write it as a text"))?;
    let required = entry(keys, "required").and_then(|key| service.reader().truth(key));
    let content = match required {
        Some(false) => report.companion(&path, false)?,
        _ => report.companion(&path, true)?,
    };
    let content = content.unwrap_or_default();
    lines(&content, known).map_err(|(line, flaw)| {
        let message = format!("line {line} of `{}`: {}", shown(&path), flaw.message);
        Flaw {
            message,
            hint: flaw.hint,
        }
    })
}

/// The variables of a text, each of which those behind it see. On failure the line, from 1.
fn lines(
    content: &str,
    known: &mut BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, (usize, Flaw)> {
    let mut found = Vec::new();
    let mut rest = content.strip_prefix('\u{feff}').unwrap_or(content);
    // The line of `counted`, a byte of the text.
    let (mut at, mut counted) = (1, 0);
    while !rest.is_empty() {
        let line = content.len() - rest.len();
        at += content[counted..line].matches('\n').count();
        counted = line;
        if found.len() > MAX_ITEMS {
            let flaw = Flaw::new(format!("there are more than {MAX_ITEMS} variables"));
            return Err((at, flaw));
        }
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let flaw = |flaw| (at, flaw);
        let start = rest.trim_start();
        let start = start.strip_prefix("export ").unwrap_or(start);
        let name_end = start.find(['=', '\n']).unwrap_or(start.len());
        let name = start[..name_end].trim().to_owned();
        let Some(value) = start[name_end..].strip_prefix('=') else {
            // Without a value, it is taken from whoever reads.
            let value = known.get(&name).cloned().ok_or_else(|| {
                let name = shown(&name);
                let hint = format!("write `{name}=…`, or give it with `--var {name}=…`");
                flaw(Flaw::new(format!("the variable `{name}` has no value")).hint(hint))
            })?;
            found.push((name, value));
            rest = after;
            continue;
        };
        let (value, left) = value_of(value.trim_start_matches([' ', '\t']), known).map_err(flaw)?;
        known.insert(name.clone(), value.clone());
        found.push((name, value));
        rest = left;
    }
    Ok(found)
}

/// The value with which `text` begins, and what follows its line.
fn value_of<'a>(
    text: &'a str,
    known: &BTreeMap<String, String>,
) -> Result<(String, &'a str), Flaw> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let end = line
            .find(" #")
            .or(line.starts_with('#').then_some(0))
            .unwrap_or(line.len());
        return Ok((filled(&dollars(line[..end].trim()), known, 0)?, rest));
    };
    let inner = &text[1..];
    let end = end_of(inner, quote).ok_or_else(|| Flaw::new(format!("the {quote} has no end")))?;
    let (tail, rest) = inner[end + 1..]
        .split_once('\n')
        .unwrap_or((&inner[end + 1..], ""));
    let tail = tail.trim();
    if !tail.is_empty() && !tail.starts_with('#') {
        let flaw = Flaw::new(format!("`{}` stands behind the value", shown(tail)));
        return Err(flaw.hint("put the whole value in quotes"));
    }
    let raw = &inner[..end];
    let value = match quote {
        '\'' => raw.to_owned(),
        _ => filled(&dollars(&unescaped(raw)), known, 0)?.replace(PLAIN_DOLLAR, "$"),
    };
    Ok((value, rest))
}

/// Stands for a `$` that was written `\$`, while variables are filled in; no text has it.
const PLAIN_DOLLAR: char = '\u{0}';

fn end_of(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push(PLAIN_DOLLAR),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// A `$` that begins no variable is a plain one here.
fn dollars(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        let begins = |next: &char| *next == '{' || *next == '_' || next.is_ascii_alphabetic();
        if c == '$' && !chars.peek().is_some_and(begins) {
            out.push('$');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> BTreeMap<String, String> {
        BTreeMap::from([("GIVEN".to_owned(), "g".to_owned())])
    }

    #[test]
    fn values_are_read_as_compose_reads_them() {
        for (line, value) in [
            ("A=1", "1"),
            ("export A=1", "1"),
            (" A = b c  # comment", "b c"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A=#x", ""),
            ("A='x ${GIVEN} \\n' # y", "x ${GIVEN} \\n"),
            ("A=\"x\\ty\\\"z\\\\ \\$GIVEN\"", "x\ty\"z\\ $GIVEN"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=${GIVEN}-$GIVEN-${NONE:-d}", "g-g-d"),
            ("A=5$ and $1 $", "5$ and $1 $"),
            ("A=pa=ss:word", "pa=ss:word"),
            ("A=x\r", "x"),
        ] {
            let found = lines(line, &mut known()).unwrap();
            assert_eq!(found, [("A".to_owned(), value.to_owned())], "{line}");
        }
        let text = "\u{feff}# first\n\nA=1\nB=${A}2\n\nGIVEN\n";
        let found = lines(text, &mut known()).unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, [("A", "1"), ("B", "12"), ("GIVEN", "g")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, message) in [
            ("A=1\nB=$NONE", 2, "the variable `NONE` has no value"),
            ("\n\nNONE\n", 3, "the variable `NONE` has no value"),
            ("A=\"x", 1, "the \" has no end"),
            ("A='x' y", 1, "`y` stands behind the value"),
            ("A=${B", 1, "`${` has no `}` after it"),
        ] {
            let (at, flaw) = lines(text, &mut known()).unwrap_err();
            assert_eq!((at, flaw.message.as_str()), (line, message), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[A-C= \"'\\\\$\\{\\}#\n\u{feff}ß-]{0,40}") {
            let _ = lines(&text, &mut known());
        }
    }
}
