//! The middle of the screen: a table, a node with its last hour, or a log.

use super::{
    canvas::{Canvas, width_of},
    draw::Drawn,
    log::Log,
    model::{Model, Page},
    news::Kind,
    table::{Cell, Column, Look, Row, Tone},
    text::{age, clock, plain},
    theme::Theme,
};
use crate::{controller::NodeHistory, fleet::NodeView, model::Presence};

/// Between columns.
const GAP: u16 = 2;
/// Columns of a bar.
const BAR: usize = 6;
/// A column that takes what is left is not worth having with less.
const LEAST: u16 = 8;

pub(super) fn page(model: &Model, now: u64, theme: Theme, canvas: &mut Canvas<'_>) -> Drawn {
    match model.page() {
        Page::List(kind, look) => table(model, *kind, look, now, theme, canvas),
        Page::Node(_, look) => {
            let height = canvas.height();
            let mut y = 0;
            if let Some((view, history)) = model.node.as_deref() {
                let head = height.saturating_sub(3).min(5);
                y = node(view, history, now, theme, &mut canvas.lines(0, head));
            }
            let rest = &mut canvas.lines(y, height - y);
            table(model, Kind::Instances, look, now, theme, rest)
        }
        Page::Log(log) => self::log(log, theme, canvas),
    }
}

/// Facts and the last hour. Lines that it took.
fn node(
    n: &NodeView,
    history: &NodeHistory,
    now: u64,
    theme: Theme,
    canvas: &mut Canvas<'_>,
) -> u16 {
    let tone = match n.state {
        Presence::Online => Tone::Good,
        Presence::Silent => Tone::Warn,
        Presence::Offline => Tone::Bad,
    };
    let mut y = 0;
    let mut x = canvas.put(0, y, u16::MAX, n.state.as_str(), theme.of(tone));
    let mut more = format!(" for {}", age(now, n.since_ms));
    if !n.reason.is_empty() {
        more.push_str(&format!(" ({})", n.reason));
    }
    if n.cordoned {
        more.push_str(", cordoned");
    }
    if let Some(f) = &n.facts {
        more.push_str(&format!(" · {}, {} cores · {}", f.arch, f.cpus, f.os));
        more.push_str(&format!(" · agent {}", f.agent_version));
    }
    x = canvas.put(x, y, u16::MAX, &plain(&more), theme.of(Tone::Plain));
    canvas.put(x, y, 1, " ", theme.of(Tone::Plain));
    y += 1;
    let series = [
        ("cpu", "cpu", 0.0, 100.0, "%"),
        ("memory", "memory", 0.0, 100.0, "%"),
        ("temperature", "temp", 20.0, 100.0, "°"),
    ];
    for (name, title, low, high, unit) in series {
        let Some(values) = history.series.get(name) else {
            continue;
        };
        if y >= canvas.height() || values.iter().all(Option::is_none) {
            continue;
        }
        canvas.put(0, y, 7, title, theme.quiet());
        let last = values.iter().rev().flatten().next();
        let heard = n.state == Presence::Online;
        let now_text = match last.filter(|_| heard) {
            Some(v) => format!("{v:>4.0}{unit}"),
            None => "    -".into(),
        };
        canvas.put(7, y, 6, &now_text, theme.of(Tone::Plain));
        let width = usize::from(canvas.width().saturating_sub(14)).min(120);
        let line = sparkline(values, low, high, width);
        canvas.put(
            14,
            y,
            u16::MAX,
            &line,
            theme.of(if heard { Tone::Good } else { Tone::Dim }),
        );
        y += 1;
    }
    if y < canvas.height() && y == 1 {
        canvas.put(
            0,
            y,
            u16::MAX,
            "nothing measured in the last hour",
            theme.quiet(),
        );
        y += 1;
    }
    y.min(canvas.height())
}

/// The values in so many columns, the highest of each; a gap where nothing was measured.
pub(super) fn sparkline(values: &[Option<f32>], low: f32, high: f32, width: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = width.min(values.len());
    let column = |at: usize| {
        let part = &values[at * values.len() / width..(at + 1) * values.len() / width];
        let most = part.iter().flatten().copied().reduce(f32::max);
        most.map_or(' ', |value| {
            let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
            // Not a number, from whoever sends it, is the lowest.
            let step = (share * 7.0).round();
            STEPS[if step.is_finite() { step as usize } else { 0 }.min(7)]
        })
    };
    (0..width).map(column).collect()
}

