//! Collects what is wrong with one text while it is walked, so that all of it is said at once.

use super::{
    companions::Companions,
    span::{Flaw, MAX_PROBLEMS, MAX_SOURCE_BYTES, Problem, Problems, Source, too_large},
    table::Table,
    tree::{Value, read_toml},
};
use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

/// More than this many are not even remembered. Larger than what is shown, because they are
/// found in another order than that of the text.
pub(super) const MAX_FOUND: usize = 1_000;
/// The most bytes that may be added to a text by what it names: a small one becomes large by
/// naming one thing in many places.
const MAX_ADDED: usize = 16 << 20;

/// Everything that was found so far. Shared by all [`Table`]s of one text.
pub(crate) struct Report {
    text: Box<str>,
    found: RefCell<Vec<Found>>,
    /// Where the syntax is broken, and how.
    broken: RefCell<Vec<(Range<usize>, Flaw)>>,
    /// What is no mistake, but has no effect here.
    notes: RefCell<Vec<(Range<usize>, Flaw)>>,
    /// Files beside the text, and which of them it names.
    pub(super) companions: Companions,
    /// Bytes that may still be added to what the text says itself.
    may_add: Cell<usize>,
}

/// One thing that was found.
struct Found {
    place: Place,
    flaw: Flaw,
    /// Something is not there. A text that is broken elsewhere may have it in the broken part.
    missing: bool,
}

/// Where it was found.
enum Place {
    /// These bytes of the text.
    Span(Range<usize>),
    /// Not in the text, but in what this names (`command line`).
    Outside(&'static str),
}

impl Report {
    pub(super) fn new(source: &Source) -> Report {
        Report {
            text: source.text.as_str().into(),
            companions: Companions::new(&source.files),
            found: RefCell::default(),
            broken: RefCell::default(),
            notes: RefCell::default(),
            may_add: Cell::new(MAX_ADDED),
        }
    }

    /// The text of the file at `path` beside this one; `None` where it was not given and is not
    /// `needed`.
    ///
    /// # Errors
    /// The path leads elsewhere, the file is needed and not there, or there is too much.
    pub(super) fn companion(&self, path: &str, needed: bool) -> Result<Option<String>, Flaw> {
        let text = match needed {
            true => Some(self.companions.need(path)?),
            false => self.companions.get(path)?,
        };
        self.add_bytes(text.as_ref().map_or(0, String::len))?;
        Ok(text)
    }

    /// So many bytes come from elsewhere: from a file beside the text, from a variable, or from
    /// another place of the text that is repeated here.
    ///
    /// # Errors
    /// They are more than a text may become.
    pub(super) fn add_bytes(&self, bytes: usize) -> Result<(), Flaw> {
        if let Some(left) = self.may_add.get().checked_sub(bytes) {
            self.may_add.set(left);
            return Ok(());
        }
        self.may_add.set(0);
        let flaw = "variables, defaults and files beside it add more than 16 MiB to this file";
        Err(Flaw::new(flaw).hint("split it into several files"))
    }

    /// What is written at `span`; empty for bytes that are none of the text's.
    pub(crate) fn written(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The syntax is broken at these bytes.
    pub(crate) fn add_broken(&self, span: Range<usize>, flaw: Flaw) {
        let mut broken = self.broken.borrow_mut();
        if broken.len() < MAX_FOUND {
            broken.push((span, flaw));
        }
    }

    /// What stands at these bytes is no mistake, but has no effect here.
    pub(crate) fn note(&self, span: Range<usize>, flaw: Flaw) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < MAX_FOUND {
            notes.push((span, flaw));
        }
    }

    /// `flaw` at these bytes.
    pub(crate) fn add(&self, span: Range<usize>, flaw: Flaw) {
        self.push(Found {
            place: Place::Span(span),
            flaw,
            missing: false,
        });
    }

    /// `flaw` is that something is missing from the table at these bytes.
    pub(crate) fn add_missing(&self, span: Range<usize>, flaw: Flaw) {
        self.push(Found {
            place: Place::Span(span),
            flaw,
            missing: true,
        });
    }

    /// `flaw` in what `origin` names rather than in the text.
    pub(crate) fn add_outside(&self, origin: &'static str, flaw: Flaw) {
        self.push(Found {
            place: Place::Outside(origin),
            flaw,
            missing: false,
        });
    }

    /// What is found next may still be shown, so a suggestion is worth its time.
    pub(crate) fn shows_more(&self) -> bool {
        self.found.borrow().len() < MAX_PROBLEMS
    }

    /// No more needs to be looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.found.borrow().len() >= MAX_FOUND
    }

    fn push(&self, found: Found) {
        if !self.is_full() {
            self.found.borrow_mut().push(found);
        }
    }
}

