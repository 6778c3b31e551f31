//! Families of single nodes, with the label `node`. They are bounded: what is most needed comes
//! first, and where the samples are used up the rest is left out, which
//! `fleetctl_metrics_truncated` says.
//!
//! A node that is not heard has `fleetctl_node_up 0` and the time of its last sign, and nothing
//! else: an old value must not look like a new one.

use super::{
    fleet::NodeFacts,
    text::{Family, Text, Type},
};
use crate::{
    controller::Live,
    model::{Heartbeat, Metric, Name},
};
use std::collections::HashMap;

/// Nodes that have families of their own.
const MAX_NODES: usize = 10_000;
/// Samples of all nodes together.
const MAX_SAMPLES: usize = 200_000;
/// Values of telemetry of one node: who scrapes this must not be flooded by what a node calls its
/// sensors.
const NODE_VALUES: usize = 200;

/// The numbers of a heartbeat.
#[derive(Debug, Clone, Copy)]
struct Beat {
    heard_ms: u64,
    uptime_s: u64,
    cpu: f32,
    memory: f32,
    disk: f32,
    load: f32,
    temperature: Option<f32>,
}

impl Beat {
    fn of(h: &Heartbeat) -> Beat {
        Beat {
            heard_ms: h.heard_ms,
            uptime_s: h.uptime_s,
            cpu: h.cpu,
            memory: h.memory,
            disk: h.disk,
            load: h.load,
            temperature: h.temperature,
        }
    }
}

/// As it was said, to a hundredth: what is added by a wider number is noise.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

/// Samples that are left.
#[derive(Debug)]
struct Budget {
    left: usize,
    exceeded: bool,
}

impl Budget {
    fn sample(&mut self, family: &mut Family<'_>, labels: &[(&str, &str)], value: f64) -> bool {
        let room = self.left > 0;
        if room {
            self.left -= 1;
            family.sample(labels, value);
        }
        self.exceeded |= !room;
        room
    }
}

/// A value of the telemetry `agent`, and its family.
const AGENT: [(&str, Type, &str, &str); 9] = [
    (
        "rss_bytes",
        Type::Gauge,
        "fleetctl_agent_resident_memory_bytes",
        "Bytes of memory that the agent itself takes.",
    ),
    (
        "cpu_seconds",
        Type::Counter,
        "fleetctl_agent_cpu_seconds_total",
        "Seconds of processor time that the agent itself took.",
    ),
    (
        "open_fds",
        Type::Gauge,
        "fleetctl_agent_open_fds",
        "File descriptors that the agent has open.",
    ),
    (
        "restarts_total",
        Type::Counter,
        "fleetctl_agent_instance_restarts_total",
        "Times that the agent started an instance again.",
    ),
    (
        "reconnects_total",
        Type::Counter,
        "fleetctl_agent_reconnects_total",
        "Times that the agent connected again.",
    ),
    (
        "messages_refused_total",
        Type::Counter,
        "fleetctl_agent_messages_refused_total",
        "Messages that the agent did not take.",
    ),
    (
        "messages_dropped_total",
        Type::Counter,
        "fleetctl_agent_messages_dropped_total",
        "Messages that the agent could not send, because too many waited.",
    ),
    (
        "assignments_total",
        Type::Counter,
        "fleetctl_agent_assignments_total",
        "Assignments that the agent took.",
    ),
    (
        "operations",
        Type::Gauge,
        "fleetctl_agent_operations",
        "Operations on instances that are under way.",
    ),
];

