//! `rebalance`: shows which moves would make the load more even, asks, and makes them.

use super::{
    Failure,
    apply::confirm,
    args::{Format, RebalanceArgs},
    client::Client,
    drain::SAY_AGAIN,
    migrate::{LOOK, Standing, standing},
    output,
};
use crate::{
    fleet::{InstanceView, PlannedMove, RebalancePlan},
    http::{RebalanceLimits, RebalanceRequest},
};
use std::{
    fmt::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

const HEAD: [&str; 5] = ["INSTANCE", "FROM", "TO", "WHY", "COST"];
/// Characters of a sentence in the table; `-o wide` has all of it.
const MAX_SENTENCE: usize = 72;

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
        // It has its own limits with it.
        request = RebalanceRequest {
            plan: Some(plan),
            limits: RebalanceLimits::default(),
        };
    }
    let made: RebalancePlan = client.post("/api/v1/rebalance", &request).await?;
    if args.yes {
        show(format, &made)?;
    }
    if made.moves.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.wait {
        eprintln!(
            "{} begun; `fleetctl ps` shows where they are",
            moves(made.moves.len())
        );
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_millis(args.timeout);
    arrive(client, &made.moves, deadline).await
}

/// Until every move has ended, one way or the other.
async fn arrive(
    client: &mut Client,
    begun: &[PlannedMove],
    deadline: Instant,
) -> Result<ExitCode, Failure> {
    let mut last = String::new();
    let mut said = Instant::now();
    loop {
        let all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
        let ways: Vec<Way> = begun.iter().map(|m| Way::of(m, &all)).collect();
        let text = progress(&ways);
        let again = said.elapsed() >= SAY_AGAIN;
        if text != last || again {
            eprintln!("{text}");
            said = Instant::now();
        }
        let waits = ways.iter().filter_map(Way::waits);
        if again {
            waits.clone().for_each(|line| eprintln!("  {line}"));
        }
        last = text;
        let left = waits.clone().count();
        let late = Instant::now() >= deadline;
        if left > 0 && !late {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let undone: Vec<String> = ways.iter().filter_map(Way::undone).collect();
        if left == 0 && undone.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = match left {
            0 => format!("{} undone", moves(undone.len())),
            _ => format!("{} not over yet; they go on", moves(left)),
        };
        for line in waits.chain(undone) {
            let _ = write!(text, "\n  {line}");
        }
        return Err(Failure::new(text));
    }
}

/// One move, and how it stands.
struct Way<'a>(&'a PlannedMove, Standing);

impl<'a> Way<'a> {
    fn of(planned: &'a PlannedMove, all: &[InstanceView]) -> Way<'a> {
        let own = all.iter().filter(|i| i.workload == planned.workload);
        let own: Vec<InstanceView> = own.cloned().collect();
        Way(planned, standing(&own, &planned.from, &planned.to))
    }

    fn waits(&self) -> Option<String> {
        let Standing::UnderWay(how) = &self.1 else {
            return None;
        };
        Some(format!("{}: {}", self.0.workload, output::visible(how)))
    }

    fn undone(&self) -> Option<String> {
        let Way(
            PlannedMove {
                workload, from, to, ..
            },
            Standing::Undone,
        ) = self
        else {
            return None;
        };
        Some(format!(
            "{workload} did not get to {to} and stays on {from}; `fleetctl events` tells why"
        ))
    }
}

/// `2 of 5 moved, 1 undone`.
fn progress(ways: &[Way<'_>]) -> String {
    let done = ways.iter().filter(|w| w.1 == Standing::Done).count();
    let undone = ways.iter().filter(|w| w.1 == Standing::Undone).count();
    let mut text = format!("{done} of {} moved", ways.len());
    if undone > 0 {
        let _ = write!(text, ", {undone} undone");
    }
    text
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
        return output::print(&text(plan, format)?);
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

/// One table of the moves, what stays, and a summary.
fn text(plan: &RebalancePlan, format: Format) -> Result<String, Failure> {
    let row = |m: &PlannedMove, wide: bool| {
        let most = if wide { usize::MAX } else { MAX_SENTENCE };
        vec![
            m.workload.to_string(),
            m.from.to_string(),
            m.to.to_string(),
            output::short(&m.why, most),
            output::short(&m.cost, most),
        ]
    };
    let mut out = match plan.moves.is_empty() {
        true => String::new(),
        false => output::render_list(format, &plan.moves, &HEAD, row)? + "\n",
    };
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
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_moves_why_and_what_it_costs() {
        let name = |text: &str| text.parse().unwrap();
        let plan = RebalancePlan {
            version: 7,
            bounds: None,
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
            text(&plan, Format::Table).unwrap(),
            "INSTANCE  FROM  TO  WHY        COST\n\
             web       a     b   a is full  nothing stands still\n\n\
             stays: db has local state\n\
             1 move: load from 10-90% to 40-60%\n"
        );
        let nothing = text(&RebalancePlan::default(), Format::Table).unwrap();
        assert!(nothing.starts_with("nothing to move"), "{nothing}");
    }

    #[test]
    fn whoever_waits_hears_how_many_have_moved() {
        let planned = PlannedMove {
            workload: "web".parse().unwrap(),
            from: "a".parse().unwrap(),
            to: "b".parse().unwrap(),
            why: String::new(),
            cost: String::new(),
        };
        let way = |standing| Way(&planned, standing);
        let waits = Standing::UnderWay("it is pulling".into());
        let all = [way(Standing::Done), way(Standing::Undone), way(waits)];
        assert_eq!(progress(&all), "1 of 3 moved, 1 undone");
        assert_eq!(progress(&all[..1]), "1 of 1 moved");
        let lines: Vec<String> = all.iter().filter_map(Way::waits).collect();
        assert_eq!(lines, ["web: it is pulling"]);
        let undone: Vec<String> = all.iter().filter_map(Way::undone).collect();
        assert_eq!(undone.len(), 1);
        assert!(undone[0].starts_with("web did not get to b and stays on a"));
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
