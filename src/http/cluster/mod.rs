//! The cluster API: the fleet as a whole, nodes that cannot speak MQTT, and deploying with one
//! call. A thin face: everything is the same entries that the other faces make.
//!
//! | module | under `/api/v1/cluster` |
//! |---|---|
//! | here | `status`, `topology`, `rebalance` |
//! | [`containers`] | `containers`: nodes, and registering and leaving over HTTP |
//! | [`heartbeat`] | `containers/{name}/heartbeat`, `…/assignment` |
//! | [`agents`] | `deploy/agent`, `agents`: instances as `workload@node` |

pub(super) mod agents;
mod asker;
pub(super) mod containers;
pub(super) mod heartbeat;

pub use agents::{AgentView, DeployRequest, DeployResponse, StopResponse};
pub use containers::{ContainerView, RegisterRequest, RegisterResponse, Transport};
pub use heartbeat::{AssignmentResponse, HeartbeatRequest, HttpInstance};

use super::{
    auth::Caller,
    moves::{self, RebalanceLimits, RebalanceRequest},
    problem::ApiError,
};
use crate::{
    controller::Controller,
    fleet::{ClusterStatus, RebalancePlan, Topology},
    identity::Role,
    model::{Requirement, shown},
};
use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How the fleet stands, in numbers.
///
/// Nodes by state, workloads, instances, and what of the machines is taken.
#[utoipa::path(get, path = "/api/v1/cluster/status", tag = "cluster",
    responses((status = 200, body = ClusterStatus)))]
pub(super) async fn status(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<ClusterStatus>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(c.fleet().cluster_status()))
}

/// How to group the nodes.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Grouping {
    /// By the values of this label; all are one group unless given.
    label: Option<String>,
}

/// Which nodes there are and what runs on each, by groups.
///
/// `label` groups the nodes by the values of one label; without it all are one group.
#[utoipa::path(get, path = "/api/v1/cluster/topology", tag = "cluster", params(Grouping),
    responses((status = 200, body = Topology), (status = 400, body = super::ProblemDocument)))]
pub(super) async fn topology(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    grouping: Result<Query<Grouping>, QueryRejection>,
) -> Result<Json<Topology>, ApiError> {
    caller.need(Role::Viewer)?;
    let label = grouping?.0.label.filter(|l| !l.is_empty());
    if let Some(label) = &label
        && !is_label(label, None)
    {
        let detail = format!("`{}` is not the key of a label", shown(label));
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Json(c.fleet().topology(label.as_deref())))
}

/// What to make more even, and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterRebalance {
    /// Only say what would be moved.
    #[serde(default)]
    pub dry_run: bool,
    /// Moves at most; 10 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_moves: Option<u32>,
    /// Nodes whose load (0–100) differs by less are left alone; 20 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
}

/// Make the load of the nodes more even.
///
/// As `POST /api/v1/rebalance` with limits. `dry_run` moves nothing and answers what would be moved.
#[utoipa::path(post, path = "/api/v1/cluster/rebalance", tag = "cluster",
    request_body = ClusterRebalance,
    responses((status = 200, body = RebalancePlan, description = "The moves that have begun; with \
               `dry_run` those that would."),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn rebalance(
    state: State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<ClusterRebalance>, JsonRejection>,
) -> Result<Json<RebalancePlan>, ApiError> {
    let ClusterRebalance {
        dry_run,
        max_moves,
        threshold,
    } = body?.0;
    let limits = RebalanceLimits {
        threshold,
        max_moves,
        max_per_workload: None,
    };
    if dry_run {
        return moves::rebalance_plan(state, caller, Ok(Query(limits))).await;
    }
    let request = RebalanceRequest { plan: None, limits };
    moves::rebalance(state, caller, Ok(Json(request))).await
}

/// Whether this can be a label (or a capability): what requirements could ask for.
fn is_label(key: &str, value: Option<&str>) -> bool {
    use crate::model::Operator;
    let text = value.map_or_else(|| key.to_owned(), |v| format!("{key}={v}"));
    let plain =
        |r: &Requirement| matches!(r.operator, Operator::Is | Operator::Has) && r.key == key;
    Requirement::try_from(text).as_ref().is_ok_and(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_routes_stand_in_each_others_way() {
        // It panics where they do.
        assert!(super::super::cluster_routes().has_routes());
    }

    #[test]
    fn what_no_requirement_could_ask_for_is_no_label() {
        assert!(is_label("zone", None) && is_label("zone", Some("a-1")));
        for (key, value) in [
            ("", None),
            ("!zone", None),
            ("a b", None),
            ("zone", Some("a b")),
        ] {
            assert!(!is_label(key, value), "{key} {value:?}");
        }
        assert!(
            !is_label("zone!", Some("a")),
            "that would ask for something else"
        );
    }
}
