//! `apply`, `plan` and `rm`.

use super::{
    Failure,
    args::{ApplyArgs, Format, PlanArgs, RmArgs},
    client::Client,
    files,
    follow::{self, Before},
    output,
    progress::{self, Progress, or_interrupted},
    traced::Traced,
};
use crate::{
    fleet::{InstanceView, Plan, PlannedWorkload},
    http::{ApplyRequest, RemoveRequest, WaitRequest, WaitResponse},
    model::{InstanceState, Name},
};
use hyper::Method;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write,
    io::{IsTerminal, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long is waited for instances where a rollout has failed already.
const AFTER_FAILURE_MS: u64 = 10_000;

pub(super) async fn plan(client: &mut Client, args: PlanArgs) -> Result<ExitCode, Failure> {
    // For scripts: 1 says that there are changes, so an error is 2.
    let error = |f: Failure| Failure { code: 2, ..f };
    let format = args.files.output.output;
    let request = request(args).map_err(error)?;
    let plan: Plan = client.post("/api/v1/plan", &request).await.map_err(error)?;
    show(format, &plan, &plan)?;
    Ok(ExitCode::from(u8::from(!plan.is_empty())))
}

/// What is to be planned or applied.
fn request(args: PlanArgs) -> Result<ApplyRequest, Failure> {
    let files = files::read(&args.files.files, &args.files.vars)?;
    Ok(ApplyRequest {
        sources: files.sources,
        plan: None,
        prune: args.prune,
        variables: files.variables,
        suffix: args.as_suffix.unwrap_or_default(),
    })
}

pub(super) async fn apply(client: &mut Client, args: ApplyArgs) -> Result<ExitCode, Failure> {
    let format = args.what.files.output.output;
    let mut request = request(args.what)?;
    if !args.yes {
        let plan: Plan = client.post("/api/v1/plan", &request).await?;
        show(format, &plan, &traced(client, &plan))?;
        if plan.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if !confirm("Apply this?")? {
            eprintln!("nothing was applied");
            return Ok(ExitCode::FAILURE);
        }
        request.plan = Some(plan);
    }
    let before = match args.wait {
        true => Some(Before::look(client).await?),
        false => None,
    };
    let plan: Plan = client.post("/api/v1/apply", &request).await?;
    if args.yes && !(args.wait && format == Format::Json) {
        show(format, &plan, &traced(client, &plan))?;
    }
    let Some(before) = before else {
        follow::tell_begun(client, &plan).await;
        return Ok(ExitCode::SUCCESS);
    };
    let waits = async {
        Ok(
            match settle(client, &plan, &before, args.timeout, format).await? {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            },
        )
    };
    let goes_on =
        "the change stays applied; `fleetctl rollout ls -w` and `fleetctl ps -w` watch it";
    or_interrupted(waits, goes_on).await
}

/// Until what was applied is rolled out and runs, and what was removed is gone. `true` when all is
/// as wanted.
pub(super) async fn settle(
    client: &mut Client,
    plan: &Plan,
    before: &Before,
    timeout_ms: u64,
    format: Format,
) -> Result<bool, Failure> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let planned = plan
        .added
        .iter()
        .chain(&plan.changed)
        .map(|p| p.workload.clone());
    let workloads: Vec<Name> = planned.chain(plan.unchanged.iter().cloned()).collect();
    let asked = &plan.revisions;
    let followed = follow::follow(client, before, asked, &workloads, deadline).await?;
    if followed.is_left() {
        return Ok(false);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let mut left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    if !followed.well() {
        left = left.min(AFTER_FAILURE_MS);
    }
    let missing = stand(client, workloads, left, format).await?;
    if !followed.well() {
        // What has gone back runs well again, and yet is not what was asked for.
        followed.why_not().iter().for_each(|why| eprintln!("{why}"));
        return Ok(false);
    }
    let replaced = follow::replaced(client, asked).await?;
    if !replaced.is_empty() {
        replaced.iter().for_each(|text| eprintln!("{text}"));
        return Ok(false);
    }
    if let Some(why) = missing {
        eprintln!("{why}");
        return Ok(false);
    }
    gone(client, &plan.removed).await?;
    Ok(true)
}

/// Asks a person, when there is one.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "nobody can be asked here: say -y to go on without a question",
        ));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Until everything has settled; says on stderr how it gets on. `true` when all is as wanted.
pub(super) async fn wait(
    client: &mut Client,
    workloads: Vec<Name>,
    timeout_ms: u64,
    format: Format,
) -> Result<bool, Failure> {
    let missing = stand(client, workloads, timeout_ms, format).await?;
    if let Some(why) = &missing {
        eprintln!("{why}");
    }
    Ok(missing.is_none())
}

