#![doc = include_str!("tour.md")]

pub mod agent;
pub mod alert;
pub mod broker;
pub mod check;
pub mod cli;
pub mod config;
pub mod contract;
pub mod controller;
pub mod fleet;
pub mod gate;
pub mod http;
pub mod identity;
pub mod journal;
pub mod manifest;
pub mod model;
pub mod mqtt;
pub mod notify;
pub mod planted;
pub mod runtime;
pub mod simulate;
pub mod supervisor;
pub mod support;
pub mod trace;

/// Version of fleetctl.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
