//! Does what was decided at the start of an agent, before anything else of it is there: becomes
//! another program, or waits for one as its guard.

use super::{
    decide::{self, Begin, Ending, World},
    guard::{self, Child},
    marker::{Marker, Role, VARIABLE},
    place::{self, Place},
    record::{OnTrial, Program, Record},
};
use crate::model::Digest;
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use tracing::{error, warn};

/// Exit code of a child on trial that has written what becomes of it into the record.
pub const HANDED_OVER: u8 = 75;
/// So often one program becomes another before one of them runs; a bound, never reached.
const MAX_HOPS: u32 = 6;
/// Exit code where the child on trial could not become what is tried.
const CANNOT_BECOME: u8 = 126;

/// What this process is, as far as upgrades are concerned.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which program.
    pub program: Program,
    /// A guard waits for its word.
    pub on_trial: bool,
    /// What the service manager starts.
    pub installed: PathBuf,
    /// Where it lies on the disk.
    pub place: Place,
}

/// What came of the beginning.
#[derive(Debug)]
pub enum Begun {
    /// It runs as this.
    Run(Standing),
    /// It has done what it was there for.
    Ended(ExitCode),
}

/// To be called first of all in the role of an agent, before any thread is there. It returns only
/// in the process that is to be the agent, and where everything was asked to stop.
pub fn begin(data_dir: &Path) -> Begun {
    let place = Place::new(data_dir);
    let marker = Marker::of_this_process();
    let (role, program, hops, installed) = match marker {
        Some(m) => (m.role, m.program, m.hops, m.installed),
        None => (Role::Agent, Program::Installed, 0, own_path()),
    };
    let mut standing = Standing {
        program,
        on_trial: role == Role::OnTrial,
        installed,
        place,
    };
    if let Role::Launch(guard) = role {
        return Begun::Ended(launch(&standing, guard));
    }
    let mut this = This {
        standing: standing.clone(),
        has_record: false,
    };
    match decide::begin(&mut this, program, standing.on_trial) {
        Begin::Stop => return Begun::Ended(ExitCode::SUCCESS),
        Begin::Run => {}
        Begin::Become(to) if hops < MAX_HOPS => {
            let failed = standing.become_program(to, hops + 1);
            error!(error = %failed, "cannot become the program that is current, goes on as it is");
        }
        Begin::Become(_) => warn!("the current program of the agent changes again and again"),
    }
    if this.has_record || standing.on_trial {
        standing.place.wait_until_free();
    }
    // What is current may have changed, but not what this process is.
    standing.program = program;
    Begun::Run(standing)
}

/// The path of this process's own program. One that was replaced meanwhile is named as well: what
/// lies there now is what is to run.
fn own_path() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let replaced = path.to_str().and_then(|p| p.strip_suffix(" (deleted)"));
    match replaced.map(PathBuf::from) {
        Some(replaced) if replaced.exists() => replaced,
        Some(_) => "/proc/self/exe".into(),
        None => path,
    }
}

impl Standing {
    /// The file of a program.
    pub fn path_of(&self, program: Program) -> PathBuf {
        match program {
            Program::Installed => self.installed.clone(),
            Program::Stored(digest) => self.place.program(&digest),
        }
    }

    fn command(&self, path: &Path, marker: &Marker) -> Command {
        let mut command = Command::new(path);
        command.args(std::env::args_os().skip(1));
        match marker.encode(std::process::id()) {
            Some(text) => command.env(VARIABLE, text),
            None => command.env_remove(VARIABLE),
        };
        command
    }

    fn marker(&self, role: Role, program: Program, hops: u32) -> Marker {
        Marker {
            role,
            program,
            hops,
            installed: self.installed.clone(),
        }
    }

    /// This process becomes that program, and begins anew; returns only where it cannot.
    fn become_program(&self, program: Program, hops: u32) -> std::io::Error {
        let marker = self.marker(Role::Agent, program, hops);
        self.command(&self.path_of(program), &marker).exec()
    }
}

/// The same process begins anew, as the program that it is.
pub fn start_anew(standing: Option<&Standing>) -> std::io::Error {
    let mut command = Command::new(own_path());
    command.args(std::env::args_os().skip(1));
    if let Some(standing) = standing {
        let role = if standing.on_trial {
            Role::OnTrial
        } else {
            Role::Agent
        };
        let marker = standing.marker(role, standing.program, 0);
        if let Some(text) = marker.encode(std::process::id()) {
            command.env(VARIABLE, text);
        }
    }
    command.exec()
}

/// Becomes the child on trial: it is to die with its guard, whatever program it is.
fn launch(standing: &Standing, guard: u32) -> ExitCode {
    let signal = rustix::process::Signal::KILL;
    let bound = rustix::process::set_parent_process_death_signal(Some(signal));
    // The guard may have died before that.
    let parent = rustix::process::getppid().map(|p| p.as_raw_pid().unsigned_abs());
    if bound.is_err() || parent != Some(guard) {
        return ExitCode::from(CANNOT_BECOME);
    }
    let marker = standing.marker(Role::OnTrial, standing.program, 0);
    let path = standing.path_of(standing.program);
    let failed = standing.command(&path, &marker).exec();
    // For the guard, which keeps the last lines.
    eprintln!("{} cannot be started: {failed}", path.display());
    ExitCode::from(CANNOT_BECOME)
}

/// This machine.
struct This {
    standing: Standing,
    has_record: bool,
}

impl World for This {
    fn record(&mut self) -> Record {
        let read = self.standing.place.record();
        let record = read.unwrap_or_else(|error| {
            let error = crate::support::chain(&error);
            error!(error, "the record of upgrades cannot be read");
            None
        });
        self.has_record |= record.is_some();
        record.unwrap_or_default()
    }

    fn store(&mut self, record: &Record) -> bool {
        let own = self.standing.program.digest();
        let stored = self.standing.place.store(record, own);
        if let Err(error) = &stored {
            let error = crate::support::chain(error);
            error!(error, "the record of upgrades cannot be kept");
        }
        stored.is_ok()
    }

    fn installed(&mut self) -> Option<Digest> {
        place::hash_of(&self.standing.installed).ok()
    }

    fn is_whole(&mut self, program: Program) -> bool {
        match program {
            Program::Installed => self.standing.installed.exists(),
            Program::Stored(digest) => self.standing.place.is_whole(&digest),
        }
    }

    fn guard(&mut self, trial: &OnTrial) -> Ending {
        let standing = &self.standing;
        let program = trial.edition.program;
        let launcher = standing.marker(Role::Launch(std::process::id()), program, 0);
        let command = standing.command(&own_path(), &launcher);
        let on_trial = standing.marker(Role::OnTrial, program, 0);
        let record = || standing.place.record().ok().flatten().unwrap_or_default();
        let child = Child {
            marker: &|pid| on_trial.encode(pid),
            given_up: &|| record().current != trial.edition,
        };
        let ending = guard::watch(command, trial, &child);
        // The child may have written down by itself that it does not work; its own file stayed
        // then, since it ran from it.
        standing.place.prune(&record(), standing.program.digest());
        ending
    }

    fn say(&mut self, sentence: String) {
        warn!("{sentence}");
    }
}
