//! Nodes of both kinds, and how those that cannot speak MQTT come and go. What happens then is in
//! [`crate::controller`].

use super::{super::workloads::Paging, asker::Asker, is_label};
use crate::{
    controller::Controller,
    fleet::{Approval, Change, NodeRecord},
    http::{
        auth::Caller,
        problem::ApiError,
        workloads::{Page, named},
    },
    identity::Role,
    model::{EngineFact, FEATURES, Name, NodeFacts, Presence, RuntimeKind, UnixMs, shown},
};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use utoipa::{IntoParams, ToSchema};

/// Bytes of a registration.
pub(in crate::http) const MAX_REGISTRATION: usize = 64 * 1024;
/// Labels, and capabilities, of a node.
const MAX_LABELS: usize = 64;

/// How a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// As agents do.
    Mqtt,
    /// It registered at `/api/v1/cluster/containers`.
    Http,
}

/// A node, as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContainerView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// How it speaks.
    pub transport: Transport,
    /// Whether it may take part.
    pub approval: Approval,
    /// Whether it can be heard.
    pub state: Presence,
    /// Why it is not online; empty when it is.
    pub reason: String,
    /// Since when it is in that state, controller's clock.
    pub since_ms: UnixMs,
    /// Labels in effect.
    pub labels: BTreeMap<String, String>,
    /// What placement may ask for beside them.
    pub capabilities: BTreeMap<String, String>,
    /// Instances placed on it.
    pub instances: usize,
    /// Generation of its assignment.
    pub generation: u64,
    /// Generation that it has in effect.
    pub observed_generation: u64,
}

impl ContainerView {
    fn of(name: &Name, n: &NodeRecord) -> ContainerView {
        let facts = n.facts.as_ref();
        ContainerView {
            name: name.clone(),
            transport: if n.http {
                Transport::Http
            } else {
                Transport::Mqtt
            },
            approval: n.approval,
            state: n.presence,
            reason: n.presence_reason.clone(),
            since_ms: n.presence_ms,
            labels: n.all_labels(),
            capabilities: facts.map_or_else(BTreeMap::new, |f| f.capabilities.clone()),
            instances: n.placed.len(),
            generation: n.generation,
            observed_generation: n.observed_generation,
        }
    }
}

/// All nodes, those with an agent and those that speak HTTP.
///
/// By name, in pages.
#[utoipa::path(get, path = "/api/v1/cluster/containers", tag = "cluster", params(Paging),
    responses((status = 200, body = Page<ContainerView>)))]
pub(in crate::http) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Page<ContainerView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let paging = paging?.0;
    let fleet = c.fleet();
    let names = fleet.nodes().map(|(name, _)| name.clone());
    let page = paging.cut(names, Name::to_string);
    let view = |n: &Name| Some(ContainerView::of(n, fleet.node(n.as_str())?));
    Ok(Json(Page {
        items: page.items.iter().filter_map(view).collect(),
        next: page.next,
    }))
}

/// A machine that speaks HTTP, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// What it is to be called.
    #[schema(value_type = String)]
    pub name: Name,
    /// `x86_64`, `aarch64`, `arm`, …
    pub arch: String,
    /// As in `Debian GNU/Linux 12`.
    #[serde(default)]
    pub os: String,
    /// Logical processors.
    #[serde(default)]
    pub cpus: u32,
    /// Bytes of memory.
    #[serde(default)]
    pub memory: u64,
    /// Bytes of disk.
    #[serde(default)]
    pub disk: u64,
    /// Labels that it gives itself; those that a person gives win.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Facts that placement may ask for, as in `{"gpio": "1"}`.
    #[serde(default)]
    pub capabilities: BTreeMap<String, String>,
    /// What can execute instances on it.
    pub runtimes: BTreeSet<RuntimeKind>,
    /// What it knows of workloads, as in the contract ("Features"); 1 unless given.
    #[serde(default = "first")]
    pub features: u32,
    /// What it runs, for showing.
    #[serde(default)]
    pub agent_version: String,
}

fn first() -> u32 {
    1
}

