//! What goes into the state machine and what comes out.

use super::{FleetConfig, PlannedMove, Reserved, RolloutOrder};
use crate::{
    contract::Seq,
    identity::Role,
    model::{
        Artifact, CommandOutcome, CommandSpec, Desired, EngineFact, Name, NodeConfig, NodeFacts,
        ObservedInstance, Presence as NodePresence, TraceContext, UnixMs, Workload, shown,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One journaled input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Controller's clock.
    pub at_ms: UnixMs,
    /// The person behind it; `None` for what agents and clocks cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// What happened.
    pub change: Change,
}

/// Who made a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// Name of the API token.
    pub token: String,
    /// Its role then.
    pub role: Role,
    /// Address that the request came from.
    pub from: String,
    /// The request, as in its header `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub trace: Option<TraceContext>,
}

/// Something that changes a decision. Stored: variants and fields are only ever added, with
/// defaults (see the golden journal in the tests).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the fields say what they are
pub enum Change {
    /// The controller's configuration gives every node other settings.
    Configured { node_config: NodeConfig },
    /// A machine asked to join, with a genuine token.
    NodeEnrolled {
        node: Name,
        key: String,
        token: String,
        hostname: String,
        approve: bool,
        /// It speaks HTTP instead of MQTT.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        http: bool,
    },
    /// Somebody let a waiting machine in.
    NodeApproved { node: Name },
    /// Cut off for good: its key is never taken again.
    NodeRevoked { node: Name },
    /// Forgotten; its key is cut off as well.
    NodeRemoved { node: Name },
    /// Labels set (`Some`) or taken away (`None`).
    NodeLabelled {
        node: Name,
        labels: BTreeMap<String, Option<String>>,
    },
    /// Somebody gave a node settings of its own, or (`None`) the fleet's again.
    NodeConfigured {
        node: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<NodeConfig>,
    },
    /// Its facts are other ones than before.
    NodeDescribed { node: Name, facts: NodeFacts },
    /// It came, fell silent, or left.
    NodePresenceChanged {
        node: Name,
        presence: NodePresence,
        session: Seq,
        reason: String,
    },
    /// Its observed state is another one than before.
    StateReported {
        node: Name,
        generation: u64,
        instances: Vec<ObservedInstance>,
        engines: Vec<EngineFact>,
    },
    /// The same, as the journal keeps it: only what differs from what was known of the node
    /// ([`super::Fleet::kept_as`]).
    StateChanged {
        node: Name,
        generation: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<ObservedInstance>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<Name>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engines: Option<Vec<EngineFact>>,
    },
    /// Somebody applied manifests, and perhaps took away what is not in them.
    WorkloadsApplied {
        workloads: Vec<Workload>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<Name>,
    },
    /// Somebody took workloads away.
    WorkloadsRemoved { workloads: Vec<Name> },
    /// Somebody started or stopped a workload.
    WorkloadDesired { workload: Name, desired: Desired },
    /// Somebody restarts every instance of a workload.
    WorkloadRestarted { workload: Name },
    /// The controller's configuration runs the fleet in another way.
    FleetConfigured { config: FleetConfig },
    /// A node takes nothing new, or does again.
    NodeCordoned { node: Name, cordoned: bool },
    /// A node is to be emptied (`Some`: whether what has local state goes too), or is not any more.
    NodeDrained {
        node: Name,
        #[serde(default)]
        drain: Option<bool>,
    },
    /// What of a node is not for instances.
    NodeReserved { node: Name, reserved: Reserved },
    /// Somebody wants an instance on another node; `to`: on which, else on the best.
    InstanceMigrated {
        workload: Name,
        from: Name,
        #[serde(default)]
        to: Option<Name>,
        #[serde(default)]
        force: bool,
    },
    /// These moves are to be made.
    Rebalanced { moves: Vec<PlannedMove> },
    /// Somebody orders something of a rollout.
    RolloutOrdered { workload: Name, order: RolloutOrder },
    /// [`super::Fleet::next_deadline`] has come.
    TimePassed {},
    /// A token was made. Of an API token only the digest is kept.
    TokenCreated {
        id: String,
        name: String,
        grant: TokenGrant,
        expires_ms: UnixMs,
        /// Of a join token: so many machines may join with it. `None`: any number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uses: Option<u32>,
    },
    /// A token is not taken any more.
    TokenRevoked { id: String },
    /// An order that changes something was sent.
    CommandIssued {
        id: String,
        node: Name,
        order: CommandSpec,
        deadline_ms: UnixMs,
    },
    /// Its result, or that none came.
    CommandFinished { id: String, outcome: CommandOutcome },
    /// Somebody does not want to be told of an alert (its id), or of all of a rule, a node or a
    /// workload (`rule=…,node=…,workload=…`), until then.
    AlertSilenced {
        alert: String,
        until_ms: UnixMs,
        #[serde(default)]
        comment: String,
    },
    /// Somebody wants to be told again.
    AlertUnsilenced { alert: String },
    /// An image or a binary was pushed, and all its blobs are there.
    ArtifactAdded { artifact: Artifact },
    /// It is not kept any more.
    ArtifactRemoved { id: String },
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenGrant {
    /// A machine may ask to join.
    Join,
    /// A person or program may use the API.
    Api {
        /// How far.
        role: Role,
        /// SHA-256 of the secret, hex.
        digest: String,
    },
}

/// What the shell is asked to do, once the entry is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish [`super::Fleet::assignment`] of this node.
    PublishAssignment(Name),
    /// Tell an enrolled machine how it stands.
    PublishWelcome(Name),
    /// Publish [`super::Fleet::access`].
    PublishAccess,
    /// Take the retained messages of a removed node away.
    ClearRetained(Name),
    /// Send an order.
    SendCommand {
        /// Its id.
        id: String,
        /// To whom.
        node: Name,
        /// What.
        order: Box<CommandSpec>,
        /// By which request.
        trace: Option<TraceContext>,
    },
    /// Tell who listens.
    Emit(FleetEvent),
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetEvent {
    /// When, on the controller's clock.
    pub at: UnixMs,
    /// `node_online`, `workload_applied`, `instance_running`, ….
    pub event: String,
    /// About which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// About which workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// One sentence.
    pub message: String,
}

/// Why a change was not made. `Display` is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing of that name.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// `node`, `workload`, ….
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// It contradicts what is.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It changes nothing; not an error, and not journaled.
    #[error("nothing to change")]
    Unchanged,
}

