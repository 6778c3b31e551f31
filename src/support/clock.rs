//! The clocks.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Wall clock, Unix milliseconds; 0 before 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since this process first asked; never goes back.
pub fn mono_ms() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = FIRST.get_or_init(Instant::now);
    u64::try_from(first.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A number to seed jitter with: another one on each machine and at each start.
pub fn seed() -> u64 {
    crate::identity::random_bytes::<8>()
        .map(u64::from_le_bytes)
        .unwrap_or_else(|_| unix_ms())
}
