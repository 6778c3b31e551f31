//! Bugs that are planted on purpose, to prove that the simulation (`tests/sim`) would catch them.
//!
//! Each is a place in the pure code that asks [`is`] whether it is to do the wrong thing. Without
//! the feature `planted-bugs` the answer is `false`, known when the code is compiled: nothing of it
//! is in a program that is shipped. With it, a bug is on only for the thread that asked for it by
//! `with`.

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// An agent obeys an older assignment that is played to it again.
    ObeysOlderGenerations,
    /// An assignment changes and keeps its generation.
    KeepsTheGeneration,
    /// What is not assigned to a node any more goes on running there.
    KeepsWhatIsNotAssigned,
    /// A run is counted on the disk only after it has begun.
    RemembersTooLate,
    /// A node that was silent and is heard again stays silent.
    StaysSilent,
    /// The workloads of a removed node are not placed elsewhere.
    LeavesNothingElsewhere,
    /// What is remembered rests on something that is not in the journal.
    DecidesByChance,
    /// What a lost node had is placed elsewhere, and stays assigned to that node as well.
    FailsOverTwice,
    /// An instance that has moved is not taken from its old node.
    KeepsTheOldOne,
    /// A rollout changes more nodes at the same time than it may.
    IgnoresMaxParallel,
    /// A rollout takes more of a label group away than it may.
    IgnoresTheBudget,
    /// A version that has failed on a node counts as healthy there.
    TakesFailuresForHealth,
    /// Rollouts and moves that only time brings on are not woken.
    ForgetsDeadlines,
}

impl Bug {
    /// Every one.
    pub const ALL: [Bug; 13] = [
        Bug::ObeysOlderGenerations,
        Bug::KeepsTheGeneration,
        Bug::KeepsWhatIsNotAssigned,
        Bug::RemembersTooLate,
        Bug::StaysSilent,
        Bug::LeavesNothingElsewhere,
        Bug::DecidesByChance,
        Bug::FailsOverTwice,
        Bug::KeepsTheOldOne,
        Bug::IgnoresMaxParallel,
        Bug::IgnoresTheBudget,
        Bug::TakesFailuresForHealth,
        Bug::ForgetsDeadlines,
    ];
}

#[cfg(any(test, feature = "planted-bugs"))]
mod on {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether this bug is planted, on this thread.
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Another number at each call, where this bug is planted; else 0.
    pub fn chance(bug: Bug) -> u64 {
        if !is(bug) {
            return 0;
        }
        ASKED.set(ASKED.get() + 1);
        ASKED.get()
    }

    /// Does something with a bug planted.
    pub fn with<T>(bug: Bug, what: impl FnOnce() -> T) -> T {
        PLANTED.set(Some(bug));
        let result = what();
        PLANTED.set(None);
        result
    }
}

#[cfg(any(test, feature = "planted-bugs"))]
pub use on::{chance, is, with};

/// Whether this bug is planted: never, in what is shipped.
#[cfg(not(any(test, feature = "planted-bugs")))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// 0, in what is shipped.
#[cfg(not(any(test, feature = "planted-bugs")))]
#[inline(always)]
pub const fn chance(_bug: Bug) -> u64 {
    0
}
