//! What the scenarios are made of.

mod agent;
mod boards;
mod daemon;
mod engine;
mod fleet;
mod foreign;
pub mod http;
pub mod manifests;
mod mosquitto;
pub mod mqtt;
pub mod native;
mod net;
mod place;
mod ports;
mod release;
mod small_disk;
mod standalone;
mod wait;

pub use agent::Agent;
pub use boards::Boards;
pub use daemon::Daemon;
pub use engine::{Engine, in_registry, variable};
pub use fleet::{Fleet, Ran, Setup, fleetctl};
pub use foreign::{Foreign, image_with_check};
pub use http::{Answer, Ask};
pub use mosquitto::Mosquitto;
pub use net::Lan;
pub use place::Place;
pub use ports::Port;
pub use release::{Bad, Releases};
pub use small_disk::SmallDisk;
pub use standalone::Standalone;
pub use wait::{PATIENCE, wait_for, wait_until};
