//! `fleetctl deploy`, the part that decides: which boards there are, what a board says of itself,
//! and what must be done so that it takes part in the fleet.
//!
//! ```text
//! inventory.toml ─► Inventory ─► Board ─┐
//!                 ssh: probe ─► Probe ──┼─► plan ─► Plan (steps) ─► ssh: apply ─► online
//!                 binaries, fleet ──────┘      └──► Trouble (a sentence)
//! ```
//!
//! What a board already has is what it says itself, never a file on the operator's machine: so a run
//! that was ended goes on where it was, and a second one changes nothing. Nothing here speaks to
//! anybody; `cli::deploy` does.

mod files;
mod inventory;
mod plan;
mod probe;
#[cfg(test)]
mod tests;
mod trouble;

pub use files::{Files, UNIT_NAME, files};
pub use inventory::{Board, Inventory, MAX_BOARDS, Select, parse};
pub use plan::{Available, Known, Plan, Restart, Step, Wanted, plan};
pub use probe::{Init, Place, Probe};
pub use trouble::{Trouble, of_ssh};
