//! The description of the API, made from its code.

use super::{
    adopt, alerts, apply, artifacts, audit, auth, blobs, cluster, commands, config, events, exec,
    history, images, logs, metrics, moves, nodes, rollouts, session, system, tokens, upgrade,
    versions, workloads,
};
use axum::{
    http::{Method, header},
    response::IntoResponse,
};
use std::collections::BTreeMap;
use utoipa::{
    Modify, Number, OpenApi,
    openapi::{
        Components, PathItem, RefOr, Required, Schema,
        path::{Operation, ParameterIn},
        request_body::RequestBody,
        schema::{SchemaType, Type},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

#[derive(OpenApi)]
#[openapi(
    info(title = "fleetctl", description = "The HTTP API of a fleetctl controller."),
    paths(
        system::healthz, system::readyz, metrics::metrics, system::version, audit::list, audit::export, audit::verify, events::events,
        session::create, session::show, session::end, history::show,
        nodes::list, nodes::show, nodes::remove, nodes::approve, nodes::revoke, nodes::label,
        nodes::command, adopt::unmanaged, config::show, config::change, config::reset, config::telemetry,
        moves::cordon, moves::uncordon, moves::drain, moves::undrain, moves::reserve, moves::migrate,
        moves::rebalance_plan, moves::rebalance, rollouts::list, rollouts::show, rollouts::order,
        rollouts::rollback, versions::list, versions::history, versions::why, versions::manifest,
        workloads::list, workloads::show, workloads::remove, workloads::remove_many, workloads::start,
        workloads::stop, workloads::restart, workloads::instances, logs::logs, exec::run, exec::open, apply::plan,
        commands::command, cluster::status, cluster::topology, cluster::rebalance,
        cluster::containers::list, cluster::containers::register, cluster::containers::leave,
        cluster::heartbeat::heartbeat, cluster::heartbeat::assignment,
        cluster::agents::list, cluster::agents::deploy, cluster::agents::migrate,
        cluster::agents::stop, cluster::agents::remove,
        alerts::list, alerts::show, alerts::silence, alerts::unsilence, alerts::silences,
        alerts::create_silence, alerts::rules, alerts::receivers, alerts::test_receiver,
        images::list, images::of_node, blobs::show, blobs::progress, blobs::piece, artifacts::list, artifacts::add, artifacts::remove,
        apply::apply, apply::wait, upgrade::upgrade, upgrade::show, upgrade::nodes, tokens::list, tokens::create, tokens::revoke,
    ),
    components(schemas(exec::ExecExit, commands::FleetCommandBegun, commands::FleetCommandDone, commands::NodeProgress, crate::controller::NumberedEvent)),
    modifiers(&Bearer, &Requests)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        // A browser that signed in; what else that needs is said at `POST /api/v1/session`.
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE)));
        components.add_security_scheme("session", cookie);
        let either = |name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
        document.security = Some(vec![either("token"), either("session")]);
    }
}

/// What [`super::request`] does with every request.
struct Requests;

impl Modify for Requests {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.clone().unwrap_or_default();
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                for parameter in operation.parameters.iter_mut().flatten() {
                    if let Some(RefOr::T(Schema::Object(limit))) = &mut parameter.schema
                        && parameter.name == "limit"
                    {
                        limit.minimum = Some(Number::UInt(1));
                        limit.maximum = Some(Number::UInt(super::workloads::MAX_PAGE));
                    }
                }
            }
            // Nothing sent is an empty object.
            if let Some(body) = item.post.as_mut().and_then(|p| p.request_body.as_mut())
                && needs_nothing(body, &components)
            {
                body.required = Some(Required::False);
            }
        }
    }
}

/// An object without a field that must be there.
fn needs_nothing(body: &RequestBody, components: &Components) -> bool {
    let content = body.content.get("application/json");
    let Some(RefOr::Ref(reference)) = content.and_then(|c| c.schema.as_ref()) else {
        return false;
    };
    let name = reference
        .ref_location
        .rsplit('/')
        .next()
        .unwrap_or_default();
    match components.schemas.get(name) {
        Some(RefOr::T(Schema::Object(object))) => object.required.is_empty(),
        _ => false,
    }
}

/// What can be done there, by method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("patch", &mut item.patch),
        ("put", &mut item.put),
        ("delete", &mut item.delete),
    ];
    all.into_iter()
        .filter_map(|(verb, o)| Some((verb, o.as_mut()?)))
}

/// The method as the document calls it.
pub(super) fn verb(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "get",
        Method::POST => "post",
        Method::PATCH => "patch",
        Method::PUT => "put",
        Method::DELETE => "delete",
        _ => return None,
    })
}

