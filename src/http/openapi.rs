//! The description of the API, made from its code.

use super::{apply, config, events, exec, logs, metrics, nodes, system, tokens, workloads};
use axum::{http::header, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "fleetctl", description = "The HTTP API of a fleetctl controller."),
    paths(
        system::healthz, system::readyz, metrics::metrics, system::version, system::audit, events::events,
        nodes::list, nodes::show, nodes::remove, nodes::approve, nodes::revoke, nodes::label,
        nodes::command, config::show, config::change, config::reset, config::telemetry,
        workloads::list, workloads::show, workloads::remove, workloads::remove_many, workloads::start,
        workloads::stop, workloads::restart, workloads::instances, logs::logs, exec::run, exec::open, apply::plan,
        apply::apply, apply::wait, tokens::list, tokens::create, tokens::revoke,
    ),
    components(schemas(exec::ExecExit, crate::controller::NumberedEvent)),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(
            "token",
            [],
        )]);
    }
}

/// The document as JSON.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
