//! Nodes, and commands to them.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{Page, Paging, idempotent, named},
};
use crate::{
    controller::Controller,
    fleet::{Change, NodeView},
    identity::Role,
    model::{CommandKind, CommandOutcome, CommandSpec, Name, Operator, Requirement, shown},
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
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use utoipa::{IntoParams, ToSchema};

/// Which nodes.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Only nodes that meet all of these, comma-separated: `zone=lab,!gpu`.
    #[serde(default)]
    label: String,
    /// Only what comes after this name.
    #[serde(default)]
    after: String,
    /// At most so many; 1,000 unless given.
    limit: Option<usize>,
}

#[utoipa::path(get, path = "/api/v1/nodes", params(Selection), tag = "nodes",
    responses((status = 200, body = Page<NodeView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Json<Page<NodeView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let Selection {
        label,
        after,
        limit,
    } = selection?.0;
    let wanted: Result<Vec<Requirement>, String> = label
        .split(',')
        .filter(|l| !l.is_empty())
        .map(|l| Requirement::try_from(l.to_owned()))
        .collect();
    let wanted = wanted.map_err(|e| ApiError::new(StatusCode::BAD_REQUEST, e))?;
    let fleet = c.fleet();
    let meets = |node: &crate::fleet::NodeRecord| {
        let properties = node.properties();
        wanted.iter().all(|r| r.is_met_by(&properties))
    };
    let names = fleet
        .nodes()
        .filter(|(_, n)| wanted.is_empty() || meets(n))
        .map(|(n, _)| n.clone());
    let page = Paging { after, limit }.cut(names, Name::to_string);
    let view = |n: &Name| fleet.node_view(n, c.live.get(n.as_str()));
    Ok(Json(Page {
        items: page.items.iter().filter_map(view).collect(),
        next: page.next,
    }))
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 200, body = NodeView), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<Json<NodeView>, ApiError> {
    caller.need(Role::Viewer)?;
    let name = named("node", &node)?;
    let view = c.fleet().node_view(&name, c.live.get(&node));
    let mut view = view.ok_or_else(|| ApiError::not_found("node", &node))?;
    view.telemetry = c.live.telemetry(&node);
    view.cfg = c.live.config(&node);
    view.discovered = c.live.discovered(&node);
    Ok(Json(view))
}

#[utoipa::path(delete, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Admin)?;
    c.change(
        Some(by),
        Change::NodeRemoved {
            node: named("node", &node)?,
        },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/approve", tag = "nodes",
    params(("node" = String, Path)), responses((status = 204)))]
pub(super) async fn approve(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Admin)?;
    idempotent(
        c.change(
            Some(by),
            Change::NodeApproved {
                node: named("node", &node)?,
            },
        )
        .await,
    )
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/revoke", tag = "nodes",
    params(("node" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Admin)?;
    idempotent(
        c.change(
            Some(by),
            Change::NodeRevoked {
                node: named("node", &node)?,
            },
        )
        .await,
    )
}

/// Labels to set, and (null) to take away.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct LabelChange {
    /// By key.
    pub labels: BTreeMap<String, Option<String>>,
}

#[utoipa::path(patch, path = "/api/v1/nodes/{node}/labels", tag = "nodes",
    params(("node" = String, Path)), request_body = LabelChange, responses((status = 204)))]
pub(super) async fn label(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    body: Result<Json<LabelChange>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let labels = body?.0.labels;
    for (key, value) in &labels {
        let text = value.as_ref().map_or(key.clone(), |v| format!("{key}={v}"));
        let pair = Requirement::try_from(text.clone());
        let plain =
            |r: &Requirement| matches!(r.operator, Operator::Is | Operator::Has) && r.key == *key;
        if !pair.as_ref().is_ok_and(plain) {
            let detail = format!(
                "`{}` is not a label: letters, digits and -_./: on both sides of one `=`",
                shown(&text)
            );
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    }
    let node = named("node", &node)?;
    idempotent(
        c.change(Some(by), Change::NodeLabelled { node, labels })
            .await,
    )
}

/// How a command ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CommandResponse {
    /// The node.
    #[schema(value_type = String)]
    pub node: Name,
    /// It worked.
    pub ok: bool,
    /// One sentence where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// From the controller to the agent and back, milliseconds.
    pub rtt_ms: f64,
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/command", tag = "nodes",
    params(("node" = String, Path)), request_body = CommandSpec,
    responses((status = 200, body = CommandResponse)))]
pub(super) async fn command(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    body: Result<Json<CommandSpec>, JsonRejection>,
) -> Result<Json<CommandResponse>, ApiError> {
    let order = body?.0;
    let role = if order.command.changes_something() {
        Role::Operator
    } else {
        Role::Viewer
    };
    let by = caller.need(role)?;
    if order.command == CommandKind::Logs {
        let detail = "log lines come from /api/v1/workloads/{workload}/logs";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    // Nobody but who began a program may speak to it.
    if matches!(order.command, CommandKind::Exec | CommandKind::Input) {
        let detail = "programs are run at /api/v1/nodes/{node}/workloads/{workload}/exec";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let node = named("node", &node)?;
    let sent = Instant::now();
    let CommandOutcome { ok, message, .. } = c.command(Some(by), &node, order).await?;
    let rtt_ms = (sent.elapsed().as_secs_f64() * 100_000.0).round() / 100.0;
    Ok(Json(CommandResponse {
        node,
        ok,
        message,
        rtt_ms,
    }))
}
