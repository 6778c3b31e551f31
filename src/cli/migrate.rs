//! `instance`: moves one to another node.

use super::{
    Failure,
    args::{InstanceVerb, MigrateArgs},
    client::Client,
    drain::SAY_AGAIN,
    output,
    progress::{Progress, or_interrupted},
};
use crate::{
    fleet::InstanceView,
    http::{MigrateRequest, MigrateResponse},
    model::{InstanceState, Name},
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// Between two looks at the instances.
pub(super) const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(client: &mut Client, verb: InstanceVerb) -> Result<ExitCode, Failure> {
    let InstanceVerb::Migrate(args) = verb;
    let MigrateArgs {
        workload,
        from,
        to,
        force,
        wait,
        timeout,
        ..
    } = args;
    let request = MigrateRequest {
        workload: workload.clone(),
        from: from.clone(),
        to,
        force,
    };
    let answer: MigrateResponse = client.post("/api/v1/instances/migrate", &request).await?;
    let to = answer.to;
    eprintln!("{workload} goes from {from} to {to}");
    if !wait {
        return Ok(ExitCode::SUCCESS);
    }
    let goes_on = "the move goes on; `fleetctl ps -w` watches it";
    or_interrupted(arrive(client, &workload, &from, &to, timeout), goes_on).await
}

/// Until it runs there, and only there.
async fn arrive(
    client: &mut Client,
    workload: &Name,
    from: &Name,
    to: &Name,
    timeout_ms: u64,
) -> Result<ExitCode, Failure> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let mut said = Instant::now();
    let mut progress = Progress::begin();
    loop {
        let mut all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
        all.retain(|i| i.workload == *workload);
        match standing(&all, from, to) {
            Standing::Done => {
                progress.say(&format!("{workload} runs on {to}, and on {from} no more"));
                return Ok(ExitCode::SUCCESS);
            }
            Standing::Undone => {
                return Err(Failure::new(format!(
                    "{workload} did not get to {to} and stays where it was; `fleetctl events` \
                     tells why"
                )));
            }
            Standing::UnderWay(how) if Instant::now() < deadline => {
                progress.show(vec![format!("{workload}  {from} → {to} · {how}")]);
                if said.elapsed() >= SAY_AGAIN && !progress.is_live() {
                    eprintln!("{workload}: {}", output::visible(&how));
                    said = Instant::now();
                }
            }
            Standing::UnderWay(how) => {
                return Err(Failure::new(format!(
                    "{workload} is not on {to} alone yet ({}); the move goes on",
                    output::visible(&how)
                )));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How a move stands.
#[derive(Debug, PartialEq)]
pub(super) enum Standing {
    Done,
    Undone,
    /// What it waits for.
    UnderWay(String),
}

/// By the instances of the workload that there are.
pub(super) fn standing(instances: &[InstanceView], from: &Name, to: &Name) -> Standing {
    let on = |node: &Name| instances.iter().find(|i| i.node.as_ref() == Some(node));
    // What is on a node that cannot be heard, nobody can look at.
    let old = on(from).filter(|i| i.state != InstanceState::Unknown);
    match (old, on(to)) {
        (None, Some(new)) if new.state.is_well() && new.up_to_date => Standing::Done,
        (
            _,
            Some(InstanceView {
                moving: Some(moving),
                ..
            }),
        ) => Standing::UnderWay(moving.clone()),
        (Some(old), Some(_)) => Standing::UnderWay(format!("it is {} on {from} still", old.state)),
        (None, Some(new)) => Standing::UnderWay(format!("there it is {}", new.state)),
        (Some(_), None) => Standing::Undone,
        (None, None) => Standing::UnderWay("it is on neither".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(node: &str, state: InstanceState) -> InstanceView {
        let json = serde_json::json!({
            "workload": "web", "node": node, "state": state, "runtime": "process",
            "version": "1", "restarts": 0, "reason": "", "up_to_date": true, "warnings": [],
            "exit_code": null, "handle": null, "since_ms": 0, "progress": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_move_is_done_when_it_runs_there_and_only_there() {
        use InstanceState::{Pulling, Running, Unknown};
        let name = |text: &str| text.parse::<Name>().unwrap();
        let look = |all: &[InstanceView]| standing(all, &name("a"), &name("b"));
        let (old, new) = (instance("a", Running), instance("b", Running));
        let under_way = |s: Standing| matches!(s, Standing::UnderWay(_));
        let waits = "it comes from a: it is not healthy on b yet (pulling)".to_owned();
        let mut said = instance("b", Pulling);
        said.moving = Some(waits.clone());
        assert_eq!(look(&[old.clone(), said]), Standing::UnderWay(waits));
        assert!(under_way(look(&[old.clone(), instance("b", Pulling)])));
        assert!(under_way(look(&[old.clone(), new.clone()])));
        assert!(under_way(look(&[])));
        assert_eq!(look(std::slice::from_ref(&new)), Standing::Done);
        assert_eq!(look(&[instance("a", Unknown), new]), Standing::Done);
        assert_eq!(look(&[old]), Standing::Undone);
    }
}
