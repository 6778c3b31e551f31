//! How something gets on while one waits for it: on a terminal a block of lines that is drawn anew
//! in place, elsewhere plain lines, one for each change.
//!
//! ```text
//!  web 2: rolled out                    said, and stays
//!  db 7    ██████··· 6/9 healthy · pi-4, pi-5 changing · 42s      ┐ the block: over what was
//!  (Ctrl-C stops only the waiting)                                ┘ drawn before
//! ```
//!
//! The cursor stays visible and nothing is switched, so that however the program ends there is
//! nothing to be put right.

use super::{Failure, output};
use crate::{
    fleet::{InstanceView, StepState},
    http::RolloutView,
    model::{InstanceState, Name},
};
use ratatui::text::Span;
use rustix::termios::tcgetwinsize;
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write as _},
    process::ExitCode,
    time::Instant,
};

/// What a shell says of a program that was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;
/// Columns of a bar.
const BAR: usize = 16;
/// Instances that are named of one workload.
const NAMED: usize = 4;

/// Waits, until Ctrl-C: then says that `goes_on`, and with which command it is watched again.
pub(super) async fn or_interrupted(
    waits: impl Future<Output = Result<ExitCode, Failure>>,
    goes_on: &str,
) -> Result<ExitCode, Failure> {
    tokio::select! {
        ended = waits => ended,
        Ok(()) = tokio::signal::ctrl_c() => {
            eprintln!("no longer waiting; {goes_on}");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// The block on standard error; taken away when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    live: bool,
    /// Lines that are on the screen.
    drawn: usize,
    began: Instant,
}

impl Progress {
    /// Nothing is drawn yet.
    pub(super) fn begin() -> Progress {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Progress {
            live: io::stderr().is_terminal() && !dumb,
            drawn: 0,
            began: Instant::now(),
        }
    }

    /// Somebody looks at a terminal.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// A line that stays, above the block.
    pub(super) fn say(&mut self, text: &str) {
        self.end();
        eprintln!("{text}");
    }

    /// Draws the block anew; nothing where there is no terminal.
    pub(super) fn show(&mut self, mut lines: Vec<String>) {
        if !self.live {
            return;
        }
        let (columns, rows) = match tcgetwinsize(io::stderr()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        };
        let seconds = self.began.elapsed().as_secs();
        lines.push(format!(
            "{} (Ctrl-C stops only the waiting)",
            elapsed(seconds)
        ));
        let text = block(&lines, usize::from(columns), usize::from(rows));
        let mut out = self.erased();
        out.push_str(&text);
        self.drawn = text.matches('\n').count();
        // One write, so that nothing flickers. A terminal that has gone is no error here.
        let _ = io::stderr().lock().write_all(out.as_bytes());
    }

    /// Takes the block away.
    pub(super) fn end(&mut self) {
        let out = self.erased();
        let _ = io::stderr().lock().write_all(out.as_bytes());
    }

    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            n => format!("\u{1b}[{n}A\r\u{1b}[J"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines, none wider than the terminal and no more of them than it has.
fn block(lines: &[String], columns: usize, rows: usize) -> String {
    let room = rows.saturating_sub(2).max(1);
    let mut out = String::new();
    let mut add = |line: &str| {
        let line = output::visible(line);
        let mut end = line.len();
        // The last column stays free: some terminals begin a line there.
        while Span::raw(&line[..end]).width() >= columns.max(2) {
            end = line[..end]
                .char_indices()
                .next_back()
                .map_or(0, |(at, _)| at);
        }
        out.push_str(&line[..end]);
        out.push('\n');
    };
    if lines.len() <= room {
        lines.iter().for_each(|line| add(line));
        return out;
    }
    let shown = room.saturating_sub(2);
    lines[..shown].iter().for_each(|line| add(line));
    add(&format!("… and {} more", lines.len() - shown - 1));
    if let Some(last) = lines.last() {
        add(last);
    }
    out
}

/// How each of these rollouts stands.
pub(super) fn of_rollouts<'a>(all: impl Iterator<Item = &'a RolloutView>) -> Vec<String> {
    let all: Vec<&RolloutView> = all.collect();
    let names = all
        .iter()
        .map(|r| r.workload.as_str().len() + r.version.len() + 1);
    let widest = names.max().unwrap_or(0).min(40);
    let line = |r: &&RolloutView| {
        let name = format!("{} {}", r.workload, output::visible(&r.version));
        let back = r.returned + r.returning > 0;
        let (done, what) = match back {
            true => (r.returned, "back"),
            false => (r.healthy, "healthy"),
        };
        let mut text = format!(
            "{name:widest$}  {} {done}/{} {what}",
            bar(done, r.nodes),
            r.nodes
        );
        let changing = match back {
            true => super::rollout::named(r, StepState::Returning),
            false => super::rollout::named(r, StepState::Changing),
        };
        if !changing.is_empty() {
            text.push_str(&format!(
                " · {changing} {}",
                if back { "going back" } else { "changing" }
            ));
        }
        if r.failed > 0 {
            text.push_str(&format!(" · {} failed", r.failed));
        }
        let more = news(&r.rollout.reason, r);
        if !more.is_empty() {
            text.push_str(&format!(" · {more}"));
        }
        text
    };
    all.iter().map(line).collect()
}

/// What of the reason the line does not say already: not how many are healthy, nor how many change.
fn news(reason: &str, r: &RolloutView) -> String {
    let done = format!("{} of {} ", r.healthy, r.nodes);
    let known = |part: &&str| {
        let counted = part.starts_with(&done) && part.ends_with(" are healthy");
        let changes = part.split_once(' ').is_some_and(|(n, what)| {
            let words = [
                "node changes",
                "nodes change",
                "canary changes",
                "canaries change",
            ];
            n.bytes().all(|b| b.is_ascii_digit()) && words.contains(&what)
        });
        counted || changes
    };
    let parts = reason.split("; ").filter(|part| !known(part));
    parts.collect::<Vec<_>>().join("; ")
}

/// How the instances of each workload stand, and what those wait for that are not well.
pub(super) fn of_instances(all: &[InstanceView]) -> Vec<String> {
    let mut workloads: BTreeMap<&Name, Vec<&InstanceView>> = BTreeMap::new();
    for i in all {
        workloads.entry(&i.workload).or_default().push(i);
    }
    let widest = workloads
        .keys()
        .map(|w| w.as_str().len())
        .max()
        .unwrap_or(0);
    let line = |(workload, instances): (&&Name, &Vec<&InstanceView>)| {
        let count = |i: &&InstanceView| i.count as usize;
        let total: usize = instances.iter().map(count).sum();
        let open = |i: &&&InstanceView| {
            !(i.up_to_date && (i.state.is_well() || i.state == InstanceState::Stopped))
        };
        let left: Vec<&&InstanceView> = instances.iter().filter(open).collect();
        let missing: usize = left.iter().map(|i| count(i)).sum();
        let well = total.saturating_sub(missing);
        let mut text = format!(
            "{:widest$}  {} {well}/{total}",
            workload.as_str(),
            bar(well, total)
        );
        for i in left.iter().take(NAMED) {
            let state = match (i.state, i.progress) {
                (InstanceState::Pulling, Some(percent)) => format!("pulling {percent}%"),
                (state, _) => state.to_string(),
            };
            let place = i.node.as_ref().map_or("nowhere", |n| n.as_str());
            text.push_str(&format!(" · {place}: {state}"));
        }
        if left.len() > NAMED {
            text.push_str(&format!(" · and {} more", left.len() - NAMED));
        }
        text
    };
    workloads.iter().map(line).collect()
}

/// `██████··`.
pub(super) fn bar(done: usize, of: usize) -> String {
    let filled = (done * BAR).checked_div(of).unwrap_or(BAR).min(BAR);
    "█".repeat(filled) + &"·".repeat(BAR - filled)
}

fn elapsed(seconds: u64) -> String {
    match seconds {
        s @ 0..60 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::rollout::tests::view, fleet::RolloutPhase};

    #[test]
    fn a_block_fits_the_terminal() {
        let lines: Vec<String> = (0..9).map(|n| format!("{n} 漢字 and more")).collect();
        assert_eq!(
            block(&lines[..2], 80, 24),
            "0 漢字 and more\n1 漢字 and more\n"
        );
        assert_eq!(block(&lines[..1], 6, 24), "0 漢\n");
        let cut = block(&lines, 80, 6);
        let cut: Vec<&str> = cut.lines().collect();
        assert_eq!(
            cut,
            [
                "0 漢字 and more",
                "1 漢字 and more",
                "… and 6 more",
                "8 漢字 and more"
            ]
        );
        assert_eq!(block(&["a\u{1b}[2Jb".into()], 80, 24), "ab\n");
        for (columns, rows) in [(0, 0), (1, 1), (2, 3)] {
            let _ = block(&lines, columns, rows);
        }
    }

    #[test]
    fn a_rollout_is_a_bar_with_what_is_waited_for() {
        use StepState::{Changing, Healthy, Waiting};
        let rolling = view(
            RolloutPhase::Rolling,
            &[Healthy, Changing, Waiting, Waiting],
        );
        let lines = of_rollouts([&rolling].into_iter());
        assert_eq!(
            lines,
            ["web 2  ████············ 1/4 healthy · pi-1 changing"]
        );
        let mut told = rolling.clone();
        for (reason, more) in [
            ("1 of 4 nodes are healthy; 1 node changes", ""),
            (
                "1 of 4 nodes are healthy; 2 canaries change; not heard since they were told to: pi-1",
                " · not heard since they were told to: pi-1",
            ),
            (
                "1 of 4 nodes are healthy; it waits for a maintenance window",
                " · it waits for a maintenance window",
            ),
            ("web was held by ann", " · web was held by ann"),
        ] {
            told.rollout.reason = reason.into();
            let line = of_rollouts([&told].into_iter()).remove(0);
            assert_eq!(line, lines[0].clone() + more);
        }
        let back = view(
            RolloutPhase::RollingBack,
            &[StepState::Returned, StepState::Returning],
        );
        let lines = of_rollouts([&back].into_iter());
        assert_eq!(
            lines,
            ["web 2  ████████········ 1/2 back · pi-1 going back"]
        );
    }

    #[test]
    fn instances_that_are_not_well_are_named() {
        let json = |node: &str, state: &str, progress: Option<u8>| {
            serde_json::json!({
                "workload": "web", "node": node, "state": state, "runtime": "docker",
                "version": "1", "restarts": 0, "reason": "", "up_to_date": state == "running",
                "warnings": [], "exit_code": null, "handle": null, "since_ms": 0,
                "progress": progress,
            })
        };
        let all = [
            json("pi-1", "running", None),
            json("pi-2", "pulling", Some(40)),
        ];
        let all: Vec<InstanceView> = all
            .into_iter()
            .map(|i| serde_json::from_value(i).unwrap())
            .collect();
        assert_eq!(
            of_instances(&all),
            ["web  ████████········ 1/2 · pi-2: pulling 40%"]
        );
        assert_eq!(bar(0, 0), "█".repeat(BAR));
    }
}
