//! References to container images, checked against the grammar of the distribution
//! specification: `[registry[:port]/]path[:tag][@algorithm:digest]`.

use super::{shown, span::Flaw};

/// The most bytes of a reference without tag and digest.
const MAX_NAME: usize = 255;
/// Where an image without a registry comes from.
const DEFAULT_REGISTRY: &str = "docker.io";

/// The parts of an image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Registry and path, always both: `docker.io/library/busybox`.
    pub name: String,
    /// Tag, where one is written.
    pub tag: Option<String>,
    /// `algorithm:hex`, where one is written.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Reads a reference. One without a registry is completed as Docker does it, so that every
    /// runtime fetches the same image: `busybox` is `docker.io/library/busybox`.
    ///
    /// # Errors
    /// What is wrong with it, with a hint where the slip is a common one.
    pub fn parse(text: &str) -> Result<ImageReference, Flaw> {
        let wrong = |why: String| {
            Flaw::new(format!(
                "`{}` is not an image reference: {why}",
                shown(text)
            ))
        };
        if text.is_empty() {
            return Err(Flaw::new("an image reference must not be empty"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let flaw = wrong(format!("it must not start with `{}://`", shown(scheme)));
            return Err(flaw.hint(format!("write `{}`", shown(rest))));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(wrong(format!("`{}` is not a digest", shown(digest)))
                .hint("a digest looks like `sha256:` and 64 hexadecimal digits"));
        }
        // A colon after the last slash begins the tag; one before belongs to the registry.
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_slash..].find(':') {
            Some(at) => (&rest[..last_slash + at], Some(&rest[last_slash + at + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(wrong(format!("`{}` is not a tag", shown(tag)))
                .hint("a tag is 1 to 128 letters, digits, `_`, `.` and `-`"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry_like(first) => (first, path.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{name}")),
        };
        if !is_registry(registry) {
            return Err(wrong(format!("`{}` is not a registry", shown(registry)))
                .hint("a registry is a host name or an address, with `:port` where needed"));
        }
        if let Some(part) = path.split('/').find(|part| !is_path_part(part)) {
            return Err(path_flaw(part, name, &wrong));
        }
        let name = format!("{registry}/{path}");
        if name.len() > MAX_NAME {
            return Err(wrong(format!("it is longer than {MAX_NAME} bytes")));
        }
        Ok(ImageReference {
            name,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl std::fmt::Display for ImageReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// What is wrong with `part`, a part of the path of the image `name`.
fn path_flaw(part: &str, name: &str, wrong: &dyn Fn(String) -> Flaw) -> Flaw {
    if part.is_empty() {
        return wrong("a part of its path is empty".to_owned());
    }
    let lower = part.to_ascii_lowercase();
    if lower != part && is_path_part(&lower) {
        return wrong(format!("`{}` has upper-case letters", shown(part)))
            .hint(format!("write `{}`", shown(&name.to_ascii_lowercase())));
    }
    wrong(format!("`{}` cannot be part of its path", shown(part)))
        .hint("a path is made of a-z and 0-9, with single `.`, one or two `_`, or `-` in between")
}

/// Whether the first part of a name with several is its registry rather than part of the path.
fn is_registry_like(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.starts_with('[')
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    if port.is_some_and(|port| super::word::port(port).is_none()) {
        return false;
    }
    match host.strip_prefix('[') {
        Some(v6) => v6
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => super::word::is_host(host),
    }
}

/// Runs of `a-z0-9`, separated by one `.`, one or two `_`, or any number of `-`.
fn is_path_part(part: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    // What stands between the runs; the text before the first and after the last is empty.
    part.starts_with(fine) && part.ends_with(fine) && part.split(fine).all(separator)
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// `algorithm:hex` with at least 32 digits; `sha256` and `sha512` have exactly theirs.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => hex.len() == 64,
        "sha512" => hex.len() == 128,
        _ => (32..=256).contains(&hex.len()),
    };
    length
        && hex
            .bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        && algorithm.starts_with(|c: char| c.is_ascii_lowercase())
        && algorithm.len() <= 32
        && algorithm
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_completed() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, name, tag) in [
            ("busybox", "docker.io/library/busybox", None),
            ("busybox:1.36", "docker.io/library/busybox", Some("1.36")),
            ("acme/web_app:v1", "docker.io/acme/web_app", Some("v1")),
            (
                "registry.example/a/b-c--d:1.2.0",
                "registry.example/a/b-c--d",
                Some("1.2.0"),
            ),
            (
                "registry.example:5000/a__b",
                "registry.example:5000/a__b",
                None,
            ),
            ("localhost/a.b", "localhost/a.b", None),
            ("[::1]:5000/a:_x", "[::1]:5000/a", Some("_x")),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a", None),
        ] {
            let image = ImageReference::parse(text).unwrap();
            assert_eq!(
                (image.name.as_str(), image.tag.as_deref()),
                (name, tag),
                "{text}"
            );
            let pinned = ImageReference::parse(&format!("{text}@{digest}")).unwrap();
            assert_eq!(pinned.digest.as_ref(), Some(&digest));
            assert_eq!(ImageReference::parse(&pinned.to_string()), Ok(pinned));
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = format!("registry.example/{}", "a".repeat(300));
        for text in [
            "",
            " ",
            "a b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a//b",
            "/a",
            "a/",
            ":1",
            "a:",
            "a:-1",
            "a@",
            "a@sha256:12",
            "a:1:2",
            "a@sha256:1@b",
            "registry.example:0/a",
            "registry.example:99999/a",
            "-x.example/a",
            "[::g]/a",
            "ü",
            "a:ü",
            long.as_str(),
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn common_slips_get_a_hint() {
        for (text, hint) in [
            (
                "registry.example/Acme/web:1",
                "write `registry.example/acme/web`",
            ),
            ("Busybox", "write `busybox`"),
            (
                "https://registry.example/web",
                "write `registry.example/web`",
            ),
        ] {
            let flaw = ImageReference::parse(text).unwrap_err();
            assert_eq!(flaw.hint.as_deref(), Some(hint), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_idempotent(text in "[a-zA-Z0-9.:/@_-]{0,40}") {
            if let Ok(image) = ImageReference::parse(&text) {
                prop_assert_eq!(ImageReference::parse(&image.to_string()), Ok(image));
            }
        }
    }
}
