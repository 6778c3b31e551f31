//! Fifty boards are upgraded, with the program that is handed out.

use crate::e2e::{harness::Releases, upgrade::bad_ones_then_a_good_one};

#[test]
fn fifty_boards_survive_every_bad_release_and_get_a_good_one() {
    let released = super::dist().join("fleetctl");
    bad_ones_then_a_good_one(50, Releases::of(&released));
}