impl RegisterRequest {
    /// As an agent would describe itself.
    fn facts(self) -> Result<(Name, NodeFacts), String> {
        if self.labels.len() > MAX_LABELS || self.capabilities.len() > MAX_LABELS {
            return Err(format!(
                "a node has at most {MAX_LABELS} labels and as many capabilities"
            ));
        }
        let pairs = self.labels.iter().chain(&self.capabilities);
        let odd = |(key, value): &(&String, &String)| {
            let value = Some(value.as_str()).filter(|v| !v.is_empty());
            !is_label(key, value)
        };
        if let Some((key, value)) = pairs.into_iter().find(odd) {
            return Err(format!(
                "`{}={}` is neither a label nor a capability: letters, digits and -_./: on both \
                 sides of one `=`",
                shown(key),
                shown(value)
            ));
        }
        if !(1..=FEATURES).contains(&self.features) {
            return Err(format!("`features` must be from 1 to {FEATURES}"));
        }
        let mut capabilities = self.capabilities;
        capabilities.insert("arch".into(), self.arch.clone());
        for runtime in [
            RuntimeKind::Docker,
            RuntimeKind::Podman,
            RuntimeKind::Process,
        ] {
            // Only what it can really execute counts, whatever else it calls itself.
            match self.runtimes.contains(&runtime) {
                true => capabilities.insert(runtime.as_str().to_owned(), "http".into()),
                false => capabilities.remove(runtime.as_str()),
            };
        }
        let engine = |runtime: &RuntimeKind| EngineFact {
            runtime: *runtime,
            version: String::new(),
            healthy: true,
        };
        let facts = NodeFacts {
            agent_version: self.agent_version,
            features: self.features,
            arch: self.arch,
            os: self.os,
            kernel: String::new(),
            hostname: self.name.to_string(),
            addresses: Vec::new(),
            cpus: self.cpus,
            memory_total: self.memory,
            disk_total: self.disk,
            engines: self.runtimes.iter().map(engine).collect(),
            capabilities,
            labels: self.labels,
        };
        Ok((self.name, facts))
    }
}

/// It is a node of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegisterResponse {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it proves itself with from now on, as `Authorization: Bearer …`: shown now and never
    /// again. Null where it described itself anew, with the one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Milliseconds between its heartbeats.
    pub heartbeat_interval_ms: u64,
    /// The fleet's public key, which assignments are signed with.
    pub fleet_key: String,
    /// The topic that signatures of its assignments are bound to.
    pub topic: String,
}