fn log(log: &Log, theme: Theme, canvas: &mut Canvas<'_>) -> Drawn {
    let lines = usize::from(canvas.height());
    let end = log.lines.len() - log.below.min(log.lines.len());
    let start = end.saturating_sub(lines);
    if log.lines.is_empty() {
        canvas.put(0, 0, u16::MAX, "no lines yet", theme.quiet());
    }
    for (y, line) in (0..).zip(log.lines.range(start..end)) {
        let mut x = 0;
        if line.time_ms > 0 && canvas.width() >= 60 {
            x = canvas.put(0, y, 9, &(clock(line.time_ms) + " "), theme.quiet());
        }
        let style = match () {
            () if log.found(line) => theme.marked(),
            () if line.other => theme.of(Tone::Warn),
            () => theme.of(Tone::Plain),
        };
        canvas.put(x, y, u16::MAX, &line.text, style);
    }
    Drawn { lines, top: start }
}

fn table(
    model: &Model,
    kind: Kind,
    look: &Look,
    now: u64,
    theme: Theme,
    canvas: &mut Canvas<'_>,
) -> Drawn {
    let rows = model.rows(kind);
    let head = u16::from(canvas.height() >= 2);
    let lines = usize::from(canvas.height() - head);
    let window = look.window(lines);
    let visible: Vec<&Row> = look.order[window.clone()]
        .iter()
        .filter_map(|at| rows.get(*at as usize))
        .collect();
    let columns = kind.columns();
    let cells: Vec<Vec<(String, Tone)>> = visible
        .iter()
        .map(|row| row.cells.iter().map(|cell| shown(cell, now)).collect())
        .collect();
    let widths = widths(columns, &cells, canvas.width());
    let drawn = Drawn {
        lines,
        top: window.start,
    };
    if visible.is_empty() {
        let text = empty(model, kind, look);
        canvas.put(0, 0, u16::MAX, &text, theme.quiet());
        return drawn;
    }
    if head > 0 {
        let mut x = 0;
        for (at, (column, width)) in columns.iter().zip(&widths).enumerate() {
            let Some(width) = *width else { continue };
            let mark = match (at == look.sort && !look.unsorted, look.reverse) {
                (false, _) => "",
                (true, false) => "▾",
                (true, true) => "▴",
            };
            let text = format!("{}{mark}", column.head);
            canvas.put(x, 0, width + GAP - 1, &text, theme.bold());
            x += width + GAP;
        }
    }
    for ((y, (row, texts)), place) in (head..).zip(visible.iter().zip(&cells)).zip(window) {
        let mut x = 0;
        for ((cell, (text, tone)), width) in row.cells.iter().zip(texts).zip(&widths) {
            let Some(width) = *width else { continue };
            let style = theme.of(*tone);
            match cell {
                Cell::Number(_) | Cell::Degrees(_) | Cell::Ratio(..) => {
                    canvas.put_right(x + width, y, text, style);
                }
                _ => {
                    canvas.put(x, y, width, text, style);
                    if width_of(text) > width && width > 1 {
                        canvas.put(x + width - 1, y, 1, "…", style);
                    }
                }
            }
            x += width + GAP;
        }
        if place == look.place {
            canvas.paint(y, theme.selected());
        }
    }
    drawn
}

/// What stands where there is no row.
fn empty(model: &Model, kind: Kind, look: &Look) -> String {
    if !look.filter.is_empty() {
        return format!(
            "nothing has `{}` in it; Esc takes the filter away",
            look.filter
        );
    }
    let text = match kind {
        _ if !model.rows.contains_key(&kind) => "…",
        Kind::Nodes => "no nodes yet: `fleetctl token create` makes a join line",
        Kind::Instances | Kind::Workloads => "nothing runs: `fleetctl apply -f app.toml`",
        Kind::Rollouts => "there was no rollout yet",
        Kind::Alerts if model.no_alerts => "no alerts here",
        Kind::Alerts => "no alerts",
        Kind::Events => "nothing has happened yet",
    };
    text.to_owned()
}

