//! How a run is shown: a line for each board that is worked on while it runs, a table at the end.

use crate::{
    cli::{
        Failure,
        args::Format,
        output,
        progress::{Progress, bar},
    },
    deploy::Board,
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::{cell::RefCell, process::ExitCode, time::Duration};
use tokio::time;

/// How often the block on a terminal is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Where a board is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Looking,
    Copying { sent: u64, of: u64 },
    Starting,
    Joining,
    Waiting,
    Removing,
    Done,
}

/// How it ended for a board.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Planned {
        steps: Vec<String>,
        notes: Vec<String>,
    },
    Unchanged {
        notes: Vec<String>,
    },
    Copied {
        steps: Vec<String>,
        notes: Vec<String>,
    },
    Deployed {
        steps: Vec<String>,
        notes: Vec<String>,
    },
    Removed {
        what: String,
    },
    Failed(String),
}

/// A line of the table at the end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// Name of the board.
    pub(super) board: String,
    host: String,
    /// `planned`, `unchanged`, `copied`, `deployed`, `removed`, `failed`.
    pub(super) result: &'static str,
    /// What was done, or why it failed.
    pub(super) detail: String,
    seconds: f64,
}

impl Report {
    pub(super) fn new(board: &Board, outcome: Outcome, took: Duration) -> Report {
        let with = |steps: Vec<String>, notes: Vec<String>| {
            let steps = steps.join(", ");
            let notes = notes.into_iter().map(|n| format!("note: {n}"));
            let all = Some(steps)
                .filter(|s| !s.is_empty())
                .into_iter()
                .chain(notes);
            all.collect::<Vec<_>>().join("; ")
        };
        let (result, detail) = match outcome {
            Outcome::Planned { steps, notes } if steps.is_empty() => {
                ("unchanged", with(steps, notes))
            }
            Outcome::Planned { steps, notes } => ("planned", with(steps, notes)),
            Outcome::Unchanged { notes } => ("unchanged", with(Vec::new(), notes)),
            Outcome::Copied { steps, notes } => ("copied", with(steps, notes)),
            Outcome::Deployed { steps, notes } => ("deployed", with(steps, notes)),
            Outcome::Removed { what } => ("removed", what),
            Outcome::Failed(why) => ("failed", why),
        };
        Report {
            board: board.name.to_string(),
            host: board.host.clone(),
            result,
            detail: output::visible(&detail),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.result == "failed"
    }
}

/// What is seen while it runs.
pub(super) struct Show {
    names: Vec<String>,
    phases: RefCell<Vec<Phase>>,
    progress: RefCell<Progress>,
}

impl Show {
    pub(super) fn begin(boards: &[Board]) -> Show {
        Show {
            names: boards.iter().map(|b| b.name.to_string()).collect(),
            phases: RefCell::new(vec![Phase::Queued; boards.len()]),
            progress: RefCell::new(Progress::begin()),
        }
    }

    fn tell(&self, at: usize, phase: Phase) {
        let mut phases = self.phases.borrow_mut();
        let Some(now) = phases.get_mut(at) else {
            return;
        };
        let news = std::mem::discriminant(now) != std::mem::discriminant(&phase);
        *now = phase;
        let mut progress = self.progress.borrow_mut();
        if news && !progress.is_live() && !matches!(phase, Phase::Done | Phase::Queued) {
            progress.say(&format!("{}: {}", self.names[at], said(phase)));
        }
    }

    fn ended(&self, at: usize, report: &Report) {
        self.tell(at, Phase::Done);
        let mut progress = self.progress.borrow_mut();
        progress.say(&match report.detail.is_empty() {
            true => format!("{}: {}", report.board, report.result),
            false => format!("{}: {}: {}", report.board, report.result, report.detail),
        });
    }

    fn draw(&self) {
        let phases = self.phases.borrow();
        let widest = self.names.iter().map(String::len).max().unwrap_or(0);
        let done = phases.iter().filter(|p| **p == Phase::Done).count();
        let mut lines: Vec<String> = phases
            .iter()
            .zip(&self.names)
            .filter(|(p, _)| !matches!(p, Phase::Done | Phase::Queued))
            .map(|(phase, name)| match phase {
                Phase::Copying { sent, of } => {
                    let (done, all) = ((*sent >> 10) as usize, (*of >> 10) as usize);
                    format!("{name:widest$}  {} {}", bar(done, all), said(*phase))
                }
                phase => format!("{name:widest$}  {}", said(*phase)),
            })
            .collect();
        lines.push(format!(
            "{} {done}/{} boards",
            bar(done, phases.len()),
            phases.len()
        ));
        self.progress.borrow_mut().show(lines);
    }
}

fn said(phase: Phase) -> String {
    match phase {
        Phase::Queued => "waits for its turn".into(),
        Phase::Looking => "looking".into(),
        Phase::Copying { sent, of } if of > 0 => format!("copying {}%", sent * 100 / of),
        Phase::Copying { .. } => "copying".into(),
        Phase::Starting => "starting".into(),
        Phase::Joining => "joining".into(),
        Phase::Waiting => "waiting until it is online".into(),
        Phase::Removing => "removing".into(),
        Phase::Done => "done".into(),
    }
}

/// Works on all boards, so many at a time, and shows it.
pub(super) async fn of_all<'a>(
    boards: &'a [Board],
    parallel: usize,
    show: &Show,
    work: impl AsyncFn(&'a Board, &dyn Fn(Phase)) -> Report,
) -> Vec<Report> {
    let work = &work;
    let each = boards.iter().enumerate().map(|(at, board)| async move {
        let report = work(board, &|phase| show.tell(at, phase)).await;
        show.ended(at, &report);
        (at, report)
    });
    let mut running = stream::iter(each).buffer_unordered(parallel);
    let mut done = Vec::new();
    let mut ticks = time::interval(DRAW);
    loop {
        tokio::select! {
            next = running.next() => match next {
                Some(one) => done.push(one),
                None => break,
            },
            _ = ticks.tick() => show.draw(),
        }
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, report)| report).collect()
}

/// The table, and exit code 1 where a board failed.
pub(super) fn finish(show: Show, reports: &[Report], format: Format) -> Result<ExitCode, Failure> {
    show.progress.borrow_mut().end();
    let head = ["BOARD", "HOST", "RESULT", "SECONDS", "DETAIL"];
    output::list(format, reports, &head, |r, _| {
        vec![
            r.board.clone(),
            r.host.clone(),
            r.result.to_owned(),
            format!("{:.1}", r.seconds),
            match r.detail.as_str() {
                "" => "-".to_owned(),
                detail => detail.to_owned(),
            },
        ]
    })?;
    let failed = reports.iter().filter(|r| r.is_failed()).count();
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "{failed} of {} boards failed; mend them and run it again",
        reports.len()
    );
    Ok(ExitCode::FAILURE)
}
