//! Where something went wrong in a text that a person wrote, and how that is shown.
//!
//! A [`Source`] is the text, a [`Problem`] is one thing that is wrong at one place of it, and
//! [`Problems`] are all of them in the order of the text: a person mends a file once, not once per
//! mistake. A reader of one word (a port, a size, an address) knows no place; it returns a
//! [`Flaw`], and whoever called it adds the place.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, io::Read, ops::Range, path::Path};
use utoipa::ToSchema;

/// The largest text that is read, bytes: 1 MiB.
pub const MAX_SOURCE_BYTES: usize = 1024 * 1024;

/// The most problems that are reported for one text.
pub const MAX_PROBLEMS: usize = 100;

/// The longest part of a source line that is shown, characters.
const MAX_SHOWN: usize = 120;

/// A text and what it is called in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// File name as the user gave it, or `standard input`.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Texts of files beside it, by the path that it calls them by ([`super::wanted_files`]).
    pub files: BTreeMap<String, String>,
    /// What the directory is called that it is in, where `name` does not say it.
    pub directory: Option<String>,
}

impl Source {
    /// A text that is already in memory.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source {
            name: name.into(),
            text: text.into(),
            files: BTreeMap::new(),
            directory: None,
        }
    }

    /// Reads a file of at most [`MAX_SOURCE_BYTES`].
    ///
    /// # Errors
    /// It cannot be opened or read, is too large, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Source, Problems> {
        let name = path.display().to_string();
        match std::fs::File::open(path) {
            Ok(file) => Source::from_reader(name, file),
            Err(error) => Err(Problem::without_place(
                name,
                Flaw::new(format!("cannot open the file: {error}")),
            )
            .into()),
        }
    }

    /// Reads at most [`MAX_SOURCE_BYTES`] from `reader`, as for standard input.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not UTF-8.
    pub fn from_reader(name: impl Into<String>, reader: impl Read) -> Result<Source, Problems> {
        let name = name.into();
        let mut bytes = Vec::new();
        let flaw = match reader
            .take(MAX_SOURCE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
        {
            Err(error) => Flaw::new(format!("cannot read the file: {error}")),
            Ok(_) if bytes.len() > MAX_SOURCE_BYTES => too_large(),
            Ok(_) => match String::from_utf8(bytes) {
                Ok(text) => return Ok(Source::new(name, text)),
                Err(error) => Flaw::new(format!(
                    "the file is not UTF-8 text: byte {} is no part of a character",
                    error.utf8_error().valid_up_to() + 1
                )),
            },
        };
        Err(Problem::without_place(name, flaw).into())
    }

    /// `flaw`, found at the bytes `span` of this text. A span beyond the text points at its end.
    pub fn problem(&self, span: Range<usize>, flaw: Flaw) -> Problem {
        let start = boundary(&self.text, span.start);
        let end = boundary(&self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |length| start + length);
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let marked = self.text[start..end.min(line_end)]
            .trim_end_matches('\r')
            .chars()
            .count();
        let line_text = self.text[line_start..line_end].trim_end_matches('\r');
        Problem {
            file: self.name.clone(),
            line: line as u32,
            column: column as u32,
            message: flaw.message,
            hint: flaw.hint,
            snippet: snippet(line, line_text, column, marked),
        }
    }
}

/// What is said of a text that is larger than [`MAX_SOURCE_BYTES`].
pub(crate) fn too_large() -> Flaw {
    Flaw::new("the file is larger than 1 MiB").hint("split it into several files")
}

/// The last character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The source line with a caret below, in a gutter as `rustc` draws it. Three lines.
fn snippet(line: usize, text: &str, column: usize, marked: usize) -> String {
    // A window of a long line, with some characters before the place.
    let skipped = if column > MAX_SHOWN - 20 {
        column - 40
    } else {
        0
    };
    let shown: String = text
        .chars()
        .skip(skipped)
        .take(MAX_SHOWN)
        // One character per character, so that the caret stands below its place.
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let before = column - 1 - skipped;
    let carets = marked.min(MAX_SHOWN - before.min(MAX_SHOWN)).max(1);
    let gutter = " ".repeat(line.to_string().len());
    format!(
        "{gutter} |\n{line} | {}\n{gutter} | {}{}",
        shown.trim_end(),
        " ".repeat(before),
        "^".repeat(carets)
    )
}

/// What is wrong with one word, without a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct Flaw {
    /// What is wrong, one sentence without a final stop.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl Flaw {
    /// Without a hint.
    pub fn new(message: impl Into<String>) -> Flaw {
        Flaw {
            message: message.into(),
            hint: None,
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Flaw {
        self.hint = Some(hint.into());
        self
    }
}

/// One thing that is wrong, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Name of the file; `command line` where a flag or an environment variable is to blame.
    pub file: String,
    /// From 1; 0 where there is no place.
    pub line: u32,
    /// From 1, in characters; 0 where there is no place.
    pub column: u32,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source line with a caret below it; empty where there is no place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snippet: String,
}

impl Problem {
    /// About `file` as a whole.
    pub fn without_place(file: impl Into<String>, flaw: Flaw) -> Problem {
        Problem {
            file: file.into(),
            line: 0,
            column: 0,
            message: flaw.message,
            hint: flaw.hint,
            snippet: String::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let gutter = " ".repeat(if self.line == 0 {
            1
        } else {
            self.line.to_string().len()
        });
        if self.line == 0 {
            write!(f, "\n{gutter}--> {}", self.file)?;
        } else {
            write!(
                f,
                "\n{gutter}--> {}:{}:{}",
                self.file, self.line, self.column
            )?;
        }
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{gutter} = help: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of the text; never empty, at most [`MAX_PROBLEMS`] for
/// each text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_drawn_with_its_line_and_a_caret() {
        let source = Source::new("app.toml", "a = 1\r\n\tß = \"x\"\r\n");
        let start = source.text.find('"').unwrap();
        let flaw = Flaw::new("`ß` must be a number").hint("write `1`");
        let problem = source.problem(start..start + 3, flaw);
        assert_eq!((problem.line, problem.column), (2, 6));
        assert_eq!(
            problem.to_string(),
            "error: `ß` must be a number\n --> app.toml:2:6\n  |\n2 |  ß = \"x\"\n  |      ^^^\n  \
             = help: write `1`"
        );
    }

    #[test]
    fn any_span_gives_a_problem() {
        for text in ["", "ü", "a\n", "a\nb", &"x".repeat(5_000)] {
            let source = Source::new("t", text);
            for start in [0, 1, 2, 3, 4_990, 9_999] {
                for end in [0, 1, 4, 5_000, 99_999] {
                    let problem = source.problem(start..end, Flaw::new("m"));
                    assert!(problem.line >= 1 && problem.column >= 1);
                    assert!(problem.snippet.chars().count() < 3 * MAX_SHOWN);
                    assert!(problem.snippet.contains('^'));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let large = vec![b'a'; MAX_SOURCE_BYTES + 1];
        let problems = Source::from_reader("f", large.as_slice()).unwrap_err();
        assert!(
            problems.to_string().contains("larger than 1 MiB"),
            "{problems}"
        );
        let problems = Source::from_reader("f", &b"ab\xff"[..]).unwrap_err();
        assert!(problems.to_string().contains("byte 3"), "{problems}");
        let problems = Source::read(Path::new("/does/not/exist.toml")).unwrap_err();
        assert!(
            problems.to_string().contains("/does/not/exist.toml"),
            "{problems}"
        );
    }
}
