//! `fleetctl check`: a doctor for a board.
//!
//! Looks at everything that has been seen to go wrong on small machines and says for each what it
//! found and what to do. It changes nothing and needs neither an agent nor a fleet; where this
//! machine has joined one, its brokers are tried too.
//!
//! | module | looks at |
//! |---|---|
//! | `machine` | kernel, page size, cgroups, clock, memory, temperature, under-voltage |
//! | `disk` | space, inodes, read-only file systems, wear of flash |
//! | `engine` | Docker and Podman: do they answer, what are they set to |
//! | `names` | name servers |
//! | `network` | brokers, their names, TLS |
//!
//! What is looked at comes from a [`Root`], so that each verdict is tested on made-up machines.

mod disk;
mod engine;
mod machine;
mod names;
mod network;

use crate::config::AgentConfig;
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// How bad it is; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better; some workloads may notice.
    Warning,
    /// Something will not work.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What, a word that stays the same over releases, as in `memory-cgroup`.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, one sentence.
    pub found: String,
    /// What to do; `None` when nothing has to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Finding {
        Finding {
            check: check.to_owned(),
            level: Level::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warning(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            level: Level::Warning,
            advice: Some(advice.into()),
            ..Finding::ok(check, found)
        }
    }

    fn error(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding {
            level: Level::Error,
            ..Finding::warning(check, found, advice)
        }
    }
}

/// Where `/proc` and `/sys` are.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// A text file below, without blanks around; `None` when it cannot be read.
    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Names in a directory below, sorted; at most 256.
    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let names = entries.flatten().take(256);
        let mut names: Vec<String> = names
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// Looks at this machine with the settings of its agent.
pub async fn run(config: &AgentConfig) -> Vec<Finding> {
    let root = Root("/".into());
    let mut all = machine::findings(&root);
    all.extend(machine::clock());
    all.extend(disk::findings(&root, Path::new(&config.common.data_dir)));
    all.extend(engine::findings(config).await);
    all.push(names::finding(&root).await);
    all.extend(network::findings(&config.common.data_dir).await);
    all
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    let levels = findings.iter().map(|f| f.level);
    levels.max().unwrap_or(Level::Ok)
}