/// Writes the families of these nodes; `true` when something is left out.
pub(super) fn write(nodes: &[NodeFacts], live: &Live, text: &mut Text) -> bool {
    let shown = &nodes[..nodes.len().min(MAX_NODES)];
    let mut budget = Budget {
        left: MAX_SAMPLES,
        exceeded: shown.len() < nodes.len(),
    };
    let mut beats: HashMap<Name, Beat> = HashMap::with_capacity(shown.len());
    live.each_heartbeat(|name, h| {
        beats.insert(name.clone(), Beat::of(h));
    });
    let beat = |n: &NodeFacts| beats.get(&n.name);
    let help = "1 when the node can be heard.";
    let mut family = text.family(Type::Gauge, "fleetctl_node_up", help);
    for n in shown {
        let up = f64::from(u8::from(n.online));
        budget.sample(&mut family, &[("node", n.name.as_str())], up);
    }
    let help = "When the node was heard last, since the controller's start.";
    let name = "fleetctl_node_last_heard_timestamp_seconds";
    let mut family = text.family(Type::Gauge, name, help);
    for n in shown {
        if let Some(b) = beat(n) {
            let at = b.heard_ms as f64 / 1_000.0;
            budget.sample(&mut family, &[("node", n.name.as_str())], at);
        }
    }
    let help = "Instances on the node, by state.";
    let mut family = text.family(Type::Gauge, "fleetctl_node_instances", help);
    for n in shown {
        for (state, count) in &n.instances {
            let labels = [("node", n.name.as_str()), ("state", state.as_str())];
            budget.sample(&mut family, &labels, f64::from(*count));
        }
    }
    let said: Vec<(&NodeFacts, &Beat)> = shown
        .iter()
        .filter(|n| n.online)
        .filter_map(|n| Some((n, beat(n)?)))
        .collect();
    type Pick = fn(&Beat) -> Option<f64>;
    let picks: [(&str, &str, Pick); 6] = [
        (
            "fleetctl_node_disk_percent",
            "How full the file system with the agent's data is, 0 to 100.",
            |b| Some(rounded(b.disk)),
        ),
        (
            "fleetctl_node_temperature_celsius",
            "The warmest sensor; of nodes that have one.",
            |b| b.temperature.map(rounded),
        ),
        (
            "fleetctl_node_cpu_percent",
            "Processor time in use, all cores together, 0 to 100.",
            |b| Some(rounded(b.cpu)),
        ),
        (
            "fleetctl_node_memory_percent",
            "Memory in use, 0 to 100.",
            |b| Some(rounded(b.memory)),
        ),
        ("fleetctl_node_load1", "Load average over a minute.", |b| {
            Some(rounded(b.load))
        }),
        (
            "fleetctl_node_uptime_seconds",
            "Seconds since the machine started.",
            |b| Some(b.uptime_s as f64),
        ),
    ];
    for (name, help, pick) in picks {
        let mut family = text.family(Type::Gauge, name, help);
        for (n, b) in &said {
            if let Some(value) = pick(b) {
                budget.sample(&mut family, &[("node", n.name.as_str())], value);
            }
        }
    }
    telemetry(shown, live, &mut budget, text);
    budget.exceeded
}

