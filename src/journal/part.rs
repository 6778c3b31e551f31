//! Whether the lines that somebody looks at are whole: the newest part of a trail, page by page,
//! newest first; pure. The whole trail is what [`Verifier`] is for, oldest first.
//!
//! ```text
//!  … ◄── [ line 41 ◄── line 42 ◄── line 43 ] ◄── what the page before expects, or the head
//!  `prev` of line 41 is taken as it stands
//! ```
//!
//! What is missing before the oldest line of a page shows in the next page, and what is missing at
//! the old end of the trail does not show here.

use super::{
    AuditLine, AuditPage, Journal,
    chain::{Fault, Link, TrailLine, Verifier},
};

/// Lines that a start looks at; also no more than about 1 MiB of them, which takes some 20 ms.
const NEWEST: u32 = 1_000;

/// What is wrong with the newest part of the trail; one sentence for the log. Nothing of it keeps a
/// controller from starting.
pub fn trouble_at_the_end(journal: &mut dyn Journal) -> Option<String> {
    let page = match journal.audit(0, NEWEST) {
        Ok(page) => page,
        Err(error) => return Some(error.to_string()),
    };
    let mut faults = page.faults(Some(&page.head)).into_iter();
    let first = faults.next()?.what;
    Some(match faults.len() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}

impl AuditPage {
    /// What is wrong with these lines. `end`: the line that must be the newest of them; where it is
    /// not known, whatever is.
    pub fn faults(&self, end: Option<&Link>) -> Vec<Fault> {
        // Older than what is kept by now: it was cut away since.
        let end = end.filter(|end| end.id >= self.anchor.id);
        let (Some(newest), Some(oldest)) = (self.lines.first(), self.lines.last()) else {
            let nothing = Verifier::new(self.anchor.clone(), None);
            return end.map_or_else(Vec::new, |end| nothing.finish(end).faults);
        };
        let begin = match oldest.id == self.anchor.id.saturating_add(1) {
            true => self.anchor.clone(),
            false => before(oldest),
        };
        let mut verifier = Verifier::new(begin, None);
        let oldest_first = self.lines.iter().rev().filter_map(TrailLine::as_map);
        oldest_first.for_each(|line| verifier.take(&line));
        verifier.finish(end.unwrap_or(&newest.link())).faults
    }

    /// What the newest line of the next page must be.
    pub fn expects(&self) -> Option<Link> {
        self.lines.last().map(before)
    }

    /// As they are shown, each with the first of `faults` that is about it, or about what is missing
    /// before it. What is missing after all of them is told with the newest.
    pub fn shown(self, faults: &[Fault]) -> Vec<AuditLine> {
        let lines = self.lines.iter().filter_map(TrailLine::shown);
        let mut lines: Vec<AuditLine> = lines.collect();
        for fault in faults {
            let from = lines.iter().rposition(|line| line.id >= fault.line);
            if let Some(line) = lines.get_mut(from.unwrap_or(0)) {
                line.fault.get_or_insert_with(|| fault.what.clone());
            }
        }
        lines
    }
}

/// What is wrong with one line by itself.
pub fn fault_of(line: &TrailLine) -> Option<Fault> {
    let mut verifier = Verifier::new(before(line), None);
    verifier.take(&line.as_map()?);
    verifier.finish(&line.link()).faults.into_iter().next()
}

/// The line before, as this one says.
fn before(line: &TrailLine) -> Link {
    Link {
        id: line.id.saturating_sub(1),
        hash: line.prev.clone(),
    }
}

impl TrailLine {
    /// As it is shown; `None` where it does not even say who.
    pub fn shown(&self) -> Option<AuditLine> {
        Some(AuditLine {
            id: self.id,
            at: self.at,
            by: serde_json::from_value(self.by.clone()).ok()?,
            what: self.what.clone(),
            changes: self.changes.clone(),
            hash: self.hash.clone(),
            fault: None,
        })
    }
}
