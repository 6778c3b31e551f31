//! `rollout`, and how rollouts are shown.

use super::{
    Failure,
    args::{Format, RollbackArgs, RolloutVerb},
    client::Client,
    follow::{Before, follow, rests},
    output,
    progress::{self, Progress, or_interrupted},
    ps,
};
use crate::{
    fleet::{RolloutPhase, StepState, Verdict},
    http::{RollbackRequest, RollbackResponse, RolloutView},
    model::Name,
};
use std::{
    fmt::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

const HEAD: [&str; 13] = [
    "WORKLOAD", "PHASE", "FROM", "TO", "HEALTHY", "STARTED", "REASON", "CHANGING", "WAITING",
    "FAILED", "RETURNED", "REVISION", "BY",
];
/// Between two looks at a rollout.
const LOOK: Duration = Duration::from_millis(250);
/// Names of nodes in a line.
const NAMES: usize = 5;

pub(super) async fn run(client: &mut Client, verb: RolloutVerb) -> Result<ExitCode, Failure> {
    let (workload, order, format) = match verb {
        RolloutVerb::Ls {
            active,
            watch,
            output,
        } => {
            let path = format!("/api/v1/rollouts?active={active}");
            let show = async |client: &mut Client| {
                let all: Vec<RolloutView> = client.list(&path).await?;
                output::render_list(output.output, &all, &HEAD, row)
            };
            ps::watch(watch, show, client).await?;
            return Ok(ExitCode::SUCCESS);
        }
        RolloutVerb::Show {
            workload,
            watch: true,
            output,
        } => {
            let goes_on =
                format!("the rollout goes on; `fleetctl rollout show -w {workload}` watches it");
            return or_interrupted(watch(client, &workload, output.output), &goes_on).await;
        }
        RolloutVerb::Show {
            workload, output, ..
        } => {
            let view = look(client, &workload).await?;
            output::one(output.output, &view, fields)?;
            return Ok(ExitCode::SUCCESS);
        }
        RolloutVerb::Rollback(args) => return rollback(client, args).await,
        RolloutVerb::Pause(arg) => (arg.workload, "pause", arg.output.output),
        RolloutVerb::Resume(arg) => (arg.workload, "resume", arg.output.output),
        RolloutVerb::Promote(arg) => (arg.workload, "promote", arg.output.output),
        RolloutVerb::Abort(arg) => (arg.workload, "abort", arg.output.output),
    };
    let path = format!("/api/v1/workloads/{workload}/rollout/{order}");
    let view: RolloutView = client.post(&path, &()).await?;
    if output::is_for_people(format) {
        output::print(&(line(&view) + "\n"))?;
    } else {
        output::one(format, &view, fields)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Until it is over, or goes no further unless a person makes it; then how it stands.
async fn watch(client: &mut Client, workload: &Name, format: Format) -> Result<ExitCode, Failure> {
    let mut progress = Progress::begin();
    let mut told = String::new();
    loop {
        let view = look(client, workload).await?;
        if rests(&view) {
            progress.end();
            output::one(format, &view, fields)?;
            return Ok(match view.rollout.phase {
                RolloutPhase::Succeeded => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            });
        }
        let text = line(&view);
        if text != told && !progress.is_live() {
            eprintln!("{text}");
        }
        told = text;
        progress.show(progress::of_rollouts([&view].into_iter()));
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(client: &mut Client, workload: &Name) -> Result<RolloutView, Failure> {
    let path = format!("/api/v1/workloads/{workload}/rollout");
    client.get(&path).await
}

/// Back to an earlier version.
pub(super) async fn rollback(client: &mut Client, args: RollbackArgs) -> Result<ExitCode, Failure> {
    let RollbackArgs {
        workload,
        to,
        wait,
        timeout,
        ..
    } = args;
    let before = Before::look(client).await?;
    let path = format!("/api/v1/workloads/{workload}/rollback");
    let done: RollbackResponse = client.post(&path, &RollbackRequest { to }).await?;
    let how = match &done.rollout {
        Some(_) => "; `fleetctl rollout show` tells how it gets on",
        None => "",
    };
    eprintln!(
        "{workload} goes back to {} as revision {}{how}",
        output::visible(&done.version),
        done.revision
    );
    if !wait {
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_millis(timeout);
    let asked = [(workload.clone(), done.revision)].into();
    let workloads = std::slice::from_ref(&workload);
    let waits = async {
        let ended = follow(client, &before, &asked, workloads, deadline).await?;
        let followers = ended.followers();
        if ended.back() && !followers.is_empty() {
            // Everybody else is back already; how long they stay away, nobody knows.
            followers.iter().for_each(|text| eprintln!("{text}"));
            return Ok(ExitCode::SUCCESS);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let back = vec![workload.clone()];
        let well = ended.back() && super::apply::wait(client, back, left, Format::Table).await?;
        Ok(match well {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    };
    let goes_on =
        format!("the change stays applied; `fleetctl rollout show -w {workload}` watches it");
    or_interrupted(waits, &goes_on).await
}

/// How a rollout stands, in one line.
pub(super) fn line(view: &RolloutView) -> String {
    let r = &view.rollout;
    let reason = output::visible(&r.reason);
    let said = |what: &str| match (what, reason.as_str()) {
        (what, "") => what.to_owned(),
        ("", reason) => reason.to_owned(),
        (what, reason) => format!("{what}: {reason}"),
    };
    let text = match r.phase {
        phase if phase.is_active() && r.paused && r.verdict.is_some() => said("held"),
        phase if phase.is_active() && r.paused => said("paused"),
        RolloutPhase::Canary | RolloutPhase::Rolling if view.changing > 0 => {
            let who = match r.phase {
                RolloutPhase::Canary => "canaries, ",
                _ => "",
            };
            let changing = named(view, StepState::Changing);
            let (healthy, all) = (view.healthy, view.nodes);
            format!("{who}{healthy} of {all} healthy, {changing} changing")
        }
        RolloutPhase::Canary | RolloutPhase::AwaitingPromotion | RolloutPhase::Rolling => said(""),
        RolloutPhase::Succeeded => said("rolled out"),
        RolloutPhase::RollingBack if r.verdict.is_some() => said("failed"),
        RolloutPhase::RollingBack => said("taken back"),
        RolloutPhase::RolledBack => said(&format!(
            "rolled back to {}",
            output::visible(&view.from_version)
        )),
        RolloutPhase::Failed => said("failed"),
        RolloutPhase::Aborted => said("aborted"),
        RolloutPhase::Superseded => said("given up"),
    };
    format!(
        "{} {}: {text}",
        view.workload,
        output::visible(&view.version)
    )
}

/// The first few nodes in a state, and how many more.
pub(super) fn named(view: &RolloutView, state: StepState) -> String {
    let steps = view.rollout.steps.iter();
    let names: Vec<&str> = steps
        .filter(|(_, s)| s.state == state)
        .map(|(n, _)| n.as_str())
        .collect();
    let more = names.len().saturating_sub(NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// Why a rollout failed: the node, the check, the last words.
pub(super) fn verdict_text(view: &RolloutView, verdict: &Verdict) -> String {
    let place = match &verdict.node {
        Some(node) => format!("{} on {node}", view.workload),
        None => view.workload.to_string(),
    };
    let mut out = format!(
        "  {place} {} failed: {}: {}\n",
        output::visible(&view.version),
        output::visible(&verdict.check),
        output::visible(&verdict.reason)
    );
    for said in &verdict.last_output {
        let _ = writeln!(out, "  | {}", output::visible(said));
    }
    out
}

fn phase(view: &RolloutView) -> String {
    let text = phase_text(view.rollout.phase);
    if !view.rollout.paused || !view.active {
        return text.to_owned();
    }
    match &view.rollout.verdict {
        Some(Verdict {
            node: Some(node), ..
        }) => format!("{text} (held: it failed on {node})"),
        Some(_) => format!("{text} (held: it failed)"),
        None => format!("{text} (paused)"),
    }
}

/// How a node stands.
fn step_text(phase: RolloutPhase, state: StepState) -> &'static str {
    match (state, phase) {
        (StepState::Waiting, RolloutPhase::RollingBack) => "waits for its turn to go back",
        (StepState::Waiting, RolloutPhase::RolledBack) => "not heard, goes back when it is",
        (StepState::Waiting, RolloutPhase::Succeeded) => "follows when it can be heard",
        (StepState::Waiting, phase) if !phase.is_active() => "left as it was",
        (StepState::Waiting, _) => "waits for its turn",
        (StepState::Changing, _) => "changing",
        (StepState::Healthy, _) => "healthy",
        (StepState::Failed, phase) if phase.is_back() => "not healthy on the old version",
        (StepState::Failed, _) => "failed",
        (StepState::Returning, RolloutPhase::RolledBack) => "told to go back, not heard since",
        (StepState::Returning, _) => "goes back",
        (StepState::Returned, _) => "has the old version again",
        (StepState::Unchanged, _) => "unchanged",
    }
}

/// A phase for people.
pub(super) fn phase_text(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Canary => "canary",
        RolloutPhase::AwaitingPromotion => "awaiting promotion",
        RolloutPhase::Rolling => "rolling",
        RolloutPhase::Succeeded => "succeeded",
        RolloutPhase::RollingBack => "rolling back",
        RolloutPhase::RolledBack => "rolled back",
        RolloutPhase::Failed => "failed",
        RolloutPhase::Aborted => "aborted",
        RolloutPhase::Superseded => "superseded",
    }
}

fn row(view: &RolloutView, wide: bool) -> Vec<String> {
    let mut cells = vec![
        view.workload.to_string(),
        phase(view),
        view.from_version.clone(),
        view.version.clone(),
        format!("{}/{}", view.healthy, view.nodes),
        format!("{} ago", output::ago(view.rollout.started_ms)),
        output::short(&view.rollout.reason, if wide { 200 } else { 80 }),
    ];
    if wide {
        let counts = [view.changing, view.waiting, view.failed, view.returned];
        cells.extend(counts.map(|n| n.to_string()));
        cells.push(view.rollout.to.to_string());
        cells.push(view.rollout.by.clone().unwrap_or_else(|| "-".into()));
    }
    cells
}

fn fields(view: &RolloutView) -> Vec<(&'static str, String)> {
    let r = &view.rollout;
    let nodes: Vec<String> = r
        .steps
        .iter()
        .map(|(node, step)| {
            let since = step.healthy_since_ms.or(step.switched_ms);
            let since = since.map(|ms| format!(", for {}", output::ago(ms)));
            let state = step_text(r.phase, step.state);
            format!("{node}: {state}{}", since.unwrap_or_default())
        })
        .collect();
    let verdict = r.verdict.as_ref().map(|v| verdict_text(view, v));
    let verdict = verdict.unwrap_or_default();
    vec![
        ("workload", view.workload.to_string()),
        ("phase", phase(view)),
        ("reason", r.reason.clone()),
        (
            "versions",
            format!(
                "from {} (revision {}) to {} (revision {})",
                view.from_version, r.from, view.version, r.to
            ),
        ),
        ("healthy", format!("{} of {}", view.healthy, view.nodes)),
        ("started", output::utc(r.started_ms)),
        ("ended", r.ended_ms.map(output::utc).unwrap_or_default()),
        ("by", r.by.clone().unwrap_or_default()),
        ("verdict", verdict.trim().to_owned()),
        ("nodes", nodes.join("\n")),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A rollout of web from 1 to 2, with a node in each of these states.
    pub(in crate::cli) fn view(phase: RolloutPhase, states: &[StepState]) -> RolloutView {
        let steps = states.iter().enumerate();
        let steps: serde_json::Map<String, serde_json::Value> = steps
            .map(|(i, state)| (format!("pi-{i}"), json!({ "state": state })))
            .collect();
        let rollout = json!({
            "to": 2, "from": 1, "started_ms": 0, "phase": phase, "steps": steps, "progress_ms": 0,
        });
        let count = |state| states.iter().filter(|s| **s == state).count();
        RolloutView {
            workload: "web".parse().unwrap(),
            version: "2".into(),
            from_version: "1".into(),
            active: phase.is_active(),
            nodes: states.len(),
            waiting: count(StepState::Waiting),
            changing: count(StepState::Changing),
            healthy: count(StepState::Healthy),
            failed: count(StepState::Failed),
            returning: count(StepState::Returning),
            returned: count(StepState::Returned),
            unchanged: count(StepState::Unchanged),
            stopped: false,
            rollout: serde_json::from_value(rollout).unwrap(),
        }
    }

    #[test]
    fn a_batch_is_one_line_with_the_nodes_that_change() {
        use StepState::{Changing, Healthy, Waiting};
        let rolling = view(
            RolloutPhase::Rolling,
            &[Healthy, Changing, Changing, Waiting],
        );
        assert_eq!(line(&rolling), "web 2: 1 of 4 healthy, pi-1, pi-2 changing");
        let many = view(RolloutPhase::Rolling, &[Changing; 8]);
        assert!(line(&many).ends_with("pi-4 and 3 more changing"));
    }

    #[test]
    fn what_waits_says_for_what() {
        let mut waits = view(RolloutPhase::AwaitingPromotion, &[StepState::Healthy]);
        waits.rollout.reason = "`fleetctl rollout promote web` goes on".into();
        assert_eq!(
            line(&waits),
            "web 2: `fleetctl rollout promote web` goes on"
        );
        let mut held = view(RolloutPhase::Rolling, &[StepState::Changing]);
        held.rollout.paused = true;
        assert_eq!(line(&held), "web 2: paused");
    }

    pub(in crate::cli) fn verdict() -> Verdict {
        Verdict {
            node: Some("pi-0".parse().unwrap()),
            check: "stays up for 10 s".into(),
            reason: "it exited with 1".into(),
            last_output: vec!["\u{1b}[31mno\u{7} luck".into()],
            at_ms: 0,
            guessed: false,
        }
    }

    #[test]
    fn what_is_held_says_that_it_failed_and_where() {
        let mut held = view(RolloutPhase::Canary, &[StepState::Failed]);
        held.rollout.paused = true;
        assert_eq!(phase(&held), "canary (paused)");
        held.rollout.verdict = Some(verdict());
        assert_eq!(phase(&held), "canary (held: it failed on pi-0)");
        held.rollout.reason = "it failed on pi-0".into();
        assert_eq!(line(&held), "web 2: held: it failed on pi-0");
    }

    #[test]
    fn nobody_waits_for_a_turn_that_will_not_come() {
        use RolloutPhase::{Aborted, RolledBack, Rolling, RollingBack};
        let waiting = |phase| step_text(phase, StepState::Waiting);
        assert_eq!(waiting(Rolling), "waits for its turn");
        assert_eq!(waiting(RollingBack), "waits for its turn to go back");
        assert_eq!(waiting(RolledBack), "not heard, goes back when it is");
        assert_eq!(waiting(Aborted), "left as it was");
    }

    #[test]
    fn a_verdict_names_the_node_the_check_and_the_last_words() {
        let failed = view(RolloutPhase::RolledBack, &[StepState::Returned]);
        assert_eq!(
            verdict_text(&failed, &verdict()),
            "  web on pi-0 2 failed: stays up for 10 s: it exited with 1\n  | no  luck\n"
        );
    }
}
