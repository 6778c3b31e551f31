//! `events` and `audit`.

use super::{
    Failure,
    args::{AuditArgs, EventsArgs, Format},
    client::Client,
    output,
};
use crate::{controller::NumberedEvent, journal::AuditLine};
use std::time::Duration;

pub(super) async fn run(client: &mut Client, args: EventsArgs) -> Result<(), Failure> {
    let mut since = 0;
    loop {
        match stream(client, &args, &mut since).await {
            Ok(()) if !args.follow => return Ok(()),
            Ok(()) => {}
            // Once it has begun it goes on by itself when the controller comes back.
            Err(failure) if args.follow && since > 0 => {
                eprintln!("{}; trying again", failure.message);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn stream(client: &mut Client, args: &EventsArgs, since: &mut u64) -> Result<(), Failure> {
    let path = format!("/api/v1/events?since={since}&follow={}", args.follow);
    let mut lines = client.stream(&path).await?;
    while let Some(line) = lines.next().await? {
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let Ok(e) = serde_json::from_str::<NumberedEvent>(data.trim()) else {
            continue;
        };
        *since = e.id;
        match args.output.output {
            Format::Table | Format::Wide => {
                let text = output::visible(&e.event.message);
                output::print(&format!(
                    "{}  {:20}  {text}\n",
                    output::utc(e.event.at),
                    e.event.event
                ))?;
            }
            _ => output::print(&format!("{}\n", data.trim()))?,
        }
    }
    Ok(())
}

pub(super) async fn audit(client: &mut Client, args: AuditArgs) -> Result<(), Failure> {
    let limit = args.limit.clamp(1, 1_000);
    let lines: Vec<AuditLine> = client.get(&format!("/api/v1/audit?limit={limit}")).await?;
    let head = ["TIME", "WHO", "ROLE", "FROM", "WHAT"];
    output::list(args.output.output, &lines, &head, |l, _| {
        vec![
            output::utc(l.at),
            l.by.token.clone(),
            l.by.role.to_string(),
            l.by.from.clone(),
            l.what.clone(),
        ]
    })
}
