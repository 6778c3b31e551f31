//! `command`.

use super::{
    Failure,
    args::{CommandVerb, Format, OrderArgs},
    client::Client,
    output,
};
use crate::{
    http::CommandResponse,
    model::{CommandKind, CommandSpec, Name},
};
use std::process::ExitCode;

pub(super) async fn run(client: &mut Client, verb: CommandVerb) -> Result<ExitCode, Failure> {
    use CommandVerb::*;
    let (command, order, workload) = match verb {
        Ping(order) => (CommandKind::Ping, order, None),
        Refresh(order) => (CommandKind::Refresh, order, None),
        Restart(a) => (CommandKind::Restart, a.order, a.workload),
        Start(a) => (
            CommandKind::Start,
            a.order,
            Some(needed(a.workload, "start")?),
        ),
        Stop(a) => (
            CommandKind::Stop,
            a.order,
            Some(needed(a.workload, "stop")?),
        ),
        Remove(a) => (
            CommandKind::Remove,
            a.order,
            Some(needed(a.workload, "remove")?),
        ),
    };
    send(client, order, CommandSpec::new(command, workload)).await
}

fn needed(workload: Option<Name>, verb: &str) -> Result<Name, Failure> {
    let missing = || {
        Failure::usage(format!(
            "which workload? `fleetctl command {verb} NODE WORKLOAD`"
        ))
    };
    workload.ok_or_else(missing)
}

async fn send(
    client: &mut Client,
    args: OrderArgs,
    order: CommandSpec,
) -> Result<ExitCode, Failure> {
    let path = format!("/api/v1/nodes/{}/command", args.node);
    let answer: CommandResponse = client.post(&path, &order).await?;
    let verb = order.command.as_str();
    match args.output.output {
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
        format => output::one(format, &answer, |_| Vec::new())?,
    }
    Ok(if answer.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
