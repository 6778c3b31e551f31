//! The HTTP API under `/api/v1`: thin handlers over [`crate::controller::Controller`].
//!
//! What holds of every request is looked at in [`request`]: unknown query keys are refused, and a
//! POST without a body is one with nothing in it.
//!
//! Bearer tokens with a role; errors are problem documents (RFC 9457); lists page by name; events
//! are Server-Sent Events that resume by `Last-Event-ID`. `GET /api/v1/openapi.json` is made from
//! this code. TLS on every address that is not loopback. The dashboard is at `/`, over the same API:
//! see [`assets`] and [`session`].

mod adopt;
mod alerts;
mod apply;
mod artifacts;
mod assets;
mod audit;
mod auth;
mod blobs;
mod cluster;
mod commands;
mod config;
mod cursor;
mod events;
pub(crate) mod exec;
mod history;
mod images;
mod log_reader;
mod logs;
mod metrics;
mod moves;
mod nodes;
mod openapi;
mod problem;
mod request;
mod rollouts;
mod serve;
mod session;
mod system;
mod tokens;
mod traced;
mod upgrade;
mod versions;
mod workloads;

pub use alerts::{NewSilence, SilenceRequest};
pub use apply::{ApplyRequest, ManifestSource, WaitRequest, WaitResponse};
pub use artifacts::ArtifactView;
pub use blobs::UploadView;
pub use cluster::{
    AgentView, AssignmentResponse, ClusterRebalance, ContainerView, DeployRequest, DeployResponse,
    HeartbeatRequest, HttpInstance, RegisterRequest, RegisterResponse, StopResponse, Transport,
};
pub use commands::{
    FleetCommandBegun, FleetCommandDone, FleetCommandRequest, NodeProgress, NodeResult,
};
pub use config::NodeConfigView;
pub(crate) use cursor::Cursor;
pub use exec::{ExecExit, ExecResponse};
pub use images::ImageView;
pub(crate) use images::kept as kept_image;
pub use metrics::Requests;
pub(crate) use metrics::serve_broker;
pub use moves::{DrainRequest, MigrateRequest, MigrateResponse, RebalanceLimits, RebalanceRequest};
pub use nodes::{CommandResponse, LabelChange};
pub use openapi::{document as openapi_document, from_code as openapi_from_code};
pub use problem::ProblemDocument;
pub use rollouts::{RollbackRequest, RollbackResponse, RolloutVerb, RolloutView};
pub use serve::{HttpError, Served, serve};
pub use session::{SessionView, Sessions};
pub use system::VersionView;
pub use tokens::{NewToken, TokenCreated, TokenView};
pub use upgrade::{UpgradeRequest, UpgradeResponse, UpgradeSteps, UpgradeView};
pub use workloads::{Page, RemoveRequest};

use crate::controller::Controller;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, patch, post},
};
use std::sync::Arc;

/// Bytes of a request's body: a manifest of 1 MiB and room for several.
const MAX_BODY: usize = 4 << 20;

