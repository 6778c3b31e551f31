//! The whole product, as its users run it: the built binary, real brokers, real engines.
//!
//! [`harness`] starts controllers and agents of a test's own (free ports, temporary directories,
//! node names that nobody else has) and takes everything away again, also after a failure. The
//! scenarios are grouped by theme, and each waits on conditions with a deadline.

mod adopt;
mod alerts;
mod api;
mod audit;
mod blob_attacks;
mod blobs;
mod brokers;
mod check;
mod cluster;
mod compose;
mod crash;
mod credentials;
mod deploy;
mod durability;
mod exec;
mod failures;
mod faults;
mod files;
mod first_boot;
mod forgery;
pub(crate) mod harness;
mod health;
mod image;
mod joining;
mod logs;
mod manifests;
mod mdns;
mod network;
mod notify;
mod order;
mod presence;
mod prometheus;
mod python;
mod restart;
mod rollouts;
mod schedules;
mod self_upgrade;
mod simulate;
mod standalone;
mod storage;
mod survival;
mod telemetry;
mod tools;
mod top;
mod trace;
mod trial;
mod unattended;
mod units;
pub(crate) mod upgrade;
mod web;
mod workloads;
