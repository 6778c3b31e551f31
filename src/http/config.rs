//! How the agent of one node behaves: what it is to do, what it says it does, and what it
//! measured.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{idempotent, named},
};
use crate::{
    controller::Controller,
    fleet::{Change, Fleet, NodeConfigPatch, Reading, ReportedConfig, check_config},
    identity::Role,
    model::{Metric, Name, NodeConfig},
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// The configuration of a node's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeConfigView {
    /// The node's own; null: the fleet's applies.
    pub configured: Option<NodeConfig>,
    /// What it is to do: its own, else the fleet's.
    pub effective_wanted: NodeConfig,
    /// What it said last that it does; null when nothing was heard since the controller's start.
    pub reported: Option<ReportedConfig>,
}

impl NodeConfigView {
    /// The node does what it is to do, as far as it said.
    pub fn is_in_effect(&self) -> bool {
        let reported = self.reported.as_ref();
        reported.is_some_and(|r| r.config == self.effective_wanted)
    }
}

fn view(c: &Controller, fleet: &Fleet, node: &Name) -> Result<NodeConfigView, ApiError> {
    let known = fleet.node(node.as_str());
    let record = known.ok_or_else(|| ApiError::not_found("node", node.as_str()))?;
    Ok(NodeConfigView {
        configured: record.config.clone(),
        effective_wanted: fleet.told_config(record),
        reported: c.live.config(node.as_str()),
    })
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}/config", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 200, body = NodeConfigView), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<Json<NodeConfigView>, ApiError> {
    caller.need(Role::Viewer)?;
    let node = named("node", &node)?;
    view(&c, &c.fleet(), &node).map(Json)
}

#[utoipa::path(patch, path = "/api/v1/nodes/{node}/config", tag = "nodes",
    params(("node" = String, Path)), request_body = NodeConfigPatch,
    responses((status = 200, body = NodeConfigView), (status = 404, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn change(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    body: Result<Json<NodeConfigPatch>, JsonRejection>,
) -> Result<Json<NodeConfigView>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let patch = body?.0;
    let node = named("node", &node)?;
    // Two changes at once must not each lose what the other one set.
    let _alone = c.configuring.lock().await;
    let base = c.fleet().config_of(node.as_str()).cloned();
    let base = base.ok_or_else(|| ApiError::not_found("node", node.as_str()))?;
    let config = patch.on(&base);
    check_config(&config, Some(c.silent_after_ms))?;
    let change = Change::NodeConfigured {
        node: node.clone(),
        config: Some(config),
    };
    idempotent(c.change(Some(by), change).await)?;
    view(&c, &c.fleet(), &node).map(Json)
}

#[utoipa::path(delete, path = "/api/v1/nodes/{node}/config", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 204), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn reset(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node = named("node", &node)?;
    let _alone = c.configuring.lock().await;
    let change = Change::NodeConfigured { node, config: None };
    idempotent(c.change(Some(by), change).await)
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}/telemetry", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 200, body = BTreeMap<String, Reading>,
               description = "The last measurement of each metric."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn telemetry(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<Json<BTreeMap<Metric, Reading>>, ApiError> {
    caller.need(Role::Viewer)?;
    let node = named("node", &node)?;
    if c.fleet().node(node.as_str()).is_none() {
        return Err(ApiError::not_found("node", node.as_str()));
    }
    Ok(Json(c.live.telemetry(node.as_str())))
}
