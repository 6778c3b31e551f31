//! `[workload.<name>.update]`: in which steps a workload is changed to another version, and what
//! must hold before the next step.
//!
//! Three times bound each other, `min_healthy_time` ≤ `healthy_deadline` ≤ `progress_deadline`; and
//! where a workload has no health check, its own `min_healthy_time` must fit in as well.
//! One that is written wins; a default yields to it, so that a person who writes one of them need
//! not know the other two.

use super::{
    getters::Shape,
    quantity::duration_text,
    schedule::{cron_text, refuse_cron, zone_text},
    shown,
    span::Flaw,
    table::Table,
    word::label_key,
};
use crate::model::{Budget, Cron, Schedule, Share, Update, Window};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The most nodes that a number can mean, ten times the largest fleet.
const MAX_NODES: u32 = 100_000;
/// The most times of one kind in which something may be done.
const MAX_WINDOWS: usize = 16;

/// The key `update` of a workload; `None` where it is not written. `up_ms`: so long it must be up to
/// count as healthy at all.
pub(crate) fn read(workload: &mut Table<'_>, up_ms: u64) -> Option<Update> {
    let mut table = workload.table("update");
    if !table.is_present() {
        return None;
    }
    let default = Update::default();
    let max_parallel = share(&mut table, "max_parallel");
    let canary = table.count_within("canary", 0..=MAX_NODES).unwrap_or(0);
    let auto_promote = table.bool("auto_promote").unwrap_or(default.auto_promote);
    if !auto_promote && canary == 0 {
        let flaw = Flaw::new("`auto_promote = false` has no meaning without `canary`");
        table.refuse(
            "auto_promote",
            flaw.hint("write how many nodes change first, as in `canary = 1`"),
        );
    }
    let (min_healthy_time_ms, healthy_deadline_ms, progress_deadline_ms) = times(&mut table, up_ms);
    let update = Update {
        max_parallel: max_parallel.unwrap_or(default.max_parallel),
        canary,
        auto_promote,
        min_healthy_time_ms,
        healthy_deadline_ms,
        progress_deadline_ms,
        auto_rollback: table.bool("auto_rollback").unwrap_or(default.auto_rollback),
        sequence: table.parsed("sequence", label_key),
        budget: budget(&mut table),
        windows: windows(&mut table, "windows"),
        download_windows: windows(&mut table, "download_windows"),
    };
    table.finish();
    Some(update)
}

/// `3` or `"20%"`.
fn share(table: &mut Table<'_>, key: &'static str) -> Option<Share> {
    if table.shape(key) == Shape::Text {
        return table.parsed(key, |text| {
            let fits = |share: &Share| !matches!(share, Share::Count(count) if *count > MAX_NODES);
            text.parse().ok().filter(fits).ok_or_else(|| {
                let flaw = Flaw::new(format!("`{}` is no part of the nodes", shown(text)));
                flaw.hint("write a part from \"1%\" to \"100%\", or a number of nodes such as 3")
            })
        });
    }
    let count = table.count_within(key, 1..=MAX_NODES)?;
    Some(Share::Count(count))
}

/// `min_healthy_time`, `healthy_deadline` and `progress_deadline`.
fn times(table: &mut Table<'_>, up_ms: u64) -> (u64, u64, u64) {
    let default = Update::default();
    let min_healthy = table.ms_within("min_healthy_time", 0..=HOUR);
    let healthy = table.ms_within("healthy_deadline", SECOND..=DAY);
    let progress = table.ms_within("progress_deadline", SECOND..=7 * DAY);

    let healthy_ms = healthy.unwrap_or_else(|| {
        let usual = default.healthy_deadline_ms;
        // Time to become healthy at all must be left beside the time of being it.
        let least = match min_healthy {
            Some(min) if min >= usual => min + usual,
            _ => usual,
        };
        let needed = up_ms + min_healthy.unwrap_or(default.min_healthy_time_ms);
        let least = match needed >= least {
            true => needed + usual,
            false => least,
        };
        least.min(progress.unwrap_or(u64::MAX))
    });
    let min_healthy_ms = min_healthy.unwrap_or_else(|| {
        let usual = default.min_healthy_time_ms;
        let left = healthy_ms.saturating_sub(up_ms);
        if usual < left { usual } else { left / 2 }
    });
    let progress_ms = progress.unwrap_or_else(|| {
        let usual = default.progress_deadline_ms;
        if usual > healthy_ms {
            usual
        } else {
            healthy_ms + usual
        }
    });
    if healthy_ms < min_healthy_ms {
        // A deadline that is not written is the shorter one only for the sake of the other.
        let key = match healthy {
            Some(_) => "healthy_deadline",
            None => "progress_deadline",
        };
        let flaw = Flaw::new(format!("`{key}` is shorter than `min_healthy_time`"));
        let hint = format!(
            "nothing can have been healthy for {} by then",
            duration_text(min_healthy_ms)
        );
        table.refuse(key, flaw.hint(hint));
    } else if up_ms > 0 && healthy_ms <= up_ms + min_healthy_ms {
        let key = match healthy {
            Some(_) => "healthy_deadline",
            None => "progress_deadline",
        };
        let (up, min) = (duration_text(up_ms), duration_text(min_healthy_ms));
        let flaw = Flaw::new(format!(
            "`{key}` must be longer than the workload's own `min_healthy_time` ({up}) and \
             `update.min_healthy_time` ({min}) together"
        ));
        let hint = format!(
            "without a health check an instance is healthy once it has been up for {up}: write a \
             deadline above {}, or a shorter `min_healthy_time`",
            duration_text(up_ms + min_healthy_ms)
        );
        table.refuse(key, flaw.hint(hint));
    } else if progress_ms < healthy_ms {
        let flaw = Flaw::new("`progress_deadline` is shorter than `healthy_deadline`");
        let hint = format!(
            "a single node may take {} to become healthy",
            duration_text(healthy_ms)
        );
        table.refuse("progress_deadline", flaw.hint(hint));
    }
    (min_healthy_ms, healthy_ms, progress_ms)
}

