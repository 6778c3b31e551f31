//! What a node measured in the last hour.

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{
    controller::{Controller, NodeHistory},
    identity::Role,
    model::UnixMs,
    support::clock,
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which part of the hour.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryPart {
    /// From here on, Unix milliseconds; an hour ago unless given, and no earlier.
    from_ms: Option<UnixMs>,
    /// Up to here; now unless given, and no later.
    to_ms: Option<UnixMs>,
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}/history", tag = "nodes",
    params(("node" = String, Path), HistoryPart),
    description = "What the node measured in the last hour, in steps of ten seconds; kept in memory \
                   since the controller's start, of 10,000 nodes. Heartbeats fill `cpu`, `memory`, \
                   `disk`, `load` and `temperature`; the network is known where its telemetry is on.",
    responses((status = 200, body = NodeHistory), (status = 400, body = super::ProblemDocument),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    part: Result<Query<HistoryPart>, QueryRejection>,
) -> Result<Json<NodeHistory>, ApiError> {
    caller.need(Role::Viewer)?;
    let HistoryPart { from_ms, to_ms } = part?.0;
    let (from, to) = (from_ms.unwrap_or(0), to_ms.unwrap_or(UnixMs::MAX));
    if from > to {
        let detail = format!("`from_ms` ({from}) must not be later than `to_ms` ({to})");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let node = named("node", &node)?;
    if c.fleet().node(node.as_str()).is_none() {
        return Err(ApiError::not_found("node", node.as_str()));
    }
    let now = clock::unix_ms();
    Ok(Json(c.live.history(node.as_str(), from, to, now)))
}
