//! The agent that puts another release of itself in its place, and goes back where that does not
//! work: with no network, over power cuts, and with no workload noticing.
//!
//! ```text
//!            assigned, fetched, looked at            confirmed: has a session with the fleet's
//!            ┌───────────────┐                       broker and was healthy for long enough
//!            │               ▼                       ┌───────────────────────────────────────┐
//!       ┌─────────┐  trial, tries = 0  ┌──────────┐  │                                       ▼
//!  ────►│ old runs│───────────────────►│ old waits│──┴──────────────► trial is current ► new runs
//!       └─────────┘                    │ as guard,│  the new one ends, hangs past its time, or
//!            ▲                         │ new runs │  finds by itself that it does not work
//!            │                         └──────────┘──────┐
//!            │        failed, with the reason            │
//!            └───────────────────────────────────────────┘
//!              (something else is wanted meanwhile: dropped, and not failed)
//!
//!  power cut while the guard waits: the start finds the trial and tries once more, tries is on the
//!  disk before; after the second time it is failed
//! ```
//!
//! One process is the one that the service manager knows, and keeps its number throughout:
//!
//! ```text
//!  /usr/bin/fleetctl agent ─exec─► bin/<old> ─exec─► bin/<old> as guard ─exec─► bin/<new>
//!  what is installed starts        what is current   │ starts, watches         or bin/<old> again
//!                                                    └─► bin/<new>: the child on trial
//! ```
//!
//! - What was installed is never changed. It starts first after each boot, looks into
//!   `<data_dir>/upgrade/record.json`, and becomes what is current there. Another one than it was
//!   (a package was upgraded, somebody copied a file) is what the board is to run from then on, and
//!   the fleet's wish is carried out anew on top of it.
//! - The record is written beside, synced and renamed: whole or absent. Each decision is made from
//!   it alone, so that a power cut is nothing special: [`decide`] is pure, and a test cuts the power
//!   after each write.
//! - A program is taken by its SHA-256, again at each start: one that was damaged on the card is not
//!   run, the installed one is.
//! - The child dies with its guard (the kernel sees to it), and workloads with neither: they are
//!   children of their own shims. What else it has started ends when it is given up.
//! - Only the guard speaks to the service manager: it is ready, and feeds its watchdog, while it
//!   waits.
//!
//! | module | one idea |
//! |---|---|
//! | [`record`] | what is on the disk, and how it changes |
//! | [`decide`] | what a start does, what the end of a trial comes to: pure |
//! | [`place`] | the directory: record, programs, their hashes |
//! | [`marker`] | what a process is told of itself by the one that it was before |
//! | [`start`] | does what was decided: becomes another program, or its guard |
//! | [`guard`] | starts the child and waits |
//! | [`strays`] | ends what a child that is given up has left running |
//!
//! When to upgrade, to what, and whether the new one is healthy is decided as for every other
//! workload, by [`crate::supervisor`] with a guarded change; `agent/upgrade.rs` is its runtime.

pub mod decide;
mod guard;
mod marker;
pub mod place;
pub mod record;
mod start;
mod strays;
#[cfg(test)]
mod walk;

pub use start::{Begun, HANDED_OVER, Standing, begin, start_anew};
