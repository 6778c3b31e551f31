//! The nouns of the product, valid once constructed.
//!
//! A [`Workload`] is what a user asked for, a [`NodeFacts`] is what an agent found out about its
//! machine, an [`Assignment`] is the one document that says what a node must run, and an
//! [`ObservedInstance`] is what became of one workload on one node. Everything that travels,
//! is stored, or is decided upon is made of these; they know no I/O.

mod assignment;
mod command;
mod decimal;
mod instance;
mod name;
mod node;
mod workload;

pub use assignment::{AssignedInstance, Assignment, Desired, NodeConfig};
pub use command::{CommandKind, CommandOutcome, CommandSpec, LogQuery};
pub use instance::{InstanceState, LogLine, LogStream, ObservedInstance, RuntimeKind};
pub use name::{Name, NameError};
pub use node::{EngineFact, Heartbeat, NodeFacts, Presence};
pub use workload::{
    Device, Mount, MountSource, Placement, PlacementMode, Port, Protocol, PullPolicy, Requirement,
    Resources, Restart, RestartPolicy, Run, Strategy, Workload, WorkloadType,
};

/// Wall-clock time, Unix milliseconds. Never the base of a decision on a node.
pub type UnixMs = u64;
