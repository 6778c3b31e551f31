//! `rebalance`: shows which moves would make the load more even, asks, and makes them.

use super::{
    Failure,
    apply::confirm,
    args::{Format, RebalanceArgs},
    client::Client,
    output,
};
use crate::{
    fleet::{PlannedMove, RebalancePlan},
    http::{RebalanceLimits, RebalanceRequest},
};
use std::{fmt::Write, process::ExitCode};

pub(super) async fn run(client: &mut Client, args: RebalanceArgs) -> Result<ExitCode, Failure> {
    let limits = RebalanceLimits {
        threshold: args.threshold,
        max_moves: args.max_moves,
        max_per_workload: args.max_per_workload,
    };
    let format = args.output.output;
    let mut request = RebalanceRequest { plan: None, limits };
    if !args.yes {
        let plan: RebalancePlan = client.get(&path(&request.limits)).await?;
        show(format, &plan)?;
        if args.plan || plan.moves.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if !confirm("Move these?")? {
            eprintln!("nothing was moved");
            return Ok(ExitCode::FAILURE);
        }
        request.plan = Some(plan);
    }
    let made: RebalancePlan = client.post("/api/v1/rebalance", &request).await?;
    if args.yes {
        show(format, &made)?;
    }
    if !made.moves.is_empty() {
        eprintln!(
            "{} begun; `fleetctl ps` shows where they are",
            moves(made.moves.len())
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn path(limits: &RebalanceLimits) -> String {
    let mut query = Vec::new();
    query.extend(limits.threshold.map(|n| format!("threshold={n}")));
    query.extend(limits.max_moves.map(|n| format!("max_moves={n}")));
    query.extend(
        limits
            .max_per_workload
            .map(|n| format!("max_per_workload={n}")),
    );
    format!("/api/v1/rebalance?{}", query.join("&"))
}

fn show(format: Format, plan: &RebalancePlan) -> Result<(), Failure> {
    if output::is_for_people(format) {
        return output::print(&text(plan));
    }
    output::one(format, plan, |_| Vec::new())
}

fn moves(count: usize) -> String {
    if count == 1 {
        "1 move".into()
    } else {
        format!("{count} moves")
    }
}

fn text(plan: &RebalancePlan) -> String {
    let mut out = String::new();
    for PlannedMove {
        workload,
        from,
        to,
        why,
        cost,
    } in &plan.moves
    {
        let _ = writeln!(out, "{workload}: {from} -> {to}");
        for sentence in [why, cost] {
            if !sentence.is_empty() {
                let _ = writeln!(out, "    {}", output::visible(sentence));
            }
        }
    }
    for sentence in &plan.kept {
        let _ = writeln!(out, "stays: {}", output::visible(sentence));
    }
    let ((full, empty), (full_after, empty_after)) = (plan.before, plan.after);
    if plan.moves.is_empty() {
        let _ = writeln!(
            out,
            "nothing to move: the fullest node has a load of {full}%, the emptiest of {empty}%"
        );
    } else {
        let _ = writeln!(
            out,
            "{}: load from {empty}-{full}% to {empty_after}-{full_after}%",
            moves(plan.moves.len())
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_moves_why_and_what_it_costs() {
        let name = |text: &str| text.parse().unwrap();
        let plan = RebalancePlan {
            version: 7,
            moves: vec![PlannedMove {
                workload: name("web"),
                from: name("a"),
                to: name("b"),
                why: "a is full".into(),
                cost: "nothing stands still".into(),
            }],
            before: (90, 10),
            after: (60, 40),
            kept: vec!["db has local state".into()],
        };
        assert_eq!(
            text(&plan),
            "web: a -> b\n    a is full\n    nothing stands still\nstays: db has local state\n\
             1 move: load from 10-90% to 40-60%\n"
        );
        let nothing = text(&RebalancePlan::default());
        assert!(nothing.starts_with("nothing to move"), "{nothing}");
    }

    #[test]
    fn limits_that_are_not_given_are_left_to_the_controller() {
        let limits = RebalanceLimits {
            max_moves: Some(3),
            ..RebalanceLimits::default()
        };
        assert_eq!(path(&limits), "/api/v1/rebalance?max_moves=3");
    }
}