/// The same; what is missing in the end, `None` when all is as wanted.
async fn stand(
    client: &mut Client,
    workloads: Vec<Name>,
    timeout_ms: u64,
    format: Format,
) -> Result<Option<String>, Failure> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let mut told: BTreeMap<(Name, Option<Name>), String> = BTreeMap::new();
    // Something that backs off may yet come up, an image may yet be pushed: within the time limit
    // a failure is final only when it stays one.
    let mut stuck_since: Option<Instant> = None;
    let mut progress = Progress::begin();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let slice = match () {
            // What is drawn is to be new.
            () if progress.is_live() => Duration::from_millis(500),
            () if stuck_since.is_some() => Duration::from_secs(1),
            () => Duration::from_secs(30),
        };
        let slice = left.min(slice);
        let request = WaitRequest {
            workloads: workloads.clone(),
            timeout_ms: u64::try_from(slice.as_millis()).unwrap_or(30_000),
        };
        let answer: WaitResponse = client.post("/api/v1/wait", &request).await?;
        match progress.is_live() {
            true => progress.show(progress::of_instances(&answer.instances)),
            false => tell(&answer.instances, &mut told),
        }
        let stuck = answer.settled && !answer.ok;
        stuck_since = stuck.then(|| stuck_since.unwrap_or_else(Instant::now));
        let given_up = stuck_since.is_some_and(|since| since.elapsed() >= Duration::from_secs(3));
        if answer.ok || given_up || left.is_zero() {
            progress.end();
            if progress.is_live() && !answer.ok {
                // What is not well stays on the screen, with its reason.
                tell(&answer.instances, &mut told);
            }
            if format == Format::Json {
                output::print(&(serde_json::to_string_pretty(&answer.instances)? + "\n"))?;
            }
            let why = if left.is_zero() {
                "in time"
            } else {
                "yet; the fleet goes on trying"
            };
            let missing =
                format!("not everything is as wanted {why} (`fleetctl ps` shows how it stands)");
            return Ok((!answer.ok).then_some(missing));
        }
        if stuck {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

fn tell(instances: &[InstanceView], told: &mut BTreeMap<(Name, Option<Name>), String>) {
    for i in instances {
        let place = i
            .node
            .as_ref()
            .map(|n| format!(" on {n}"))
            .unwrap_or_default();
        let mut text = format!("{}{place}: {}", i.workload, i.state);
        if let (InstanceState::Pulling, Some(percent)) = (i.state, i.progress) {
            let _ = write!(text, " {percent}%");
        }
        if !i.reason.is_empty() {
            let _ = write!(text, " ({})", output::visible(&i.reason));
        }
        let key = (i.workload.clone(), i.node.clone());
        if told.get(&key) != Some(&text) {
            eprintln!("{text}");
            told.insert(key, text);
        }
    }
}

fn traced<'a>(client: &Client, plan: &'a Plan) -> Traced<'a, Plan> {
    Traced {
        result: plan,
        trace: client.trace_id(),
    }
}

/// `whole`: for programs.
fn show(format: Format, plan: &Plan, whole: &impl Serialize) -> Result<(), Failure> {
    match format {
        Format::Json => output::print(&(serde_json::to_string_pretty(whole)? + "\n")),
        Format::Yaml => {
            let text = serde_saphyr::to_string(whole).map_err(|e| Failure::new(e.to_string()))?;
            output::print(&text)
        }
        Format::Table | Format::Wide => output::print(&text(plan, format == Format::Wide)),
    }
}

fn text(plan: &Plan, wide: bool) -> String {
    let mut out = String::new();
    for w in &plan.added {
        let _ = writeln!(out, "+ {} {}", w.workload, w.version);
        if let Some(how) = &w.rollout {
            let _ = writeln!(out, "    rollout: {how}");
        }
        places(&mut out, w, wide);
    }
    for w in &plan.changed {
        let how = if w.replaces {
            "its instances are replaced"
        } else {
            "in place"
        };
        let _ = writeln!(out, "~ {} {} ({how})", w.workload, w.version);
        for f in &w.fields {
            let (from, to) = (f.from.to_string(), f.to.to_string());
            let (from, to) = (output::short(&from, 120), output::short(&to, 120));
            let _ = writeln!(out, "    {}: {from} -> {to}", f.field);
        }
        if let Some(how) = &w.rollout {
            let _ = writeln!(out, "    rollout: {how}");
        }
        places(&mut out, w, wide);
    }
    for name in &plan.removed {
        let _ = writeln!(
            out,
            "- {name}: in none of these manifests, its instances are removed"
        );
    }
    if !plan.unchanged.is_empty() {
        let names: Vec<&str> = plan.unchanged.iter().map(Name::as_str).collect();
        let _ = writeln!(out, "= {} unchanged: {}", names.len(), names.join(", "));
    }
    for (name, how) in &plan.under_way {
        let _ = writeln!(out, "    {name}: {}", output::visible(how));
    }
    out
}

pub(super) fn places(out: &mut String, w: &PlannedWorkload, wide: bool) {
    for n in w.nodes.iter().filter(|n| n.placed) {
        let _ = writeln!(out, "    on {}: {}", n.node, n.reason);
    }
    let passed: Vec<_> = w.nodes.iter().filter(|n| !n.placed).collect();
    let shown = if wide || w.missing > 0 {
        passed.len()
    } else {
        passed.len().min(5)
    };
    for n in &passed[..shown] {
        let _ = writeln!(out, "    not on {}: {}", n.node, n.reason);
    }
    if shown < passed.len() {
        let _ = writeln!(
            out,
            "    not on {} others (-o wide shows them)",
            passed.len() - shown
        );
    }
    match w.missing {
        0 => {}
        1 => out.push_str("    1 replica waits for a node that can take it\n"),
        n => {
            let _ = writeln!(out, "    {n} replicas wait for nodes that can take them");
        }
    }
}

pub(super) async fn rm(client: &mut Client, args: RmArgs) -> Result<(), Failure> {
    let request = RemoveRequest {
        workloads: args.workloads.clone(),
    };
    client
        .order(Method::POST, "/api/v1/remove", Some(&request))
        .await?;
    for workload in &args.workloads {
        eprintln!("{workload} removed");
    }
    if !args.wait {
        return Ok(());
    }
    gone(client, &args.workloads).await
}

/// Until nothing is left of them on any node that can be heard.
async fn gone(client: &mut Client, workloads: &[Name]) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
        let left = all
            .iter()
            .any(|i| workloads.contains(&i.workload) && i.state != InstanceState::Unknown);
        if !left {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                "they are not gone yet; `fleetctl ps` shows where they are",
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
