//! `command`: to one node, or to many at once.

use super::{
    Failure,
    args::{CommandVerb, Format, ManyArgs, OrderArgs},
    client::Client,
    output,
    traced::Traced,
};
use crate::{
    http::{CommandResponse, FleetCommandBegun, FleetCommandDone, FleetCommandRequest, NodeResult},
    model::{CommandKind, CommandSpec, Name},
};
use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;

const HEAD: [&str; 4] = ["NODE", "RESULT", "TIME", "MESSAGE"];

pub(super) async fn run(client: &mut Client, verb: CommandVerb) -> Result<ExitCode, Failure> {
    use CommandVerb::*;
    let (command, order, workload) = match verb {
        Ping(order) => (CommandKind::Ping, order, None),
        Refresh(order) => (CommandKind::Refresh, order, None),
        Restart(a) => (CommandKind::Restart, a.order, a.workload),
        Start(a) => (CommandKind::Start, a.order, a.workload),
        Stop(a) => (CommandKind::Stop, a.order, a.workload),
        Remove(a) => (CommandKind::Remove, a.order, a.workload),
    };
    let format = order.output.output;
    match target(command, order, workload)? {
        Target::One(node, order) => send(client, format, &node, order).await,
        Target::Many(many, order) => send_many(client, format, many, order).await,
    }
}

#[derive(Debug, PartialEq)]
enum Target {
    One(Name, CommandSpec),
    Many(ManyArgs, CommandSpec),
}

/// Who is meant by what was typed. With many nodes the first name is the workload.
fn target(
    command: CommandKind,
    args: OrderArgs,
    workload: Option<Name>,
) -> Result<Target, Failure> {
    use CommandKind::{Ping, Refresh, Remove, Start, Stop};
    let verb = command.as_str();
    let OrderArgs { node, many, .. } = args;
    let many_meant = many.are_meant();
    let (node, workload) = match (node, workload) {
        (Some(name), None) if many_meant => (None, Some(name)),
        (Some(node), Some(_)) if many_meant => {
            return Err(Failure::usage(format!(
                "either {node}, or the nodes of -l and --all"
            )));
        }
        both => both,
    };
    match (command, &workload) {
        (Start | Stop | Remove, None) => {
            let who = if many_meant { "-l KEY=VALUE" } else { "NODE" };
            return Err(Failure::usage(format!(
                "which workload? `fleetctl command {verb} {who} WORKLOAD`"
            )));
        }
        (Ping | Refresh, Some(name)) => {
            return Err(Failure::usage(format!(
                "either {name}, or the nodes of -l and --all"
            )));
        }
        _ => {}
    }
    let order = CommandSpec::new(command, workload);
    if many_meant {
        return Ok(Target::Many(many, order));
    }
    if many.max_parallel.is_some() || many.timeout.is_some() {
        let text = "--max-parallel and --timeout are for many nodes: -l or --all";
        return Err(Failure::usage(text));
    }
    let missing = || {
        Failure::usage(format!(
            "which node? `fleetctl command {verb} NODE`, -l KEY=VALUE, or --all"
        ))
    };
    Ok(Target::One(node.ok_or_else(missing)?, order))
}

async fn send(
    client: &mut Client,
    format: Format,
    node: &Name,
    order: CommandSpec,
) -> Result<ExitCode, Failure> {
    let path = format!("/api/v1/nodes/{node}/command");
    let answer: CommandResponse = client.post(&path, &order).await?;
    let verb = order.command.as_str();
    match format {
        Format::Table | Format::Wide => {
            let said = answer
                .message
                .as_deref()
                .map(|m| format!(": {}", output::visible(m)));
            let how = if answer.ok { "done" } else { "failed" };
            let line = format!(
                "{verb} {}: {how}{} ({} ms)\n",
                answer.node,
                said.unwrap_or_default(),
                answer.rtt_ms
            );
            output::print(&line)?;
        }
        format => output::one(format, &traced(client, &answer), |_| Vec::new())?,
    }
    Ok(if answer.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn traced<'a, T>(client: &Client, result: &'a T) -> Traced<'a, T> {
    Traced {
        result,
        trace: client.trace_id(),
    }
}

/// How it went, for programs.
#[derive(Debug, Default, Serialize)]
struct Report {
    total: usize,
    ok: usize,
    failed: usize,
    skipped: usize,
    /// By name.
    nodes: Vec<NodeResult>,
}

async fn send_many(
    client: &mut Client,
    format: Format,
    many: ManyArgs,
    order: CommandSpec,
) -> Result<ExitCode, Failure> {
    let request = FleetCommandRequest {
        all: many.all,
        selector: many.labels,
        nodes: Vec::new(),
        order,
        max_parallel: many.max_parallel,
        timeout_ms: many.timeout,
    };
    let mut lines = client.stream_post("/api/v1/commands", &request).await?;
    let mut report = Report::default();
    let mut done = false;
    while let Some(line) = lines.next().await? {
        done = take(&mut report, &line)?;
        if let (Some(last), false) = (report.nodes.last(), done) {
            progress(&report, last);
        }
    }
    report.nodes.sort_by(|a, b| a.node.cmp(&b.node));
    match output::is_for_people(format) {
        true if report.nodes.is_empty() => {}
        true => output::list(format, &report.nodes, &HEAD, row)?,
        false => output::one(format, &traced(client, &report), |_| Vec::new())?,
    }
    match verdict(&report, done) {
        None => Ok(ExitCode::SUCCESS),
        Some(text) => Err(Failure::new(text)),
    }
}

