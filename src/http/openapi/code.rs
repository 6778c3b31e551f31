//! The description as the code makes it, which is what `openapi.json` must be. Nothing of this is in
//! the program: as code it is a megabyte, as a packed text a thirtieth of that.

use super::super::{
    adopt, alerts, apply, artifacts, audit, auth, blobs, cluster, commands, config, events, exec,
    history, images, logs, metrics, moves, nodes, rollouts, session, system, tokens, upgrade,
    versions, workloads,
};
use utoipa::{
    Modify, Number, OpenApi,
    openapi::{
        Components, PathItem, RefOr, Required, Schema,
        path::Operation,
        request_body::RequestBody,
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

/// What [`super::super::request`] does with every request.
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
                        limit.maximum = Some(Number::UInt(super::super::workloads::MAX_PAGE));
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

/// The document as JSON, made anew.
pub fn from_code() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default() + "\n"
}
