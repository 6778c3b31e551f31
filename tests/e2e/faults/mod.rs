//! Bad input and faults, end to end: each beside a [`bystander`] that must not notice.
//!
//! | file | what goes wrong |
//! |---|---|
//! | [`kills`] | the agent is killed at every step of an order |
//! | [`engine`] | an engine hangs, never answers, vanishes, or dies in the middle of a pull |
//! | [`pull`] | registries that are slow, die, or hang; one image at a time |
//! | [`output`] | a gigabyte, no line ends, binary, and more than anybody reads |
//! | [`limits`] | fork bombs, too much memory, programs that do not want to end |
//! | [`disk`] | the agent's disk is full |
//!
//! What the parts do below the fleet is in `tests/process` (`faults`, `limits`, `output`) and
//! `tests/engine/faults.rs`. A wall clock that jumps by years cannot be had here, since all of a
//! machine has the same one (time namespaces move the other clocks only): `src/supervisor/tests`
//! plays it in `schedule.rs`, in `a_clock_that_jumps_by_ten_years_makes_at_most_one_run`,
//! `a_small_jump_back_runs_nothing_twice` and `a_board_that_wakes_up_in_1970_waits_for_its_clock`,
//! and in every run of `random.rs`. A schedule that never comes is refused where it is written;
//! `a_schedule_that_never_comes_is_said_and_touches_nobody` shows one that got through.

mod bystander;
mod disk;
mod engine;
mod kills;
mod limits;
mod output;
mod proxy;
mod pull;
mod registry;
mod wire;

use bystander::Bystander;
use proxy::Proxy;
use registry::{Registry, Unique};
