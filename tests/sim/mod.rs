//! A whole fleet in one deterministic test: the real [`fleetctl::fleet::Fleet`],
//! [`fleetctl::fleet::Presence`] and [`fleetctl::supervisor::Supervisor`], with virtual time, a
//! virtual network, virtual engines, people who change their minds, and faults of every kind.
//!
//! ```text
//!   make sim                  the seeds of `make test`, with the report
//!   make sim SEEDS=100000     more of them
//!   make sim SEED=123         one, with its whole log
//! ```
//!
//! | module | one idea |
//! |---|---|
//! | [`world`] | virtual time: a heap of events |
//! | [`controller`], [`journal`] | the controller's shell, its disk, its crashes |
//! | [`broker`] | sessions, retained messages, links |
//! | [`node`], [`shell`] | a machine, its disk and its session; what is around its supervisor |
//! | [`engine`], [`program`] | what executes instances, and what they do |
//! | [`operator`], [`faults`] | who changes things, and what breaks |
//! | [`check`], [`settle`] | what must hold after every step, and in the end |
//! | [`run`] | one seed, and many |
//! | [`planted`] | bugs that were planted, and that the rules must catch |

mod broker;
mod check;
mod controller;
mod engine;
mod faults;
mod journal;
mod node;
mod operator;
#[cfg(feature = "planted-bugs")]
mod planted;
mod program;
mod random;
mod run;
mod settle;
mod shell;
mod world;

use run::{big, simulate, simulate_many, small};

/// Seeds that everybody runs.
const SEEDS: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

/// Prints what people asked for, and what they need when something is wrong.
fn conclude(total: &run::Total) {
    println!("{}", total.report());
    if let Some(first) = total.failed.first() {
        panic!("{}", first.story());
    }
}

#[test]
fn whatever_breaks_every_rule_holds_and_the_fleet_comes_right() {
    if let Some(seed) = number("FLEET_SIM_SEED") {
        let outcome = simulate(seed, small(), true);
        assert_eq!(outcome.violation, None, "{}", outcome.story());
        return;
    }
    let seeds = number("FLEET_SIM_SEEDS").unwrap_or(SEEDS);
    let total = simulate_many(0..seeds, &small());
    conclude(&total);
    assert_eq!(total.seeds, seeds);
}

#[test]
fn hundreds_of_nodes_come_right_too() {
    let first = number("FLEET_SIM_SEED").unwrap_or(0);
    let total = simulate_many(first..first + 2, &big());
    conclude(&total);
    assert_eq!(total.seeds, 2);
}

#[test]
fn the_controller_may_crash_at_every_position_of_its_journal() {
    let quiet = || world::Profile {
        nodes: (3, 4),
        workloads: 3,
        faults_for_ms: 3 * 60_000,
        operator_every_ms: 15_000,
        fault_every_ms: 60_000,
        crash_at: None,
    };
    let whole = simulate(7, quiet(), false);
    assert_eq!(whole.violation, None, "{}", whole.story());
    assert!(whole.entries > 40, "{} entries only", whole.entries);
    let total = run::simulate_all(whole.entries as u64 * 2, |n| {
        let mut profile = quiet();
        profile.crash_at = Some(((n / 2) as usize, n % 2 == 1));
        (7, profile)
    });
    conclude(&total);
}

#[test]
fn a_seed_that_is_run_twice_gives_the_same_log() {
    for seed in [1, 2, 3] {
        let (first, again) = (
            simulate(seed, small(), false),
            simulate(seed, small(), false),
        );
        assert!(first.log.0 > 300, "{} lines only", first.log.0);
        assert_eq!(first.log, again.log);
        assert_eq!(first.last_lines, again.last_lines);
        assert_eq!(first.steps, again.steps);
    }
    let other = simulate(4, small(), false);
    assert_ne!(other.log, simulate(5, small(), false).log);
}
