//! Deploying with one call, and instances under one id: `workload@node`.
//!
//! What is asked of one instance is done to it alone where that can last. An instance is what a
//! workload's placement made of it, so to stop or remove the only one means its workload; one of
//! several is stopped on its node until its assignment changes, and is not removed: what placed it
//! would place it again.

use crate::{
    controller::{AskError, Controller},
    fleet::{Change, Fleet, InstanceView, Plan, Refusal},
    http::{
        auth::Caller,
        moves::{self, MigrateRequest, MigrateResponse},
        problem::ApiError,
        workloads,
    },
    identity::Role,
    manifest::{self, Source},
    model::{CommandKind, CommandSpec, InstanceState, Name, PlacementMode, Workload},
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// Replicas that may be asked for here, as in a manifest.
const MAX_REPLICAS: u32 = 10_000;

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// `workload@node`; null for a replica that no node can take.
    pub id: Option<String>,
    /// The workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The node.
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// Where it stands.
    pub state: InstanceState,
    /// The version that runs.
    pub version: String,
    /// It runs the version and settings that are wanted.
    pub up_to_date: bool,
    /// Why it is in this state; empty when all is well.
    pub reason: String,
    /// How many it stands for: all replicas that wait for a node are one.
    pub count: u32,
}

impl From<InstanceView> for AgentView {
    fn from(i: InstanceView) -> AgentView {
        AgentView {
            id: i.node.as_ref().map(|node| format!("{}@{node}", i.workload)),
            workload: i.workload,
            node: i.node,
            state: i.state,
            version: i.version,
            up_to_date: i.up_to_date,
            reason: i.reason,
            count: i.count,
        }
    }
}

/// All instances, as `workload@node`.
///
/// Replicas that no node can take are one entry without an id.
#[utoipa::path(get, path = "/api/v1/cluster/agents", tag = "cluster",
    responses((status = 200, body = Vec<AgentView>)))]
pub(in crate::http) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<AgentView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let all = c.fleet().instances();
    Ok(Json(all.into_iter().map(AgentView::from).collect()))
}

/// What to deploy: either `manifest` or `workload`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// A manifest as text: TOML, workload YAML or a Compose file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// One workload as an object: `name`, and the keys of `[workload.NAME]` in TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub workload: Option<Map<String, Value>>,
    /// Only on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// So many instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// What was deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployResponse {
    /// What it changed.
    pub plan: Plan,
    /// The instances of these workloads.
    pub agents: Vec<AgentView>,
}

impl DeployRequest {
    /// The workloads, checked as every manifest is.
    fn workloads(self) -> Result<Vec<Workload>, ApiError> {
        let unfit = |detail: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let source = match (self.manifest, self.workload) {
            (Some(text), None) => Source::new("manifest", text.as_str()),
            (None, Some(object)) => {
                Source::new("workload.toml", as_toml(object).map_err(unfit)?.as_str())
            }
            _ => return Err(unfit("either `manifest` or `workload` is needed".into())),
        };
        let read = manifest::parse_many_with(&[source], &BTreeMap::new())?;
        let mut all: Vec<Workload> = read.manifests.into_iter().map(|m| m.workload).collect();
        if self.node.is_none() && self.replicas.is_none() {
            return Ok(all);
        }
        let [only] = all.as_mut_slice() else {
            let detail = "`node` and `replicas` need a manifest with one workload; write \
                          `placement` into this one";
            return Err(unfit(detail.into()));
        };
        if let Some(node) = self.node {
            only.placement.nodes = vec![node];
        }
        if let Some(replicas) = self.replicas {
            if replicas > MAX_REPLICAS {
                return Err(unfit(format!(
                    "`replicas` must be from 0 to {MAX_REPLICAS}"
                )));
            }
            only.placement.mode = PlacementMode::Any { replicas };
        }
        let nodes = &only.placement.nodes;
        if let PlacementMode::Any { replicas } = only.placement.mode
            && !nodes.is_empty()
            && nodes.len() < replicas as usize
        {
            return Err(unfit(format!(
                "{replicas} instances need as many nodes, each runs one of a workload, and it is \
                 bound to {}",
                nodes.len()
            )));
        }
        Ok(all)
    }
}

