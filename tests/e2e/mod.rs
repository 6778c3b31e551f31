//! The whole product, as its users run it: the built binary, real brokers, real engines.
//!
//! [`harness`] starts controllers and agents of a test's own (free ports, temporary directories,
//! node names that nobody else has) and takes everything away again, also after a failure. The
//! scenarios are grouped by theme, and each waits on conditions with a deadline.

mod api;
mod brokers;
mod credentials;
mod durability;
mod failures;
mod forgery;
mod harness;
mod joining;
mod network;
mod presence;
mod storage;
mod survival;
mod tools;
mod workloads;
