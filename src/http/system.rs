//! The controller itself.

use super::{auth::Caller, problem::ApiError};
use crate::{controller::Controller, identity::Role};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, atomic::Ordering};
use utoipa::ToSchema;

/// Which fleetctl this is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// Version of the controller.
    pub version: String,
    /// The fleet's public key.
    pub fleet_key: String,
    /// When the controller started, Unix milliseconds.
    pub started_ms: u64,
}

#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

#[utoipa::path(get, path = "/readyz", tag = "system",
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn readyz(State(c): State<Arc<Controller>>) -> (StatusCode, &'static str) {
    if c.connected.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not connected to the broker\n",
        )
    }
}

#[utoipa::path(get, path = "/api/v1/version", tag = "system",
    responses((status = 200, body = VersionView)))]
pub(super) async fn version(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<VersionView>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(VersionView {
        version: crate::support::release::version().into(),
        fleet_key: c.identity.key.public().to_string(),
        started_ms: c.started_ms,
    }))
}
