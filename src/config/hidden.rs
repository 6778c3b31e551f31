//! Lines of a file that are not shown with a problem, because secrets stand in them.
//!
//! Which key of a receiver holds a secret is known only while the text is as it should be: in a
//! misspelt key, in a broken line or in a table of another name it is a secret all the same. So
//! everything from the first line on that speaks of receivers is not shown; place and key are.

use crate::manifest::{Problems, Source};

/// `problems` of `source`, without the lines that may hold a secret.
pub(super) fn without_secrets(source: &Source, mut problems: Problems) -> Problems {
    if let Some(first) = first_secret_line(&source.text) {
        for problem in &mut problems.0 {
            // Lines count from 1.
            if problem.line as usize > first {
                problem.snippet.clear();
            }
        }
    }
    problems
}

/// The first line that may hold a secret or stand before one, from 0.
fn first_secret_line(text: &str) -> Option<usize> {
    text.lines().position(|line| {
        let written = line.trim_start();
        // A header in a comment may have left its keys behind.
        let bare = written.trim_start_matches(['#', ' ', '\t']);
        if written.starts_with('#') && !bare.starts_with('[') {
            return false;
        }
        let word: String = bare
            .chars()
            .filter(|c| !c.is_whitespace() && !['"', '\''].contains(c))
            .collect();
        // As in `[controller.alerts.reciever.ops]`.
        let below = word.split_once("alerts.").map(|(_, rest)| rest);
        let other = word.starts_with('[') && below.is_some_and(|rest| !rest.starts_with("rule"));
        // An escaped letter hides what the name is.
        let unclear = word.starts_with('[') && word.contains('\\');
        other || unclear || word.contains("receiver")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_from_the_first_receiver_on_may_be_secret() {
        for (text, expected) in [
            ("", None),
            ("[controller]\n[controller.alerts]\nnotify = []\n", None),
            (
                "# receivers are told\n[controller.alerts.rule.disk]\n",
                None,
            ),
            ("[controller]\n[controller.alerts.receiver.ops]\n", Some(1)),
            (
                "\n [ controller . \"alerts\" . 'receiver' . ops ]\n",
                Some(1),
            ),
            ("[controller.alerts]\nreceiver.ops.secret = 'x'\n", Some(1)),
            ("[controller]\nalerts = { receiver = { } }\n", Some(1)),
            ("[controller.alerts.reciever.ops]\n", Some(0)),
            ("[controller.alerts.\"rec\\u0065iver\".ops]\n", Some(0)),
            (
                "x = 1\n# [controller.alerts.receiver.ops]\nsecret = 'x'\n",
                Some(1),
            ),
            ("[[controller.alerts.receiver]]\n", Some(0)),
        ] {
            assert_eq!(first_secret_line(text), expected, "{text}");
        }
    }
}
