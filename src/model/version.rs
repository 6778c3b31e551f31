//! The user's word for an edition: what may be one.
//!
//! It stands in tables, in questions ("change web from 1.2 to 1.3?") and in commands that people
//! copy, so two of them that differ must look different, and none may look like nothing. Only what
//! is written anew is checked: a version that was stored before there was a rule stays readable.

/// The most bytes of a version.
pub const MAX_VERSION: usize = 128;

/// What is wrong with `text` as a version; `None` where nothing is.
pub fn version_flaw(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_VERSION {
        return Some("it is longer than 128 bytes");
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Some("it begins or ends with white space");
    }
    if !text.chars().all(is_plain) {
        return Some("it has a character that nobody sees, or that turns text around");
    }
    None
}

/// It leaves ink where it stands, and nothing elsewhere. The one space that is plain is ` `.
fn is_plain(c: char) -> bool {
    // What is shown as an escape is a control or format character, a separator, or none that
    // exists. A mark that joins the letter before it is one that can be seen.
    let text = format!("a{c}");
    let escaped = text.escape_debug().skip(1).count() > 1;
    let quoted = matches!(c, '"' | '\'' | '\\');
    (quoted || !escaped) && !is_blank(c)
}

/// Letters, marks and symbols by their class that leave no ink.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_something_that_can_be_seen() {
        for fine in [
            "1",
            "1.2.0 (blue)",
            "v1.2+rpt",
            "it's \"new\"\\",
            "größe",
            "e\u{301}t\u{e9}",
            "版本2",
            "גרסה",
            &"x".repeat(128),
        ] {
            assert_eq!(version_flaw(fine), None, "{fine:?}");
        }
        for wrong in [
            "",
            " ",
            "\u{a0}",
            " 1",
            "1 ",
            "1\u{2003}2",
            "1\n2",
            "1\u{0}",
            "1\u{85}",
            "1\u{200b}",
            "\u{feff}1",
            "1\u{ad}",
            "1\u{202e}2.0",
            "\u{2067}1",
            "1\u{200f}",
            "1\u{fe0f}",
            "\u{3164}",
            "\u{2800}",
            "1\u{e0041}",
            "1\u{2028}",
            &"x".repeat(129),
        ] {
            assert!(version_flaw(wrong).is_some(), "{wrong:?}");
        }
    }
}
