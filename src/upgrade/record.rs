//! What is on the disk of upgrades, and how it changes. Pure; a stored form: fields are only added.

use crate::model::Digest;
use serde::{Deserialize, Serialize};

/// Why the child on trial hands over where another one was ordered meanwhile. Releases up to 0.3.0
/// wrote that down as a failure, and such a one may be the child or have written the record: it is
/// none, and refuses nothing.
pub const SUPERSEDED: &str = "something else is wanted in its place";

/// A program that an agent can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The one that the service manager starts.
    #[default]
    Installed,
    /// `bin/<hex>`, by the SHA-256 of what is in it.
    Stored(Digest),
}

impl Program {
    /// Its hash, where it is stored.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Program::Installed => None,
            Program::Stored(digest) => Some(digest),
        }
    }
}

/// A program, and the spec that it is there for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Edition {
    /// Which.
    #[serde(default)]
    pub program: Program,
    /// As the spec says.
    #[serde(default)]
    pub version: String,
    /// [`crate::model::Workload::spec_hash`]; empty: nobody in the fleet has wished for it.
    #[serde(default)]
    pub spec_hash: String,
}

/// What is being tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnTrial {
    /// What.
    pub edition: Edition,
    /// How long its guard waits, milliseconds from the start of the child. It judges itself, and
    /// sooner; this is for one that hangs.
    pub limit_ms: u64,
    /// Times that it was started.
    #[serde(default)]
    pub tries: u32,
}

/// What was tried last and did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTrial {
    /// Of which spec: it is not tried again while it is wanted.
    pub spec_hash: String,
    /// One sentence.
    pub reason: String,
    /// What it wrote last, at most ten lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// SHA-256 of what was installed when something else was made current or tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Digest>,
    /// What runs, and starts again after a boot.
    #[serde(default)]
    pub current: Edition,
    /// What was current before; its file is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// What is being tried in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<OnTrial>,
    /// What did not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTrial>,
}

impl Record {
    /// What runs is what `spec_hash` wants as well.
    pub fn noted(&self, spec_hash: &str, version: &str) -> Record {
        let mut next = self.clone();
        next.current.spec_hash = spec_hash.to_owned();
        next.current.version = version.to_owned();
        next.trial = None;
        // Something else is wanted than what failed: that may be tried again later.
        next.failed = None;
        next
    }

    /// `edition` is to be tried, on a board where `installed` is installed.
    pub fn to_try(&self, edition: Edition, limit_ms: u64, installed: Digest) -> Record {
        let before = self.trial.as_ref().filter(|t| t.edition == edition);
        // Asking again for what is on trial gives it no more tries.
        let tries = before.map_or(0, |t| t.tries);
        Record {
            installed: Some(installed),
            trial: Some(OnTrial {
                edition,
                limit_ms,
                tries,
            }),
            failed: None,
            ..self.clone()
        }
    }

    /// The child on trial is about to be started once more.
    pub fn tried(&self) -> Record {
        let mut next = self.clone();
        if let Some(trial) = &mut next.trial {
            trial.tries = trial.tries.saturating_add(1);
        }
        next
    }

    /// What is on trial works: it is current now. `None`: nothing is.
    pub fn confirmed(&self) -> Option<Record> {
        let trial = self.trial.clone()?;
        Some(Record {
            previous: self.current.program.digest(),
            current: trial.edition,
            trial: None,
            failed: None,
            ..self.clone()
        })
    }

    /// What is on trial does not work.
    pub fn failed(&self, reason: String, last_lines: Vec<String>) -> Record {
        let failed = self.trial.as_ref().map(|trial| FailedTrial {
            spec_hash: trial.edition.spec_hash.clone(),
            reason,
            last_lines,
        });
        Record {
            failed: failed.or_else(|| self.failed.clone()),
            trial: None,
            ..self.clone()
        }
    }

    /// Something else is wanted than what is on trial, of which nothing is known then.
    pub fn superseded(&self) -> Record {
        Record {
            trial: None,
            ..self.clone()
        }
    }