/// What came of walking a text without a problem.
pub(crate) struct Walked<T> {
    /// What the visitor made of it.
    pub value: T,
    /// What is written and has no effect, in the order of the text.
    pub notes: Vec<Problem>,
}

/// Parses `source` as TOML and lets `visit` walk its root table.
///
/// # Errors
/// As [`walk_tree`].
pub(crate) fn walk<T>(source: &Source, visit: impl FnOnce(Table<'_>) -> T) -> Result<T, Problems> {
    let read = |text: &str, report: &Report| Some(read_toml(text, report));
    walk_tree(source, read, |root, report| {
        visit(Table::root(report, root))
    })
    .map(|walked| walked.value)
}

/// Lets `read` make a tree of `source` (`None`: nothing can be read, and why is on record), and
/// `visit` walk it.
///
/// # Errors
/// Every problem of the syntax and every one that `visit` reported, in the order of the text.
/// Where the syntax is broken, what `visit` reports is left out as far as it may only follow
/// from that.
pub(crate) fn walk_tree<T>(
    source: &Source,
    read: impl FnOnce(&str, &Report) -> Option<Value>,
    visit: impl FnOnce(&mut Value, &Report) -> T,
) -> Result<Walked<T>, Problems> {
    if source.text.len() > MAX_SOURCE_BYTES {
        return Err(Problem::without_place(source.name.clone(), too_large()).into());
    }
    let report = Report::new(source);
    let mut root = read(&source.text, &report);
    let value = root.as_mut().map(|root| visit(root, &report));

    let broken = report.broken.into_inner();
    let mut found = report.found.into_inner();
    if !broken.is_empty() {
        let lines = broken_lines(&broken, &source.text);
        found.retain(|found| stands_beside(found, lines.as_deref()));
    }
    let syntax = broken.into_iter().map(|(span, flaw)| Found {
        place: Place::Span(span),
        flaw,
        missing: false,
    });
    found.extend(syntax);
    match value {
        Some(value) if found.is_empty() => Ok(Walked {
            value,
            notes: notes(source, report.notes.into_inner()),
        }),
        // Whoever reads nothing says why; this is for the one who forgets.
        None if found.is_empty() => {
            let flaw = Flaw::new("nothing can be read from the file");
            Err(Problem::without_place(source.name.clone(), flaw).into())
        }
        _ => Err(in_order(source, found)),
    }
}

/// Each note once, in the order of the text, and not too many.
fn notes(source: &Source, mut notes: Vec<(Range<usize>, Flaw)>) -> Vec<Problem> {
    notes.sort_by_key(|(span, _)| span.start);
    notes.dedup();
    notes
        .into_iter()
        .take(MAX_PROBLEMS)
        .map(|(span, flaw)| source.problem(span, flaw))
        .collect()
}

/// The lines with broken syntax. `None`: one of them is a header, and nobody knows which table a
/// key below it belongs to.
fn broken_lines(broken: &[(Range<usize>, Flaw)], text: &str) -> Option<Vec<Range<usize>>> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    for (place, _) in broken {
        // Lines may be long, and have many places.
        if lines.last().is_some_and(|line| line.contains(&place.start)) {
            continue;
        }
        let line = line_of(text, place.start);
        if text[line.clone()].trim_start().starts_with('[') {
            return None;
        }
        lines.push(line);
    }
    Some(lines)
}

/// Whether something that was found in a text with broken syntax is wrong in any case.
fn stands_beside(found: &Found, broken: Option<&[Range<usize>]>) -> bool {
    let Place::Span(span) = &found.place else {
        return true;
    };
    // An empty span is what the parser puts where it could read nothing.
    let beside = |lines: &[Range<usize>]| lines.iter().all(|line| !line.contains(&span.start));
    !found.missing && !span.is_empty() && broken.is_some_and(beside)
}

/// The bytes of the line that holds the byte `at`.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let start = bytes[..at]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |newline| newline + 1);
    let end = bytes[at..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |n| at + n);
    start..end
}

/// One problem for each place, in the order of the text, and not too many.
fn in_order(source: &Source, mut found: Vec<Found>) -> Problems {
    let start = |found: &Found| match &found.place {
        Place::Outside(_) => (0, 0),
        Place::Span(span) => (1, span.start),
    };
    found.sort_by_key(start);
    // What was found first at a place says it best: a template is no port either.
    found.dedup_by(|later, earlier| match (&later.place, &earlier.place) {
        (Place::Span(a), Place::Span(b)) => a == b && !later.missing && !earlier.missing,
        _ => false,
    });
    let problems = found
        .into_iter()
        .take(MAX_PROBLEMS)
        .map(|found| match found.place {
            Place::Span(span) => source.problem(span, found.flaw),
            Place::Outside(origin) => Problem::without_place(origin, found.flaw),
        });
    Problems(problems.collect())
}
