//! What a person is shown of a text that anybody may have written.

/// The most characters of one.
const MAX_SHOWN: usize = 64;

/// A piece of somebody's text as it may stand in a message: at most 64 characters, control
/// characters made visible. Every error text that repeats what it was given goes through here.
pub(crate) fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_SHOWN).map(|(end, _)| end);
    let cut = &text[..end.unwrap_or(text.len())];
    let mut shown: String = cut.chars().flat_map(char::escape_debug).collect();
    if end.is_some() {
        shown.push('…');
    }
    shown
}

/// The same for a sentence that somebody else wrote (a library that read a request): every word
/// in quotes or backticks is cut, and the whole is bounded as well.
pub(crate) fn shown_within(sentence: &str) -> String {
    /// No sentence of a library needs more.
    const MAX_SENTENCE: usize = 1_024;
    let mut out = String::new();
    let mut rest = sentence;
    while let Some(start) = rest.find(['`', '"']) {
        let quote = rest[start..].chars().next().unwrap_or('`');
        let (before, quoted) = rest.split_at(start + 1);
        out.push_str(before);
        // Without an end nobody knows what is quoted; the bound of the whole does for it.
        let Some(end) = quoted.find(quote) else {
            rest = quoted;
            break;
        };
        let word = &quoted[..end];
        match word.chars().nth(MAX_SHOWN) {
            Some(_) => out.push_str(&shown(word)),
            None => out.push_str(word),
        }
        out.push(quote);
        rest = &quoted[end + quote.len_utf8()..];
    }
    out.push_str(rest);
    match out.char_indices().nth(MAX_SENTENCE) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_cannot_drive_a_terminal() {
        assert_eq!(shown("web"), "web");
        assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown(&"ü".repeat(64)), "ü".repeat(64));
        assert_eq!(shown(&"ü".repeat(1 << 20)), format!("{}…", "ü".repeat(64)));
    }

    #[test]
    fn what_a_sentence_quotes_is_cut_and_the_sentence_stays() {
        let plain = "unknown field `limt`, expected one of `after`, `limit`";
        assert_eq!(shown_within(plain), plain);
        let long = "x".repeat(1 << 20);
        let cut = shown_within(&format!("unknown field `{long}`, expected `limit`"));
        let kept = "x".repeat(64);
        assert_eq!(cut, format!("unknown field `{kept}…`, expected `limit`"));
        for odd in [format!("`{long}"), long.clone(), format!("\"{long}`\"")] {
            assert!(shown_within(&odd).chars().count() <= 1_025);
        }
    }
}