/// A line of the answer; whether it was the last.
fn take(report: &mut Report, line: &str) -> Result<bool, Failure> {
    let value: Value = serde_json::from_str(line)?;
    if value.get("node").is_some() {
        report.nodes.push(serde_json::from_value(value)?);
    } else if value.get("done").is_some() {
        let done: FleetCommandDone = serde_json::from_value(value)?;
        (report.ok, report.failed, report.skipped) = (done.ok, done.failed, done.skipped);
        return Ok(true);
    } else if value.get("total").is_some() {
        report.total = serde_json::from_value::<FleetCommandBegun>(value)?.total;
    }
    Ok(false)
}

fn progress(report: &Report, last: &NodeResult) {
    let said = last.message.as_deref().map(output::visible);
    let said = said.map(|m| format!(": {m}")).unwrap_or_default();
    let how = if last.ok { "done" } else { "failed" };
    let (so_far, total) = (report.nodes.len(), report.total);
    eprintln!("{so_far}/{total} {}: {how}{said}", last.node);
}

fn row(r: &NodeResult, _wide: bool) -> Vec<String> {
    let how = if r.ok { "done" } else { "failed" };
    let said = r.message.clone().unwrap_or_default();
    vec![
        r.node.to_string(),
        how.into(),
        format!("{} ms", r.took_ms),
        said,
    ]
}

/// What is wrong; `None` when it worked everywhere.
fn verdict(report: &Report, done: bool) -> Option<String> {
    let Report {
        total,
        failed,
        skipped,
        nodes,
        ..
    } = report;
    if !done {
        let heard = nodes.len();
        return Some(format!(
            "the controller's answer broke off: {heard} of {total} nodes have answered; what \
             became of the others is not known"
        ));
    }
    match (*total, *failed, *skipped) {
        (0, ..) => {
            Some("there is no such node, or none that has all of `-l`: nothing was sent".into())
        }
        (_, 0, 0) => None,
        (_, _, 0) => Some(format!("{failed} of {total} failed")),
        _ => Some(format!(
            "{failed} of {total} failed, {skipped} were not asked in time"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{OutputArgs, Unasked};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn order(node: Option<&str>, label: Option<&str>) -> OrderArgs {
        OrderArgs {
            node: node.map(name),
            unasked: Unasked::default(),
            many: ManyArgs {
                labels: label.map(str::to_owned).into_iter().collect(),
                ..ManyArgs::default()
            },
            output: OutputArgs::default(),
        }
    }

    #[test]
    fn one_node_is_meant_or_many_and_never_both() {
        use CommandKind::{Ping, Restart, Stop};
        let one = target(Stop, order(Some("pi"), None), Some(name("web"))).unwrap();
        let spec = CommandSpec::new(Stop, Some(name("web")));
        assert_eq!(one, Target::One(name("pi"), spec.clone()));
        let many = target(Stop, order(Some("web"), Some("zone=a")), None).unwrap();
        assert!(matches!(many, Target::Many(_, s) if s == spec));
        let agents = target(Restart, order(None, Some("zone=a")), None).unwrap();
        assert!(matches!(agents, Target::Many(_, s) if s.workload.is_none()));
        for (command, args, workload) in [
            (Ping, order(None, None), None),
            (Ping, order(Some("pi"), Some("zone=a")), None),
            (Stop, order(Some("pi"), None), None),
            (Stop, order(None, Some("zone=a")), None),
            (Stop, order(Some("pi"), Some("zone=a")), Some(name("web"))),
        ] {
            assert!(target(command, args, workload).is_err());
        }
        let mut alone = order(Some("pi"), None);
        alone.many.max_parallel = Some(3);
        assert!(target(Ping, alone, None).is_err());
    }

    #[test]
    fn a_partial_failure_is_said_as_such() {
        let mut report = Report::default();
        let lines = [
            r#"{"total":3}"#,
            r#"{"node":"b","ok":false,"message":"b is offline","took_ms":0.0}"#,
            r#"{"node":"a","ok":true,"took_ms":1.5}"#,
        ];
        for line in lines {
            assert!(!take(&mut report, line).unwrap());
        }
        let broken = verdict(&report, false).unwrap();
        assert!(broken.contains("2 of 3"), "{broken}");
        let last = r#"{"done":true,"ok":1,"failed":1,"skipped":1}"#;
        assert!(take(&mut report, last).unwrap());
        let said = verdict(&report, true).unwrap();
        assert_eq!(said, "1 of 3 failed, 1 were not asked in time");
        report = Report {
            total: 2,
            ok: 2,
            ..Report::default()
        };
        assert_eq!(verdict(&report, true), None);
        assert!(
            verdict(&Report::default(), true).is_some(),
            "nobody was meant"
        );
    }
}
