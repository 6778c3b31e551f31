//! Where spans go, and the headers that whoever takes them wants to see.

use crate::manifest::Flaw;
use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use std::path::{Path, PathBuf};

/// Bytes of a file with headers.
const MAX_FILE: usize = 16 * 1024;
/// Headers in it.
const MAX_HEADERS: usize = 16;

/// An OTLP/HTTP endpoint, as in `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    text: String,
    /// It is `https`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is asked for.
    pub path: String,
}

impl OtlpEndpoint {
    /// From a URL.
    ///
    /// # Errors
    /// No URL of `http` or `https`, or one with a password or anything behind a `?`, which would
    /// end up in logs.
    pub fn parse(text: &str) -> Result<OtlpEndpoint, Flaw> {
        let wrong = |why: &str| {
            Flaw::new(format!("this is no OTLP endpoint: {why}"))
                .hint("write a URL, as in \"http://127.0.0.1:4318\"")
        };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            let flaw = wrong("it has a user name or a password in it");
            return Err(flaw.hint("put `Authorization: …` into `otlp_headers_file`"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has something behind a `?`"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(OtlpEndpoint {
            text: text.to_owned(),
            tls,
            host,
            port,
            path: format!("{}/v1/traces", uri.path().trim_end_matches('/')),
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For the header `Host`.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Headers of every request; their values are secrets.
#[derive(Clone, Default)]
pub struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(n, _)| n))
            .finish()
    }
}

/// Why a file with headers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadersError {
    /// It cannot be read.
    #[error("the file with headers {path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something else.
    #[error("{path}:{line}: {why}; write one `Name: value` a line")]
    Line {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong with it, without what it says.
        why: &'static str,
    },
}

impl Headers {
    /// From a file with one `Name: value` a line; empty lines and those with `#` are left out.
    ///
    /// # Errors
    /// [`HeadersError`], which never shows a value.
    pub fn read(path: &Path) -> Result<Headers, HeadersError> {
        use std::io::Read;
        let failed = |source| HeadersError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut text = String::new();
        let mut limited = file.take(MAX_FILE as u64);
        limited.read_to_string(&mut text).map_err(failed)?;
        Headers::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Headers, HeadersError> {
        let mut all = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| HeadersError::Line {
                path: path.to_owned(),
                line: index + 1,
                why,
            };
            if all.len() >= MAX_HEADERS {
                return Err(wrong("there are more than 16 headers"));
            }
            let (name, value) = line.split_once(':').ok_or(wrong("there is no colon"))?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong("this is no name"))?;
            let mut value =
                HeaderValue::from_str(value.trim()).map_err(|_| wrong("this is no value"))?;
            value.set_sensitive(true);
            all.push((name, value));
        }
        Ok(Headers(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_secrets() {
        for (text, authority, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://[::1]:4318/", "[::1]:4318", "/v1/traces"),
            (
                "https://otel.example/in/",
                "otel.example:443",
                "/in/v1/traces",
            ),
            ("http://otel", "otel:80", "/v1/traces"),
        ] {
            let endpoint = OtlpEndpoint::parse(text).unwrap();
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.path, path);
            assert_eq!(endpoint.as_str(), text);
        }
        for text in [
            "",
            "localhost:4318",
            "grpc://x:4317",
            "http://",
            "http://user:secret@x:1",
            "https://x/?token=secret",
            "http://x y",
        ] {
            let flaw = OtlpEndpoint::parse(text).unwrap_err();
            assert!(!flaw.message.contains("secret"), "{text}: {flaw:?}");
        }
    }

    #[test]
    fn headers_are_read_and_what_is_wrong_is_said_without_their_values() {
        let path = Path::new("h");
        let text = "# for the collector\n\nAuthorization: Bearer a:b\nx-org:  1 \n";
        let headers = Headers::parse(path, text).unwrap();
        let all: Vec<_> = headers
            .0
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        assert_eq!(all, [("authorization", "Bearer a:b"), ("x-org", "1")]);
        assert!(!format!("{headers:?}").contains("Bearer"));
        for wrong in ["secret", "a b: secret", "x: secret\u{1}", ": secret"] {
            let said = Headers::parse(path, wrong).unwrap_err().to_string();
            assert!(said.starts_with("h:1: "), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(Headers::parse(path, &"x: y\n".repeat(17)).is_err());
    }
}