/// A workload as the manifest that it would be written as.
fn as_toml(mut object: Map<String, Value>) -> Result<String, String> {
    let name = match object.remove("name") {
        Some(Value::String(name)) => name,
        _ => return Err("`workload` needs a `name`, a text".into()),
    };
    let whole = BTreeMap::from([("workload", BTreeMap::from([(name, object)]))]);
    toml::to_string(&whole).map_err(|e| format!("`workload` cannot be read as a manifest: {e}"))
}

/// Apply one manifest, or one workload as an object.
///
/// As `POST /api/v1/apply`. `node` and `replicas` go into the placement of the only workload.
#[utoipa::path(post, path = "/api/v1/cluster/deploy/agent", tag = "cluster",
    request_body = DeployRequest,
    responses((status = 200, body = DeployResponse), (status = 404, body = super::super::ProblemDocument),
              (status = 422, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn deploy(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<DeployRequest>, JsonRejection>,
) -> Result<Json<DeployResponse>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let request = body?.0;
    if let Some(node) = &request.node
        && c.fleet().node(node.as_str()).is_none()
    {
        return Err(ApiError::not_found("node", node.as_str()));
    }
    let workloads = request.workloads()?;
    let names: Vec<Name> = workloads.iter().map(|w| w.name.clone()).collect();
    let plan = c.fleet().plan(&workloads, false);
    let change = Change::WorkloadsApplied {
        workloads,
        removed: Vec::new(),
    };
    match c.change(Some(by), change).await {
        Ok(()) | Err(AskError::Refused(Refusal::Unchanged)) => {}
        Err(error) => return Err(error.into()),
    }
    let all = c.fleet().instances().into_iter();
    let agents = all
        .filter(|i| names.contains(&i.workload))
        .map(AgentView::from);
    Ok(Json(DeployResponse {
        plan,
        agents: agents.collect(),
    }))
}

/// Where it is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentMigration {
    /// The node that takes it; not given: the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Name>,
    /// Also where it loses local state.
    #[serde(default)]
    pub force: bool,
}

