//! What the controller keeps for its nodes: images and binaries, each made of blobs.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{Page, Paging, idempotent},
};
use crate::{
    controller::Controller,
    fleet::Change,
    identity::Role,
    model::{Artifact, ArtifactRecord, UnixMs},
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
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

/// Digests that are named in one sentence.
const MAX_NAMED: usize = 20;

/// Something that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// `fleetctl/0.3.0/aarch64`, or `image/` and its reference.
    pub id: String,
    /// What it is.
    pub artifact: Artifact,
    /// Bytes of all its blobs.
    pub size: u64,
    /// When it was added, controller's clock.
    pub added_ms: UnixMs,
    /// By whom: name of the API token.
    pub by: Option<String>,
}

/// Which one.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Its id.
    id: String,
}

#[utoipa::path(get, path = "/api/v1/artifacts", params(Paging), tag = "blobs",
    summary = "Images and binaries that are kept.",
    responses((status = 200, body = Page<ArtifactView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<Page<ArtifactView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let fleet = c.fleet();
    let page = paging?
        .0
        .cut(fleet.artifacts().iter(), |(id, _)| (*id).clone());
    let view = |(id, record): (&String, &ArtifactRecord)| ArtifactView {
        id: id.clone(),
        artifact: record.artifact.clone(),
        size: size(&record.artifact),
        added_ms: record.added_ms,
        by: record.by.clone(),
    };
    Ok(Json(Page {
        items: page.items.into_iter().map(view).collect(),
        next: page.next,
    }))
}

fn size(artifact: &Artifact) -> u64 {
    let blobs = artifact.blobs().into_iter();
    blobs.fold(0, |all, (_, size)| all.saturating_add(size))
}

#[utoipa::path(put, path = "/api/v1/artifacts", tag = "blobs", request_body = Artifact,
    summary = "Keeps an image or a binary, all of whose blobs were uploaded.",
    responses((status = 204), (status = 409, body = super::ProblemDocument,
               description = "Blobs are missing; they are named."),
              (status = 422, body = super::ProblemDocument)))]
pub(super) async fn add(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<Artifact>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let artifact = body?.0;
    let (wanted, blobs) = (artifact.blobs(), c.blobs.clone());
    let missing = spawn_blocking(move || {
        let mut missing = Vec::new();
        for (digest, size) in wanted {
            match blobs.has(&digest) {
                Some(found) if found == size => blobs.touch(&digest),
                Some(found) => missing.push(format!("{digest} ({found} bytes, not {size})")),
                None => missing.push(digest.to_string()),
            }
        }
        missing
    });
    let missing = missing
        .await
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    if !missing.is_empty() {
        let more = match missing.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = missing[..missing.len().min(MAX_NAMED)].join(", ");
        let detail = format!("upload its blobs first; not here: {named}{more}");
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    let before = c.fleet().artifacts().contains_key(&artifact.id());
    let added = idempotent(c.change(Some(by), Change::ArtifactAdded { artifact }).await)?;
    if before {
        prune_later(&c);
    }
    Ok(added)
}

#[utoipa::path(delete, path = "/api/v1/artifacts", params(Which), tag = "blobs",
    summary = "Does not keep it any more.",
    description = "Its blobs are taken away once nothing names them, an hour after they came.",
    responses((status = 204), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn remove(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let id = which?.0.id;
    c.change(Some(by), Change::ArtifactRemoved { id }).await?;
    prune_later(&c);
    Ok(StatusCode::NO_CONTENT)
}

/// Beside the answer: there may be much to take away.
fn prune_later(controller: &Arc<Controller>) {
    let controller = controller.clone();
    tokio::spawn(async move {
        if let Err(error) = crate::blobs::prune_now(&controller).await {
            tracing::warn!(%error, "blobs cannot be pruned");
        }
    });
}
