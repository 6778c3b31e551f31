//! Which version of what runs where, what was before, and why a workload is where it is.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{Page, Paging},
};
use crate::{
    controller::Controller,
    fleet::{RevisionView, VersionsView, Why},
    identity::Role,
    manifest::render,
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use std::sync::Arc;

#[utoipa::path(get, path = "/api/v1/versions", params(Paging), tag = "workloads",
    responses((status = 200, body = Page<VersionsView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Page<VersionsView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let all = c.fleet().versions();
    Ok(Json(
        paging?.0.cut(all.into_iter(), |v| v.workload.to_string()),
    ))
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/history", tag = "workloads",
    params(("workload" = String, Path)),
    responses((status = 200, body = Vec<RevisionView>, description = "Oldest first."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn history(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<Json<Vec<RevisionView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let history = c.fleet().history(&workload);
    history
        .map(Json)
        .ok_or_else(|| ApiError::not_found("workload", &workload))
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/why", tag = "workloads",
    params(("workload" = String, Path)),
    responses((status = 200, body = Why), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn why(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<Json<Why>, ApiError> {
    caller.need(Role::Viewer)?;
    let why = c.fleet().why(&workload);
    why.map(Json)
        .ok_or_else(|| ApiError::not_found("workload", &workload))
}

#[utoipa::path(get, path = "/api/v1/workloads/{workload}/manifest", tag = "workloads",
    summary = "A workload as a manifest that can be applied again.",
    params(("workload" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain", description = "TOML."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn manifest(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(workload): Path<String>,
) -> Result<String, ApiError> {
    caller.need(Role::Viewer)?;
    let fleet = c.fleet();
    let record = fleet.workload(&workload);
    let record = record.ok_or_else(|| ApiError::not_found("workload", &workload))?;
    Ok(render(&record.spec))
}
