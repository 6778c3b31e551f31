//! What must be done on one board: what differs from what is wanted, and nothing else.

use super::{Board, Files, Init, Place, Probe, Trouble, files};
use crate::model::Digest;
use std::{collections::BTreeMap, fmt};

/// What is kept free on a disk beside what is copied, bytes.
const SPARE: u64 = 2 << 20;
/// Before this no board of today was made: 2020-01-01, Unix seconds.
const NOT_BEFORE_S: u64 = 1_577_836_800;

/// A binary that can be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// Its release.
    pub version: String,
    /// Of the whole file.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What the fleet says of the board's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// There is no such node.
    No,
    /// It takes part, or waits for its approval.
    Yes,
    /// It was cut off.
    Revoked,
}

/// What is wanted of a board.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The board.
    pub board: &'a Board,
    /// Binaries by architecture.
    pub binaries: &'a BTreeMap<String, Available>,
    /// The public key of the fleet.
    pub fleet_key: &'a str,
    /// The node of the board's name.
    pub known: Known,
    /// Copy only; start nothing.
    pub sync_only: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy the binary for this architecture.
    Binary {
        /// As releases call it.
        arch: String,
        /// Its release.
        version: String,
        /// Bytes.
        size: u64,
        /// Another one is there.
        replaces: bool,
    },
    /// Write the agent's configuration.
    Config,
    /// Write its environment, or take it away.
    Env {
        /// The file goes.
        removed: bool,
    },
    /// Install the unit, or what belongs to it.
    Unit,
    /// Join the fleet with a token of its own.
    Join {
        /// It has joined before, and the fleet does not know it any more.
        again: bool,
    },
    /// Have the service started at boot.
    Enable,
    /// Start it.
    Start,
    /// Restart it; no workload notices.
    Restart,
}

/// Whether the service is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It runs what it should.
    No,
    /// It does not run.
    Start,
    /// It runs something else.
    Restart,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nothing where the board is as wanted.
    pub steps: Vec<Step>,
    /// What should be known, and stops nothing.
    pub notes: Vec<String>,
    /// What is written.
    pub files: Files,
    /// The binary's architecture.
    pub arch: &'static str,
}

impl Plan {
    /// The board is as wanted.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What becomes of the service.
    pub fn restart(&self) -> Restart {
        match self.steps.last() {
            Some(Step::Start) => Restart::Start,
            Some(Step::Restart) => Restart::Restart,
            _ => Restart::No,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Binary {
                arch,
                version,
                size,
                replaces,
            } => {
                let what = if *replaces { "replace" } else { "copy" };
                let mib = *size as f64 / f64::from(1 << 20);
                write!(f, "{what} binary ({version}, {arch}, {mib:.1} MiB)")
            }
            Step::Config => f.write_str("write configuration"),
            Step::Env { removed: false } => f.write_str("write environment"),
            Step::Env { removed: true } => f.write_str("remove environment"),
            Step::Unit => f.write_str("install unit"),
            Step::Join { again: false } => f.write_str("join"),
            Step::Join { again: true } => f.write_str("join anew"),
            Step::Enable => f.write_str("enable"),
            Step::Start => f.write_str("start"),
            Step::Restart => f.write_str("restart"),
        }
    }
}

