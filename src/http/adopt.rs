//! Containers that run on a node without fleetctl.

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{
    controller::Controller,
    identity::Role,
    model::{CommandKind, CommandSpec, Name, Unmanaged},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use std::sync::Arc;

#[utoipa::path(get, path = "/api/v1/nodes/{node}/unmanaged", tag = "nodes",
    params(("node" = String, Path)),
    description = "Asks the node for the containers that fleetctl did not make, each with the \
        workload that would take it over. Their environment is shown, so it takes an operator.",
    responses((status = 200, body = Vec<Unmanaged>), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn unmanaged(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<Json<Vec<Unmanaged>>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node: Name = named("node", &node)?;
    let order = CommandSpec::new(CommandKind::Discover, None);
    let outcome = c.command(Some(by), &node, order).await?;
    if !outcome.ok {
        let detail = outcome
            .message
            .unwrap_or_else(|| "the node cannot tell".into());
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, detail));
    }
    let mut found = outcome.unmanaged;
    for one in &mut found {
        // It belongs where it runs, until somebody says otherwise.
        if let Some(workload) = &mut one.workload {
            // Its braces are its own.
            *workload = workload.literal();
            workload.placement.nodes = vec![node.clone()];
        }
    }
    Ok(Json(found))
}
