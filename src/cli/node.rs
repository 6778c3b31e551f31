//! `node`.

use super::{
    Failure,
    args::{ListArgs, NodeVerb, ReserveArgs},
    client::Client,
    drain, node_config, output, ps,
};
use crate::{
    fleet::{Approval, NodeView, Reading, Reserved},
    http::LabelChange,
    model::{Heartbeat, Metric, Presence},
};
use hyper::Method;
use std::{collections::BTreeMap, process::ExitCode};

const HEAD: [&str; 13] = [
    "NAME",
    "STATE",
    "SINCE",
    "INSTANCES",
    "ARCH",
    "ENGINES",
    "CPU",
    "MEM",
    "LABELS",
    "OS",
    "AGENT",
    "ADDRESSES",
    "LOAD",
];

/// Percent.
const FULL: u8 = 100;

pub(super) async fn run(client: &mut Client, verb: NodeVerb) -> Result<ExitCode, Failure> {
    let done = match verb {
        NodeVerb::Drain(args) => return drain::run(client, args).await,
        NodeVerb::Ls(args) => ls(client, args).await,
        NodeVerb::Show { node, output } => {
            let view: NodeView = client.get(&format!("/api/v1/nodes/{node}")).await?;
            output::one(output.output, &view, fields)
        }
        NodeVerb::Config(verb) => node_config::run(client, verb).await,
        NodeVerb::Approve(arg) => {
            post(client, &format!("/api/v1/nodes/{}/approve", arg.node)).await?;
            eprintln!("{} is a node of the fleet", arg.node);
            Ok(())
        }
        NodeVerb::Revoke(arg) => {
            post(client, &format!("/api/v1/nodes/{}/revoke", arg.node)).await?;
            eprintln!(
                "{} is cut off; what runs there goes on until somebody stops it there",
                arg.node
            );
            Ok(())
        }
        NodeVerb::Rm(arg) => {
            let path = format!("/api/v1/nodes/{}", arg.node);
            client.order(Method::DELETE, &path, None::<&()>).await?;
            eprintln!("{} is forgotten", arg.node);
            Ok(())
        }
        NodeVerb::Label { node, labels } => {
            let mut change = BTreeMap::new();
            for text in &labels {
                match (text.split_once('='), text.strip_suffix('-')) {
                    (Some((key, value)), _) => {
                        change.insert(key.to_owned(), Some(value.to_owned()))
                    }
                    (None, Some(key)) => change.insert(key.to_owned(), None),
                    (None, None) => {
                        return Err(Failure::usage(format!(
                            "`{text}` is neither key=value nor key- (to take a label away)"
                        )));
                    }
                };
            }
            let path = format!("/api/v1/nodes/{node}/labels");
            client
                .order(Method::PATCH, &path, Some(&LabelChange { labels: change }))
                .await
        }
        NodeVerb::Cordon(arg) => {
            post(client, &format!("/api/v1/nodes/{}/cordon", arg.node)).await?;
            eprintln!("{} takes nothing new; what it has stays", arg.node);
            Ok(())
        }
        NodeVerb::Uncordon(arg) => {
            post(client, &format!("/api/v1/nodes/{}/uncordon", arg.node)).await?;
            eprintln!("{} takes instances again", arg.node);
            Ok(())
        }
        NodeVerb::Reserve(args) => reserve(client, args).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What is not named stays as it is.
async fn reserve(client: &mut Client, args: ReserveArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes/{}", args.node);
    let view: NodeView = client.get(&path).await?;
    let reserved = Reserved {
        memory: args.memory.unwrap_or(view.reserved.memory),
        cpus: args.cpus.unwrap_or(view.reserved.cpus),
    };
    let path = format!("{path}/reserve");
    client.order(Method::POST, &path, Some(&reserved)).await?;
    eprintln!("{}: {} kept free", args.node, reserved_text(&reserved));
    let after: NodeView = client.get(&format!("/api/v1/nodes/{}", args.node)).await?;
    if let Some(warning) = filled_text(view.load, &after) {
        eprintln!("{warning}");
    }
    Ok(())
}

/// That a reservation leaves no room beside what is placed there already.
fn filled_text(before: u8, after: &NodeView) -> Option<String> {
    let filled = before < FULL && after.load >= FULL && after.instances > 0;
    filled.then(|| {
        format!(
            "warning: beside what is placed on {}, this takes all that it has: what is there \
             stays, and nothing more fits; `fleetctl node drain` empties it",
            after.name
        )
    })
}

fn reserved_text(reserved: &Reserved) -> String {
    format!(
        "{} of memory and {} cores",
        output::bytes(reserved.memory),
        reserved.cpus
    )
}

pub(super) async fn post(client: &mut Client, path: &str) -> Result<(), Failure> {
    client.order(Method::POST, path, None::<&()>).await
}

async fn ls(client: &mut Client, args: ListArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes?label={}", args.labels.join(","));
    ps::watch(
        args.watch,
        async |client: &mut Client| {
            let nodes: Vec<NodeView> = client.list(&path).await?;
            output::render_list(args.output.output, &nodes, &HEAD, row)
        },
        client,
    )
    .await
}

/// `2/3`; `?/3` where it cannot be heard.
fn running(n: &NodeView) -> String {
    match n.state {
        Presence::Online => format!("{}/{}", n.running, n.instances),
        _ => format!("?/{}", n.instances),
    }
}

/// How it does now; what it said before it was lost says nothing about that.
fn now(n: &NodeView) -> Option<&Heartbeat> {
    let heard = n.state == Presence::Online;
    n.heartbeat.as_ref().filter(|_| heard)
}

fn row(n: &NodeView, wide: bool) -> Vec<String> {
    let percent = |v: Option<f32>| v.map_or("-".into(), |v| format!("{v:.0}%"));
    let facts = n.facts.as_ref();
    let mut cells = vec![
        n.name.to_string(),
        state(n),
        output::ago(n.since_ms),
        running(n),
        facts.map_or("-".into(), |f| f.arch.clone()),
        engines(n),
        percent(now(n).map(|h| h.cpu)),
        percent(now(n).map(|h| h.memory)),
        labels(&n.labels),
    ];
    if wide {
        cells.push(facts.map_or("-".into(), |f| f.os.clone()));
        cells.push(facts.map_or("-".into(), |f| f.agent_version.clone()));
        cells.push(facts.map_or("-".into(), |f| f.addresses.join(",")));
        cells.push(format!("{}%", n.load));
    }
    cells
}

fn state(n: &NodeView) -> String {
    let marks = [
        (n.lost, "lost"),
        (n.damped, "damped"),
        (n.drain.is_some(), "draining"),
        (n.cordoned && n.drain.is_none(), "cordoned"),
    ];
    let marks = marks.into_iter().filter(|(is, _)| *is);
    match n.approval {
        Approval::Approved => marks.fold(n.state.to_string(), |text, (_, mark)| {
            format!("{text},{mark}")
        }),
        Approval::Pending => "waits".into(),
        Approval::Revoked => "revoked".into(),
    }
}

/// Why it takes nothing new, how full it is, and what is kept free.
fn takes(n: &NodeView) -> String {
    let mut lines = Vec::new();
    let why_not = [
        (
            n.lost,
            "it was lost: what could move was placed elsewhere; it takes nothing new until it is back",
        ),
        (
            n.damped,
            "it has come and gone too often: it takes nothing new until it has held still",
        ),
        (
            n.cordoned,
            "it takes nothing new until `fleetctl node uncordon`",
        ),
    ];
    lines.extend(
        why_not
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, why)| why.to_owned()),
    );
    lines.push(format!("{}% of what can be placed on it is taken", n.load));
    if n.reserved != Reserved::default() {
        lines.push(format!("{} kept free", reserved_text(&n.reserved)));
    }
    lines.join("\n")
}

