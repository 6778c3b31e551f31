//! `workload why`: the reason for every node.

use super::{Failure, args::WhyArgs, client::Client, output};
use crate::fleet::{Why, WhyNode};
use std::fmt::Write;

const HEAD: [&str; 8] = [
    "NODE",
    "PLACED",
    "REASON",
    "LOAD",
    "INSTANCES",
    "PREFERRED",
    "UNUSED",
    "SPREAD",
];

pub(super) async fn run(client: &mut Client, args: WhyArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/workloads/{}/why", args.workload);
    let mut why: Why = client.get(&path).await?;
    if let Some(node) = &args.node {
        why.nodes.retain(|n| n.node == *node);
        if why.nodes.is_empty() {
            return Err(Failure::new(format!(
                "there is no node `{node}` that takes part in the fleet"
            )));
        }
    }
    let format = args.output.output;
    if !output::is_for_people(format) {
        return output::one(format, &why, |_| Vec::new());
    }
    // Where it is before where it is not.
    why.nodes.sort_by_key(|n| !n.placed);
    output::list(format, &why.nodes, &HEAD, row)?;
    output::print(&summary(&why))
}

fn row(n: &WhyNode, wide: bool) -> Vec<String> {
    let placed = match (n.placed, n.leaving) {
        (_, true) => "leaving",
        (true, false) => "yes",
        (false, false) => "no",
    };
    let mut cells = vec![n.node.to_string(), placed.into(), n.reason.clone()];
    if wide {
        let score = &n.score;
        cells.push(format!("{}%", score.load));
        cells.push(score.instances.to_string());
        cells.push(score.preference.to_string());
        cells.push(score.unused.to_string());
        cells.push(score.spread.clone().unwrap_or_else(|| "-".into()));
    }
    cells
}

/// How many nodes there are of each kind of reason, and what is missing.
fn summary(why: &Why) -> String {
    let mut out = String::new();
    let kinds: Vec<String> = why
        .counts
        .iter()
        .map(|(kind, count)| format!("{} {count}", output::visible(kind)))
        .collect();
    if !kinds.is_empty() {
        let _ = writeln!(out, "\nnodes: {}", kinds.join(", "));
    }
    match why.missing {
        0 => {}
        1 => out.push_str("1 replica waits for a node that can take it\n"),
        n => {
            let _ = writeln!(out, "{n} replicas wait for nodes that can take them");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_why_is_counted() {
        let why = Why {
            workload: "web".parse().unwrap(),
            version: 1,
            replicas: Some(3),
            missing: 2,
            nodes: Vec::new(),
            counts: [("cordoned".to_owned(), 2), ("runs it".to_owned(), 1)].into(),
        };
        assert_eq!(
            summary(&why),
            "\nnodes: cordoned 2, runs it 1\n2 replicas wait for nodes that can take them\n"
        );
    }
}
