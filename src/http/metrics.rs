//! `/metrics`: Prometheus text format 0.0.4.

use super::{auth::Caller, problem::ApiError};
use crate::{
    controller::Controller,
    identity::Role,
    model::{InstanceState, Name, Presence},
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{Arc, PoisonError, atomic::Ordering},
};

/// Values of telemetry of one node, and of all nodes together: who scrapes this must not be
/// flooded by what a node calls its sensors.
const NODE_VALUES: usize = 200;
/// See [`NODE_VALUES`].
const ALL_VALUES: usize = 50_000;

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// The last measurements of all nodes that can be heard; an old value would look like a new one.
    fn telemetry(&mut self, c: &Controller) {
        let online: BTreeSet<Name> = {
            let fleet = c.fleet();
            let online = fleet
                .nodes()
                .filter(|(_, n)| n.presence == Presence::Online);
            online.map(|(name, _)| name.clone()).collect()
        };
        let family = "fleetctl_node_telemetry";
        self.family(
            family,
            "gauge",
            "What nodes measured last, where their configuration enables it.",
        );
        let mut left = ALL_VALUES;
        c.live.each_value(
            |node| online.contains(node),
            NODE_VALUES,
            |node, metric, name, value| {
                let name = escaped(name);
                let _ = writeln!(
                    self.0,
                    "{family}{{node=\"{node}\",metric=\"{metric}\",name=\"{name}\"}} {value}"
                );
                left -= 1;
                left > 0
            },
        );
    }

    fn value(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// The value of a label as the format wants it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "text/plain",
               description = "Prometheus text format 0.0.4.")))]
pub(super) async fn metrics(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.need(Role::Viewer)?;
    let mut t = Text(String::with_capacity(2_048));
    {
        let fleet = c.fleet();
        let mut nodes: BTreeMap<&str, u64> = ["online", "silent", "offline"]
            .into_iter()
            .map(|s| (s, 0))
            .collect();
        for (_, n) in fleet.nodes() {
            *nodes.entry(n.presence.as_str()).or_default() += 1;
        }
        t.family("fleetctl_nodes", "gauge", "Nodes by state.");
        for (state, count) in nodes {
            t.value("fleetctl_nodes", &format!("{{state=\"{state}\"}}"), count);
        }
        let mut instances: BTreeMap<InstanceState, u64> = BTreeMap::new();
        for i in fleet.instances() {
            *instances.entry(i.state).or_default() += u64::from(i.count);
        }
        t.family("fleetctl_instances", "gauge", "Instances by state.");
        for (state, count) in instances {
            t.value(
                "fleetctl_instances",
                &format!("{{state=\"{state}\"}}"),
                count,
            );
        }
        t.family("fleetctl_workloads", "gauge", "Workloads.");
        t.value("fleetctl_workloads", "", fleet.workloads().count() as u64);
        t.family(
            "fleetctl_entries_total",
            "counter",
            "Journal entries applied.",
        );
        t.value("fleetctl_entries_total", "", fleet.version());
    }
    t.family(
        "fleetctl_broker_connected",
        "gauge",
        "1 when the controller is connected.",
    );
    t.value(
        "fleetctl_broker_connected",
        "",
        u64::from(c.connected.load(Ordering::Relaxed)),
    );
    t.family(
        "fleetctl_messages_refused_total",
        "counter",
        "Messages refused, by kind.",
    );
    for (kind, count) in c
        .refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        t.value(
            "fleetctl_messages_refused_total",
            &format!("{{kind=\"{kind}\"}}"),
            count,
        );
    }
    t.telemetry(&c);
    let broker = c
        .broker
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(broker) = broker {
        for (name, value) in broker.counters().iter() {
            let metric = format!("fleetctl_broker_{name}");
            t.family(&metric, "gauge", "Counter of the embedded broker.");
            t.value(&metric, "", value);
        }
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], t.0).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_the_format() {
        for (text, expected) in [
            ("eth0.received", "eth0.received"),
            ("a\"} 1\nb", "a\\\"} 1\\nb"),
            ("\\", "\\\\"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
