//! Images: those that the controller keeps, and those that a node's engines have.

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{
    controller::Controller,
    fleet::Fleet,
    identity::Role,
    model::{
        Artifact, CommandKind, CommandSpec, Digest, Image, ImageOrder, MAX_PRUNED, Name, NodeImage,
        Run, UnixMs,
    },
    runtime::Reference,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use utoipa::ToSchema;

/// An image that the controller keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// What it is called, fully qualified, and what it is made of.
    pub image: Image,
    /// Bytes of all its blobs.
    pub size: u64,
    /// Bytes of it that another image has as well.
    pub shared: u64,
    /// When it was pushed, controller's clock.
    pub added_ms: UnixMs,
    /// By whom: name of the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Workloads that name it, also in a revision that they may go back to.
    #[schema(value_type = Vec<String>)]
    pub workloads: BTreeSet<Name>,
}

#[utoipa::path(get, path = "/api/v1/images", tag = "blobs",
    summary = "Images that were pushed, by name.",
    responses((status = 200, body = Vec<ImageView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<ImageView>>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(views(&c.fleet())))
}

fn views(fleet: &Fleet) -> Vec<ImageView> {
    let images = || {
        fleet
            .artifacts()
            .values()
            .filter_map(|record| match &record.artifact {
                Artifact::Image(image) => Some((record, image)),
                Artifact::Binary { .. } => None,
            })
    };
    let mut holders: BTreeMap<Digest, u32> = BTreeMap::new();
    for digest in images().flat_map(|(_, image)| image.blobs.keys()) {
        *holders.entry(*digest).or_default() += 1;
    }
    let users = users(fleet);
    let view = |(record, image): (&crate::model::ArtifactRecord, &Image)| {
        let is_shared = |digest: &Digest| holders.get(digest).is_some_and(|n| *n > 1);
        let shared = image.blobs.iter().filter(|(digest, _)| is_shared(digest));
        ImageView {
            size: image.size(),
            shared: shared.fold(0, |sum, (_, size)| sum.saturating_add(*size)),
            added_ms: record.added_ms,
            by: record.by.clone(),
            workloads: users.get(&image.reference).cloned().unwrap_or_default(),
            image: image.clone(),
        }
    };
    images().map(view).collect()
}

/// Workloads by the images that they name, fully qualified.
fn users(fleet: &Fleet) -> BTreeMap<String, BTreeSet<Name>> {
    let mut users: BTreeMap<String, BTreeSet<Name>> = BTreeMap::new();
    for (name, record) in fleet.workloads() {
        let editions = record.history.iter().map(|r| &r.spec);
        for spec in editions.chain([&record.spec]) {
            if let Run::Container { image, .. } = &spec.run
                && let Ok(image) = Reference::parse(image)
            {
                let users = users.entry(image.full().to_owned()).or_default();
                users.insert(name.clone());
            }
        }
    }
    users
}

/// The image of this name, for a node that asks.
pub(crate) fn kept(fleet: &Fleet, reference: &str) -> Option<Image> {
    let record = fleet.artifacts().get(&format!("image/{reference}"))?;
    match &record.artifact {
        Artifact::Image(image) => Some(image.clone()),
        Artifact::Binary { .. } => None,
    }
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}/images", tag = "nodes",
    summary = "Asks the node for the images that its engines have.",
    params(("node" = String, Path)),
    responses((status = 200, body = Vec<NodeImage>), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn of_node(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(node): Path<String>,
) -> Result<Json<Vec<NodeImage>>, ApiError> {
    let by = caller.need(Role::Viewer)?;
    let node: Name = named("node", &node)?;
    let order = CommandSpec::new(CommandKind::Images, None);
    let outcome = c.command(Some(by), &node, order).await?;
    if !outcome.ok {
        let detail = outcome
            .message
            .unwrap_or_else(|| "the node cannot tell".into());
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, detail));
    }
    Ok(Json(outcome.images))
}

/// What is wrong with an order about images, before it goes to any node.
pub(super) fn check(fleet: &Fleet, order: &CommandSpec) -> Result<(), ApiError> {
    let unfit = |detail: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    match (order.command, order.image.as_deref()) {
        (CommandKind::Image, Some(ImageOrder::Fetch(fetch))) => {
            let kept = kept(fleet, &fetch.reference);
            if kept.is_none_or(|kept| kept.to_fetch(fetch.engine) != *fetch) {
                return Err(unfit(format!(
                    "the controller does not keep image `{}` (any more) as it is asked for; push \
                     it again",
                    crate::model::shown(&fetch.reference)
                )));
            }
            Ok(())
        }
        (CommandKind::Image, Some(ImageOrder::Prune(prune))) => {
            if prune.references.len() > MAX_PRUNED {
                return Err(unfit(format!(
                    "at most {MAX_PRUNED} images are named at once"
                )));
            }
            Ok(())
        }
        (CommandKind::Image, None) => Err(unfit("`image` needs what to do: fetch or prune".into())),
        (_, Some(_)) => Err(unfit("`image` goes with the command of this name".into())),
        (_, None) => Ok(()),
    }
}
