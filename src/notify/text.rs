//! Words that all forms have in common: what is said of a notification, made harmless.
//!
//! What a node said is data. [`visible`] takes the power from control characters and from those
//! that turn the direction of text or are not seen; each form escapes its own markup after that.

use super::{Notification, Occasion, Severity};
use crate::model::UnixMs;

/// The most characters of a subject.
pub const MAX_SUBJECT: usize = 150;
/// The most characters of one message within a text of several.
pub const MAX_LINE: usize = 500;

/// `text` without a character that does something: each is replaced by a picture of it or its
/// number.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{0}'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('␦')),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => out.push_str(&format!("‹U+{:04X}›", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

/// At most `max` characters, the last one `…` where something was left out.
pub fn cut(text: &str, max: usize) -> String {
    if text.char_indices().nth(max).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The word of an occasion, in messages.
pub fn occasion(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Firing => "firing",
        Occasion::Repeated => "still firing",
        Occasion::Escalated => "escalated",
        Occasion::Resolved => "resolved",
        Occasion::Test => "test",
    }
}

/// The word of a severity.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// The message, harmless, at most `max` characters.
pub fn message(notification: &Notification, max: usize) -> String {
    // What is cut away needs no work.
    cut(&visible(&cut(&notification.message, max)), max)
}

/// One line of all: `[firing] disk of pi-3 is 93 % full`, `[2 firing, 1 resolved] … and 2 more`.
pub fn subject(batch: &[Notification]) -> String {
    let Some(first) = batch.first() else {
        return "nothing to tell".to_owned();
    };
    // Inside one sentence, what stands in brackets at its end is for those who read on.
    let message = message(first, MAX_SUBJECT);
    let short = match message.strip_suffix(')').and_then(|m| m.rsplit_once(" (")) {
        Some((short, _)) if !short.is_empty() => short,
        _ => &message,
    };
    let rest = batch.len() - 1;
    let (words, end) = match rest {
        0 => (occasion(first.occasion).to_owned(), String::new()),
        _ => (counted(batch), format!(" and {rest} more")),
    };
    let room = MAX_SUBJECT.saturating_sub(words.chars().count() + end.chars().count() + 3);
    format!("[{words}] {}{end}", cut(short, room))
}

/// `2 firing, 1 resolved`.
fn counted(batch: &[Notification]) -> String {
    let all = [
        Occasion::Firing,
        Occasion::Escalated,
        Occasion::Repeated,
        Occasion::Resolved,
        Occasion::Test,
    ];
    let counts = all.into_iter().filter_map(|wanted| {
        let count = batch.iter().filter(|n| n.occasion == wanted).count();
        (count > 0).then(|| format!("{count} {}", occasion(wanted)))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// The lines of `batch` as long as they fit into `max` (as `size` counts), then how many do not.
pub fn lines(
    batch: &[Notification],
    max: usize,
    size: impl Fn(&str) -> usize,
    line: impl Fn(&Notification) -> String,
) -> String {
    let mut text = String::new();
    for (index, notification) in batch.iter().enumerate() {
        let line = line(notification);
        let left = batch.len() - index;
        let more = format!("… and {left} more");
        // Room for the last sentence is kept, unless this is the last line.
        let kept = if left > 1 { size(&more) + 1 } else { 0 };
        if size(&text) + size(&line) + 1 + kept > max {
            text.push_str(&more);
            return text;
        }
        text.push_str(&line);
        if left > 1 {
            text.push('\n');
        }
    }
    text
}

/// A picture that says how it stands, for services that show text.
pub fn mark(notification: &Notification) -> &'static str {
    match (notification.occasion, notification.severity) {
        (Occasion::Resolved, _) => "✅",
        (Occasion::Test, _) => "🔔",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
        (_, Severity::Info) => "🔵",
    }
}

/// `2026-11-21 08:00:00 UTC`.
pub fn time(unix_ms: UnixMs) -> String {
    timestamp(unix_ms).strftime("%F %T UTC").to_string()
}

/// `2026-11-21T08:00:00Z`.
pub fn rfc3339(unix_ms: UnixMs) -> String {
    timestamp(unix_ms).strftime("%FT%TZ").to_string()
}

fn timestamp(unix_ms: UnixMs) -> jiff::Timestamp {
    let ms = i64::try_from(unix_ms).unwrap_or(0);
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
}

/// What somebody who tries a receiver sends.
pub fn trial(now: UnixMs) -> Notification {
    Notification {
        id: "fleetctl-test".to_owned(),
        rule: "test".to_owned(),
        severity: Severity::Info,
        occasion: Occasion::Test,
        node: None,
        workload: None,
        message: "somebody tries this receiver of alerts; there is nothing to do".to_owned(),
        since_ms: now,
        at_ms: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(message: &str) -> Notification {
        Notification {
            message: message.to_owned(),
            occasion: Occasion::Firing,
            ..trial(1_700_000_000_000)
        }
    }

    #[test]
    fn characters_that_do_something_become_pictures() {
        for (text, expected) in [
            ("plain ü 日本", "plain ü 日本"),
            ("a\u{1b}[31mred", "a␛[31mred"),
            ("a\r\nBcc: b", "a␍␊Bcc: b"),
            ("x\u{202e}y\u{200b}z", "x‹U+202E›y‹U+200B›z"),
            ("\u{9b}31m\u{feff}", "‹U+009B›31m‹U+FEFF›"),
            ("\u{e0041}", "‹U+E0041›"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn a_subject_is_one_short_line() {
        let one = saying("disk of pi-3 is 93 % full (above 90 %)");
        assert_eq!(
            subject(std::slice::from_ref(&one)),
            "[firing] disk of pi-3 is 93 % full"
        );
        let over = Notification {
            occasion: Occasion::Resolved,
            ..one.clone()
        };
        let all = [one.clone(), one, over];
        assert_eq!(
            subject(&all),
            "[2 firing, 1 resolved] disk of pi-3 is 93 % full and 2 more"
        );
        let long = subject(&[saying(&"\u{202e}".repeat(1 << 20))]);
        assert_eq!(long.chars().count(), MAX_SUBJECT);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let batch = vec![saying("ab"); 10];
        let count = |text: &str| text.chars().count();
        let line = |n: &Notification| n.message.clone();
        assert_eq!(lines(&batch, 100, count, line).lines().count(), 10);
        let short = lines(&batch, 24, count, line);
        assert!(short.ends_with("\n… and 7 more"), "{short}");
        assert!(count(&short) <= 24, "{short}");
        assert_eq!(lines(&batch, 5, count, line), "… and 10 more");
        assert_eq!(lines(&batch[..1], 3, count, line), "ab");
    }

    #[test]
    fn times_are_written_out() {
        assert_eq!(time(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "1970-01-01T00:00:00Z");
    }
}
