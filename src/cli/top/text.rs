//! Text from nodes, made harmless and short before it comes near a terminal.

use crate::cli::output;

/// Characters that are kept of one text.
const LONGEST: usize = 512;
/// Marks over and under one character.
const MARKS: usize = 2;

/// One line without anything that drives a terminal, turns its direction, or takes no room.
pub(super) fn plain(text: &str) -> String {
    cut(text, LONGEST)
}

/// The same, of at most `longest` characters.
pub(super) fn cut(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(longest * 4));
    let mut marks = 0;
    // What is left out is looked at too, so that must have an end as well.
    for c in text.chars().take(longest.saturating_mul(4)) {
        if out.len() >= longest * 4 {
            break;
        }
        if is_unseen(c) {
            continue;
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks <= MARKS {
            out.push(output::flat(c));
        }
    }
    output::short(&out, longest)
}

/// Takes no room, or joins or turns what is beside it.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200d}'
        | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Stands over or under the character before it.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// How long ago, as in `3m`.
pub(super) fn age(now: u64, since: u64) -> String {
    if since == 0 {
        return "-".into();
    }
    match now.saturating_sub(since) / 1_000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// The time of day in UTC.
pub(super) fn clock(ms: u64) -> String {
    let s = ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_taken_away() {
        assert_eq!(plain("a\u{1b}[31mb\u{7}\r\nc"), "a [31mb   c");
        assert_eq!(plain("a\u{202e}b\u{200b}c\u{feff}"), "a bc");
        assert_eq!(
            plain(&format!("e{}x", "\u{301}".repeat(500))),
            "e\u{301}\u{301}x"
        );
        assert_eq!(cut("abcdef", 3), "abc…");
        assert!(plain(&"\u{200b}".repeat(1_000_000)).is_empty());
        assert!(plain(&"漢".repeat(1_000_000)).chars().count() <= LONGEST + 1);
    }
}
