//! `logs`.
//!
//! One stream for each workload. Of one instance lines are shown as they come; of several with
//! `[node/workload]` before each, in the order of their times, or as they come when following.
//! Whoever follows goes on by himself when the controller was away, where he stopped.

use super::{Failure, args::LogsArgs, client::Client, output};
use crate::{
    fleet::WorkloadView,
    http::Cursor,
    model::{LogLine, Name},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time};

/// Bytes of text that are held to be put in order; with more, it is in order only in parts.
const MAX_HELD: usize = 64 << 20;
/// Colours of prefixes.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

#[derive(Debug, Deserialize)]
struct Answer {
    node: Name,
    line: Option<LogLine>,
    notice: Option<String>,
    error: Option<String>,
}

/// Something of one instance.
#[derive(Debug)]
enum Item {
    Line(LogLine),
    /// For whoever watches.
    Notice(String),
    /// There are no more of this instance.
    Error(String),
    /// There are no more of this workload.
    Failed(Failure),
}

type Items = mpsc::Sender<(Name, Name, Item)>;

pub(super) async fn run(client: &mut Client, args: LogsArgs) -> Result<(), Failure> {
    let mut workloads = args.workloads.clone();
    let mut seen = BTreeSet::new();
    workloads.retain(|w| seen.insert(w.clone()));
    let mut instances = 0;
    for workload in &workloads {
        let path = format!("/api/v1/workloads/{workload}");
        let view: WorkloadView = client.get(&path).await?;
        instances += if args.node.is_some() { 1 } else { view.wanted };
    }
    let follow = args.follow;
    let args = Arc::new(args);
    let (items, mut queue) = mpsc::channel(256);
    for workload in workloads {
        let reader = Reader {
            client: client.another(),
            args: args.clone(),
            workload,
            cursors: BTreeMap::new(),
            items: items.clone(),
            answered: false,
        };
        tokio::spawn(reader.run());
    }
    drop(items);
    let mut show = Show::new(instances > 1, args.timestamps);
    let mut held = Held::default();
    let mut failed = None;
    while let Some((node, workload, item)) = queue.recv().await {
        match item {
            Item::Line(line) if instances > 1 && !follow => {
                held.add(node, workload, line);
                if held.bytes > MAX_HELD {
                    eprintln!("there is much to show: it is in order only in parts");
                    held.show(&mut show)?;
                }
            }
            Item::Line(line) => show.line(&node, &workload, &line)?,
            Item::Notice(text) => eprintln!("{workload}: {}", output::visible(&text)),
            Item::Error(text) => {
                eprintln!("{workload} on {node}: {}", output::visible(&text));
                failed = Some(Failure::new("not all lines could be had"));
            }
            Item::Failed(failure) => failed = Some(failure),
        }
    }
    held.show(&mut show)?;
    failed.map_or(Ok(()), Err)
}

/// Reads one workload.
struct Reader {
    client: Client,
    args: Arc<LogsArgs>,
    workload: Name,
    /// By node.
    cursors: BTreeMap<Name, Cursor>,
    items: Items,
    /// The controller has answered once.
    answered: bool,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let path = self.path();
            let failure = match self.read(&path).await {
                Ok(()) if !self.args.follow => return,
                Ok(()) => Failure::new("the controller ended the stream"),
                Err(failure) => failure,
            };
            if self.items.is_closed() {
                return;
            }
            // The controller is away for a moment; it must not cost a line.
            if !self.args.follow || !self.answered || failure.is_final() {
                return self.tell(Item::Failed(failure)).await;
            }
            let notice = format!("{}; trying again", failure.message);
            self.tell(Item::Notice(notice)).await;
            time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// About the workload as a whole.
    async fn tell(&self, item: Item) {
        let workload = self.workload.clone();
        let _ = self.items.send((workload.clone(), workload, item)).await;
    }