/// As wide as what is visible; columns that do not fit are left out, by their rank.
fn widths(columns: &[Column], cells: &[Vec<(String, Tone)>], room: u16) -> Vec<Option<u16>> {
    let wanted = |at: usize, column: &Column| {
        let texts = cells.iter().filter_map(|row| row.get(at));
        let widest = texts.map(|(text, _)| width_of(text)).max().unwrap_or(0);
        widest.min(column.max).max(width_of(column.head) + 1)
    };
    let mut all: Vec<Option<u16>> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Some(wanted(at, column)))
        .collect();
    let last = columns.len().saturating_sub(1);
    loop {
        let present = all.iter().flatten();
        let taken = present.map(|w| u32::from(*w) + u32::from(GAP)).sum::<u32>();
        let over = taken.saturating_sub(u32::from(room) + u32::from(GAP));
        let over = u16::try_from(over).unwrap_or(u16::MAX);
        if over == 0 {
            return all;
        }
        // The last one is cut first, then columns go, then the widest gets narrower.
        if let Some(Some(width)) = all.get_mut(last)
            && *width > LEAST
        {
            *width = width.saturating_sub(over).max(LEAST);
            continue;
        }
        let ranked = columns.iter().enumerate();
        let next = ranked.filter(|(at, c)| c.rank > 0 && all[*at].is_some());
        if let Some((at, _)) = next.max_by_key(|(_, c)| c.rank) {
            all[at] = None;
            continue;
        }
        let widest = (0..all.len()).max_by_key(|at| all[*at]);
        match widest.and_then(|at| all[at].as_mut()) {
            Some(width) if *width > 1 => *width -= 1,
            _ => return all,
        }
    }
}

/// A cell as text, and how it is to be taken.
pub(super) fn shown(cell: &Cell, now: u64) -> (String, Tone) {
    match cell {
        Cell::Text(text) => (text.clone(), Tone::Plain),
        Cell::State(text, tone) | Cell::Severity(text, tone) => (text.clone(), *tone),
        Cell::Number(n) => (n.to_string(), Tone::Plain),
        Cell::Ratio(None, want, _) => (format!("?/{want}"), Tone::Dim),
        Cell::Ratio(Some(have), want, resting) => {
            let tone = match () {
                () if have.saturating_add(*resting) >= *want => Tone::Plain,
                () if *have == 0 => Tone::Bad,
                () => Tone::Warn,
            };
            (format!("{have}/{want}"), tone)
        }
        Cell::Since(ms) => (age(now, *ms), Tone::Plain),
        Cell::Clock(ms) => (clock(*ms), Tone::Dim),
        Cell::Percent(None) | Cell::Degrees(None) => ("-".into(), Tone::Dim),
        Cell::Percent(Some(value)) => {
            let text = format!("{} {value:>3.0}%", bar(*value));
            (text, high(*value, 75.0, 90.0))
        }
        Cell::Degrees(Some(value)) => (format!("{value:.0}°"), high(*value, 70.0, 80.0)),
    }
}

fn high(value: f32, warn: f32, bad: f32) -> Tone {
    match value {
        v if v >= bad => Tone::Bad,
        v if v >= warn => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// A percentage in eighths of columns.
fn bar(percent: f32) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = (percent / 100.0).clamp(0.0, 1.0);
    let eighths = (share * BAR as f32 * 8.0).round();
    let eighths = if eighths.is_finite() {
        eighths as usize
    } else {
        0
    };
    let mut out = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        out.push(PARTS[eighths % 8]);
    }
    let filled = out.chars().count();
    out.extend(std::iter::repeat_n('·', BAR.saturating_sub(filled)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_share() {
        assert_eq!(bar(0.0), "······");
        assert_eq!(bar(50.0), "███···");
        assert_eq!(bar(100.0), "██████");
        assert_eq!(bar(f32::NAN), "······");
        assert_eq!(bar(1e30), "██████");
    }

    #[test]
    fn a_sparkline_has_a_gap_where_nothing_was_measured() {
        let values = [Some(0.0), None, Some(100.0), Some(50.0)];
        assert_eq!(sparkline(&values, 0.0, 100.0, 4), "▁ █▅");
        assert_eq!(sparkline(&values, 0.0, 100.0, 2), "▁█");
        assert_eq!(sparkline(&[], 0.0, 100.0, 9), "");
        assert_eq!(sparkline(&[Some(f32::NAN)], 0.0, 100.0, 9), "▁");
    }
}
