//! The screen, made of the model: `render(model, now) -> cells`.
//!
//! ```text
//!  fleetctl top · lab                     controller 0.2.0 · 08:30:00 UTC · connected
//!  controller lost since … (only when it is)
//!  nodes 5: 4 online, 1 offline · instances 12 of 13 run · 1 alert
//!  1 Nodes  2 Instances  3 Workloads  4 Rollouts  5 Alerts  6 Events       filter …
//!  NAME   STATE   …
//!  …
//!  keys, or what is typed, or how something ended
//! ```
//!
//! Where there are few lines, those that one can do without go first.

use super::{
    canvas::{Canvas, width_of},
    draw_page,
    model::{Mode, Model, Page},
    news::Kind,
    table::Tone,
    text::{age, clock},
    theme::Theme,
};
use ratatui::buffer::Buffer;

/// What drawing found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Lines of the table or log.
    pub(super) lines: usize,
    /// The first row that is visible.
    pub(super) top: usize,
}

/// Draws everything.
pub(super) fn render(model: &Model, now: u64, colours: bool, buffer: &mut Buffer) -> Drawn {
    let theme = Theme {
        colours,
        stale: model.is_stale(now),
    };
    let mut canvas = Canvas::new(buffer);
    let (width, height) = (canvas.width(), canvas.height());
    if width == 0 || height == 0 {
        return Drawn::default();
    }
    let mut y = 0;
    if height >= 3 {
        title(model, now, theme, &mut canvas);
        y += 1;
    }
    if theme.stale && height >= 2 {
        lost(model, now, theme, &mut canvas.lines(y, 1));
        y += 1;
    }
    if height >= 9 {
        counts(model, theme, &mut canvas.lines(y, 1));
        y += 1;
    }
    if height >= 6 {
        tabs(model, theme, &mut canvas.lines(y, 1));
        y += 1;
    }
    let asks = matches!(model.mode, Mode::Typing | Mode::Confirm(_)) || model.told.is_some();
    let foot = u16::from(height >= 6 || (asks && height >= 2));
    let body = height.saturating_sub(y + foot);
    let drawn = draw_page::page(model, now, theme, &mut canvas.lines(y, body));
    if foot > 0 {
        footer(model, theme, &mut canvas.lines(height - 1, 1));
    }
    if model.mode == Mode::Help {
        help(model, theme, &mut canvas.lines(y, body + foot));
    }
    drawn
}

fn title(model: &Model, now: u64, theme: Theme, canvas: &mut Canvas<'_>) {
    let (word, tone) = match () {
        () if model.lost.is_some() => ("lost", Tone::Bad),
        () if model.heard_ms == 0 => ("connecting", Tone::Warn),
        () if theme.stale => ("no answer", Tone::Bad),
        () => ("connected", Tone::Good),
    };
    let awake = Theme {
        stale: false,
        ..theme
    };
    let end = canvas.width();
    canvas.put_right(end, 0, word, awake.of(tone));
    let mut end = end.saturating_sub(width_of(word));
    let version = match model.hello.version.as_str() {
        "" => String::new(),
        version => format!("controller {version} · "),
    };
    let time = clock(now);
    for text in [format!("{version}{time} UTC · "), format!("{time} · ")] {
        if width_of(&text) + 24 <= end {
            canvas.put_right(end, 0, &text, theme.quiet());
            end -= width_of(&text);
            break;
        }
    }
    let room = end.saturating_sub(1);
    let x = canvas.put(0, 0, room, "fleetctl top", theme.bold());
    let context = format!(" · {}", model.context);
    canvas.put(x, 0, room.saturating_sub(x), &context, theme.quiet());
}

fn lost(model: &Model, now: u64, theme: Theme, canvas: &mut Canvas<'_>) {
    canvas.paint(0, theme.alarm());
    let (since, why) = match &model.lost {
        Some((since, why)) => (*since, why.as_str()),
        None if model.heard_ms == 0 => (now, "it has not answered yet"),
        None => (model.heard_ms, "it does not answer"),
    };
    let (at, ago) = (clock(since), age(now, since));
    let text = format!(" controller lost since {at} UTC ({ago}), values are old: {why}");
    canvas.put(0, 0, canvas.width(), &text, theme.alarm());
}

fn counts(model: &Model, theme: Theme, canvas: &mut Canvas<'_>) {
    let c = model.counts;
    let all = c.online + c.silent + c.offline;
    let nodes = if all == 1 { "node" } else { "nodes" };
    let mut parts = vec![(format!("{all} {nodes}: "), Tone::Plain)];
    let mut states = vec![(format!("{} online", c.online), Tone::Good)];
    if c.silent > 0 {
        states.push((format!("{} silent", c.silent), Tone::Warn));
    }
    if c.offline > 0 {
        states.push((format!("{} offline", c.offline), Tone::Bad));
    }
    for (at, state) in states.into_iter().enumerate() {
        if at > 0 {
            parts.push((", ".into(), Tone::Plain));
        }
        parts.push(state);
    }
    if let Some(tally) = &model.tally {
        let tone = match tally.is_well() {
            true => Tone::Good,
            false => Tone::Warn,
        };
        parts.push((" · instances ".into(), Tone::Plain));
        parts.push((tally.text(), tone));
    }
    if c.firing > 0 {
        let s = if c.firing == 1 { "" } else { "s" };
        parts.push((" · ".into(), Tone::Plain));
        parts.push((format!("{} alert{s}", c.firing), Tone::Bad));
    }
    let mut x = 0;
    for (text, tone) in parts {
        x = canvas.put(x, 0, u16::MAX, &text, theme.of(tone));
    }
}