/// What nodes measure beside heartbeats, where their configuration says so.
fn telemetry(shown: &[NodeFacts], live: &Live, budget: &mut Budget, text: &mut Text) {
    // Both are sorted by name.
    let online = |name: &Name| {
        let at = shown.binary_search_by(|n| n.name.cmp(name));
        at.is_ok_and(|at| shown[at].online)
    };
    let mut own: [Vec<(Name, f64)>; AGENT.len()] = Default::default();
    live.each_reading(online, |node, metric, values| {
        if metric == Metric::Agent {
            for (family, (name, ..)) in own.iter_mut().zip(AGENT) {
                family.extend(values.get(name).map(|v| (node.clone(), *v)));
            }
        }
        true
    });
    for ((_, kind, name, help), values) in AGENT.into_iter().zip(own) {
        let mut family = text.family(kind, name, help);
        for (node, value) in values {
            budget.sample(&mut family, &[("node", node.as_str())], value);
        }
    }
    let help = "What nodes measured last, where their configuration enables it.";
    let mut family = text.family(Type::Gauge, "fleetctl_node_telemetry", help);
    let mut of_node = (None, 0);
    live.each_reading(online, |node, metric, values| {
        if metric == Metric::Agent {
            return true;
        }
        if of_node.0.as_ref() != Some(node) {
            of_node = (Some(node.clone()), 0);
        }
        for (name, value) in values {
            if of_node.1 >= NODE_VALUES {
                budget.exceeded = true;
                break;
            }
            of_node.1 += 1;
            let labels = [
                ("node", node.as_str()),
                ("metric", metric.as_str()),
                ("name", name.as_str()),
            ];
            if !budget.sample(&mut family, &labels, *value) {
                return false;
            }
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contract::{HeartbeatBody, Telemetry},
        model::InstanceState,
    };
    use std::time::Instant;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn node(text: &str, online: bool) -> NodeFacts {
        NodeFacts {
            name: name(text),
            online,
            instances: match online {
                true => vec![(InstanceState::Running, 3), (InstanceState::CrashLoop, 1)],
                false => Vec::new(),
            },
        }
    }

    fn beat() -> HeartbeatBody {
        HeartbeatBody {
            cpu: Some(12.3),
            memory: Some(50.0),
            disk: Some(33.3),
            load: Some(0.5),
            temperature: Some(48.5),
            uptime: 86_400,
            ..HeartbeatBody::default()
        }
    }

    fn measured(values: &[(&str, f64)]) -> Telemetry {
        Telemetry {
            at: 1,
            values: values.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        }
    }

    fn written(nodes: &[NodeFacts], live: &Live) -> (String, bool) {
        let mut text = Text::default();
        let cut = write(nodes, live, &mut text);
        (text.done(), cut)
    }

    #[test]
    fn a_node_that_is_not_heard_has_no_old_values() {
        let live = Live::default();
        for n in ["a", "b"] {
            live.take(&name(n), &beat(), 1_700_000_000_500);
            let values = [("rss_bytes", 4096.0), ("evil\"} 1\n", 9.0)];
            live.take_telemetry(&name(n), Metric::Agent, measured(&values), 5);
            live.take_telemetry(&name(n), Metric::Load, measured(&[("1m", 0.25)]), 5);
        }
        let (text, cut) = written(&[node("a", true), node("b", false)], &live);
        assert!(!cut);
        for line in [
            "fleetctl_node_up{node=\"a\"} 1\n",
            "fleetctl_node_cpu_percent{node=\"a\"} 12.3\n",
            "fleetctl_node_temperature_celsius{node=\"a\"} 48.5\n",
            "fleetctl_node_uptime_seconds{node=\"a\"} 86400\n",
            "fleetctl_node_instances{node=\"a\",state=\"crashloop\"} 1\n",
            "fleetctl_node_telemetry{node=\"a\",metric=\"load\",name=\"1m\"} 0.25\n",
            "fleetctl_agent_resident_memory_bytes{node=\"a\"} 4096\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(
            !text.contains("evil"),
            "only known values of agents: {text}"
        );
        let b: Vec<&str> = text.lines().filter(|l| l.contains("\"b\"")).collect();
        assert_eq!(
            b,
            [
                "fleetctl_node_up{node=\"b\"} 0",
                "fleetctl_node_last_heard_timestamp_seconds{node=\"b\"} 1700000000.5"
            ]
        );
    }

    #[test]
    fn ten_thousand_nodes_fit_and_are_written_fast() {
        let live = Live::default();
        let mut nodes: Vec<NodeFacts> = Vec::new();
        for n in 0..10_000 {
            let n = node(&format!("n{n:05}"), true);
            live.take(&n.name, &beat(), 1_700_000_000_000);
            nodes.push(n);
        }
        let begun = Instant::now();
        let (text, cut) = written(&nodes, &live);
        let took = begun.elapsed();
        println!("10,000 nodes: {took:?}, {} bytes", text.len());
        assert!(!cut, "a whole fleet fits");
        assert!(text.contains("fleetctl_node_up{node=\"n09999\"} 1\n"));
        // An unoptimized build on a busy machine; a release takes a tenth.
        assert!(took.as_millis() < 2_000, "{took:?}");
    }

    #[test]
    fn more_samples_than_fit_are_cut_and_what_is_most_needed_is_complete() {
        let live = Live::default();
        let many: Vec<(String, f64)> = (0..20).map(|n| (format!("v{n:03}"), 1.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let mut nodes: Vec<NodeFacts> = Vec::new();
        for n in 0..10_000 {
            let n = node(&format!("n{n:05}"), true);
            live.take(&n.name, &beat(), 1_700_000_000_000);
            live.take_telemetry(&n.name, Metric::Network, measured(&many), 5);
            nodes.push(n);
        }
        let (text, cut) = written(&nodes, &live);
        assert!(cut);
        let samples = text.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(samples, MAX_SAMPLES);
        assert!(text.contains("fleetctl_node_up{node=\"n09999\"} 1\n"));
    }

    #[test]
    fn one_node_with_many_values_leaves_room_for_others() {
        let live = Live::default();
        let many: Vec<(String, f64)> = (0..150).map(|n| (format!("v{n:03}"), 1.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        for metric in [Metric::Network, Metric::Instances] {
            live.take_telemetry(&name("a"), metric, measured(&many), 5);
        }
        let (text, cut) = written(&[node("a", true)], &live);
        let of = |l: &&str| l.starts_with("fleetctl_node_telemetry{");
        assert_eq!((text.lines().filter(of).count(), cut), (NODE_VALUES, true));
    }
}
