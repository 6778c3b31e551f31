//! `/metrics`: the Prometheus text format 0.0.4.
//!
//! ```text
//!  fleet ── held for as long as names and numbers are copied ──► Collected ─┐
//!  live  ── what nodes said last ───────────────────────────────────────────┼─► Text
//!  meter, requests, broker ── counters ─────────────────────────────────────┘
//! ```
//!
//! | module | families |
//! |---|---|
//! | `own` | `fleetctl_build_info`, `process_*` |
//! | `controller`, `requests` | `fleetctl_journal_*`, `fleetctl_core_*`, `fleetctl_http_*`, `fleetctl_messages_*`, `fleetctl_commands_total` |
//! | `alerts` | `fleetctl_alerts`, `fleetctl_notifications_*` |
//! | `fleet` | `fleetctl_nodes`, `fleetctl_instances`, `fleetctl_workload*`, `fleetctl_rollouts` |
//! | `nodes` | `fleetctl_node_*`, `fleetctl_agent_*`: with a label `node`, bounded |
//! | `broker` | `fleetctl_broker_*`; also of `fleetctl broker`, by `standalone` |
//!
//! A family that exists has its `HELP` and `TYPE` also while it has no sample. Units are at the
//! end of the names, as Prometheus' conventions say; `promtool check metrics` finds nothing.

mod alerts;
mod broker;
mod controller;
mod fleet;
mod nodes;
mod own;
mod requests;
mod standalone;
mod text;

pub use requests::Requests;
pub(super) use requests::count;
pub(crate) use standalone::serve_broker;

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{controller::Controller, identity::Role, model::Name};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fleet::Collected;
use serde::Deserialize;
use std::sync::{Arc, PoisonError};
use text::Text;
use utoipa::IntoParams;

/// Of the answer.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which families.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MetricsPart {
    /// Of the families of single nodes only those of this one.
    node: Option<String>,
    /// No families of single nodes.
    no_nodes: Option<bool>,
}

#[utoipa::path(get, path = "/metrics", params(MetricsPart), tag = "system",
    responses((status = 200, body = String, content_type = "text/plain",
               description = "Prometheus text format 0.0.4. At most 200,000 samples of single nodes; \
                              `fleetctl_metrics_truncated` is 1 where there would be more."),
              (status = 404, body = super::ProblemDocument)))]
pub(super) async fn metrics(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    part: Result<Query<MetricsPart>, QueryRejection>,
) -> Result<Response, ApiError> {
    caller.need(Role::Viewer)?;
    let MetricsPart { node, no_nodes } = part?.0;
    let only = node.map(|node| named("node", &node)).transpose()?;
    if let Some(node) = &only
        && c.fleet().node(node.as_str()).is_none()
    {
        return Err(ApiError::not_found("node", node.as_str()));
    }
    let with_nodes = !no_nodes.unwrap_or(false);
    // Off the threads that answer others: a large fleet takes its time.
    let written = tokio::task::spawn_blocking(move || render(&c, with_nodes, only.as_ref())).await;
    let text = written.map_err(|_| {
        let detail = "the metrics could not be written; try again";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn render(c: &Controller, with_nodes: bool, only: Option<&Name>) -> String {
    let wanted = |name: &Name| with_nodes && only.is_none_or(|node| node == name);
    let collected = Collected::of(&c.fleet(), wanted);
    let mut text = Text::with_capacity(16_384 + collected.nodes.len() * 512);
    own::write(&mut text);
    controller::write(c, &mut text);
    alerts::write(c, &mut text);
    collected.write(&mut text);
    let broker = c.broker.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(broker) = broker.clone() {
        broker::write(&broker.counters(), &mut text);
    }
    let mut cut = collected.is_cut();
    if with_nodes {
        cut |= nodes::write(&collected.nodes, &c.live, &mut text);
    }
    let help = "1 when something was left out because there is too much of it.";
    let cut = f64::from(u8::from(cut));
    text.gauge("fleetctl_metrics_truncated", help, cut);
    text.done()
}