    /// What to ask: the first time as it was typed, later what comes after that which was shown.
    fn path(&mut self) -> String {
        let args = &self.args;
        let mut path = format!(
            "/api/v1/workloads/{}/logs?follow={}",
            self.workload, args.follow
        );
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={value}"));
            }
        };
        let shown: Vec<Option<u64>> = self.cursors.values_mut().map(Cursor::resume).collect();
        // Clocks of nodes differ: the least of them, and cursors leave out the rest.
        let since = match shown.iter().min() {
            Some(least) => *least,
            None => args.since,
        };
        add("since", since.map(|ns| ns.to_string()));
        let tail = args.tail.filter(|_| shown.is_empty());
        add("tail", tail.map(|n| n.to_string()));
        add("until", args.until.map(|ns| ns.to_string()));
        add("node", args.node.as_ref().map(Name::to_string));
        add("stream", args.stream.map(|s| s.as_str().to_owned()));
        path
    }

    async fn read(&mut self, path: &str) -> Result<(), Failure> {
        let mut lines = self.client.stream(path).await?;
        self.answered = true;
        while let Some(text) = lines.next().await? {
            let answer: Answer = serde_json::from_str(&text)?;
            let item = if let Some(line) = answer.line {
                let (since, tail) = (self.args.since, self.args.tail.is_some());
                let cursor = self.cursors.entry(answer.node.clone());
                let cursor = cursor.or_insert_with(|| Cursor::new(since, tail));
                if !cursor.take(&line) {
                    continue;
                }
                Item::Line(line)
            } else if let Some(error) = answer.error {
                Item::Error(error)
            } else if let Some(notice) = answer.notice {
                Item::Notice(notice)
            } else {
                continue;
            };
            let sent = (answer.node, self.workload.clone(), item);
            if self.items.send(sent).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Lines of several instances, to be put in order.
#[derive(Debug, Default)]
struct Held {
    lines: Vec<(Name, Name, LogLine)>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, node: Name, workload: Name, line: LogLine) {
        self.bytes += line.text.len() + 64;
        self.lines.push((node, workload, line));
    }

    fn show(&mut self, show: &mut Show) -> Result<(), Failure> {
        self.bytes = 0;
        let mut lines = std::mem::take(&mut self.lines);
        // Lines of the same time stay as they came.
        lines.sort_by_key(|(_, _, line)| line.time_ns);
        for (node, workload, line) in lines {
            show.line(&node, &workload, &line)?;
        }
        Ok(())
    }
}

/// How lines look.
#[derive(Debug)]
struct Show {
    prefixes: bool,
    timestamps: bool,
    terminal: bool,
    colours: bool,
    /// Instances in the order in which they came, for their colours.
    known: BTreeMap<(Name, Name), usize>,
}

impl Show {
    fn new(prefixes: bool, timestamps: bool) -> Show {
        let terminal = std::io::stdout().is_terminal();
        Show {
            prefixes,
            timestamps,
            terminal,
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            known: BTreeMap::new(),
        }
    }

    fn line(&mut self, node: &Name, workload: &Name, line: &LogLine) -> Result<(), Failure> {
        output::print(&self.text(node, workload, line))
    }

    fn text(&mut self, node: &Name, workload: &Name, line: &LogLine) -> String {
        let mut out = String::new();
        if self.prefixes {
            let next = self.known.len();
            let instance = (node.clone(), workload.clone());
            let place = *self.known.entry(instance).or_insert(next);
            let colour = COLOURS[place % COLOURS.len()];
            out = match self.colours {
                true => format!("\u{1b}[{colour}m[{node}/{workload}]\u{1b}[0m "),
                false => format!("[{node}/{workload}] "),
            };
        }
        if self.timestamps {
            out.push_str(&format!("{} ", output::utc(line.time_ns / 1_000_000)));
        }
        // A person's terminal must not be driven by a workload; a program gets what was written.
        if self.terminal {
            let harmless = |c: &char| *c == '\t' || output::flat(*c) == *c;
            out.extend(line.text.chars().filter(harmless));
        } else {
            out.push_str(&line.text);
        }
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;

    fn line(text: &str) -> LogLine {
        LogLine {
            time_ns: 1_795_168_800_000_000_000,
            stream: LogStream::Stdout,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_line_says_whose_it_is_and_cannot_drive_a_terminal() {
        let (node, web): (Name, Name) = ("pi-1".parse().unwrap(), "web".parse().unwrap());
        let mut show = Show {
            prefixes: true,
            timestamps: true,
            terminal: true,
            colours: true,
            known: BTreeMap::new(),
        };
        let text = show.text(&node, &web, &line("a\u{1b}[2Jb"));
        let expected = "\u{1b}[36m[pi-1/web]\u{1b}[0m 2026-11-20 10:00:00 a[2Jb\n";
        assert_eq!(text, expected);
        let other: Name = "pi-2".parse().unwrap();
        assert!(
            show.text(&other, &web, &line("x"))
                .starts_with("\u{1b}[33m")
        );
        assert!(show.text(&node, &web, &line("x")).starts_with("\u{1b}[36m"));
        (show.colours, show.terminal, show.timestamps) = (false, false, false);
        let text = show.text(&node, &web, &line("a\u{1b}[2Jb"));
        assert_eq!(text, "[pi-1/web] a\u{1b}[2Jb\n");
    }
}