    /// The installed program is what runs, and the fleet's wish begins anew.
    pub fn installed_wins() -> Record {
        Record::default()
    }

    /// Why `spec_hash` is not tried again.
    pub fn refuses(&self, spec_hash: &str) -> Option<&FailedTrial> {
        let refuses = |f: &&FailedTrial| f.spec_hash == spec_hash && f.reason != SUPERSEDED;
        self.failed.as_ref().filter(refuses)
    }

    /// Programs whose files are of use.
    pub fn in_use(&self) -> impl Iterator<Item = Digest> {
        let trial = self.trial.as_ref().map(|t| t.edition.program);
        let programs = [Some(self.current.program), trial];
        let digests = programs.into_iter().flatten().filter_map(Program::digest);
        digests.chain(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(name: &str) -> Edition {
        Edition {
            program: Program::Stored(Digest::of(name.as_bytes())),
            version: name.into(),
            spec_hash: format!("hash of {name}"),
        }
    }

    #[test]
    fn a_record_of_another_release_is_read() {
        let text = r#"{"current":{"version":"1"},"later":{"field":1}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.current.program, Program::Installed);
        assert_eq!(record.current.version, "1");
        let full = Record::default()
            .to_try(edition("a"), 5, Digest::of(b"installed"))
            .tried();
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), full);
        assert_eq!(
            serde_json::from_str::<Record>("{}").unwrap(),
            Record::default()
        );
    }

    #[test]
    fn what_failed_is_refused_until_something_else_was_wanted() {
        let installed = Digest::of(b"installed");
        let record = Record::default().to_try(edition("a"), 5, installed).tried();
        let failed = record.failed("it hung".into(), vec!["last".into()]);
        assert_eq!(failed.refuses("hash of a").unwrap().reason, "it hung");
        assert!(failed.refuses("hash of b").is_none());
        assert_eq!(failed.current, Edition::default(), "what ran is current");
        let noted = failed.noted("as installed", "0");
        assert!(noted.refuses("hash of a").is_none());
        assert_eq!(noted.current.spec_hash, "as installed");
    }

    #[test]
    fn what_was_superseded_has_not_failed_and_is_tried_again() {
        let installed = Digest::of(b"installed");
        let record = Record::default().to_try(edition("a"), 5, installed).tried();
        let dropped = record.superseded();
        assert_eq!((&dropped.trial, &dropped.failed), (&None, &None));
        assert_eq!(dropped.current, Edition::default(), "what ran is current");
        let again = dropped.to_try(edition("a"), 5, installed).trial.unwrap();
        assert_eq!(again.tries, 0);
        // As it was written down before.
        let text = r#"{"failed":{"spec_hash":"hash of a","reason":"something else is wanted in its place"}}"#;
        let old: Record = serde_json::from_str(text).unwrap();
        assert_eq!(old.refuses("hash of a"), None);
    }

    #[test]
    fn files_of_now_before_and_next_are_in_use() {
        let installed = Digest::of(b"installed");
        let digest = |name: &str| edition(name).program.digest().unwrap();
        let with = |record: Record, name| record.to_try(edition(name), 5, installed);
        let record = with(Record::default(), "a").confirmed().unwrap();
        let record = with(record, "b").confirmed().unwrap();
        let record = with(record, "c");
        let used: Vec<Digest> = record.in_use().collect();
        assert_eq!(used, [digest("b"), digest("c"), digest("a")]);
    }

    #[test]
    fn asking_again_gives_no_more_tries() {
        let installed = Digest::of(b"installed");
        let record = Record::default().to_try(edition("a"), 5, installed).tried();
        let again = record.to_try(edition("a"), 5, installed);
        assert_eq!(again.trial.unwrap().tries, 1);
        let other = record.to_try(edition("b"), 5, installed);
        assert_eq!(other.trial.unwrap().tries, 0);
    }
}
