//! The nouns of the product, valid once constructed.
//!
//! A [`Workload`] is what a user asked for, a [`NodeFacts`] is what an agent found out about its
//! machine, an [`Assignment`] is the one document that says what a node must run, and an
//! [`ObservedInstance`] is what became of one workload on one node. Everything that travels,
//! is stored, or is decided upon is made of these; they know no I/O.

mod artifact;
mod assignment;
mod command;
mod config;
mod cron;
mod decimal;
mod digest;
mod exec;
mod extra;
mod health;
mod image;
mod instance;
mod name;
mod node;
mod order;
mod placement;
mod run_mode;
mod shown;
pub mod template;
pub(crate) mod trace;
mod unmanaged;
mod update;
mod version;
mod workload;

pub use artifact::{Artifact, ArtifactRecord, Binary, Image};
pub use assignment::{AssignedInstance, Assignment, Desired};
pub use command::{CommandKind, CommandOutcome, CommandSpec, LogQuery};
pub use config::{BlobSource, LogShipping, Metric, MetricConfig, NodeConfig};
pub use cron::{CLOCK_SET_MS, Cron, CronError};
pub use digest::{Digest, Hasher, NotADigest};
pub use exec::{ExecInput, ExecSpec, TerminalSize};
pub use extra::{DependsOn, FileSpec, Hook, LogLimits, Signal, Tmpfs};
pub use health::{Health, HealthCheck, HealthStatus, OnUnhealthy};
pub use image::{IMAGE_FEATURES, ImageFetch, ImageOrder, ImagePrune, MAX_PRUNED, NodeImage};
pub use instance::{InstanceState, LogLine, LogStream, ObservedInstance, RuntimeKind};
pub use name::{Name, NameError};
pub use node::{EngineFact, FEATURES, Heartbeat, NodeFacts, Presence};
pub(crate) use order::cycle;
pub use placement::{Operator, Placement, PlacementMode, Preference, Requirement, Strategy};
pub use run_mode::{MissedRun, Overlap, RunMode, Schedule};
pub(crate) use shown::{shown, shown_within};
pub use trace::{NotATraceparent, TraceContext};
pub use unmanaged::Unmanaged;
pub use update::{
    Budget, Guard, Share, Trial, TrialState, Update, Window, healthy_limit_ms, least_healthy_ms,
    uptime_ms,
};
pub use version::{MAX_VERSION, version_flaw};
pub use workload::{
    AGENT_WORKLOAD, CAN_UPGRADE, ContainerNetwork, ContainerOptions, DEFAULT_MIN_HEALTHY_TIME_MS,
    Device, Mount, MountSource, Port, Protocol, PullPolicy, Resources, Restart, RestartPolicy, Run,
    Workload, WorkloadType,
};

/// Wall-clock time, Unix milliseconds. Never the base of a decision on a node.
pub type UnixMs = u64;
