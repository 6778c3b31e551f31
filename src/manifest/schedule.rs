//! When a workload runs: for ever, by the clock (`schedule`), or so many times (`max_runs`).

use super::{getters::Shape, shown, span::Flaw, table::Table};
use crate::model::{Cron, CronError, MissedRun, Overlap, RunMode, Schedule};

/// The most runs of one workload.
const MAX_RUNS: u32 = 1_000_000;
/// The most bytes of a cron expression.
const MAX_TEXT: usize = 256;
/// Keys that mean something beside `schedule` only.
const DETAILS: [&str; 3] = ["time_zone", "missed", "overlap"];

/// The keys `schedule`, `time_zone`, `missed`, `overlap` and `max_runs` of a workload, which may
/// be a service.
pub(crate) fn read(table: &mut Table<'_>, is_service: bool) -> RunMode {
    let max_runs = table.count_within("max_runs", 1..=MAX_RUNS);
    let shape = table.shape("schedule");
    let schedule = match shape {
        Shape::Absent => {
            for key in DETAILS {
                let flaw = Flaw::new(format!("`{key}` has no meaning without `schedule`"))
                    .hint("write when it runs, as in `schedule = \"0 3 * * *\"`");
                table.refuse_key(key, flaw);
            }
            None
        }
        Shape::Map => {
            for key in DETAILS {
                let flaw = Flaw::new(format!("`{key}` belongs into the table of `schedule`")).hint(
                    format!("write `schedule = {{ cron = \"…\", {key} = \"…\" }}`"),
                );
                table.refuse_key(key, flaw);
            }
            let mut inner = table.table("schedule");
            if !inner.has("cron") {
                inner.missing(
                    Flaw::new("`schedule` does not say when")
                        .hint("write its `cron`, as in \"0 3 * * *\" or \"@daily\""),
                );
            }
            let schedule = times(&mut inner, "cron");
            inner.finish();
            schedule
        }
        Shape::Text | Shape::List | Shape::Other => times(table, "schedule"),
    };
    if shape != Shape::Absent && table.has("max_runs") {
        let flaw = Flaw::new("`max_runs` and `schedule` exclude each other");
        table.refuse_key("max_runs", flaw.hint("remove one of the two"));
    }
    if is_service {
        for key in ["schedule", "max_runs"] {
            let flaw = Flaw::new(format!(
                "`{key}` has no meaning for a service, which runs for ever"
            ))
            .hint("write `type = \"script\"` or `type = \"agent\"`");
            table.refuse_key(key, flaw);
        }
    }
    match (schedule, max_runs) {
        (Some(schedule), _) => RunMode::Schedule(schedule),
        (None, Some(max_runs)) => RunMode::NTimes { max_runs },
        (None, None) => RunMode::Forever,
    }
}

/// The expression under `key` and what belongs to it. `None` where it is not usable.
fn times(table: &mut Table<'_>, key: &'static str) -> Option<Schedule> {
    let time_zone = table.parsed("time_zone", zone_text);
    let missed = table.choice(
        "missed",
        &[("skip", MissedRun::Skip), ("run_once", MissedRun::RunOnce)],
    );
    let overlap = table.choice(
        "overlap",
        &[
            ("skip", Overlap::Skip),
            ("queue", Overlap::Queue),
            ("replace", Overlap::Replace),
        ],
    );
    let schedule = Schedule {
        cron: table.parsed(key, cron_text)?,
        time_zone,
        missed: missed.unwrap_or_default(),
        overlap: overlap.unwrap_or_default(),
    };
    match Cron::new(&schedule) {
        Ok(_) => Some(schedule),
        Err(error) => {
            refuse_cron(table, key, &error);
            None
        }
    }
}

/// A time zone. It is looked at by itself, so that it is also said where the expression is wrong.
pub(super) fn zone_text(text: &str) -> Result<String, Flaw> {
    Cron::check_zone(text)
        .map(|()| text.to_owned())
        .map_err(|error| {
            Flaw::new(error.to_string())
                .hint("write an IANA name, as in \"Europe/Berlin\" or \"UTC\"")
        })
}

/// A cron expression, of which only the length is looked at here.
pub(super) fn cron_text(text: &str) -> Result<String, Flaw> {
    if text.len() <= MAX_TEXT {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!("`{}` is too long", shown(text))))
}

/// Says what is wrong with the cron expression under `key`. The time zone was looked at before.
pub(super) fn refuse_cron(table: &Table<'_>, key: &'static str, error: &CronError) {
    let flaw = Flaw::new(error.to_string());
    match error {
        CronError::Zone(_) => table.refuse("time_zone", flaw),
        CronError::Expression { .. } => table.refuse(
            key,
            flaw.hint(
                "write minute, hour, day of month, month and day of week, as in \
                 \"0 3 * * *\", or a word such as \"@daily\"",
            ),
        ),
        CronError::Never(_) => table.refuse(key, flaw.hint("write a date that exists")),
    }
}
