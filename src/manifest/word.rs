//! Words that several keys have in common: names, paths, hosts, texts.

use super::{shown, span::Flaw};
use crate::model::{Operator, Requirement, version_flaw};

/// The most bytes of a path.
const MAX_PATH: usize = 4_096;
/// The most bytes of one value of the environment or one word of a command.
const MAX_TEXT: usize = 32 * 1024;

/// An absolute path without `..`, control characters or a trailing slash.
pub(crate) fn absolute_path(text: &str) -> Result<String, Flaw> {
    let word = shown(text);
    if !text.starts_with('/') {
        let flaw = Flaw::new(format!("`{word}` is not an absolute path"));
        return Err(flaw.hint("begin it with `/`"));
    }
    if text.len() > MAX_PATH || text.chars().any(char::is_control) {
        return Err(Flaw::new(format!("`{word}` is not a path")));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Flaw::new(format!("`{word}` must not contain `..`")));
    }
    Ok(match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    })
}

/// The same where templates may be: it may begin with one that becomes the absolute path, or the
/// first part of it.
pub(crate) fn node_path(text: &str) -> Result<String, Flaw> {
    match after_template(text) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let path = absolute_path(&format!("/{text}"))?;
            Ok(path.trim_start_matches('/').to_owned())
        }
        _ => absolute_path(text),
    }
}

/// What follows a template with which `text` begins.
pub(crate) fn after_template(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?;
    inner.find("}}").map(|end| &inner[end + 2..])
}

/// The parts of `text` between the colons, of which those in templates are none.
pub(crate) fn parts_by_colon(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find([':', '{']) {
        at += found;
        if text[at..].starts_with(':') {
            parts.push(&text[start..at]);
            start = at + 1;
        } else if let Some(rest) = after_template(&text[at..]) {
            at = text.len() - rest.len();
            continue;
        }
        at += 1;
    }
    parts.push(&text[start..]);
    parts
}

/// What engines call their volumes, networks and containers: letters, digits, `_`, `.` and `-`,
/// at most 128 bytes, the first a letter or a digit. `what` is such a thing, as in `a volume`.
pub(crate) fn engine_name(text: &str, what: &str) -> Result<String, Flaw> {
    let fine = (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fine {
        return Ok(text.to_owned());
    }
    Err(
        Flaw::new(format!("`{}` is not the name of {what}", shown(text)))
            .hint("write letters, digits, `_`, `.` and `-`, beginning with a letter or a digit"),
    )
}

/// `user`, `uid`, `user:group` or `uid:gid`.
pub(crate) fn user(text: &str) -> Result<String, Flaw> {
    let part = |part: &str| {
        (1..=64).contains(&part.len())
            && !part.starts_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b))
    };
    let fine = match text.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(text),
    };
    if fine {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!("`{}` is not a user", shown(text)))
        .hint("write a name or a number, with `:group` where needed"))
}

/// The user's word for an edition.
pub(crate) fn version(text: &str) -> Result<String, Flaw> {
    if let Some(why) = version_flaw(text) {
        let flaw = Flaw::new(format!("`{}` is not a version: {why}", shown(text)));
        return Err(flaw.hint("write 1 to 128 bytes of printable text, as in \"1.2.0\""));
    }
    if text.contains("{{") {
        let flaw = Flaw::new("`version` must not contain a template: it is the same on every node");
        return Err(flaw.hint("`{{ var.<name> }}` is one that may be"));
    }
    Ok(text.to_owned())
}

/// One of the user's words to find a workload by: 1 to 64 bytes, printable.
pub(crate) fn tag(text: &str) -> Result<String, Flaw> {
    let fine = (1..=64).contains(&text.len())
        && !text.contains("{{")
        && !text.chars().any(char::is_control);
    if fine {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!("`{}` is not a tag", shown(text)))
        .hint("write 1 to 64 bytes of printable text"))
}

