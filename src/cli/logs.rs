//! `logs`.

use super::{Failure, args::LogsArgs, client::Client, output};
use crate::model::{LogLine, Name};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Debug, Deserialize)]
struct Line {
    node: Name,
    line: Option<LogLine>,
    error: Option<String>,
}

pub(super) async fn run(client: &mut Client, args: LogsArgs) -> Result<(), Failure> {
    let mut path = format!(
        "/api/v1/workloads/{}/logs?follow={}",
        args.workload, args.follow
    );
    if let Some(tail) = args.tail {
        path.push_str(&format!("&tail={tail}"));
    }
    if let Some(node) = &args.node {
        path.push_str(&format!("&node={node}"));
    }
    let several = args.node.is_none() && instances(client, &args.workload).await? > 1;
    let mut lines = client.stream(&path).await?;
    let mut failed = BTreeSet::new();
    while let Some(text) = lines.next().await? {
        let line: Line = serde_json::from_str(&text)?;
        if let Some(error) = line.error {
            eprintln!("{}: {}", line.node, output::visible(&error));
            failed.insert(line.node);
            continue;
        }
        let Some(LogLine { time_ns, text, .. }) = line.line else {
            continue;
        };
        let mut out = String::new();
        if several {
            out.push_str(&format!("{} | ", line.node));
        }
        if args.timestamps {
            out.push_str(&format!("{} ", output::utc(time_ns / 1_000_000)));
        }
        // A person's terminal must not be driven by a workload; a program gets what was written.
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            let harmless = |c: &char| *c == '\t' || !c.is_control();
            out.extend(text.chars().filter(harmless));
        } else {
            out.push_str(&text);
        }
        out.push('\n');
        output::print(&out)?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("not all lines could be had"))
    }
}

async fn instances(client: &mut Client, workload: &Name) -> Result<usize, Failure> {
    let view: crate::fleet::WorkloadView =
        client.get(&format!("/api/v1/workloads/{workload}")).await?;
    Ok(view.wanted)
}
