//! Words of an archive that travel on: names, media types, platforms. They come to stand in URLs,
//! headers, tables and command lines, so each has the form that such a word has, or the archive is
//! refused.

use super::{ImageError, Platform};

/// Of a whole name, bytes, as registries have it.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
/// Of either side of a media type.
const MAX_TYPE: usize = 127;
/// Of a word of a platform.
const MAX_WORD: usize = 32;

/// Whether an image can be called so: `[host[:port]/]path[:tag]`, where the parts of the path are
/// lower-case letters and digits, with `.`, `_`, `__` or dashes only between them.
pub(crate) fn is_name(name: &str) -> bool {
    let (host, rest) = match name.split_once('/') {
        // As Docker tells a host from the first part of a path.
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => {
            (Some(first), rest)
        }
        _ => (None, name),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    name.len() <= MAX_NAME
        && host.is_none_or(is_host)
        && path.split('/').all(is_part)
        && tag.is_none_or(is_tag)
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((address, port)) => {
            let port = port.strip_prefix(':').or(port.is_empty().then_some("0"));
            return address.parse::<std::net::Ipv6Addr>().is_ok() && port.is_some_and(is_port);
        }
        None => text.split_once(':').unwrap_or((text, "0")),
    };
    let fine = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !part.is_empty()
            && part.bytes().all(plain)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    host.split('.').all(fine) && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_part(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut between = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    part.bytes().next().is_some_and(word)
        && part.bytes().next_back().is_some_and(word)
        && between.all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let begins = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.bytes().next().is_some_and(begins)
        && tag.bytes().all(|b| begins(b) || b".-".contains(&b))
        && tag.len() <= MAX_TAG
}

/// That a name which an archive gives is one.
pub(super) fn name(name: &str) -> Result<(), ImageError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(ImageError::new(format!(
            "the archive calls its image `{}`, which is no name of an image: give it one with --as",
            shown(name)
        ))),
    }
}

/// That `text` is `type/subtype`, as RFC 6838 has it. `of`: what it is the type of.
pub(super) fn media_type(text: &str, of: &str) -> Result<(), ImageError> {
    let fine = |side: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        side.bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
            && side.bytes().all(plain)
            && side.len() <= MAX_TYPE
    };
    match text.split_once('/') {
        Some((kind, subtype)) if fine(kind) && fine(subtype) => Ok(()),
        _ => Err(ImageError::new(format!(
            "the media type of {of} is `{}`, and one is like \
             application/vnd.oci.image.manifest.v1+json: the archive is damaged, or somebody \
             changed it",
            shown(text)
        ))),
    }
}

/// That a platform is one in all its words. `of`: what says it.
pub(super) fn platform(platform: &Platform, of: &str) -> Result<(), ImageError> {
    let fine = |word: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        !word.is_empty() && word.len() <= MAX_WORD && word.bytes().all(plain)
    };
    let words = [&platform.os, &platform.architecture];
    match words.into_iter().chain(&platform.variant).all(|w| fine(w)) {
        true => Ok(()),
        false => Err(ImageError::new(format!(
            "{of} says that the image is for `{}`, which is no platform like linux/arm64 or \
             linux/arm/v7",
            shown(&platform.to_string())
        ))),
    }
}

/// For a sentence: short, and nothing in it that a terminal would do.
fn shown(text: &str) -> String {
    let visible = text.chars().take(80).flat_map(char::escape_debug);
    visible.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_form_that_registries_take() {
        for fine in [
            "app",
            "app:1",
            "me/app:v1.2-rc_1",
            "r.example:5000/a/b-c--d/e__f.g_h:X",
            "localhost/app",
            "[::1]:5000/app:1",
            "docker.io/library/app:latest",
            "app:_x",
        ] {
            assert!(is_name(fine), "{fine}");
        }
        let long = format!("app:{}", "x".repeat(129));
        for wrong in [
            "",
            "-rf",
            "--as",
            "a/-rf",
            "app-",
            ".app",
            "a..b",
            "a___b",
            "a._b",
            "App",
            "app:",
            "app:-x",
            "app:.x",
            "app:1:2",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a\nb",
            "ü",
            "app@sha256:00",
            "r.example:x/a",
            "r.example:/a",
            "r.example:99999/a",
            "-r.example/a",
            "r..example/a",
            "[::1/a",
            "[x]/a",
            "<none>:<none>",
            &long,
        ] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn media_types_are_two_words_and_no_more() {
        for fine in [
            "application/vnd.oci.image.manifest.v1+json",
            "a/b",
            "text/x-y_z",
        ] {
            assert!(media_type(fine, "x").is_ok(), "{fine}");
        }
        let long = format!("a/{}", "b".repeat(128));
        for wrong in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b\r\nX-Evil: 1",
            "a/b\0",
            "a/b c",
            "a/b/c",
            "a/ü",
            "a/b;c=d",
            ".a/b",
            &long,
        ] {
            let why = media_type(wrong, "x").unwrap_err().to_string();
            assert!(!why.contains(['\r', '\n', '\0']), "{why}");
        }
    }

    #[test]
    fn platforms_are_plain_words() {
        let of = |os: &str, arch: &str, variant: Option<&str>| Platform {
            os: os.to_owned(),
            architecture: arch.to_owned(),
            variant: variant.map(str::to_owned),
        };
        assert!(platform(&of("linux", "arm", Some("v7")), "x").is_ok());
        assert!(platform(&of("linux", "unknown", None), "x").is_ok());
        for wrong in [
            of("Linux", "arm", None),
            of("linux", "arm64\u{1b}[2J", None),
            of("linux", "arm/v7", None),
            of("", "arm", None),
            of("linux", "arm", Some("v7\n")),
            of("linux", "arm", Some("")),
            of("linux", &"a".repeat(33), None),
        ] {
            assert!(platform(&wrong, "x").is_err(), "{wrong:?}");
        }
    }
}
