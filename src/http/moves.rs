//! Instances on their way: cordons, drains, migrations, rebalancing, and what of a node is kept
//! free.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{idempotent, named},
};
use crate::{
    controller::{AskError, Controller},
    fleet::{Change, Fleet, RebalanceBounds, RebalancePlan, Reserved},
    identity::Role,
    model::Name,
    support::clock,
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
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Moves in one request at most.
const MAX_MOVES: usize = 1_000;
/// Cores that can be kept free of a node, as the fleet has it.
const MAX_CPUS: f64 = 4_096.0;

#[utoipa::path(post, path = "/api/v1/nodes/{node}/cordon", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 204), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn cordon(
    state: State<Arc<Controller>>,
    caller: Caller,
    path: Path<String>,
) -> Result<StatusCode, ApiError> {
    cordoned(state, caller, path, true).await
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/uncordon", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 204), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn uncordon(
    state: State<Arc<Controller>>,
    caller: Caller,
    path: Path<String>,
) -> Result<StatusCode, ApiError> {
    cordoned(state, caller, path, false).await
}

async fn cordoned(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    cordoned: bool,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node = named("node", &node)?;
    let change = Change::NodeCordoned { node, cordoned };
    idempotent(c.change(Some(by), change).await)
}

/// How to empty a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Also what has local state, which it loses.
    #[serde(default)]
    pub force: bool,
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", tag = "nodes",
    params(("node" = String, Path)), request_body = DrainRequest,
    responses((status = 204, description = "It is being emptied; the node's `drain` says how far."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn drain(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    body: Result<Json<DrainRequest>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node = named("node", &node)?;
    let change = Change::NodeDrained {
        node,
        drain: Some(body?.0.force),
    };
    idempotent(c.change(Some(by), change).await)
}

#[utoipa::path(delete, path = "/api/v1/nodes/{node}/drain", tag = "nodes",
    params(("node" = String, Path)),
    responses((status = 204, description = "Moves that have begun are finished."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn undrain(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node = named("node", &node)?;
    let change = Change::NodeDrained { node, drain: None };
    idempotent(c.change(Some(by), change).await)
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/reserve", tag = "nodes",
    params(("node" = String, Path)), request_body = Reserved,
    responses((status = 204), (status = 404, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn reserve(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
    body: Result<Json<Reserved>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let node = named("node", &node)?;
    let reserved = body?.0;
    // A longer number would only be printed back.
    if !(reserved.cpus.is_finite() && (0.0..=MAX_CPUS).contains(&reserved.cpus)) {
        let detail = format!("`cpus` must be a number from 0 to {MAX_CPUS}");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let change = Change::NodeReserved { node, reserved };
    idempotent(c.change(Some(by), change).await)
}

/// Which instance goes where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    /// Of which workload.
    #[schema(value_type = String)]
    pub workload: Name,
    /// The node that it leaves.
    #[schema(value_type = String)]
    pub from: Name,
    /// The node that takes it; not given: the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Name>,
    /// Also where it loses local state.
    #[serde(default)]
    pub force: bool,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigrateResponse {
    /// The node that takes it.
    #[schema(value_type = String)]
    pub to: Name,
}

#[utoipa::path(post, path = "/api/v1/instances/migrate", tag = "instances",
    request_body = MigrateRequest,
    responses((status = 200, body = MigrateResponse), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn migrate(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<MigrateRequest>, JsonRejection>,
) -> Result<Json<MigrateResponse>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let MigrateRequest {
        workload,
        from,
        to,
        force,
    } = body?.0;
    let before = placed(&c.fleet(), &workload);
    let change = Change::InstanceMigrated {
        workload: workload.clone(),
        from: from.clone(),
        to: to.clone(),
        force,
    };
    c.change(Some(by), change).await?;
    let fleet = c.fleet();
    let record = fleet.workload(workload.as_str());
    let under_way = record.and_then(|w| w.moves.get(&from)).map(|m| &m.to);
    // Over already where nothing had to be waited for: then by what is new.
    let new = || {
        placed(&fleet, &workload)
            .into_iter()
            .find(|n| !before.contains(n))
    };
    let to = under_way.cloned().or(to).or_else(new);
    let gone = "it was decided, and something else has happened to it since; look at `fleetctl ps`";
    to.map(|to| Json(MigrateResponse { to }))
        .ok_or_else(|| ApiError::new(StatusCode::CONFLICT, gone))
}

fn placed(fleet: &Fleet, workload: &Name) -> Vec<Name> {
    let record = fleet.workload(workload.as_str());
    record
        .map(|w| w.placed.iter().cloned().collect())
        .unwrap_or_default()
}

/// How far a rebalancing may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RebalanceLimits {
    /// Nodes whose load (0–100) differs by less are left alone; 20 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100)]
    #[schema(minimum = 1, maximum = 100)]
    pub threshold: Option<u8>,
    /// Moves at most; 10 unless given, 1,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1_000)]
    #[schema(minimum = 1, maximum = 1_000)]
    pub max_moves: Option<u32>,
    /// Instances of one workload that move at the same time at most; 1 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    pub max_per_workload: Option<u32>,
}

impl RebalanceLimits {
    fn bounds(&self) -> Result<RebalanceBounds, ApiError> {
        let refuse = |detail: &str| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let default = RebalanceBounds::default();
        let bounds = RebalanceBounds {
            threshold: self.threshold.unwrap_or(default.threshold),
            max_moves: self.max_moves.unwrap_or(default.max_moves),
            max_per_workload: self.max_per_workload.unwrap_or(default.max_per_workload),
        };
        if !(1..=100).contains(&bounds.threshold) {
            return Err(refuse("`threshold` must be from 1 to 100"));
        }
        if bounds.max_moves == 0 || bounds.max_moves as usize > MAX_MOVES {
            return Err(refuse("`max_moves` must be from 1 to 1000"));
        }
        if bounds.max_per_workload == 0 {
            return Err(refuse("`max_per_workload` must be 1 or more"));
        }
        Ok(bounds)
    }
}

#[utoipa::path(get, path = "/api/v1/rebalance", tag = "instances", params(RebalanceLimits),
    responses((status = 200, body = RebalancePlan), (status = 422, body = super::ProblemDocument)))]
pub(super) async fn rebalance_plan(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    limits: Result<Query<RebalanceLimits>, QueryRejection>,
) -> Result<Json<RebalancePlan>, ApiError> {
    caller.need(Role::Viewer)?;
    let bounds = limits?.0.bounds()?;
    Ok(Json(c.fleet().plan_rebalance(&bounds, clock::unix_ms())))
}

/// Which moves to make: those of a plan that a person has agreed to, or what is best now within
/// limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebalanceRequest {
    /// The plan as it was shown, or some of its moves; when the fleet has changed since so that
    /// they would not be planned any more, none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<RebalancePlan>,
    /// Where no plan is given; both together are refused.
    #[serde(default)]
    pub limits: RebalanceLimits,
}

#[utoipa::path(post, path = "/api/v1/rebalance", tag = "instances",
    request_body = RebalanceRequest,
    responses((status = 200, body = RebalancePlan, description = "The moves that have begun."),
              (status = 409, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn rebalance(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<RebalanceRequest>, JsonRejection>,
) -> Result<Json<RebalancePlan>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let RebalanceRequest { plan, limits } = body?.0;
    let plan = match plan {
        Some(_) if limits != RebalanceLimits::default() => {
            let detail = "either `plan` or `limits`: a plan has been made within its own";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        Some(plan) => {
            let fleet = c.fleet();
            fleet.check_rebalance(&plan).map_err(AskError::Refused)?;
            let bounds = plan.bounds.clone().unwrap_or_default();
            in_our_words(plan, &fleet.plan_rebalance(&bounds, clock::unix_ms()))
        }
        None => c
            .fleet()
            .plan_rebalance(&limits.bounds()?, clock::unix_ms()),
    };
    if !plan.moves.is_empty() {
        let moves = plan.moves.clone();
        c.change(Some(by), Change::Rebalanced { moves }).await?;
    }
    Ok(Json(plan))
}

/// The moves that somebody has handed in, with what `ours` says of each: what he wrote beside them is
/// neither told nor kept.
fn in_our_words(mut plan: RebalancePlan, ours: &RebalancePlan) -> RebalancePlan {
    for m in &mut plan.moves {
        let ends = (&m.workload, &m.from, &m.to);
        let same = ours
            .moves
            .iter()
            .find(|o| (&o.workload, &o.from, &o.to) == ends);
        (m.why, m.cost) = match same {
            Some(same) => (same.why.clone(), same.cost.clone()),
            None => ("a person has asked for it".into(), String::new()),
        };
    }
    plan.version = ours.version;
    plan.before = ours.before;
    plan.kept = ours.kept.clone();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_writes_beside_the_moves_of_a_plan_is_not_told_again() {
        let planned = |to: &str, why: &str| crate::fleet::PlannedMove {
            workload: "web".parse().unwrap(),
            from: "a".parse().unwrap(),
            to: to.parse().unwrap(),
            why: why.into(),
            cost: why.into(),
        };
        let of = |moves| RebalancePlan {
            moves,
            ..RebalancePlan::default()
        };
        let sent = of(vec![planned("b", "<b>"), planned("c", "<b>")]);
        let told = in_our_words(sent, &of(vec![planned("b", "a is full")]));
        assert_eq!(told.moves[0], planned("b", "a is full"));
        assert_eq!(told.moves[1].why, "a person has asked for it");
        assert_eq!(told.moves[1].cost, "");
    }

    fn limits(threshold: Option<u8>, max_moves: Option<u32>) -> RebalanceLimits {
        RebalanceLimits {
            threshold,
            max_moves,
            ..RebalanceLimits::default()
        }
    }

    #[test]
    fn limits_are_bounded() {
        let bounds = RebalanceLimits::default().bounds();
        assert_eq!(bounds.ok(), Some(RebalanceBounds::default()));
        let few = limits(Some(1), Some(1)).bounds();
        assert_eq!(few.ok().map(|b| (b.threshold, b.max_moves)), Some((1, 1)));
        for wrong in [
            limits(Some(0), None),
            limits(Some(101), None),
            limits(None, Some(0)),
            limits(None, Some(1_001)),
        ] {
            assert!(wrong.bounds().is_err(), "{wrong:?}");
        }
    }
}
