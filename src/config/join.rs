//! How an agent joins.

use crate::manifest::Flaw;
use std::{fmt, path::PathBuf, str::FromStr};

/// The most bytes of a token.
const MAX_TOKEN: usize = 4_096;

/// Where the token of a join line comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinSource {
    /// It was given.
    Token(JoinToken),
    /// It is in this file, which is read when the agent joins.
    File(PathBuf),
}

/// The token of a join line. Never shown: it has a secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(Box<str>);

impl JoinToken {
    /// Any one word; what it means is for whoever joins with it.
    ///
    /// # Errors
    /// More than one word, or none.
    pub fn parse(text: &str) -> Result<JoinToken, Flaw> {
        let text = text.trim();
        if (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(JoinToken(text.into()));
        }
        Err(Flaw::new("the join token is not one word").hint("copy it from the join line again"))
    }

    /// The token, for joining.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for JoinToken {
    type Err = Flaw;
    fn from_str(text: &str) -> Result<JoinToken, Flaw> {
        JoinToken::parse(text)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(…)")
    }
}
