//! `ps`: instances.

use super::{Failure, args::ListArgs, client::Client, output};
use crate::{
    fleet::{InstanceView, NodeView},
    model::{InstanceState, TrialState},
};
use std::{collections::BTreeSet, time::Duration};

const HEAD: [&str; 14] = [
    "WORKLOAD", "NODE", "STATE", "RUNTIME", "VERSION", "RESTARTS", "SINCE", "REASON", "EXIT",
    "HEALTH", "RUNS", "HANDLE", "WARNINGS", "REVISION",
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
        // All of it is in `workload show`.
        output::short(&reason(i), if wide { 200 } else { 100 }),
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
        cells.push(match i.revision {
            0 => "-".into(),
            revision => revision.to_string(),
        });
    }
    cells
}

/// Why it is as it is; where all is well, what is still to come.
fn reason(i: &InstanceView) -> String {
    let scheduled = i.state == InstanceState::Scheduled;
    let trial = i.trial.as_ref().map(|t| (t.state, t));
    match (i.next_run_ms, trial) {
        _ if !i.reason.is_empty() => i.reason.clone(),
        (Some(next), _) if scheduled => format!("next run {} UTC", output::utc(next)),
        (_, Some((TrialState::Running, t))) => format!("{} is on trial", t.version),
        (_, Some((TrialState::Failed, t))) => {
            let why = t.reason.as_ref().map(|why| format!(": {why}"));
            format!("{} failed here{}", t.version, why.unwrap_or_default())
        }
        _ => i.moving.clone().unwrap_or_default(),
    }
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