/// `package.module:function`.
pub(crate) fn callable(text: &str) -> Result<String, Flaw> {
    let identifier = |word: &str| {
        word.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let dotted = |words: &str| words.split('.').all(identifier);
    let fine =
        |module: &str, function: &str| text.len() <= 256 && dotted(module) && dotted(function);
    match text.split_once(':') {
        Some((module, function)) if fine(module, function) => Ok(text.to_owned()),
        None if fine(text, "main") => {
            Err(
                Flaw::new(format!("`{}` names no function", shown(text))).hint(format!(
                    "write \"{}:main\", or the function that is meant",
                    shown(text)
                )),
            )
        }
        _ => Err(
            Flaw::new(format!("`{}` is not a Python callable", shown(text)))
                .hint("write \"package.module:function\""),
        ),
    }
}

/// The key of a label: what stands in front of `=` in a requirement.
pub(crate) fn label_key(text: &str) -> Result<String, Flaw> {
    match Requirement::try_from(text.to_owned()) {
        Ok(read) if read.operator == Operator::Has && read.key == text => Ok(read.key),
        _ => Err(Flaw::new(format!("`{}` is not a label", shown(text)))
            .hint("write its key without a value, as in \"zone\"")),
    }
}

/// One word of a command.
pub(crate) fn argument(text: &str) -> Result<String, Flaw> {
    if text.len() > MAX_TEXT || text.contains('\0') {
        return Err(Flaw::new(
            "a word of a command is at most 32 KiB and has no NUL character",
        ));
    }
    Ok(text.to_owned())
}

/// An entry of the environment.
pub(crate) fn env_entry(key: &str, value: &str) -> Result<(), Flaw> {
    let fine = (1..=256).contains(&key.len())
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !fine {
        return Err(Flaw::new(format!(
            "`{}` is not the name of an environment variable",
            shown(key)
        ))
        .hint("write letters, digits and `_`, not beginning with a digit"));
    }
    if value.len() > MAX_TEXT || value.contains('\0') {
        return Err(Flaw::new(format!(
            "the value of `{key}` must be at most 32 KiB and have no NUL character"
        )));
    }
    Ok(())
}

/// A port, 1 to 65535, in digits only.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// A host name or an IPv4 address: labels of letters, digits and `-`, joined by dots.
pub(crate) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(absolute_path("/a/b/"), Ok("/a/b".to_owned()));
        assert_eq!(absolute_path("/"), Ok("/".to_owned()));
        for text in [
            "",
            "a",
            "./a",
            "~/a",
            "/a/../b",
            "/a\n",
            "/\0",
            &"/a".repeat(4_000),
        ] {
            assert!(absolute_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_with_templates() {
        for text in ["/a", "/a/{{ env.B }}", "{{ env.B }}", "{{ env.B }}/c"] {
            assert_eq!(node_path(text).as_deref(), Ok(text));
        }
        for text in [
            "a",
            "{{ env.B }}c",
            "{{ env.B }}/../c",
            "{{ env.B",
            "a{{ env.B }}",
        ] {
            assert!(node_path(text).is_err(), "{text}");
        }
        for (text, parts) in [
            ("", vec![""]),
            ("a:/b:ro", vec!["a", "/b", "ro"]),
            (":", vec!["", ""]),
            ("/x/{{ label.a:b }}:/c", vec!["/x/{{ label.a:b }}", "/c"]),
            ("{:{{ a:", vec!["{", "{{ a", ""]),
        ] {
            assert_eq!(parts_by_colon(text), parts, "{text}");
        }
    }

    #[test]
    fn callables_and_tags() {
        for text in ["app:main", "a.b.c:f", "_a1:Class.method", "größe:f"] {
            assert_eq!(callable(text).as_deref(), Ok(text));
        }
        for text in [
            "", "app", ":f", "a:", "a..b:f", "1a:f", "a-b:f", "a:f()", "a:f:g", "a b:f",
        ] {
            assert!(callable(text).is_err(), "{text}");
        }
        assert!(tag("plant 1").is_ok());
        for text in ["", "a\n", "{{ node.name }}", &"x".repeat(65)] {
            assert!(tag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn users_versions_and_variables() {
        for text in ["root", "1000", "1000:1000", "www-data", "a:b"] {
            assert!(user(text).is_ok(), "{text}");
        }
        for text in ["", ":", "a:", ":b", "a:b:c", "-a", "a b"] {
            assert!(user(text).is_err(), "{text}");
        }
        assert!(version("1.2.0 (blue)").is_ok());
        for text in [
            "",
            " ",
            "a\nb",
            "1\u{202e}2",
            "{{ node.name }}",
            &"x".repeat(129),
        ] {
            assert!(version(text).is_err(), "{text}");
        }
        assert!(env_entry("MODE_1", "x y").is_ok());
        for (key, value) in [
            ("", "x"),
            ("1A", "x"),
            ("A=B", "x"),
            ("A B", "x"),
            ("A", "\0"),
        ] {
            assert!(env_entry(key, value).is_err(), "{key}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(port("65535"), Some(65_535));
        for text in ["", "0", "+1", "-1", "65536", "1 ", "http"] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    #[test]
    fn hosts() {
        for text in ["a", "10.0.0.1", "control.example", "pi-4"] {
            assert!(is_host(text), "{text}");
        }
        for text in ["", ".", "a..b", "-a", "a-", "a_b", "ü", &"a".repeat(64)] {
            assert!(!is_host(text), "{text}");
        }
    }
}