/// Move an instance to another node.
///
/// The new one comes first, where both may run at once.
#[utoipa::path(post, path = "/api/v1/cluster/agents/{id}/migrate", tag = "cluster",
    params(("id" = String, Path, description = "`workload@node`")), request_body = AgentMigration,
    responses((status = 200, body = MigrateResponse), (status = 404, body = super::super::ProblemDocument),
              (status = 409, body = super::super::ProblemDocument),
              (status = 422, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn migrate(
    state: State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Json<AgentMigration>, JsonRejection>,
) -> Result<Json<MigrateResponse>, ApiError> {
    let AgentMigration { to, force } = body?.0;
    caller.need(Role::Operator)?;
    let Agent { workload, node, .. } = Agent::find(&state.0.fleet(), &id)?;
    let request = MigrateRequest {
        workload,
        from: node,
        to,
        force,
    };
    moves::migrate(state, caller, Ok(Json(request))).await
}

/// What was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopResponse {
    /// `workload`: it was its only instance, and stays stopped until it is started. `instance`: it
    /// is one of several, and stopped until its assignment changes.
    pub stopped: String,
    /// One sentence, where its node had something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Stop an instance.
///
/// The only one of its workload stops the workload, which stays stopped until it is started; one of
/// several is stopped on its node until its assignment changes.
#[utoipa::path(post, path = "/api/v1/cluster/agents/{id}/stop", tag = "cluster",
    params(("id" = String, Path, description = "`workload@node`")),
    responses((status = 200, body = StopResponse), (status = 404, body = super::super::ProblemDocument),
              (status = 409, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn stop(
    state: State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<StopResponse>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let c = state.0.clone();
    let agent = Agent::find(&c.fleet(), &id)?;
    if agent.only {
        workloads::stop(state, caller, Path(agent.workload.to_string())).await?;
        return Ok(Json(StopResponse {
            stopped: "workload".into(),
            message: None,
        }));
    }
    let order = CommandSpec::new(CommandKind::Stop, Some(agent.workload));
    let outcome = c.command(Some(by), &agent.node, order).await?;
    let message = outcome.message;
    if outcome.ok {
        return Ok(Json(StopResponse {
            stopped: "instance".into(),
            message,
        }));
    }
    let detail = message.unwrap_or_else(|| format!("{id} could not be stopped"));
    Err(ApiError::new(StatusCode::CONFLICT, detail))
}

/// Take the only instance of a workload away, with the workload.
///
/// One of several would be placed again, and is refused.
#[utoipa::path(delete, path = "/api/v1/cluster/agents/{id}", tag = "cluster",
    params(("id" = String, Path, description = "`workload@node`")),
    responses((status = 204), (status = 404, body = super::super::ProblemDocument),
              (status = 409, body = super::super::ProblemDocument)))]
pub(in crate::http) async fn remove(
    state: State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.need(Role::Operator)?;
    let agent = Agent::find(&state.0.fleet(), &id)?;
    if !agent.only {
        let detail = format!(
            "{id} is one of several instances, and would be placed again: deploy {} with fewer \
             `replicas`, or migrate it",
            agent.workload
        );
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    workloads::remove(state, caller, Path(agent.workload.to_string())).await
}

/// An instance by its id.
#[derive(Debug, PartialEq, Eq)]
struct Agent {
    workload: Name,
    node: Name,
    /// Its workload has no other one, wherever, nor wants one.
    only: bool,
}

impl Agent {
    fn find(fleet: &Fleet, id: &str) -> Result<Agent, ApiError> {
        let none = || ApiError::not_found("instance", id);
        let (workload, node) = id.split_once('@').ok_or_else(none)?;
        let record = fleet.workload(workload).ok_or_else(none)?;
        let node: Name = node.parse().map_err(|_| none())?;
        if !record.placed.contains(&node) {
            return Err(none());
        }
        let mode = record.spec.placement.mode;
        let single = matches!(mode, PlacementMode::Any { replicas: 0 | 1 });
        Ok(Agent {
            workload: record.spec.name.clone(),
            only: single && record.missing == 0 && record.placed.len() == 1,
            node,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<Workload>, ApiError> {
        let request: DeployRequest = serde_json::from_value(value).unwrap();
        request.workloads()
    }

    #[test]
    fn a_workload_is_read_from_toml_yaml_or_an_object() {
        for request in [
            json!({"manifest": "[workload.web]\ncommand = ['/bin/web']\n"}),
            json!({"manifest": "name: web\ncommand: [/bin/web]\n"}),
            json!({"workload": {"name": "web", "command": ["/bin/web"],
                                "restart": {"delay": "1s"}}}),
        ] {
            let read = read(request.clone());
            let all = read.unwrap_or_else(|e| panic!("{request}: {e:?}"));
            let names: Vec<&str> = all.iter().map(|w| w.name.as_str()).collect();
            assert_eq!(names, ["web"], "{request}");
        }
    }

    #[test]
    fn a_node_and_replicas_go_into_the_placement_of_the_only_workload() {
        let one = "[workload.web]\ncommand = ['/bin/web']\n";
        let all = read(json!({"manifest": one, "node": "pi-1"})).unwrap();
        let placement = &all[0].placement;
        assert_eq!(placement.mode, PlacementMode::Any { replicas: 1 });
        assert_eq!(placement.nodes, ["pi-1".parse().unwrap()]);
        let all = read(json!({"manifest": one, "replicas": 3})).unwrap();
        let mode = all[0].placement.mode;
        assert_eq!(mode, PlacementMode::Any { replicas: 3 });
        assert!(read(json!({"manifest": one, "node": "pi-1", "replicas": 3})).is_err());
        let two = format!("{one}[workload.db]\ncommand = ['/bin/db']\n");
        assert!(read(json!({"manifest": two, "node": "pi-1"})).is_err());
        assert!(read(json!({"manifest": one, "replicas": MAX_REPLICAS + 1})).is_err());
    }

    #[test]
    fn what_is_no_workload_is_refused() {
        for wrong in [
            json!({}),
            json!({"manifest": "", "workload": {"name": "web"}}),
            json!({"workload": {"command": ["/bin/web"]}}),
            json!({"workload": {"name": "web", "command": ["/bin/web"], "colour": "red"}}),
            json!({"workload": {"name": "web", "command": ["/bin/web"], "version": null}}),
            json!({"workload": {"name": "Not A Name", "command": ["/bin/web"]}}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_that_names_nothing_is_not_found() {
        for id in ["web", "@", "web@", "web@pi-1", "web@pi@1"] {
            assert!(Agent::find(&Fleet::new(), id).is_err(), "{id}");
        }
    }
}
