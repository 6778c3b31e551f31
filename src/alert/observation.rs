//! A look at the fleet: what the shell hands to [`super::Alerts::observe`].

use super::Silence;
use crate::model::{InstanceState, Metric, Name, Presence, UnixMs};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How everything is at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Nodes that are members of the fleet.
    pub nodes: BTreeMap<Name, NodeSeen>,
    /// Workloads that the fleet has.
    pub workloads: BTreeSet<Name>,
    /// The last rollout of each workload that had one.
    pub rollouts: BTreeMap<Name, RolloutSeen>,
    /// Certificates that the controller depends on.
    pub certificates: Vec<CertificateSeen>,
    /// Whether the journal takes what happens.
    pub journal: JournalSeen,
    /// The controller has just started: who is not there yet may be on the way.
    pub is_early: bool,
    /// What people do not want to be told.
    pub silences: Arc<BTreeMap<String, Silence>>,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSeen {
    /// Whether it can be heard.
    pub presence: Presence,
    /// Since when, controller's clock.
    pub presence_ms: UnixMs,
    /// Why it cannot be heard; empty where it can.
    pub reason: String,
    /// When its last heartbeat came; 0: none since the controller's start.
    pub heard_ms: UnixMs,
    /// Labels and capabilities; only where a rule asks for them.
    pub properties: BTreeMap<String, String>,
    /// Those of its values that rules ask for and that are known.
    pub values: BTreeMap<ValueOf, Measured>,
    /// Workloads that are placed on it or still there; none that was removed from the fleet.
    pub instances: BTreeMap<Name, InstanceSeen>,
}

/// Which value of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueOf {
    /// Of the heartbeat.
    Disk,
    /// Of the heartbeat.
    Memory,
    /// Of the heartbeat.
    Cpu,
    /// Of the heartbeat.
    Temperature,
    /// Of a metric, by the value's name.
    Telemetry(Metric, String),
}

/// A value, and when the controller heard it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The value.
    pub value: f64,
    /// Another time than before: it was measured anew.
    pub heard_ms: UnixMs,
}

/// A workload on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSeen {
    /// Where it stands; pending where its node said nothing of it yet.
    pub state: InstanceState,
    /// Times that it was started again.
    pub restarts: u32,
    /// Of its last end; only where it is in a bad state.
    pub exit_code: Option<i32>,
    /// Why it is in that state; only where that is a bad one.
    pub reason: String,
}

/// The last rollout of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutSeen {
    /// The revision that it leads to; tells rollouts of one workload apart.
    pub to: u64,
    /// The version of it.
    pub version: String,
    /// It failed.
    pub failed: bool,
    /// It was taken back, or is being.
    pub back: bool,
    /// How it stands, one sentence; only where it failed.
    pub reason: String,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSeen {
    /// `fleet-ca`, `server`, `broker-ca`.
    pub name: Name,
    /// What it is called in a sentence.
    pub title: &'static str,
    /// When it ends.
    pub not_after_ms: UnixMs,
}

/// Whether the journal takes what happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalSeen {
    /// Why the last entry could not be kept; `None`: it could.
    pub trouble: Option<String>,
}
