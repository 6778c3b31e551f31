//! How releases, plans and nodes are shown.

use super::super::{Failure, apply::places, args::Format, output};
use crate::{
    fleet::{AS_INSTALLED, UpgradeNode, UpgradeStanding},
    http::{UpgradeResponse, UpgradeView},
};
use serde::Serialize;
use std::fmt::Write;

const RELEASES: [&str; 5] = ["VERSION", "ARCH", "SIZE", "WANTED", "SHA256"];
const NODES: [&str; 7] = [
    "NODE", "VERSION", "ARCH", "STANDING", "TOLD", "STATE", "REASON",
];

/// One binary.
#[derive(Serialize)]
struct Line<'a> {
    version: &'a str,
    arch: &'a str,
    size: u64,
    sha256: String,
    wanted: bool,
}

/// `upgrade ls`.
pub(super) fn releases(format: Format, view: &UpgradeView) -> Result<(), Failure> {
    let binaries = view.releases.iter().flat_map(|(version, binaries)| {
        binaries.iter().map(|(arch, binary)| Line {
            version,
            arch,
            size: binary.size,
            sha256: binary.sha256.to_string(),
            wanted: view.version.as_ref() == Some(version),
        })
    });
    let lines: Vec<Line<'_>> = binaries.collect();
    output::list(format, &lines, &RELEASES, |line, wide| {
        let digest = line.sha256.trim_start_matches("sha256:");
        vec![
            line.version.to_owned(),
            line.arch.to_owned(),
            output::bytes(line.size),
            if line.wanted { "yes" } else { "-" }.into(),
            match wide {
                true => digest.to_owned(),
                false => digest.chars().take(12).collect(),
            },
        ]
    })
}

/// All of it, for programs.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    view: &'a UpgradeView,
    items: &'a [UpgradeNode],
}

/// `upgrade status`.
pub(super) fn status(
    format: Format,
    view: &UpgradeView,
    nodes: &[UpgradeNode],
) -> Result<String, Failure> {
    match format {
        Format::Json => {
            let all = Status { view, items: nodes };
            return Ok(serde_json::to_string_pretty(&all)? + "\n");
        }
        Format::Yaml => {
            let all = Status { view, items: nodes };
            return serde_saphyr::to_string(&all).map_err(|e| Failure::new(e.to_string()));
        }
        Format::Table | Format::Wide => {}
    }
    let mut out = head(view) + "\n";
    if !nodes.is_empty() {
        out += &output::render_list(format, nodes, &NODES, row)?;
    }
    Ok(out)
}

/// What is wanted, and how far it has come.
fn head(view: &UpgradeView) -> String {
    let counts = view.nodes.iter();
    let counts: Vec<String> = counts.map(|(s, n)| format!("{n} {}", s.as_str())).collect();
    let counts = counts.join(", ");
    let Some(version) = &view.version else {
        return "no release is wanted: every board keeps what is installed on it".into();
    };
    let wanted = match version.as_str() {
        AS_INSTALLED => "every board is to have what was installed on it".to_owned(),
        version => format!("wanted: fleetctl {}", output::visible(version)),
    };
    format!("{wanted}; {counts}{}", last_rollout(view))
}

/// The rollout that is under way; or the last one, where it failed: how, and why.
fn last_rollout(view: &UpgradeView) -> String {
    let Some(rollout) = &view.rollout else {
        return String::new();
    };
    let mut out = String::new();
    let verdict = rollout.rollout.verdict.as_ref();
    if rollout.active || verdict.is_some() {
        out = format!("\n{}", super::super::rollout::line(rollout));
    }
    if let Some(verdict) = verdict {
        let text = super::super::rollout::verdict_text(rollout, verdict);
        out += &format!("\n{}", text.trim_end());
    }
    out
}

fn row(node: &UpgradeNode, wide: bool) -> Vec<String> {
    let or_dash = |text: &str| match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let reason = match (node.standing, wide) {
        // Said only where somebody asks: it is what the operator wanted.
        (UpgradeStanding::LeftOut, false) => output::short(&node.reason, 60),
        (_, wide) => output::short(&node.reason, if wide { 200 } else { 80 }),
    };
    vec![
        node.node.to_string(),
        or_dash(&node.version),
        or_dash(&node.arch),
        node.standing.as_str().to_owned(),
        node.told.clone().unwrap_or_else(|| "-".into()),
        node.presence.to_string(),
        reason,
    ]
}

/// What an upgrade does, or would do.
pub(super) fn plan(format: Format, planned: &UpgradeResponse) -> Result<(), Failure> {
    match format {
        Format::Json => output::print(&(serde_json::to_string_pretty(planned)? + "\n")),
        Format::Yaml => {
            let text = serde_saphyr::to_string(planned);
            output::print(&text.map_err(|e| Failure::new(e.to_string()))?)
        }
        Format::Table | Format::Wide => output::print(&text(planned, format == Format::Wide)),
    }
}

fn text(planned: &UpgradeResponse, wide: bool) -> String {
    let plan = &planned.plan;
    let mut out = String::new();
    for w in plan.added.iter().chain(&plan.changed) {
        let from = w.fields.iter().find(|f| f.field == "version");
        let from = from.and_then(|f| f.from.as_str()).map(output::visible);
        let to = output::visible(&w.version);
        let _ = match from {
            Some(from) => writeln!(out, "~ agents: {from} -> {to}"),
            None => writeln!(out, "~ agents: {to}, with other settings"),
        };
        for (arch, binary) in &planned.binaries {
            let (size, digest) = (output::bytes(binary.size), binary.sha256.short());
            let _ = writeln!(out, "    {arch}: {size}, {digest}");
        }
        if let Some(how) = &w.rollout {
            let _ = writeln!(out, "    rollout: {how}");
        }
        places(&mut out, w, wide);
    }
    for how in plan.under_way.values() {
        let _ = writeln!(out, "= {}", output::visible(how));
    }
    if plan.is_empty() && plan.under_way.is_empty() {
        out += "= every agent that can have it is told to\n";
    }
    out
}
