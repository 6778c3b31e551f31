//! The description of the API, made from its code.

use super::{
    apply, cluster, commands, config, events, exec, logs, metrics, moves, nodes, rollouts, system,
    tokens, versions, workloads,
};
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
        moves::cordon, moves::uncordon, moves::drain, moves::undrain, moves::reserve, moves::migrate,
        moves::rebalance_plan, moves::rebalance, rollouts::list, rollouts::show, rollouts::order,
        rollouts::rollback, versions::list, versions::history, versions::why,
        workloads::list, workloads::show, workloads::remove, workloads::remove_many, workloads::start,
        workloads::stop, workloads::restart, workloads::instances, logs::logs, exec::run, exec::open, apply::plan,
        commands::command, cluster::status, cluster::topology, cluster::rebalance,
        cluster::containers::list, cluster::containers::register, cluster::containers::leave,
        cluster::heartbeat::heartbeat, cluster::heartbeat::assignment,
        cluster::agents::list, cluster::agents::deploy, cluster::agents::migrate,
        cluster::agents::stop, cluster::agents::remove,
        apply::apply, apply::wait, tokens::list, tokens::create, tokens::revoke,
    ),
    components(schemas(exec::ExecExit, commands::FleetCommandBegun, commands::FleetCommandDone, crate::controller::NumberedEvent)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollouts_and_moves_are_described() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for (path, methods) in [
            ("/api/v1/rollouts", "get"),
            ("/api/v1/versions", "get"),
            ("/api/v1/workloads/{workload}/rollout", "get"),
            ("/api/v1/workloads/{workload}/rollout/{verb}", "post"),
            ("/api/v1/workloads/{workload}/rollback", "post"),
            ("/api/v1/workloads/{workload}/history", "get"),
            ("/api/v1/workloads/{workload}/why", "get"),
            ("/api/v1/nodes/{node}/cordon", "post"),
            ("/api/v1/nodes/{node}/uncordon", "post"),
            ("/api/v1/nodes/{node}/drain", "post delete"),
            ("/api/v1/nodes/{node}/reserve", "post"),
            ("/api/v1/instances/migrate", "post"),
            ("/api/v1/rebalance", "get post"),
            ("/api/v1/commands", "post"),
            ("/api/v1/cluster/status", "get"),
            ("/api/v1/cluster/topology", "get"),
            ("/api/v1/cluster/rebalance", "post"),
            ("/api/v1/cluster/containers", "get post"),
            ("/api/v1/cluster/containers/{name}", "delete"),
            ("/api/v1/cluster/containers/{name}/heartbeat", "post"),
            ("/api/v1/cluster/containers/{name}/assignment", "get"),
            ("/api/v1/cluster/deploy/agent", "post"),
            ("/api/v1/cluster/agents", "get"),
            ("/api/v1/cluster/agents/{id}", "delete"),
            ("/api/v1/cluster/agents/{id}/migrate", "post"),
            ("/api/v1/cluster/agents/{id}/stop", "post"),
        ] {
            for method in methods.split(' ') {
                let known = &document["paths"][path][method];
                assert!(known.is_object(), "{method} {path} is not described");
            }
        }
    }
}