fn engines(n: &NodeView) -> String {
    let Some(facts) = &n.facts else {
        return "-".into();
    };
    let engines: Vec<String> = ["docker", "podman", "process"]
        .into_iter()
        .filter(|k| facts.capabilities.contains_key(*k))
        .map(
            |k| match n.engines.iter().find(|e| e.runtime.as_str() == k) {
                Some(e) if !e.healthy => format!("{k}(!)"),
                _ => k.to_owned(),
            },
        )
        .collect();
    engines.join(",")
}

fn labels(all: &BTreeMap<String, String>) -> String {
    all.iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn fields(n: &NodeView) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("name", n.name.to_string()),
        (
            "state",
            format!("{} for {}", state(n), output::ago(n.since_ms)),
        ),
        ("reason", n.reason.clone()),
        ("placement", takes(n)),
        (
            "drain",
            n.drain.as_ref().map(drain::summary).unwrap_or_default(),
        ),
        ("joined", output::utc(n.joined_ms)),
        ("key", n.key.clone()),
        ("labels", labels(&n.labels)),
        (
            "instances",
            match n.state {
                Presence::Online => format!("{} running of {}", n.running, n.instances),
                _ => format!("{}; whether they run is not known", n.instances),
            },
        ),
        (
            "generation",
            format!(
                "{} in effect, {} wanted",
                n.observed_generation, n.generation
            ),
        ),
    ];
    if let Some(f) = &n.facts {
        let engines: Vec<String> = n
            .engines
            .iter()
            .map(|e| {
                let note = if e.healthy { "" } else { " (does not answer)" };
                format!("{} {}{note}", e.runtime, e.version)
            })
            .collect();
        let capabilities = labels(&f.capabilities);
        all.extend([
            (
                "machine",
                format!(
                    "{}, {} cores, {}",
                    f.arch,
                    f.cpus,
                    output::bytes(f.memory_total)
                ),
            ),
            ("system", format!("{}, kernel {}", f.os, f.kernel)),
            ("host name", f.hostname.clone()),
            ("addresses", f.addresses.join(", ")),
            ("agent", f.agent_version.clone()),
            ("engines", engines.join(", ")),
            ("capabilities", capabilities.replace(',', ", ")),
        ]);
    }
    if now(n).is_none() {
        let last = n.heartbeat.as_ref().map_or(String::new(), |h| {
            format!(" (heard last {} ago)", output::ago(h.heard_ms))
        });
        all.push(("now", format!("-{last}")));
    }
    if let Some(h) = now(n) {
        let temperature = h
            .temperature
            .map(|t| format!(", {t:.0} °C"))
            .unwrap_or_default();
        all.push((
            "now",
            format!(
                "cpu {:.0}%, memory {:.0}%, disk {:.0}%, load {:.1}{temperature}, up {} h, heard {} ago",
                h.cpu, h.memory, h.disk, h.load, h.uptime_s / 3_600, output::ago(h.heard_ms)
            ),
        ));
    }
    for (metric, reading) in &n.telemetry {
        all.push((metric.as_str(), measured(*metric, reading)));
    }
    if !n.discovered.is_empty() {
        let each = n
            .discovered
            .iter()
            .map(|u| format!("{} ({})", u.name, u.image));
        all.push(("announced", each.collect::<Vec<_>>().join("\n")));
    }
    if let Some(cfg) = &n.cfg {
        all.push(("settings", node_config::text(&cfg.config)));
    }
    all
}

