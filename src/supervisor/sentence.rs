//! Sentences for people: how an instance ended, why it waits.

use crate::{manifest::quantity::duration_text, runtime::Exit, support::without_escapes};

/// The longest text that is kept of what went wrong.
const ERROR_BYTES: usize = 4096;
/// Last lines that are kept of what it wrote, and the longest of them.
const OUTPUT_LINES: usize = 10;
const OUTPUT_LINE_BYTES: usize = 256;

/// How it ended.
pub(super) fn ended(exit: &Exit) -> String {
    let mut text = match (&exit.message, exit.code) {
        (Some(message), _) => message.clone(),
        (None, Some(code)) if code > 128 && code < 128 + 65 => {
            format!(
                "it was ended by signal {}{}",
                code - 128,
                signal_name(code - 128)
            )
        }
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it ended; nobody saw with which exit code".into(),
    };
    if exit.out_of_memory && !text.contains("memory") {
        text.push_str(" (out of memory)");
    }
    text
}

/// Why it waits in a crash loop.
pub(super) fn crash_loop(failures: u32, delay_ms: u64, why: &str) -> String {
    let delay = duration_text(delay_ms);
    format!("it failed {failures} times in a row and waits {delay} before the next try: {why}")
}

/// It was stopped for its time.
pub(super) fn overdue(timeout_ms: u64) -> String {
    let timeout = duration_text(timeout_ms);
    format!("it ran longer than its timeout of {timeout} and was stopped")
}

/// `text`, at most `bytes` long, cut between characters.
pub(super) fn shortened(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What is kept of a sentence about what went wrong, which may quote a program: without the escape
/// sequences of terminals, and bounded.
pub(super) fn told(text: &str) -> String {
    shortened(&without_escapes(text), ERROR_BYTES).to_owned()
}

/// The last lines, without the escape sequences of terminals, bounded in number and length.
pub(super) fn last_lines(lines: &[String]) -> Vec<String> {
    let skipped = lines.len().saturating_sub(OUTPUT_LINES);
    let line = |line: &String| shortened(&without_escapes(line), OUTPUT_LINE_BYTES).to_owned();
    lines[skipped..].iter().map(line).collect()
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let exit = |code, out_of_memory| Exit {
            code,
            out_of_memory,
            ..Exit::default()
        };
        for (exit, text) in [
            (exit(Some(1), false), "it ended with exit code 1"),
            (exit(Some(137), false), "it was ended by signal 9 (SIGKILL)"),
            (
                exit(Some(137), true),
                "it was ended by signal 9 (SIGKILL) (out of memory)",
            ),
            (
                exit(None, false),
                "it ended; nobody saw with which exit code",
            ),
        ] {
            assert_eq!(ended(&exit), text);
        }
        assert_eq!(
            crash_loop(4, 40_000, "it ended with exit code 1"),
            "it failed 4 times in a row and waits 40s before the next try: it ended with exit code 1"
        );
        assert_eq!(
            overdue(300_000),
            "it ran longer than its timeout of 5m and was stopped"
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("abc", 4), "abc");
        assert_eq!(shortened("äöü", 3), "ä");
        let many: Vec<String> = (0..12).map(|n| format!("{n}{}", "ü".repeat(200))).collect();
        let kept = last_lines(&many);
        assert_eq!(kept.len(), 10);
        let coloured = ["\u{1b}[31mred\u{1b}[0m tick".to_owned()];
        assert_eq!(last_lines(&coloured), ["red tick"]);
        let long = told(&"\u{1b}[1mü".repeat(4_096));
        assert_eq!((long.len(), long.contains("[1m")), (4_096, false));
        assert!(kept[0].starts_with("2ü") && kept.iter().all(|l| l.len() <= 256));
    }
}
