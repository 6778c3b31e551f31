//! A command in one string, split into words as a shell would, but nothing is expanded.

use super::super::span::Flaw;

/// The words of `text`: separated by blanks, but not within `{{ … }}`; `'…'` is taken as it is, in `"…"` a backslash makes
/// `"`, `\`, `$` and `` ` `` plain, outside of quotes it makes any character plain.
///
/// # Errors
/// A quote without its end, or a backslash at the end.
pub(in super::super) fn split(text: &str) -> Result<Vec<String>, Flaw> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(without_end('\'')),
                    }
                }
            }
            '"' => quoted(&mut rest, word.get_or_insert_default())?,
            '{' if template_length(rest.as_str()).is_some() => {
                let length = template_length(rest.as_str()).unwrap_or_default();
                let word = word.get_or_insert_default();
                word.push('{');
                word.push_str(&rest.as_str()[..length]);
                rest = rest.as_str()[length..].chars();
            }
            '\\' => match rest.next() {
                // A line that goes on in the next one.
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(Flaw::new("the command ends with a backslash")),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Bytes of a template, the first brace of which has been read.
fn template_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('{')?;
    Some(1 + inside.find("}}")? + 2)
}

/// What follows a `"`, up to the next one.
fn quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Flaw> {
    loop {
        match rest.next() {
            Some('"') => return Ok(()),
            Some('\\') => match rest.next() {
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err(without_end('"')),
            },
            Some(c) => word.push(c),
            None => return Err(without_end('"')),
        }
    }
}

fn without_end(quote: char) -> Flaw {
    Flaw::new(format!("the command has a {quote} without another one"))
        .hint("write the command as a list of words")
}

/// A word that only a shell understands, where there is one.
pub(super) fn for_a_shell(words: &[String]) -> Option<&str> {
    const SHELL: [&str; 9] = ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1"];
    words
        .iter()
        .map(String::as_str)
        .find(|word| SHELL.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split() {
        for (text, words) in [
            ("", &[][..]),
            ("  ", &[]),
            ("a b\tc\n d ", &["a", "b", "c", "d"]),
            ("a 'b  c' \"d e\"", &["a", "b  c", "d e"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' \"\"", &["", ""]),
            (r#"a\ b "c\"d\$e\n" '\x'"#, &["a b", "c\"d$e\\n", "\\x"]),
            ("a \\\n b", &["a", "b"]),
            ("$HOME ${X} *.txt", &["$HOME", "${X}", "*.txt"]),
            (
                "a-{{ node.name }}-b {{x}} { {{ y",
                &["a-{{ node.name }}-b", "{{x}}", "{", "{{", "y"],
            ),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["'a", "\"a", "\"a\\", "a\\", "a 'b' '"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_found() {
        assert_eq!(for_a_shell(&split("a | b").unwrap()), Some("|"));
        assert_eq!(for_a_shell(&split("a b|c").unwrap()), None);
    }

    proptest! {
        #[test]
        fn quoting_comes_back(words in proptest::collection::vec("[^']{0,8}", 0..5)) {
            let text: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&text.join(" ")).unwrap(), words);
        }

        #[test]
        fn nothing_panics(text in "[ab{} '\"\\\\$\n]{0,16}") {
            let _ = split(&text);
        }
    }
}
