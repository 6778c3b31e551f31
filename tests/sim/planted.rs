//! The proof that the rules mean something: bugs are planted into the real code, one at a time, and
//! each must be caught by a rule within a bounded number of seeds.

use super::run::{simulate, small};
use fleetctl::planted::{self, Bug};

/// Seeds in which a bug must show.
const WITHIN: u64 = 200;

#[test]
fn every_planted_bug_is_caught_by_a_rule() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let caught = (0..WITHIN).find_map(|seed| {
            let outcome = planted::with(bug, || simulate(seed, small(), false));
            outcome.violation.map(|v| (seed, v.rule))
        });
        if let Some((seed, _)) = caught {
            // It was the bug: without it, the same seed is clean.
            let clean = simulate(seed, small(), false);
            assert_eq!(clean.violation, None, "{}", clean.story());
        }
        match caught {
            Some((seed, rule)) => println!("{bug:?}: caught in seed {seed} by `{rule}`"),
            None => missed.push(bug),
        }
    }
    println!(
        "{} bugs planted, {} caught",
        Bug::ALL.len(),
        Bug::ALL.len() - missed.len()
    );
    assert!(
        missed.is_empty(),
        "nothing caught {missed:?} in {WITHIN} seeds"
    );
    assert!(Bug::ALL.len() >= 8);
}
