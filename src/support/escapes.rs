//! Escape sequences of terminals, taken out of a text before anything else is done to it: pure.
//!
//! What programs write into their logs is coloured. Where only the escape character is made
//! harmless, the rest of each sequence stays and is read as words: ` [31mred [0m`.
//!
//! ```text
//!  ESC [ 3 1 m            CSI   parameters, intermediates, one final letter
//!  ESC ] 0 ; title BEL    OSC   (and DCS, SOS, PM, APC) up to BEL or ESC \
//!  ESC ( B                      intermediates and one final character
//! ```
//!
//! Each of them has a form of one character, too (U+009B for `ESC [`). A string without its end,
//! which a cut may have taken, hides nothing: only its beginning goes. Other control characters are
//! left to whoever asks.

use std::borrow::Cow;

const ESC: char = '\u{1b}';

/// `text` without them. Takes time in proportion to its length, whatever is in it.
pub(crate) fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains(begins) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(begins) {
        out.push_str(&rest[..at]);
        rest = behind(&rest[at..]);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// ESC, and those that stand for ESC and the letter after it: DCS, SOS, CSI, OSC, PM, APC.
fn begins(c: char) -> bool {
    matches!(
        c,
        ESC | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}'
    )
}

/// What follows the sequence that `text` begins with; always less than `text`.
fn behind(text: &str) -> &str {
    let mut chars = text.chars();
    let kind = match chars.next() {
        Some(ESC) => match chars.clone().next() {
            Some(kind @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => {
                chars.next();
                kind
            }
            _ => return two(chars.as_str()),
        },
        Some('\u{9b}') => '[',
        _ => ']',
    };
    match kind {
        '[' => control(chars.as_str()),
        _ => string(chars.as_str()),
    }
}

/// Behind `ESC`: intermediates and one character; only `ESC` where nothing of that follows.
fn two(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| matches!(c, ' '..='/'));
    match rest.strip_prefix(|c| matches!(c, '0'..='~')) {
        Some(rest) => rest,
        // Blanks and the like that belong to nothing are text.
        None => text,
    }
}

/// Behind `ESC [`: up to the final letter, or to what cannot be a part of it.
fn control(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| matches!(c, '0'..='?'));
    let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
    rest.strip_prefix(|c| matches!(c, '@'..='~'))
        .unwrap_or(rest)
}

/// Behind `ESC ]`: up to BEL, `ESC \` or U+009C. Another control character comes in no string: then
/// what follows is text.
fn string(text: &str) -> &str {
    let Some(end) = text.find(char::is_control) else {
        return text;
    };
    let rest = &text[end..];
    let ends = ["\u{7}", "\u{9c}", "\u{1b}\\"];
    let behind = ends.into_iter().find_map(|end| rest.strip_prefix(end));
    behind.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_sequences_go_and_text_stays() {
        for (text, expected) in [
            ("plain ü [31m", "plain ü [31m"),
            ("\u{1b}[31mred\u{1b}[0m tick", "red tick"),
            ("\u{1b}[38;5;196;1mx\u{1b}[m", "x"),
            ("\u{1b}[?25lhidden\u{1b}[2 q", "hidden"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pq...\u{9c}x\u{1b}_y\u{7}z", "xz"),
            ("\u{1b}(Ba\u{1b}7b\u{1b}=c", "abc"),
            ("\u{9b}31mred\u{9d}0;t\u{7}x", "redx"),
            // Cut off, or no sequence at all.
            ("a\u{1b}", "a"),
            ("a\u{1b}[", "a"),
            ("a\u{1b}[3", "a"),
            ("a\u{1b}[31ü", "aü"),
            ("a\u{1b}[31\nb", "a\nb"),
            ("a\u{1b}]0;title", "a0;title"),
            ("a\u{1b}]52;c\nb", "a52;c\nb"),
            ("a\u{1b}]0;t\u{1b}[1mb", "a0;tb"),
            ("a\u{1b}\u{1b}[1mb", "ab"),
            ("a\u{1b} ü", "a ü"),
            ("a\tb\u{7}", "a\tb\u{7}"),
        ] {
            assert_eq!(without_escapes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_full_of_beginnings_takes_no_longer_than_it_is_long() {
        let begun = std::time::Instant::now();
        let text = "\u{1b}]".repeat(1 << 19);
        assert_eq!(without_escapes(&text), "");
        let text = format!("\u{1b}]{}", "x\u{9d}".repeat(1 << 18));
        assert_eq!(without_escapes(&text).len(), 1 << 18);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn nothing_grows_no_beginning_stays_and_plain_text_is_unchanged(
            text in "([a-z0-9;ü ]|\u{1b}|\\[|\\]|\\\\|\u{7}|\u{9b}|\u{9c}|\u{9d}|\n|m|P){0,40}",
        ) {
            let out = without_escapes(&text);
            prop_assert!(out.len() <= text.len());
            prop_assert!(!out.contains(begins));
            if !text.contains(begins) {
                prop_assert_eq!(out, text.as_str());
            }
        }
    }
}
