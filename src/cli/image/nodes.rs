//! One order about images to many nodes: a line for each as it gets on, and a table in the end.

use super::Failure;
use crate::{
    cli::{
        args::{Format, ImageNodes},
        client::Client,
        output,
    },
    fleet::{Approval, NodeView},
    http::{FleetCommandBegun, FleetCommandDone, FleetCommandRequest, NodeProgress, NodeResult},
    model::{CommandKind, CommandSpec, ImageOrder, Name, RuntimeKind},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const HEAD: [&str; 5] = ["NODE", "RESULT", "TIME", "BYTES", "MESSAGE"];
/// Between two lines about the same node.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Names that are shown of nodes that are left out.
const MAX_SHOWN: usize = 8;

/// Whether any node is meant.
pub(super) fn are_meant(named: &[Name], nodes: &ImageNodes) -> bool {
    !named.is_empty() || nodes.all || !nodes.labels.is_empty()
}

/// Which nodes an order goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    nodes: Vec<Name>,
    max_parallel: Option<u32>,
}

/// Who is meant, before anything is sent. Of nodes that were not named those without an engine (of this
/// kind) are left out, which is said.
///
/// # Errors
/// A node is not known, or none is left.
pub(super) async fn meant(
    client: &mut Client,
    named: &[Name],
    nodes: &ImageNodes,
    engine: Option<RuntimeKind>,
) -> Result<Meant, Failure> {
    let labels = super::prune::query(&nodes.labels.join(","));
    let path = format!("/api/v1/nodes?label={labels}");
    let there: Vec<NodeView> = client.list(&path).await?;
    let all: Vec<NodeView> = match (named.is_empty(), nodes.labels.is_empty()) {
        (false, false) => client.list("/api/v1/nodes").await?,
        _ => Vec::new(),
    };
    let member = |node: &&NodeView| node.approval == Approval::Approved;
    let is_there = |name: &Name| {
        let mut known = there.iter().chain(&all).filter(member);
        known.any(|node| node.name == *name)
    };
    if let Some(unknown) = named.iter().find(|name| !is_there(name)) {
        return Err(Failure::new(format!(
            "there is no node `{unknown}`; nothing was sent"
        )));
    }
    let chosen = there.iter().filter(member);
    let chosen = chosen.filter(|node| named.is_empty() || named.contains(&node.name));
    let (fit, without): (Vec<&NodeView>, Vec<&NodeView>) =
        chosen.partition(|node| !named.is_empty() || has_engine(node, engine));
    let what = engine.map_or("container engine".to_owned(), |engine| engine.to_string());
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(|node| node.name.as_str()).collect();
        eprintln!("left out, without {what}: {}", few(&names));
    }
    if fit.is_empty() {
        return Err(Failure::new(match without.len() {
            0 => "there is no such node, or none that has all of `-l`; nothing was sent".to_owned(),
            n => format!("none of the {n} nodes has a {what}; nothing was sent"),
        }));
    }
    Ok(Meant {
        nodes: fit.into_iter().map(|node| node.name.clone()).collect(),
        max_parallel: nodes.max_parallel,
    })
}

/// One that answered once. Of a node that has not said anything yet nobody knows.
fn has_engine(node: &NodeView, wanted: Option<RuntimeKind>) -> bool {
    node.facts.is_none()
        || node.engines.iter().any(|engine| {
            let is_meant = wanted.is_none_or(|wanted| engine.runtime == wanted);
            is_meant && engine.runtime.is_engine() && !engine.version.is_empty()
        })
}

fn few(names: &[&str]) -> String {
    match names.len().checked_sub(MAX_SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MAX_SHOWN].join(", ")),
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) nodes: Vec<NodeResult>,
    total: usize,
    skipped: usize,
    done: bool,
}

