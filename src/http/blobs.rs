//! Blobs: fetched by hash, uploaded in pieces. What they are for is in [`super::artifacts`].
//!
//! A piece is written to the disk as it comes, so that what a broken line brought is not lost: who
//! uploads asks how much there is and goes on there.

use super::{auth::Caller, problem::ApiError};
use crate::{
    blobs::{BlobError, ContentRange, MAX_PIECE, Progress, Upload, answer},
    controller::Controller,
    identity::Role,
    model::{Digest, shown},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time};
use utoipa::ToSchema;

/// A piece of which nothing comes for so long is given up; what came of it stays.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes that are written to the disk at once.
const WRITE: usize = 256 << 10;

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadView {
    /// Bytes that are there; the next piece begins behind them.
    pub received: u64,
    /// All of them, and their hash is right.
    pub complete: bool,
}

impl From<Progress> for UploadView {
    fn from(progress: Progress) -> UploadView {
        let Progress { received, complete } = progress;
        UploadView { received, complete }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> ApiError {
        let status = match error {
            BlobError::Busy(_) | BlobError::Offset { .. } | BlobError::Total { .. } => {
                StatusCode::CONFLICT
            }
            BlobError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BlobError::Length => StatusCode::BAD_REQUEST,
            BlobError::TooMany | BlobError::TooManyOfOne | BlobError::NoRoom { .. } => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            BlobError::Mismatch { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            BlobError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::new(status, error.to_string())
    }
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    let wrong = |e: crate::model::NotADigest| ApiError::new(StatusCode::BAD_REQUEST, e.to_string());
    text.parse().map_err(wrong)
}

fn broken(error: impl std::fmt::Display) -> ApiError {
    let detail = format!("the controller's disk: {error}");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

#[utoipa::path(get, path = "/api/v1/blobs/{digest}", tag = "blobs",
    summary = "The bytes with this hash.",
    description = "Takes `Range` (one part), `If-Range` and `If-None-Match`; HEAD tells the size.",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits.")),
    responses((status = 200, body = String, content_type = "application/octet-stream"),
              (status = 206, body = String, content_type = "application/octet-stream"),
              (status = 404, body = super::ProblemDocument), (status = 416)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(text): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.need(Role::Viewer)?;
    let wanted = digest(&text)?;
    let controller = c.clone();
    let allowed = Box::new(move || caller.is_still_let_in(&controller));
    let (method, headers) = (request.method(), request.headers());
    let answer = answer(c.blobs.clone(), wanted, method, headers, allowed).await;
    let found = answer.map_err(broken)?;
    found.ok_or_else(|| ApiError::not_found("blob", &text))
}

#[utoipa::path(get, path = "/api/v1/blobs/{digest}/upload", tag = "blobs",
    summary = "How much of a blob is there already.",
    description = "For who may upload it, one that is complete is looked at: where it was changed on \
        the disk, it is taken away.",
    params(("digest" = String, Path)),
    responses((status = 200, body = UploadView)))]
pub(super) async fn progress(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<UploadView>, ApiError> {
    caller.need(Role::Viewer)?;
    let digest = digest(&text)?;
    let blobs = c.blobs.clone();
    let may_upload = caller.need(Role::Operator).is_ok();
    let looked = spawn_blocking(move || {
        if may_upload {
            // Somebody is about to name it.
            blobs.touch(&digest);
            blobs.verify(&digest)?;
        }
        Ok::<_, std::io::Error>(blobs.progress(&digest))
    });
    let progress = looked.await.map_err(broken)?.map_err(broken)?;
    Ok(Json(progress.into()))
}

#[utoipa::path(put, path = "/api/v1/blobs/{digest}/upload", tag = "blobs",
    summary = "The next piece of a blob.",
    description = "At most 8 MiB, with the header `Content-Range: bytes 0-1048575/5000000`; it \
        begins where the last one ended, also where that one broke off. With the last one the hash \
        is looked at: where it is wrong, all of it is thrown away.",
    params(("digest" = String, Path)),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = UploadView), (status = 201, body = UploadView),
              (status = 409, body = super::ProblemDocument,
               description = "Begins elsewhere, or has another length than the first piece said."),
              (status = 422, body = super::ProblemDocument, description = "The hash is wrong."),
              (status = 507, body = super::ProblemDocument)))]
pub(super) async fn piece(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<UploadView>), ApiError> {
    let token = caller.need(Role::Operator)?.token;
    let digest = digest(&text)?;
    let range = content_range(&headers)?;
    let blobs = c.blobs.clone();
    let begun = spawn_blocking(move || blobs.upload(&token, digest, range));
    let upload = begun.await.map_err(broken)??;
    let upload = receive(upload, body).await?;
    let ended = spawn_blocking(move || upload.end());
    let view: UploadView = ended.await.map_err(broken)??.into();
    let status = match view.complete {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(view)))
}

fn content_range(headers: &HeaderMap) -> Result<ContentRange, ApiError> {
    let mut all = headers.get_all(header::CONTENT_RANGE).iter();
    // One of several would be a guess.
    let header = all.next().filter(|_| all.next().is_none());
    let text = header.and_then(|h| h.to_str().ok()).unwrap_or_default();
    let range = text.parse::<ContentRange>().map_err(|e| {
        let detail = format!("{e}, not `{}`", shown(text));
        ApiError::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if range.end - range.from > MAX_PIECE {
        let detail = format!("a piece has at most {} MiB", MAX_PIECE >> 20);
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(range)
}

/// Writes what comes. What a line that breaks has brought is kept.
async fn receive(mut upload: Upload, body: Body) -> Result<Upload, ApiError> {
    let mut body = body.into_data_stream();
    let mut waiting = Vec::new();
    loop {
        let (more, end) = match time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(bytes))) => (bytes, None),
            Ok(None) => (Default::default(), Some(Ok(()))),
            Ok(Some(Err(_))) => (Default::default(), Some(Err("the upload broke off"))),
            Err(_) => (Default::default(), Some(Err("nothing came for a minute"))),
        };
        waiting.extend_from_slice(&more);
        if waiting.len() >= WRITE || (end.is_some() && !waiting.is_empty()) {
            let bytes = std::mem::take(&mut waiting);
            let written = spawn_blocking(move || {
                let written = upload.write(&bytes);
                (upload, written)
            });
            let (back, written) = written.await.map_err(broken)?;
            upload = back;
            written?;
        }
        match end {
            None => {}
            Some(Ok(())) => return Ok(upload),
            Some(Err(why)) => {
                let detail = format!("{why}; ask how much is there, and go on");
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, detail));
            }
        }
    }
}

/// What nodes fetch where the broker is not ours; with a node's statement, see
/// [`crate::blobs::Door`].
pub(super) async fn for_nodes(State(c): State<Arc<Controller>>, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let known = || ();
    c.door.serve(method, path, request.headers(), &known).await
}
