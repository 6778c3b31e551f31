//! Waiting on conditions: every wait has an end, and none is longer than it must be.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes, also on a machine that does other things.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(15);

/// What `look` finds in the end; fails with `what` when it finds nothing in time.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain: {what}"
        );
        thread::sleep(POLL);
    }
}

/// Until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
