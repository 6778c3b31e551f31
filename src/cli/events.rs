//! `events`.
//!
//! First what the controller keeps, then, with `-f`, what happens; after a loss it goes on behind
//! the last number that was seen, and says so when the numbers show a gap.

use super::{
    Failure,
    args::{EventsArgs, Format},
    client::Client,
    output,
    top::{Tone, tone_of},
};
use crate::{controller::NumberedEvent, fleet::FleetEvent, http::VersionView};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(client: &mut Client, args: EventsArgs) -> Result<(), Failure> {
    let mut last = 0;
    // What is kept comes first, all at once, so that the last so many of it can be told.
    let mut kept = Vec::new();
    stream(client, false, &mut last, |line| {
        if wanted(&args, &line.event) {
            kept.push(line);
        }
        Ok(())
    })
    .await?;
    if let Some(node) = args
        .node
        .as_ref()
        .filter(|_| kept.is_empty() && !args.follow)
    {
        // A slip of the pen is no quiet node.
        let path = format!("/api/v1/nodes/{node}");
        client.get::<serde_json::Value>(&path).await?;
    }
    let skipped = args.tail.map_or(0, |n| kept.len().saturating_sub(n));
    let show = Show {
        format: args.output.output,
        colours: std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    for line in kept.into_iter().skip(skipped) {
        show.line(&line)?;
    }
    if !args.follow {
        return Ok(());
    }
    let mut gone: Option<Instant> = None;
    loop {
        let before = last;
        let mut first = true;
        let started = match gone {
            Some(_) => started_ms(client).await,
            None => Ok(0),
        };
        let ended = match started {
            Ok(started_ms) => {
                if let Some(since) = gone.take() {
                    eprintln!(
                        "the controller is back after {} s",
                        since.elapsed().as_secs()
                    );
                }
                stream(client, true, &mut last, |line| {
                    if std::mem::take(&mut first)
                        && let Some(text) = missed(before, line.id, started_ms)
                    {
                        eprintln!("{text}");
                    }
                    match wanted(&args, &line.event) {
                        true => show.line(&line),
                        false => Ok(()),
                    }
                })
                .await
            }
            Err(failure) => Err(failure),
        };
        match ended {
            Err(failure) if failure.is_final() => return Err(failure),
            // Once it has begun it goes on by itself when the controller comes back.
            Err(failure) if gone.is_none() => {
                eprintln!("{}; trying again", failure.message);
                gone = Some(Instant::now());
            }
            Err(_) => {}
            // Cut off, since this reader was too slow, or the controller stops.
            Ok(()) => gone = gone.or_else(|| Some(Instant::now())),
        }
        sleep(AGAIN).await;
    }
}

/// One event, and how the controller wrote it.
struct Line {
    id: u64,
    event: FleetEvent,
    json: String,
}

/// Events after `last`, which grows with them; with `follow` until the connection ends.
async fn stream(
    client: &mut Client,
    follow: bool,
    last: &mut u64,
    mut each: impl FnMut(Line) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = format!("/api/v1/events?since={last}&follow={follow}");
    let mut lines = client.stream(&path).await?;
    while let Some(line) = lines.next().await? {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else {
            continue;
        };
        let Ok(e) = serde_json::from_str::<NumberedEvent>(data) else {
            continue;
        };
        *last = e.id;
        each(Line {
            id: e.id,
            event: e.event,
            json: data.to_owned(),
        })?;
    }
    Ok(())
}

/// When the controller started, which is where its numbers of events begin.
async fn started_ms(client: &mut Client) -> Result<u64, Failure> {
    let version: VersionView = client.get("/api/v1/version").await?;
    Ok(version.started_ms)
}

/// What is to be said when `first` is the next event after `last`.
fn missed(last: u64, first: u64, started_ms: u64) -> Option<String> {
    let between = first.saturating_sub(last).saturating_sub(1);
    if last == 0 || between == 0 {
        return None;
    }
    // Numbers begin anew above the time of the start.
    if last <= started_ms {
        return Some(
            "the controller was started anew: what happened just before it ended may be missing"
                .into(),
        );
    }
    let (s, were) = if between == 1 {
        ("", "was")
    } else {
        ("s", "were")
    };
    Some(format!(
        "{between} event{s} {were} missed: more happened meanwhile than the controller keeps"
    ))
}

fn wanted(args: &EventsArgs, event: &FleetEvent) -> bool {
    let since_ms = args.since.unwrap_or(0) / 1_000_000;
    let kind = |k: &String| event.event.starts_with(k.as_str());
    event.at >= since_ms
        && (args.node.is_none() || event.node == args.node)
        && (args.workload.is_none() || event.workload == args.workload)
        && (args.kinds.is_empty() || args.kinds.iter().any(kind))
}

/// How events look.
#[derive(Debug, Clone, Copy)]
struct Show {
    format: Format,
    colours: bool,
}

impl Show {
    fn line(self, line: &Line) -> Result<(), Failure> {
        output::print(&self.text(line))
    }

    fn text(self, line: &Line) -> String {
        if !output::is_for_people(self.format) {
            return format!("{}\n", line.json);
        }
        let event = &line.event;
        let kind = output::visible(&event.event);
        let (on, off) = match (self.colours, tone_of(&event.event)) {
            (false, _) | (true, Tone::Plain | Tone::Dim) => ("", ""),
            (true, Tone::Good) => ("\u{1b}[32m", "\u{1b}[0m"),
            (true, Tone::Warn) => ("\u{1b}[33m", "\u{1b}[0m"),
            (true, Tone::Bad) => ("\u{1b}[31m", "\u{1b}[0m"),
        };
        let (time, text) = (output::utc(event.at), output::visible(&event.message));
        format!("{time}  {on}{kind:20}{off}  {text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(line: &str) -> EventsArgs {
        #[derive(Parser)]
        struct Typed {
            #[command(flatten)]
            args: EventsArgs,
        }
        let typed = Typed::try_parse_from(line.split_whitespace());
        typed.unwrap_or_else(|e| panic!("{line}: {e}")).args
    }

    fn event(kind: &str) -> FleetEvent {
        FleetEvent {
            at: 1_795_168_800_000,
            event: kind.into(),
            node: "pi-1".parse().ok(),
            workload: None,
            message: "a\u{1b}[2Jb".into(),
        }
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let shown = |line: &str, kind: &str| wanted(&args(line), &event(kind));
        assert!(shown("events", "node_online"));
        assert!(shown("events --node pi-1 --type node_", "node_online"));
        assert!(shown(
            "events --type alert_ --type node_online",
            "node_online"
        ));
        assert!(!shown("events --type instance_", "node_online"));
        assert!(!shown("events --node pi-2", "node_online"));
        assert!(!shown("events --workload web", "node_online"));
        assert!(shown("events --since 1795168800", "node_online"));
        assert!(!shown("events --since 1795168801", "node_online"));
    }

    #[test]
    fn a_gap_is_counted_and_a_new_start_is_told_from_one() {
        assert_eq!(missed(0, 500, 0), None, "nothing was seen before");
        assert_eq!(missed(105, 106, 100), None);
        assert!(
            missed(105, 107, 100)
                .unwrap()
                .starts_with("1 event was missed")
        );
        assert!(
            missed(105, 1_000, 100)
                .unwrap()
                .starts_with("894 events were missed")
        );
        assert!(missed(105, 2_001, 2_000).unwrap().contains("started anew"));
    }

    #[test]
    fn a_kind_has_a_colour_on_a_terminal_and_no_text_drives_it() {
        let line = Line {
            id: 1,
            event: event("node_offline"),
            json: "{}".into(),
        };
        let mut show = Show {
            format: Format::Table,
            colours: true,
        };
        let text = show.text(&line);
        assert!(
            text.contains("\u{1b}[31mnode_offline        \u{1b}[0m  ab"),
            "{text:?}"
        );
        show.colours = false;
        assert_eq!(
            show.text(&line),
            "2026-11-20 10:00:00  node_offline          ab\n"
        );
        show.format = Format::Json;
        assert_eq!(show.text(&line), "{}\n");
    }
}
