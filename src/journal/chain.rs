//! The chain of the audit trail: pure.
//!
//! ```text
//!  anchor ◄── prev ── line 1 ◄── prev ── line 2 ◄── prev ── … ◄── head
//! ```
//!
//! The hash of a line is the SHA-256 of the line without it: an object `id`, `at`, `by`, `what`,
//! `changes` (where there are any) and `prev`, in its canonical form (RFC 8785). `prev` is the hash
//! of the line before. So no line can be altered, and none taken away from the middle, without what
//! follows telling. The anchor stands for what was cut away at the old end, the head is the newest
//! line.
//!
//! What a chain does not show: whoever can write the file can make a whole new one. Only what was
//! written down elsewhere helps against that, an earlier export or the hash of an earlier head: it
//! must be found in the chain ([`Noted`]).

use crate::identity::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fmt};
use utoipa::ToSchema;

/// The hash before the first line: there is none.
pub const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Faults that are told one by one, and missing lines that are looked for.
const MAX_FAULTS: usize = 1_000;

/// A place in the chain: a line and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Number of the line; 0: before the first one.
    pub id: u64,
    /// Its hash, 64 hex digits.
    pub hash: String,
}

impl Link {
    /// Before the first line after `id`, of which nothing is known.
    pub fn unknown(id: u64) -> Link {
        Link {
            id,
            hash: NO_HASH.to_owned(),
        }
    }
}

/// A line as it is kept and exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrailLine {
    /// Its number.
    pub id: u64,
    /// When, controller's clock, Unix milliseconds.
    pub at: u64,
    /// Who, and from where, as it was stored: also what this version does not know of it.
    pub by: Value,
    /// What, in words.
    pub what: String,
    /// What differs by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// Hash of the line before.
    pub prev: String,
    /// Its own.
    pub hash: String,
}

impl TrailLine {
    /// The same line, chained to `prev`.
    #[must_use]
    pub fn chained_to(mut self, prev: &str) -> TrailLine {
        self.prev = prev.to_owned();
        self.hash = self.as_map().map(|map| hash_of(&map)).unwrap_or_default();
        self
    }

    /// Its fields.
    pub fn as_map(&self) -> Option<Map<String, Value>> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => Some(map),
            _ => None,
        }
    }

    /// Where it is.
    pub fn link(&self) -> Link {
        Link {
            id: self.id,
            hash: self.hash.clone(),
        }
    }
}

/// The hash that a line must have: over everything in it but its hash.
pub fn hash_of(line: &Map<String, Value>) -> String {
    let mut map = line.clone();
    map.remove("hash");
    sha256_hex(&serde_json_canonicalizer::to_vec(&map).unwrap_or_default())
}

/// Something is wrong at a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Which line, by its number; of several the first.
    pub line: u64,
    /// What, one sentence.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What was found out about a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Every line is there, unaltered and in its place.
    pub ok: bool,
    /// Lines that were looked at.
    pub lines: u64,
    /// The first line with which something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// What is wrong, by line; at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Before the oldest line.
    pub anchor: Link,
    /// The newest line, as the trail says of itself: to be noted elsewhere.
    pub head: Link,
}

/// A place that was written down earlier. It must be in the trail still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The line, where that was written down too.
    pub id: Option<u64>,
    /// Its hash.
    pub hash: String,
}

/// Looks at a trail line by line, oldest first. Its memory is bounded.
#[derive(Debug)]
pub struct Verifier {
    anchor: Link,
    /// The line before; its hash as far as one can go by it.
    last: Link,
    /// Its hash is not what it says, or it does not follow the one before: what the next one says
    /// of it proves nothing more.
    last_is_bad: bool,
    lines: u64,
    /// Lines that should have come by now.
    missing: BTreeSet<u64>,
    faults: Vec<Fault>,
    noted: Option<Noted>,
    noted_found: bool,
}

impl Verifier {
    /// Of a trail that begins after `anchor`.
    pub fn new(anchor: Link, noted: Option<Noted>) -> Verifier {
        let mut verifier = Verifier {
            last: anchor.clone(),
            anchor,
            last_is_bad: false,
            lines: 0,
            missing: BTreeSet::new(),
            faults: Vec::new(),
            noted,
            noted_found: false,
        };
        verifier.look_for_noted(&verifier.anchor.clone());
        verifier
    }

    /// The line that was taken last.
    pub fn last(&self) -> Link {
        self.last.clone()
    }

