//! Takes what only a developer's eye needs out of scripts and stylesheets: comments that stand on
//! lines of their own, blank lines, indentation, and blanks beside marks that need none: after commas,
//! and in stylesheets also beside braces and semicolons and after colons. Shared by `src/build.rs` and the tests of the assets.
//!
//! It is no minifier: every other line stays, and what stands on it means the same.
//! To know what is a comment it reads texts, templates and regular expressions as a script does; where
//! it loses its way it says so, and nothing is built.

/// `text` without them; the error is the number of the line that it did not understand.
pub fn stripped(path: &str, text: &str) -> Result<String, usize> {
    let script = path.ends_with(".js");
    if !script && !path.ends_with(".css") {
        return Ok(text.to_owned());
    }
    let mut scan = Scan {
        text: text.as_bytes(),
        script,
        at: 0,
        comments: Vec::new(),
        lines: vec![0],
        blanks: Vec::new(),
    };
    if scan.run().is_none() {
        let read = scan.text.iter().take(scan.at);
        return Err(1 + read.filter(|&&byte| byte == b'\n').count());
    }
    let mut idle: Vec<(usize, usize)> = Vec::new();
    for &(from, to) in &scan.comments {
        let line = text[..from].rfind('\n').map_or(0, |at| at + 1);
        let next = text[to..].find('\n').map_or(text.len(), |at| to + at + 1);
        if text[line..from].trim().is_empty() && text[to..next].trim().is_empty() {
            idle.push((line, next));
        }
    }
    for from in scan.lines {
        let rest = text[from..].trim_start_matches([' ', '\t']);
        let to = text.len() - rest.len();
        idle.push((from, to + usize::from(rest.starts_with('\n'))));
    }
    idle.append(&mut scan.blanks);
    idle.sort_unstable();
    let mut kept = String::with_capacity(text.len());
    let mut end = 0;
    for (from, to) in idle {
        if from > end {
            kept.push_str(&text[end..from]);
        }
        end = end.max(to);
    }
    kept.push_str(&text[end..]);
    Ok(kept)
}

struct Scan<'a> {
    text: &'a [u8],
    script: bool,
    at: usize,
    comments: Vec<(usize, usize)>,
    /// Where a line begins within neither a text nor a template nor a comment.
    lines: Vec<usize>,
    /// Blanks, within neither, that nothing needs.
    blanks: Vec<(usize, usize)>,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// Whether a blank, that is within neither a text nor a template nor a comment, means nothing.
    fn is_idle(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        match (before, self.script) {
            (Some(b','), _) | (Some(b'{' | b'}' | b';' | b':'), false) => true,
            // Not before a colon: `a :hover` is something else than `a:hover`.
            (_, false) => matches!(self.peek(1), Some(b'{' | b'}' | b';' | b',')),
            _ => false,
        }
    }

    /// Reads all; `None`: something does not end.
    fn run(&mut self) -> Option<()> {
        // Braces that are open in each `${…}` that is open.
        let mut open: Vec<usize> = Vec::new();
        // What stands before, which tells a regular expression from a division.
        let mut before = Before::Operator;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => self.comment("*/")?,
                (b'/', Some(b'/')) if self.script => self.comment("\n")?,
                (b'"' | b'\'', _) => {
                    self.quoted(byte)?;
                    before = Before::Value;
                }
                (b'`', _) if self.script => before = self.template(&mut open)?,
                (b'}', _) if open.last() == Some(&0) => {
                    open.pop();
                    before = self.template(&mut open)?;
                }
                (b'/', _) if self.script && before.begins_expression() => {
                    self.expression()?;
                    before = Before::Value;
                }
                _ => {
                    if byte == b' ' && self.is_idle() {
                        self.blanks.push((self.at, self.at + 1));
                    }
                    match (byte, open.last_mut()) {
                        (b'{', Some(depth)) => *depth += 1,
                        (b'}', Some(depth)) => *depth -= 1,
                        _ => {}
                    }
                    before = before.then(byte);
                    self.at += 1;
                    if byte == b'\n' {
                        self.lines.push(self.at);
                    }
                }
            }
        }
        open.is_empty().then_some(())
    }

    /// A comment to its end; that of a line is where the line ends, and does not take it along.
    fn comment(&mut self, end: &str) -> Option<()> {
        let rest = &self.text[self.at + 2..];
        let found = rest.windows(end.len()).position(|w| w == end.as_bytes());
        let from = self.at;
        self.at = match (found, end) {
            (Some(at), "\n") => from + 2 + at,
            (Some(at), _) => from + 2 + at + end.len(),
            (None, "\n") => self.text.len(),
            (None, _) => return None,
        };
        self.comments.push((from, self.at));
        Some(())
    }

    /// A text in quotes, which ends on its line.
    fn quoted(&mut self, quote: u8) -> Option<()> {
        loop {
            self.at += 1;
            match self.peek(0)? {
                b'\\' => self.at += 1,
                b'\n' => return None,
                byte if byte == quote => break,
                _ => {}
            }
        }
        self.at += 1;
        Some(())
    }

    /// A template from its beginning or from the end of a `${…}`, to its end or the next one.
    fn template(&mut self, open: &mut Vec<usize>) -> Option<Before> {
        loop {
            self.at += 1;
            match (self.peek(0)?, self.peek(1)) {
                (b'\\', _) => self.at += 1,
                (b'`', _) => {
                    self.at += 1;
                    return Some(Before::Value);
                }
                (b'$', Some(b'{')) => {
                    self.at += 2;
                    open.push(0);
                    return Some(Before::Operator);
                }
                _ => {}
            }
        }
    }

    /// A regular expression, which ends on its line; a `/` within `[…]` does not end it.
    fn expression(&mut self) -> Option<()> {
        let mut class = false;
        loop {
            self.at += 1;
            match self.peek(0)? {
                b'\\' => self.at += 1,
                b'\n' => return None,
                b'[' => class = true,
                b']' => class = false,
                b'/' if !class => break,
                _ => {}
            }
        }
        self.at += 1;
        Some(())
    }
}

/// What was read last, blanks aside.
#[derive(Clone)]
enum Before {
    /// A number, a text, or a bracket that closes.
    Value,
    Operator,
    /// A word, and whether a blank has ended it.
    Word(Vec<u8>, bool),
}

impl Before {
    fn then(self, byte: u8) -> Before {
        let part = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'#' | 128..);
        match self {
            Before::Word(word, _) if byte.is_ascii_whitespace() => Before::Word(word, true),
            same if byte.is_ascii_whitespace() => same,
            Before::Word(mut word, false) if part => {
                word.push(byte);
                Before::Word(word, false)
            }
            _ if part => Before::Word(vec![byte], false),
            _ if matches!(byte, b')' | b']') => Before::Value,
            _ => Before::Operator,
        }
    }

    /// Whether a `/` begins a regular expression here.
    fn begins_expression(&self) -> bool {
        const WORDS: [&[u8]; 9] = [
            b"return", b"typeof", b"case", b"in", b"of", b"throw", b"else", b"await", b"yield",
        ];
        match self {
            Before::Operator => true,
            Before::Value => false,
            Before::Word(word, _) => WORDS.contains(&word.as_slice()),
        }
    }
}
