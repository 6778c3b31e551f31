//! What the scenarios are made of.

mod agent;
mod daemon;
mod engine;
mod fleet;
mod http;
pub mod manifests;
mod mosquitto;
pub mod mqtt;
pub mod native;
mod net;
mod ports;
mod small_disk;
mod wait;

pub use agent::Agent;
pub use daemon::Daemon;
pub use engine::in_registry;
pub use fleet::{Fleet, Ran, fleetctl};
pub use http::Answer;
pub use mosquitto::Mosquitto;
pub use net::Lan;
pub use ports::Port;
pub use small_disk::SmallDisk;
pub use wait::{PATIENCE, wait_until};
