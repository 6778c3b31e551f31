//! What a start of the agent does, and what the end of a trial comes to. Pure: what it looks at and
//! what it does is behind [`World`], so that tests can cut the power after each write.
//!
//! ```text
//!  begin ─► on trial? ───────────────────────────────────────────────────────────► run
//!    │ no
//!    ├─ another program is installed than was recorded ─► record of nothing ─────► run as installed
//!    ├─ another one is current ─► whole? ─ yes ─► become it
//!    │                              └─ no ─► record of nothing ───────────────────► run as installed
//!    ├─ something is on trial ─► tries left? ─ yes ─► guard it ─► ended ─► become what is current
//!    │                              └─ no ─► failed ──────────────────────────────► run
//!    └───────────────────────────────────────────────────────────────────────────► run
//! ```

use super::record::{OnTrial, Program, Record};
use crate::{manifest::quantity::duration_text, model::Digest};

/// A child on trial is started so often: once more after a power cut.
pub const MAX_TRIES: u32 = 2;
/// A start goes round so often; a bound, never reached.
const ROUNDS: u32 = 8;

/// What a start looks at and does. What fails is said by [`World::say`] and not fatal: a board must
/// come up.
pub trait World {
    /// What is on the disk; the default where there is nothing that can be read.
    fn record(&mut self) -> Record;
    /// Puts it there, whole or not at all. `false`: it could not be.
    fn store(&mut self, record: &Record) -> bool;
    /// The hash of what is installed; `None`: it cannot be read.
    fn installed(&mut self) -> Option<Digest>;
    /// It is there and is what its name says.
    fn is_whole(&mut self, program: Program) -> bool;
    /// Starts a child and waits for its end.
    fn guard(&mut self, trial: &OnTrial) -> Ending;
    /// Tells people.
    fn say(&mut self, sentence: String);
}

/// What a process does that was started as an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It is the agent.
    Run,
    /// It becomes this program, which begins anew.
    Become(Program),
    /// It was asked to stop.
    Stop,
}

/// How the child on trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub how: How,
    /// After so long.
    pub after_ms: u64,
    /// What it wrote last.
    pub last_lines: Vec<String>,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// The guard was asked to stop, and stopped it.
    Asked,
    /// Its time was up, and it was killed.
    TimedOut,
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It could not be started: why.
    NotStarted(String),
}

/// What this process does. `me` is the program that it is, `on_trial` says that a guard waits for
/// it.
pub fn begin(world: &mut impl World, me: Program, on_trial: bool) -> Begin {
    if on_trial {
        return Begin::Run;
    }
    for _ in 0..ROUNDS {
        let record = world.record();
        if record == Record::default() {
            return go(me, Program::Installed);
        }
        if me == Program::Installed
            && let Some(recorded) = record.installed
            && world.installed().is_some_and(|now| now != recorded)
        {
            world.say(
                "another fleetctl was installed on this board than before: it runs from now on, \
                 and what the fleet wants is tried anew"
                    .into(),
            );
            world.store(&Record::installed_wins());
            return Begin::Run;
        }
        let current = record.current.program;
        if me != current {
            if world.is_whole(current) {
                return Begin::Become(current);
            }
            world.say(
                "the program of the agent is damaged or gone; the one that was installed runs in \
                 its place"
                    .into(),
            );
            world.store(&Record::installed_wins());
            return go(me, Program::Installed);
        }
        let Some(trial) = record.trial.clone() else {
            return Begin::Run;
        };
        let Some(begun) = next_try(world, &record, &trial) else {
            return Begin::Run;
        };
        match begun {
            Begin::Run => {}
            other => return other,
        }
    }
    Begin::Run
}

fn go(me: Program, to: Program) -> Begin {
    if me == to {
        Begin::Run
    } else {
        Begin::Become(to)
    }
}

/// One try of what is on trial. `Some(Run)`: look again; `None`: nothing can be tried now.
fn next_try(world: &mut impl World, record: &Record, trial: &OnTrial) -> Option<Begin> {
    let version = &trial.edition.version;
    let given_up = if trial.tries >= MAX_TRIES {
        Some(format!(
            "version {version} was started {} times and was not known to be healthy before the \
             power went or the agent was killed",
            trial.tries
        ))
    } else if !world.is_whole(trial.edition.program) {
        Some(format!(
            "the program of version {version} is damaged or gone"
        ))
    } else {
        None
    };
    if let Some(reason) = given_up {
        world.say(format!("goes on as before: {reason}"));
        return world
            .store(&record.failed(reason, Vec::new()))
            .then_some(Begin::Run);
    }
    // Counted before it is started: what takes the board down is not tried for ever.
    let tried = record.tried();
    if !world.store(&tried) {
        return None;
    }
    let ending = world.guard(trial);
    let after = world.record();
    let (store, next) = ended(&after, trial, &ending);
    if let Some(store) = store {
        if let Some(failed) = &store.failed {
            world.say(format!(
                "goes back from version {version}: {}",
                failed.reason
            ));
        }
        world.store(&store);
    }
    Some(next)
}

/// What the end of the child comes to. `record` is what is on the disk by now: the child has written
/// there whether it works.
pub fn ended(record: &Record, tried: &OnTrial, ending: &Ending) -> (Option<Record>, Begin) {
    if ending.how == How::Asked {
        return (None, Begin::Stop);
    }
    let still = record
        .trial
        .as_ref()
        .is_some_and(|t| t.edition == tried.edition);
    let store = still.then(|| record.failed(why(tried, ending), ending.last_lines.clone()));
    // The guard itself begins anew where it goes back: what a day of waiting has left is gone.
    (store, Begin::Become(record.current.program))
}

fn why(tried: &OnTrial, ending: &Ending) -> String {
    let version = &tried.edition.version;
    let after = duration_text(ending.after_ms);
    let mut text = match &ending.how {
        How::Exit(code) => format!(
            "version {version} ended with exit code {code} after {after}, before it was known to \
             be healthy"
        ),
        How::Signal(signal) => format!(
            "version {version} was ended by signal {signal} after {after}, before it was known to \
             be healthy"
        ),
        How::NotStarted(why) => format!("version {version} cannot be started: {why}"),
        How::TimedOut | How::Asked => {
            format!("version {version} was not known to be healthy within {after}, and was killed")
        }
    };
    let said: Vec<&str> = ending.last_lines.iter().map(|l| l.trim()).collect();
    let last = said.iter().rev().find(|line| !line.is_empty());
    if let Some(last) = last {
        text.push_str(": ");
        text.push_str(last);
    }
    text
}