/// The values of a metric for people; where there are many, one in a line.
fn measured(metric: Metric, reading: &Reading) -> String {
    let one =
        |(name, value): (&String, &f64)| format!("{name} {}", value_text(metric, name, *value));
    let values: Vec<String> = reading.values.iter().map(one).collect();
    let between = match metric {
        Metric::Network | Metric::Instances | Metric::Temperature => "\n",
        _ => ", ",
    };
    let ago = output::ago(reading.heard_ms);
    format!("{} ({ago} ago)", values.join(between))
}

fn value_text(metric: Metric, name: &str, value: f64) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let bytes = matches!(
        last,
        "total"
            | "used"
            | "swap_total"
            | "swap_used"
            | "read"
            | "written"
            | "received"
            | "sent"
            | "memory"
            | "rss_bytes"
    );
    let percent = matches!(last, "percent" | "swap_percent" | "cpu");
    match metric {
        Metric::Cpu => format!("{value:.1}%"),
        Metric::Temperature => format!("{value:.1} °C"),
        // A cast of a number that is too large, or below nothing, stops at the bound.
        _ if bytes => output::bytes(value as u64),
        _ if percent => format!("{value:.1}%"),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_that_is_not_heard_no_value_is_shown_as_if_it_were_so_now() {
        let node = |state: &str| -> NodeView {
            let view = serde_json::json!({
                "name": "pi-1", "state": state, "reason": "", "since_ms": 0,
                "approval": "approved", "labels": {}, "facts": null, "engines": [],
                "generation": 1, "observed_generation": 1, "instances": 1, "running": 1,
                "key": "", "joined_ms": 0, "load": 0,
                "heartbeat": {
                    "cpu": 77.0, "memory": 66.0, "disk": 55.0, "load": 0.5, "temperature": null,
                    "uptime_s": 1, "running": 1, "failed": 0, "generation": 1,
                    "state_digest": "", "heard_ms": 7,
                },
            });
            serde_json::from_value(view).unwrap()
        };
        let said = |state| {
            let node = node(state);
            let fields = fields(&node);
            let now = fields.into_iter().find(|(name, _)| *name == "now");
            (row(&node, false)[6..8].join(" "), now.unwrap().1)
        };
        let (cells, now) = said("online");
        assert_eq!(cells, "77% 66%");
        assert!(now.starts_with("cpu 77%"), "{now}");
        for state in ["silent", "offline"] {
            let (cells, now) = said(state);
            assert_eq!(cells, "- -");
            assert!(now.starts_with("- (heard last "), "{now}");
        }
    }

    #[test]
    fn a_reservation_that_fills_a_node_beside_its_instances_is_warned_of() {
        let node = |load: u8, instances: usize| -> NodeView {
            let view = serde_json::json!({
                "name": "pi-1", "state": "online", "reason": "", "since_ms": 0,
                "approval": "approved", "labels": {}, "facts": null, "engines": [],
                "generation": 1, "observed_generation": 1, "instances": instances,
                "running": instances, "key": "", "joined_ms": 0, "heartbeat": null,
                "load": load,
            });
            serde_json::from_value(view).unwrap()
        };
        let warned = filled_text(40, &node(100, 2)).unwrap();
        assert!(warned.contains("placed on pi-1"), "{warned}");
        for (before, load, instances) in [(40, 99, 2), (100, 100, 2), (0, 100, 0)] {
            assert_eq!(filled_text(before, &node(load, instances)), None);
        }
    }

    #[test]
    fn values_have_their_units() {
        for (metric, name, value, expected) in [
            (Metric::Cpu, "total", 12.34, "12.3%"),
            (Metric::Memory, "used", 1_536.0, "1.5 KiB"),
            (Metric::Memory, "swap_percent", 50.0, "50.0%"),
            (Metric::Network, "eth0.received", 1_024.0, "1.0 KiB"),
            (Metric::Network, "eth0.send_errors", 3.0, "3"),
            (Metric::Temperature, "cpu_thermal", 48.31, "48.3 °C"),
            (Metric::Instances, "web.cpu", 7.0, "7.0%"),
            (Metric::Load, "1m", 0.25, "0.25"),
            (Metric::Agent, "rss_bytes", 2_048.0, "2.0 KiB"),
        ] {
            assert_eq!(value_text(metric, name, value), expected, "{name}");
        }
    }
}
