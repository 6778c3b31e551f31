//! Printing: tables for people, JSON and YAML for programs.

use super::{Failure, args::Format};
pub(super) use crate::support::utc;
use crate::support::{clock, without_escapes};
use serde::Serialize;
use std::io::Write;

/// Writes to stdout; a reader that has gone away (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Not one of the forms that are for programs.
pub(super) fn is_for_people(format: Format) -> bool {
    matches!(format, Format::Table | Format::Wide)
}

/// Anything as JSON or YAML; `None` for the forms that are for people.
fn structured(format: Format, value: &impl Serialize) -> Result<Option<String>, Failure> {
    Ok(match format {
        Format::Json => Some(serde_json::to_string_pretty(value)? + "\n"),
        Format::Yaml => {
            Some(serde_saphyr::to_string(value).map_err(|e| Failure::new(e.to_string()))?)
        }
        Format::Table | Format::Wide => None,
    })
}

/// A list. `row` gets `true` when all columns are wanted; columns that it leaves out then are
/// left out of the head as well.
pub(super) fn list<T: Serialize>(
    format: Format,
    items: &[T],
    head: &[&str],
    row: impl Fn(&T, bool) -> Vec<String>,
) -> Result<(), Failure> {
    print(&render_list(format, items, head, row)?)
}

pub(super) fn render_list<T: Serialize>(
    format: Format,
    items: &[T],
    head: &[&str],
    row: impl Fn(&T, bool) -> Vec<String>,
) -> Result<String, Failure> {
    if let Some(text) = structured(format, &items)? {
        return Ok(text);
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|i| row(i, format == Format::Wide))
        .collect();
    if rows.is_empty() {
        eprintln!("there is nothing to show");
        return Ok(String::new());
    }
    let columns = rows.first().map_or(head.len(), Vec::len);
    Ok(table(&head[..columns.min(head.len())], &rows))
}

/// One thing: its fields for people, or itself.
pub(super) fn one<T: Serialize>(
    format: Format,
    item: &T,
    fields: impl Fn(&T) -> Vec<(&'static str, String)>,
) -> Result<(), Failure> {
    if let Some(text) = structured(format, item)? {
        return print(&text);
    }
    let fields = fields(item);
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let text: String = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let lines = value.split('\n').map(visible).collect::<Vec<_>>();
            let value = lines
                .join("\n")
                .replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:width$}  {value}\n")
        })
        .collect();
    print(&text)
}

/// Columns side by side, two spaces between them.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let safe: Vec<Vec<String>> = rows
        .iter()
        .map(|r| r.iter().map(|cell| visible(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = safe
            .iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let text = padded.collect::<Vec<_>>().join("  ");
        text.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut head.iter().copied());
    for row in &safe {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// Neither control characters nor those that turn the direction of text.
pub(super) fn flat(c: char) -> char {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { ' ' } else { c }
}

/// Without escape sequences, and control characters made harmless: names and reasons may come from
/// anybody.
pub(super) fn visible(text: &str) -> String {
    without_escapes(text).chars().map(flat).collect()
}

/// At most `max` characters, with a mark where something was left out.
pub(super) fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// How long ago, as in `3m`; `-` when unknown.
pub(super) fn ago(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return "-".into();
    }
    let s = clock::unix_ms().saturating_sub(unix_ms) / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..172_800 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// As in `1.5 GiB`.
pub(super) fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_carry_no_control_characters() {
        let rows = vec![vec!["a\u{1b}[31m\u{7}b".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "Y"], &rows), "NAME  Y\na b   x\n");
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_has_no_control_character_and_plain_text_is_as_it_was(
            text in "(\\PC|\u{1b}|\\[|\\]|\u{7}|\u{9b}|\u{85}|\u{202e}|\n){0,30}",
        ) {
            let shown = visible(&text);
            proptest::prop_assert!(shown.len() <= text.len());
            proptest::prop_assert!(shown.chars().all(|c| flat(c) == c));
            if text.chars().all(|c| flat(c) == c) {
                proptest::prop_assert_eq!(shown, text);
            }
        }
    }
}
