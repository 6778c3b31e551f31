//! `logs`.

use super::{Failure, args::LogsArgs, client::Client, output};
use crate::model::{LogLine, Name};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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
    if let Some(node) = &args.node {
        path.push_str(&format!("&node={node}"));
    }
    let several = args.node.is_none() && instances(client, &args.workload).await? > 1;
    let mut reader = Reader {
        args,
        several,
        failed: BTreeSet::new(),
        last: BTreeMap::new(),
    };
    loop {
        // Clocks of nodes differ: the oldest of the last lines, and what was shown is left out.
        let part = match (reader.last.values().min(), reader.args.tail) {
            (Some(since), _) => format!("&since={since}"),
            (None, Some(tail)) => format!("&tail={tail}"),
            (None, None) => String::new(),
        };
        match reader.read(client, &format!("{path}{part}")).await {
            Ok(()) if reader.failed.is_empty() => return Ok(()),
            Ok(()) => return Err(Failure::new("not all lines could be had")),
            // The controller is away for a moment; it must not cost a line.
            Err(failure) if reader.args.follow && !reader.last.is_empty() => {
                eprintln!("{}; trying again", failure.message);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

struct Reader {
    args: LogsArgs,
    several: bool,
    failed: BTreeSet<Name>,
    /// Cursor of the last line that was shown, by node.
    last: BTreeMap<Name, u64>,
}

impl Reader {
    async fn read(&mut self, client: &mut Client, path: &str) -> Result<(), Failure> {
        let seen = self.last.clone();
        let mut lines = client.stream(path).await?;
        while let Some(text) = lines.next().await? {
            let line: Line = serde_json::from_str(&text)?;
            if let Some(error) = line.error {
                eprintln!("{}: {}", line.node, output::visible(&error));
                self.failed.insert(line.node);
                continue;
            }
            let Some(LogLine { time_ns, text, .. }) = line.line else {
                continue;
            };
            // Only what an earlier stream has shown: within one, times may repeat.
            if seen.get(&line.node).is_some_and(|last| time_ns <= *last) {
                continue;
            }
            self.show(&line.node, time_ns, &text)?;
            self.last.insert(line.node, time_ns);
        }
        if self.args.follow && self.failed.is_empty() {
            return Err(Failure::new("the controller ended the stream"));
        }
        Ok(())
    }

    fn show(&self, node: &Name, time_ns: u64, text: &str) -> Result<(), Failure> {
        let mut out = String::new();
        if self.several {
            out.push_str(&format!("{node} | "));
        }
        if self.args.timestamps {
            out.push_str(&format!("{} ", output::utc(time_ns / 1_000_000)));
        }
        // A person's terminal must not be driven by a workload; a program gets what was written.
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            let harmless = |c: &char| *c == '\t' || !c.is_control();
            out.extend(text.chars().filter(harmless));
        } else {
            out.push_str(text);
        }
        out.push('\n');
        output::print(&out)
    }
}

async fn instances(client: &mut Client, workload: &Name) -> Result<usize, Failure> {
    let view: crate::fleet::WorkloadView =
        client.get(&format!("/api/v1/workloads/{workload}")).await?;
    Ok(view.wanted)
}