    /// How many were taken.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn fault(&mut self, line: u64, what: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { line, what });
        }
    }

    fn look_for_noted(&mut self, link: &Link) {
        let is = |n: &Noted| n.hash == link.hash && n.id.is_none_or(|id| id == link.id);
        self.noted_found |= self.noted.as_ref().is_some_and(is);
    }

    /// The next line, as it was kept.
    pub fn take(&mut self, line: &Map<String, Value>) {
        self.lines += 1;
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let (Some(id), Some(hash), Some(prev)) = (
            line.get("id").and_then(Value::as_u64),
            text("hash"),
            text("prev"),
        ) else {
            let next = self.last.id.saturating_add(1);
            let what = format!(
                "what stands after line {} is no line: it lacks `id`, `prev` or `hash`",
                self.last.id
            );
            return self.fault(next, what);
        };
        let altered = hash_of(line) != hash;
        let next = self.last.id.saturating_add(1);
        if altered && id != next {
            return self.misnumbered(id, prev, hash);
        }
        if altered {
            let what = format!("line {id} was altered: its hash is not that of what it says");
            self.fault(id, what);
        }
        let link = Link {
            id,
            hash: hash.to_owned(),
        };
        if !altered {
            self.look_for_noted(&link);
        }
        if id < next {
            let what = match self.missing.remove(&id) {
                true => format!(
                    "line {id} is out of order: it stands after line {}",
                    self.last.id
                ),
                false => format!("line {id} is there again after line {}", self.last.id),
            };
            return self.fault(id, what);
        }
        if id > next {
            self.miss(next, id - 1);
        } else if prev != self.last.hash && !altered && !self.last_is_bad {
            self.unlinked(id);
        }
        self.last_is_bad = altered;
        self.last = link;
    }

    /// An altered line, and perhaps its number is what was altered.
    fn misnumbered(&mut self, says: u64, prev: &str, hash: &str) {
        let next = self.last.id.saturating_add(1);
        if prev != self.last.hash {
            let what = format!("line {says} was altered: its hash is not that of what it says");
            return self.fault(says, what);
        }
        let what = format!("line {next} was altered: it says now that it is line {says}");
        self.fault(next, what);
        self.last_is_bad = true;
        self.last = Link {
            id: next,
            hash: hash.to_owned(),
        };
    }

    /// Line `id` says another hash of the line before it than that has.
    fn unlinked(&mut self, id: u64) {
        let before = id - 1;
        if before == self.anchor.id {
            let what = format!(
                "line {id} does not follow what the trail says was cut away before it: older \
                 lines are missing, or line {id} was replaced"
            );
            return self.fault(id, what);
        }
        let what = format!(
            "line {before} was replaced: line {id} was written after another one (or line {id} \
             was replaced)"
        );
        self.fault(before, what);
    }

    fn miss(&mut self, first: u64, last: u64) {
        let room = MAX_FAULTS - self.missing.len().min(MAX_FAULTS);
        let few = last - first < room as u64;
        if few {
            // They may come later: then they are out of order.
            return self.missing.extend(first..=last);
        }
        self.fault(first, missing_text(first, last));
    }

    /// What was found; `head`: the newest line, as the trail says of itself.
    pub fn finish(mut self, head: &Link) -> Verdict {
        if head.id > self.last.id {
            self.miss(self.last.id + 1, head.id);
        } else if head.id < self.last.id {
            let (first, last) = (head.id + 1, self.last.id);
            let what = format!(
                "line {first} was added: the trail says that it ends with line {}",
                head.id
            );
            let what = match first == last {
                true => what,
                false => format!("{what} (and so were those up to line {last})"),
            };
            self.fault(first, what);
        } else if head.hash != self.last.hash && !self.last_is_bad {
            let what = format!(
                "line {} was replaced: the trail says that it ends with another one",
                head.id
            );
            self.fault(head.id, what);
        }
        for (first, last) in ranges(&self.missing) {
            self.faults.push(Fault {
                line: first,
                what: missing_text(first, last),
            });
        }
        if let Some(noted) = self.noted.take().filter(|_| !self.noted_found) {
            let fault = not_noted(&noted, &self.anchor, &self.last);
            self.faults.push(fault);
        }
        self.faults.sort();
        self.faults.truncate(MAX_FAULTS);
        Verdict {
            ok: self.faults.is_empty(),
            lines: self.lines,
            first_bad: self.faults.first().map(|f| f.line),
            faults: self.faults,
            anchor: self.anchor,
            head: head.clone(),
        }
    }
}

fn missing_text(first: u64, last: u64) -> String {
    match first == last {
        true => format!("line {first} is missing"),
        false => format!("lines {first} to {last} are missing"),
    }
}

fn not_noted(noted: &Noted, anchor: &Link, last: &Link) -> Fault {
    let hash = &noted.hash;
    let (line, why) = match noted.id {
        Some(id) if id < anchor.id => (
            anchor.id + 1,
            format!("line {id} is older than what is kept; nothing can be said about it"),
        ),
        Some(id) if id > last.id => (
            last.id + 1,
            format!(
                "line {id} is missing, with what came before it since line {}",
                last.id
            ),
        ),
        Some(id) => (id, format!("line {id} is another one now")),
        None => (
            anchor.id + 1,
            format!(
                "this is another trail than the one where it was noted, or that line is older \
                 than line {}",
                anchor.id + 1
            ),
        ),
    };
    Fault {
        line,
        what: format!("the line with the noted hash {hash} is not there: {why}"),
    }
}

/// Numbers that follow each other, as pairs.
fn ranges(all: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for id in all {
        match out.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *id => *last = *id,
            _ => out.push((*id, *id)),
        }
    }
    out
}