impl Refusal {
    pub(super) fn no_node(name: &Name) -> Refusal {
        Refusal::NotFound {
            what: "node",
            name: name.to_string(),
        }
    }

    pub(super) fn no_workload(name: &Name) -> Refusal {
        Refusal::NotFound {
            what: "workload",
            name: name.to_string(),
        }
    }
}

impl Change {
    /// What the audit trail says a person did: verb and object.
    pub fn summary(&self) -> String {
        match self {
            Change::Configured { .. } => "changed the settings of all nodes".into(),
            Change::NodeEnrolled { node, .. } => format!("enrolled node {node}"),
            Change::NodeApproved { node } => format!("approved node {node}"),
            Change::NodeRevoked { node } => format!("revoked node {node}"),
            Change::NodeRemoved { node } => format!("removed node {node}"),
            Change::NodeLabelled { node, labels } => {
                let all: Vec<String> = labels
                    .iter()
                    .map(|(k, v)| v.as_ref().map_or(format!("{k}-"), |v| format!("{k}={v}")))
                    .collect();
                format!("labelled node {node} {}", all.join(" "))
            }
            Change::NodeConfigured {
                node,
                config: Some(_),
            } => format!("configured node {node}"),
            Change::NodeConfigured { node, config: None } => {
                format!("gave node {node} the fleet's settings again")
            }
            Change::NodeDescribed { node, .. } => format!("described node {node}"),
            Change::NodePresenceChanged { node, presence, .. } => format!("{node} is {presence}"),
            Change::StateReported { node, .. } | Change::StateChanged { node, .. } => {
                format!("state of node {node}")
            }
            Change::WorkloadsApplied { workloads, removed } => {
                let all: Vec<String> = workloads
                    .iter()
                    .map(|w| format!("{}@{}", w.name, w.version))
                    .collect();
                let gone: Vec<&str> = removed.iter().map(Name::as_str).collect();
                if gone.is_empty() {
                    format!("applied {}", all.join(", "))
                } else {
                    format!("applied {} and removed {}", all.join(", "), gone.join(", "))
                }
            }
            Change::WorkloadsRemoved { workloads } => {
                let all: Vec<&str> = workloads.iter().map(Name::as_str).collect();
                format!("removed {}", all.join(", "))
            }
            Change::WorkloadDesired {
                workload,
                desired: Desired::Running,
            } => {
                format!("started {workload}")
            }
            Change::WorkloadDesired { workload, .. } => format!("stopped {workload}"),
            Change::WorkloadRestarted { workload } => format!("restarted {workload}"),
            Change::FleetConfigured { .. } => "changed how the fleet is run".into(),
            Change::NodeCordoned { node, cordoned } => match cordoned {
                true => format!("cordoned node {node}"),
                false => format!("uncordoned node {node}"),
            },
            Change::NodeDrained { node, drain } => match drain {
                Some(_) => format!("drained node {node}"),
                None => format!("ended the drain of node {node}"),
            },
            Change::NodeReserved { node, .. } => format!("reserved a part of node {node}"),
            Change::InstanceMigrated {
                workload, from, to, ..
            } => match to {
                Some(to) => format!("migrated {workload} from {from} to {to}"),
                None => format!("migrated {workload} from {from}"),
            },
            Change::Rebalanced { moves } => format!("rebalanced by {} moves", moves.len()),
            Change::RolloutOrdered { workload, order } => match order {
                RolloutOrder::Pause => format!("paused the rollout of {workload}"),
                RolloutOrder::Resume => format!("resumed the rollout of {workload}"),
                RolloutOrder::Promote => format!("promoted the rollout of {workload}"),
                RolloutOrder::Abort => format!("aborted the rollout of {workload}"),
                RolloutOrder::Rollback { to: Some(to) } => {
                    format!("rolled {workload} back to revision {to}")
                }
                RolloutOrder::Rollback { to: None } => format!("rolled {workload} back"),
            },
            Change::TimePassed {} => "time passed".into(),
            Change::TokenCreated {
                id, name, grant, ..
            } => match grant {
                TokenGrant::Join => format!("created join token {id}"),
                TokenGrant::Api { role, .. } => format!("created {role} token {id} ({name})"),
            },
            Change::TokenRevoked { id } => format!("revoked token {id}"),
            Change::CommandIssued {
                node,
                order:
                    CommandSpec {
                        exec: Some(exec),
                        workload: Some(w),
                        ..
                    },
                ..
            } => {
                let line: String = exec.command.join(" ").escape_debug().take(500).collect();
                format!("ran `{line}` beside {w} on {node}")
            }
            Change::CommandIssued { node, order, .. } => match &order.workload {
                Some(w) => format!("commanded {node} to {} {w}", order.command.as_str()),
                None => format!("commanded {node} to {}", order.command.as_str()),
            },
            Change::CommandFinished { id, .. } => format!("command {id} finished"),
            Change::AlertSilenced { alert, .. } => format!("silenced {}", shown(alert)),
            Change::AlertUnsilenced { alert } => {
                format!("took the silence of {} back", shown(alert))
            }
            Change::ArtifactAdded { artifact } => format!("pushed {}", shown(&artifact.id())),
            Change::ArtifactRemoved { id } => format!("took {} away", shown(id)),
        }
    }
}