fn tabs(model: &Model, theme: Theme, canvas: &mut Canvas<'_>) {
    let mut x = 0;
    let width = canvas.width();
    let here = match model.page() {
        Page::List(kind, look) if look.scope.workload.is_none() => Some(*kind),
        _ => None,
    };
    if let Some(here) = here {
        for (at, kind) in Kind::ALL.iter().enumerate() {
            let style = if *kind == here {
                theme.marked()
            } else {
                theme.quiet()
            };
            // On a narrow terminal only the open one has its name.
            let text = match width >= 72 || *kind == here {
                true => format!("{} {}", at + 1, kind.title()),
                false => format!("{}", at + 1),
            };
            x = canvas.put(x, 0, u16::MAX, &text, style);
            x = canvas.put(x, 0, 2, "  ", theme.quiet());
        }
    } else {
        let name = match model.page() {
            Page::Node(node, _) => format!("node {node}"),
            Page::Log(log) => format!("log of {} on {}", log.workload, log.node),
            Page::List(_, look) => {
                let workload = look.scope.workload.as_ref();
                workload.map_or(String::new(), |w| format!("instances of {w}"))
            }
        };
        x = canvas.put(0, 0, u16::MAX, &name, theme.marked());
        x = canvas.put(x, 0, u16::MAX, "  (Esc goes back)", theme.quiet());
    }
    let said = match model.page() {
        Page::List(kind, look) if !look.filter.is_empty() => {
            let all = model.rows(*kind).len();
            format!("filter {}: {} of {all}", look.filter, look.order.len())
        }
        Page::Node(_, look) if !look.filter.is_empty() => format!("filter {}", look.filter),
        Page::Log(log) if log.paused => match log.waiting {
            0 => "paused".to_owned(),
            n => format!("paused, {n} new"),
        },
        Page::Log(log) if !log.search.is_empty() => format!("search {}", log.search),
        _ => String::new(),
    };
    if x + width_of(&said) + 1 < width {
        canvas.put_right(width, 0, &said, theme.of(Tone::Warn));
    }
}

fn footer(model: &Model, theme: Theme, canvas: &mut Canvas<'_>) {
    let width = canvas.width();
    let awake = Theme {
        stale: false,
        ..theme
    };
    match &model.mode {
        Mode::Typing => {
            let text = match model.page() {
                Page::List(_, look) | Page::Node(_, look) => &look.filter,
                Page::Log(log) => &log.search,
            };
            let x = canvas.put(0, 0, width, "/", theme.bold());
            // What was typed last is seen, however long it is.
            let room = width.saturating_sub(x + 1);
            let mut from = 0;
            while width_of(&text[from..]) > room {
                from += text[from..].chars().next().map_or(1, char::len_utf8);
            }
            let x = canvas.put(x, 0, room, &text[from..], theme.bold());
            canvas.put(x, 0, 1, "█", theme.bold());
        }
        Mode::Confirm(action) => {
            let text = format!("{}? y / n", action.what);
            canvas.put(0, 0, width, &text, awake.of(Tone::Warn));
        }
        Mode::Normal | Mode::Help => match &model.told {
            Some((_, text, good)) => {
                let tone = if *good { Tone::Good } else { Tone::Bad };
                canvas.put(0, 0, width, text, awake.of(tone));
            }
            None => {
                let keys = match model.page() {
                    Page::Log(_) => {
                        "p pause  ↑↓ scroll  End follow  / search  n N hits  ? help  q quit"
                    }
                    _ => "1-6 views  ↑↓ select  Enter into  / filter  s r sort  ? help  q quit",
                };
                canvas.put(0, 0, width, keys, theme.quiet());
            }
        },
    }
}

fn help(model: &Model, theme: Theme, canvas: &mut Canvas<'_>) {
    let mut lines = vec![
        (
            "1-6, Tab, ←→",
            "nodes, instances, workloads, rollouts, alerts, events",
        ),
        ("↑↓ j k", "select; PgUp, PgDn, Home, End too"),
        (
            "Enter",
            "into it: a node's hour and instances, an instance's log",
        ),
        ("Esc", "take the filter away, or go back"),
        ("/", "filter: every word must be found; in a log: search"),
        ("s S  r", "sort by the next or previous column, turn round"),
        ("p, n N", "in a log: pause, the next hit above or below"),
        ("Ctrl-L", "draw anew; Ctrl-Z: to the shell and back by fg"),
        ("q, Ctrl-C", "quit"),
    ];
    if model.hello.may_change {
        lines.push((
            "R X B",
            "restart, stop, start what is selected (asks first)",
        ));
        lines.push(("C", "cordon or uncordon the node (asks first)"));
    }
    canvas.clear();
    canvas.put(0, 0, u16::MAX, "Keys", theme.bold());
    for (y, (key, what)) in (1..).zip(lines) {
        canvas.put(1, y, 13, key, theme.marked());
        canvas.put(15, y, u16::MAX, what, ratatui::style::Style::new());
    }
}