/// All routes.
pub(crate) fn router(controller: Arc<Controller>) -> Router {
    Router::new()
        .route("/", get(assets::front_page))
        .route("/assets/{*path}", get(assets::asset))
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/v1/version", get(system::version))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit/export", get(audit::export))
        .route("/api/v1/audit/verify", get(audit::verify))
        .route("/api/v1/events", get(events::events))
        .route(
            "/api/v1/session",
            post(session::create)
                .layer(DefaultBodyLimit::max(session::MAX_SIGN_IN))
                .get(session::show)
                .delete(session::end),
        )
        .route("/api/v1/nodes", get(nodes::list))
        .route(
            "/api/v1/nodes/{node}",
            get(nodes::show).delete(nodes::remove),
        )
        .route("/api/v1/nodes/{node}/approve", post(nodes::approve))
        .route("/api/v1/nodes/{node}/revoke", post(nodes::revoke))
        .route("/api/v1/nodes/{node}/labels", patch(nodes::label))
        .route("/api/v1/nodes/{node}/unmanaged", get(adopt::unmanaged))
        .route("/api/v1/nodes/{node}/images", get(images::of_node))
        .route("/api/v1/images", get(images::list))
        .route(
            "/api/v1/nodes/{node}/config",
            get(config::show)
                .patch(config::change)
                .delete(config::reset),
        )
        .route("/api/v1/nodes/{node}/telemetry", get(config::telemetry))
        .route("/api/v1/nodes/{node}/history", get(history::show))
        .route("/api/v1/nodes/{node}/command", post(nodes::command))
        .route(
            "/api/v1/nodes/{node}/workloads/{workload}/exec",
            get(exec::open).post(exec::run),
        )
        .route("/api/v1/nodes/{node}/cordon", post(moves::cordon))
        .route("/api/v1/nodes/{node}/uncordon", post(moves::uncordon))
        .route(
            "/api/v1/nodes/{node}/drain",
            post(moves::drain).delete(moves::undrain),
        )
        .route("/api/v1/nodes/{node}/reserve", post(moves::reserve))
        .route("/api/v1/instances/migrate", post(moves::migrate))
        .route(
            "/api/v1/rebalance",
            get(moves::rebalance_plan).post(moves::rebalance),
        )
        .route("/api/v1/versions", get(versions::list))
        .route("/api/v1/workloads/{workload}/why", get(versions::why))
        .route(
            "/api/v1/workloads/{workload}/manifest",
            get(versions::manifest),
        )
        .route(
            "/api/v1/workloads/{workload}/history",
            get(versions::history),
        )
        .route("/api/v1/rollouts", get(rollouts::list))
        .route("/api/v1/workloads/{workload}/rollout", get(rollouts::show))
        .route(
            "/api/v1/workloads/{workload}/rollout/{verb}",
            post(rollouts::order),
        )
        .route(
            "/api/v1/workloads/{workload}/rollback",
            post(rollouts::rollback),
        )
        .route("/api/v1/workloads", get(workloads::list))
        .route(
            "/api/v1/workloads/{workload}",
            get(workloads::show).delete(workloads::remove),
        )
        .route("/api/v1/workloads/{workload}/start", post(workloads::start))
        .route("/api/v1/workloads/{workload}/stop", post(workloads::stop))
        .route(
            "/api/v1/workloads/{workload}/restart",
            post(workloads::restart),
        )
        .route("/api/v1/workloads/{workload}/logs", get(logs::logs))
        .route("/api/v1/instances", get(workloads::instances))
        .route("/api/v1/plan", post(apply::plan))
        .route("/api/v1/apply", post(apply::apply))
        .route("/api/v1/wait", post(apply::wait))
        .route("/api/v1/remove", post(workloads::remove_many))
        .route("/api/v1/upgrade", get(upgrade::show).post(upgrade::upgrade))
        .route("/api/v1/upgrade/nodes", get(upgrade::nodes))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/rules", get(alerts::rules))
        .route("/api/v1/alerts/receivers", get(alerts::receivers))
        .route(
            "/api/v1/alerts/receivers/{name}/test",
            post(alerts::test_receiver),
        )
        .route("/api/v1/alerts/{id}", get(alerts::show))
        .route(
            "/api/v1/alerts/{id}/silence",
            post(alerts::silence).delete(alerts::unsilence),
        )
        .route(
            "/api/v1/silences",
            get(alerts::silences).post(alerts::create_silence),
        )
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/commands", post(commands::command))
        .route("/api/v1/blobs/{digest}", get(blobs::show))
        .route(
            "/api/v1/blobs/{digest}/upload",
            get(blobs::progress).put(blobs::piece),
        )
        .route(
            "/api/v1/artifacts",
            get(artifacts::list)
                .put(artifacts::add)
                .delete(artifacts::remove),
        )
        .route("/blobs/{digest}", get(blobs::for_nodes))
        .route("/images/{*reference}", get(blobs::for_nodes))
        .nest("/api/v1/cluster", cluster_routes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn(request::check))
        .layer(middleware::from_fn_with_state(
            controller.clone(),
            metrics::count,
        ))
        .layer(middleware::from_fn_with_state(
            controller.clone(),
            traced::layer,
        ))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(controller)
}

/// Below `/api/v1/cluster`.
fn cluster_routes() -> Router<Arc<Controller>> {
    use cluster::{agents, containers, heartbeat};
    let alive = post(heartbeat::heartbeat).layer(DefaultBodyLimit::max(heartbeat::MAX_HEARTBEAT));
    let register =
        post(containers::register).layer(DefaultBodyLimit::max(containers::MAX_REGISTRATION));
    Router::new()
        .route("/status", get(cluster::status))
        .route("/topology", get(cluster::topology))
        .route("/rebalance", post(cluster::rebalance))
        .route("/containers", get(containers::list).merge(register))
        .route("/containers/{name}", delete(containers::leave))
        .route("/containers/{name}/heartbeat", alive)
        .route("/containers/{name}/assignment", get(heartbeat::assignment))
        .route("/deploy/agent", post(agents::deploy))
        .route("/agents", get(agents::list))
        .route("/agents/{id}", delete(agents::remove))
        .route("/agents/{id}/migrate", post(agents::migrate))
        .route("/agents/{id}/stop", post(agents::stop))
}