/// `budget = { label = "rack", max_unavailable = 1 }`.
fn budget(table: &mut Table<'_>) -> Option<Budget> {
    let mut inner = table.table("budget");
    if !inner.is_present() {
        return None;
    }
    for (key, hint) in [
        (
            "label",
            "write the label whose value makes a group, as in `label = \"rack\"`",
        ),
        (
            "max_unavailable",
            "write how many of a group may be without a healthy instance, as in \
             `max_unavailable = 1`",
        ),
    ] {
        if !inner.has(key) {
            inner.missing(Flaw::new(format!("`budget` has no `{key}`")).hint(hint));
        }
    }
    let label = inner.parsed("label", label_key);
    let max_unavailable = share(&mut inner, "max_unavailable");
    inner.finish();
    Some(Budget {
        label: label?,
        max_unavailable: max_unavailable?,
    })
}

/// `[{ opens = "0 2 * * *", duration = "2h", time_zone = "Europe/Berlin" }]`.
fn windows(table: &mut Table<'_>, key: &'static str) -> Vec<Window> {
    let mut windows = Vec::new();
    let items = table.items(key, MAX_WINDOWS);
    let written = table.entry(key).and_then(|entry| entry.value.as_list());
    if written.is_some_and(|list| list.is_empty()) {
        // Nobody knows whether that was to mean never or always.
        let flaw = Flaw::new(format!("`{key}` has no window, and so would never open"));
        table.refuse(
            key,
            flaw.hint("write one, or leave the key out: then it is open at any time"),
        );
    }
    for item in items {
        let inner = table.below(item);
        if !inner.is_present() {
            let flaw = Flaw::new(format!(
                "each item of `{key}` must be a table, not {}",
                item.kind()
            ));
            table.refuse_at(
                item.span.clone(),
                flaw.hint("write `{ opens = \"0 2 * * *\", duration = \"2h\" }`"),
            );
            continue;
        }
        windows.extend(window(inner));
    }
    windows
}

/// One window. `None` where it is not usable; that is on record then.
fn window(mut table: Table<'_>) -> Option<Window> {
    for (key, hint) in [
        (
            "opens",
            "write a cron expression, as in `opens = \"0 2 * * *\"`",
        ),
        (
            "duration",
            "write for how long it is open, as in `duration = \"2h\"`",
        ),
    ] {
        if !table.has(key) {
            table.missing(Flaw::new(format!("the window has no `{key}`")).hint(hint));
        }
    }
    let opens = table.parsed("opens", cron_text);
    let duration_ms = table.ms_within("duration", MINUTE..=7 * DAY);
    let time_zone = table.parsed("time_zone", zone_text);
    let opens = opens.and_then(|cron| {
        let schedule = Schedule {
            cron,
            time_zone: time_zone.clone(),
            ..Schedule::default()
        };
        match Cron::new(&schedule) {
            Ok(_) => Some(schedule.cron),
            Err(error) => {
                refuse_cron(&table, "opens", &error);
                None
            }
        }
    });
    table.finish();
    Some(Window {
        opens: opens?,
        duration_ms: duration_ms?,
        time_zone,
    })
}