/// What must be done on the board that says `probe`.
///
/// # Errors
/// Why nothing can be done.
pub fn plan(wanted: &Wanted<'_>, probe: &Probe) -> Result<Plan, Trouble> {
    let board = wanted.board;
    let arch = probe.arch().map_err(|what| no_binary(what, wanted))?;
    let Some(binary) = wanted.binaries.get(arch) else {
        return Err(no_binary(arch.to_owned(), wanted));
    };
    let joins = joins(wanted, probe)?;
    let files = files(board, probe.init);

    let mut steps = Vec::new();
    let differs =
        |what: &str, text: &str| probe.files.get(what) != Some(&Digest::of(text.as_bytes()));
    let new_binary = probe.files.get("binary") != Some(&binary.digest);
    if new_binary {
        steps.push(Step::Binary {
            arch: arch.to_owned(),
            version: binary.version.clone(),
            size: binary.size,
            replaces: probe.files.contains_key("binary"),
        });
    }
    if differs("config", &files.config) {
        steps.push(Step::Config);
    }
    match &files.env {
        Some(env) if differs("env", env) => steps.push(Step::Env { removed: false }),
        None if probe.files.contains_key("env") => steps.push(Step::Env { removed: true }),
        _ => {}
    }
    let part =
        |what: &str, text: &Option<String>| text.as_deref().is_some_and(|t| differs(what, t));
    if part("unit", &files.unit) || part("settings", &files.settings) {
        steps.push(Step::Unit);
    }
    room(&steps, wanted, probe)?;
    if probe.init == Init::Unknown && !wanted.sync_only {
        return Err(Trouble::NoInit);
    }
    if !wanted.sync_only {
        let changed = !steps.is_empty() || probe.stale || joins.is_some();
        steps.extend(joins);
        if !probe.enabled {
            steps.push(Step::Enable);
        }
        match (probe.active, changed) {
            (false, _) => steps.push(Step::Start),
            (true, true) => steps.push(Step::Restart),
            (true, false) => {}
        }
    }
    let mut notes = Vec::new();
    if probe.time_s < NOT_BEFORE_S {
        notes.push(
            "its clock is wrong (before 2020); it joins all the same, schedules wait for the time"
                .to_owned(),
        );
    }
    Ok(Plan {
        steps,
        notes,
        files,
        arch,
    })
}

fn no_binary(what: String, wanted: &Wanted<'_>) -> Trouble {
    Trouble::NoBinary {
        arch: what,
        there: wanted.binaries.keys().cloned().collect(),
    }
}

/// Whether it must join, and may.
fn joins(wanted: &Wanted<'_>, probe: &Probe) -> Result<Option<Step>, Trouble> {
    let board = wanted.board;
    let of_this = match (&probe.fleet_key, &probe.node) {
        (Some(key), Some(node)) if key == wanted.fleet_key => Some(node.as_str()),
        (Some(_), node) => {
            return Err(Trouble::OtherFleet {
                node: node.clone().unwrap_or_default(),
            });
        }
        _ => None,
    };
    match (of_this, wanted.known) {
        (Some(node), _) if node != board.name.as_str() => Err(Trouble::OtherName {
            node: node.to_owned(),
        }),
        (_, Known::Revoked) => Err(Trouble::Revoked),
        (Some(_), Known::Yes) => Ok(None),
        (Some(_), Known::No) => Ok(Some(Step::Join { again: true })),
        (None, Known::No) => Ok(Some(Step::Join { again: false })),
        (None, Known::Yes) => Err(Trouble::NameTaken),
    }
}

/// Whether the disks take what is copied.
fn room(steps: &[Step], wanted: &Wanted<'_>, probe: &Probe) -> Result<(), Trouble> {
    let dir = &wanted.board.install_dir;
    // The old binary stays until the new one is whole, so both must fit.
    let binary = steps.iter().find_map(|s| match s {
        Step::Binary { size, .. } => Some(*size),
        _ => None,
    });
    let texts = steps.iter().any(|s| !matches!(s, Step::Binary { .. }));
    if let Some(size) = binary {
        writable(&probe.install, dir)?;
        enough(&probe.install, dir, size + SPARE)?;
    }
    if probe.install.is("noexec") {
        return Err(Trouble::NoExec {
            dir: dir.clone(),
            mounted: probe.install.mounted.clone(),
        });
    }
    if texts {
        writable(&probe.etc, "/etc")?;
        enough(&probe.etc, "/etc", 64 << 10)?;
    }
    writable(&probe.data, "/var/lib")?;
    if !probe.active {
        enough(&probe.data, "/var/lib", SPARE)?;
    }
    Ok(())
}

fn writable(place: &Place, dir: &str) -> Result<(), Trouble> {
    match place.is("ro") {
        true => Err(Trouble::ReadOnly {
            dir: dir.to_owned(),
            mounted: place.mounted.clone(),
        }),
        false => Ok(()),
    }
}

fn enough(place: &Place, dir: &str, needed: u64) -> Result<(), Trouble> {
    match place.free {
        Some(free) if free < needed => Err(Trouble::Full {
            dir: dir.to_owned(),
            mounted: place.mounted.clone(),
            free,
            needed,
        }),
        _ => Ok(()),
    }
}
