//! Words that several keys have in common: names, paths, hosts, texts.

use super::{shown, span::Flaw};

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

/// What engines call their volumes and networks: letters, digits, `_`, `.` and `-`, at most 64
/// bytes, the first a letter or a digit. `what` is such a thing, as in `a volume`.
pub(crate) fn engine_name(text: &str, what: &str) -> Result<String, Flaw> {
    let fine = (1..=64).contains(&text.len())
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

/// The user's word for an edition: 1 to 128 bytes, printable.
pub(crate) fn version(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(Flaw::new(format!(
            "`{}` is not a version: 1 to 128 bytes of printable text",
            shown(text)
        )));
    }
    Ok(text.to_owned())
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
    fn users_versions_and_variables() {
        for text in ["root", "1000", "1000:1000", "www-data", "a:b"] {
            assert!(user(text).is_ok(), "{text}");
        }
        for text in ["", ":", "a:", ":b", "a:b:c", "-a", "a b"] {
            assert!(user(text).is_err(), "{text}");
        }
        assert!(version("1.2.0 (blue)").is_ok());
        for text in ["", "a\nb", &"x".repeat(129)] {
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