/// A machine that cannot speak MQTT becomes a node, or describes itself anew.
///
/// A person's token registers it once, and the answer has the token that the node itself speaks
/// with from then on. With that one it describes itself anew under its own name.
#[utoipa::path(post, path = "/api/v1/cluster/containers", tag = "cluster",
    request_body = RegisterRequest,
    responses((status = 201, body = RegisterResponse),
              (status = 200, body = RegisterResponse, description = "It has described itself \
               anew, with its own token."),
              (status = 409, body = super::super::ProblemDocument),
              (status = 422, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn register(
    State(c): State<Arc<Controller>>,
    asker: Asker,
    body: Result<Json<RegisterRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<RegisterResponse>), ApiError> {
    // Nobody who may not ask is told what is wrong with what he sent.
    let request = match body {
        Ok(Json(request)) => request,
        Err(rejection) => {
            asker.person()?.need(Role::Operator)?;
            return Err(rejection.into());
        }
    };
    let itself = asker.is(&c, &request.name);
    let by = match itself {
        true => None,
        false => Some(asker.person()?.need(Role::Operator)?),
    };
    let unfit = |detail| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let (name, facts) = request.facts().map_err(unfit)?;
    let (status, token) = match by {
        None => {
            c.describe_http(&name, facts).await?;
            (StatusCode::OK, None)
        }
        Some(_) if c.fleet().node(name.as_str()).is_some() => {
            return Err(ApiError::new(StatusCode::CONFLICT, taken(&name)));
        }
        Some(by) => {
            let secret = c.register_http(by, &name, facts).await?;
            (StatusCode::CREATED, Some(secret))
        }
    };
    let assignment = c.fleet().assignment(name.as_str());
    let heartbeat_interval_ms = assignment.map_or(0, |a| a.cfg.heartbeat_interval_ms);
    let topics = &c.outbox.topics;
    Ok((
        status,
        Json(RegisterResponse {
            token,
            heartbeat_interval_ms,
            fleet_key: c.identity.key.public().to_string(),
            topic: topics.of(crate::contract::Kind::Assignment, &name),
            name,
        }),
    ))
}

/// Why a name cannot be had a second time.
fn taken(name: &Name) -> String {
    format!(
        "the name {name} is taken: the node itself describes itself anew with its own token; else \
         register under another name, or forget that one first (DELETE \
         /api/v1/cluster/containers/{name}?remove=true, or `fleetctl node rm {name}`)"
    )
}

/// How it goes.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Leaving {
    /// For good: it is forgotten, and its token is not taken any more. Else it is offline, and
    /// comes back with its next heartbeat.
    #[serde(default)]
    remove: bool,
}

/// A node that speaks HTTP leaves, for a while or for good.
///
/// It is offline until its next heartbeat, and what runs on it goes elsewhere once it has been away
/// for `lost_after`. It stays a node of the fleet: `?remove=true` takes it away for good, as does
/// `fleetctl node rm NAME`.
#[utoipa::path(delete, path = "/api/v1/cluster/containers/{name}", tag = "cluster",
    params(("name" = String, Path), Leaving),
    responses((status = 204), (status = 404, body = super::super::ProblemDocument),
              (status = 409, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn leave(
    State(c): State<Arc<Controller>>,
    asker: Asker,
    Path(name): Path<String>,
    leaving: Result<Query<Leaving>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let remove = match leaving {
        Ok(Query(leaving)) => leaving.remove,
        Err(rejection) => return Err(rejection.into()),
    };
    let itself = name.parse().is_ok_and(|name| asker.is(&c, &name));
    let by = match itself {
        true => None,
        // As `fleetctl node rm`.
        false if remove => Some(asker.person()?.need(Role::Admin)?),
        false => Some(asker.person()?.need(Role::Operator)?),
    };
    let node = named("node", &name)?;
    speaks_http(&c, &node)?;
    match remove {
        true => c.change(by, Change::NodeRemoved { node }).await?,
        false => c.leave_http(by, &node).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// It is there, and not one that has an agent.
pub(super) fn speaks_http(c: &Controller, node: &Name) -> Result<(), ApiError> {
    match c.fleet().node(node.as_str()).map(|n| n.http) {
        Some(true) => Ok(()),
        None => Err(ApiError::not_found("node", node.as_str())),
        Some(false) => {
            let detail = format!("{node} speaks MQTT; see /api/v1/nodes/{node}");
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(more: Value) -> Result<(Name, NodeFacts), String> {
        let mut all = json!({"name": "plc-1", "arch": "arm", "runtimes": ["process"]});
        for (key, value) in more.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        let request: RegisterRequest = serde_json::from_value(all).map_err(|e| e.to_string())?;
        request.facts()
    }

    #[test]
    fn what_it_says_becomes_what_an_agent_would_say() {
        let said = json!({"cpus": 2, "memory": 1024, "labels": {"zone": "a"},
                          "capabilities": {"gpio": "1", "docker": "27"}});
        let (name, facts) = read(said).unwrap();
        assert_eq!(name.as_str(), "plc-1");
        assert_eq!(
            (facts.cpus, facts.memory_total, facts.features),
            (2, 1024, 1)
        );
        assert_eq!(facts.labels["zone"], "a");
        let has = |key: &str| facts.capabilities.contains_key(key);
        assert!(has("gpio") && has("process") && has("arch"));
        assert!(!has("docker"), "it has no Docker, whatever it says");
    }

    #[test]
    fn what_no_node_could_be_is_refused() {
        let many: BTreeMap<String, String> =
            (0..65).map(|n| (format!("k{n}"), "v".into())).collect();
        for wrong in [
            json!({"name": "Not A Name"}),
            json!({"runtimes": ["lxc"]}),
            json!({"features": 0}),
            json!({"features": 1_000}),
            json!({"labels": {"zo ne": "a"}}),
            json!({"capabilities": {"!gpio": "1"}}),
            json!({"labels": many}),
            json!({"colour": "red"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
