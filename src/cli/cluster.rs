//! `cluster`: the fleet as a whole.

use super::{Failure, args::ClusterVerb, client::Client, output};
use crate::{
    fleet::{ClusterStatus, Topology, TopologyNode},
    model::Requirement,
};
use serde::Serialize;

const HEAD: [&str; 7] = [
    "GROUP",
    "NODE",
    "STATE",
    "SINCE",
    "LOAD",
    "INSTANCES",
    "WORKLOADS",
];

pub(super) async fn run(client: &mut Client, verb: ClusterVerb) -> Result<(), Failure> {
    match verb {
        ClusterVerb::Status(args) => {
            let status: ClusterStatus = client.get("/api/v1/cluster/status").await?;
            output::one(args.output, &status, fields)
        }
        ClusterVerb::Topology { label, output } => {
            let topology: Topology = client.get(&path(label.as_deref())?).await?;
            if !output::is_for_people(output.output) {
                return output::one(output.output, &topology, |_| Vec::new());
            }
            output::list(output.output, &rows(topology), &HEAD, |row, wide| {
                row.cells(wide)
            })
        }
    }
}

fn path(label: Option<&str>) -> Result<String, Failure> {
    let Some(label) = label else {
        return Ok("/api/v1/cluster/topology".into());
    };
    // What is a key may stand in a query as it is.
    let known = Requirement::try_from(label.to_owned());
    if !known.is_ok_and(|r| r.key == label && r.value.is_empty()) {
        let label = label.escape_debug();
        return Err(Failure::usage(format!(
            "`{label}` is not the key of a label"
        )));
    }
    Ok(format!("/api/v1/cluster/topology?label={label}"))
}

/// How many, and of which kinds, without those that there are none of.
fn counted(all: usize, kinds: &[(&str, usize)]) -> String {
    let some: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    match some.is_empty() {
        true => all.to_string(),
        false => format!("{all} ({})", some.join(", ")),
    }
}

fn fields(s: &ClusterStatus) -> Vec<(&'static str, String)> {
    let n = &s.nodes;
    let nodes = [
        ("online", n.online),
        ("silent", n.silent),
        ("offline", n.offline),
        ("lost", n.lost),
        ("pending", n.pending),
        ("revoked", n.revoked),
        ("cordoned", n.cordoned),
        ("draining", n.draining),
        ("damped", n.damped),
        ("over HTTP", n.http),
    ];
    let states: Vec<(&str, usize)> = s
        .instances
        .by_state
        .iter()
        .map(|(state, count)| (state.as_str(), *count))
        .collect();
    let missing = match s.instances.missing {
        0 => String::new(),
        missing => format!("{missing} without a node that could take them"),
    };
    vec![
        ("nodes", counted(n.all, &nodes)),
        ("workloads", s.workloads.to_string()),
        ("instances", counted(s.instances.wanted, &states)),
        ("missing", missing),
        ("rollouts", s.rollouts.to_string()),
        ("moves", s.moves.to_string()),
        (
            "memory",
            format!(
                "{} of {} placed, {} reserved",
                output::bytes(s.memory_placed),
                output::bytes(s.memory_total),
                output::bytes(s.memory_reserved)
            ),
        ),
        (
            "cpus",
            format!(
                "{:.1} of {:.1} placed, {:.1} reserved",
                s.cpus_placed, s.cpus_total, s.cpus_reserved
            ),
        ),
        ("version", s.version.to_string()),
    ]
}

/// A node below its group.
#[derive(Debug, Serialize)]
struct Row {
    group: String,
    node: TopologyNode,
}

fn rows(topology: Topology) -> Vec<Row> {
    let mut all = Vec::new();
    for group in topology.groups {
        let named = group.value.clone().unwrap_or_else(|| "-".into());
        all.extend(group.nodes.into_iter().map(|node| Row {
            group: named.clone(),
            node,
        }));
    }
    all
}

impl Row {
    fn cells(&self, wide: bool) -> Vec<String> {
        let node = &self.node;
        let state = match node.closed {
            true => format!("{}, closed", node.presence),
            false => node.presence.to_string(),
        };
        let mut cells = vec![
            self.group.clone(),
            node.name.to_string(),
            state,
            output::ago(node.since_ms),
            format!("{}%", node.load),
            node.instances.len().to_string(),
        ];
        if wide {
            let names: Vec<&str> = node.instances.iter().map(|n| n.as_str()).collect();
            cells.push(names.join(" "));
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_none_of_is_not_counted_up() {
        assert_eq!(
            counted(3, &[("online", 2), ("silent", 0), ("lost", 1)]),
            "3 (2 online, 1 lost)"
        );
        assert_eq!(counted(0, &[("online", 0)]), "0");
    }

    #[test]
    fn only_the_key_of_a_label_groups() {
        assert!(path(Some("zone")).is_ok_and(|p| p.ends_with("?label=zone")));
        for wrong in ["zone=a", "!zone", "a&b", "a b", ""] {
            assert!(path(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_node_stands_below_its_group() {
        let node = serde_json::json!({"name": "a", "presence": "online", "since_ms": 0, "load": 7,
            "instances": ["web"], "capabilities": {}, "closed": true});
        let topology = serde_json::json!({"label": "zone", "groups": [
            {"value": null, "online": 1, "instances": 1, "nodes": [node]}]});
        let rows = rows(serde_json::from_value(topology).unwrap());
        let cells: Vec<_> = rows.iter().map(|r| r.cells(true)).collect();
        assert_eq!(cells, [["-", "a", "online, closed", "-", "7%", "1", "web"]]);
    }
}
