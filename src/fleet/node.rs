//! What the controller remembers of a node.

use super::{Drain, Flaps, Reserved};
use crate::{
    contract::Seq,
    model::{EngineFact, Name, NodeConfig, NodeFacts, ObservedInstance, Presence, UnixMs},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Whether a machine may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Somebody must approve it.
    Pending,
    /// It is a node of the fleet.
    Approved,
    /// It was cut off.
    Revoked,
}

/// A machine that asked to join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its public key, base64url.
    pub key: String,
    /// Whether it may take part.
    pub approval: Approval,
    /// Id of the token that it joined with.
    pub token: String,
    /// The machine's own name when it joined.
    pub hostname: String,
    /// When it joined.
    pub joined_ms: UnixMs,
    /// Labels that a person gave; they win over those that the agent's configuration gives.
    pub labels: BTreeMap<String, String>,
    /// Its own settings, which replace the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<NodeConfig>,
    /// What it is; `None` until it said so.
    pub facts: Option<NodeFacts>,
    /// Whether it can be heard.
    pub presence: Presence,
    /// Why it is not online, one sentence; empty when it is.
    pub presence_reason: String,
    /// Since when, controller's clock.
    pub presence_ms: UnixMs,
    /// Its latest session.
    pub session: Seq,
    /// Of its assignment; grows with each change to it.
    pub generation: u64,
    /// Workloads placed here.
    pub placed: BTreeSet<Name>,
    /// What it reported last.
    pub observed: BTreeMap<Name, ObservedInstance>,
    /// Generation that it had in effect then.
    pub observed_generation: u64,
    /// Its runtimes then.
    pub engines: Vec<EngineFact>,
    /// When it reported.
    pub observed_ms: UnixMs,
    /// It takes nothing new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// It is being emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What of it is not for instances.
    #[serde(default)]
    pub reserved: Reserved,
    /// It was not heard for so long that what could move was placed elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// How often it has come and gone lately.
    #[serde(default)]
    pub flaps: Flaps,
    /// It speaks HTTP instead of MQTT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// Workloads of which a move to this node ended lately, well or not: when. For a while they are
    /// neither moved on nor moved here again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<Name, UnixMs>,
}

impl NodeRecord {
    pub(super) fn enrolled(key: String, token: String, hostname: String, at: UnixMs) -> Self {
        NodeRecord {
            key,
            approval: Approval::Pending,
            token,
            hostname,
            joined_ms: at,
            labels: BTreeMap::new(),
            config: None,
            facts: None,
            presence: Presence::Offline,
            presence_reason: "it has not connected yet".into(),
            presence_ms: at,
            session: Seq::default(),
            generation: 0,
            placed: BTreeSet::new(),
            observed: BTreeMap::new(),
            observed_generation: 0,
            engines: Vec::new(),
            observed_ms: at,
            cordoned: false,
            drain: None,
            reserved: Reserved::default(),
            lost: false,
            flaps: Flaps::default(),
            http: false,
            moved: BTreeMap::new(),
        }
    }

    /// Labels in effect.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut all = self
            .facts
            .as_ref()
            .map(|f| f.labels.clone())
            .unwrap_or_default();
        all.extend(self.labels.clone());
        all
    }

    /// What placement may ask for: labels and capabilities, which win: a fact is not to be
    /// overruled by a word.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut all = self.all_labels();
        all.extend(self.facts.iter().flat_map(|f| f.capabilities.clone()));
        all
    }
}
