//! `versions` and `workload history`: what runs where, and what was before.

use super::{
    Failure,
    args::{HistoryArgs, VersionsArgs},
    client::Client,
    output, ps,
};
use crate::{
    fleet::{RevisionVerdict, RevisionView, RunningVersion, VersionsView},
    model::Name,
};
use std::fmt::Write;

const HEAD: [&str; 5] = ["WORKLOAD", "VERSION", "INSTANCES", "WANTED", "NODES"];
/// Names of nodes in a line, unless all are asked for.
const NAMES: usize = 5;

pub(super) async fn run(client: &mut Client, args: VersionsArgs) -> Result<(), Failure> {
    let format = args.output.output;
    let show = async |client: &mut Client| {
        let mut all: Vec<VersionsView> = client.list("/api/v1/versions").await?;
        if !args.workloads.is_empty() {
            all.retain(|v| args.workloads.contains(&v.workload));
        }
        if !output::is_for_people(format) {
            return output::render_list(format, &all, &HEAD, |_, _| Vec::new());
        }
        let lines: Vec<Line> = all.iter().flat_map(lines).collect();
        output::render_list(format, &lines, &HEAD, row)
    };
    ps::watch(args.watch, show, client).await
}

/// One version of one workload.
#[derive(serde::Serialize)]
struct Line<'a> {
    workload: &'a Name,
    version: &'a str,
    wanted: bool,
    /// Each with a mark where it cannot be heard.
    nodes: Vec<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

fn lines(view: &VersionsView) -> Vec<Line<'_>> {
    let running = |r: &RunningVersion| {
        let mark = |n: &Name| match r.unheard.contains(n) {
            true => format!("{n} (not heard)"),
            false => n.to_string(),
        };
        r.nodes.iter().map(mark).collect()
    };
    let mut lines: Vec<Line<'_>> = view
        .running
        .iter()
        .map(|r| Line {
            workload: &view.workload,
            version: &r.version,
            wanted: r.wanted,
            nodes: running(r),
            reason: r.reason.as_deref(),
        })
        .collect();
    // A workload that runs nowhere is shown with the version that is to run.
    if lines.is_empty() || !view.unknown.is_empty() {
        let mark = |n: &Name| format!("{n} (said nothing yet)");
        let nodes = view.unknown.iter().map(mark).collect();
        match lines.iter_mut().find(|l| l.wanted) {
            Some(line) => line.nodes.extend::<Vec<String>>(nodes),
            None => lines.insert(
                0,
                Line {
                    workload: &view.workload,
                    version: &view.wanted,
                    wanted: true,
                    nodes,
                    reason: None,
                },
            ),
        }
    }
    lines
}

fn row(line: &Line<'_>, wide: bool) -> Vec<String> {
    let shown = if wide { line.nodes.len() } else { NAMES };
    let more = line.nodes.len().saturating_sub(shown);
    let mut nodes = line.nodes[..line.nodes.len() - more].join(", ");
    if more > 0 {
        let _ = write!(nodes, " and {more} more");
    }
    if line.nodes.is_empty()
        && let Some(why) = line.reason
    {
        nodes = format!("none: {}", output::short(why, if wide { 200 } else { 80 }));
    }
    vec![
        line.workload.to_string(),
        line.version.to_owned(),
        line.nodes.len().to_string(),
        if line.wanted { "yes" } else { "no" }.into(),
        nodes,
    ]
}

const REVISIONS: [&str; 7] = [
    "REVISION", "VERSION", "VERDICT", "NODES", "APPLIED", "BY", "CHANGED",
];

pub(super) async fn history(client: &mut Client, args: HistoryArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/workloads/{}/history", args.workload);
    let all: Vec<RevisionView> = client.get(&path).await?;
    let format = args.output.output;
    if args.diff && output::is_for_people(format) {
        let texts: Vec<String> = all.iter().map(difference).collect();
        return output::print(&texts.concat());
    }
    output::list(format, &all, &REVISIONS, revision)
}

fn revision(r: &RevisionView, wide: bool) -> Vec<String> {
    let changed: Vec<&str> = r.fields.iter().map(|f| f.field.as_str()).collect();
    vec![
        match r.wanted {
            true => format!("{} (wanted)", r.revision),
            false => r.revision.to_string(),
        },
        r.version.clone(),
        verdict(r.verdict).into(),
        r.nodes.to_string(),
        format!("{} ago", output::ago(r.applied_ms)),
        r.by.clone().unwrap_or_else(|| "-".into()),
        output::short(&changed.join(", "), if wide { 400 } else { 60 }),
    ]
}

fn verdict(verdict: RevisionVerdict) -> &'static str {
    match verdict {
        RevisionVerdict::Untried => "untried",
        RevisionVerdict::Good => "good",
        RevisionVerdict::Bad => "bad",
        RevisionVerdict::TakenBack => "taken back",
    }
}

/// A revision, and field by field what it changed.
fn difference(r: &RevisionView) -> String {
    let by =
        r.by.as_ref()
            .map(|by| format!(" by {}", output::visible(by)));
    let mut out = format!(
        "{} {} ({}), {} UTC{}\n",
        r.revision,
        output::visible(&r.version),
        verdict(r.verdict),
        output::utc(r.applied_ms),
        by.unwrap_or_default()
    );
    for f in &r.fields {
        let (from, to) = (f.from.to_string(), f.to.to_string());
        let (from, to) = (output::short(&from, 120), output::short(&to, 120));
        let line = output::visible(&format!("{}: {from} -> {to}", f.field));
        let _ = writeln!(out, "    {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn each_version_is_a_line_and_nobody_is_left_out() {
        let view = VersionsView {
            workload: name("web"),
            wanted: "2".into(),
            revision: 2,
            nodes: 3,
            running: vec![RunningVersion {
                version: "1".into(),
                wanted: false,
                nodes: vec![name("a"), name("b")],
                unheard: vec![name("b")],
                reason: None,
            }],
            unknown: vec![name("c")],
        };
        let rows: Vec<Vec<String>> = lines(&view).iter().map(|l| row(l, false)).collect();
        assert_eq!(rows[0], ["web", "2", "1", "yes", "c (said nothing yet)"]);
        assert_eq!(rows[1], ["web", "1", "2", "no", "a, b (not heard)"]);
    }

    #[test]
    fn a_wanted_version_that_runs_nowhere_is_shown_with_the_reason() {
        let mut view = VersionsView {
            workload: name("web"),
            wanted: "2".into(),
            revision: 2,
            nodes: 1,
            running: vec![RunningVersion {
                version: "2".into(),
                wanted: true,
                nodes: Vec::new(),
                unheard: Vec::new(),
                reason: Some("it is held".into()),
            }],
            unknown: Vec::new(),
        };
        let rows = |view: &VersionsView| -> Vec<Vec<String>> {
            lines(view).iter().map(|l| row(l, false)).collect()
        };
        assert_eq!(rows(&view), [["web", "2", "0", "yes", "none: it is held"]]);
        view.unknown = vec![name("c")];
        assert_eq!(rows(&view)[0][4], "c (said nothing yet)");
    }

    #[test]
    fn many_nodes_are_counted_unless_all_are_asked_for() {
        let workload = name("web");
        let line = Line {
            workload: &workload,
            version: "1",
            wanted: true,
            nodes: (0..9).map(|i| format!("pi-{i}")).collect(),
            reason: None,
        };
        assert!(row(&line, false)[4].ends_with("pi-4 and 4 more"));
        assert!(row(&line, true)[4].ends_with("pi-8"));
    }
}