/// A key that an operation takes behind the `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryKey {
    /// What it is called.
    pub name: String,
    /// What it may be.
    pub kind: QueryKind,
}

/// What the value of a query key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryKind {
    /// `true` or `false`.
    Flag,
    /// A whole number, none below and none above these.
    Whole(Option<u64>, Option<u64>),
    /// Whatever its handler understands.
    Text,
}

impl QueryKind {
    fn of(schema: Option<&RefOr<Schema>>) -> QueryKind {
        let Some(RefOr::T(Schema::Object(object))) = schema else {
            return QueryKind::Text;
        };
        let is = |wanted: Type| match &object.schema_type {
            SchemaType::Type(kind) => *kind == wanted,
            SchemaType::Array(kinds) => kinds.contains(&wanted),
            SchemaType::AnyValue => false,
        };
        let bound = |number: &Option<Number>| match number {
            Some(Number::UInt(n)) => u64::try_from(*n).ok(),
            Some(Number::Int(n)) => u64::try_from(*n).ok(),
            // A macro writes every bound so.
            Some(Number::Float(n)) if *n >= 0.0 => Some(*n as u64),
            _ => None,
        };
        if is(Type::Boolean) {
            return QueryKind::Flag;
        }
        match is(Type::Integer) {
            true => QueryKind::Whole(bound(&object.minimum), bound(&object.maximum)),
            false => QueryKind::Text,
        }
    }
}

/// The query keys of every operation.
pub(super) fn query_keys() -> BTreeMap<(&'static str, String), Vec<QueryKey>> {
    let mut all = BTreeMap::new();
    for (path, mut item) in Document::openapi().paths.paths {
        for (verb, operation) in operations(&mut item) {
            let given = operation.parameters.iter().flatten();
            let keys = given
                .filter(|p| p.parameter_in == ParameterIn::Query)
                .map(|p| QueryKey {
                    name: p.name.clone(),
                    kind: QueryKind::of(p.schema.as_ref()),
                })
                .collect();
            all.insert((verb, path.clone()), keys);
        }
    }
    all
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
    fn bodies_that_may_be_left_out_and_limits_are_described_as_they_are() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for (path, required) in [
            ("/api/v1/nodes/{node}/drain", false),
            ("/api/v1/cluster/rebalance", false),
            ("/api/v1/cluster/agents/{id}/migrate", false),
            ("/api/v1/cluster/containers/{name}/heartbeat", false),
            ("/api/v1/apply", true),
            ("/api/v1/cluster/containers", true),
        ] {
            let body = &document["paths"][path]["post"]["requestBody"];
            assert_eq!(body["required"], required, "{path}");
        }
        for path in ["/api/v1/nodes", "/api/v1/rollouts", "/api/v1/audit"] {
            let given = document["paths"][path]["get"]["parameters"].as_array();
            let limit = given.and_then(|all| all.iter().find(|p| p["name"] == "limit"));
            let schema = &limit.unwrap()["schema"];
            assert_eq!(
                (&schema["minimum"], &schema["maximum"]),
                (&1.into(), &1_000.into())
            );
        }
    }

    #[test]
    fn every_operation_of_the_cluster_api_says_what_it_does() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let cluster = paths
            .iter()
            .filter(|(path, _)| path.starts_with("/api/v1/cluster/"));
        let mut seen = 0;
        for (path, methods) in cluster {
            for (method, operation) in methods.as_object().unwrap() {
                for key in ["summary", "description"] {
                    let text = operation[key].as_str().unwrap_or_default();
                    assert!(text.len() > 10, "{method} {path} has no {key}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 13);
        let leave = &paths["/api/v1/cluster/containers/{name}"]["delete"]["description"];
        for word in ["next heartbeat", "lost_after", "fleetctl node rm"] {
            assert!(leave.as_str().unwrap().contains(word), "{word}");
        }
    }

    #[test]
    fn rollouts_and_moves_are_described() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for (path, methods) in [
            ("/api/v1/session", "post get delete"),
            ("/api/v1/nodes/{node}/history", "get"),
            ("/api/v1/nodes/{node}/unmanaged", "get"),
            ("/api/v1/rollouts", "get"),
            ("/api/v1/versions", "get"),
            ("/api/v1/workloads/{workload}/rollout", "get"),
            ("/api/v1/workloads/{workload}/rollout/{verb}", "post"),
            ("/api/v1/workloads/{workload}/rollback", "post"),
            ("/api/v1/workloads/{workload}/history", "get"),
            ("/api/v1/workloads/{workload}/why", "get"),
            ("/api/v1/workloads/{workload}/manifest", "get"),
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
