//! Topics and filters, as MQTT 3.1.1 §4.7 defines them, without any state.
//!
//! This broker takes less than MQTT allows: printable ASCII only. Device-made topics reach logs,
//! metrics and shells, and nobody names a fleet's topics otherwise.

/// May a client publish to `topic`? Not empty, at most `max` bytes, printable ASCII, no wildcard,
/// and not below `$`, which is the server's.
pub fn valid_topic(topic: &str, max: usize) -> bool {
    printable(topic, max) && !topic.starts_with('$') && !topic.contains(['+', '#'])
}

/// Is `filter` well formed? Not empty, at most `max` bytes, printable ASCII; `+` fills a whole
/// level, `#` fills the last one.
pub fn valid_filter(filter: &str, max: usize) -> bool {
    if !printable(filter, max) {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let wild = level.contains(['+', '#']);
        if wild && level != "+" && !(level == "#" && last) {
            return false;
        }
    }
    true
}

/// Has `filter` a wildcard?
pub fn is_wild(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// Does the (valid) `filter` match the (valid) `topic`? A wildcard in the first level does not
/// match a topic that begins with `$` (MQTT-4.7.2-1).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut wanted = filter.split('/');
    let mut given = topic.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Does the (valid) filter `allowed` match every topic that the (valid) filter `requested` matches?
pub fn covers(allowed: &str, requested: &str) -> bool {
    if requested.starts_with('$') && allowed.starts_with(['+', '#']) {
        return false;
    }
    let mut allow = allowed.split('/');
    let mut ask = requested.split('/');
    loop {
        match (allow.next(), ask.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(have), Some(want)) if have == want => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// What every topic that `filter` matches begins with: an ordered store reads only that range.
pub fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        None => filter,
        // `a/#` matches `a` too, so the separator before `#` is not part of the prefix.
        Some(at) if filter.as_bytes()[at] == b'#' => {
            let prefix = &filter[..at];
            prefix.strip_suffix('/').unwrap_or(prefix)
        }
        Some(at) => &filter[..at],
    }
}

fn printable(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn topics() {
        for good in ["a", "/", "fleet/state/n1", "a b/c", "a//b"] {
            assert!(valid_topic(good, 64), "{good}");
        }
        for bad in [
            "",
            "a/+",
            "#",
            "$SYS/x",
            "ä/b",
            "a\u{0}b",
            "a\nb",
            "\u{1F600}",
        ] {
            assert!(!valid_topic(bad, 64), "{bad}");
        }
        assert!(valid_topic("abcd", 4));
        assert!(!valid_topic("abcde", 4));
    }

    #[test]
    fn filters() {
        for good in ["#", "+", "a/+/b", "a/#", "+/+/#", "/", "$SYS/#"] {
            assert!(valid_filter(good, 64), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+", "+a/b", "##", "a/+b", "ö"] {
            assert!(!valid_filter(bad, 64), "{bad}");
        }
    }

    /// The examples of MQTT 3.1.1 §4.7.1 and §4.7.2.
    #[test]
    fn matching() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/b", "a/b", true),
            ("a/b", "A/b", false),
            ("a/b", "a/b/", false),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn covering() {
        let cases = [
            ("a/#", "a/#", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/+", "a/+", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/+/#", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("#", "+/+", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ];
        for (allowed, requested, expected) in cases {
            assert_eq!(
                covers(allowed, requested),
                expected,
                "{allowed} over {requested}"
            );
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(literal_prefix("a/b"), "a/b");
        assert_eq!(literal_prefix("a/#"), "a");
        assert_eq!(literal_prefix("a/+/c"), "a/");
        assert_eq!(literal_prefix("#"), "");
        assert_eq!(literal_prefix("+/#"), "");
    }

    proptest! {
        #[test]
        fn what_is_covered_matches(
            allowed in "([ab+]/){0,3}([ab+#])",
            requested in "([ab+]/){0,3}([ab+#])",
            topic in "([ab]/){0,4}[ab]",
        ) {
            if covers(&allowed, &requested) && matches(&requested, &topic) {
                prop_assert!(matches(&allowed, &topic));
            }
        }

        #[test]
        fn a_match_begins_with_the_prefix(
            filter in "([ab+]/){0,3}([ab+#])",
            topic in "([ab]/){0,4}[ab]",
        ) {
            if matches(&filter, &topic) {
                prop_assert!(topic.starts_with(literal_prefix(&filter)));
            }
        }
    }
}
