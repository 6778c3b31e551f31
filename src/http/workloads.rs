//! Workloads and instances.

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::{AskError, Controller},
    fleet::{Change, InstanceView, Refusal, WorkloadView},
    identity::Role,
    model::{Desired, Name},
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

/// Items of a page at most.
pub(super) const MAX_PAGE: usize = 1_000;

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// In the order of names.
    pub items: Vec<T>,
    /// `after` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Only what comes after this name.
    #[serde(default)]
    pub(super) after: String,
    /// At most so many; 1,000 unless given.
    pub(super) limit: Option<usize>,
}

impl Paging {
    /// Cuts a page out of everything, which is sorted by `key`.
    pub(super) fn cut<T>(
        &self,
        all: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Page<T> {
        // Another one is refused before it gets here.
        let limit = self.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let mut items: Vec<T> = all
            .filter(|t| self.after.is_empty() || key(t) > self.after)
            .take(limit + 1)
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Page { items, next }
    }
}

#[utoipa::path(get, path = "/api/v1/workloads", params(Paging), tag = "workloads",
    responses((status = 200, body = Page<WorkloadView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Page<WorkloadView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let paging = paging?.0;
    let fleet = c.fleet();
    let page = paging.cut(fleet.workloads().map(|(n, _)| n.clone()), Name::to_string);
    let items = page
        .items
        .iter()
        .filter_map(|n| fleet.workload_view(n))
        .collect();
    Ok(Json(Page {
        items,
        next: page.next,
    }))
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}", tag = "workloads",
    params(("workload" = String, Path)),
    responses((status = 200, body = WorkloadView), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<Json<WorkloadView>, ApiError> {
    caller.need(Role::Viewer)?;
    let name = named("workload", &workload)?;
    let view = c.fleet().workload_view(&name);
    view.map(Json)
        .ok_or_else(|| ApiError::not_found("workload", &workload))
}

#[utoipa::path(delete, path = "/api/v1/workloads/{workload}", tag = "workloads",
    params(("workload" = String, Path)),
    responses((status = 204), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn remove(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let workloads = vec![named("workload", &workload)?];
    c.change(Some(by), Change::WorkloadsRemoved { workloads })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which workloads to take away.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RemoveRequest {
    /// All of them, or none.
    #[schema(value_type = Vec<String>)]
    pub workloads: Vec<Name>,
}

#[utoipa::path(post, path = "/api/v1/remove", tag = "apply", request_body = RemoveRequest,
    responses((status = 204), (status = 404, body = super::ProblemDocument),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn remove_many(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<RemoveRequest>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let mut workloads = body?.0.workloads;
    workloads.sort();
    workloads.dedup();
    if !workloads.is_empty() {
        c.change(Some(by), Change::WorkloadsRemoved { workloads })
            .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/api/v1/workloads/{workload}/start", tag = "workloads",
    params(("workload" = String, Path)), responses((status = 204)))]
pub(super) async fn start(
    state: State<Arc<Controller>>,
    caller: Caller,
    path: Path<String>,
) -> Result<StatusCode, ApiError> {
    desire(state, caller, path, Desired::Running).await
}

#[utoipa::path(post, path = "/api/v1/workloads/{workload}/stop", tag = "workloads",
    params(("workload" = String, Path)), responses((status = 204)))]
pub(super) async fn stop(
    state: State<Arc<Controller>>,
    caller: Caller,
    path: Path<String>,
) -> Result<StatusCode, ApiError> {
    desire(state, caller, path, Desired::Stopped).await
}

async fn desire(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
    desired: Desired,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let workload = named("workload", &workload)?;
    idempotent(
        c.change(Some(by), Change::WorkloadDesired { workload, desired })
            .await,
    )
}

#[utoipa::path(post, path = "/api/v1/workloads/{workload}/restart", tag = "workloads",
    params(("workload" = String, Path)), responses((status = 204)))]
pub(super) async fn restart(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let workload = named("workload", &workload)?;
    idempotent(
        c.change(Some(by), Change::WorkloadRestarted { workload })
            .await,
    )
}

#[utoipa::path(get, path = "/api/v1/instances", tag = "instances",
    responses((status = 200, body = Vec<InstanceView>)))]
pub(super) async fn instances(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<InstanceView>>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(c.fleet().instances()))
}

/// What is so already is no error.
pub(super) fn idempotent(result: Result<(), AskError>) -> Result<StatusCode, ApiError> {
    match result {
        Ok(()) | Err(AskError::Refused(Refusal::Unchanged)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// A name in a path; what is no name is nothing that there is.
pub(super) fn named(what: &'static str, text: &str) -> Result<Name, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(what, text))
}