/// Sends it and follows it to its end. Who leaves leaves what was begun to itself.
pub(super) async fn order(
    client: &mut Client,
    meant: Meant,
    order: ImageOrder,
) -> Result<Report, Failure> {
    let request = FleetCommandRequest {
        selector: Vec::new(),
        nodes: meant.nodes,
        all: false,
        order: CommandSpec {
            image: Some(Box::new(order)),
            ..CommandSpec::new(CommandKind::Image, None)
        },
        max_parallel: meant.max_parallel,
        timeout_ms: None,
    };
    let mut lines = client.stream_post("/api/v1/commands", &request).await?;
    let mut report = Report::default();
    let mut said: BTreeMap<Name, Instant> = BTreeMap::new();
    while let Some(line) = lines.next().await? {
        match report.take(&line)? {
            Some(News::Progress(NodeProgress { node, progress })) => {
                let now = Instant::now();
                let last = said.get(&node);
                if last.is_none_or(|last| now.duration_since(*last) >= SAY_EVERY) {
                    eprintln!("{node}: {}", output::visible(&progress));
                    said.insert(node, now);
                }
            }
            Some(News::Result(result)) => {
                let how = if result.ok { "done" } else { "failed" };
                let text = result.message.as_deref().map(output::visible);
                let text = text.map(|text| format!(": {text}")).unwrap_or_default();
                let so_far = report.nodes.len();
                eprintln!("{so_far}/{} {}: {how}{text}", report.total, result.node);
            }
            None => {}
        }
    }
    report.nodes.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(report)
}

enum News {
    Progress(NodeProgress),
    Result(NodeResult),
}

impl Report {
    fn take(&mut self, line: &str) -> Result<Option<News>, Failure> {
        let value: Value = serde_json::from_str(line)?;
        if value.get("progress").is_some() {
            return Ok(Some(News::Progress(serde_json::from_value(value)?)));
        }
        if value.get("node").is_some() {
            let result: NodeResult = serde_json::from_value(value)?;
            self.nodes.push(result.clone());
            return Ok(Some(News::Result(result)));
        }
        if value.get("done").is_some() {
            let done: FleetCommandDone = serde_json::from_value(value)?;
            (self.skipped, self.done) = (done.skipped, true);
        } else if value.get("total").is_some() {
            self.total = serde_json::from_value::<FleetCommandBegun>(value)?.total;
        }
        Ok(None)
    }

    /// As a table.
    pub(super) fn show(&self, format: Format) -> Result<(), Failure> {
        if self.nodes.is_empty() {
            return Ok(());
        }
        output::list(format, &self.nodes, &HEAD, |result, _| {
            vec![
                result.node.to_string(),
                if result.ok { "done" } else { "failed" }.to_owned(),
                format!("{:.1} s", result.took_ms / 1_000.0),
                result.bytes.map(output::bytes).unwrap_or_default(),
                result.message.clone().unwrap_or_default(),
            ]
        })
    }

    /// What is wrong; `None` when it worked everywhere.
    pub(super) fn verdict(&self) -> Option<String> {
        let failed = self.nodes.iter().filter(|node| !node.ok).count();
        let total = self.total;
        if !self.done {
            return Some(format!(
                "the controller's answer broke off: {} of {total} nodes have answered; what was \
                 begun goes on",
                self.nodes.len()
            ));
        }
        match (total, failed, self.skipped) {
            (0, ..) => Some("none of these nodes is there any more".into()),
            (_, 0, 0) => None,
            (_, failed, 0) => Some(format!("{failed} of {total} nodes failed")),
            (_, failed, skipped) => Some(format!(
                "{failed} of {total} nodes failed, {skipped} were not asked in time"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_results_and_a_failure_is_said() {
        let mut report = Report::default();
        assert!(report.take(r#"{"total":2}"#).unwrap().is_none());
        let news = report.take(r#"{"node":"a","progress":"45%"}"#).unwrap();
        assert!(matches!(news, Some(News::Progress(p)) if p.progress == "45%"));
        let line = r#"{"node":"a","ok":true,"took_ms":1200.0,"bytes":7}"#;
        assert!(matches!(report.take(line).unwrap(), Some(News::Result(_))));
        assert!(report.verdict().unwrap().contains("1 of 2"));
        report
            .take(r#"{"node":"b","ok":false,"message":"b is offline","took_ms":0.0}"#)
            .unwrap();
        report
            .take(r#"{"done":true,"ok":1,"failed":1,"skipped":0}"#)
            .unwrap();
        assert_eq!(report.verdict().as_deref(), Some("1 of 2 nodes failed"));
        let nobody = Report {
            done: true,
            ..Report::default()
        };
        assert!(nobody.verdict().is_some());
    }
}
