//! One look as text, for scripts and pipes.

use super::{
    draw_page::shown,
    feed,
    model::{Counts, count},
    news::{AlertView, Kind},
    rows,
    table::{Cell, Row},
    tally::Tally,
};
use crate::{
    cli::{Failure, args::Format, client::Client, output},
    fleet::{InstanceView, NodeView, WorkloadView},
    http::{RolloutView, VersionView},
    support::clock,
};
use serde::Serialize;
use std::fmt::Write;

/// Everything that the screen shows.
#[derive(Debug, Serialize)]
struct Snapshot {
    /// When, Unix milliseconds on this machine's clock.
    at_ms: u64,
    /// Version of the controller.
    controller: String,
    nodes: Vec<NodeView>,
    instances: Vec<InstanceView>,
    workloads: Vec<WorkloadView>,
    rollouts: Vec<RolloutView>,
    /// Null where the controller has none to tell of.
    alerts: Option<Vec<AlertView>>,
}

pub(super) async fn run(client: &mut Client, format: Format) -> Result<(), Failure> {
    let version: VersionView = client.get("/api/v1/version").await?;
    let snapshot = Snapshot {
        at_ms: clock::unix_ms(),
        controller: version.version,
        nodes: client.list("/api/v1/nodes").await?,
        instances: client.get("/api/v1/instances").await?,
        workloads: client.list("/api/v1/workloads").await?,
        rollouts: client.list("/api/v1/rollouts?active=true").await?,
        alerts: feed::alerts(client).await?,
    };
    if !output::is_for_people(format) {
        return output::one(format, &snapshot, |_| Vec::new());
    }
    output::print(&text(&snapshot))
}

fn text(s: &Snapshot) -> String {
    let Counts {
        online,
        silent,
        offline,
        ..
    } = count(&s.nodes);
    let tally = Tally::of(&s.instances);
    let mut out = format!(
        "controller {} · {} UTC\n{} node{}: {online} online, {silent} silent, {offline} offline · \
         instances {}\n",
        output::visible(&s.controller),
        output::utc(s.at_ms),
        s.nodes.len(),
        if s.nodes.len() == 1 { "" } else { "s" },
        tally.text(),
    );
    let mut list = |kind: Kind, rows: Vec<Row>| {
        if !rows.is_empty() {
            let _ = write!(out, "\n{}\n{}", kind.title(), table(kind, &rows, s.at_ms));
        }
    };
    list(Kind::Nodes, s.nodes.iter().map(rows::node).collect());
    list(
        Kind::Instances,
        s.instances.iter().map(rows::instance).collect(),
    );
    list(
        Kind::Workloads,
        s.workloads
            .iter()
            .map(|w| rows::workload(w, tally.scheduled(&w.name)))
            .collect(),
    );
    list(
        Kind::Rollouts,
        s.rollouts.iter().map(rows::rollout).collect(),
    );
    let alerts = s.alerts.iter().flatten().filter(|a| a.state != "resolved");
    list(Kind::Alerts, alerts.map(rows::alert).collect());
    out
}

fn table(kind: Kind, rows: &[Row], now: u64) -> String {
    let head: Vec<&str> = kind.columns().iter().map(|c| c.head).collect();
    let plain = |cell: &Cell| match cell {
        Cell::Percent(Some(value)) => format!("{value:.0}%"),
        other => shown(other, now).0,
    };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.cells.iter().map(plain).collect())
        .collect();
    output::table(&head, &rows)
}
