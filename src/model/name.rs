//! Names of nodes and workloads.

use super::shown;
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr};

/// A DNS label (RFC 1123): 1–63 of `a-z 0-9 -`, neither first nor last a dash.
///
/// Such a name is safe in a topic, a container name, a file name and a host name alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a name: 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit",
    shown(.0)
)]
pub struct NameError(pub String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of `text` as well as can be: lower case, other characters become dashes.
    /// `None` when nothing is left. Used for host names.
    pub fn from_lossy(text: &str) -> Option<Name> {
        let mut out = String::new();
        for c in text.chars().map(|c| c.to_ascii_lowercase()) {
            if c.is_ascii_alphanumeric() {
                out.push(c);
            } else if !out.ends_with('-') {
                out.push('-');
            }
        }
        out.truncate(63);
        out.trim_matches('-').parse().ok()
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Name, NameError> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let ok = (1..=63).contains(&text.len())
            && text.bytes().all(fine)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok {
            Ok(Name(text.into()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Name, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web", "web-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "a b",
            "ü",
            "a+",
            "#",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_becomes_a_name() {
        assert_eq!(
            Name::from_lossy("Pi_4.local").unwrap().as_str(),
            "pi-4-local"
        );
        assert_eq!(Name::from_lossy("___"), None);
    }
}
