//! `workload`.

use super::{
    Failure, apply,
    args::{Format, ListArgs, WorkloadArg, WorkloadVerb},
    client::Client,
    node::post,
    output, ps, rollout, versions, why,
};
use crate::{
    fleet::{InstanceView, WorkloadView},
    manifest,
    model::{Desired, Name, PlacementMode, Run, RunMode},
};
use std::{fmt::Write, process::ExitCode};

const HEAD: [&str; 8] = [
    "NAME",
    "VERSION",
    "DESIRED",
    "READY",
    "PLACEMENT",
    "APPLIED",
    "REVISION",
    "RUNS",
];

pub(super) async fn run(client: &mut Client, verb: WorkloadVerb) -> Result<ExitCode, Failure> {
    let done = match verb {
        WorkloadVerb::Ls(args) => ls(client, args).await,
        WorkloadVerb::Show { workload, output } => {
            let view: WorkloadView = client.get(&format!("/api/v1/workloads/{workload}")).await?;
            let mut instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
            instances.retain(|i| i.workload == workload);
            output::one(output.output, &view, |v| fields(v, &instances))
        }
        WorkloadVerb::Export { workloads } => export(client, workloads).await,
        WorkloadVerb::Start(arg) => change(client, arg, "start").await,
        WorkloadVerb::Stop(arg) => change(client, arg, "stop").await,
        WorkloadVerb::Restart(arg) => change(client, arg, "restart").await,
        WorkloadVerb::Why(args) => why::run(client, args).await,
        WorkloadVerb::History(args) => versions::history(client, args).await,
        WorkloadVerb::Rollback(args) => return rollout::rollback(client, args).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn change(client: &mut Client, arg: WorkloadArg, verb: &str) -> Result<(), Failure> {
    post(
        client,
        &format!("/api/v1/workloads/{}/{verb}", arg.workload),
    )
    .await?;
    if arg.wait && !apply::wait(client, vec![arg.workload], 120_000, Format::Table).await? {
        return Err(Failure::new("it did not get there"));
    }
    Ok(())
}

/// As TOML, whatever they were written in.
async fn export(client: &mut Client, names: Vec<Name>) -> Result<(), Failure> {
    let mut views: Vec<WorkloadView> = Vec::new();
    if names.is_empty() {
        views = client.list("/api/v1/workloads").await?;
        // No manifest can have the agent in it.
        views.retain(|v| !matches!(v.spec.run, Run::Agent { .. }));
    }
    for name in &names {
        views.push(client.get(&format!("/api/v1/workloads/{name}")).await?);
    }
    let texts: Vec<String> = views.iter().map(|v| manifest::render(&v.spec)).collect();
    output::print(&texts.join("\n"))
}

async fn ls(client: &mut Client, args: ListArgs) -> Result<(), Failure> {
    if !args.labels.is_empty() {
        return Err(Failure::usage(
            "workloads have no labels; `fleetctl ps -l` selects by node",
        ));
    }
    ps::watch(
        args.watch,
        async |client: &mut Client| {
            let all: Vec<WorkloadView> = client.list("/api/v1/workloads").await?;
            output::render_list(args.output.output, &all, &HEAD, row)
        },
        client,
    )
    .await
}

fn row(w: &WorkloadView, wide: bool) -> Vec<String> {
    let mut cells = vec![
        w.name.to_string(),
        w.version.clone(),
        desired(w.desired).into(),
        format!("{}/{}", w.running, w.wanted),
        match w.spec.placement.mode {
            PlacementMode::Every => "every".into(),
            PlacementMode::Any { replicas } => format!("any {replicas}"),
        },
        format!("{} ago", output::ago(w.applied_ms)),
    ];
    if wide {
        cells.push(w.revision.to_string());
        cells.push(what(&w.spec.run));
    }
    cells
}

fn revision(w: &WorkloadView) -> String {
    let mut text = w.revision.to_string();
    if w.behind > 0 {
        let _ = write!(text, ", {} nodes are at another one", w.behind);
    }
    if w.revisions > 1 {
        let _ = write!(text, " (`workload history` has {})", w.revisions);
    }
    text
}

fn rollout_text(w: &WorkloadView) -> String {
    w.rollout.as_ref().map_or_else(String::new, |r| {
        format!(
            "to {}: {}, {}",
            r.to_version,
            rollout::phase_text(r.phase),
            r.reason
        )
    })
}

fn desired(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "running",
        Desired::Stopped => "stopped",
    }
}

fn what(run: &Run) -> String {
    match run {
        Run::Container { image, .. } => image.clone(),
        Run::Process { command, .. } => command.join(" "),
        Run::Python { callable, .. } => format!("python {callable}"),
        Run::Agent { .. } => "the agent itself".into(),
    }
}

fn fields(w: &WorkloadView, instances: &[InstanceView]) -> Vec<(&'static str, String)> {
    let mut standing = String::new();
    for i in instances {
        let node = i.node.as_ref().map_or("-", |n| n.as_str());
        let _ = writeln!(
            standing,
            "{node}: {}, version {} {}",
            i.state, i.version, i.reason
        );
        let mut facts = Vec::new();
        facts.extend(i.health.map(|h| format!("health {h}")));
        facts.extend(i.runs.map(|n| match &w.spec.mode {
            RunMode::NTimes { max_runs } => format!("run {n} of {max_runs}"),
            _ => format!("{n} runs"),
        }));
        facts.extend(i.exit_code.map(|code| format!("last exit code {code}")));
        if i.restarts > 0 {
            facts.push(format!("restarts {}", i.restarts));
        }
        if !facts.is_empty() {
            let _ = writeln!(standing, "  {}", facts.join(", "));
        }
        for warning in &i.warnings {
            let _ = writeln!(standing, "  warning: {warning}");
        }
        if let Some(next) = i.next_run_ms {
            let _ = writeln!(standing, "  next run: {} UTC", output::utc(next));
        }
        for line in i.last_error.iter().flat_map(|e| e.lines()) {
            let _ = writeln!(standing, "  last error: {line}");
        }
        for line in &i.last_output {
            let _ = writeln!(standing, "  last output: {line}");
        }
    }
    let reasons: String = w
        .reasons
        .iter()
        .map(|(n, r)| format!("{n}: {r}\n"))
        .collect();
    vec![
        ("name", w.name.to_string()),
        ("version", w.version.clone()),
        ("desired", desired(w.desired).into()),
        ("ready", format!("{} of {}", w.running, w.wanted)),
        ("revision", revision(w)),
        ("rollout", rollout_text(w)),
        ("applied", output::utc(w.applied_ms)),
        ("runs", what(&w.spec.run)),
        ("instances", standing.trim_end().to_owned()),
        ("placement", reasons.trim_end().to_owned()),
        ("manifest", manifest::render(&w.spec).trim_end().to_owned()),
    ]
}
