//! `${NAME:-default}` in the values of a Compose file.
//!
//! Reading a file depends on nothing but the file, so there is no `.env` and no environment here:
//! whoever reads gives the values, by default none. A name without a value and without a default
//! is refused; Compose would go on with nothing.

use super::super::{
    report::Report,
    shown,
    span::Flaw,
    tree::{Data, Value},
};
use std::collections::BTreeMap;

/// The most bytes that a text may have when its variables are filled in.
const MAX_FILLED: usize = 256 * 1024;
/// The deepest nesting of defaults.
const MAX_DEPTH: usize = 8;

/// Fills in every text below `value`; keys stay. Texts with a problem stay, and it is on record.
pub(super) fn fill(value: &mut Value, variables: &BTreeMap<String, String>, report: &Report) {
    // The tree bounds the depth, hence the recursion.
    match &mut value.data {
        Data::Text(_) if report.is_full() => {}
        Data::Text(text) if text.contains('$') => match filled(text, variables, 0) {
            Ok(filled) => match report.add_bytes(filled.len().saturating_sub(text.len())) {
                Ok(()) => *text = filled,
                Err(flaw) => report.add(value.span.clone(), flaw),
            },
            Err(flaw) => report.add(value.span.clone(), flaw),
        },
        Data::List(items) => {
            for item in items {
                fill(item, variables, report);
            }
        }
        Data::Map(entries) => {
            for entry in entries {
                fill(&mut entry.value, variables, report);
            }
        }
        _ => {}
    }
}

/// `text` with its variables filled in.
pub(super) fn filled(
    text: &str,
    variables: &BTreeMap<String, String>,
    depth: usize,
) -> Result<String, Flaw> {
    if depth > MAX_DEPTH {
        return Err(Flaw::new(format!(
            "defaults of variables stand in each other more than {MAX_DEPTH} times"
        )));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = end_of(after).ok_or_else(|| {
                Flaw::new("`${` has no `}` after it").hint("write `$$` for a plain `$`")
            })?;
            out.push_str(&in_braces(&after[..end], variables, depth)?);
            rest = &after[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err(Flaw::new("`$` is followed by no name of a variable")
                    .hint("write `$$` for a plain `$`"));
            }
            let name = &rest[..length];
            out.push_str(variables.get(name).ok_or_else(|| not_set(name))?);
            rest = &rest[length..];
        }
        if out.len() > MAX_FILLED {
            return Err(Flaw::new(
                "the variables make this text longer than 256 KiB",
            ));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Bytes of the name at the beginning.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count()
}

/// Where the `}` is that ends what begins here.
fn end_of(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// What stands in `${…}`.
fn in_braces(
    text: &str,
    variables: &BTreeMap<String, String>,
    depth: usize,
) -> Result<String, Flaw> {
    let length = name_length(text);
    let (name, operator) = text.split_at(length);
    let wrong = || {
        Flaw::new(format!("`${{{}}}` is no variable", shown(text)))
            .hint("write `${NAME}` or `${NAME:-default}`; `$$` for a plain `$`")
    };
    if name.is_empty() {
        return Err(wrong());
    }
    let value = variables.get(name);
    let not_empty = value.filter(|value| !value.is_empty());
    let (value, kind, word) = match operator.strip_prefix(':') {
        Some(rest) => (not_empty, rest.chars().next(), rest.get(1..)),
        None => (value, operator.chars().next(), operator.get(1..)),
    };
    let word = word.unwrap_or_default();
    match (kind, value) {
        (None, Some(value)) if operator.is_empty() => Ok(value.clone()),
        (None, None) if operator.is_empty() => Err(not_set(name)),
        (Some('-' | '?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) => filled(word, variables, depth + 1),
        (Some('?'), None) => {
            let flaw = not_set(name);
            Err(if word.is_empty() {
                flaw
            } else {
                flaw.hint(shown(word))
            })
        }
        (Some('+'), Some(_)) => filled(word, variables, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        _ => Err(wrong()),
    }
}

fn not_set(name: &str) -> Flaw {
    let name = shown(name);
    Flaw::new(format!("the variable `{name}` has no value")).hint(format!(
        "give it with `--var {name}=…` or `--vars-file .env`, or write a default as in \
         `${{{name}:-…}}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables() -> BTreeMap<String, String> {
        [("A", "1"), ("EMPTY", ""), ("LONG_NAME_2", "x y")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn variables_are_filled_in() {
        for (text, expected) in [
            ("$A", "1"),
            ("$A-${A}$LONG_NAME_2.", "1-1x y."),
            ("$$A $${A} 5$$", "$A ${A} 5$"),
            ("${B:-x}${B-y}${EMPTY:-z}[${EMPTY-w}]", "xyz[]"),
            ("${A:-x}${A-y}${A:?e}${A?e}", "1111"),
            ("${A:+x}${A+y}[${B:+x}${EMPTY:+x}]${EMPTY+y}", "xy[]y"),
            ("${B:-${C:-${A}}}", "1"),
            ("${B:-a:b-c}", "a:b-c"),
            ("${B:-}", ""),
            ("${B:-{}}", "{}"),
        ] {
            assert_eq!(filled(text, &variables(), 0).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("$B", "the variable `B` has no value"),
            ("${B}", "the variable `B` has no value"),
            ("${B:?set it}", "the variable `B` has no value"),
            ("${EMPTY:?}", "the variable `EMPTY` has no value"),
            ("${B:-$C}", "the variable `C` has no value"),
            ("${A", "`${` has no `}` after it"),
            ("100$", "`$` is followed by no name of a variable"),
            ("$1", "`$` is followed by no name of a variable"),
            ("${}", "`${}` is no variable"),
            ("${A:x}", "`${A:x}` is no variable"),
            ("${A B}", "`${A B}` is no variable"),
        ] {
            let flaw = filled(text, &variables(), 0).unwrap_err();
            assert_eq!(flaw.message, message, "{text}");
        }
        let deep = format!("{}x{}", "${B:-".repeat(50), "}".repeat(50));
        assert!(filled(&deep, &variables(), 0).is_err());
        let large = BTreeMap::from([("A".to_owned(), "x".repeat(1_000))]);
        assert!(filled(&"$A".repeat(1_000), &large, 0).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[${}AB:?+ß-]{0,20}") {
            let _ = filled(&text, &variables(), 0);
        }
    }
}
