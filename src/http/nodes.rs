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
    model::{
        CommandKind, CommandOutcome, CommandSpec, Name, Operator, Presence, Requirement, UnixMs,
        shown,
    },
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
    let view = |n: &Name| {
        let view = fleet.node_view(n, c.live.get(n.as_str()))?;
        Some(heard(view, c.started_ms))
    };
    Ok(Json(Page {
        items: page.items.iter().filter_map(view).collect(),
        next: page.next,
    }))
}

/// What the fleet remembers of a node from before the controller's start is no knowledge: until the
/// node is heard it is not shown as online. Only shown: the fleet itself waits for `start_grace`.
/// A node over HTTP says nothing by itself.
fn heard(view: NodeView, started_ms: UnixMs) -> NodeView {
    let old = view.since_ms < started_ms && view.heartbeat.is_none();
    if view.state != Presence::Online || view.http || !old {
        return view;
    }
    NodeView {
        state: Presence::Silent,
        reason: "not heard since the controller has started".into(),
        since_ms: started_ms,
        running: 0,
        ..view
    }
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
    let view = view.ok_or_else(|| ApiError::not_found("node", &node))?;
    let mut view = heard(view, c.started_ms);
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
    if matches!(order.command, CommandKind::Image | CommandKind::Images) {
        let detail =
            "images are ordered at /api/v1/commands, and told at /api/v1/nodes/{node}/images";
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: &str, since_ms: u64, http: bool, heartbeat: bool) -> NodeView {
        let beat = serde_json::json!({
            "cpu": 1.0, "memory": 1.0, "disk": 1.0, "load": 0.5, "temperature": null,
            "uptime_s": 1, "running": 1, "failed": 0, "generation": 1, "state_digest": "",
            "heard_ms": 7,
        });
        let view = serde_json::json!({
            "name": "pi-1", "state": state, "reason": "", "since_ms": since_ms,
            "approval": "approved", "labels": {}, "facts": null, "engines": [], "generation": 1,
            "observed_generation": 1, "instances": 2, "running": 2, "key": "", "joined_ms": 0,
            "heartbeat": heartbeat.then_some(beat), "load": 0, "http": http,
        });
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_node_that_was_online_before_the_start_is_silent_until_it_is_heard() {
        let shown = heard(node("online", 5, false, false), 10);
        assert_eq!((shown.state, shown.running), (Presence::Silent, 0));
        assert_eq!(shown.since_ms, 10);
        assert_eq!(shown.reason, "not heard since the controller has started");
        for known in [
            node("online", 5, false, true),
            node("online", 5, true, false),
            node("online", 11, false, false),
            node("offline", 5, false, false),
        ] {
            assert_eq!(heard(known.clone(), 10), known);
        }
    }
}
