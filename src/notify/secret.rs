//! What nobody may see: tokens, passwords, and addresses that hold one.

use crate::manifest::shown;
use std::{fmt, path::PathBuf};

/// What stands where a secret is not shown.
pub const HIDDEN: &str = "(hidden)";
/// The most bytes of a secret.
pub const MAX_SECRET: usize = 16 * 1024;
/// Shorter parts are not looked for in texts: they would tear up common words.
const MIN_SCRUBBED: usize = 6;

/// A secret, or where it stands. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Itself.
    Value(String),
    /// In this file; white space at its ends does not count.
    File(PathBuf),
    /// In this environment variable.
    Env(String),
}

/// A secret cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret in {path} cannot be read: {why}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set; set it for the controller")]
    Env(String),
    /// There is nothing in it.
    #[error("the secret in {0} is empty, longer than 16 KiB, or has more than one line")]
    Unusable(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Value(_) => write!(f, "Value({HIDDEN})"),
            Secret::File(path) => write!(f, "File({path:?})"),
            Secret::Env(name) => write!(f, "Env({name:?})"),
        }
    }
}

impl Secret {
    /// The value; empty for one that was not [opened](Secret::opened).
    pub fn value(&self) -> &str {
        match self {
            Secret::Value(value) => value,
            Secret::File(_) | Secret::Env(_) => "",
        }
    }

    /// Its value, read from where it stands.
    ///
    /// # Errors
    /// It cannot be read, or is no secret.
    pub fn opened(&self) -> Result<Secret, SecretError> {
        let (text, place) = match self {
            Secret::Value(_) => return Ok(self.clone()),
            Secret::File(path) => (read(path)?, path.display().to_string()),
            Secret::Env(name) => {
                let value = std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
                (value, name.clone())
            }
        };
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_SECRET || text.chars().any(char::is_control) {
            return Err(SecretError::Unusable(shown(&place)));
        }
        Ok(Secret::Value(text.to_owned()))
    }

    /// `text` without this secret; of an address, without what follows its host.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        let value = self.value();
        let mut parts = vec![value];
        if let Some((_, rest)) = value.split_once("://") {
            parts.extend(rest.find('/').map(|at| &rest[at..]));
            parts.extend(value.split_once('?').map(|(_, query)| query));
            // A server often repeats the path alone, or its last, secret part.
            parts.extend(rest.split(['/', '?', '&', '=']).skip(1));
        }
        parts.extend(value.split_whitespace());
        parts.retain(|part| part.len() >= MIN_SCRUBBED);
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let mut text = text.to_owned();
        for part in parts {
            if text.contains(part) {
                text = text.replace(part, HIDDEN);
            }
        }
        text
    }
}

/// At most one byte more than a secret may have.
fn read(path: &std::path::Path) -> Result<String, SecretError> {
    use std::io::Read;
    let mut text = String::new();
    let limit = u64::try_from(MAX_SECRET + 2).unwrap_or(u64::MAX);
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|error| SecretError::File {
            path: shown(&path.display().to_string()),
            why: error.to_string(),
        })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_file_without_the_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "tk_abc\n").unwrap();
        assert_eq!(
            Secret::File(path.clone()).opened(),
            Ok(Secret::Value("tk_abc".into()))
        );
        std::fs::write(&path, "two\nlines\n").unwrap();
        assert!(matches!(
            Secret::File(path).opened(),
            Err(SecretError::Unusable(_))
        ));
        let missing = Secret::File(folder.path().join("none")).opened();
        assert!(missing.unwrap_err().to_string().contains("cannot be read"));
        let unset = Secret::Env("FLEETCTL_NOBODY_SETS_THIS".into()).opened();
        assert!(unset.unwrap_err().to_string().contains("is not set"));
    }

    #[test]
    fn a_secret_shows_in_neither_debug_form_nor_text() {
        let url =
            Secret::Value("https://hooks.test/services/T000/verysecret?key=alsosecret".into());
        assert_eq!(format!("{url:?}"), "Value((hidden))");
        for text in [
            "Cannot POST /services/T000/verysecret?key=alsosecret",
            "no such hook: verysecret",
            "key alsosecret is wrong",
            "https://hooks.test/services/T000/verysecret?key=alsosecret moved",
        ] {
            let scrubbed = url.scrubbed(text);
            assert!(scrubbed.contains(HIDDEN), "{scrubbed}");
            assert!(!scrubbed.contains("verysecret"), "{scrubbed}");
            assert!(!scrubbed.contains("alsosecret"), "{scrubbed}");
        }
        let bearer = Secret::Value("Bearer tk_12345678".into());
        assert_eq!(
            bearer.scrubbed("bad token tk_12345678"),
            "bad token (hidden)"
        );
    }
}
