//! `ps`: instances.

use super::{Failure, args::ListArgs, client::Client, output};
use crate::{
    fleet::{InstanceView, NodeView},
    model::InstanceState,
};
use std::{collections::BTreeSet, time::Duration};

const HEAD: [&str; 13] = [
    "WORKLOAD", "NODE", "STATE", "RUNTIME", "VERSION", "RESTARTS", "SINCE", "REASON", "EXIT",
    "HEALTH", "RUNS", "HANDLE", "WARNINGS",
];

pub(super) async fn run(client: &mut Client, args: ListArgs) -> Result<(), Failure> {
    watch(
        args.watch,
        async |client: &mut Client| {
            let mut all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
            if !args.labels.is_empty() {
                let path = format!("/api/v1/nodes?label={}", args.labels.join(","));
                let nodes: Vec<NodeView> = client.list(&path).await?;
                let names: BTreeSet<_> = nodes.into_iter().map(|n| n.name).collect();
                all.retain(|i| i.node.as_ref().is_some_and(|n| names.contains(n)));
            }
            output::render_list(args.output.output, &all, &HEAD, row)
        },
        client,
    )
    .await
}

fn row(i: &InstanceView, wide: bool) -> Vec<String> {
    let state = match (i.state, i.progress) {
        (InstanceState::Pulling, Some(percent)) => format!("pulling {percent}%"),
        (state, _) => state.to_string(),
    };
    let mut cells = vec![
        i.workload.to_string(),
        i.node.as_ref().map_or("-".into(), ToString::to_string),
        state,
        i.runtime.clone(),
        i.version.clone(),
        i.restarts.to_string(),
        output::ago(i.since_ms),
        match (i.reason.is_empty(), i.next_run_ms) {
            (true, Some(next)) if i.state == InstanceState::Scheduled => {
                format!("next run {} UTC", output::utc(next))
            }
            // All of it is in `workload show`.
            _ => output::short(&i.reason, if wide { 200 } else { 100 }),
        },
    ];
    if wide {
        cells.push(i.exit_code.map_or("-".into(), |c| c.to_string()));
        cells.push(i.health.map_or("-".into(), |h| h.to_string()));
        cells.push(i.runs.map_or("-".into(), |n| n.to_string()));
        cells.push(
            i.handle
                .as_ref()
                .map_or("-".into(), |h| h.chars().take(16).collect()),
        );
        cells.push(i.warnings.join("; "));
    }
    cells
}

/// Shows once, or again whenever it looks different, once a second.
pub(super) async fn watch(
    again: bool,
    show: impl AsyncFn(&mut Client) -> Result<String, Failure>,
    client: &mut Client,
) -> Result<(), Failure> {
    let mut last = String::new();
    loop {
        let text = show(client).await?;
        if text != last {
            if again && !last.is_empty() {
                output::print("\n")?;
            }
            output::print(&text)?;
            last = text;
        }
        if !again {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
